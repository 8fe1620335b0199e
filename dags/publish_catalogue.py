"""Sector products into the catalogue and the product store, each in one transaction."""

from airflow.sdk import Asset, PartitionedAssetTimetable
from stage_dag import stage_dag

from infra.stages import chain

dag = stage_dag(
    "publish_catalogue",
    schedule=PartitionedAssetTimetable(assets=Asset(**chain.asset("sector_product"))),
    doc=__doc__,
    tags=["publication"],
)
