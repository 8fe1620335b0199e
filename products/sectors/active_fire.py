"""Product for emergency management: active fires with radiative power."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from processors.imagery import grid, qa, solar_geometry, terrain
from products import feature_table
from products.sectors import definition, statistics
from retrieval.surface import active_fire, fire_event, fire_power, observation, static_source, swir_fire

SWIR_BANDS = ("nir", "swir1", "swir2")
"""Bands that find fires without a thermal band."""


@dataclass(frozen=True, kw_only=True)
class ActiveFireProductParameters:
    """Choices of the product.

    Parameters
    ----------
    thermal : ActiveFireParameters
        Thresholds of the detection near 4 um.
    swir : SwirFireParameters
        Thresholds of the detection near 2.2 um.
    events : FireEventParameters
        How pixels make a fire.
    coarse_pixel : float
        Pixel size from which a scene of unknown sensor is tested as MODIS [m].
    fine_pixel : float
        Largest pixel of the detection near 2.2 um [m].
    water : float
        Usual probability of water from which a pixel is water [1].
    probability : tuple of float
        Probability of a fire of low, nominal and high confidence [1].
    absent : float
        Probability that an inconspicuous pixel has no fire [1].
    doubted : float
        Probability that a conspicuous pixel taken for something else has no fire [1].
    static_margin : float
        What the place of a fire is uncertain by, in pixels [1].
    """

    thermal: active_fire.ActiveFireParameters = field(default_factory=active_fire.ActiveFireParameters)
    swir: swir_fire.SwirFireParameters = field(default_factory=swir_fire.SwirFireParameters)
    events: fire_event.FireEventParameters = field(default_factory=fire_event.FireEventParameters)
    coarse_pixel: float = 600.0
    fine_pixel: float = 60.0
    water: float = 0.5
    probability: tuple[float, float, float] = (0.7, 0.93, 0.99)
    absent: float = 0.999
    doubted: float = 0.9
    static_margin: float = 0.75


class Setting(NamedTuple):
    """Where and when fires were seen, and by what."""

    geobox: GeoBox
    """Grid of the scene."""
    time: np.datetime64
    """Time of the scene (UTC), NaT where it is not known."""
    sensor: str
    """Name of the sensor."""
    day: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.bool_]]
    """Whether it was day, by row and column."""


_field = feature_table.field

FIELDS = (
    _field("lat", "Latitude", "纬度", "real", "degree"),
    _field("lon", "Longitude", "经度", "real", "degree"),
    _field("time", "Time of observation", "观测时间", "time"),
    _field("t4", "Brightness temperature near 4 um", "4微米亮温", "real", "K"),
    _field("t11", "Brightness temperature near 11 um", "11微米亮温", "real", "K"),
    _field("frp_mw", "Radiative power", "火辐射功率", "real", "MW"),
    _field("frp_sigma_mw", "Standard deviation of the power", "火辐射功率标准差", "real", "MW"),
    _field("frp_lower_limit", "Power is a lower limit", "功率为下限", "flag"),
    _field("confidence", "Confidence: 1 low, 2 nominal, 3 high", "置信度(1低2中3高)", "integer"),
    _field("sensor", "Sensor", "传感器", "text"),
    _field("static_flag", "Known static source", "固定热源标记", "flag"),
    _field("pixels", "Pixels that burn", "火点像元数", "integer"),
    _field("daynight", "D day, N night", "昼夜(D昼N夜)", "text"),
)
"""Attributes of a fire."""


def table(
    events: fire_event.FireEvents, *, setting: Setting, static: npt.NDArray[np.bool_]
) -> feature_table.FeatureTable:
    """Fires as points.

    Parameters
    ----------
    events : FireEvents
        Fires.
    setting : Setting
        Where, when and by what they were seen.
    static : numpy.ndarray
        Whether each is a static source.

    Returns
    -------
    FeatureTable
        One point a fire in WGS 84.
    """
    longitude, latitude = places(setting.geobox, events.row, events.column)
    number = len(events.row)
    day = setting.day(events.peak_row, events.peak_column) if number else np.zeros(0, dtype=bool)
    return feature_table.FeatureTable(
        name="active_fire",
        title_en="Active fires",
        title_zh="活动火点",
        fields=FIELDS,
        geometry=list(shapely.points(longitude, latitude)),
        columns={
            "lat": latitude,
            "lon": longitude,
            "time": np.full(number, setting.time, dtype="datetime64[ms]"),
            "t4": events.t4,
            "t11": events.t11,
            "frp_mw": events.power,
            "frp_sigma_mw": events.power_sigma,
            "frp_lower_limit": events.lower_limit,
            "confidence": events.confidence,
            "sensor": np.full(number, setting.sensor, dtype=object),
            "static_flag": static,
            "pixels": events.pixels,
            "daynight": np.where(day, "D", "N").astype(object),
        },
        crs="EPSG:4326",
        geometry_type="Point",
    )


def places(
    geobox: GeoBox, row: npt.NDArray[np.floating], column: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Longitude and latitude of places on a grid.

    Parameters
    ----------
    geobox : GeoBox
        Grid.
    row, column : numpy.ndarray
        Places, whole numbers at pixel centers [pixel].

    Returns
    -------
    tuple of numpy.ndarray
        Longitude and latitude [degree].
    """
    affine = geobox.transform
    return terrain.transformed(
        geobox, affine.c + (np.asarray(column) + 0.5) * affine.a, affine.f + (np.asarray(row) + 0.5) * affine.e
    )


