"""How any DAG of this bundle runs its stages: plan what is due, do it in mapped batches, ring the next DAGs.

An asset event is a doorbell, not a queue: it names the group (partition) in which the ledger now holds work. A run
looks into the ledger for itself, so lost or merged events cost time and never data; the sweep finds what was missed.
"""

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Asset, task

from infra.stages import chain, scheduling

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
RETRY = {"retries": 3, "retry_delay": dt.timedelta(seconds=5), "retry_exponential_backoff": True}


def stage_dag(dag_id: str, *, schedule: Any, doc: str, tags: list[str], max_active_runs: int = 4) -> DAG:
    """DAG that runs the stages `infra.stages.chain` gives it, one after the other.

    Parameters
    ----------
    dag_id : str
        Name of the DAG, as the chain's table knows it.
    schedule : timetable or list of assets
        When it runs; a partition key is the group to work in, no key means everywhere.
    doc : str
        What the operator reads in the user interface.
    tags : list of str
        For finding it there.
    max_active_runs : int
        Runs at a time.
    """
    stages = chain.stages_of(dag_id)
    with DAG(
        dag_id=dag_id,
        schedule=schedule,
        start_date=START,
        catchup=False,
        max_active_runs=max_active_runs,
        dagrun_timeout=dt.timedelta(hours=2),
        params={"group": ""},
        tags=tags,
        doc_md=doc,
    ) as dag:
        before = None
        for stage in stages:
            before = stage_tasks(stage, before)
    return dag


def stage_tasks(stage: chain.Stage, before: Any, *, order: chain.Stage | None = None, announce: bool = True) -> Any:
    """Tasks of one stage: plan what is due, then do it in mapped batches.

    Parameters
    ----------
    stage : chain.Stage
        The stage.
    before : operator or None
        What must have ended.
    order : chain.Stage, optional
        Stage whose pool and priority count; of an emergency's stage also its units alone. Default its own.
    announce : bool
        Whether other DAGs are rung.

    Returns
    -------
    operator
        The mapped task.
    """
    made = [Asset(**chain.asset(kind)) for kind in stage.outputs] if announce else []
    urgent = order is not None
    queue = order or stage
    turn = {"pool": queue.pool, "priority_weight": queue.priority, "weight_rule": "absolute"}

    @task(
        task_id=f"plan_{stage.name}",
        trigger_rule="all_done",
        execution_timeout=dt.timedelta(minutes=10),
        **turn,
        **RETRY,
    )
    def plan(*, dag_run: Any = None, params: Any = None) -> list[list[str]]:
        if urgent:
            return scheduling.plan_emergency(stage.name)
        return scheduling.plan(stage.name, group=dag_run.partition_key or params["group"] or None)

    @task(task_id=stage.name, outlets=made, execution_timeout=dt.timedelta(hours=1), **turn, **RETRY)
    def run(batch: list[str], *, outlet_events: Any = None) -> dict[str, Any]:
        done = scheduling.run(stage.name, batch)
        for asset in made:
            outlet_events[asset].add_partitions(done["ring"][asset.name])
        return done

    planned = plan()
    if before is not None:
        before >> planned
    return run.expand(batch=planned)
