"""Excess-phase files of other centres: to level 1B, read by content, frames checked."""

from airflow.sdk import Asset, AssetWatcher
from landing_trigger import LandingTrigger
from stage_dag import stage_dag

from infra.stages import chain

watcher = AssetWatcher(name="watch_landed_occultation", trigger=LandingTrigger(kind="landed_occultation"))

dag = stage_dag(
    "ingest_occultations",
    schedule=[Asset(**chain.asset("landed_occultation"), watchers=[watcher])],
    doc=__doc__,
    tags=["ingestion"],
    max_active_runs=1,
)
