"""Compiled loops that sample a raster where a grid wants its values.

Legend: a source values (band, y, x), nr and nc source row and column at every step-th pixel of the target grid (node
row, node column; pixel centers count 0, 1, ...), s step [pixel], r0 and c0 the block's first pixel counted from the
first node [pixel], y0 and x0 source row and column of a[0, 0, 0] [pixel], o result (band, y, x), u and v source row and
column of one target pixel, n samples along a pixel's edge. A target pixel whose nearest source pixel is missing is
missing; else missing neighbors get no weight.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def _between(q: Floats, i: int, j: int, t: float, w: float) -> float:
    upper = q[i, j] + w * (q[i, j + 1] - q[i, j])
    lower = q[i + 1, j] + w * (q[i + 1, j + 1] - q[i + 1, j])
    return upper + t * (lower - upper)  # type: ignore[no-any-return, unused-ignore]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def _nearest(a: Floats32, u: float, v: float, y0: int, x0: int) -> float:
    if not (np.isfinite(u) and np.isfinite(v)):
        return np.nan
    i = int(np.floor(u + 0.5)) - y0
    j = int(np.floor(v + 0.5)) - x0
    if i < 0 or j < 0 or i >= a.shape[0] or j >= a.shape[1]:
        return np.nan
    return a[i, j]  # type: ignore[no-any-return, unused-ignore]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def _bilinear(a: Floats32, u: float, v: float, y0: int, x0: int) -> float:
    if not (np.isfinite(u) and np.isfinite(v)):
        return np.nan
    i = int(np.floor(u))
    j = int(np.floor(v))
    fi = np.float32(u - i)
    fj = np.float32(v - j)
    i -= y0
    j -= x0
    if i >= 0 and j >= 0 and i + 1 < a.shape[0] and j + 1 < a.shape[1]:
        upper = a[i, j] + (a[i, j + 1] - a[i, j]) * fj
        lower = a[i + 1, j] + (a[i + 1, j + 1] - a[i + 1, j]) * fj
        value = upper + (lower - upper) * fi
        if not np.isnan(value):
            return value  # type: ignore[no-any-return, unused-ignore]
    return _partial(a, i, j, fi, fj)  # type: ignore[no-any-return, arg-type, unused-ignore]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def _partial(a: Floats32, i: int, j: int, fi: float, fj: float) -> float:
    """Bilinear value at the raster's edge or beside missing pixels."""
    ni = i + int(fi >= 0.5)
    nj = j + int(fj >= 0.5)
    if ni < 0 or nj < 0 or ni >= a.shape[0] or nj >= a.shape[1] or np.isnan(a[ni, nj]):
        return np.nan
    total = 0.0
    weight = 0.0
    for di in range(2):
        for dj in range(2):
            y = i + di
            x = j + dj
            if y < 0 or x < 0 or y >= a.shape[0] or x >= a.shape[1] or np.isnan(a[y, x]):
                continue
            w = (fi if di else 1.0 - fi) * (fj if dj else 1.0 - fj)
            total += w * a[y, x]
            weight += w
    return total / weight


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def _keys(t: float) -> tuple[float, float, float, float]:
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def _cubic(a: Floats32, u: float, v: float, y0: int, x0: int) -> float:
    if not (np.isfinite(u) and np.isfinite(v)):
        return np.nan
    i = int(np.floor(u))
    j = int(np.floor(v))
    wi = _keys(u - i)
    wj = _keys(v - j)
    y = i - y0 - 1
    x = j - x0 - 1
    if y < 0 or x < 0 or y + 3 >= a.shape[0] or x + 3 >= a.shape[1]:
        return _bilinear(a, u, v, y0, x0)  # type: ignore[no-any-return, unused-ignore]
    total = 0.0
    for k in range(4):
        row = wj[0] * a[y + k, x] + wj[1] * a[y + k, x + 1] + wj[2] * a[y + k, x + 2] + wj[3] * a[y + k, x + 3]
        total += wi[k] * row
    return _bilinear(a, u, v, y0, x0) if np.isnan(total) else total  # type: ignore[no-any-return, unused-ignore]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def _bilinear_run(
    a: Floats32, u0: float, du: float, v0: float, dv: float, w0: int, y0: int, x0: int, o: Floats32
) -> None:
    """Bilinear values along a part of a row all of whose neighbors lie inside the block of source values."""
    for k in range(o.shape[0]):
        u = u0 + (w0 + k) * du
        v = v0 + (w0 + k) * dv
        i = int(np.floor(u))
        j = int(np.floor(v))
        fi = np.float32(u - i)
        fj = np.float32(v - j)
        y = np.uint64(i - y0)
        x = np.uint64(j - x0)
        y1 = np.uint64(i - y0 + 1)
        x1 = np.uint64(j - x0 + 1)
        upper = a[y, x] + (a[y, x1] - a[y, x]) * fj
        lower = a[y1, x] + (a[y1, x1] - a[y1, x]) * fj
        value = upper + (lower - upper) * fi
        o[k] = value if value == value else _bilinear(a, u, v, y0, x0)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def _inside(a: Floats32, u0: float, u1: float, v0: float, v1: float, y0: int, x0: int) -> bool:
    """Whether all positions between two ends have four neighbors in the block of source values."""
    return (  # type: ignore[no-any-return, unused-ignore]
        min(u0, u1) >= y0
        and max(u0, u1) < y0 + a.shape[0] - 1
        and min(v0, v1) >= x0
        and max(v0, v1) < x0 + a.shape[1] - 1
    )


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def sample(
    a: Floats32, nr: Floats, nc: Floats, s: int, r0: int, c0: int, y0: int, x0: int, order: int, o: Floats32
) -> None:
    """Fill o with the source values at the pixels of a block.

    Parameters
    ----------
    a, nr, nc, s, r0, c0, y0, x0 : array and int
        See the legend.
    order : int
        0 nearest pixel, 1 bilinear, 3 cubic convolution (Keys 1981, a = -1/2).
    o : array
        Result (band, y, x), overwritten.
    """
    for b in range(o.shape[0]):
        layer = a[b]
        for r in range(o.shape[1]):
            i = (r0 + r) // s
            t = ((r0 + r) - i * s) / s
            c = 0
            while c < o.shape[2]:
                j = (c0 + c) // s
                end = min((j + 1) * s - c0, o.shape[2])
                left_u = nr[i, j] + t * (nr[i + 1, j] - nr[i, j])
                left_v = nc[i, j] + t * (nc[i + 1, j] - nc[i, j])
                slope_u = (nr[i, j + 1] + t * (nr[i + 1, j + 1] - nr[i, j + 1]) - left_u) / s
                slope_v = (nc[i, j + 1] + t * (nc[i + 1, j + 1] - nc[i, j + 1]) - left_v) / s
                w0 = (c0 + c) - j * s
                w1 = (c0 + end - 1) - j * s
                if order == 1 and _inside(
                    layer,
                    left_u + w0 * slope_u,
                    left_u + w1 * slope_u,
                    left_v + w0 * slope_v,
                    left_v + w1 * slope_v,
                    y0,
                    x0,
                ):
                    _bilinear_run(layer, left_u, slope_u, left_v, slope_v, w0, y0, x0, o[b, r, c:end])
                    c = end
                    continue
                for k in range(c, end):
                    w = (c0 + k) - j * s
                    u = left_u + w * slope_u
                    v = left_v + w * slope_v
                    if order == 1:
                        o[b, r, k] = _bilinear(layer, u, v, y0, x0)
                    elif order == 3:
                        o[b, r, k] = _cubic(layer, u, v, y0, x0)
                    else:
                        o[b, r, k] = _nearest(layer, u, v, y0, x0)
                c = end


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def average(
    a: Floats32, nr: Floats, nc: Floats, s: int, r0: int, c0: int, y0: int, x0: int, n: int, o: Floats32
) -> None:
    """Fill o with the mean of n x n nearest source pixels spread over each pixel of a block.

    Missing where more than half of them are missing.

    Parameters
    ----------
    a, nr, nc, s, r0, c0, y0, x0, n : array and int
        See the legend.
    o : array
        Result (band, y, x), overwritten.
    """
    for b in range(o.shape[0]):
        for r in range(o.shape[1]):
            i = (r0 + r) // s
            for c in range(o.shape[2]):
                j = (c0 + c) // s
                total = 0.0
                count = 0
                for k in range(n * n):
                    t = ((r0 + r) - i * s + (k // n + 0.5) / n - 0.5) / s
                    w = ((c0 + c) - j * s + (k % n + 0.5) / n - 0.5) / s
                    value = _nearest(a[b], _between(nr, i, j, t, w), _between(nc, i, j, t, w), y0, x0)
                    if not np.isnan(value):
                        total += value
                        count += 1
                o[b, r, c] = total / count if 2 * count >= n * n else np.nan
