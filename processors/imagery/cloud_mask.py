"""Cloud, shadow, snow and water of every pixel and date, with the probability of cloud.

One date: white light above the line of the scene's own clear ground (Zhang et al. 2002) finds what may be cloud; size,
edges, texture and a shadow at the height of the other clouds tell clouds from roofs; projection along the sun and
darkness tell shadow (Zhu and Woodcock 2012), of which the terrain's own shade is no part. More dates: comparison after
Hagolle et al. (2010). A learned detector may be added; its probability then counts beside the tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from processors.arrays import AnyFloat, BoolArray, ByteArray
from processors.imagery import cloud_history, cloud_object, cloud_shadow, cloud_spectrum, grid, terrain_shading
from processors.quality import BadInputError

CLEAR, THIN_CLOUD, CLOUD, SHADOW, SNOW, WATER, NODATA = 0, 1, 2, 3, 4, 5, 255
MEANINGS = "clear thin_cloud cloud shadow snow water no_data"
BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
"""Bands the mask uses; the shortwave infrared is optional."""
REQUIRED = BANDS[:4]
"""Bands it cannot do without."""

_Layer: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CloudMaskParameters:
    """Thresholds of the tests; a test is half passed at its threshold.

    Parameters
    ----------
    excess : float
        White light above clear ground in the middle of a cloud [1].
    spreads : float
        The same in standard deviations of clear ground about its line [1].
    roughness : float
        Standard deviations from pixel to pixel by which the middle of a cloud exceeds that [1].
    edge : float
        White light of the edge of a cloud relative to its brightest parts [1].
    faintest : float
        White light of the edge of a cloud at least [1].
    reach : int
        Largest width of such an edge [pixel].
    thick : float
        White light above clear ground from which a cloud is not thin [1].
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
    shadow : float
        Probability from which ground is in shadow [1].
    company : float
        Evidence for an object in the company of nothing but cloud [1].
    cloudiness : float
        The same of a scene that is nothing but cloud [1].
    margin, shadow_margin : int
        Margins added to cloud and shadow [pixel].
    objects : cloud_object.ObjectParameters
        How clouds differ from roofs.
    shadows : cloud_shadow.ShadowParameters
        How shadows are found.
    """

    excess: float = 0.07
    spreads: float = 3.0
    roughness: float = 2.0
    edge: float = 0.16
    faintest: float = 0.04
    reach: int = 4
    thick: float = 0.2
    rise: float = 0.03
    rise_scale: float = 30.0
    static: float = 0.02
    static_share: float = 0.25
    brightest: float = 0.4
    snow_ndsi: float = 0.4
    snow_nir: float = 0.11
    snow_green: float = 0.1
    water_index: float = 0.1
    water_nir: float = 0.15
    shadow: float = 0.4
    company: float = 6.0
    cloudiness: float = 3.0
    margin: int = 3
    shadow_margin: int = 3
    objects: cloud_object.ObjectParameters = field(default_factory=cloud_object.ObjectParameters)
    shadows: cloud_shadow.ShadowParameters = field(default_factory=cloud_shadow.ShadowParameters)


EXACT = CloudMaskParameters(margin=0, shadow_margin=1)
"""Edges where they are seen, for a mask that is a product; a series to be fused keeps the wider margins."""


class View(NamedTuple):
    """How a scene lies on the ground and under the sun."""

    steps: tuple[float, float]
    """Northing of one row and easting of one column, signed [m]."""
    sun: terrain_shading.Sun | None = None
    """Position of the sun; without it shadows are sought in any one direction."""
    elevation: _Layer | None = None
    """Height of the ground (y, x) [m], NaN where unknown."""


class CloudDetector(Protocol):
    """A learned detector: anything that gives every pixel of one date a probability of cloud."""

    def __call__(self, bands: Mapping[str, _Layer]) -> _Layer:
        """Probability of cloud.

        Parameters
        ----------
        bands : Mapping[str, array]
            Reflectance by name of the band (y, x) [1], NaN without data.

        Returns
        -------
        array
            Probability (y, x) [1]; NaN where the detector does not know.
        """
        ...


class Detection(NamedTuple):
    """Mask of one date."""

    classes: ByteArray
    """Class (y, x)."""
    probability: _Layer
    """Probability of cloud (y, x) [1], NaN without data."""
    high: float
    """White light above clear ground in the middle of a cloud [1]."""
    faint: _Layer
    """The same at the edge of the clouds at and near every pixel, infinite where there is none near (y, x) [1]."""
    shadow: _Layer
    """Probability of shadow (y, x) [1]."""
    line: cloud_spectrum.ClearLine
    """Clear ground of the scene."""
    match: cloud_shadow.Match
    """Heights of the clouds."""


def classify(
    scene: xr.Dataset,
    *,
    reference: xr.DataArray | None = None,
    parameters: CloudMaskParameters | None = None,
    detector: CloudDetector | None = None,
) -> xr.Dataset:
    """Classify every pixel and date of a scene stack.

    Parameters
    ----------
    scene : xr.Dataset
        Scene stack with blue, green, red and nir, better also swir1 and swir2; coordinates `sun_zenith` and
        `sun_azimuth` (time) [degree] where shadows shall be projected, `elevation` (y, x) [m] where terrain counts.
    reference : xr.DataArray, optional
        Clear reflectance of about the same season on the same grid (band, y, x) [1], NaN where there is none; bright
        pixels that are as bright there are no cloud.
    parameters : CloudMaskParameters, optional
        Thresholds.
    detector : CloudDetector, optional
        Learned detector; where it knows, the mean of both log-odds counts, and for whole
        objects its mean log-odds are evidence.

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
    days = scene["time"].values.astype("datetime64[s]").astype(np.float64) / 86_400.0
    histories = cloud_history.histories(
        bands["blue"], bands["red"], days, rise=chosen.rise, rise_scale=chosen.rise_scale
    )
    if reference is not None:
        blue = reference.sel(band="blue").transpose("y", "x").values
        # fmin: a neighboring date may have been cloudy too, so the darker comparison decides
        histories = [cloud_history.History(history.sudden, np.fmin(history.usual, blue)) for history in histories]
    results = []
    for date, history in enumerate(histories):
        now = {name: layers[date] for name, layers in bands.items()}
        view = _view(scene, date)
        results.append(detect(now, view=view, history=history, parameters=chosen, detector=detector))
    axes = ("time", "y", "x")
    attributes = {"flag_values": np.array([0, 1, 2, 3, 4, 5, 255], dtype=np.uint8), "flag_meanings": MEANINGS}
    mask = xr.Dataset(
        {
            "cloud_class": (axes, np.stack([result.classes for result in results]), attributes),
            "cloud_probability": (axes, np.stack([result.probability for result in results]), {"units": "1"}),
        },
        coords={"time": scene["time"]},
    )
    return grid.assign(mask, grid.geobox_of(scene))


