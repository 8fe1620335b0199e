"""Fifty kills of the stages of the downlink: the same granules, nothing doubled, nothing left over (`make soak`)."""

import itertools
from collections.abc import Iterator

import pytest

from infra.embedded import object_store_server
from tests.chain import downlink_ingestion as ingestion
from tests.chain import downlink_killing as killing

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
KILLS = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_store_server.RunningServer]:
    home = tmp_path_factory.mktemp("store-home")
    with object_store_server.serving(home, buckets=("tl-staging",)) as running:
        yield running


def test_a_killed_ingestion_ends_in_the_same_as_one_that_was_not(
    server: object_store_server.RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, numbers = tmp_path_factory.mktemp("killed"), itertools.count()

    def make() -> ingestion.Installation:
        return killing.landed(ingestion.Installation(folder / f"{next(numbers)}", server))

    plain = make()
    seconds = killing.run_whole(plain)
    hits = killing.kill_and_restart(make, plain=plain, seconds=seconds, kills=KILLS, seed=2026)
    killing.report(hits)
    assert len(hits) == KILLS
    # a kill that hits nothing proves nothing
    assert any(hit.stages for hit in hits)
