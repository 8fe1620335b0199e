"""Terrain layers of a map: those at hand, or made for it of a height model."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from infra.imagery import raster_file
from infra.surface import terrain as terrain_slice
from processors.quality import BadInputError


class Look(NamedTuple):
    """How a radar looks."""

    incidence: float
    """Angle of incidence on level ground [degree]."""
    azimuth: float
    """Azimuth of the look, from the radar to the ground, clockwise from north [degree]."""


@contextlib.contextmanager
def made(
    terrain: Path | None,
    dem: Path | None,
    *,
    look: Look | None,
    like: raster_file.RasterFile,
    warnings: list[str],
) -> Iterator[Path | None]:
    """Layers at hand, or made of heights for the time of the map.

    Parameters
    ----------
    terrain : Path or None
        Layers of `surface terrain`.
    dem : Path or None
        Heights.
    look : Look or None
        For layover and shadow.
    like : RasterFile
        Raster the map is made for.
    warnings : list of str
        Receives remarks.

    Yields
    ------
    Path or None
        Terrain file, None where nothing is given.

    Raises
    ------
    BadInputError
        `terrain_ambiguous` where both are given, `look_without_heights`, `crs_missing`.
    """
    if terrain is not None and dem is not None:
        raise BadInputError("terrain_ambiguous", "give heights or terrain layers made of them, not both")
    if look is not None and dem is None:
        raise BadInputError("look_without_heights", "layover and shadow need heights beside incidence and azimuth")
    if (terrain or dem) and like.crs is None:
        raise BadInputError("crs_missing", f"{like.name} states no reference system to place the terrain in")
    if dem is None:
        yield terrain
        return
    with tempfile.TemporaryDirectory(prefix="terrain-") as folder:
        path = Path(folder) / "terrain.tif"
        warnings += _made(dem, path, look)
        yield path


def _made(dem: Path, path: Path, look: Look | None) -> list[str]:
    incidence, azimuth = look or (None, None)
    report = terrain_slice.run(dem, path, incidence=incidence, look_azimuth=azimuth)
    return list(report.get("warnings", ()))