def pixel_areas(geobox: GeoBox) -> npt.NDArray[np.float64]:
    """Ground area of the pixels of every row, taken in the middle of the row.

    Parameters
    ----------
    geobox : GeoBox
        Grid.

    Returns
    -------
    numpy.ndarray
        Area, one a row [m2].
    """
    rows, columns = geobox.shape
    affine = geobox.transform
    middle = affine.c + columns // 2 * affine.a
    if grid.system(geobox).geographic:
        strip = GeoBox((rows, 1), Affine(affine.a, 0.0, middle, 0.0, affine.e, affine.f), geobox.crs)
        return statistics.cell_areas(strip)[:, 0]
    # The scale of a projection changes slowly: one pixel stands for the scene.
    top = affine.f + rows // 2 * affine.e
    pixel = GeoBox((1, 1), Affine(affine.a, 0.0, middle, 0.0, affine.e, top), geobox.crs)
    return np.full(rows, float(statistics.cell_areas(pixel)[0, 0]))


def with_areas(events: fire_event.FireEvents, areas: npt.NDArray[np.float64], mean: float) -> fire_event.FireEvents:
    """Fires whose power was found with the mean area of the pixels, corrected for the area of their row.

    Parameters
    ----------
    events : FireEvents
        Fires.
    areas : numpy.ndarray
        Area, one a row [m2].
    mean : float
        Area their power was found with [m2].

    Returns
    -------
    FireEvents
        The same with corrected power.
    """
    factor = areas[events.peak_row] / mean
    return events._replace(power=events.power * factor, power_sigma=events.power_sigma * factor)


def power_scale(sensor: fire_power.FireSensor, *, area: float, transmission: float = 1.0) -> fire_event.PowerScale:
    """From radiance to power for the bands of a sensor.

    Parameters
    ----------
    sensor : FireSensor
        Bands.
    area : float
        Ground area of a pixel [m2].
    transmission : float
        Transmission of the atmosphere near 4 um [1].

    Returns
    -------
    PowerScale
        Factors [MW W-1 m2 sr um] and relative spread [1].
    """
    later = sensor.power or sensor.t4
    fitted = fire_power.power_coefficient(sensor.t4.wavelength)
    published = sensor.published_coefficient
    coefficients = (
        (published or fitted, published or fitted)
        if sensor.power is None
        else (fitted, published or fire_power.power_coefficient(later.wavelength))
    )
    detecting, power = (
        fire_power.megawatts_per_radiance(area, coefficient=coefficient, transmission=transmission)
        for coefficient in coefficients
    )
    return fire_event.PowerScale(detecting, power, fire_power.power_spread(later.wavelength))


