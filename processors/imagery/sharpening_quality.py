"""Quality of sharpened images: ERGAS, SAM and Q2n against a reference, QNR and HQNR without one.

ERGAS: Wald (2000). SAM: Yuhas et al. (1992). Q2n: Alparone et al. (2004, doi:10.1109/LGRS.2004.836784) for four bands,
Garzelli and Nencini (2009, doi:10.1109/LGRS.2009.2022650) for any number. QNR: Alparone et al. (2008,
doi:10.14358/PERS.74.2.193). HQNR: Aiazzi et al. (2014), with the spectral distortion of Khan et al. (2009).
Pixels that any plane lacks count nowhere.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import AnyFloat, BoolArray, FloatArray

BLOCK = 32
"""Side of the blocks of Q and Q2n [pixel]."""
MINIMUM_SEEN = 0.5
"""Part of a block that must be seen [1]."""


class Distortion(NamedTuple):
    """Quality without a reference, 0 to 1."""

    spectral: float
    """Change of the relations between the bands, of QNR [1]."""
    spectral_consistency: float
    """Loss of the bands seen coarsely, of HQNR [1]."""
    spatial: float
    """Change of the relations to the panchromatic image [1]."""
    qnr: float
    """Quality with no reference [1]."""
    hqnr: float
    """Hybrid quality with no reference [1]."""


def _seen(*stacks: AnyFloat) -> BoolArray:
    result: BoolArray = np.logical_and.reduce([np.all(np.isfinite(stack), axis=0) for stack in stacks])
    return result


def _require_same(first: AnyFloat, second: AnyFloat) -> None:
    if first.ndim != 3 or first.shape != second.shape:
        raise ValueError(f"images have shapes {first.shape} and {second.shape}; both must be the same (band, y, x)")


def ergas(image: AnyFloat, reference: AnyFloat, *, ratio: float) -> float:
    """Relative dimensionless global error: 100 / r sqrt(mean over bands of (RMSE / mean)^2).

    Parameters
    ----------
    image, reference : array
        Bands (band, y, x), NaN where missing.
    ratio : float
        Coarse pixel size over the fine one [1].

    Returns
    -------
    float
        Error, 0 where both are the same [1]; NaN where nothing is seen.
    """
    _require_same(image, reference)
    seen = _seen(image, reference)
    if not seen.any():
        return float("nan")
    truth = reference[:, seen].astype(np.float64)
    square = np.mean((image[:, seen] - truth) ** 2, axis=1)
    return float(100.0 / ratio * np.sqrt(np.mean(square / np.mean(truth, axis=1) ** 2)))


def spectral_angle(image: AnyFloat, reference: AnyFloat) -> float:
    """Mean angle between the spectra.

    Parameters
    ----------
    image, reference : array
        Bands (band, y, x), NaN where missing.

    Returns
    -------
    float
        Angle [degree]; NaN where nothing is seen.
    """
    _require_same(image, reference)
    seen = _seen(image, reference)
    first, second = image[:, seen].astype(np.float64), reference[:, seen].astype(np.float64)
    norms = np.sqrt(np.sum(first**2, axis=0) * np.sum(second**2, axis=0))
    usable = norms > 0.0
    if not usable.any():
        return float("nan")
    cosine = np.sum(first * second, axis=0)[usable] / norms[usable]
    return float(np.degrees(np.mean(np.arccos(np.clip(cosine, -1.0, 1.0)))))


def hypercomplex_signs(dimensions: int) -> npt.NDArray[np.int64]:
    """Signs of the products of hypercomplex units, by the doubling of Cayley and Dickson.

    Unit i times unit j is the sign (i, j) times unit i xor j; (a, b)(c, d) = (a c - d* b, d a + b c*).

    Parameters
    ----------
    dimensions : int
        Units, a power of two [1].

    Returns
    -------
    array
        Signs (i, j), 1 or -1 [1].
    """
    signs = np.ones((1, 1), dtype=np.int64)
    while signs.shape[0] < dimensions:
        half = signs.shape[0]
        conjugate = np.where(np.arange(half) == 0, 1, -1)
        larger = np.empty((2 * half, 2 * half), dtype=np.int64)
        larger[:half, :half] = signs
        larger[:half, half:] = signs.T
        larger[half:, :half] = signs * conjugate
        larger[half:, half:] = -(signs * conjugate[:, None]).T
        signs = larger
    return signs


def _blocks(image: AnyFloat, size: int) -> FloatArray:
    """Non-overlapping blocks (block, band, pixel); what does not fill a block at the far edges is left out."""
    bands, rows, columns = image.shape
    side = min(size, rows, columns)
    down, across = rows // side, columns // side
    cut = image[:, : down * side, : across * side].reshape(bands, down, side, across, side)
    return cut.transpose(1, 3, 0, 2, 4).reshape(down * across, bands, side * side).astype(np.float64)


def _moments(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """Means and cross moments (block, band, band) of pixels seen in both, and which blocks are seen."""
    seen = np.all(np.isfinite(first) & np.isfinite(second), axis=1)
    count = np.maximum(seen.sum(axis=1), 1)
    a = np.where(seen[:, None], first, 0.0)
    b = np.where(seen[:, None], second, 0.0)
    mean_a, mean_b = a.sum(axis=2) / count[:, None], b.sum(axis=2) / count[:, None]
    a = np.where(seen[:, None], first - mean_a[:, :, None], 0.0)
    b = np.where(seen[:, None], second - mean_b[:, :, None], 0.0)
    cross = np.einsum("kip,kjp->kij", a, b) / count[:, None, None]
    own = np.stack([np.einsum("kip,kip->k", x, x) / count for x in (a, b)])
    usable = seen.mean(axis=1) >= MINIMUM_SEEN
    return np.stack([mean_a, mean_b]), cross, own, usable


def hypercomplex_quality(image: AnyFloat, reference: AnyFloat, *, block: int = BLOCK) -> float:
    """Q2n: correlation, contrast and mean of spectra as hypercomplex numbers, mean over blocks.

    Parameters
    ----------
    image, reference : array
        Bands (band, y, x), NaN where missing.
    block : int
        Side of the blocks [pixel].

    Returns
    -------
    float
        Quality, 1 where both are the same [1]; NaN where no block is seen.
    """
    _require_same(image, reference)
    bands = image.shape[0]
    dimensions = 1 << (bands - 1).bit_length()
    means, cross, own, usable = _moments(_blocks(reference, block), _blocks(image, block))
    signs = hypercomplex_signs(dimensions)[:bands, :bands] * np.where(np.arange(bands) == 0, 1, -1)
    unit = np.arange(bands)[:, None] ^ np.arange(bands)[None, :]
    product = np.stack([np.sum(cross * (signs * (unit == k)), axis=(1, 2)) for k in range(dimensions)])
    covariance = np.sqrt(np.sum(product**2, axis=0))
    squares = np.sum(means**2, axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast = np.where(own.sum(axis=0) > 0.0, 2.0 * covariance / own.sum(axis=0), 1.0)
        level = np.where(squares.sum(axis=0) > 0.0, 2.0 * np.sqrt(squares[0] * squares[1]) / squares.sum(axis=0), 1.0)
    return float(np.mean((contrast * level)[usable])) if usable.any() else float("nan")


def universal_quality(first: AnyFloat, second: AnyFloat, *, block: int = BLOCK) -> float:
    """Q of two planes (Wang and Bovik 2002), mean over blocks, signed.

    Parameters
    ----------
    first, second : array
        Planes (y, x), NaN where missing.
    block : int
        Side of the blocks [pixel].

    Returns
    -------
    float
        Quality, -1 to 1 [1]; NaN where no block is seen.
    """
    means, cross, own, usable = _moments(_blocks(first[None], block), _blocks(second[None], block))
    a, b = means[0, :, 0], means[1, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(own.sum(axis=0) > 0.0, 2.0 * cross[:, 0, 0] / own.sum(axis=0), 1.0)
        level = np.where(a * a + b * b > 0.0, 2.0 * a * b / (a * a + b * b), 1.0)
    return float(np.mean((spread * level)[usable])) if usable.any() else float("nan")


def distortion(
    sharpened: AnyFloat, pan: AnyFloat, *, ms: AnyFloat, low: AnyFloat, sharpened_low: AnyFloat, block: int = BLOCK
) -> Distortion:
    """Quality at full resolution, without a reference.

    Parameters
    ----------
    sharpened : array
        Sharpened bands (band, y, x) on the fine grid.
    pan : array
        Panchromatic image (y, x) on the fine grid.
    ms : array
        Multispectral bands (band, y, x) on the coarse grid.
    low : array
        Panchromatic image on the coarse grid (y, x).
    sharpened_low : array
        Sharpened bands seen with the point spread function of the multispectral bands, on the coarse grid (band, y, x).
    block : int
        Side of the blocks on either grid [pixel].

    Returns
    -------
    Distortion
        Distortions and both qualities.
    """
    bands = ms.shape[0]

    def q(first: AnyFloat, second: AnyFloat) -> float:
        return universal_quality(first, second, block=block)

    pairs = [(i, j) for i in range(bands) for j in range(i + 1, bands)]
    changes = [abs(q(ms[i], ms[j]) - q(sharpened[i], sharpened[j])) for i, j in pairs]
    spectral = float(np.mean(changes)) if changes else 0.0
    spatial = float(np.mean([abs(q(sharpened[i], pan) - q(ms[i], low)) for i in range(bands)]))
    consistency = 1.0 - hypercomplex_quality(sharpened_low, ms, block=block)
    return Distortion(
        spectral, consistency, spatial, (1.0 - spectral) * (1.0 - spatial), (1.0 - consistency) * (1.0 - spatial)
    )
