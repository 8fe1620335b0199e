"""Displacements between two images at a grid of points, by correlation of their gradients in the Fourier domain.

A template of the reference, weighed by a Hann window, is compared with an unwindowed part of the target by the
weighted correlation coefficient, sum w r* t / sqrt(sum w |r|^2 sum w |t|^2); windowing one side only keeps the peak
from being drawn to zero. The numerator is evaluated between the pixels with a matrix Fourier transform
(Guizar-Sicairos et al. 2008). Every point is matched both ways and the two results are averaged.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from processors.arrays import BoolArray, FloatArray
from processors.imagery import oriented_gradients
from processors.imagery.oriented_gradients import Features, Image, Kind

Reader: TypeAlias = Callable[["Chip"], Image]
"""Reads a part of an image; pixels outside are NaN."""

Real: TypeAlias = npt.NDArray[np.float32]

_STEP = 0.2
_HALF_STEPS = 5
_NEIGHBORHOOD = 3.0
_DISAGREEING, _AGREEING = 0.3, 0.6


class Chip(NamedTuple):
    """A part of an image; it may reach beyond the edges."""

    row: int
    """First row [pixel]."""
    column: int
    """First column [pixel]."""
    rows: int
    """Height [pixel]."""
    columns: int
    """Width [pixel]."""


@dataclass(frozen=True)
class Matching:
    """How images are compared.

    Parameters
    ----------
    kind : str
        `gradient` for images of like contrast, `structure` where contrast may be inverted.
    smoothing : float
        Standard deviation of the Gaussian filter before the gradient [pixel].
    window : int
        Side of the template [pixel].
    margin : int
        Largest displacement searched from the coarse one [pixel].
    exclusion : float
        Distance from the peak beyond which another peak is a rival [pixel].
    """

    kind: Kind
    smoothing: float
    window: int
    margin: int
    exclusion: float


class Source(NamedTuple):
    """One image of the pair."""

    read: Reader
    """Reads a part."""
    scale: float
    """Magnitude at which gradients are compressed [image unit per pixel]."""


class Coarse(NamedTuple):
    """Displacement of the image as a whole."""

    dx: int
    """Displacement of the target's content to the right [pixel]."""
    dy: int
    """Displacement of the target's content down [pixel]."""
    score: float
    """Height of the peak over the robust spread of the correlation at all displacements [1]."""
    ratio: float
    """Peak over the highest rival [1]."""
    reference_scale: float
    """Typical gradient of the reference [image unit per pixel]."""
    target_scale: float
    """Typical gradient of the target [image unit per pixel]."""
    overlap: float
    """Share of the looked-at area where both images hold data [1]."""


class Matches(NamedTuple):
    """Displacements at points of the reference grid."""

    x: FloatArray
    """Column of the point's center, 0 at the left edge of the image (point) [pixel]."""
    y: FloatArray
    """Row of the point's center, 0 at the upper edge of the image (point) [pixel]."""
    dx: FloatArray
    """Displacement of the target's content to the right (point) [pixel]."""
    dy: FloatArray
    """Displacement of the target's content down (point) [pixel]."""
    correlation: FloatArray
    """Correlation coefficient at the peak (point) [1]."""
    gain: FloatArray
    """Correlation coefficient at the peak less that without displacement (point) [1]."""
    ratio: FloatArray
    """Peak over the highest rival (point) [1]."""
    asymmetry: FloatArray
    """Distance between the displacements found forward and backward (point) [pixel]."""
    precision_x: FloatArray
    """Inverse variance of the displacement along x, up to a factor common to all points (point) [pixel-2]."""
    precision_y: FloatArray
    """The same along y (point) [pixel-2]."""
    coverage: FloatArray
    """Share of the template where both images hold data (point) [1]."""
    interior: BoolArray
    """Peak inside the searched displacements (point)."""


def array_reader(image: npt.NDArray[Any]) -> Reader:
    """Reader of an image held in memory.

    Parameters
    ----------
    image : array
        Gray values (y, x), NaN where missing.

    Returns
    -------
    Reader
        Gives parts, NaN outside the image.
    """

    def read(chip: Chip) -> Image:
        part = np.full((chip.rows, chip.columns), np.nan, np.float32)
        top, left = max(chip.row, 0), max(chip.column, 0)
        bottom = min(chip.row + chip.rows, image.shape[0])
        right = min(chip.column + chip.columns, image.shape[1])
        if bottom > top and right > left:
            inside = image[top:bottom, left:right]
            part[top - chip.row : bottom - chip.row, left - chip.column : right - chip.column] = inside
        return part

    return read


