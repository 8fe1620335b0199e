"""Forward model of a sensor with multispectral bands and a finer panchromatic one, with exact truth.

The landscape is laid out finer than the panchromatic pixel. Each band is integrated over its optics and detector in the
Fourier domain and sampled where its own grid lies, so that sub-pixel offsets between grids are exact; then noise and
quantization. Nothing here uses the processing it is meant to test.

The transfer function along an axis is sinc(f p) of a detector of width p times a Gaussian of the optics, whose width
makes the product at the Nyquist frequency 1 / (2 p) the gain asked for (Schowengerdt 2007, Remote Sensing, chapter 3).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio import Affine
from scipy import fft

from processors.simulation import imagery_clouds, imagery_landscape
from processors.simulation.imagery_landscape import Raster

Counts = npt.NDArray[np.uint16]

DETECTOR_GAIN = 2.0 / np.pi
"""Gain of a square detector alone at its Nyquist frequency, the largest there is [1]."""

PANCHROMATIC = {
    "broad": {"blue": 0.12, "green": 0.24, "red": 0.26, "rededge": 0.20, "nir": 0.18},
    "visible": {"blue": 0.06, "green": 0.46, "red": 0.48},
}
"""Share of the bands in a panchromatic response: to 0.9 um, and to 0.7 um (blind to the near infrared)."""

_FINER = 2


class SimulatedSensor(NamedTuple):
    """A pair of images of a sensor, and the truth behind it."""

    ms: Raster
    """Multispectral image, as its counts state it (band, y, x) [1]."""
    pan: Raster
    """Panchromatic image, as its counts state it (Y, X) [1]."""
    ms_counts: Counts
    """Digital numbers (band, y, x)."""
    pan_counts: Counts
    """Digital numbers (Y, X)."""
    quantum: float
    """Reflectance of one digital number [1]."""
    ms_grid: GeoBox
    """Where the multispectral image lies."""
    pan_grid: GeoBox
    """Where the panchromatic image lies."""
    truth: Raster
    """What multispectral bands of the panchromatic pixel would see, on its grid, without noise (band, Y, X) [1]."""
    ms_ideal: Raster
    """The multispectral image without noise, the truth at reduced resolution (band, y, x) [1]."""
    reduced_ms: Raster
    """The landscape by a sensor coarser by the ratio: its multispectral image (band, y / ratio, x / ratio) [1]."""
    reduced_pan: Raster
    """And its panchromatic image, on the multispectral grid (y, x) [1]."""
    reduced_ms_grid: GeoBox
    """Where the reduced multispectral image lies."""
    bands: tuple[str, ...]
    """Names of the bands."""
    ratio: int
    """Multispectral pixel over panchromatic pixel [1]."""
    ms_gain: tuple[float, ...]
    """Gain at the Nyquist frequency by band [1]."""
    pan_gain: float
    """Gain of the panchromatic band at its Nyquist frequency [1]."""
    pan_weights: dict[str, float]
    """Share of the bands in the panchromatic response [1]."""
    grid_offset: tuple[float, float]
    """Way of the multispectral upper left corner from the panchromatic one, down and right [panchromatic pixel]."""


def simulate_sensor(
    *,
    seed: int,
    shape: tuple[int, int] = (400, 400),
    pixel_size: float = 1.0,
    ratio: int = 4,
    bands: Sequence[str] = ("blue", "green", "red", "nir"),
    panchromatic: str | Mapping[str, float] = "broad",
    ms_gain: Sequence[float] | None = None,
    pan_gain: float | None = None,
    grid_offset: tuple[float, float] = (0.0, 0.0),
    ms_snr: float = 150.0,
    pan_snr: float = 100.0,
    quantum: float = 1e-4,
    sun_azimuth: float = 140.0,
    sun_elevation: float = 50.0,
    day_of_year: float = 200.0,
    relief: float = 30.0,
    urban_fraction: float = 0.3,
    feature_size: float | None = None,
) -> SimulatedSensor:
    """View a landscape with a panchromatic and a multispectral camera.

    Parameters
    ----------
    seed : int
        Seed of all randomness, the landscape's and the sensor's where not given.
    shape : tuple of int
        Rows and columns of the panchromatic image, multiples of the square of the ratio.
    pixel_size : float
        Panchromatic pixel size [m].
    ratio : int
        Multispectral pixel over panchromatic pixel.
    bands : sequence of str
        Multispectral bands, of imagery_landscape.BANDS.
    panchromatic : str or mapping
        Key of PANCHROMATIC (perturbed by the seed), or shares of bands of imagery_landscape.BANDS [1].
    ms_gain : sequence of float, optional
        Gain at the Nyquist frequency by band [1]; by default drawn from 0.23 to 0.36.
    pan_gain : float, optional
        Gain of the panchromatic band at its Nyquist frequency [1]; by default drawn from 0.10 to 0.20.
    grid_offset : tuple of float
        Way of the multispectral upper left corner from the panchromatic one, down and right [panchromatic pixel].
    ms_snr, pan_snr : float
        Mean signal over noise [1].
    quantum : float
        Reflectance of one digital number [1].
    sun_azimuth : float
        Azimuth of the sun, clockwise from north [degree].
    sun_elevation : float
        Elevation of the sun [degree].
    day_of_year : float
        Day of the year [d].
    relief : float
        Height between the lowest and the highest pixel [m].
    urban_fraction : float
        Share of land in towns [1].
    feature_size : float, optional
        Width of a field [m]; by default 12 panchromatic pixels.

    Returns
    -------
    SimulatedSensor
        The same for the same arguments.

    Raises
    ------
    ValueError
        A shape that does not divide, or a gain no sensor has.
    """
    if any(side % ratio**2 for side in shape):
        raise ValueError(f"{shape} does not divide by the square of the ratio {ratio}")
    rng = np.random.default_rng([seed, 31])
    weights = _weights(rng, panchromatic)
    gains = tuple(ms_gain) if ms_gain is not None else tuple(rng.uniform(0.23, 0.36, len(bands)).tolist())
    gain = float(rng.uniform(0.10, 0.20)) if pan_gain is None else pan_gain
    needed = tuple(band for band in imagery_landscape.BANDS if band in (*bands, *weights))
    sides = [fft.next_fast_len(_FINER * (side + 5 * ratio**2), real=True) for side in shape]
    fine = imagery_landscape.simulate_landscape(
        seed=seed,
        shape=(sides[0], sides[1]),
        pixel_size=pixel_size / _FINER,
        bands=needed,
        sun_azimuth=sun_azimuth,
        sun_elevation=sun_elevation,
        day_of_year=day_of_year,
        relief=relief,
        urban_fraction=urban_fraction,
        feature_size=12.0 * pixel_size if feature_size is None else feature_size,
    ).reflectance
    corner = [(total - _FINER * side) // 2 for total, side in zip(sides, shape, strict=True)]
    camera = _Camera((sides[0], sides[1]), shape, ratio, (corner[0], corner[1]), grid_offset)
    layers = [fine[needed.index(band)] for band in bands]
    wide = np.tensordot(np.array([weights.get(band, 0.0) for band in needed], dtype=np.float32), fine, axes=1)
    views = [_views(camera, layer, level) for layer, level in zip(layers, gains, strict=True)]
    truth, ms_ideal, reduced_ms = (np.stack(parts) for parts in zip(*views, strict=True))
    pan_ideal, reduced_pan = _panchromatic_views(camera, wide, gain)
    ms_counts = counts_from_reflectance(noisy(rng, ms_ideal, snr=ms_snr), quantum=quantum)
    pan_counts = counts_from_reflectance(noisy(rng, pan_ideal[None], snr=pan_snr)[0], quantum=quantum)
    pan_grid = imagery_clouds.grid_box(shape, pixel_size)
    ms_grid = coarser_grid(pan_grid, ratio, grid_offset)
    return SimulatedSensor(
        ms_counts * np.float32(quantum),
        pan_counts * np.float32(quantum),
        ms_counts,
        pan_counts,
        quantum,
        ms_grid,
        pan_grid,
        truth,
        ms_ideal,
        noisy(rng, reduced_ms, snr=ms_snr),
        noisy(rng, reduced_pan[None], snr=pan_snr)[0],
        coarser_grid(ms_grid, ratio, grid_offset),
        tuple(bands),
        ratio,
        gains,
        gain,
        weights,
        grid_offset,
    )


def transfer(shape: tuple[int, int], *, pixel: float, gain: float) -> Raster:
    """Transfer function of a detector and its optics on the frequencies of `scipy.fft.rfft2`.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the fine array.
    pixel : float
        Width of the detector [fine pixel].
    gain : float
        Gain at the Nyquist frequency of the detector along an axis [1].

    Returns
    -------
    array
        Real gain (frequency y, frequency x) [1].

    Raises
    ------
    ValueError
        A gain above that of the detector alone, or not positive.
    """
    if not 0.0 < gain <= DETECTOR_GAIN:
        raise ValueError(f"the gain of a square detector at Nyquist is between 0 and 2/pi, not {gain}")
    parts = []
    for frequency in (fft.fftfreq(shape[0]), fft.rfftfreq(shape[1])):
        optics = (gain / DETECTOR_GAIN) ** ((2.0 * pixel * frequency) ** 2)
        parts.append((np.sinc(frequency * pixel) * optics).astype(np.float32))
    return np.asarray(parts[0][:, None] * parts[1][None, :], dtype=np.float32)


def displaced(spectrum: npt.NDArray[np.complex64], shape: tuple[int, int], *, down: float, right: float) -> Raster:
    """Values at every pixel of a periodic band-limited array plus a fixed way, by the phase of its spectrum.

    Parameters
    ----------
    spectrum : array
        `scipy.fft.rfft2` of the array.
    shape : tuple of int
        Rows and columns of the array.
    down : float
        Way along the rows' axis [pixel].
    right : float
        Way along the columns' axis [pixel].

    Returns
    -------
    array
        Value at (row + down, column + right) (y, x).
    """
    row = np.exp(2j * np.pi * fft.fftfreq(shape[0]) * down).astype(np.complex64)
    column = np.exp(2j * np.pi * fft.rfftfreq(shape[1]) * right).astype(np.complex64)
    return np.asarray(fft.irfft2(spectrum * row[:, None] * column[None, :], s=shape), dtype=np.float32)


def observe(
    fine: Raster,
    *,
    pixel: int,
    gain: float,
    origin: tuple[float, float],
    shape: tuple[int, int],
) -> Raster:
    """Image of one band by a grid of square detectors.

    Parameters
    ----------
    fine : array
        The landscape (y, x), taken as periodic.
    pixel : int
        Width of a detector [fine pixel].
    gain : float
        Gain at the Nyquist frequency of the detector [1].
    origin : tuple of float
        Upper left corner of the first detector, down and right from that of the array [fine pixel].
    shape : tuple of int
        Rows and columns of the image.

    Returns
    -------
    array
        The image (y, x) in the unit of the landscape.
    """
    spectrum = fft.rfft2(np.asarray(fine, dtype=np.float32))
    return _sampled(spectrum, fine.shape, pixel=pixel, gain=gain, origin=origin, shape=shape)


def noisy(rng: np.random.Generator, image: Raster, *, snr: float) -> Raster:
    """Add white noise, by band.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    image : array
        Image (band, y, x).
    snr : float
        Mean of the band over the standard deviation of the noise; infinite for none [1].

    Returns
    -------
    array
        Image with noise (band, y, x).
    """
    sigma = image.mean(axis=(1, 2), keepdims=True) / np.float32(snr)
    return np.asarray(image + sigma * rng.standard_normal(image.shape, dtype=np.float32), dtype=np.float32)


def counts_from_reflectance(image: Raster, *, quantum: float) -> Counts:
    """Quantize to 16 bit without sign.

    Parameters
    ----------
    image : array
        Reflectance [1].
    quantum : float
        Reflectance of one digital number [1].

    Returns
    -------
    array
        Digital numbers from 1 on: 0 is left for no data.
    """
    return np.asarray(np.clip(np.rint(image / np.float32(quantum)), 1.0, 65535.0), dtype=np.uint16)


def coarser_grid(box: GeoBox, ratio: int, grid_offset: tuple[float, float] = (0.0, 0.0)) -> GeoBox:
    """Grid of larger pixels over another.

    Parameters
    ----------
    box : GeoBox
        The finer grid.
    ratio : int
        Coarse pixel over fine pixel.
    grid_offset : tuple of float
        Way of the coarse upper left corner from the fine one, down and right [fine pixel].

    Returns
    -------
    GeoBox
        The coarse grid, as many whole pixels as the fine one holds.
    """
    rows, columns = box.shape
    down, right = grid_offset
    fine = box.transform
    moved = Affine(
        fine.a * ratio,
        fine.b * ratio,
        fine.c + fine.a * right + fine.b * down,
        fine.d * ratio,
        fine.e * ratio,
        fine.f + fine.d * right + fine.e * down,
    )
    return GeoBox((rows // ratio, columns // ratio), moved, box.crs)


class _Camera(NamedTuple):
    """Where the images lie in the fine landscape: corner in fine pixels, the rest in panchromatic ones."""

    fine_shape: tuple[int, int]
    shape: tuple[int, int]
    ratio: int
    corner: tuple[int, int]
    offset: tuple[float, float]

    def image(self, spectrum: npt.NDArray[np.complex64], *, scale: int, level: int, gain: float) -> Raster:
        """View by pixels of `scale`, displaced by the grid offset once for every level of reduction."""
        away = _FINER * sum(self.ratio**power for power in range(level))
        rows, columns = self.shape
        return _sampled(
            spectrum,
            self.fine_shape,
            pixel=_FINER * scale,
            gain=gain,
            origin=(self.corner[0] + away * self.offset[0], self.corner[1] + away * self.offset[1]),
            shape=(rows // scale, columns // scale),
        )


def _views(camera: _Camera, layer: Raster, gain: float) -> tuple[Raster, Raster, Raster]:
    """One band at the panchromatic pixel, its own pixel, and reduced."""
    spectrum = fft.rfft2(layer)
    return (
        camera.image(spectrum, scale=1, level=0, gain=gain),
        camera.image(spectrum, scale=camera.ratio, level=1, gain=gain),
        camera.image(spectrum, scale=camera.ratio**2, level=2, gain=gain),
    )


def _panchromatic_views(camera: _Camera, layer: Raster, gain: float) -> tuple[Raster, Raster]:
    """The panchromatic band, and reduced onto the multispectral grid."""
    spectrum = fft.rfft2(layer)
    return (
        camera.image(spectrum, scale=1, level=0, gain=gain),
        camera.image(spectrum, scale=camera.ratio, level=1, gain=gain),
    )


def _sampled(
    spectrum: npt.NDArray[np.complex64],
    fine_shape: tuple[int, ...],
    *,
    pixel: int,
    gain: float,
    origin: tuple[float, float],
    shape: tuple[int, int],
) -> Raster:
    """Blur, move the centers of the detectors onto fine pixels, and pick those."""
    size = (fine_shape[0], fine_shape[1])
    center = [corner + 0.5 * pixel - 0.5 for corner in origin]
    whole = [int(np.floor(place)) for place in center]
    blurred = displaced(
        spectrum * transfer(size, pixel=pixel, gain=gain),
        size,
        down=center[0] - whole[0],
        right=center[1] - whole[1],
    )
    rows, columns = (
        (first + pixel * np.arange(count)) % side for first, count, side in zip(whole, shape, size, strict=True)
    )
    return np.ascontiguousarray(blurred[np.ix_(rows, columns)])


def _weights(rng: np.random.Generator, panchromatic: str | Mapping[str, float]) -> dict[str, float]:
    """Shares that add up to one."""
    if isinstance(panchromatic, str):
        raw = {band: share * rng.uniform(0.7, 1.3) for band, share in PANCHROMATIC[panchromatic].items()}
    else:
        raw = dict(panchromatic)
    total = sum(raw.values())
    return {band: float(share / total) for band, share in raw.items()}
