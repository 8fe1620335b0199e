"""Work on rasters larger than memory: tile by tile, over the threads of this machine or the machines of a cluster.

One path for both: Dask runs a few tiles at a time, and what they give is taken up in order before the next few begin.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

import dask
from rasterio.windows import Window

from infra import settings

Result = TypeVar("Result")
Listener = Callable[[int, int], None]

SIZE = 1024
"""Edge of a tile [pixel], a multiple of the blocks files are written in."""
_AHEAD = 2
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


class Tile(NamedTuple):
    """A part of a raster."""

    core: Window
    """Pixels the tile answers for."""
    padded: Window
    """The same with the neighbors its work needs; may reach beyond the raster."""

    @property
    def inner(self) -> tuple[slice, slice]:
        """Rows and columns of the core within the padded window."""
        row, column = int(self.core.row_off - self.padded.row_off), int(self.core.col_off - self.padded.col_off)
        return slice(row, row + int(self.core.height)), slice(column, column + int(self.core.width))


def tiles(shape: tuple[int, int], *, size: int = SIZE, halo: int = 0) -> list[Tile]:
    """Tiles that cover a raster, row by row.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    size : int
        Edge of a tile [pixel].
    halo : int
        Neighbors on every side [pixel].

    Returns
    -------
    list of Tile
        Every pixel in exactly one core.
    """
    return [
        Tile(
            Window(left, top, min(size, shape[1] - left), min(size, shape[0] - top)),
            Window(
                left - halo, top - halo, min(size, shape[1] - left) + 2 * halo, min(size, shape[0] - top) + 2 * halo
            ),
        )
        for top in range(0, shape[0], size)
        for left in range(0, shape[1], size)
    ]


def run(function: Callable[[Tile], Result], parts: Sequence[Tile], *, consume: Callable[[Tile, Result], None]) -> None:
    """Call a function for every tile and take up what it gives, in the order of the tiles.

    At most two tiles a worker are in flight, which bounds the memory. The setting `dask_scheduler` names a cluster;
    else threads of this machine work.

    Parameters
    ----------
    function : callable
        Told a tile; for a cluster it must be picklable and open its files itself.
    parts : sequence of Tile
        The tiles.
    consume : callable
        Told every tile with what the function gave for it, in this thread.
    """
    listener = _listener.get()
    with _cluster() as workers:
        for start in range(0, len(parts), width := _AHEAD * workers):
            batch = parts[start : start + width]
            results = dask.compute(*(dask.delayed(function, pure=False)(tile) for tile in batch))
            for tile, result in zip(batch, results, strict=True):
                consume(tile, result)
            if listener is not None:
                listener(start + len(batch), len(parts))


@contextlib.contextmanager
def watched(listener: Listener) -> Iterator[None]:
    """Within the block, have a listener told how many of how many tiles are done.

    Parameters
    ----------
    listener : callable
        Told the tiles done and all tiles.

    Yields
    ------
    None
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def _cluster() -> Iterator[int]:
    """Have Dask use the configured cluster or this machine's threads; the number of workers."""
    address = settings.current().dask_scheduler
    if address is None:
        workers = settings.current().imagery_workers or len(os.sched_getaffinity(0))
        with dask.config.set(scheduler="threads" if workers > 1 else "synchronous", num_workers=workers):
            yield workers
        return
    client = _client(address)
    with contextlib.closing(client):
        yield max(sum(client.nthreads().values()), 1)


def _client(address: str) -> Any:
    try:
        import distributed
    except ImportError as error:
        raise RuntimeError("TERRALIMB_DASK_SCHEDULER is set: install the extra `cluster` for it") from error
    return distributed.Client(address)
