"""Profiles into the catalogue and the profile store, each in one transaction."""

from airflow.sdk import Asset, PartitionedAssetTimetable
from stage_dag import stage_dag

from infra.stages import chain

dag = stage_dag(
    "publish_profiles",
    schedule=PartitionedAssetTimetable(assets=Asset(**chain.asset("profile"))),
    doc=__doc__,
    tags=["publication"],
)
