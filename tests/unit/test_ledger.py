"""The ledger: facts are append-only, work is what they imply."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from infra import database, ledger
from infra.stages import chain, execution

STAGE = chain.Stage(name="s", dag="d", inputs=("raw",), outputs=("made",), function="nowhere:at_all")
GROUPED = chain.Stage(name="g", dag="d", inputs=("raw",), outputs=("made",), function="nowhere:at_all", by_group=True)


@pytest.fixture
def book(tmp_path: Path) -> ledger.Ledger:
    engine = database.engine(f"sqlite:///{tmp_path}/ledger.sqlite")
    ledger.metadata.create_all(engine)
    return ledger.Ledger(engine)


def granule(identity: str, sha256: str = "1", group: str = "a", kind: str = "raw") -> ledger.Granule:
    return ledger.Granule(kind, identity, sha256, group, "bucket", f"{identity}-{sha256}", 1)


def finish(book: ledger.Ledger, stage: chain.Stage, state: ledger.State = "done") -> None:
    for unit in execution.due_units(stage, book):
        book.record(ledger.Outcome(stage.name, unit.id, unit.group, unit.inputs_sha256, state))


def due(book: ledger.Ledger, stage: chain.Stage, group: str | None = None) -> list[str]:
    return [unit.id for unit in execution.due_units(stage, book, group=group)]


def test_registering_the_same_content_twice_adds_one_granule(book: ledger.Ledger) -> None:
    assert book.register([granule("x"), granule("x")]) == 1
    assert [held.id for held in book.granules(["raw"])] == ["x"]


def test_new_content_of_an_identity_becomes_current_and_the_old_row_stays(book: ledger.Ledger) -> None:
    book.register([granule("x", "1"), granule("x", "2")])
    assert [held.sha256 for held in book.granules(["raw"])] == ["2"]
    assert book.contents("raw") == {("x", "1"), ("x", "2")}


def test_content_seen_before_becomes_current_again(book: ledger.Ledger) -> None:
    book.register([granule("x", "1"), granule("x", "2"), granule("x", "1")])
    assert [held.sha256 for held in book.granules(["raw"])] == ["1"]


def test_two_current_granules_of_one_identity_are_refused_by_the_database(book: ledger.Ledger, tmp_path: Path) -> None:
    book.register([granule("x", "1"), granule("x", "2")])
    engine = database.engine(f"sqlite:///{tmp_path}/ledger.sqlite")
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(ledger.granule_table.update().values(current=True))


@pytest.mark.parametrize("state", sorted(ledger.FINISHED))
def test_a_finished_unit_is_due_again_only_when_its_inputs_change(book: ledger.Ledger, state: ledger.State) -> None:
    book.register([granule("x"), granule("y")])
    assert due(book, STAGE) == ["x", "y"]
    finish(book, STAGE, state)
    assert due(book, STAGE) == []
    book.register([granule("x", "2")])
    assert due(book, STAGE) == ["x"]


@pytest.mark.parametrize("state", ["failed", "waiting"])
def test_a_failed_or_waiting_unit_stays_due(book: ledger.Ledger, state: ledger.State) -> None:
    book.register([granule("x")])
    finish(book, STAGE, state)
    assert due(book, STAGE) == ["x"]


def test_a_group_is_one_unit_and_due_when_any_member_is_new(book: ledger.Ledger) -> None:
    book.register([granule("x"), granule("y"), granule("z", group="b")])
    assert due(book, GROUPED) == ["a", "b"]
    finish(book, GROUPED)
    book.register([granule("w", group="b")])
    assert due(book, GROUPED) == ["b"]


def test_due_units_of_one_group_leave_the_others_alone(book: ledger.Ledger) -> None:
    book.register([granule("x"), granule("z", group="b")])
    assert due(book, STAGE, group="b") == ["z"]


def test_the_digest_of_inputs_ignores_their_order_and_sees_every_change() -> None:
    first, second = granule("x"), granule("y")
    assert ledger.digest_of([first, second]) == ledger.digest_of([second, first])
    changed = [granule("x", "2"), granule("z"), granule("x", kind="other")]
    assert len({ledger.digest_of([first]), *(ledger.digest_of([other]) for other in changed)}) == 4


def test_granules_and_outcome_are_recorded_together_or_not_at_all(book: ledger.Ledger) -> None:
    unserialisable = ledger.Outcome("s", "x", "a", "1", "done", report={"bad": object()})
    with pytest.raises(sa.exc.StatementError):
        book.record(unserialisable, [granule("made")])
    assert book.granules(["raw"]) == []
    assert book.last_sequence() == 0


def test_seconds_add_up_over_every_outcome_of_a_stage(book: ledger.Ledger) -> None:
    for seconds in (1.0, 2.5):
        book.record(ledger.Outcome("s", "x", "a", "1", "done", seconds=seconds))
    assert book.seconds_per_stage() == {"s": 3.5}


def test_known_content_at_another_place_is_the_same_granule_with_its_new_place(book: ledger.Ledger) -> None:
    book.register([granule("x")])
    moved = ledger.Granule("raw", "x", "1", "a", "bucket", "elsewhere", 1, {"etag": "new"})
    assert book.register([moved]) == 0
    (held,) = book.granules(["raw"])
    assert (held.key, held.attributes) == ("elsewhere", {"etag": "new"})