def detect(
    bands: Mapping[str, _Layer],
    *,
    view: View,
    history: cloud_history.History | None = None,
    parameters: CloudMaskParameters | None = None,
    detector: CloudDetector | None = None,
) -> Detection:
    """Classify every pixel of one date.

    Parameters
    ----------
    bands : Mapping[str, array]
        Reflectance by name of the band (y, x) [1], NaN without data.
    view : View
        Pixel spacing, sun and terrain.
    history : History, optional
        What other dates say.
    parameters : CloudMaskParameters, optional
        Thresholds; EXACT unless others are given.
    detector : CloudDetector, optional
        Learned detector; where it knows, the mean of both log-odds counts, and for whole
        objects its mean log-odds are evidence.

    Returns
    -------
    Detection
        Class and probability of every pixel, clear line and heights.

    Raises
    ------
    BadInputError
        `band_missing` without blue, green, red or nir; `sun_angle` for an impossible sun.
    """
    chosen = parameters or EXACT
    _check(bands, view)
    spectrum = _spectrum(bands, history, chosen, detector)
    sky = _sky(bands, spectrum, view, chosen)
    core = np.where((sky.found.evidence + sky.match.evidence > 0.0)[sky.found.labels], sky.found.labels, 0)
    top = cloud_object.top(spectrum.excess, core, sky.found.pixels.size, reach=chosen.reach)
    faint = np.maximum(chosen.edge * top, np.float32(chosen.faintest))
    allowed = (spectrum.excess >= faint) & spectrum.known & ~spectrum.icy
    cloud = _grown((core > 0) & allowed, allowed, chosen.reach)
    clouds = sky.found._replace(labels=_spread(core, cloud))
    shadow = cloud_shadow.shadow(clouds, sky.match, sky.seen, terrain=sky.terrain, parameters=chosen.shadows)
    near = ndimage.binary_dilation(cloud, structure=cloud_object.EIGHT)
    probability = _probability(spectrum, sky, cloud)
    classes = _classes(spectrum, cloud, shadow, chosen)
    classes, probability = _continued(classes, probability, bands)
    edge = np.where(near, faint, np.float32(np.inf))
    return Detection(classes, probability, spectrum.high, edge, shadow, spectrum.line, sky.match)


