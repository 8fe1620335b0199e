"""External scenes: read by content, scaled by their metadata, onto their grid."""

from airflow.sdk import Asset, AssetWatcher
from landing_trigger import LandingTrigger
from stage_dag import stage_dag

from infra.stages import chain

watcher = AssetWatcher(name="watch_landed_scene", trigger=LandingTrigger(kind="landed_scene"))

dag = stage_dag(
    "ingest_scenes",
    schedule=[Asset(**chain.asset("landed_scene"), watchers=[watcher])],
    doc=__doc__,
    tags=["ingestion"],
    max_active_runs=1,
)
