"""How a stage runs: which units are due, and one transaction for each.

A unit reads its granules, calls the stage's function, writes what it made under content-hashed keys and commits
granules and outcome together. Bad input ends in quarantine with its reason, a missing prerequisite waits, an
unexpected error is recorded and raised after the rest of the batch is done.
"""

import contextlib
import errno
import importlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy.exc
import threadpoolctl

from infra import archive, ledger, object_store
from infra.stages import chain
from infra.stages.workspace import CorruptGranuleError, NewGranule, Workspace
from processors import quality
from products import provenance, schema

log = logging.getLogger(__name__)
MAX_ATTEMPTS = 5
# What the surroundings do to a unit says nothing about the unit: it is tried again for as long as it takes.
OUTAGES = (object_store.StoreUnavailableError, sqlalchemy.exc.OperationalError, MemoryError)
OUTAGE_NUMBERS = frozenset({errno.ENOSPC, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EDQUOT})


@dataclass(frozen=True)
class Unit:
    """One piece of work of a stage: its identity and the granules it reads."""

    stage: str
    id: str
    group: str
    granules: tuple[ledger.Granule, ...]
    variant: str | None = None
    context: tuple[ledger.Granule, ...] = ()

    @property
    def inputs_sha256(self) -> str:
        """Hash of the set of granules the unit reads."""
        return ledger.digest_of((*self.granules, *self.context))