def refine(
    bands: Mapping[str, _Layer], coarse: Detection, *, parameters: CloudMaskParameters | None = None
) -> tuple[ByteArray, _Layer]:
    """Mask a part of a scene at full resolution, of which clouds and shadows are known at a coarse one.

    Every pixel depends on those within two of it only.

    Parameters
    ----------
    bands : Mapping[str, array]
        Reflectance by name of the band (y, x) [1], NaN without data.
    coarse : Detection
        What is known of the whole scene, its layers interpolated to the pixels of the part.
    parameters : CloudMaskParameters, optional
        Thresholds; EXACT unless others are given.

    Returns
    -------
    tuple
        Class and probability of cloud of every pixel [1].
    """
    chosen = parameters or EXACT
    known = _complete(bands)
    raw = np.where(known, cloud_spectrum.white_excess(bands, coarse.line), np.float32(-1.0))
    excess = _calm(raw)
    spectral = _soft(excess, coarse.high, 0.2 * coarse.high)
    spectrum = _Spectrum(
        known, coarse.line, excess, raw, coarse.high, spectral, spectral, *_ground_classes(bands, coarse.line, chosen)
    )
    cloud = (excess >= coarse.faint) & known & ~spectrum.icy
    ceiling = np.maximum(np.nan_to_num(coarse.probability), 0.5)
    probability = np.where(cloud, np.clip(spectral, 0.5, ceiling), np.minimum(spectral, 0.499))
    classes = _classes(spectrum, cloud, coarse.shadow, chosen)
    return classes, np.where(known, probability, np.nan).astype(np.float32)


class _Spectrum(NamedTuple):
    """What every pixel tells by itself."""

    known: BoolArray
    line: cloud_spectrum.ClearLine
    excess: _Layer
    raw: _Layer
    high: float
    spectral: _Layer
    vouched: _Layer
    icy: BoolArray
    wet: BoolArray


class _Sky(NamedTuple):
    """What objects and shadows tell."""

    found: cloud_object.Objects
    match: cloud_shadow.Match
    seen: cloud_shadow.Ground
    terrain: _Layer | None


def _spectrum(
    bands: Mapping[str, _Layer],
    history: cloud_history.History | None,
    parameters: CloudMaskParameters,
    detector: CloudDetector | None,
) -> _Spectrum:
    known = _complete(bands)
    line = cloud_spectrum.clear_line(bands)
    raw = _filled(cloud_spectrum.white_excess(bands, line), known)
    excess = _calm(raw)
    high = max(parameters.excess, parameters.spreads * line.spread / (1.0 - line.slope))
    spectral, vouched = _tested(excess, high, bands, history, (parameters, detector))
    return _Spectrum(known, line, excess, raw, high, spectral, vouched, *_ground_classes(bands, line, parameters))


def _sky(bands: Mapping[str, _Layer], spectrum: _Spectrum, view: View, parameters: CloudMaskParameters) -> _Sky:
    excess = spectrum.excess
    bright = spectrum.known & ~spectrum.icy & (spectrum.spectral >= 0.5)
    area = abs(view.steps[0] * view.steps[1])
    rough = cloud_object.roughness(spectrum.raw)
    smooth = bright & (excess - parameters.roughness * rough >= spectrum.high)
    found = cloud_object.seek(excess, bright, smooth, rough, area=area, parameters=parameters.objects)
    found = cloud_object.strengthened(found, spectrum.vouched)
    bold = bright & (excess >= parameters.objects.height)
    clear = spectrum.known & ~spectrum.icy & ~ndimage.binary_dilation(bold, iterations=2)
    light, terrain = _terrain(view)
    width = _odd(parameters.shadows.surroundings / np.sqrt(area), excess.shape)
    shadows, wet = parameters.shadows, spectrum.wet & spectrum.known
    seen = cloud_shadow.ground(
        bands, spectrum.line.path, clear, water=wet, light=light, width=width, parameters=shadows
    )
    shifts = cloud_shadow.candidates(view.sun, view.steps, excess.shape, parameters=shadows)
    match = cloud_shadow.match(found, seen, shifts, terrain=terrain, parameters=shadows)
    found = cloud_object.likened(found, match.evidence)
    found = cloud_object.strengthened(found, _company(found, match, parameters))
    return _Sky(found, match, seen, terrain)


def _ground_classes(
    bands: Mapping[str, _Layer], line: cloud_spectrum.ClearLine, parameters: CloudMaskParameters
) -> tuple[BoolArray, BoolArray]:
    """Snow and water."""
    return _snow(bands, parameters), _water(bands, line, parameters)


