"""Cloud, shadow, snow and water of every pixel and date, with the probability of cloud.

Spectral tests after Zhu and Woodcock (2012), haze test after Zhang et al. (2002), comparison with other dates after
Hagolle et al. (2010). Every test is a soft membership between 0 and 1; the probability is the smallest of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from processors.arrays import AnyFloat, BoolArray, ByteArray
from processors.imagery import grid
from processors.quality import BadInputError

CLEAR, THIN_CLOUD, CLOUD, SHADOW, SNOW, WATER, NODATA = 0, 1, 2, 3, 4, 5, 255
MEANINGS = "clear thin_cloud cloud shadow snow water no_data"

_QUARTILE_DATES = 4

_Layer = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CloudMaskParameters:
    """Thresholds of the tests; a test is half passed at its threshold.

    Parameters
    ----------
    brightness : float
        Mean of blue, green and red of a cloud [1].
    whiteness : float
        Sum of departures from that mean relative to it [1].
    haze : float
        Blue less half of red [1].
    ndvi : float
        Largest vegetation index of a cloud [1].
    ndsi : float
        Largest snow index of a cloud [1].
    swir_ratio : float
        Smallest near infrared relative to shortwave infrared, against bright soil [1].
    swir2 : float
        Smallest reflectance at 2.2 um [1].
    thick : float
        Probability from which a cloud is not thin [1].
    rise : float
        Rise of blue against both neighboring dates that reveals a cloud at once [1].
    rise_scale : float
        Days that double the rise needed [d].
    static : float
        Rise of blue below which a bright pixel is a bright surface [1].
    static_share : float
        The same relative to the usual blue, on top [1].
    brightest : float
        Blue that no surface but snow usually shows: what is brighter on most dates is cloud on most dates [1].
    snow_ndsi, snow_nir, snow_green : float
        Smallest snow index, near infrared and green of snow [1].
    water_index, water_nir : float
        Smallest water index and largest near infrared of water [1].
    shadow_ratio : float
        Near infrared of a shadow relative to its surroundings [1].
    lowest_cloud, highest_cloud : float
        Heights at which cloud is sought for a shadow [m].
    overlap : float
        Part of the projected cloud that must be dark [1].
    surroundings : int
        Side of the window of the surroundings [pixel].
    dilation : float
        Margin added to cloud and shadow [m].
    margin : int
        Smallest margin [pixel].
    """

    brightness: float = 0.17
    whiteness: float = 0.7
    haze: float = 0.08
    ndvi: float = 0.6
    ndsi: float = 0.8
    swir_ratio: float = 0.75
    swir2: float = 0.03
    thick: float = 0.9
    rise: float = 0.03
    rise_scale: float = 30.0
    static: float = 0.02
    static_share: float = 0.25
    brightest: float = 0.4
    snow_ndsi: float = 0.4
    snow_nir: float = 0.11
    snow_green: float = 0.1
    water_index: float = 0.2
    water_nir: float = 0.12
    shadow_ratio: float = 0.75
    lowest_cloud: float = 200.0
    highest_cloud: float = 12_000.0
    overlap: float = 0.3
    surroundings: int = 51
    dilation: float = 30.0
    margin: int = 2


def classify(
    scene: xr.Dataset, *, reference: xr.DataArray | None = None, parameters: CloudMaskParameters | None = None
) -> xr.Dataset:
    """Classify every pixel and date of a scene stack.

    Parameters
    ----------
    scene : xr.Dataset
        Scene stack with blue, green, red and nir, better also swir1 and swir2; coordinates `sun_zenith` and
        `sun_azimuth` (time) [degree] where shadows shall be projected.
    reference : xr.DataArray, optional
        Clear reflectance of about the same season on the same grid (band, y, x) [1], NaN where there is none; bright
        pixels that are as bright there are no cloud.
    parameters : CloudMaskParameters, optional
        Thresholds.

    Returns
    -------
    xr.Dataset
        `cloud_class` (time, y, x): 0 clear, 1 thin cloud, 2 cloud, 3 shadow, 4 snow, 5 water, 255 no data, and
        `cloud_probability` (time, y, x) [1], NaN without data.

    Raises
    ------
    BadInputError
        `band_missing` without blue, green, red or nir.
    """
    chosen = parameters or CloudMaskParameters()
    bands = _bands(scene)
    rises = _rises(bands["blue"], bands["red"], scene, chosen)
    blue = None if reference is None else reference.sel(band="blue").transpose("y", "x").values
    size = grid.pixel_size(grid.geobox_of(scene))
    dates = range(scene.sizes["time"])
    results = []
    for date in dates:
        now = {name: layers[date] for name, layers in bands.items()}
        probability = _probability(now, rises[date], blue, chosen)
        sun = _sun(scene, date)
        results.append((_classes(now, probability, sun=sun, size=size, parameters=chosen), probability))
    axes = ("time", "y", "x")
    attributes = {"flag_values": np.array([0, 1, 2, 3, 4, 5, 255], dtype=np.uint8), "flag_meanings": MEANINGS}
    mask = xr.Dataset(
        {
            "cloud_class": (axes, np.stack([classes for classes, _ in results]), attributes),
            "cloud_probability": (axes, np.stack([probability for _, probability in results]), {"units": "1"}),
        },
        coords={"time": scene["time"]},
    )
    return grid.assign(mask, grid.geobox_of(scene))


def _bands(scene: xr.Dataset) -> dict[str, npt.NDArray[np.float32]]:
    names = [str(name) for name in scene["band"].values]
    missing = {"blue", "green", "red", "nir"} - set(names)
    if missing:
        raise BadInputError("band_missing", f"the cloud mask needs {', '.join(sorted(missing))}")
    array = scene["reflectance"].transpose("time", "band", "y", "x")
    wanted = ("blue", "green", "red", "nir", "swir1", "swir2")
    return {name: array.values[:, names.index(name)].astype(np.float32) for name in wanted if name in names}


def _rises(blue: _Layer, red: _Layer, scene: xr.Dataset, parameters: CloudMaskParameters) -> list[dict[str, _Layer]]:
    """Membership of a sudden rise, and the usual blue of every pixel, for every date."""
    days = scene["time"].values.astype("datetime64[s]").astype(np.float64) / 86_400.0
    return [_rise(blue, red, days, date, parameters) for date in range(days.size)]


def _observed_neighbors(blue: _Layer, date: int) -> list[int]:
    """Nearest date before and after that holds any value."""
    seen = np.flatnonzero(np.isfinite(blue).any(axis=(1, 2)))
    return [int(side[end]) for side, end in ((seen[seen < date], -1), (seen[seen > date], 0)) if side.size]


def _rise(blue: _Layer, red: _Layer, days: Any, date: int, parameters: CloudMaskParameters) -> dict[str, _Layer]:
    neighbors = _observed_neighbors(blue, date)
    usual = _usual(blue, date, neighbors)
    if len(neighbors) < 2:
        return {"sudden": np.zeros_like(usual), "usual": usual}
    limits = [parameters.rise * (1.0 + abs(days[date] - days[other]) / parameters.rise_scale) for other in neighbors]
    increases = np.stack([blue[date] - blue[other] for other in neighbors])
    colors = np.stack([red[date] - red[other] for other in neighbors])
    excess = np.min(increases - np.array(limits, dtype=np.float32)[:, None, None], axis=0)
    white = (colors <= 1.5 * increases).all(axis=0)
    sudden = np.where(white & np.isfinite(excess), _soft(excess, 0.0, 0.01), 0.0)
    return {"sudden": sudden.astype(np.float32), "usual": usual}


def _usual(blue: _Layer, date: int, neighbors: Sequence[int]) -> _Layer:
    """Blue of the surface: the first quartile of the other dates, of few dates the darker neighbor; NaN without any."""
    seen = [other for other in range(blue.shape[0]) if other != date and bool(np.isfinite(blue[other]).any())]
    if len(seen) < _QUARTILE_DATES:
        seen = list(neighbors)
    if not seen:
        return np.full(blue.shape[1:], np.nan, dtype=np.float32)
    ranked = np.sort(blue[seen], axis=0)
    known = np.isfinite(ranked).sum(axis=0)
    rank = np.maximum(known - 1, 0) // 4
    return np.asarray(np.take_along_axis(ranked, rank[None], axis=0)[0], dtype=np.float32)


def _probability(
    bands: dict[str, _Layer], rise: dict[str, _Layer], reference: Any, parameters: CloudMaskParameters
) -> _Layer:
    spectral = np.min(np.stack(_memberships(bands, parameters)), axis=0)
    # fmin: a neighboring date may have been cloudy too, so the darker comparison decides
    usual = rise["usual"] if reference is None else np.fmin(rise["usual"], reference)
    surface = np.where(usual < parameters.brightest, usual, np.nan)
    above = bands["blue"] - surface * (1.0 + parameters.static_share)
    veto = np.where(np.isfinite(above), _soft(above, parameters.static, 0.01), 1.0)
    probability = np.fmax(np.minimum(spectral, veto), rise["sudden"])
    return np.where(_complete(bands), probability, np.nan).astype(np.float32)


def _memberships(bands: dict[str, _Layer], parameters: CloudMaskParameters) -> list[_Layer]:
    blue, green, red, nir = (bands[name] for name in ("blue", "green", "red", "nir"))
    mean = (blue + green + red) / 3.0
    white = (np.abs(blue - mean) + np.abs(green - mean) + np.abs(red - mean)) / np.maximum(mean, 1e-3)
    tests = [
        _soft(mean, parameters.brightness, 0.02),
        _soft(-white, -parameters.whiteness, 0.1),
        _soft(blue - 0.5 * red, parameters.haze, 0.01),
        _soft(-_index(nir, red), -parameters.ndvi, 0.05),
    ]
    if "swir1" in bands:
        tests.append(_soft(-_index(green, bands["swir1"]), -parameters.ndsi, 0.05))
        tests.append(_soft(nir / np.maximum(bands["swir1"], 1e-3), parameters.swir_ratio, 0.05))
    if "swir2" in bands:
        tests.append(_soft(bands["swir2"], parameters.swir2, 0.01))
    return tests


def _classes(
    bands: dict[str, _Layer],
    probability: _Layer,
    *,
    sun: tuple[float, float] | None,
    size: float,
    parameters: CloudMaskParameters,
) -> ByteArray:
    margin = max(parameters.margin, round(parameters.dilation / size))
    known = np.isfinite(probability)
    likely = known & (probability >= 0.5)
    thick = known & (probability >= parameters.thick)
    snow, water = _snow(bands, parameters) & known, _water(bands, parameters) & known & ~likely
    shadow = _shadow(bands, likely, known & ~water & ~snow, sun=sun, size=size, parameters=parameters)
    classes = np.select([snow, water], [SNOW, WATER], CLEAR).astype(np.uint8)
    classes[_dilated(shadow, margin)] = SHADOW
    cloud = likely & ~snow
    classes[_dilated(cloud, margin)] = THIN_CLOUD
    classes[_dilated(thick & ~snow, margin)] = CLOUD
    classes[~known] = NODATA
    return _continued(classes, bands)


def _continued(classes: ByteArray, bands: dict[str, _Layer]) -> ByteArray:
    """Pixels that lost some bands take the class of the nearest pixel that did not."""
    partial = (classes == NODATA) & np.any(np.stack([np.isfinite(layer) for layer in bands.values()]), axis=0)
    if not partial.any() or (classes == NODATA).all():
        return classes
    nearest = ndimage.distance_transform_edt(classes == NODATA, return_distances=False, return_indices=True)
    result = classes.copy()
    result[partial] = classes[tuple(nearest)][partial]
    return result


def _shadow(
    bands: dict[str, _Layer],
    cloud: BoolArray,
    land: BoolArray,
    *,
    sun: tuple[float, float] | None,
    size: float,
    parameters: CloudMaskParameters,
) -> BoolArray:
    """Dark land where the best-matching projection of the clouds falls; none without the sun's position."""
    clear = land & ~cloud
    if sun is None or not cloud.any() or not clear.any():
        return np.zeros(cloud.shape, dtype=bool)
    dark = clear & _depressed(bands["nir"], clear, parameters)
    if "swir1" in bands:
        dark &= _depressed(bands["swir1"], clear, parameters)
    best, share = cloud, 0.0
    for steps in _projections(sun, size, parameters):
        projected = ndimage.shift(cloud.astype(np.uint8), steps, order=0).astype(bool) & ~cloud
        hit = (projected & dark).sum() / max(int((projected & clear).sum()), 1)
        if hit > share:
            best, share = projected, float(hit)
    if share < parameters.overlap:
        return np.zeros(cloud.shape, dtype=bool)
    return _dilated(best, 2) & dark