def coarse(
    reference: Reader,
    target: Reader,
    *,
    shape: tuple[int, int],
    matching: Matching,
    maximum_shift: int,
    chip_size: int,
    chips: int,
) -> Coarse:
    """Displacement of the whole image, from correlations summed over parts at full resolution.

    Under the hypothesis of unrelated images the correlation at a displacement has the variance
    sum |r|^2 |t|^2 / 2 over the overlap, times a constant for the correlation between neighbors; divided by it, all
    displacements can be compared whatever their overlap, and the constant follows from their spread.

    Parameters
    ----------
    reference, target : Reader
        The images on one grid.
    shape : tuple of int
        Rows and columns of the grid [pixel].
    matching : Matching
        How they are compared.
    maximum_shift : int
        Largest displacement along either axis [pixel].
    chip_size : int
        Largest side of a part [pixel].
    chips : int
        Parts along an axis at most [1].

    Returns
    -------
    Coarse
        Displacement and how far it stands out; score 0 where nothing can be compared.
    """
    parts = list(_coarse_chips(shape, chip_size, chips))
    scales = [_scale(reader, parts, matching) for reader in (reference, target)]
    sources = (Source(reference, scales[0]), Source(target, scales[1]))
    reach = _reach(parts[0], maximum_shift)
    numerator = np.zeros((2 * reach[0] + 1, 2 * reach[1] + 1))
    variance = np.zeros_like(numerator)
    overlap = 0.0
    for chip in parts:
        first, second = (described(source, chip, matching) for source in sources)
        covariance, energy = _coarse_correlation(first, second, reach)
        numerator += covariance
        variance += energy
        overlap += _coverage(first, second) / len(parts)
    score = _standardized(numerator, variance)
    peak = np.unravel_index(int(score.argmax()), score.shape)
    ratio = _rival_ratio(score, (int(peak[0]), int(peak[1])), matching.exclusion)
    dy, dx = int(peak[0]) - reach[0], int(peak[1]) - reach[1]
    return Coarse(dx, dy, float(score[peak]), ratio, scales[0], scales[1], overlap)


def _coarse_chips(shape: tuple[int, int], size: int, count: int) -> Iterator[Chip]:
    axes = [_axis_chips(length, size, count) for length in shape]
    for row, rows in axes[0]:
        for column, columns in axes[1]:
            yield Chip(row, column, rows, columns)


