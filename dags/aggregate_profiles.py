"""Published profiles of one UTC day in one file, and that file into the catalogue.

A day is due three hours after its end, and again when one of its profiles is added, superseded or withdrawn. Whatever
enters the catalogue rings; the sweep finds the days that have settled and those a withdrawal changed.
"""

from airflow.sdk import Asset, PartitionedAssetTimetable
from stage_dag import stage_dag

from infra.stages import chain

dag = stage_dag(
    "aggregate_profiles",
    schedule=PartitionedAssetTimetable(assets=Asset(**chain.asset("item"))),
    doc=__doc__,
    tags=["occultation", "publication"],
    max_active_runs=1,
)
