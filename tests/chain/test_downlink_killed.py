"""The stages of the downlink killed amid their work: the same granules, nothing doubled, nothing left over."""

import itertools

import pytest

from infra.embedded import object_store_server
from tests.chain import downlink_ingestion as ingestion
from tests.chain import downlink_killing as killing

pytestmark = [pytest.mark.chain, pytest.mark.timeout(300)]
KILLS = 5


def test_a_killed_ingestion_ends_in_the_same_as_one_that_was_not(
    server: object_store_server.RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, numbers = tmp_path_factory.mktemp("killed"), itertools.count()

    def make() -> ingestion.Installation:
        return killing.landed(ingestion.Installation(folder / f"{next(numbers)}", server))

    plain = make()
    seconds = killing.run_whole(plain)
    hits = killing.kill_and_restart(make, plain=plain, seconds=seconds, kills=KILLS, seed=42)
    killing.report(hits)
    assert len(hits) == KILLS
    # a kill that hits nothing proves nothing
    assert any(hit.stages for hit in hits)