def _classes(spectrum: _Spectrum, cloud: BoolArray, shadow: _Layer, parameters: CloudMaskParameters) -> ByteArray:
    free = ~spectrum.icy
    thick = cloud & (spectrum.excess >= parameters.thick)
    classes = np.select([spectrum.icy, spectrum.wet], [SNOW, WATER], CLEAR).astype(np.uint8)
    classes[_dilated(shadow >= parameters.shadow, parameters.shadow_margin) & free] = SHADOW
    classes[_dilated(cloud, parameters.margin) & free] = THIN_CLOUD
    classes[_dilated(thick, parameters.margin) & free] = CLOUD
    classes[~spectrum.known] = NODATA
    return classes


def _check(bands: Mapping[str, _Layer], view: View) -> None:
    missing = [name for name in REQUIRED if name not in bands]
    if missing:
        raise BadInputError("band_missing", f"the cloud mask needs {', '.join(missing)}")
    if view.sun is not None:
        terrain_shading.checked(view.sun)


def _filled(excess: _Layer, known: BoolArray) -> _Layer:
    """Nearest known value where there is none, so that the border of the data is no edge of a cloud."""
    if known.all():
        return excess
    if not known.any():
        return np.full_like(excess, -1.0)
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(excess[tuple(nearest)], dtype=np.float32)


def _calm(excess: _Layer) -> _Layer:
    """Without single noisy pixels."""
    return np.asarray(ndimage.median_filter(excess, 3), dtype=np.float32)


def _tested(
    excess: _Layer,
    high: float,
    bands: Mapping[str, _Layer],
    history: cloud_history.History | None,
    choices: tuple[CloudMaskParameters, CloudDetector | None],
) -> tuple[_Layer, _Layer]:
    """Probability of cloud from spectrum, detector and other dates, and what the latter two vouch for [odds]."""
    parameters, detector = choices
    probability = _soft(excess, high, 0.2 * high)
    vouched = np.zeros_like(probability)
    if detector is not None:
        odds = _odds(np.asarray(detector(bands), dtype=np.float32))
        both = 0.5 * (_odds(probability) + odds)
        probability = np.where(np.isfinite(both), _soft(both, 0.0, 1.0), probability)
        vouched = np.nan_to_num(odds)
    if history is None:
        return probability, vouched
    surface = np.where(history.usual < parameters.brightest, history.usual, np.nan)
    above = bands["blue"] - surface * (1.0 + parameters.static_share)
    remembered = np.where(np.isfinite(above), _soft(above, parameters.static, 0.01), 0.0)
    spectral = np.where(np.isfinite(above), np.minimum(probability, remembered), probability)
    sure = np.fmax(history.sudden, np.minimum(probability, remembered))
    return np.fmax(spectral, history.sudden).astype(np.float32), (vouched + 4.0 * sure).astype(np.float32)


def _odds(probability: _Layer) -> _Layer:
    """Natural logarithm of the odds, kept finite."""
    kept = np.clip(probability, 1e-3, 1.0 - 1e-3)
    return np.asarray(np.log(kept / (1.0 - kept)), dtype=np.float32)


def _terrain(view: View) -> tuple[_Layer | None, _Layer | None]:
    """Sunlight relative to flat ground, and height above the mean ground."""
    if view.elevation is None:
        return None, None
    mean = np.float32(np.nanmean(view.elevation))
    height = np.where(np.isfinite(view.elevation), view.elevation - mean, 0.0).astype(np.float32)
    if view.sun is None:
        return None, None
    shading = terrain_shading.shade(view.elevation, view.sun, steps=view.steps)
    flat = np.float32(np.sin(np.radians(view.sun.elevation)))
    return np.where(shading.cast, 0.0, shading.incidence / flat).astype(np.float32), height


