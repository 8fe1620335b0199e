"""Auxiliary data (orbits, leap seconds, space weather, ...): versioned, with validity and staleness alarm."""

from airflow.sdk import Asset, AssetWatcher
from landing_trigger import LandingTrigger
from stage_dag import stage_dag

from infra.stages import chain

watcher = AssetWatcher(name="watch_landed_auxiliary", trigger=LandingTrigger(kind="landed_auxiliary"))

dag = stage_dag(
    "ingest_auxiliary",
    schedule=[Asset(**chain.asset("landed_auxiliary"), watchers=[watcher])],
    doc=__doc__,
    tags=["ingestion"],
    max_active_runs=1,
)
