"""Compiled loops of the cloud mask: shadows of clouds on terrain and shadows of terrain on itself.

Legend: i, j row and column, z ground height [m], h height of a cloud above the mean ground [m], u, v rows and columns a
shadow moves for every meter of height difference [pixel m-1], q darkness of a pixel in standard deviations, n number of
pixels, e evidence summed.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
_ITERATIONS = 4


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def match(
    i: Ints, j: Ints, start: Ints, q: Float32, open_ground: Flags, z: Float32, shift: Float64
) -> tuple[Float64, Ints]:
    """Darkness summed over the projection of every object for every candidate shift.

    Parameters
    ----------
    i, j : array
        Pixels of the objects, object after object.
    start : array
        First pixel of every object and, last, the number of pixels.
    q : array
        Darkness [1].
    open_ground : array
        Whether a pixel may show a shadow.
    z : array
        Height of the ground above its mean [m]; of one pixel where the ground is flat.
    shift : array
        Candidates: height [m], rows and columns per meter [pixel m-1].

    Returns
    -------
    tuple
        Darkness, and pixels on open ground, of every object and candidate.
    """
    rows, columns = q.shape
    objects, candidates = start.size - 1, shift.shape[0]
    flat = z.size == 1
    e = np.zeros((objects, candidates))
    n = np.zeros((objects, candidates), dtype=np.int64)
    for k in range(objects):
        for c in range(candidates):
            h, u, v = shift[c, 0], shift[c, 1], shift[c, 2]
            for p in range(start[k], start[k + 1]):
                below = h
                a = int(np.floor(i[p] + u * below + 0.5))
                b = int(np.floor(j[p] + v * below + 0.5))
                if not flat:
                    for _ in range(_ITERATIONS):
                        if a < 0 or a >= rows or b < 0 or b >= columns:
                            break
                        below = max(h - z[a, b], 0.0)
                        a = int(np.floor(i[p] + u * below + 0.5))
                        b = int(np.floor(j[p] + v * below + 0.5))
                if a < 0 or a >= rows or b < 0 or b >= columns:
                    continue
                if open_ground[a, b]:
                    n[k, c] += 1
                    e[k, c] += q[a, b]
    return e, n


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def project(label: Labels, chosen: Ints, z: Float32, shift: Float64) -> tuple[Flags, Flags]:
    """Ground in the shadow of the objects, each at its own height, and ground whose sun stands beyond the scene.

    Parameters
    ----------
    label : array
        Object of every pixel, 0 for none.
    chosen : array
        Candidate of every object, -1 for an object that casts no shadow; entry 0 stands for no object.
    z : array
        Height of the ground above its mean [m]; of one pixel where the ground is flat.
    shift : array
        Candidates in use: height [m], rows and columns per meter [pixel m-1].

    Returns
    -------
    tuple
        Shadow, and whether the cloud that would shade the pixel lies outside for some candidate.
    """
    rows, columns = label.shape
    flat = z.size == 1
    hit = np.zeros((rows, columns), dtype=np.bool_)
    outside = np.zeros((rows, columns), dtype=np.bool_)
    for a in range(rows):
        for b in range(columns):
            ground = 0.0 if flat else z[a, b]
            for c in range(shift.shape[0]):
                below = max(shift[c, 0] - ground, 0.0)
                y = int(np.floor(a - shift[c, 1] * below + 0.5))
                x = int(np.floor(b - shift[c, 2] * below + 0.5))
                if y < 0 or y >= rows or x < 0 or x >= columns:
                    outside[a, b] = True
                    continue
                k = label[y, x]
                if k > 0 and chosen[k] == c:
                    hit[a, b] = True
                    break
    return hit, outside


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def cast_shadow(z: Float32, down: float, across: float, rise: float, steps: int) -> Flags:
    """Pixels whose line to the sun meets higher ground.

    Parameters
    ----------
    z : array
        Height of the ground [m]; NaN blocks nothing.
    down, across : float
        Rows and columns of one step toward the sun, the longer of the two being one [pixel].
    rise : float
        Height the line gains in one step [m].
    steps : int
        Steps after which the line is above all ground [1].

    Returns
    -------
    array
        True in shadow.
    """
    rows, columns = z.shape
    dark = np.zeros((rows, columns), dtype=np.bool_)
    for i in range(rows):
        for j in range(columns):
            for s in range(1, steps + 1):
                y, x = i + s * down, j + s * across
                if y < 0 or x < 0 or y > rows - 1 or x > columns - 1:
                    break
                a, b = int(y), int(x)
                c, d = min(a + 1, rows - 1), min(b + 1, columns - 1)
                f, g = y - a, x - b
                top = (z[a, b] * (1 - g) + z[a, d] * g) * (1 - f) + (z[c, b] * (1 - g) + z[c, d] * g) * f
                if top > z[i, j] + s * rise:
                    dark[i, j] = True
                    break
    return dark