def thermal_pixels(
    found: active_fire.FireField,
    scene: active_fire.ThermalScene,
    *,
    window: tuple[slice, slice],
    offset: tuple[int, int],
) -> fire_event.FirePixels:
    """Pixels that burn in the inner part of a block, and those around them.

    Parameters
    ----------
    found : FireField
        Fires of the block.
    scene : ThermalScene
        What was measured.
    window : tuple of slice
        Inner part of the block.
    offset : tuple of int
        Row and column of its first pixel in the scene [pixel].

    Returns
    -------
    FirePixels
        One entry a pixel.
    """
    layers = {
        "burning": found.classes == active_fire.FIRE,
        "t4": scene.t4,
        "t11": scene.t11,
        "excess": np.where(found.cause >= active_fire.FIRST_REJECTION, np.nan, found.excess),
        "excess_sigma": found.excess_sigma,
        "power_excess": found.power_excess,
        "power_sigma": found.power_sigma,
        "saturated": found.saturated,
        "confidence": found.confidence,
    }
    return fire_event.pixels_of({name: layer[window] for name, layer in layers.items()}, offset=offset)


def swir_pixels(
    found: swir_fire.SwirFireField, *, window: tuple[slice, slice], offset: tuple[int, int]
) -> fire_event.FirePixels:
    """Pixels that burn by the test near 2.2 um in the inner part of a block; their excess is power itself [MW].

    Parameters
    ----------
    found : SwirFireField
        Fires of the block.
    window : tuple of slice
        Inner part of the block.
    offset : tuple of int
        Row and column of its first pixel in the scene [pixel].

    Returns
    -------
    FirePixels
        One entry a pixel.
    """
    nothing = np.full(found.power.shape, np.nan, dtype=np.float32)
    layers = {
        "burning": found.classes == active_fire.FIRE,
        "t4": nothing,
        "t11": nothing,
        "excess": found.power,
        "excess_sigma": found.power_sigma,
        "power_excess": nothing,
        "power_sigma": nothing,
        "saturated": found.saturated,
        "confidence": found.confidence,
    }
    return fire_event.pixels_of({name: layer[window] for name, layer in layers.items()}, offset=offset)


def joined(parts: list[fire_event.FirePixels]) -> fire_event.FirePixels:
    """Pixels of several blocks as one list in reading order.

    Parameters
    ----------
    parts : list of FirePixels
        Pixels of each block, at least one.

    Returns
    -------
    FirePixels
        All of them.
    """
    whole: list[Any] = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    order = np.lexsort((whole[1], whole[0]))
    return fire_event.FirePixels(*(column[order] for column in whole))


def static_events(
    events: fire_event.FireEvents,
    *,
    geobox: GeoBox,
    sources: static_source.StaticSources,
    margin: float,
) -> npt.NDArray[np.bool_]:
    """Which fires are known static sources: their center or their strongest pixel lies on one.

    Parameters
    ----------
    events : FireEvents
        Fires.
    geobox : GeoBox
        Grid they lie on.
    sources : StaticSources
        Static sources.
    margin : float
        What the place of a fire is uncertain by [m].

    Returns
    -------
    numpy.ndarray
        True for a static source, one a fire.
    """
    static = np.zeros(len(events.row), dtype=bool)
    for row, column in ((events.row, events.column), (events.peak_row, events.peak_column)):
        longitude, latitude = places(geobox, row.astype(np.float64), column.astype(np.float64))
        static |= static_source.matched(longitude, latitude, sources=sources, margin=margin)
    return static


def probability(
    classes: npt.NDArray[np.uint8],
    confidence: npt.NDArray[np.uint8],
    cause: npt.NDArray[np.uint8],
    *,
    parameters: ActiveFireProductParameters,
) -> npt.NDArray[np.float32]:
    """Probability of the class given.

    Parameters
    ----------
    classes, confidence, cause : numpy.ndarray
        Layers of a detection [1].
    parameters : ActiveFireProductParameters
        Choices.

    Returns
    -------
    numpy.ndarray
        Probability [1], NaN without data.
    """
    absent = np.where(cause > 0, parameters.doubted, parameters.absent)
    present = np.array([0.0, *parameters.probability])[confidence]
    burning = (classes == active_fire.FIRE) | (classes == active_fire.STATIC_SOURCE)
    given = np.where(burning, present, absent)
    return np.where(classes == definition.CLASS_NODATA, np.nan, given).astype(np.float32)


