"""Files of simulated scenes of fires, burn scars, landslides and damaged buildings.

What a command may be given has plain names; what begins with `truth` is the answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from infra.surface import scene_files
from processors.simulation import burn_scene, damage_scene, fire_scene, landslide_scene, swir_fire_scene
from products import feature_table

_TITLES: dict[str, tuple[str, str, feature_table.FieldKind, str]] = {
    "number": ("number", "编号", "integer", ""),
    "kind": ("kind", "类型", "text", ""),
    "static": ("burns all year", "固定热源", "flag", ""),
    "power": ("radiative power", "辐射功率", "real", "MW"),
    "area": ("area", "面积", "real", "m2"),
    "length": ("length", "长度", "real", "m"),
    "width": ("mean width", "平均宽度", "real", "m"),
    "start_slope": ("slope at the crown", "后缘坡度", "real", "degree"),
    "drop": ("height between crown and toe", "高差", "real", "m"),
    "flaming": ("temperature of the flames", "火焰温度", "real", "K"),
    "transmission": ("share that clouds let pass", "云层透过率", "real", "1"),
    "grade": ("grade of damage", "损毁等级", "integer", ""),
    "share": ("broken share of the roof", "屋顶破损比例", "real", "1"),
    "height": ("height", "高度", "real", "m"),
}
_KINDS: dict[str, npt.DTypeLike] = {"text": object, "integer": np.int64, "real": np.float64, "flag": np.bool_}
_THERMAL_NAMES = ("t4", "t11", "m13", "red", "nir", "swir2", "sun_zenith", "glint_angle", "view_zenith")
_CLOUD_CLASS = 2


class FireScenes(NamedTuple):
    """One seed, seen by a thermal imager and, another place, at 2 um."""

    thermal: fire_scene.ThermalScene
    """Pixels of 375 m or 1 km."""
    swir: swir_fire_scene.SwirScene
    """Pixels of 20 m."""


def simulate_fires(
    seed: int, *, shape: tuple[int, int] = (400, 400), sensor: str = "viirs", **options: Any
) -> FireScenes:
    """Fires as a thermal imager sees them, on half as many rows and columns, and at 2 um.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Rows and columns at 2 um.
    sensor : str
        Thermal sensor, of `fire_scene.SENSORS`.
    **options : Any
        Of `fire_scene.ThermalOptions`.

    Returns
    -------
    FireScenes
        The same for the same arguments.
    """
    half = (shape[0] // 4 * 2, shape[1] // 4 * 2)
    thermal = fire_scene.simulate_thermal_scene(seed, shape=half, sensor=sensor, **options)
    return FireScenes(thermal, swir_fire_scene.simulate_swir_scene(seed, shape=shape))


def drawn_fires(rng: np.random.Generator) -> dict[str, Any]:
    """Sensor, day or night, sun and view: by day the sun is mirrored into the view in one of two scenes."""
    sensor = str(rng.choice(list(fire_scene.SENSORS)))
    if rng.random() < 0.35:
        return {"sensor": sensor, "sun_zenith": float(rng.uniform(100.0, 150.0)), "air_temperature": 294.0}
    zenith, azimuth = float(rng.uniform(15.0, 55.0)), float(rng.uniform(120.0, 240.0))
    mirrored = bool(rng.random() < 0.5)
    return {
        "sensor": sensor,
        "sun_zenith": zenith,
        "sun_azimuth": azimuth,
        "view_zenith": zenith + float(rng.uniform(-4.0, 4.0)) if mirrored else float(rng.uniform(0.0, 50.0)),
        "view_azimuth": (azimuth + 180.0) % 360.0 if mirrored else float(rng.choice([100.0, 280.0])),
        "cloud_fraction": float(rng.uniform(0.0, 0.3)),
    }


def drawn_burn(rng: np.random.Generator) -> dict[str, Any]:
    """Season, severity, extent and clouds."""
    day = float(rng.uniform(200.0, 300.0))
    return {
        "days": (day, day + float(rng.uniform(5.0, 30.0))),
        "burned_share": float(rng.uniform(0.08, 0.25)),
        "severity": float(rng.uniform(1.2, 2.2)),
        "scars": int(rng.integers(1, 4)),
        "cloud_fraction": float(rng.uniform(0.0, 0.1)),
    }


def drawn_landslides(rng: np.random.Generator) -> dict[str, Any]:
    """Relief, season and number of slides."""
    day = float(rng.uniform(150.0, 230.0))
    return {
        "slides": int(rng.integers(5, 31)),
        "relief": float(rng.uniform(600.0, 1000.0)),
        "days": (day, day + float(rng.uniform(10.0, 60.0))),
        "snow": bool(rng.random() < 0.2),
    }


def drawn_damage(rng: np.random.Generator) -> dict[str, Any]:
    """Sun and view of either date, season."""
    elevation, azimuth = rng.uniform(35.0, 65.0), rng.uniform(110.0, 240.0)
    return {
        "sun_elevation": (float(elevation), float(elevation + rng.uniform(-12.0, 12.0))),
        "sun_azimuth": (float(azimuth), float(azimuth + rng.uniform(-20.0, 20.0))),
        "view_zenith": (float(rng.uniform(0.0, 12.0)), float(rng.uniform(0.0, 18.0))),
        "view_azimuth": (float(rng.uniform(0.0, 360.0)), float(rng.uniform(0.0, 360.0))),
        "brown": (float(rng.uniform(0.0, 1.0)), float(rng.uniform(0.0, 1.0))),
    }


def of_fires(scenes: FireScenes) -> scene_files.SceneFiles:
    """Files of fires: both scenes, the operator's tables, the truth.

    Parameters
    ----------
    scenes : FireScenes
        The scenes.

    Returns
    -------
    SceneFiles
        Everything but the parameters.
    """
    thermal, swir = scenes
    names = (
        _THERMAL_NAMES
        if thermal.sun_zenith[0, 0] < 90.0
        else tuple(n for n in _THERMAL_NAMES if n not in ("red", "nir", "swir2"))
    )
    values = {name: getattr(thermal, "t4_low" if name == "m13" else name) for name in names}
    size = thermal.pixel_size
    layers = {
        "thermal": scene_files.numbers(np.stack([values[name] for name in names]), names, pixel_size=size),
        "thermal_water": scene_files.classes(thermal.water[None], ["water"], pixel_size=size),
        "thermal_cloud": scene_files.classes(
            _CLOUD_CLASS * thermal.cloud[None].astype(np.uint8), ["cloud"], pixel_size=size
        ),
        "swir": scene_files.reflectance(swir.reflectance, swir.bands, pixel_size=swir.pixel_size),
        "truth_thermal": scene_files.numbers(
            np.stack([thermal.power, thermal.static_power, thermal.cloud_share]),
            ["fire_power", "static_power", "cloud_share"],
            pixel_size=size,
        ),
        "truth_swir": scene_files.numbers(
            np.stack([swir.truth, swir.static, swir.power, swir.glow]).astype(np.float32),
            ["number", "static", "power", "glow"],
            pixel_size=swir.pixel_size,
        ),
    }
    spots = (*thermal.fires, *thermal.sources)
    names_kept = ("number", "kind", "static", "power", "area", "flaming", "transmission")
    seen = (*swir.fires, *swir.sources)
    tables = {
        "truth_thermal_fires": [
            _table("fires", "Fires and static sources", "火点与固定热源", spots, names_kept, _places(spots))
        ],
        "truth_swir_fires": [
            _table(
                "fires",
                "Fires and static sources",
                "火点与固定热源",
                seen,
                ("number", "static", "power", "flaming"),
                _places(seen),
            )
        ],
    }
    texts = {
        "thermal_static.csv": _static_table([(row.easting, row.northing, row.radius) for row in thermal.listed]),
        "swir_static.csv": _static_table([(east, north, 200.0) for east, north in swir.listed]),
    }
    facts = {
        "thermal": {"parameters": thermal.parameters, "fires": spots, "decoys": thermal.decoys},
        "swir": {
            "parameters": swir.parameters,
            "sun_zenith": swir.sun_zenith,
            "fires": seen,
            "decoys": swir_fire_scene.DECOY_KINDS,
        },
    }
    return scene_files.SceneFiles(layers, tables, texts, facts)


def of_burn(scene: burn_scene.BurnScene) -> scene_files.SceneFiles:
    """Files of a burn scar.

    Parameters
    ----------
    scene : BurnScene
        The scene.

    Returns
    -------
    SceneFiles
        Everything but the parameters.
    """
    size = scene.pixel_size
    masks = (_CLOUD_CLASS * np.stack([scene.cloud_before, scene.cloud_after])).astype(np.uint8)
    layers = {
        "before": scene_files.reflectance(scene.before, scene.bands, pixel_size=size),
        "after": scene_files.reflectance(scene.after, scene.bands, pixel_size=size),
        "mask_before": scene_files.classes(masks[:1], ["cloud"], pixel_size=size),
        "mask_after": scene_files.classes(masks[1:], ["cloud"], pixel_size=size),
        "water": scene_files.classes(scene.water[None], ["water"], pixel_size=size),
        "dem": scene_files.numbers(scene.dem[None], ["elevation"], pixel_size=size),
        "truth": scene_files.numbers(np.stack([scene.severity, scene.dnbr]), ["severity", "dnbr"], pixel_size=size),
        "truth_class": scene_files.classes(scene.classes[None], ["class"], pixel_size=size),
        "truth_mask": scene_files.classes(
            np.stack([scene.burned, scene.perimeter, scene.harvested, scene.terrain_shadow]),
            ["burned", "perimeter", "harvested", "terrain_shadow"],
            pixel_size=size,
        ),
    }
    facts = {
        "parameters": scene.parameters,
        "classes": burn_scene.CLASSES,
        "burned_hectares": float(scene.burned.sum()) * size**2 * 1e-4,
    }
    return scene_files.SceneFiles(layers, facts=facts)


def of_landslides(scene: landslide_scene.LandslideScene) -> scene_files.SceneFiles:
    """Files of landslides.

    Parameters
    ----------
    scene : LandslideScene
        The scene.

    Returns
    -------
    SceneFiles
        Everything but the parameters.
    """
    size = scene.pixel_size
    layers = {
        "before": scene_files.reflectance(scene.before, scene.bands, pixel_size=size),
        "after": scene_files.reflectance(scene.after, scene.bands, pixel_size=size),
        "dem": scene_files.numbers(scene.dem[None], ["elevation"], pixel_size=size),
        "rain": scene_files.numbers(scene.rain[None], ["rain"], pixel_size=size),
        "water": scene_files.classes(scene.water[None], ["water"], pixel_size=size),
        "cropland": scene_files.classes(scene.cropland[None], ["cropland"], pixel_size=size),
        "truth": scene_files.numbers(
            np.stack([scene.share, scene.slide_number.astype(np.float32)]), ["share", "number"], pixel_size=size
        ),
        "truth_decoy": scene_files.classes(scene.decoy[None], ["decoy"], pixel_size=size),
    }
    outlines = [_on_map(slide.outline) for slide in scene.slides]
    names = ("number", "area", "length", "width", "start_slope", "drop")
    table = _table("landslides", "Landslides", "滑坡", scene.slides, names, outlines)
    facts = {"parameters": scene.parameters, "decoys": landslide_scene.DECOY_KINDS, "slides": len(scene.slides)}
    return scene_files.SceneFiles(layers, {"truth_landslides": [table]}, facts=facts)


def of_damage(scene: damage_scene.DamageScene) -> scene_files.SceneFiles:
    """Files of a damaged town.

    Parameters
    ----------
    scene : DamageScene
        The scene.

    Returns
    -------
    SceneFiles
        Everything but the parameters.
    """
    size = scene.pixel_size
    layers = {
        "before": scene_files.reflectance(scene.before, scene.bands, pixel_size=size),
        "after": scene_files.reflectance(scene.after, scene.bands, pixel_size=size),
        "truth_grade": scene_files.classes(scene.grade[None], ["grade"], pixel_size=size),
        "truth_debris": scene_files.classes(scene.debris[None], ["debris"], pixel_size=size),
        "truth_radar": scene_files.numbers(
            scene.radar_change, ["vv_change", "vh_change"], pixel_size=scene.radar_pixel_size
        ),
    }
    for when, dates in (("before", scene.radar_before), ("after", scene.radar_after)):
        for number, date in enumerate(dates, start=1):
            layers[f"radar_{when}_{number:02d}"] = scene_files.numbers(
                10.0 * np.log10(date), ["vv", "vh"], pixel_size=scene.radar_pixel_size, tags={"UNIT": "dB"}
            )
    mapped = [_on_map(house.mapped) for house in scene.buildings]
    exact = [_on_map(house.outline) for house in scene.buildings]
    names = ("number", "grade", "share", "height")
    tables = {
        "footprints": [_table("footprints", "Buildings", "建筑物", scene.buildings, ("number",), mapped)],
        "truth_footprints": [_table("footprints", "Buildings", "建筑物", scene.buildings, names, exact)],
    }
    return scene_files.SceneFiles(layers, tables, facts={"parameters": scene.parameters, "grades": damage_scene.GRADES})


def _on_map(shape: shapely.Geometry) -> shapely.Geometry:
    """From meters east and south of the corner to the map."""
    corner = np.array(scene_files.CORNER)
    return shapely.transform(shape, lambda points: corner + points * np.array([1.0, -1.0]))


def _places(spots: Sequence[Any]) -> list[shapely.Geometry]:
    return [shapely.Point(spot.easting, spot.northing) for spot in spots]


def _table(
    name: str,
    title_en: str,
    title_zh: str,
    rows: Sequence[Any],
    columns: Sequence[str],
    places: Sequence[shapely.Geometry],
) -> feature_table.FeatureTable:
    """Table of named tuples."""
    fields = tuple(
        feature_table.FeatureField(name=key, title_en=en, title_zh=zh, kind=kind, units=units)
        for key in columns
        for en, zh, kind, units in [_TITLES[key]]
    )
    values: Mapping[str, npt.NDArray[Any]] = {
        field.name: np.array([getattr(row, field.name) for row in rows], dtype=_KINDS[field.kind]) for field in fields
    }
    return feature_table.FeatureTable(
        name=name,
        title_en=title_en,
        title_zh=title_zh,
        fields=fields,
        geometry=list(places),
        columns=values,
        crs=scene_files.CRS,
    )


def _static_table(rows: Sequence[tuple[float, float, float]]) -> str:
    """Table of static sources as operators keep it."""
    turn = pyproj.Transformer.from_crs(scene_files.CRS, "EPSG:4326", always_xy=True)
    lines = ["longitude,latitude,radius_m"]
    for east, north, radius in rows:
        longitude, latitude = turn.transform(east, north)
        lines.append(f"{longitude:.6f},{latitude:.6f},{radius:.0f}")
    return "\n".join(lines) + "\n"