@dataclass(frozen=True)
class UnitResult:
    """What a stage's function made of a unit; `partial` is the reason where part of the input was unusable."""

    granules: tuple[NewGranule, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    partial: str | None = None


class Attempt(NamedTuple):
    """What one try of a unit came to: result, granules written, state, reason."""

    result: UnitResult
    granules: list[ledger.Granule]
    state: ledger.State
    reason: str | None


class PrerequisiteMissingError(Exception):
    """Something the unit needs has not arrived yet; it is tried again when it may have."""


class NotApplicableError(Exception):
    """The stage has nothing to make of this unit, for a stated reason."""


class StageFailedError(Exception):
    """Units failed for a reason that is not their input's fault; the sweep finds them again."""


def due_units(stage: chain.Stage, book: ledger.Ledger, *, group: str | None = None) -> list[Unit]:
    """Units of `stage` whose inputs are not those of their last finished outcome."""
    outcomes = book.latest_outcomes(stage.name)
    units = _units(stage, book.granules((*stage.inputs, *stage.context), group=group), book)
    return [unit for unit in units if _is_due(unit, outcomes.get((stage.name, unit.id)))]


def _is_due(unit: Unit, outcome: ledger.Outcome | None) -> bool:
    if outcome is None or outcome.state not in ledger.FINISHED or outcome.inputs_sha256 != unit.inputs_sha256:
        return True
    # What this software gave up on, the next version may do.
    given_up_by = outcome.report.get("given_up_by")
    return given_up_by is not None and given_up_by != provenance.software_version()


def _units(stage: chain.Stage, granules: Sequence[ledger.Granule], book: ledger.Ledger) -> list[Unit]:
    gathered: dict[str, list[ledger.Granule]] = defaultdict(list)
    context: dict[str, list[ledger.Granule]] = defaultdict(list)
    for granule in granules:
        if granule.kind in stage.context:
            context[granule.group].append(granule)
        else:
            gathered[granule.group if stage.by_group else granule.id].append(granule)
    plain = [
        Unit(stage.name, name, members[0].group, tuple(members), context=tuple(context[members[0].group]))
        for name, members in sorted(gathered.items())
    ]
    if stage.variants is None:
        return plain
    variants = _resolve(stage.variants)
    return [
        replace(unit, id=f"{unit.id}/{variant}", variant=variant) for unit in plain for variant in variants(unit, book)
    ]


def _resolve(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    resolved: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return resolved


def run_units(stage: chain.Stage, units: Iterable[Unit], workspace: Workspace) -> list[ledger.Outcome]:
    """Do `units` one after the other, each in its own transaction.

    Raises
    ------
    StageFailedError
        Every unit met an error that is not its input's fault. Where some were done, the others are in the outcomes
        as failed: the caller can go on with what there is, and the sweep brings the rest again, alone.
    """
    # One thread of linear algebra: its sums, and so the last bits of a product, depend on how many there are.
    with threadpoolctl.threadpool_limits(limits=1):
        outcomes = [_run_unit(stage, unit, workspace) for unit in units]
    failed = [outcome for outcome in outcomes if outcome.state in {"failed", "interrupted"}]
    if failed and len(failed) == len(outcomes):
        reasons = "; ".join(f"{outcome.unit}: {outcome.reason}" for outcome in failed)
        raise StageFailedError(f"{len(failed)} of {len(outcomes)} units of {stage.name} failed: {reasons}")
    return outcomes


def _run_unit(stage: chain.Stage, unit: Unit, workspace: Workspace) -> ledger.Outcome:
    started = time.perf_counter()
    result, granules, state, reason = _attempt(stage, unit, workspace)
    if state == "failed" and _attempts(stage, unit, workspace) + 1 >= MAX_ATTEMPTS:
        state, reason = "quarantined", f"given up after {MAX_ATTEMPTS} attempts: {reason}"
        result.report["given_up_by"] = provenance.software_version()
    if state == "quarantined":
        _quarantine(unit, reason or "", workspace)
    outcome = ledger.Outcome(
        stage=stage.name,
        unit=unit.id,
        group=unit.group,
        inputs_sha256=unit.inputs_sha256,
        state=state,
        reason=reason,
        report=result.report,
        seconds=time.perf_counter() - started,
    )
    workspace.ledger.record(outcome, granules)
    log.log(
        logging.INFO if state in {"done", "not_applicable"} else logging.WARNING,
        "%s %s: %s%s",
        stage.name,
        unit.id,
        state,
        f" ({reason})" if reason else "",
    )
    return outcome


def _attempt(stage: chain.Stage, unit: Unit, workspace: Workspace) -> Attempt:
    try:
        with _scratch(workspace) as scratch:
            result: UnitResult = _resolve(stage.function)(unit, replace(workspace, scratch=scratch))
            written = workspace.write(result.granules)
    except quality.BadInputError as error:
        return Attempt(UnitResult(report={"cause": error.cause}), [], "quarantined", str(error))
    except schema.SchemaError as error:
        reason = f"the product breaks its table of variables: {error}"
        return Attempt(UnitResult(report={"cause": "schema"}), [], "quarantined", reason)
    except PrerequisiteMissingError as error:
        return Attempt(UnitResult(), [], "waiting", str(error))
    except NotApplicableError as error:
        return Attempt(UnitResult(), [], "not_applicable", str(error))
    except Exception as error:
        log.exception("%s %s", stage.name, unit.id)
        state: ledger.State = "interrupted" if _is_outage(error) else "failed"
        return Attempt(UnitResult(), [], state, f"{type(error).__name__}: {error}")
    return Attempt(result, written, "partial" if result.partial else "done", result.partial)


@contextlib.contextmanager
def _scratch(workspace: Workspace) -> Iterator[Path]:
    """Folder of one unit; those that killed processes left behind are removed."""
    place = workspace.settings.home / "scratch"
    place.mkdir(parents=True, exist_ok=True)
    for old in place.iterdir():
        if not Path("/proc", old.name.partition("-")[0]).exists():
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=place) as folder:
        yield Path(folder)


def _is_outage(error: Exception) -> bool:
    return isinstance(error, OUTAGES) or (isinstance(error, OSError) and error.errno in OUTAGE_NUMBERS)


def _attempts(stage: chain.Stage, unit: Unit, workspace: Workspace) -> int:
    return workspace.ledger.failures(stage.name, unit.id, unit.inputs_sha256)


def _quarantine(unit: Unit, reason: str, workspace: Workspace) -> None:
    bucket = workspace.settings.bucket("quarantine")
    for granule in unit.granules:
        key = archive.quarantine_key(granule.key, granule.sha256)
        note = {"stage": unit.stage, "unit": unit.id, "source": f"{granule.bucket}/{granule.key}", "reason": reason}
        try:
            workspace.require_registered(granule)
            workspace.store.copy(granule.bucket, granule.key, to_bucket=bucket, to_key=key)
        except (object_store.ObjectStoreError, CorruptGranuleError) as error:
            note["object"] = f"could not be kept: {error}"
        text = json.dumps(note, ensure_ascii=False, indent=2).encode()
        workspace.store.put_replace(bucket, f"{key}.reason.json", text, media_type="application/json")