def active_fire_layers(fused: xr.Dataset, *, parameters: ActiveFireProductParameters) -> definition.SectorLayers:
    """Fires of the latest date, from bands near 4 and 11 um where there are, else from reflectance near 2.2 um.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset; ``brightness_temperature`` [K] with the channels ``t4`` and ``t11``, and ``m13`` for a band that
        saturates later, or the bands nir, swir1 and swir2 of at most 60 m; ``static_source`` (y, x) where static
        sources are known.
    parameters : ActiveFireProductParameters
        Choices.

    Returns
    -------
    SectorLayers
        Layer ``active_fire`` [1] with the probability of the class given [1], and the fires as points.

    Raises
    ------
    NotApplicableError
        Without such bands (cause ``band_missing``) or without usable pixels.
    """
    thermal = "brightness_temperature" in fused and {"t4", "t11"} <= {str(name) for name in fused["channel"].values}
    found = _thermal(fused, parameters) if thermal else _swir(fused, parameters)
    static = _static(fused, found.events)
    classes = marked(found.classes, found.pixels, found.events, static)
    like = fused["qa"].isel(time=0, drop=True)
    given = probability(classes, found.confidence, found.cause, parameters=parameters)
    return definition.SectorLayers(
        data=xr.Dataset({"active_fire": xr.zeros_like(like, dtype=np.uint8).copy(data=classes)}),
        uncertainty=xr.Dataset({"active_fire": xr.zeros_like(like, dtype=np.float32).copy(data=given)}),
        dates=np.array([found.date], dtype=np.intp),
        features=(table(found.events, setting=found.setting, static=static),),
        facts=facts(found.events, static, found.causes),
    )


def marked(
    classes: npt.NDArray[np.uint8],
    pixels: fire_event.FirePixels,
    events: fire_event.FireEvents,
    static: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint8]:
    """Classes with the pixels of static sources told from fires.

    Parameters
    ----------
    classes : numpy.ndarray
        Classes of the detection (y, x) [1].
    pixels : FirePixels
        Pixels the fires were made from.
    events : FireEvents
        Fires.
    static : numpy.ndarray
        Whether each is a static source.

    Returns
    -------
    numpy.ndarray
        Classes (y, x) [1].
    """
    result = classes.copy()
    own = events.label >= 0
    own[own] = static[events.label[own]]
    result[pixels.row[own], pixels.column[own]] = active_fire.STATIC_SOURCE
    return result


def facts(events: fire_event.FireEvents, static: npt.NDArray[np.bool_], causes: Mapping[str, int]) -> dict[str, Any]:
    """Figures of a scene in JSON types.

    Parameters
    ----------
    events : FireEvents
        Fires.
    static : numpy.ndarray
        Whether each is a static source.
    causes : Mapping
        Pixels by what was decided about them [1].

    Returns
    -------
    dict
        Numbers of fires and static sources, power [MW], pixels taken for something else by cause.
    """
    power = events.power[~static]
    names = {"low": active_fire.LOW, "nominal": active_fire.NOMINAL, "high": active_fire.HIGH}
    return {
        "fires": int((~static).sum()),
        "static_sources": int(static.sum()),
        "fires_by_confidence": {
            name: int((events.confidence[~static] == value).sum()) for name, value in names.items()
        },
        "fire_power_mw": round(float(np.nansum(power)), 3),
        "power_lower_limits": int(events.lower_limit[~static].sum()),
        "conspicuous_pixels": dict(causes),
    }


class _Found(NamedTuple):
    classes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    cause: npt.NDArray[np.uint8]
    causes: Mapping[str, int]
    pixels: fire_event.FirePixels
    events: fire_event.FireEvents
    setting: Setting
    date: int


