"""Occultations of one pass: own packets to level 1B with the orbits at hand, then to profiles.

An event whose orbits have not arrived waits in the ledger; new auxiliary data rings this DAG again.
"""

from airflow.sdk import Asset, PartitionedAssetTimetable
from stage_dag import stage_dag

from infra.stages import chain

level0, level1b, auxiliary = (Asset(**chain.asset(kind)) for kind in ("level0_occultation", "level1b", "auxiliary"))

dag = stage_dag(
    "retrieve_occultations",
    schedule=PartitionedAssetTimetable(assets=level0 | level1b | auxiliary),
    doc=__doc__,
    tags=["occultation"],
)