def _projections(sun: tuple[float, float], size: float, parameters: CloudMaskParameters) -> list[tuple[float, float]]:
    """Distinct whole-pixel shifts (rows, columns) of shadows for the heights considered."""
    zenith, azimuth = np.radians(sun)
    shifts: dict[tuple[float, float], None] = {}
    for height in np.geomspace(parameters.lowest_cloud, parameters.highest_cloud, 30):
        length = height * np.tan(zenith) / size
        shifts[(float(np.rint(length * np.cos(azimuth))), float(np.rint(-length * np.sin(azimuth))))] = None
    return [steps for steps in shifts if steps != (0.0, 0.0)]


def _depressed(layer: _Layer, clear: BoolArray, parameters: CloudMaskParameters) -> BoolArray:
    total = ndimage.uniform_filter(np.where(clear, layer, 0.0).astype(np.float32), parameters.surroundings)
    weight = ndimage.uniform_filter(clear.astype(np.float32), parameters.surroundings)
    background = np.divide(total, weight, out=np.full_like(total, np.inf), where=weight > 1e-3)
    return np.asarray(layer < parameters.shadow_ratio * background)


def _snow(bands: dict[str, _Layer], parameters: CloudMaskParameters) -> BoolArray:
    if "swir1" not in bands:
        return np.zeros(bands["green"].shape, dtype=bool)
    index = _index(bands["green"], bands["swir1"])
    bright = (bands["nir"] > parameters.snow_nir) & (bands["green"] > parameters.snow_green)
    return np.asarray((index > parameters.snow_ndsi) & bright)