def _thermal(fused: xr.Dataset, parameters: ActiveFireProductParameters) -> _Found:
    warmth = fused["brightness_temperature"]
    seen = warmth.sel(channel="t4").notnull() & warmth.sel(channel="t11").notnull()
    date = int(_dates(seen)[-1])
    geobox = grid.geobox_of(fused)
    sensor_name = _sensor_name(fused, geobox, parameters)
    sensor = fire_power.SENSORS[sensor_name]
    time, zenith = _sun(fused, date, geobox)
    channels = {str(name) for name in fused["channel"].values}
    bits = fused["qa"].isel(time=date)
    scene = active_fire.ThermalScene(
        _values(warmth.isel(time=date).sel(channel="t4")),
        _values(warmth.isel(time=date).sel(channel="t11")),
        zenith,
        _values(warmth.isel(time=date).sel(channel="m13")) if "m13" in channels else None,
        _band(fused, date, "red"),
        _band(fused, date, "nir"),
        _band(fused, date, "swir2"),
        water=_water(fused, parameters),
        cloud=observation.flagged(bits, qa.QaBit.CLOUD).values,
    )
    areas = pixel_areas(geobox)
    mean = float(areas.mean())
    found = active_fire.detect(scene, sensor=sensor, pixel_area=mean, parameters=parameters.thermal)
    everything = (slice(None), slice(None))
    pixels = thermal_pixels(found, scene, window=everything, offset=(0, 0))
    events = fire_event.assemble(pixels, scale=power_scale(sensor, area=mean), parameters=parameters.events)
    limit = parameters.thermal.day_zenith
    setting = Setting(geobox, time, sensor_name, lambda row, column: zenith[row, column] < limit)
    causes = counted(found.cause, active_fire.CAUSES)
    return _Found(
        found.classes, found.confidence, found.cause, causes, pixels, with_areas(events, areas, mean), setting, date
    )


def _swir(fused: xr.Dataset, parameters: ActiveFireProductParameters) -> _Found:
    geobox = grid.geobox_of(fused)
    present = {str(name) for name in fused["band"].values}
    if not set(SWIR_BANDS) <= present or grid.pixel_size(geobox) > parameters.fine_pixel:
        raise definition.NotApplicableError(
            "band_missing",
            "active-fire needs brightness temperature near 4 and 11 um (t4, t11), or the bands "
            f"{', '.join(SWIR_BANDS)} with pixels of at most {parameters.fine_pixel:.0f} m",
        )
    reflectance = fused["reflectance"].sel(band=list(SWIR_BANDS))
    date = int(_dates(reflectance.notnull().all("band"))[-1])
    time, zenith = _sun(fused, date, geobox)
    bits = fused["qa"].isel(time=date)
    nir, swir1, swir2 = (_values(reflectance.isel(time=date).sel(band=name)) for name in SWIR_BANDS)
    scene = swir_fire.ReflectanceScene(
        nir,
        swir1,
        swir2,
        _band(fused, date, "red"),
        _band(fused, date, "blue"),
        _band(fused, date, "green"),
        water=_water(fused, parameters),
        cloud=observation.flagged(bits, qa.QaBit.CLOUD).values,
    )
    areas = pixel_areas(geobox)
    mean, sun = float(areas.mean()), float(zenith.mean())
    found = swir_fire.detect(scene, pixel_area=mean, sun_zenith=sun, parameters=parameters.swir)
    everything = (slice(None), slice(None))
    pixels = swir_pixels(found, window=everything, offset=(0, 0))
    events = swir_events(pixels, parameters=parameters)
    setting = Setting(
        geobox, time, str(fused.attrs.get("sensor", "swir")), lambda row, column: zenith[row, column] < 90.0
    )
    causes = counted(found.cause, swir_fire.CAUSES)
    return _Found(
        found.classes, found.confidence, found.cause, causes, pixels, with_areas(events, areas, mean), setting, date
    )


def swir_events(pixels: fire_event.FirePixels, *, parameters: ActiveFireProductParameters) -> fire_event.FireEvents:
    """Fires from pixels of the test near 2.2 um: a front of many pixels is one fire whatever its strength along it.

    Parameters
    ----------
    pixels : FirePixels
        Pixels with their power [MW].
    parameters : ActiveFireProductParameters
        Choices.

    Returns
    -------
    FireEvents
        Fires.
    """
    # Pixels of a fire share its temperature, and with it what that is in doubt by.
    whole = dataclasses.replace(parameters.events, saddle=0.0, common_share=1.0)
    return fire_event.assemble(pixels, scale=fire_event.PowerScale(1.0, 1.0, parameters.swir.spread), parameters=whole)


