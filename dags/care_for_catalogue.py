"""Once a day: seal the record, publish timeliness, compare the stores, back up, and export the month that is over.

The steps depend on nothing but the day, so that one that fails is seen and keeps no other from being done.
"""

import datetime as dt
from typing import Any

from airflow.sdk import dag, task

from infra.stages import scheduling


@dag(
    schedule="20 0 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=dt.timedelta(hours=6),
    tags=["operations"],
    doc_md=__doc__,
)
def care_for_catalogue() -> None:
    """Do every step of the daily care; the run is red where one failed."""
    for step in scheduling.CARE_STEPS:

        @task(task_id=step, retries=2, retry_delay=dt.timedelta(minutes=5), execution_timeout=dt.timedelta(hours=1))
        def do(name: str) -> dict[str, Any]:
            return scheduling.care(name)

        do(step)


care_for_catalogue()
