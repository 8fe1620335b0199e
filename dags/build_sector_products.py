"""Every sector product of a fused scene, mapped over the product definitions."""

from airflow.sdk import Asset, PartitionedAssetTimetable
from stage_dag import stage_dag

from infra.stages import chain

dag = stage_dag(
    "build_sector_products",
    schedule=PartitionedAssetTimetable(assets=Asset(**chain.asset("fused"))),
    doc=__doc__,
    tags=["products"],
)
