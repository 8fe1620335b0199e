"""Stage of the auxiliary data: check on arrival, version by content, note when it holds."""

import datetime as dt
import logging
from pathlib import PurePosixPath
from typing import Any

from infra import archive, auxiliary, ledger
from infra.stages.execution import PrerequisiteMissingError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from infra.surface import operator_layers
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
    attributes: dict[str, Any] = {"kind": kind[0], "start": validity.start, "end": validity.end, "name": name}
    if kind[0] == "districts":
        attributes["districts"] = _district_boxes(body, name, workspace)
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


def _district_boxes(body: bytes, name: str, workspace: Workspace) -> dict[str, list[float]]:
    """Boxes of the districts, so that nobody need read the outlines to know whom a scene concerns."""
    file = workspace.scratch_folder("districts") / name
    file.write_bytes(body)
    return operator_layers.district_boxes(file)


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
