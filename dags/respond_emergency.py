"""Products of an area at once: write the box, the time and the products into the form and trigger.

Its tasks run in the pool `emergency` with priority, so routine work cannot hold them up. Without a box a run answers
the requests in force: that is what happens by itself when a scene lands that one of them concerns.
"""

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Asset, Param, PartitionedAssetTimetable, task
from stage_dag import RETRY, START, stage_tasks

from infra.stages import chain, scheduling

RESPOND = chain.stage("respond_emergency")
FORM = {
    "bbox": Param(
        "", type="string", title="Box", description="west,south,east,north in degrees: 106.2,29.3,106.9,29.9"
    ),
    "since": Param("", type="string", title="Since", description="Scenes observed from then on, UTC: 2026-07-15T06:00"),
    "until": Param("", type="string", title="Until", description="The request ends then; empty: it stays in force"),
    "products": Param(
        ["flood", "fire"],
        type="array",
        items={"type": "string"},
        title="Products",
        examples=["flood", "water", "fire", "burn", "landslide", "ship", "segments"],
        description="Short names, or codes of `terralimb product list`",
    ),
    "group": Param("", type="string", title="Group", description="Left empty by people"),
}

with DAG(
    dag_id=RESPOND.dag,
    schedule=PartitionedAssetTimetable(assets=Asset(**chain.asset("scene_facts"))),
    start_date=START,
    catchup=False,
    max_active_runs=2,
    dagrun_timeout=dt.timedelta(hours=1),
    params=FORM,
    tags=["emergency", "products"],
    doc_md=__doc__,
) as dag:

    @task(
        pool=RESPOND.pool,
        priority_weight=RESPOND.priority,
        weight_rule="absolute",
        execution_timeout=dt.timedelta(minutes=5),
        **RETRY,
    )
    def register_request(*, params: Any = None) -> str | None:
        """Enter what the form says into the ledger."""
        return scheduling.request_emergency(
            bbox=params["bbox"], since=params["since"], until=params["until"], products=params["products"]
        )

    @task(
        pool=RESPOND.pool,
        priority_weight=RESPOND.priority,
        weight_rule="absolute",
        execution_timeout=dt.timedelta(minutes=10),
        **RETRY,
    )
    def survey_scenes() -> dict[str, Any]:
        """Note what the scenes cover that landed since."""
        batches = scheduling.plan("survey_scenes")
        return scheduling.run("survey_scenes", [unit for batch in batches for unit in batch])

    responded = stage_tasks(RESPOND, register_request() >> survey_scenes())
    stage_tasks(chain.stage("publish_catalogue"), responded, order=RESPOND)