def _odd(width: float, shape: tuple[int, ...]) -> int:
    return 2 * int(np.clip(width, 15, max(min(shape), 31)) // 2) + 1


def _company(found: cloud_object.Objects, match: cloud_shadow.Match, parameters: CloudMaskParameters) -> _Layer:
    """Evidence from the share of certain cloud around: fragments surround clouds."""
    certain = (found.evidence + match.evidence > 2.0)[found.labels]
    share = ndimage.uniform_filter(certain.astype(np.float32), 2 * 4 * parameters.reach + 1)
    everywhere = parameters.cloudiness * float(certain.mean())
    return np.asarray(np.minimum(parameters.company * share + everywhere, 2.0), dtype=np.float32)


def _grown(core: BoolArray, allowed: BoolArray, reach: int) -> BoolArray:
    if not core.any():
        return core
    return np.asarray(
        ndimage.binary_dilation(core, structure=cloud_object.EIGHT, iterations=reach, mask=allowed | core)
    )


def _spread(labels: cloud_object.Labels, cloud: BoolArray) -> cloud_object.Labels:
    """Labels of the nearest cores on the whole of the clouds."""
    if not cloud.any():
        return labels
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return np.asarray(np.where(cloud, labels[tuple(nearest)], 0), dtype=np.int32)


def _probability(spectrum: _Spectrum, sky: _Sky, cloud: BoolArray) -> _Layer:
    """Spectral probability, at most that of the object, and what the edge of a cloud adds."""
    odds = np.clip(sky.found.evidence + sky.match.evidence, -3.0, 3.0)
    ceiling = (1.0 / (1.0 + np.exp(-2.0 * odds))).astype(np.float32)
    ceiling[0] = 0.45
    probability = np.minimum(spectrum.spectral, ceiling[sky.found.labels])
    probability = np.where(cloud, np.maximum(probability, 0.5), np.minimum(probability, 0.499))
    return np.where(spectrum.known, probability, np.nan).astype(np.float32)


def _bands(scene: xr.Dataset) -> dict[str, npt.NDArray[np.float32]]:
    names = [str(name) for name in scene["band"].values]
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise BadInputError("band_missing", f"the cloud mask needs {', '.join(missing)}")
    array = scene["reflectance"].transpose("time", "band", "y", "x")
    return {name: array.values[:, names.index(name)].astype(np.float32) for name in BANDS if name in names}


def _view(scene: xr.Dataset, date: int) -> View:
    transform = grid.geobox_of(scene).transform
    size = grid.pixel_size(grid.geobox_of(scene))
    steps = (float(np.copysign(size, transform.e)), float(np.copysign(size, transform.a)))
    elevation = None
    if "elevation" in scene:
        layer = scene["elevation"]
        layer = layer.isel(time=date) if "time" in layer.dims else layer
        elevation = layer.transpose("y", "x").values.astype(np.float32)
        elevation = elevation if np.isfinite(elevation).any() else None
    return View(steps, _sun(scene, date), elevation)


def _sun(scene: xr.Dataset, date: int) -> terrain_shading.Sun | None:
    if "sun_zenith" not in scene.coords or "sun_azimuth" not in scene.coords:
        return None
    zenith, azimuth = (float(np.atleast_1d(scene[name].values)[date]) for name in ("sun_zenith", "sun_azimuth"))
    by_day = np.isfinite(azimuth) and 0.0 <= zenith < 90.0
    return terrain_shading.Sun(azimuth, 90.0 - zenith) if by_day else None


def _continued(classes: ByteArray, probability: _Layer, bands: Mapping[str, _Layer]) -> tuple[ByteArray, _Layer]:
    """Pixels that lost some bands take class and probability of the nearest pixel that did not."""
    partial = (classes == NODATA) & np.any(np.stack([np.isfinite(layer) for layer in bands.values()]), axis=0)
    if not partial.any() or (classes == NODATA).all():
        return classes, probability
    nearest = ndimage.distance_transform_edt(classes == NODATA, return_distances=False, return_indices=True)
    return np.where(partial, classes[tuple(nearest)], classes), np.where(
        partial, probability[tuple(nearest)], probability
    )


def _snow(bands: Mapping[str, _Layer], parameters: CloudMaskParameters) -> BoolArray:
    if "swir1" not in bands:
        return np.zeros(bands["green"].shape, dtype=bool)
    snowy = cloud_spectrum.index(bands["green"], bands["swir1"]) > parameters.snow_ndsi
    return np.asarray(snowy & (bands["nir"] > parameters.snow_nir) & (bands["green"] > parameters.snow_green))


def _water(bands: Mapping[str, _Layer], line: cloud_spectrum.ClearLine, parameters: CloudMaskParameters) -> BoolArray:
    infrared = "swir1" if "swir1" in bands else "nir"
    green = bands["green"] - np.float32(line.path["green"])
    wet = cloud_spectrum.index(green, bands[infrared] - np.float32(line.path[infrared])) > parameters.water_index
    return np.asarray(wet & (bands["nir"] < parameters.water_nir))


def _complete(bands: Mapping[str, _Layer]) -> BoolArray:
    return np.asarray(np.all(np.stack([np.isfinite(layer) for layer in bands.values()]), axis=0))


def _soft(value: AnyFloat, threshold: float, width: float) -> _Layer:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip((value - threshold) / width, -30.0, 30.0))), dtype=np.float32)


def _dilated(mask: BoolArray, steps: int) -> BoolArray:
    return np.asarray(ndimage.binary_dilation(mask, iterations=steps) if steps and mask.any() else mask)
