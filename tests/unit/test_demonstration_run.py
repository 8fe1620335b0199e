"""When the wait for the scheduler ends: not while a unit waits for something whose bell may still be on its way."""

from types import SimpleNamespace
from typing import Any

import pytest

from infra.demonstration import run
from infra.embedded import scheduler


def watched(monkeypatch: pytest.MonkeyPatch, looks: list[tuple[dict[str, int], int]]) -> list[str]:
    """Run the wait over a script of looks (outcomes, units due); returns the DAGs it triggered."""
    triggered: list[str] = []
    script = iter(looks)

    def states(_: object) -> list[run.StageState]:
        outcomes, due = next(script)
        return [run.StageState("calibrate_occultations", outcomes, due)]

    monkeypatch.setattr(run, "states", states)
    monkeypatch.setattr(run.time, "sleep", lambda _: None)
    monkeypatch.setattr(scheduler, "active_runs", lambda _: [])
    monkeypatch.setattr(scheduler, "trigger", lambda _, dag: triggered.append(dag))
    workspace: Any = SimpleNamespace(ledger=SimpleNamespace(last_sequence=lambda: 0))
    airflow: Any = SimpleNamespace(url="", failed_component=lambda: None)
    run.run_scheduled(workspace, airflow, lambda _: None)
    assert next(script, None) is None
    return triggered


def test_finished_work_ends_the_wait_without_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(monkeypatch, [({}, 1), ({"done": 1}, 0)]) == []


def test_a_waiting_unit_gets_one_sweep_before_the_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(monkeypatch, [({"waiting": 1}, 0), ({"done": 1}, 0)]) == ["sweep"]


def test_a_unit_that_waits_in_vain_does_not_hold_the_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(monkeypatch, [({"waiting": 1}, 0), ({"waiting": 1}, 0)]) == ["sweep"]
