"""The DAG bundle loads as the scheduler loads it, and every task has what an operator relies on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.stages import chain

REPOSITORY = Path(__file__).resolve().parents[2]

INSPECT = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1], safe_mode=True)
print("REPORT" + json.dumps({
    "errors": dict(bag.import_errors),
    "dags": {
        name: {
            "start": str(dag.start_date),
            "catchup": dag.catchup,
            "timeout": dag.dagrun_timeout is not None,
            "doc": bool(dag.doc_md),
            "timetable": type(dag.timetable).__name__,
            "tasks": {
                task.task_id: {
                    "timeout": task.execution_timeout is not None,
                    "outlets": sorted(outlet.name for outlet in task.outlets),
                    "downstream": sorted(task.downstream_task_ids),
                }
                for task in dag.tasks
            },
        }
        for name, dag in bag.dags.items()
    },
}))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "dags" / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }
    made = subprocess.run(
        [sys.executable, "-c", INSPECT, str(REPOSITORY / "dags")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    report: dict[str, Any] = json.loads(made.stdout.rpartition("REPORT")[2])
    return report


def test_every_dag_file_loads(bundle: dict[str, Any]) -> None:
    assert bundle["errors"] == {}


def test_bundle_holds_every_dag_of_the_chain_and_the_sweep(bundle: dict[str, Any]) -> None:
    assert set(bundle["dags"]) == {stage.dag for stage in chain.STAGES} | {"sweep", "care_for_catalogue"}


def test_dags_have_a_static_start_no_catchup_a_timeout_and_words(bundle: dict[str, Any]) -> None:
    for name, dag in bundle["dags"].items():
        assert dag["start"].startswith("2026-01-01"), name
        assert dag["catchup"] is False, name
        assert dag["timeout"], name
        assert dag["doc"], name


def test_every_task_has_a_timeout(bundle: dict[str, Any]) -> None:
    missing = [
        f"{name}.{task}"
        for name, dag in bundle["dags"].items()
        for task, about in dag["tasks"].items()
        if not about["timeout"]
    ]
    assert missing == []


@pytest.mark.parametrize("stage", chain.STAGES, ids=lambda stage: stage.name)
def test_stage_runs_in_its_dag_and_announces_what_it_makes(bundle: dict[str, Any], stage: chain.Stage) -> None:
    tasks = bundle["dags"][stage.dag]["tasks"]
    assert tasks[stage.name]["outlets"] == sorted(stage.outputs)
    assert stage.name in tasks[f"plan_{stage.name}"]["downstream"]
