"""Find whatever the ledger says is unfinished, whoever forgot it, and trigger the DAG that does it.

Asset events are doorbells; this is the round that finds the visitor who did not ring. It also raises the alarm when
auxiliary data grow stale, and asks for frames that are missing to be sent again.
"""

import datetime as dt
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag, task

from infra.stages import scheduling


@dag(
    schedule="*/10 * * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=dt.timedelta(minutes=30),
    tags=["operations"],
    doc_md=__doc__,
)
def sweep() -> None:
    """Trigger a run for every DAG and group with work due."""

    @task(retries=2, retry_delay=dt.timedelta(seconds=10), execution_timeout=dt.timedelta(minutes=10))
    def find_unfinished() -> list[dict[str, Any]]:
        return [
            {"trigger_dag_id": row["dag"], "conf": {"group": row["group"] or ""}} for row in scheduling.unfinished()
        ]

    @task(execution_timeout=dt.timedelta(minutes=5))
    def check_staleness() -> list[str]:
        return scheduling.stale_auxiliary()

    @task(execution_timeout=dt.timedelta(minutes=5))
    def settle_requests() -> dict[str, int]:
        return scheduling.settle_requests()

    TriggerDagRunOperator.partial(task_id="trigger", execution_timeout=dt.timedelta(minutes=5)).expand_kwargs(
        find_unfinished()
    )
    check_staleness()
    settle_requests()


sweep()
