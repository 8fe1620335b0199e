"""Compiled loops of the wave-optics forward model.

Legend: k wave number [rad m-1], x along the axis of propagation and z across it, both from the centre of curvature [m],
u complex field without the carrier exp(i kc z) [1], h altitude [m], N refractivity [1e-6], d distance [m], a impact
parameter [m], r radius [m], X refractional radius n r [m], c coefficients of the spline of ln N.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
BLOCK = 64


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def pass_screen(
    u: Complexes,
    z: Floats,
    taper: Floats,
    node: Floats,
    strength: Floats,
    secant: Floats,
    table: Floats,
    spacing: float,
    surface: float,
    edge: float,
) -> None:
    """Multiply u in place by the screen of one slab: exp(i sec sum_q strength_q N(node_q, z)), taper, opaque Earth.

    Parameters
    ----------
    u : array
        Field.
    z : array
        Points across, from the centre of curvature [m].
    taper : array
        Amplitude kept [1].
    node, strength : array
        Points of the quadrature along the slab [m] and their weights times 1e-6 k [rad].
    secant : array
        1/cos of the angle of an average ray, minus 1, at evenly spaced points from the first z on [1].
    table : array
        N from altitude 0 on [1e-6].
    spacing : float
        Spacing of the table [m].
    surface : float
        Radius of the surface [m].
    edge : float
        Depth over which the field ends below the surface, at the mean of the nodes [m].
    """
    middle = np.mean(node)
    last = table.size - 1
    for j in range(z.size):
        depth = np.sqrt(middle * middle + z[j] * z[j]) - surface
        if depth <= -edge or taper[j] == 0.0:
            u[j] = 0.0
            continue
        phase = 0.0
        for q in range(node.size):
            h = (np.sqrt(node[q] * node[q] + z[j] * z[j]) - surface) / spacing
            if h < 0.0:
                h = 0.0
            i = int(h)
            if i < last:
                phase += strength[q] * (table[i] + (h - i) * (table[i + 1] - table[i]))
        if phase == 0.0 and depth >= 0.0:
            u[j] *= taper[j]
            continue
        g = j * (secant.size - 1) / z.size
        i = int(g)
        phase += phase * (secant[i] + (g - i) * (secant[i + 1] - secant[i]))
        amplitude = taper[j]
        if depth < 0.0:
            amplitude *= 0.5 * (1.0 + np.cos(np.pi * depth / edge))
        u[j] *= amplitude * complex(np.cos(phase), np.sin(phase))


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def diffract(
    u: Complexes,
    first: float,
    spacing: float,
    carrier: float,
    screen: float,
    k: float,
    x: Floats,
    z: Floats,
    reference: Floats,
    low: Floats,
    high: Floats,
    margin: float,
) -> Complexes:
    """Rayleigh-Sommerfeld integral of the field on the last screen at the points (x, z), over [low, high] and margins.

    The distance is expanded to second order within blocks (error below 1e-8 m), so that a rotation gives the phase.

    Parameters
    ----------
    u : array
        Field.
    first, spacing : float
        First point across and distance of the points [m].
    carrier : float
        Wave number of the carrier across [rad m-1].
    screen : float
        Place of the last screen along x [m].
    k : float
        Wave number [rad m-1].
    x, z : array
        Points of the receiver [m], z like `first`.
    reference : array
        Distance whose phase is taken out of the result [m].
    low, high : array
        Ends of the integral across [m].
    margin : float
        What is added beyond both, its outer half a soft end [m].

    Returns
    -------
    array
        Field with exp(i k (d - reference)) / sqrt(d).
    """
    found = np.zeros(x.size, dtype=np.complex128)
    m = u.size
    for p in range(x.size):
        ahead = x[p] - screen
        start = max(0, int((low[p] - margin - first) / spacing))
        stop = min(m, int((high[p] + margin - first) / spacing) + 1)
        total = 0.0 + 0.0j
        for b in range(start, stop, BLOCK):
            end = min(stop, b + BLOCK)
            zb = first + spacing * b
            across = zb - z[p]
            d = np.sqrt(ahead * ahead + across * across)
            slope = across / d
            curved = (1.0 - slope * slope) / d
            phase = k * (d - reference[p]) + carrier * zb
            step = (k * slope + carrier) * spacing + 0.5 * k * curved * spacing * spacing
            bend = k * curved * spacing * spacing
            w = complex(np.cos(phase), np.sin(phase))
            q = complex(np.cos(step), np.sin(step))
            s = complex(np.cos(bend), np.sin(bend))
            part = 0.0 + 0.0j
            if zb < low[p] or zb + spacing * BLOCK > high[p]:
                for j in range(b, end):
                    zj = first + spacing * j
                    out = max(low[p] - zj, zj - high[p], 0.0) / margin
                    if out < 1.0:
                        part += u[j] * w * (0.5 + 0.5 * np.cos(np.pi * max(2.0 * out - 1.0, 0.0)))
                    w *= q
                    q *= s
            else:
                for j in range(b, end):
                    part += u[j] * w
                    w *= q
                    q *= s
            total += part * (ahead / (d * np.sqrt(d)))
        found[p] = total * spacing
    found *= np.sqrt(k / (2.0 * np.pi)) * np.exp(-0.25j * np.pi)
    return found


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _refraction(c: Floats, i: int, t: float, r: float) -> tuple[float, float]:
    """X = n r and d ln n/dr at offset t in interval i of the spline."""
    log = ((c[0, i] * t + c[1, i]) * t + c[2, i]) * t + c[3, i]
    slope = (3.0 * c[0, i] * t + 2.0 * c[1, i]) * t + c[2, i]
    excess = 1e-6 * np.exp(log)
    return r + excess * r, excess * slope / (1.0 + excess)


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def bending(a: Floats, r: Floats, c: Floats, node: Floats, weight: Floats, near: int) -> tuple[Floats, Floats]:
    """Bending and tangent radius: -2 a Int (d ln n/dr) dr / sqrt(X2 - a2) from the uppermost point X = a.

    Panels between the knots of the spline; in the lowest ones r = r_t + v2 takes the singularity away.

    Parameters
    ----------
    a : array
        Impact parameters [m].
    r : array
        Knots [m].
    c : array
        Coefficients of ln N between them.
    node, weight : array
        Gauss-Legendre rule [1].
    near : int
        Number of panels with the substitution.

    Returns
    -------
    tuple
        Bending [rad] and tangent radius [m], NaN where no ray exists.
    """
    m, order = r.size, node.size
    X, f = np.empty((m - 1, order)), np.empty((m - 1, order))
    knot = np.empty(m)
    for i in range(m - 1):
        width = r[i + 1] - r[i]
        for q in range(order):
            t = 0.5 * width * (1.0 + node[q])
            X[i, q], slope = _refraction(c, i, t, r[i] + t)
            f[i, q] = slope * 0.5 * width * weight[q]
        knot[i] = _refraction(c, i, 0.0, r[i])[0]
    knot[m - 1] = _refraction(c, m - 2, r[m - 1] - r[m - 2], r[m - 1])[0]
    found, tangent = np.full(a.size, np.nan), np.full(a.size, np.nan)
    for p in range(a.size):
        i = m - 2
        while i >= 0 and knot[i] > a[p]:
            i -= 1
        if i < 0 or knot[i + 1] <= a[p]:
            continue
        low, high = 0.0, r[i + 1] - r[i]
        for _ in range(60):
            t = 0.5 * (low + high)
            if _refraction(c, i, t, r[i] + t)[0] > a[p]:
                high = t
            else:
                low = t
        rt = r[i] + high
        tangent[p] = rt
        total = 0.0
        stop = min(i + near, m - 1)
        v0 = 0.0
        for b in range(i, stop):
            v1 = np.sqrt(r[b + 1] - rt)
            for q in range(order):
                v = v0 + 0.5 * (v1 - v0) * (1.0 + node[q])
                t = rt - r[b] + v * v
                x, slope = _refraction(c, b, t, rt + v * v)
                root = (x - a[p]) * (x + a[p])
                if root > 0.0:
                    total += slope * weight[q] * (v1 - v0) * v / np.sqrt(root)
            v0 = v1
        for b in range(stop, m - 1):
            for q in range(order):
                root = (X[b, q] - a[p]) * (X[b, q] + a[p])
                if root > 0.0:
                    total += f[b, q] / np.sqrt(root)
        found[p] = -2.0 * a[p] * total
    return found, tangent