def _water(bands: dict[str, _Layer], parameters: CloudMaskParameters) -> BoolArray:
    index = _index(bands["green"], bands.get("swir1", bands["nir"]))
    return np.asarray((index > parameters.water_index) & (bands["nir"] < parameters.water_nir))


def _complete(bands: dict[str, _Layer]) -> BoolArray:
    return np.asarray(np.all(np.stack([np.isfinite(layer) for layer in bands.values()]), axis=0))


def _index(first: _Layer, second: _Layer) -> _Layer:
    total = first + second
    return np.asarray((first - second) / np.where(np.abs(total) > 1e-4, total, np.nan), dtype=np.float32)


def _soft(value: AnyFloat, threshold: float, width: float) -> _Layer:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip((value - threshold) / width, -30.0, 30.0))), dtype=np.float32)


def _dilated(mask: BoolArray, steps: int) -> BoolArray:
    return np.asarray(ndimage.binary_dilation(mask, iterations=steps) if mask.any() else mask)


def _sun(scene: xr.Dataset, date: int) -> tuple[float, float] | None:
    if "sun_zenith" not in scene.coords or "sun_azimuth" not in scene.coords:
        return None
    zenith, azimuth = (float(np.atleast_1d(scene[name].values)[date]) for name in ("sun_zenith", "sun_azimuth"))
    return (zenith, azimuth) if np.isfinite(zenith) and np.isfinite(azimuth) else None
