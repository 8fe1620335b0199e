"""How stages run: bad input ends in quarantine and costs nothing else, errors are kept and raised, nothing is lost."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra import database, ledger, object_store, settings
from infra.stages import chain, execution
from infra.stages.workspace import NewGranule, Workspace
from processors import quality
from products import provenance


@dataclass
class MemoryStore:
    """Objects in a dictionary: what the stages need of an object store."""

    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def put_new(self, bucket: str, key: str, body: bytes, **_: Any) -> None:
        assert self.objects.setdefault((bucket, key), body) == body

    def put_replace(self, bucket: str, key: str, body: bytes, **_: Any) -> None:
        self.objects[bucket, key] = body

    def copy(self, bucket: str, key: str, *, to_bucket: str, to_key: str) -> None:
        if (bucket, key) not in self.objects:
            raise object_store.ObjectMissingError(f"no object {bucket}/{key}")
        self.put_new(to_bucket, to_key, self.objects[bucket, key])

    def digest(self, bucket: str, key: str) -> object_store.ContentDigest:
        return object_store.digest_of(self.read(bucket, key))

    def read(self, bucket: str, key: str) -> bytes:
        return self.objects[bucket, key]


STAGE = chain.Stage(name="echo", dag="d", inputs=("raw",), outputs=("made",), function="tests_echo:echo")


def echo(unit: execution.Unit, workspace: Workspace) -> execution.UnitResult:
    """Turn a unit into what its content says."""
    body = workspace.read(unit.granules[0])
    if body == b"bad":
        raise quality.BadInputError("bad", "it says bad")
    if body == b"wait":
        raise execution.PrerequisiteMissingError("it waits")
    if body == b"none":
        raise execution.NotApplicableError("nothing to make")
    if body == b"outage":
        raise object_store.StoreUnavailableError("the store is away")
    if body == b"crash":
        raise ZeroDivisionError("it crashes")
    made = NewGranule("made", unit.id, unit.group, body.upper(), ".txt", "text/plain")
    return execution.UnitResult((made,), partial="half of it" if body == b"half" else None)


@pytest.fixture(autouse=True)
def echo_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tests_echo", SimpleNamespace(echo=echo))  # type: ignore[arg-type]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    engine = database.engine(f"sqlite:///{tmp_path}/ledger.sqlite")
    ledger.metadata.create_all(engine)
    store: Any = MemoryStore()
    catalog: Any = None
    nothing: Any = None
    return Workspace(settings.Settings(home=tmp_path), store, ledger.Ledger(engine), catalog, nothing)


def arrive(workspace: Workspace, *bodies: bytes) -> None:
    for body in bodies:
        sha256 = hashlib.sha256(body).hexdigest()
        name = body.decode()
        workspace.store.put_new("tl-landing", name, body, media_type="text/plain")
        workspace.ledger.register([ledger.Granule("raw", name, sha256, "a", "tl-landing", name, len(body))])


def run(workspace: Workspace) -> dict[str, str]:
    outcomes = execution.run_units(STAGE, execution.due_units(STAGE, workspace.ledger), workspace)
    return {outcome.unit: outcome.state for outcome in outcomes}


def test_bad_input_costs_nothing_else(workspace: Workspace) -> None:
    arrive(workspace, b"bad", b"good", b"half", b"none")
    assert run(workspace) == {"bad": "quarantined", "good": "done", "half": "partial", "none": "not_applicable"}
    assert [granule.id for granule in workspace.ledger.granules(["made"])] == ["good", "half"]


def test_quarantine_keeps_the_object_and_its_reason(workspace: Workspace) -> None:
    arrive(workspace, b"bad")
    run(workspace)
    objects: dict[tuple[str, str], bytes] = workspace.store.objects  # type: ignore[attr-defined]
    kept = {key: body for (bucket, key), body in objects.items() if bucket == "tl-quarantine"}
    (object_key,) = [key for key in kept if not key.endswith(".reason.json")]
    assert kept[object_key] == b"bad"
    note = json.loads(kept[f"{object_key}.reason.json"])
    assert note["reason"] == "it says bad"
    assert note["source"] == "tl-landing/bad"


def test_an_unexpected_error_costs_its_batch_mates_nothing_and_is_raised_when_it_is_alone(workspace: Workspace) -> None:
    arrive(workspace, b"crash", b"good")
    assert run(workspace) == {"crash": "failed", "good": "done"}
    with pytest.raises(execution.StageFailedError, match=r"1 of 1 units .* crash: ZeroDivisionError: it crashes"):
        run(workspace)


def test_an_unreadable_object_is_still_noted_in_quarantine(workspace: Workspace) -> None:
    arrive(workspace, b"good")
    workspace.store.put_replace("tl-landing", "good", b"evil", media_type="text/plain")
    for _ in range(execution.MAX_ATTEMPTS - 1):
        with pytest.raises(execution.StageFailedError):
            run(workspace)
    assert run(workspace) == {"good": "quarantined"}
    objects: dict[tuple[str, str], bytes] = workspace.store.objects  # type: ignore[attr-defined]
    (note,) = [body for (bucket, _), body in objects.items() if bucket == "tl-quarantine"]
    assert "not the content registered" in json.loads(note)["object"]


def test_a_unit_that_keeps_failing_is_given_up_with_its_reason(workspace: Workspace) -> None:
    arrive(workspace, b"crash")
    for _ in range(execution.MAX_ATTEMPTS - 1):
        with pytest.raises(execution.StageFailedError):
            run(workspace)
    assert run(workspace) == {"crash": "quarantined"}
    assert run(workspace) == {}
    reason = workspace.ledger.latest_outcomes()["echo", "crash"].reason
    assert reason is not None
    assert "it crashes" in reason


def test_a_unit_given_up_is_due_again_for_another_version(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(workspace, b"crash")
    for _ in range(execution.MAX_ATTEMPTS - 1):
        with pytest.raises(execution.StageFailedError):
            run(workspace)
    assert run(workspace) == {"crash": "quarantined"}
    assert execution.due_units(STAGE, workspace.ledger) == []
    monkeypatch.setattr(provenance, "software_version", lambda: "9.9")
    assert [unit.id for unit in execution.due_units(STAGE, workspace.ledger)] == ["crash"]


def test_an_outage_is_never_held_against_a_unit(workspace: Workspace) -> None:
    arrive(workspace, b"outage")
    for _ in range(execution.MAX_ATTEMPTS + 2):
        with pytest.raises(execution.StageFailedError, match="the store is away"):
            run(workspace)
    assert workspace.ledger.latest_outcomes()["echo", "outage"].state == "interrupted"


def test_a_waiting_unit_is_tried_at_every_run(workspace: Workspace) -> None:
    arrive(workspace, b"wait")
    assert run(workspace) == {"wait": "waiting"}
    assert run(workspace) == {"wait": "waiting"}


def test_running_twice_finds_nothing_to_do(workspace: Workspace) -> None:
    arrive(workspace, b"good")
    assert run(workspace) == {"good": "done"}
    assert run(workspace) == {}


def test_an_object_that_changed_in_the_store_is_noticed(workspace: Workspace) -> None:
    arrive(workspace, b"good")
    workspace.store.put_replace("tl-landing", "good", b"evil", media_type="text/plain")
    with pytest.raises(execution.StageFailedError, match="CorruptGranuleError"):
        run(workspace)