def counted(cause: npt.NDArray[np.uint8], names: Mapping[int, str]) -> dict[str, int]:
    """Pixels by what was decided about them.

    Parameters
    ----------
    cause : numpy.ndarray
        Codes [1].
    names : Mapping
        Names of the codes.

    Returns
    -------
    dict
        Number of pixels by name [1], those that occur.
    """
    numbers = np.bincount(cause.ravel(), minlength=256)
    return {name: int(numbers[code]) for code, name in names.items() if numbers[code]}


def _dates(seen: xr.DataArray) -> npt.NDArray[np.intp]:
    found = observation.dates_with_share(seen, minimum_share=0.0)
    return definition.require_dates(found, minimum=1, purpose="active fires")


def _sun(fused: xr.Dataset, date: int, geobox: GeoBox) -> tuple[np.datetime64, npt.NDArray[np.float32]]:
    """Time of a date, and the zenith angle of the sun over the scene [degree]."""
    time = np.datetime64(fused["time"].values[date], "ms")
    longitude, latitude = terrain.positions(geobox)
    return time, solar_geometry.sun_position(time, longitude, latitude).zenith.astype(np.float32)


def _sensor_name(fused: xr.Dataset, geobox: GeoBox, parameters: ActiveFireProductParameters) -> str:
    stated = str(fused["brightness_temperature"].attrs.get("sensor", fused.attrs.get("sensor", ""))).lower()
    if stated in fire_power.SENSORS:
        return stated
    return "modis" if grid.pixel_size(geobox) >= parameters.coarse_pixel else "viirs"


def _values(layer: xr.DataArray) -> npt.NDArray[np.float32]:
    return np.asarray(layer.values, dtype=np.float32)


def _band(fused: xr.Dataset, date: int, name: str) -> npt.NDArray[np.float32] | None:
    if name not in {str(band) for band in fused["band"].values}:
        return None
    return _values(fused["reflectance"].isel(time=date).sel(band=name))


def _water(fused: xr.Dataset, parameters: ActiveFireProductParameters) -> npt.NDArray[np.bool_] | None:
    if "reference_water" not in fused:
        return None
    return np.asarray(fused["reference_water"].values > parameters.water)


def _static(fused: xr.Dataset, events: fire_event.FireEvents) -> npt.NDArray[np.bool_]:
    if "static_source" not in fused:
        return np.zeros(len(events.row), dtype=bool)
    known = np.nan_to_num(fused["static_source"].values.astype(np.float64)) > 0.0
    centers = np.rint(np.stack([events.row, events.column])).astype(np.int64)
    found: npt.NDArray[np.bool_] = known[tuple(centers)] | known[events.peak_row, events.peak_column]
    return found


DEFINITION = definition.ProductDefinition(
    code="active-fire",
    sector="emergency",
    title_en="Active fires",
    title_zh="活动火点",
    description_en=(
        "Places that burnt when the satellite passed, each with its radiative power and a confidence, from "
        "temperatures near 4 and 11 um or from short-wave infrared at 10 to 30 m. Sun glint, hot roofs and hot ground "
        "are told apart by their spectrum; known works and flares are marked as static sources. Fires under cloud, "
        "or too small or too cool at the time, are not seen: no point does not mean no fire."
    ),
    description_zh=(
        "卫星过境时刻正在燃烧的地点,附火辐射功率与置信度,由4微米与11微米亮温或10—30米短波红外得到。"
        "太阳耀斑、高温屋顶与高温裸地按光谱特征剔除,已知工业热源另行标记。"
        "云下、过小或温度较低的火点无法看到:没有火点不等于没有火情。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name="active_fire", title_en="Active fire", title_zh="活动火点"),),
    classes=(
        definition.ProductClass(
            value=active_fire.NO_FIRE, name_en="No fire seen", name_zh="未见火点", colour="#ece7dc"
        ),
        definition.ProductClass(value=active_fire.FIRE, name_en="Fire", name_zh="火点", colour="#d7263d"),
        definition.ProductClass(
            value=active_fire.STATIC_SOURCE, name_en="Known static source", name_zh="已知固定热源", colour="#7b5ea7"
        ),
    ),
    required_bands=(),
    minimum_dates=1,
    latency_target=timedelta(minutes=30),
    validity="rapid",
    algorithm=active_fire_layers,
    parameters=ActiveFireProductParameters(),
)
