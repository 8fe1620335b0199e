"""Recordings of downlink passes: to packets, completeness, level-0 records and calibrated imager strips."""

from airflow.sdk import Asset, AssetWatcher
from landing_trigger import LandingTrigger
from stage_dag import stage_dag

from infra.stages import chain

watcher = AssetWatcher(name="watch_landed_downlink", trigger=LandingTrigger(kind="landed_downlink"))

dag = stage_dag(
    "ingest_downlink",
    schedule=[Asset(**chain.asset("landed_downlink"), watchers=[watcher])],
    doc=__doc__,
    tags=["ingestion"],
    max_active_runs=1,
)
