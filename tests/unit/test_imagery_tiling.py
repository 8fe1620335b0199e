"""Tiles: every pixel once, in order, whoever computes them."""

from functools import partial

import numpy as np
import pytest

from infra import settings
from infra.imagery import tiling


def doubled(tile: tiling.Tile, *, image: np.ndarray) -> np.ndarray:
    rows, columns = tile.core.toslices()
    return 2.0 * image[rows, columns]


def assembled(image: np.ndarray) -> tuple[np.ndarray, list]:
    result, seen = np.full_like(image, np.nan), []

    def consume(tile, part):
        rows, columns = tile.core.toslices()
        result[rows, columns] = part
        seen.append(tile)

    parts = tiling.tiles(image.shape, size=16)
    with tiling.watched(lambda done, total: seen.append((done, total))):
        tiling.run(partial(doubled, image=image), parts, consume=consume)
    assert [item for item in seen if isinstance(item, tiling.Tile)] == parts
    return result, [item for item in seen if not isinstance(item, tiling.Tile)]


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 40), (50, 33)])
def test_every_pixel_is_in_exactly_one_core(shape):
    count = np.zeros(shape, dtype=int)
    for tile in tiling.tiles(shape, size=16, halo=3):
        rows, columns = tile.core.toslices()
        count[rows, columns] += 1
        assert (
            np.zeros((int(tile.padded.height), int(tile.padded.width)))[tile.inner].shape == count[rows, columns].shape
        )
        assert (tile.core.row_off - tile.padded.row_off, tile.core.col_off - tile.padded.col_off) == (3, 3)
    assert (count == 1).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_give_what_one_pass_gives(monkeypatch, workers):
    monkeypatch.setattr(settings, "current", lambda: settings.Settings(imagery_workers=workers))
    image = np.random.default_rng(4).random((50, 70))
    result, progress = assembled(image)
    assert np.array_equal(result, 2.0 * image)
    assert progress[-1] == (20, 20)


def test_a_cluster_gives_what_one_pass_gives(monkeypatch):
    distributed = pytest.importorskip("distributed")
    image = np.random.default_rng(5).random((50, 70))
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
    ) as cluster:
        chosen = settings.Settings(dask_scheduler=cluster.scheduler_address)
        monkeypatch.setattr(settings, "current", lambda: chosen)
        result, _ = assembled(image)
    assert np.array_equal(result, 2.0 * image)


def test_an_error_in_a_tile_is_raised():
    def failing(tile):
        raise RuntimeError(f"planted at {tile.core.row_off}")

    with pytest.raises(RuntimeError, match="planted"):
        tiling.run(failing, tiling.tiles((20, 20), size=16), consume=lambda tile, part: None)


def test_at_most_a_few_tiles_are_in_flight(monkeypatch):
    monkeypatch.setattr(settings, "current", lambda: settings.Settings(imagery_workers=2))
    begun, taken, most = [], [], []

    def working(tile):
        begun.append(tile)
        most.append(len(begun) - len(taken))

    tiling.run(working, tiling.tiles((16, 16 * 40), size=16), consume=lambda tile, part: taken.append(tile))
    assert len(taken) == 40
    assert max(most) <= 4
