"""Undulation of the EGM96 geoid above WGS 84.

The packaged grid holds the 15' undulations of the NGA/NASA EGM96 release (public domain, as distributed in
`egm96_15.gtx` of PROJ) rounded to centimetres, as second differences in shuffled bytes. Rounding costs at most 5 mm.
"""

import functools
import hashlib
import io
from importlib import resources

import numpy as np
import numpy.typing as npt

from processors.arrays import FloatArray

GRID_FILE = "egm96_15.npz"
GRID_SHA256 = "c7959d32fd779108a2f5348b3a668734ff9e735c4541bc71c43b73dcf7529315"
ROWS, COLUMNS = 721, 1440
CELLS_PER_DEGREE = 4
NEIGHBOURS = np.arange(-1, 3)


def undulation(latitude: npt.ArrayLike, longitude: npt.ArrayLike) -> FloatArray:
    """Height of the EGM96 geoid above the WGS 84 ellipsoid.

    Parameters
    ----------
    latitude, longitude : array_like
        Geodetic latitude and longitude [degree].

    Returns
    -------
    FloatArray
        Undulation [m], bicubic (four-point Lagrange) between the nodes of the 15' grid.
    """
    north, east = np.broadcast_arrays(np.asarray(latitude, dtype=np.float64), np.asarray(longitude, dtype=np.float64))
    row = np.clip((north + 90.0) * CELLS_PER_DEGREE, 0.0, ROWS - 1.0)
    column = (east + 180.0) * CELLS_PER_DEGREE % COLUMNS
    base_row = np.clip(np.floor(row), 1, ROWS - 3).astype(np.int64)
    base_column = np.floor(column).astype(np.int64)
    rows = base_row[..., None] + NEIGHBOURS
    columns = (base_column[..., None] + NEIGHBOURS) % COLUMNS
    nodes = grid()[rows[..., :, None], columns[..., None, :]]
    return np.asarray(
        np.einsum("...i,...ij,...j->...", _cubic_weights(row - base_row), nodes, _cubic_weights(column - base_column))
    )


def _cubic_weights(fraction: FloatArray) -> FloatArray:
    """Lagrange weights of the nodes -1, 0, 1, 2 at a fractional position."""
    u = fraction
    return np.stack(
        [
            -u * (u - 1.0) * (u - 2.0) / 6.0,
            (u + 1.0) * (u - 1.0) * (u - 2.0) / 2.0,
            -(u + 1.0) * u * (u - 2.0) / 2.0,
            (u + 1.0) * u * (u - 1.0) / 6.0,
        ],
        axis=-1,
    )


@functools.cache
def grid() -> FloatArray:
    """Undulations on the 15' grid.

    Returns
    -------
    FloatArray
        Undulation [m], shape (721, 1440), rows from -90 to 90 degree, columns from -180 degree eastward.

    Raises
    ------
    RuntimeError
        Where the packaged grid is not the one this release was tested with.
    """
    packed = resources.files("processors.geodesy").joinpath(GRID_FILE).read_bytes()
    return _unpacked(packed, sha256=GRID_SHA256)


def _unpacked(packed: bytes, *, sha256: str) -> FloatArray:
    """Undulations [m] from the packaged bytes, refused where they are not the expected ones."""
    if hashlib.sha256(packed).hexdigest() != sha256:
        raise RuntimeError(f"{GRID_FILE} is damaged: its SHA-256 is not {sha256}")
    with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
        shuffled = archive["shuffled"]
    differences = np.ascontiguousarray(shuffled.T).view("<i2").reshape(ROWS, COLUMNS)
    centimetres = np.cumsum(np.cumsum(differences, axis=0, dtype=np.int64), axis=1)
    return np.asarray(centimetres * 0.01)
