"""Delivery killed at each step, again and again: nothing half, nothing lost, nothing twice (`make soak`)."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import object_store
from infra.embedded import object_store_server
from tests.chain import delivery_killing as killing
from tests.chain import delivery_kills as kills
from tests.chain import test_delivery_push_arrival as arrival

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

#: Kills at each step [1].
REPEATS = int(os.environ.get("TERRALIMB_SOAK_KILLS", "20"))
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def store_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("store-home")
    with object_store_server.serving(home, buckets=("tl-staging",)):
        yield home


@pytest.fixture(scope="module")
def store(store_home: Path) -> Iterator[object_store.ObjectStore]:
    running = object_store_server.running(store_home)
    assert running is not None
    connected = running.connect()
    yield connected
    connected.close()


@pytest.fixture(scope="module")
def nursery() -> Iterator[killing.Nursery]:
    with killing.open_nursery() as made:
        yield made


@pytest.fixture
def here(store: object_store.ObjectStore, store_home: Path, tmp_path: Path) -> killing.Installation:
    return killing.install(tmp_path / "home", store_home, store, f"tl-soak-{next(_numbers):04d}")


@pytest.mark.parametrize(("command", "step"), kills.EVERY)
def test_a_killed_command_shows_nothing_half_and_a_repetition_completes_it(
    nursery: killing.Nursery, here: killing.Installation, store: object_store.ObjectStore, command: str, step: str
) -> None:
    with kills.rounds(nursery, here, store, seed=2026) as rounds:
        for _ in range(REPEATS):
            rounds.round(command, step)
    assert rounds.kills == REPEATS


@pytest.mark.parametrize("step", kills.PUSH_STEPS["post"])
def test_a_killed_push_to_a_webhook_loses_nothing(
    nursery: killing.Nursery, here: killing.Installation, step: str
) -> None:
    with kills.posting(nursery, here, seed=2026) as pushes:
        for _ in range(REPEATS):
            pushes.round(step, more=12)
    assert pushes.kills == REPEATS


@arrival.needs_broker
@pytest.mark.parametrize("step", kills.PUSH_STEPS["send"])
def test_a_killed_push_to_a_broker_loses_nothing(
    nursery: killing.Nursery, here: killing.Installation, tmp_path: Path, step: str
) -> None:
    with kills.sending(nursery, here, tmp_path / "broker", seed=2026) as pushes:
        for _ in range(REPEATS):
            pushes.round(step, more=25)
    assert pushes.kills == REPEATS