def _axis_chips(length: int, size: int, count: int) -> list[tuple[int, int]]:
    if length <= size + size // 2:
        return [(0, length)]
    number = min(count, length // size)
    return [(round(start), size) for start in np.linspace(0, length - size, max(number, 2))]


def _reach(chip: Chip, maximum_shift: int) -> tuple[int, int]:
    """Displacements up to two fifths of the side, so that something is left to compare."""
    return min(maximum_shift, int(0.4 * chip.rows)), min(maximum_shift, int(0.4 * chip.columns))


def _scale(reader: Reader, parts: list[Chip], matching: Matching) -> float:
    """Typical gradient, from every part but read again later: parts are not kept, memory stays bounded."""
    chosen = parts[:: max(len(parts) // 6, 1)]
    gradients = [_gradient(reader, chip, matching) for chip in chosen]
    return oriented_gradients.magnitude_scale(gradients)


def _gradient(
    reader: Reader, chip: Chip, matching: Matching, offset: tuple[float, float] = (0.0, 0.0)
) -> oriented_gradients.Gradient:
    """Gradient of a part, read with a border wide enough for the filters."""
    border = _border(matching, offset)
    image = reader(Chip(chip.row - border, chip.column - border, chip.rows + 2 * border, chip.columns + 2 * border))
    image = oriented_gradients.logarithm(image) if matching.kind == "structure" else image
    return oriented_gradients.gradient(image, smoothing=matching.smoothing, offset=offset)


def _border(matching: Matching, offset: tuple[float, float]) -> int:
    return 2 + round(3 * matching.smoothing) + (oriented_gradients.REACH if any(offset) else 0)


def described(source: Source, chip: Chip, matching: Matching, offset: tuple[float, float] = (0.0, 0.0)) -> Features:
    """Feature channels of a part of an image.

    Parameters
    ----------
    source : Source
        The image.
    chip : Chip
        The part.
    matching : Matching
        Kind and scale of the features.
    offset : tuple of float
        Way from each pixel to where the image is looked at, right and down, at most half a pixel [pixel].

    Returns
    -------
    Features
        Channels (channel, y, x), zero where missing [1].
    """
    gradient = _gradient(source.read, chip, matching, offset)
    channels = oriented_gradients.features(
        gradient, kind=matching.kind, scale=source.scale, smoothing=0.5 * matching.smoothing
    )
    border = _border(matching, offset)
    return channels[:, border : border + chip.rows, border : border + chip.columns]


def _coarse_correlation(first: Features, second: Features, reach: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    shape = tuple(fft.next_fast_len(side + lag) for side, lag in zip(first.shape[1:], reach, strict=True))
    spectra = [fft.fft2(channels, s=shape) for channels in (first, second)]
    covariance = fft.ifft2((spectra[0].conj() * spectra[1]).sum(axis=0)).real
    powers = [fft.rfft2((np.abs(channels) ** 2).sum(axis=0), s=shape) for channels in (first, second)]
    energy = fft.irfft2(powers[0].conj() * powers[1], s=shape)
    return _lags(covariance, reach), _lags(energy, reach)


def _lags(surface: Any, reach: tuple[int, int]) -> FloatArray:
    rows, columns = (np.arange(-lag, lag + 1) for lag in reach)
    return np.asarray(surface[np.ix_(rows, columns)], dtype=np.float64)


def _standardized(numerator: FloatArray, variance: FloatArray) -> FloatArray:
    floor = 1e-3 * float(variance.max())
    if floor <= 0:
        return np.zeros_like(numerator)
    score = numerator / np.sqrt(0.5 * np.maximum(variance, floor))
    center = np.median(score)
    spread = 1.4826 * np.median(np.abs(score - center))
    return np.asarray((score - center) / spread) if spread > 0 else np.zeros_like(score)


def _rival_ratio(surface: FloatArray, peak: tuple[int, int], exclusion: float) -> float:
    """Peak over the highest value beyond the exclusion; capped where there is no positive rival."""
    rows, columns = np.ogrid[: surface.shape[0], : surface.shape[1]]
    rivals = surface[(rows - peak[0]) ** 2 + (columns - peak[1]) ** 2 > exclusion**2]
    rival = float(rivals.max()) if rivals.size else 0.0
    top = float(surface[peak])
    if top <= 0:
        return 0.0
    return top / rival if rival > 1e-3 * top else 1e3


def _coverage(first: Features, second: Features) -> float:
    return float(((first[0] != 0) & (second[0] != 0)).mean())


def match(
    reference: Source,
    target: Source,
    *,
    origins: list[tuple[int, int]],
    expected: FloatArray,
    matching: Matching,
    agreeing: bool = False,
    batch: int = 32,
) -> Matches:
    """Displacements at points.

    Only a batch of windows is in memory at a time.

    Parameters
    ----------
    reference, target : Source
        The images on one grid.
    origins : list of tuple
        Row and column of the upper left corners of the templates [pixel].
    expected : FloatArray
        Displacement of the target's content around which is searched, right and down (point, 2) [pixel].
    matching : Matching
        Features, template and search.
    agreeing : bool
        Weigh down the pixels whose neighborhood does not agree at the expected displacement: cloud, shadow, change.
    batch : int
        Windows in memory [1].

    Returns
    -------
    Matches
        Every point, also the bad ones.
    """
    if not origins:
        none = np.zeros(0)
        return Matches(none, none, none, none, none, none, none, none, none, none, none, none > 0)
    results = [
        _match_batch(reference, target, origins[k : k + batch], expected[k : k + batch], matching, agreeing)
        for k in range(0, len(origins), batch)
    ]
    return Matches(*(np.concatenate(columns) for columns in zip(*results, strict=True)))


def grid_origins(shape: tuple[int, int], window: int, spacing: int) -> list[tuple[int, int]]:
    """Upper left corners of the templates.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image [pixel].
    window : int
        Side of the template [pixel].
    spacing : int
        Distance between templates [pixel].

    Returns
    -------
    list of tuple
        Row and column, evenly spread from edge to edge [pixel].
    """
    axes = [
        np.unique(np.linspace(0, max(side - window, 0), max((side - window) // spacing, 0) + 1).round().astype(int))
        for side in shape
    ]
    return [(int(row), int(column)) for row in axes[0] for column in axes[1]]


def _hann(window: int, margin: int) -> Real:
    profile = np.sin(np.pi * (np.arange(window) + 0.5) / window) ** 2
    return np.pad(np.outer(profile, profile), margin).astype(np.float32)


def _match_batch(
    reference: Source,
    target: Source,
    origins: list[tuple[int, int]],
    expected: FloatArray,
    matching: Matching,
    agreeing: bool,
) -> Matches:
    margin, side = matching.margin, matching.window + 2 * matching.margin
    whole = np.round(expected).astype(int)
    chips = [Chip(row - margin, column - margin, side, side) for row, column in origins]
    moved = [
        chip._replace(row=chip.row + dy, column=chip.column + dx) for chip, (dx, dy) in zip(chips, whole, strict=True)
    ]
    first = np.stack([described(reference, chip, matching) for chip in chips])
    fractions = [(float(right), float(down)) for right, down in expected - whole]
    second = np.stack(
        [described(target, chip, matching, fraction) for chip, fraction in zip(moved, fractions, strict=True)]
    )
    window = _hann(matching.window, margin)[None]
    weights = _agreement(first, second) if agreeing else [_known(first), _known(second)]
    forward = _displacements(first, second, window * weights[0], matching)
    backward = _displacements(second, first, window * weights[1], matching)
    corners = np.array(origins, dtype=np.float64).reshape(-1, 2) + matching.window / 2
    return Matches(
        x=corners[:, 1],
        y=corners[:, 0],
        dx=expected[:, 0] + 0.5 * (forward.dx - backward.dx),
        dy=expected[:, 1] + 0.5 * (forward.dy - backward.dy),
        correlation=0.5 * (forward.peak + backward.peak),
        gain=forward.peak - forward.center,
        ratio=np.minimum(forward.ratio, backward.ratio),
        asymmetry=np.hypot(forward.dx + backward.dx, forward.dy + backward.dy),
        precision_x=np.minimum(forward.precision_x, backward.precision_x),
        precision_y=np.minimum(forward.precision_y, backward.precision_y),
        coverage=np.minimum(*((window * weight).sum(axis=(1, 2)) / window.sum() for weight in weights)),
        interior=forward.interior & backward.interior,
    )


def _known(channels: Features) -> Real:
    return np.asarray(channels[:, 0] != 0, dtype=np.float32)


def _agreement(first: Features, second: Features) -> list[Real]:
    """Weight of every pixel by the correlation of its neighborhood at the expected displacement.

    The correlation length of the neighborhood is wider than any error of the expected displacement, so the choice of
    pixels does not draw the result to it.
    """
    product = _neighborhood((first.conj() * second).real.sum(axis=1))
    powers = [_neighborhood((np.abs(channels) ** 2).sum(axis=1)) for channels in (first, second)]
    correlation = product / np.sqrt(np.maximum(powers[0] * powers[1], np.float32(1e-12)))
    ramp = np.clip((correlation - _DISAGREEING) / (_AGREEING - _DISAGREEING), 0, 1)
    return [np.asarray(ramp * _known(channels), dtype=np.float32) for channels in (first, second)]


def _neighborhood(planes: Real) -> Real:
    return np.asarray(ndimage.gaussian_filter(planes, (0, _NEIGHBORHOOD, _NEIGHBORHOOD), mode="constant", truncate=2.5))


class _Displacements(NamedTuple):
    dx: FloatArray
    dy: FloatArray
    peak: FloatArray
    center: FloatArray
    ratio: FloatArray
    precision_x: FloatArray
    precision_y: FloatArray
    interior: BoolArray


def _displacements(template: Features, search: Features, window: Real, matching: Matching) -> _Displacements:
    """Weighted correlation of a batch (point, channel, y, x), its peak to a fraction of a pixel."""
    margin = matching.margin
    spectrum = (fft.fft2(template * window[:, None]).conj() * fft.fft2(search)).sum(axis=1)
    covariance = _batch_lags(fft.ifft2(spectrum).real, margin)
    shape = window.shape[1:]
    power = fft.rfft2((np.abs(search) ** 2).sum(axis=1))
    energy = _batch_lags(fft.irfft2(fft.rfft2(window).conj() * power, s=shape), margin)
    own = (window * (np.abs(template) ** 2).sum(axis=1)).sum(axis=(1, 2)).astype(np.float64)
    floor = 1e-6 * max(float(window[0].sum()), 1.0)
    norm = np.sqrt(np.maximum(energy, floor) * np.maximum(own, floor)[:, None, None])
    surface = covariance / norm
    peaks = [np.unravel_index(int(plane.argmax()), plane.shape) for plane in surface]
    rows = np.array([int(peak[0]) for peak in peaks])
    columns = np.array([int(peak[1]) for peak in peaks])
    fine = _refined(spectrum, rows - margin, columns - margin)
    vertex = _vertex(fine / _fine_norm(norm, rows, columns))
    points = np.arange(len(peaks))
    peak = surface[points, rows, columns]
    energy_at_peak = norm[points, rows, columns] / (1.0 - np.clip(peak, 0.0, 0.95) ** 2)
    ratio = [_rival_ratio(surface[k], (rows[k], columns[k]), matching.exclusion) for k in points]
    interior = (np.minimum(rows, columns) > 0) & (np.maximum(rows, columns) < 2 * margin)
    return _Displacements(
        dx=columns - margin + vertex.dx,
        dy=rows - margin + vertex.dy,
        peak=peak,
        center=surface[:, margin, margin],
        ratio=np.array(ratio),
        precision_x=energy_at_peak * vertex.bend_x,
        precision_y=energy_at_peak * vertex.bend_y,
        interior=interior,
    )


def _batch_lags(surface: Any, margin: int) -> FloatArray:
    lags = np.arange(-margin, margin + 1)
    return np.asarray(surface[:, lags[:, None], lags[None, :]], dtype=np.float64)


def _refined(spectrum: npt.NDArray[np.complex64], rows: Any, columns: Any) -> FloatArray:
    """Correlation at steps of a fifth of a pixel around the integer peaks."""
    steps = _STEP * np.arange(-_HALF_STEPS, _HALF_STEPS + 1)
    frequency = 2j * np.pi * np.fft.fftfreq(spectrum.shape[-1])
    vertical = np.exp((rows[:, None, None] + steps[None, :, None]) * frequency)
    horizontal = np.exp((columns[:, None, None] + steps[None, None, :]) * frequency[:, None])
    values = vertical.astype(np.complex64) @ spectrum @ horizontal.astype(np.complex64)
    return np.asarray(values.real / spectrum[0].size, dtype=np.float64)


def _fine_norm(norm: FloatArray, rows: Any, columns: Any) -> FloatArray:
    """The norm varies slowly: linear between the pixels around the peak."""
    steps = _STEP * np.arange(-_HALF_STEPS, _HALF_STEPS + 1)
    last = norm.shape[-1] - 1
    fine = [
        ndimage.map_coordinates(
            norm[k], np.meshgrid(row + steps, column + steps, indexing="ij"), order=1, mode="nearest"
        )
        for k, (row, column) in enumerate(zip(np.clip(rows, 0, last), np.clip(columns, 0, last), strict=True))
    ]
    return np.stack(fine)


class _Vertex(NamedTuple):
    dx: FloatArray
    dy: FloatArray
    bend_x: FloatArray
    """How fast the peak falls off along x when y follows: along an edge not at all."""
    bend_y: FloatArray


def _vertex(fine: FloatArray) -> _Vertex:
    """Vertex of the quadratic surface through the nine values around the largest one."""
    size = 2 * _HALF_STEPS + 1
    best = fine[:, 1:-1, 1:-1].reshape(len(fine), -1).argmax(axis=1)
    row, column = best // (size - 2) + 1, best % (size - 2) + 1
    points = np.arange(len(fine))
    patch = np.stack([[fine[points, row + i, column + j] for j in (-1, 0, 1)] for i in (-1, 0, 1)])
    slope_y = (patch[2].sum(axis=0) - patch[0].sum(axis=0)) / 6
    slope_x = (patch[:, 2].sum(axis=0) - patch[:, 0].sum(axis=0)) / 6
    bend_y = (patch[2] + patch[0] - 2 * patch[1]).sum(axis=0) / 3
    bend_x = (patch[:, 2] + patch[:, 0] - 2 * patch[:, 1]).sum(axis=0) / 3
    twist = (patch[2, 2] - patch[2, 0] - patch[0, 2] + patch[0, 0]) / 4
    determinant = bend_x * bend_y - twist**2
    curved = (determinant > 0) & (bend_x < 0)
    safe = np.where(curved, determinant, 1.0)
    dy = np.where(curved, (twist * slope_x - bend_x * slope_y) / safe, 0.0)
    dx = np.where(curved, (twist * slope_y - bend_y * slope_x) / safe, 0.0)
    return _Vertex(
        dx=(column - _HALF_STEPS + np.clip(dx, -1, 1)) * _STEP,
        dy=(row - _HALF_STEPS + np.clip(dy, -1, 1)) * _STEP,
        bend_x=np.where(curved, determinant / np.where(curved, -bend_y, 1.0), 0.0) / _STEP**2,
        bend_y=np.where(curved, determinant / np.where(curved, -bend_x, 1.0), 0.0) / _STEP**2,
    )
