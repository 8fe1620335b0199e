"""Scenes of one area from any number of sources to one gap-free, flagged and quantified dataset."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.arrays import IntArray
from processors.imagery import cloud_mask, external_scene, gap_filling, grid, qa, scene_registration
from processors.quality import BadInputError

COARSE_RATIO = 1.5
"""Pixel size relative to the finest scene from which a scene only assists [1]."""


@dataclass(frozen=True)
class FusionParameters:
    """Choices of the fusion.

    Parameters
    ----------
    cloud : cloud_mask.CloudMaskParameters
        Thresholds of the cloud mask.
    gaps : gap_filling.GapFillingParameters
        Choices of the gap filling.
    registration : scene_registration.RegistrationParameters
        Choices of the co-registration between the dates.
    assisting_scenes : int
        Coarser scenes used at most, nearest in time first [1].
    radar_days : float
        Time within which a radar scene counts as of an optical date [d].
    """

    cloud: cloud_mask.CloudMaskParameters = field(default_factory=cloud_mask.CloudMaskParameters)
    gaps: gap_filling.GapFillingParameters = field(default_factory=gap_filling.GapFillingParameters)
    registration: scene_registration.RegistrationParameters = field(
        default_factory=scene_registration.RegistrationParameters
    )
    assisting_scenes: int = 3
    radar_days: float = 12.0


def fuse(scenes: Sequence[xr.Dataset], *, parameters: FusionParameters | None = None) -> xr.Dataset:
    """Fuse the scenes of one area.

    The finest scenes form the series on the working grid of the first of them; coarser ones assist in filling it. The
    result does not depend on the order of the scenes.

    Parameters
    ----------
    scenes : Sequence[xr.Dataset]
        Scene stacks of one area.
    parameters : FusionParameters, optional
        Choices of the methods.

    Returns
    -------
    xr.Dataset
        `reflectance` and `reflectance_sigma` (time, band, y, x) [1], `qa` (time, y, x), `source` (time, y, x),
        `observed` (time, y, x), `cloud_probability` (time, y, x) [1] and, where known, `backscatter` [dB], `elevation`
        [m] and `slope` [degree]; attributes name the inputs, the methods chosen and their hold-out scores.

    Raises
    ------
    BadInputError
        `no_scene`, `area_mismatch`, `band_missing` or `crs_missing`.
    """
    chosen = parameters or FusionParameters()
    everything = sorted(scenes, key=_sort_key)
    area = _common_area(everything)
    ordered = [scene for scene in everything if "reflectance" in scene]
    if not ordered:
        raise BadInputError("no_scene", "there is no optical scene to fuse")
    sizes = [grid.pixel_size(grid.geobox_of(scene)) for scene in ordered]
    fine = [scene for scene, size in zip(ordered, sizes, strict=True) if size < COARSE_RATIO * min(sizes)]
    coarse = [scene for scene, size in zip(ordered, sizes, strict=True) if size >= COARSE_RATIO * min(sizes)]
    target = grid.working_grid(fine[0])
    registered = scene_registration.register(fine, target, parameters=chosen.registration)
    series = _series(registered.layers, target)
    radar = [grid.match(scene, target) for scene in everything if "reflectance" not in scene]
    series = _with_radar(series, radar, days=chosen.radar_days)
    series.attrs["coregistration_rmse"] = scene_registration.residual(registered.records)
    assisting = _assisting(coarse, series, target, chosen)
    reference = assisting[0]["reflectance"].isel(time=0) if assisting and "blue" in assisting[0]["band"] else None
    mask = cloud_mask.classify(series, reference=reference, parameters=chosen.cloud)
    filled = gap_filling.fill(series, mask["cloud_class"], auxiliary=assisting, parameters=chosen.gaps)
    result = filled.stack.assign(cloud_probability=mask["cloud_probability"])
    result = _with_terrain(result, coarse, target)
    result.attrs = _attributes(everything, series, filled, area)
    result.attrs["coregistration"] = json.dumps([_rounded(record._asdict()) for record in registered.records])
    return grid.assign(result, target)


def _nanoseconds(scene: xr.Dataset) -> IntArray:
    """Times since 1970 whatever the resolution of the axis [ns]."""
    return np.atleast_1d(scene["time"].values).astype("datetime64[ns]").astype(np.int64)


def _sort_key(scene: xr.Dataset) -> tuple[float, int, str, str]:
    """Finest first, then by time, source and content: a total order whatever the input order."""
    variable = "reflectance" if "reflectance" in scene else "backscatter"
    content = hashlib.sha256(np.ascontiguousarray(scene[variable].values).tobytes()).hexdigest()
    first = int(_nanoseconds(scene).min())
    return (round(grid.pixel_size(grid.geobox_of(scene)), 3), first, str(scene.attrs.get("source", "")), content)


def _common_area(scenes: Sequence[xr.Dataset]) -> str:
    if not scenes:
        raise BadInputError("no_scene", "there is no scene to fuse")
    areas = {str(scene.attrs.get("area", "")) for scene in scenes} - {""}
    if len(areas) > 1:
        raise BadInputError("area_mismatch", f"scenes of different areas: {', '.join(sorted(areas))}")
    return areas.pop() if areas else ""


def _series(scenes: Sequence[xr.Dataset], target: GeoBox) -> xr.Dataset:
    """One stack of all dates; of scenes of the same time the first one leads, others fill what it lacks."""
    shared = set.intersection(*({str(name) for name in scene["band"].values} for scene in scenes))
    if not shared:
        raise BadInputError("band_missing", "the scenes have no band in common")
    bands = sorted(shared, key=external_scene.band_order)
    moments: dict[int, xr.Dataset] = {}
    for scene in scenes:
        for index in range(scene.sizes["time"]):
            layer = _layer(scene.isel(time=index), bands)
            moment = int(_nanoseconds(layer)[0])
            moments[moment] = _completed(moments[moment], layer) if moment in moments else layer
    stack = xr.concat(
        [_with_defaults(moments[moment], list(moments.values())) for moment in sorted(moments)],
        dim="time",
        data_vars="all",
        coords="all",
        compat="equals",
        join="outer",
        combine_attrs="drop",
    )
    for name in ("elevation", "slope"):
        holders = [scene[name] for scene in scenes if name in scene]
        if holders:
            stack[name] = holders[0].drop_vars("time", errors="ignore")
    return grid.assign(stack, target)


def _layer(scene: xr.Dataset, bands: Sequence[str]) -> xr.Dataset:
    names = [name for name in ("reflectance", "backscatter", "footprint", "qa") if name in scene]
    kept = scene[names].sel(band=list(bands))
    wanted = {"time", "band", "polarization", "y", "x", "sun_zenith", "sun_azimuth"}
    return kept.drop_vars([name for name in kept.coords if name not in wanted])


def _completed(first: xr.Dataset, second: xr.Dataset) -> xr.Dataset:
    """Values of the first layer, of the second where the first has none."""
    result = first.copy()
    result["reflectance"] = first["reflectance"].fillna(second["reflectance"])
    if "backscatter" in second:
        present = first["backscatter"] if "backscatter" in first else second["backscatter"]
        result["backscatter"] = present.combine_first(second["backscatter"])
    if "footprint" in first:
        result["footprint"] = first["footprint"] | second["footprint"] if "footprint" in second else True
    if "qa" in first and "qa" in second:
        result["qa"] = first["qa"] | second["qa"]
    return result


def _with_defaults(layer: xr.Dataset, others: Sequence[xr.Dataset]) -> xr.Dataset:
    """Give a layer what other dates have, with the value that says nothing."""
    result = layer
    flat = layer["reflectance"].isel(band=0, drop=True)
    if any("footprint" in other for other in others) and "footprint" not in layer:
        result = result.assign(footprint=xr.ones_like(flat, dtype=bool))
    if any("qa" in other for other in others) and "qa" not in layer:
        result = result.assign(qa=xr.zeros_like(flat, dtype=np.uint16))
    radar = next((other["backscatter"] for other in others if "backscatter" in other), None)
    if radar is not None and "backscatter" not in layer:
        empty = xr.full_like(radar.drop_vars("time"), np.nan)
        result = result.assign(backscatter=empty)
    for name in ("sun_zenith", "sun_azimuth"):
        if any(name in other.coords for other in others) and name not in layer.coords:
            result = result.assign_coords({name: np.nan})
    return result


def _with_radar(series: xr.Dataset, scenes: Sequence[xr.Dataset], *, days: float) -> xr.Dataset:
    """Give every date that has no backscatter that of the radar view nearest in time."""
    views = [scene.isel(time=index) for scene in scenes for index in range(scene.sizes["time"])]
    if not views:
        return series
    names = set.intersection(*({str(name) for name in view["polarization"].values} for view in views))
    if "backscatter" in series:
        names &= {str(name) for name in series["polarization"].values}
    kept = sorted(names, key=external_scene.POLARIZATIONS.index)
    moments = np.array([_nanoseconds(view)[0] for view in views])
    layers = []
    for index, moment in enumerate(_nanoseconds(series)):
        own = series["backscatter"].isel(time=index).sel(polarization=kept).values if "backscatter" in series else None
        nearest = int(np.abs(moments - moment).argmin())
        near = abs(int(moments[nearest]) - int(moment)) <= days * 86_400e9
        view = views[nearest]["backscatter"].sel(polarization=kept).transpose("polarization", "y", "x").values
        found = view if near else np.full_like(view, np.nan)
        layers.append(found if own is None else np.where(np.isfinite(own), own, found))
    bare = series.drop_vars(["backscatter", "polarization"], errors="ignore")
    axes = ("time", "polarization", "y", "x")
    stack = np.stack(layers).astype(np.float32)
    return bare.assign(backscatter=(axes, stack, {"units": "dB"})).assign_coords(polarization=kept)


def _assisting(
    coarse: Sequence[xr.Dataset], series: xr.Dataset, target: GeoBox, parameters: FusionParameters
) -> list[xr.Dataset]:
    """Cloud-free layers of the coarser scenes on the target grid, nearest in time first."""
    layers = [
        _cleared(scene, parameters).isel(time=[index]) for scene in coarse for index in range(scene.sizes["time"])
    ]
    middle = _nanoseconds(series).mean()
    layers.sort(key=lambda layer: abs(_nanoseconds(layer)[0] - middle))
    matched = (grid.match(layer, target) for layer in layers)
    useful = [layer for layer in matched if bool(np.isfinite(layer["reflectance"]).any())]
    return useful[: parameters.assisting_scenes]


def _cleared(scene: xr.Dataset, parameters: FusionParameters) -> xr.Dataset:
    """Without the certain clouds only: with nothing to compare, the thin ones are mostly bright roofs."""
    mask = cloud_mask.classify(scene, parameters=parameters.cloud)["cloud_class"]
    clear = ~mask.isin((cloud_mask.CLOUD, cloud_mask.SHADOW))
    return scene[["reflectance"]].assign(reflectance=scene["reflectance"].where(clear))


def _with_terrain(result: xr.Dataset, coarse: Sequence[xr.Dataset], target: GeoBox) -> xr.Dataset:
    for name in ("elevation", "slope"):
        holders = [scene for scene in coarse if name in scene]
        if name not in result and holders:
            matched = grid.match(holders[0][[name]].drop_vars("time", errors="ignore"), target)
            result = result.assign({name: matched[name]})
    return result


def _attributes(
    scenes: Sequence[xr.Dataset], series: xr.Dataset, filled: gap_filling.Filled, area: str
) -> dict[str, str]:
    dates = np.datetime_as_string(series["time"].values, unit="s")
    flagged = np.asarray((filled.stack["qa"].values & np.uint16(qa.QaBit.INSUFFICIENT)).any(axis=(1, 2)))
    scores = [
        {
            "time": f"{dates[holdout.date]}Z",
            "pixels": holdout.pixels,
            "interpolation_rmse": _number(holdout.interpolation_rmse),
            "regression_rmse": _number(holdout.regression_rmse),
            "chosen": holdout.chosen,
        }
        for holdout in filled.holdouts
    ]
    return {
        "Conventions": "CF-1.11",
        "title": "Fused surface imagery",
        "area": area,
        "inputs": json.dumps(sorted({str(scene.attrs.get("source", "")) for scene in scenes})),
        "sensor": ", ".join(sorted({str(scene.attrs.get("sensor", "unknown")) for scene in scenes})),
        "radiometric_level": ", ".join(sorted({str(s.attrs.get("radiometric_level", "unknown")) for s in scenes})),
        "holdout": json.dumps(scores),
        "insufficient_dates": json.dumps([f"{date}Z" for date, flag in zip(dates, flagged, strict=True) if flag]),
    }


def _rounded(record: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in record.items()}


def _number(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None
