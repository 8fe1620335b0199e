"""Simulated scenes as files: what a sensor would deliver, the truth beside it, and every parameter."""

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from infra.imagery import raster_file
from processors.quality import BadInputError
from processors.simulation import imagery_change, imagery_clouds, imagery_pairs, imagery_sensor

_SCALE = 1e-4
_NODATA = -32768


class _Layer(NamedTuple):
    """What one file holds."""

    values: npt.NDArray[Any]
    grid: GeoBox
    names: tuple[str, ...]
    encoding: raster_file.Encoding
    categorical: bool = False
    time: str = ""


class _Product(NamedTuple):
    """Files by name, and facts worth stating."""

    layers: dict[str, _Layer]
    facts: dict[str, Any]


def run(kind: str, out: Path, seed: int, *, size: int = 400, **options: Any) -> dict[str, Any]:
    """Simulate a scene and write its files: GeoTIFFs, the truth as `truth*.tif`, parameters as `truth.json`.

    Parameters
    ----------
    kind : str
        "sensor", "pair", "clouds", "change" or "radar".
    out : Path
        Folder, made where it is missing.
    seed : int
        Seed of all randomness; also of the shift, offset and clouds that the options do not state.
    size : int
        Rows and columns of the finest image.
    **options : Any
        Arguments of the simulator of that kind; the kind of its clouds as `cloud_kind`.

    Returns
    -------
    dict
        What `truth.json` holds: kind, seed, parameters, facts, files.

    Raises
    ------
    BadInputError
        `kind_unknown`, `parameter_invalid`.
    """
    if kind not in _KINDS:
        raise BadInputError("kind_unknown", f"no scene is {kind!r}: {', '.join(_KINDS)}")
    simulator, product_from_simulation, drawn = _KINDS[kind]
    given = {"shape": (size, size), **drawn(np.random.default_rng([seed, 61])), **options}
    if "cloud_kind" in given:
        given["kind"] = given.pop("cloud_kind")
    try:
        simulated = simulator(seed=seed, **given)
    except (ValueError, TypeError) as error:
        raise BadInputError("parameter_invalid", f"this {kind} scene cannot be simulated: {error}") from error
    product = product_from_simulation(simulated)
    for name, layer in product.layers.items():
        _write(out / f"{name}.tif", layer)
    report = {
        "kind": kind,
        "seed": seed,
        "parameters": _plain(_with_defaults(simulator, given)),
        "facts": _plain(product.facts),
        "files": sorted(f"{name}.tif" for name in product.layers),
    }
    (out / "truth.json").write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
    return report


def _write(path: Path, layer: _Layer) -> None:
    values = np.asarray(layer.values, dtype=np.float32)
    with raster_file.RasterWriter(
        path,
        shape=(values.shape[1], values.shape[2]),
        transform=layer.grid.transform,
        crs=str(layer.grid.crs),
        encoding=layer.encoding,
        descriptions=layer.names,
        tags={"ACQUISITIONDATETIME": layer.time} if layer.time else {},
        categorical=layer.categorical,
    ) as writer:
        writer.write(values)


def _encoding(dtype: str, scale: float, nodata: float, count: int) -> raster_file.Encoding:
    return raster_file.Encoding(dtype, (scale,) * count, (0.0,) * count, nodata)


def _reflectance(values: npt.NDArray[Any], grid: GeoBox, names: tuple[str, ...], time: str = "") -> _Layer:
    return _Layer(values, grid, names, _encoding("int16", _SCALE, _NODATA, len(names)), time=time)


def _counted(values: npt.NDArray[Any], grid: GeoBox, names: tuple[str, ...], quantum: float) -> _Layer:
    return _Layer(values, grid, names, _encoding("uint16", quantum, 0, len(names)))


def _classes(values: npt.NDArray[Any], grid: GeoBox, names: tuple[str, ...]) -> _Layer:
    return _Layer(values, grid, names, _encoding("uint8", 1.0, 255, len(names)), categorical=True)


def _floats(values: npt.NDArray[Any], grid: GeoBox, names: tuple[str, ...]) -> _Layer:
    return _Layer(values, grid, names, _encoding("float32", 1.0, float("nan"), len(names)))


def _sensor(simulated: imagery_sensor.SimulatedSensor) -> _Product:
    bands, pan = simulated.bands, ("pan",)
    return _Product(
        {
            "ms": _counted(simulated.ms, simulated.ms_grid, bands, simulated.quantum),
            "pan": _counted(simulated.pan[None], simulated.pan_grid, pan, simulated.quantum),
            "truth": _reflectance(simulated.truth, simulated.pan_grid, bands),
            "reduced_ms": _counted(simulated.reduced_ms, simulated.reduced_ms_grid, bands, simulated.quantum),
            "reduced_pan": _counted(simulated.reduced_pan[None], simulated.ms_grid, pan, simulated.quantum),
            "truth_reduced": _reflectance(simulated.ms_ideal, simulated.ms_grid, bands),
        },
        {
            "ms_gain": dict(zip(bands, simulated.ms_gain, strict=True)),
            "pan_gain": simulated.pan_gain,
            "pan_weights": simulated.pan_weights,
        },
    )


def _pair(simulated: imagery_pairs.SimulatedPair) -> _Product:
    box, bands = simulated.grid, simulated.bands
    clouds = np.stack([simulated.reference_cloud, simulated.target_cloud])
    return _Product(
        {
            "reference": _reflectance(simulated.reference, box, bands),
            "target": _reflectance(simulated.target, box, bands),
            "dem": _floats(simulated.dem[None], box, ("elevation",)),
            "truth_target": _reflectance(simulated.aligned_target, box, bands),
            "truth_displacement": _floats(simulated.displacement, box, ("down", "right")),
            "truth_cloud": _classes(clouds, box, ("reference", "target")),
        },
        {
            "related": simulated.related,
            "median_displacement": np.median(simulated.displacement, axis=(1, 2)).tolist()
            if simulated.related
            else None,
        },
    )


