"""What a scheduler asks: what to do, do it, whom to ring next. DAG files import this module and nothing deeper.

Importing it is cheap; the stores and the science are loaded inside the calls.
"""

from typing import Any

from infra.stages import chain

#: Steps of the daily care, as `infra.delivery.care` does them; here because the scheduler reads them often.
CARE_STEPS = ("seal", "timeliness", "reconcile", "backup", "export")


def plan(stage_name: str, *, group: str | None = None) -> list[list[str]]:
    """Batches of the units of a stage that are due, in `group` or everywhere; arrivals are registered first."""
    from infra.stages import arrival, execution, workspace

    stage = chain.stage(stage_name)
    here = workspace.current()
    arrival.register(here, stage)
    units = [unit.id for unit in execution.due_units(stage, here.ledger, group=group)]
    return [units[start : start + stage.batch] for start in range(0, len(units), stage.batch)]


def plan_emergency(stage_name: str) -> list[list[str]]:
    """Batches of the due units that belong to an emergency, each alone; routine work is left to its own DAGs."""
    from infra.stages import emergency, execution, workspace

    stage = chain.stage(stage_name)
    units = execution.due_units(stage, workspace.current().ledger)
    return [[unit.id] for unit in units if unit.group.startswith(emergency.GROUP_PREFIX)]


def request_emergency(*, bbox: str, since: str, until: str, products: list[str]) -> str | None:
    """Enter an emergency request as a person wrote it; None where no box was given and the requests in force count.

    Raises
    ------
    ValueError
        A box, time or product that cannot be meant.
    """
    from infra.stages import emergency, workspace

    if not bbox:
        return None
    edges = [float(edge) for edge in bbox.split(",")]
    asked = emergency.request(bbox=edges, since=since, until=until or None, products=products)
    return emergency.register(asked, workspace.current())


def run(stage_name: str, unit_ids: list[str]) -> dict[str, Any]:
    """Do the named units of a stage that are still due; says what became of each.

    Returns
    -------
    dict
        `states`: number of units by state; `reasons`: unit -> reason where it is not plainly done; `ring`: kind of
        granule made -> groups in which the next stages now have work.

    Raises
    ------
    infra.stages.execution.StageFailedError
        All units failed for reasons that are not their input's fault.
    """
    from infra.stages import execution, workspace

    stage = chain.stage(stage_name)
    here = workspace.current()
    wanted = set(unit_ids)
    units = [unit for unit in execution.due_units(stage, here.ledger) if unit.id in wanted]
    outcomes = execution.run_units(stage, units, here)
    states: dict[str, int] = {}
    for outcome in outcomes:
        states[outcome.state] = states.get(outcome.state, 0) + 1
    reasons = {outcome.unit: outcome.reason for outcome in outcomes if outcome.reason}
    return {"stage": stage_name, "states": states, "reasons": reasons, "ring": rings(stage_name)}


def rings(stage_name: str) -> dict[str, list[str]]:
    """Kind of granule this stage makes -> groups in which a stage of another DAG now has something due.

    A later stage of the same DAG needs no bell: the run that made the granule goes on to it.
    """
    made = chain.stage(stage_name)
    return {
        kind: sorted(
            {
                group
                for stage in chain.STAGES
                if stage.dag != made.dag and (kind in stage.inputs or kind in stage.waits_for)
                for group in groups_due(stage.name)
            }
        )
        for kind in made.outputs
    }


def groups_due(stage_name: str) -> list[str]:
    """Groups in which a stage has units due."""
    from infra.stages import arrival, execution, workspace

    stage, here = chain.stage(stage_name), workspace.current()
    arrival.register_catalogued(here, stage)
    units = execution.due_units(stage, here.ledger)
    return sorted({unit.group for unit in units})


def landed(kind: str) -> list[str]:
    """Keys of landed objects of `kind` that nobody has registered yet."""
    from infra.stages import landing, workspace

    return landing.unregistered(workspace.current(), kind=kind)


def unfinished() -> list[dict[str, Any]]:
    """One row for every DAG and group that has work due, for the sweep to trigger."""
    found: dict[tuple[str, str | None], None] = {}
    for stage in chain.STAGES:
        if any(kind.startswith("landed_") and landed(kind) for kind in stage.inputs):
            found[(stage.dag, None)] = None
        by_landing = all(kind.startswith("landed_") for kind in stage.inputs)
        for group in groups_due(stage.name):
            found[(stage.dag, None if by_landing else group)] = None
    return [{"dag": dag, "group": group} for dag, group in found]


def stale_auxiliary() -> list[str]:
    """Alarms about auxiliary data that grew old."""
    from infra.stages import auxiliary, workspace

    return auxiliary.stale(workspace.current())


def care(step: str) -> dict[str, Any]:
    """Do one step of the daily care of the delivery; raises what it could not do."""
    import datetime as dt

    from infra.delivery import care, reconciliation
    from infra.stages import workspace

    here = workspace.current()
    charge = care.Charge(
        stores=reconciliation.stores_of(here.settings, catalog=here.catalog, store=here.store),
        home=here.settings.home,
        database_url=here.settings.resolved_database_url(),
    )
    return care.run(step, charge, now=dt.datetime.now(dt.UTC))


def settle_requests() -> dict[str, int]:
    """Ask for the frames that are missing, and end the requests that nothing can come of any more."""
    import datetime as dt

    from infra.stages import workspace

    book, now = workspace.current().completeness, dt.datetime.now(dt.UTC)
    asked = len(book.plan_requests(now))
    return {"requested": asked, "ended": len(book.expire(now))}
