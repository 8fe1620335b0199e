"""Run the chain over what has landed: in plain Python, or by watching the scheduler do it."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from infra import archive
from infra.embedded import scheduler
from infra.stages import arrival, chain, execution, landing
from infra.stages.workspace import Workspace

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 45.0
TIMEOUT_SECONDS = 1200.0


@dataclass(frozen=True)
class StageState:
    """How far one stage is: units by state, and units due now."""

    name: str
    outcomes: dict[str, int]
    due: int


Report = Callable[[list[StageState]], None]


class RunStalledError(Exception):
    """Work is left that nobody does."""


def states(workspace: Workspace) -> list[StageState]:
    """State of every stage of the chain."""
    outcomes = workspace.ledger.latest_outcomes()
    counted: dict[str, Counter[str]] = {stage.name: Counter() for stage in chain.STAGES}
    for (name, _unit), outcome in outcomes.items():
        counted[name][outcome.state] += 1
    return [StageState(stage.name, dict(counted[stage.name]), _due(workspace, stage)) for stage in chain.STAGES]


def _due(workspace: Workspace, stage: chain.Stage) -> int:
    """Units somebody should work on now: neither waiting for something else nor given up for now."""
    outcomes = workspace.ledger.latest_outcomes(stage.name)
    count = 0
    for unit in execution.due_units(stage, workspace.ledger):
        last = outcomes.get((stage.name, unit.id))
        if last is None or last.state != "waiting" or last.inputs_sha256 != unit.inputs_sha256:
            count += 1
    landed = [kind for kind in stage.inputs if kind in archive.landing_prefixes()]
    return count + sum(len(landing.unregistered(workspace, kind=kind)) for kind in landed)


def run_plain(workspace: Workspace, report: Report) -> None:
    """Run every stage in the order of the chain until nothing more can be done."""
    for _round in range(execution.MAX_ATTEMPTS + 1):
        for stage in chain.STAGES:
            _run_stage(workspace, stage)
            report(states(workspace))
        if not any(state.due for state in states(workspace)):
            return


def _run_stage(workspace: Workspace, stage: chain.Stage) -> None:
    arrival.register(workspace, stage)
    try:
        execution.run_units(stage, execution.due_units(stage, workspace.ledger), workspace)
    except execution.StageFailedError as error:
        log.error("%s", error)


def run_scheduled(workspace: Workspace, airflow: scheduler.Scheduler, report: Report) -> None:
    """Wait until the scheduler has done everything that landed.

    When nothing moves for a while the sweep is triggered, as it would be by its own timetable.

    Raises
    ------
    RunStalledError
        Work is left and nothing moves any more, or a component of the scheduler stopped.
    """
    started = moved = time.monotonic()
    seen, swept = -1, 0
    while True:
        now = states(workspace)
        report(now)
        left = sum(state.due for state in now)
        running = scheduler.active_runs(airflow)
        if not left and not running:
            if swept or not any(state.outcomes.get("waiting") for state in now):
                return
            # What a unit waits for may just have arrived, its bell not yet have rung: one sweep tells.
            scheduler.trigger(airflow, "sweep")
            swept += 1
        count = workspace.ledger.last_sequence()
        if count != seen or running:
            seen, moved = count, time.monotonic()
        elif time.monotonic() - moved > PATIENCE_SECONDS:
            if swept == 2:
                raise RunStalledError(f"{left} units are left and nothing moves: see the runs at {airflow.url}")
            scheduler.trigger(airflow, "sweep")
            swept, moved = swept + 1, time.monotonic()
        _check(airflow, started, left)
        time.sleep(1.0)


def _check(airflow: scheduler.Scheduler, started: float, left: int) -> None:
    stopped = airflow.failed_component()
    if stopped is not None:
        raise RunStalledError(f"{stopped.name} stopped; the end of {stopped.log} says:\n{stopped.log_tail()}")
    if time.monotonic() - started > TIMEOUT_SECONDS:
        raise RunStalledError(f"{left} units are left after {TIMEOUT_SECONDS:.0f} s: see the runs at {airflow.url}")