def _clouds(simulated: imagery_clouds.SimulatedClouds) -> _Product:
    bands = tuple(str(name) for name in simulated.scene["band"].values)
    box = imagery_clouds.grid_box((simulated.dem.shape[0], simulated.dem.shape[1]), simulated.landscape.pixel_size)
    time = str(simulated.scene["time"].values[0].astype("datetime64[s]"))
    masks = np.stack([simulated.cloud, simulated.shadow, simulated.terrain_shadow])
    return _Product(
        {
            "scene": _reflectance(simulated.scene["reflectance"].values[0], box, bands, time),
            "dem": _floats(simulated.dem[None], box, ("elevation",)),
            "truth": _reflectance(simulated.reflectance, box, bands, time),
            "truth_class": _classes(simulated.classification[None], box, ("class",)),
            "truth_mask": _classes(masks, box, ("cloud", "cloud_shadow", "terrain_shadow")),
            "truth_opacity": _floats(
                np.stack([simulated.opacity, simulated.transmission]), box, ("opacity", "transmission")
            ),
            "truth_land_cover": _classes(simulated.class_map[None], box, ("land_cover",)),
        },
        {
            "cloud_share": float(simulated.cloud.mean()),
            "shadow_share": float(simulated.shadow.mean()),
            "cloud_opacity": imagery_clouds.CLOUD_OPACITY,
            "thin_opacity": imagery_clouds.THIN_OPACITY,
            "shadow_transmission": imagery_clouds.SHADOW_TRANSMISSION,
            "cloud_heights": [layer.heights.tolist() for layer in simulated.layers],
        },
    )


def _change(simulated: imagery_change.SimulatedChange) -> _Product:
    layers = {}
    for index, day in enumerate(simulated.days):
        moment = np.datetime64("2025-01-01T03:30:00", "s") + np.timedelta64(round((day - 1.0) * 86400), "s")
        time = str(moment)
        layers[f"fine_{index}"] = _reflectance(simulated.fine[index], simulated.fine_grid, simulated.bands, time)
        layers[f"coarse_{index}"] = _reflectance(simulated.coarse[index], simulated.coarse_grid, simulated.bands, time)
        layers[f"truth_{index}"] = _reflectance(simulated.truth[index], simulated.fine_grid, simulated.bands, time)
    names = tuple(f"change_{index}" for index in range(len(simulated.days)))
    layers["truth_change"] = _classes(simulated.change, simulated.fine_grid, names)
    return _Product(layers, {"coarse_gain": simulated.coarse_gain, "coarse_bias": simulated.coarse_bias})


def _radar(simulated: imagery_pairs.SimulatedRadarPair) -> _Product:
    box = simulated.grid
    return _Product(
        {
            "optical": _reflectance(simulated.optical, box, simulated.bands),
            "radar": _floats(simulated.backscatter, box, imagery_pairs.POLARIZATIONS),
            "dem": _floats(simulated.dem[None], box, ("elevation",)),
            "truth_radar": _floats(simulated.mean_backscatter, box, imagery_pairs.POLARIZATIONS),
            "truth_incidence": _floats(simulated.local_incidence[None], box, ("local_incidence",)),
            "truth_mask": _classes(
                np.stack([simulated.layover, simulated.radar_shadow]), box, ("layover", "radar_shadow")
            ),
        },
        {"displacement": simulated.displacement, "looks": simulated.looks},
    )


def _drawn_sensor(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "grid_offset": _rounded(rng.uniform(-0.5, 0.5, 2)),
        "panchromatic": str(rng.choice(sorted(imagery_sensor.PANCHROMATIC))),
        "day_of_year": round(float(rng.uniform(60.0, 300.0))),
    }


def _drawn_pair(rng: np.random.Generator) -> dict[str, Any]:
    return {"shift": _rounded(rng.uniform(-3.0, 3.0, 2)), "cloud_fraction": round(float(rng.uniform(0.0, 0.3)), 3)}


def _drawn_clouds(rng: np.random.Generator) -> dict[str, Any]:
    azimuth, elevation = imagery_change.sun_position(day := round(float(rng.uniform(1.0, 365.0))))
    return {
        "day_of_year": day,
        "sun_azimuth": round(azimuth, 2),
        "sun_elevation": round(elevation, 2),
        "cloud_kind": str(rng.choice(imagery_clouds.KINDS)),
        "cloud_fraction": round(float(rng.uniform(0.1, 0.5)), 3),
    }


def _drawn_change(rng: np.random.Generator) -> dict[str, Any]:
    start = round(float(rng.uniform(60.0, 200.0)))
    return {"days": (start, start + 32, start + 64)}


def _rounded(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in values)


def _with_defaults(simulator: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument of the simulator with its value."""
    signature = inspect.signature(simulator).parameters
    defaults = {name: part.default for name, part in signature.items() if part.default is not part.empty}
    return {**defaults, **given}


def _plain(value: Any) -> Any:
    """JSON-able form."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


_KINDS: dict[str, tuple[Callable[..., Any], Callable[[Any], _Product], Callable[[np.random.Generator], dict[str, Any]]]]
_KINDS = {
    "sensor": (imagery_sensor.simulate_sensor, _sensor, _drawn_sensor),
    "pair": (imagery_pairs.simulate_pair, _pair, _drawn_pair),
    "clouds": (imagery_clouds.simulate_clouds, _clouds, _drawn_clouds),
    "change": (imagery_change.simulate_change, _change, _drawn_change),
    "radar": (imagery_pairs.simulate_radar_pair, _radar, _drawn_pair),
}
