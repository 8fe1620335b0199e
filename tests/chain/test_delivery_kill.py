"""Killed at any step, delivery shows nothing half, loses no announcement, and never has two current revisions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import object_store
from infra.embedded import object_store_server
from tests.chain import delivery_killing as killing
from tests.chain import delivery_kills as kills
from tests.chain import delivery_laws as laws
from tests.chain import test_delivery_push_arrival as arrival

pytestmark = [pytest.mark.chain, pytest.mark.timeout(300)]

#: A handful of all the kills of `make soak`.
HANDFUL = [
    ("publish", "after put data.tif"),
    ("publish", "after signature"),
    ("publish", "after commit"),
    ("replace", "before commit"),
    ("replace", "after put announcement"),
    ("withdraw", "after commit"),
    ("expire", "after delete data.tif (2)"),
    ("replace", kills.ANY_TIME),
]


@pytest.fixture(scope="module")
def nursery() -> Iterator[killing.Nursery]:
    with killing.open_nursery() as made:
        yield made


@pytest.fixture
def here(
    store: object_store.ObjectStore, server: object_store_server.RunningServer, bucket: str, tmp_path: Path
) -> killing.Installation:
    return killing.install(tmp_path / "home", server.home, store, bucket)


@pytest.fixture
def rounds(
    nursery: killing.Nursery, here: killing.Installation, store: object_store.ObjectStore
) -> Iterator[kills.Rounds]:
    with kills.rounds(nursery, here, store, seed=42) as made:
        yield made


def test_a_killed_command_shows_nothing_half_and_a_repetition_completes_it(rounds: kills.Rounds) -> None:
    for command, step in HANDFUL:
        rounds.round(command, step)
    assert rounds.kills == len(HANDFUL)


def test_there_is_a_kill_after_everything_a_command_does_beyond_its_process(rounds: kills.Rounds) -> None:
    verbs = ("put ", "delete ", "commit", "audit", "list")
    for number, command in enumerate(("publish", "replace", "withdraw", "expire"), 1):
        for first in kills.FIRST[command]:
            rounds.finish(first, number)
        if command == "expire":  # of this item only: those before it go first
            rounds.finish("expire", number - 1)
        passed = rounds.finish(command, number).passed
        done = {name for name in passed if name.startswith(tuple(f"after {verb}" for verb in verbs))}
        steps = {*kills.STEPS[command], *(kills.STEPS["publish"] if command == "replace" else ())}
        assert done <= steps, command


# What a fault in the code would look like, and the law that catches it
FAULTS = [
    ("unsigned", "publish", "after commit", "MANIFEST.json.minisig is visible and missing"),
    ("unverified", "publish", "after commit", "is not as the manifest says"),
    ("announced apart", "replace", "after commit", "does not tell what happened"),
    ("marked first", "publish", "before put announcement", "counts as delivered and is not in the feed"),
]


@pytest.mark.parametrize(("fault", "command", "step", "law"), FAULTS)
def test_a_planted_fault_breaks_its_law(
    nursery: killing.Nursery,
    here: killing.Installation,
    store: object_store.ObjectStore,
    fault: str,
    command: str,
    step: str,
    law: str,
) -> None:
    with pytest.raises(AssertionError, match=law), kills.rounds(nursery, here, store, seed=1) as rounds:
        rounds.round(command, step, fault=fault)


def test_what_the_store_damages_stays_invisible(
    nursery: killing.Nursery, here: killing.Installation, store: object_store.ObjectStore
) -> None:
    ended = nursery.run(here, "publish", 1, fault="damaging")
    assert (ended.status, "VerificationError" in ended.said) == (1, True)
    with laws.observing(here, store) as observer:
        observer.check_interrupted()
        assert observer.states() == {}


def test_a_killed_push_to_a_webhook_loses_nothing(nursery: killing.Nursery, here: killing.Installation) -> None:
    with kills.posting(nursery, here, seed=42) as pushes:
        for step in ("after post", "before commit"):
            pushes.round(step, more=12)


@arrival.needs_broker
def test_a_killed_push_to_a_broker_loses_nothing(
    nursery: killing.Nursery, here: killing.Installation, tmp_path: Path
) -> None:
    with kills.sending(nursery, here, tmp_path / "broker", seed=42) as pushes:
        pushes.round("after send", more=25)
