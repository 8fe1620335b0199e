"""All scenes of one area and period on one grid: masked, gaps filled, with an uncertainty per pixel."""

from airflow.sdk import Asset, PartitionedAssetTimetable
from stage_dag import stage_dag

from infra.stages import chain

dag = stage_dag(
    "fuse_imagery",
    schedule=PartitionedAssetTimetable(assets=Asset(**chain.asset("scene"))),
    doc=__doc__,
    tags=["imagery"],
)
