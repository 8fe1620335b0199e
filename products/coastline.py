"""Outline of the land, for maps without a network.

The packaged outline is the land of Natural Earth 4.1 at 1:50 million (public domain, as distributed in `land-50m.json`
of world-atlas 2.0.2), simplified to 0.04 degree, without islands and lakes below 0.004 square degrees, in hundredths of
a degree as differences in shuffled bytes.
"""

import functools
import hashlib
import io
from importlib import resources

import numpy as np
from matplotlib.path import Path as Outline

from processors.arrays import FloatArray

FILE = "coastline.npz"
SHA256 = "0e08c00eba9f32711de7f27f3ed714e887ad028386c6ba3f2d3ec89db45c39e6"
STEPS_PER_DEGREE = 100.0


@functools.cache
def rings() -> tuple[FloatArray, ...]:
    """Closed lines around land and around the lakes in it.

    Returns
    -------
    tuple of FloatArray
        Longitude and latitude [degree], shape (n, 2), the first point not repeated; land counter-clockwise, lakes
        clockwise.

    Raises
    ------
    RuntimeError
        The packaged outline is not the one this release was made with.
    """
    return _unpacked(resources.files("products").joinpath(FILE).read_bytes(), sha256=SHA256)


def _unpacked(packed: bytes, *, sha256: str) -> tuple[FloatArray, ...]:
    if hashlib.sha256(packed).hexdigest() != sha256:
        raise RuntimeError(f"{FILE} is damaged: its SHA-256 is not the one of this release")
    with np.load(io.BytesIO(packed)) as stored:
        high, low = stored["delta"].astype(np.uint16)
        ends = np.cumsum(stored["length"].astype(np.int64))
    # Sums wrap around in sixteen bits as the differences did.
    steps = np.cumsum((high << 8) | low, axis=1, dtype=np.uint16).view(np.int16)
    degrees = steps.T.astype(np.float64) / STEPS_PER_DEGREE
    return tuple(np.split(degrees, ends[:-1]))


@functools.cache
def outline() -> Outline:
    """All rings as one path to be filled.

    Returns
    -------
    matplotlib.path.Path
        Vertices are longitude and latitude [degree].
    """
    closed = [Outline(np.vstack([ring, ring[:1]]), closed=True) for ring in rings()]
    return Outline.make_compound_path(*closed)
