"""Stage of the auxiliary data: check on arrival, version by content, note when it holds."""

import datetime as dt
import logging
from pathlib import PurePosixPath

from infra import archive, auxiliary, ledger
from infra.stages.execution import PrerequisiteMissingError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from processors import quality

log = logging.getLogger(__name__)


def ingest(unit: Unit, workspace: Workspace) -> UnitResult:
    """Accept a landed file as a version of its kind of auxiliary data."""
    (landed,) = unit.granules
    name = archive.landing_name(landed.key)
    kind = archive.landing_parts(landed.key)[:1]
    if not kind or kind[0] not in auxiliary.KINDS:
        raise quality.BadInputError(
            "unknown_kind", f"{landed.key} lies under no known kind; known: {', '.join(sorted(auxiliary.KINDS))}"
        )
    body = workspace.read(landed)
    validity = auxiliary.KINDS[kind[0]].read(body, name)
    attributes = {"kind": kind[0], "start": validity.start, "end": validity.end, "name": name}
    identity = archive.identity(kind[0], name)
    made = NewGranule(
        kind="auxiliary",
        id=identity,
        group="auxiliary",
        body=body,
        suffix=PurePosixPath(name).suffix,
        media_type="application/octet-stream",
        attributes=attributes,
    )
    return UnitResult((made,), report={"kind": kind[0], "start": validity.start, "end": validity.end})


def holding(workspace: Workspace, *, kind: str, time: str) -> list[ledger.Granule]:
    """Auxiliary granules of `kind` that hold at `time`.

    Raises
    ------
    infra.stages.execution.PrerequisiteMissingError
        None does yet.
    """
    found = auxiliary.holding(workspace.ledger.granules(["auxiliary"]), kind=kind, time=time)
    if not found:
        raise PrerequisiteMissingError(f"no {kind} that hold at {time} have arrived")
    return found


def stale(workspace: Workspace) -> list[str]:
    """Alarms about auxiliary data that grew old, also written to the log."""
    sentences = auxiliary.stale(workspace.ledger.granules(["auxiliary"]), now=dt.datetime.now(dt.UTC))
    for sentence in sentences:
        log.warning("stale auxiliary data: %s", sentence)
    return sentences
