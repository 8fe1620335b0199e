"""Flood extent, a product for emergency management."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from products.sectors import definition
from retrieval.surface import change, flood, observation, radar_water

Singles = npt.NDArray[np.float32]

LAYER = "flood_extent"


@dataclass(frozen=True, kw_only=True)
class FloodExtentParameters:
    """Which dates are used and how flood is told.

    Parameters
    ----------
    minimum_share : float
        Share of usable pixels a date needs [1].
    hours_apart : float
        Time from the radar within which reflectance shows the same water [h].
    fewest_reference_dates : int
        Earlier optical dates a pixel needs to tell its usual water [1].
    block : int
        Edge of the blocks a scene is worked in [pixel].
    sample_parts : int
        Parts of the scene, along each axis, it is judged on [1].
    rules : FloodParameters
        How flood is told.
    """

    minimum_share: float = 0.05
    hours_apart: float = 24.0
    fewest_reference_dates: int = 2
    block: int = 2048
    sample_parts: int = 6
    rules: flood.FloodParameters = field(default_factory=flood.FloodParameters)


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """Layers of the dates used, on the grid of the product."""

    power: Mapping[str, Singles] | None
    earlier: Mapping[str, Singles] | None
    reflectance: Mapping[str, Singles] | None
    place: radar_water.Surroundings
    shape: tuple[int, int]


def flood_extent_layers(fused: xr.Dataset, *, parameters: FloodExtentParameters) -> definition.SectorLayers:
    """Flood on the latest date.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset of one or several dates, radar, reflectance or both; `hand`, `slope`, `elevation`, `layover`,
        `radar_shadow` and `reference_water` are used where there are.
    parameters : FloodExtentParameters
        Dates and rules.

    Returns
    -------
    SectorLayers
        Layer ``flood_extent`` [1] with the probability of the class given [1].

    Raises
    ------
    NotApplicableError
        Where no date has enough usable pixels, or neither radar nor the bands water needs are there.
    """
    radar, optical = observation.radar_usable(fused), _optical_usable(fused)
    dates = observation.dates_with_share(radar | optical, minimum_share=parameters.minimum_share)
    latest = int(definition.require_dates(dates, minimum=1, purpose="flood extent")[-1])
    inputs, used = _inputs(fused, latest, radar, optical, parameters)
    looks = _looks(inputs, parameters)
    model = _learned(inputs, looks, parameters)
    found = _mapped(inputs, looks, model, parameters)
    if not np.isfinite(found.water).any() and not (found.classes == flood.EXCLUDED).any():
        raise definition.NotApplicableError("no_usable_pixel", "no pixel of the input shows whether there is water")
    chance = class_probability(found.classes, flood_chance=found.flood, water_chance=found.water)
    like = fused["qa"].isel(time=latest, drop=True)
    return definition.SectorLayers(
        data=xr.Dataset({LAYER: like.copy(data=found.classes)}),
        uncertainty=xr.Dataset({LAYER: like.copy(data=chance)}),
        dates=np.array(sorted(used), dtype=np.intp),
        facts=_facts(inputs, looks, model, found),
    )


def _optical_usable(fused: xr.Dataset) -> xr.DataArray:
    names = {str(name) for name in fused["band"].values}
    if "green" not in names or not {"nir", "swir1"} & names:
        return xr.zeros_like(fused["qa"], dtype=bool)
    reflectance = fused["reflectance"]
    infrared = [name for name in ("nir", "swir1") if name in names]
    heard = reflectance.sel(band="green", drop=True).notnull() & reflectance.sel(band=infrared).notnull().any("band")
    return observation.clear(fused) & heard


def _inputs(
    fused: xr.Dataset, latest: int, radar: xr.DataArray, optical: xr.DataArray, parameters: FloodExtentParameters
) -> tuple[_Inputs, set[int]]:
    """Layers of the latest date and of the earlier ones, and which dates they are of."""
    with_radar = observation.dates_with_share(radar, minimum_share=parameters.minimum_share)
    with_optical = observation.dates_with_share(optical, minimum_share=parameters.minimum_share)
    now = _near(fused, with_optical, latest, parameters.hours_apart)
    passes = _near(fused, with_radar, latest, parameters.hours_apart)
    power = _power(fused, radar, passes) if passes else None
    reflectance = _reflectance(fused, optical, now) if now else None
    before = [int(date) for date in with_radar if date < min([*passes, latest])] if passes else []
    earlier = _power(fused, radar, before) if before else None
    views = [int(date) for date in with_optical if date < min([*now, *passes, latest])]
    reference, told = _reference(fused, optical, views if earlier is None else [], parameters)
    used = {latest, *passes, *now, *before, *told}
    place = radar_water.Surroundings(
        hand=_layer(fused, "hand"),
        slope=_layer(fused, "slope"),
        elevation=_layer(fused, "elevation"),
        reference=reference,
        hidden=_hidden(fused),
    )
    shape = (fused.sizes["y"], fused.sizes["x"])
    return _Inputs(power=power, earlier=earlier, reflectance=reflectance, place=place, shape=shape), used


def _near(fused: xr.Dataset, dates: npt.NDArray[np.intp], latest: int, hours: float) -> list[int]:
    """The last of the dates, if it is near enough to the latest."""
    if dates.size == 0:
        return []
    times = fused["time"].values
    apart = (times[latest] - times[dates[-1]]) / np.timedelta64(1, "h")
    return [int(dates[-1])] if apart <= hours else []


def _power(fused: xr.Dataset, usable: xr.DataArray, dates: list[int]) -> dict[str, Singles]:
    """Backscatter in linear units by polarization, the median of the dates."""
    known = [name for name in fused["polarization"].values if str(name) in radar_water.POLARIZATIONS]
    # The co- and cross-polar channel seen best; a sensor may give both vv and hh.
    roles: dict[str, str] = {}
    for name in known:
        roles.setdefault(radar_water.POLARIZATIONS[str(name)], str(name))
    result = {}
    for name in sorted(roles.values()):
        decibel = fused["backscatter"].sel(polarization=name, drop=True).where(usable).isel(time=dates)
        middle = decibel.isel(time=0) if len(dates) == 1 else decibel.median("time", skipna=True)
        values = middle.transpose("y", "x").values.astype(np.float32)
        result[name] = np.power(np.float32(10.0), values * np.float32(0.1))
    return result


def _reflectance(fused: xr.Dataset, usable: xr.DataArray, dates: list[int]) -> dict[str, Singles]:
    values = fused["reflectance"].where(usable).isel(time=dates[-1])
    names = [str(name) for name in fused["band"].values]
    wanted = ("blue", "green", "red", "nir", "swir1", "swir2")
    layers = {
        name: values.sel(band=name).transpose("y", "x").values.astype(np.float32) for name in wanted if name in names
    }
    # A band no date has would make every pixel unknown.
    return {name: layer for name, layer in layers.items() if np.isfinite(layer).any()}


def _reference(
    fused: xr.Dataset, usable: xr.DataArray, views: list[int], parameters: FloodExtentParameters
) -> tuple[Singles | None, list[int]]:
    """Usual water the input carries, else that of the earlier optical dates."""
    if "reference_water" in fused:
        return _layer(fused, "reference_water"), []
    if len(views) < parameters.fewest_reference_dates:
        return None, []
    rules = parameters.rules.water
    wet = []
    for date in views:
        seen = radar_water.evidence(None, _reflectance(fused, usable, [date]), number_of_looks=1.0, parameters=rules)
        model = radar_water.learn([seen], parameters=rules)
        wet.append(radar_water.map_water(seen, model=model, place=radar_water.Surroundings(), parameters=rules))
    series = xr.DataArray(np.stack([one.probability for one in wet]), dims=("time", "y", "x"))
    usual = change.water_frequency(series, minimum_dates=parameters.fewest_reference_dates)
    return usual.values.astype(np.float32), views


def _layer(fused: xr.Dataset, name: str) -> Singles | None:
    return fused[name].transpose("y", "x").values.astype(np.float32) if name in fused else None


def _hidden(fused: xr.Dataset) -> npt.NDArray[np.bool_] | None:
    masks = [layer > 0.5 for name in ("layover", "radar_shadow") if (layer := _layer(fused, name)) is not None]
    return np.logical_or.reduce(masks) if masks else None


def _looks(inputs: _Inputs, parameters: FloodExtentParameters) -> tuple[float, float]:
    """Equivalent number of looks of the latest and of the earlier backscatter."""
    found = []
    for power in (inputs.power, inputs.earlier):
        counted = np.nan if power is None else radar_water.looks(_first(power), parameters=parameters.rules.water)
        found.append(float(counted) if np.isfinite(counted) else 1.0)
    return found[0], found[1]


def _first(power: Mapping[str, Singles]) -> Singles:
    return next(iter(power.values()))


def _evidence(
    inputs: _Inputs, rows: slice, columns: slice, looks: tuple[float, float], parameters: FloodExtentParameters
) -> tuple[radar_water.Evidence, radar_water.Evidence | None, radar_water.Surroundings]:
    """Features of a part of the scene on the latest date and before, and what is known of the place."""

    def cut(layers: Mapping[str, Singles] | None) -> dict[str, Singles] | None:
        return None if layers is None else {name: layer[rows, columns] for name, layer in layers.items()}

    known = inputs.place
    place = radar_water.Surroundings(
        hand=_part(known.hand, rows, columns),
        slope=_part(known.slope, rows, columns),
        elevation=_part(known.elevation, rows, columns),
        reference=_part(known.reference, rows, columns),
        hidden=None if known.hidden is None else known.hidden[rows, columns],
    )
    rules = parameters.rules.water
    now = radar_water.evidence(
        cut(inputs.power), cut(inputs.reflectance), number_of_looks=looks[0], parameters=rules, hidden=place.hidden
    )
    if inputs.earlier is None:
        return now, None, place
    before = radar_water.evidence(cut(inputs.earlier), number_of_looks=looks[1], parameters=rules, hidden=place.hidden)
    return now, before, place


def _part(layer: Singles | None, rows: slice, columns: slice) -> Singles | None:
    return None if layer is None else layer[rows, columns]


def _learned(inputs: _Inputs, looks: tuple[float, float], parameters: FloodExtentParameters) -> flood.FloodModel:
    parts = [_evidence(inputs, *place, looks, parameters) for place in _sample(inputs.shape, parameters)]
    before = [part for _, part, _ in parts if part is not None]
    places = [place for _, _, place in parts]
    return flood.learn([now for now, _, _ in parts], before, parameters=parameters.rules, surroundings=places)


def _sample(shape: tuple[int, int], parameters: FloodExtentParameters) -> list[tuple[slice, slice]]:
    """Parts evenly spread over the scene; the whole of a small one."""
    edge = 2 * parameters.rules.water.tile
    starts = []
    for size in shape:
        if size <= edge * parameters.sample_parts:
            starts.append([(0, size)])
            continue
        tops = np.linspace(0, size - edge, parameters.sample_parts).astype(int)
        starts.append([(int(top), int(top) + edge) for top in tops])
    return [(slice(*rows), slice(*columns)) for rows in starts[0] for columns in starts[1]]


def _mapped(
    inputs: _Inputs, looks: tuple[float, float], model: flood.FloodModel, parameters: FloodExtentParameters
) -> flood.FloodMap:
    """The map, block by block, which bounds the memory."""
    classes = np.empty(inputs.shape, dtype=np.uint8)
    chances = np.empty((2, *inputs.shape), dtype=np.float32)
    halo, edge = parameters.rules.water.halo, parameters.block
    for top in range(0, inputs.shape[0], edge):
        for left in range(0, inputs.shape[1], edge):
            first = max(top - halo, 0), max(left - halo, 0)
            rows, columns = slice(first[0], top + edge + halo), slice(first[1], left + edge + halo)
            now, before, place = _evidence(inputs, rows, columns, looks, parameters)
            found = flood.map_flood(now, before, model=model, place=place, parameters=parameters.rules)
            inner = slice(top - first[0], top - first[0] + edge), slice(left - first[1], left - first[1] + edge)
            target = slice(top, top + edge), slice(left, left + edge)
            classes[target] = found.classes[inner]
            chances[0][target], chances[1][target] = found.flood[inner], found.water[inner]
    return flood.FloodMap(classes, chances[0], chances[1])


def class_probability(classes: npt.NDArray[np.uint8], *, flood_chance: Singles, water_chance: Singles) -> Singles:
    """Probability of the class given.

    Parameters
    ----------
    classes : numpy.ndarray
        Classes (y, x).
    flood_chance : numpy.ndarray
        Probability of flood (y, x) [1].
    water_chance : numpy.ndarray
        Probability of water (y, x) [1].

    Returns
    -------
    numpy.ndarray
        Probability (y, x) [1], NaN without data; excluded is no statement of chance, geometry alone says so.
    """
    chance = np.full(classes.shape, np.nan, dtype=np.float32)
    by_class = {
        flood.DRY: 1.0 - water_chance,
        flood.PERMANENT: np.clip(water_chance - flood_chance, 0.0, 1.0),
        flood.FLOOD: flood_chance,
        flood.PROBABLE: flood_chance,
    }
    for value, layer in by_class.items():
        chance = np.where(classes == value, layer, chance)
    return np.where(classes == flood.EXCLUDED, np.float32(1.0), chance).astype(np.float32)


def _facts(
    inputs: _Inputs, looks: tuple[float, float], model: flood.FloodModel, found: flood.FloodMap
) -> dict[str, Any]:
    remarks = []
    if inputs.earlier is None and inputs.place.reference is None:
        remarks.append("neither an earlier date nor usual water: flood and permanent water cannot be told apart")
    if inputs.power is not None and model.after.parts == 0:
        remarks.append("no part of the scene holds both water and land: the usual backscatter of water was used")
    return {
        "sources": [name for name, there in (("radar", inputs.power), ("optical", inputs.reflectance)) if there],
        "reference": "earlier radar" if inputs.earlier else "usual water" if inputs.place.reference is not None else "",
        "looks": round(looks[0], 2) if inputs.power else None,
        "thresholds_db": {name: round(value, 2) for name, value in model.after.thresholds.items()},
        "adapted_parts": model.after.parts,
        "excluded_share": float(np.mean(found.classes == flood.EXCLUDED)),
        "remarks": remarks,
    }


DEFINITION = definition.ProductDefinition(
    code="flood-extent",
    sector="emergency",
    title_en="Flood extent",
    title_zh="洪涝淹没范围",
    description_en=(
        "Open water of the latest date that is not there usually, from radar and clear reflectance of the same day, "
        "with height above drainage and the usual water of the month where the installation has them. Water under "
        "trees and between buildings is not seen, depth is not stated; without an earlier date or usual water of the "
        "month all water is marked probable flood only."
    ),
    description_zh=(
        "最近日期新增的开阔水面,由雷达及同日晴空反射率得到,并结合距排水面高度与当月常态水体。"
        "林下与建筑间的积水不可见,不表示水深;缺少既往影像或当月常态水体时,全部水面仅标为疑似淹没。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name=LAYER, title_en="Flood extent", title_zh="洪涝淹没范围"),),
    classes=(
        definition.ProductClass(value=flood.DRY, name_en="Dry", name_zh="非淹没", colour="#ece7dc"),
        definition.ProductClass(value=flood.PERMANENT, name_en="Usual water", name_zh="常态水体", colour="#2b7bba"),
        definition.ProductClass(value=flood.FLOOD, name_en="Flood", name_zh="淹没", colour="#d7263d"),
        definition.ProductClass(value=flood.PROBABLE, name_en="Probable flood", name_zh="疑似淹没", colour="#f08a6c"),
        definition.ProductClass(
            value=flood.EXCLUDED,
            name_en="Excluded (terrain, layover, radar shadow)",
            name_zh="不作判定(地形、叠掩、雷达阴影)",
            colour="#8c8c8c",
        ),
    ),
    outlined=(flood.FLOOD,),
    required_bands=(),
    minimum_dates=1,
    latency_target=timedelta(minutes=30),
    validity="rapid",
    algorithm=flood_extent_layers,
    parameters=FloodExtentParameters(),
)
