"""What the simulated radar scenes write: rasters, vectors and tables in the form the commands read."""

import datetime
from typing import Any

import numpy as np
import pyproj
import shapely

from infra.surface import scene_files
from processors.simulation import radar_water_scene, river_scene, ship_scene
from products import feature_table

ACQUIRED = datetime.datetime(2025, 7, 15, 22, 30, tzinfo=datetime.UTC)
"""When the radar of simulated scenes looks."""

_POLARIZATIONS = ("vv", "vh")
_REPEAT = datetime.timedelta(days=12)
_TRUTH_SPACING = 5.0
_KNOT = 1852.0 / 3600.0


def of_water(scene: radar_water_scene.WaterScene) -> scene_files.SceneFiles:
    """Files of a flooded valley.

    Parameters
    ----------
    scene : WaterScene
        The scene.

    Returns
    -------
    SceneFiles
        sar, sar_before, optical, dem, reference_water, terrain_mask and the truth.
    """
    size = float(scene.parameters["pixel_size"])
    before = len(scene.vv_before)
    layers = {
        "sar": scene_files.numbers(
            np.stack([scene.vv, scene.vh]), _POLARIZATIONS, pixel_size=size, tags=_radar_tags(scene.parameters["looks"])
        )
    }
    for number, images in enumerate(zip(scene.vv_before, scene.vh_before, strict=True)):
        tags = _radar_tags(scene.parameters["looks"], back=before - number)
        layers[f"sar_before_{number}"] = scene_files.numbers(
            np.stack(images), _POLARIZATIONS, pixel_size=size, tags=tags
        )
    time = {scene_files.TIME_TAG: (ACQUIRED + datetime.timedelta(hours=5)).isoformat()}
    masks = np.stack([scene.layover, scene.radar_shadow])
    truth = np.stack([scene.water_before, scene.water_after, scene.hidden_water])
    shares = np.stack([scene.fraction_before, scene.fraction_after, scene.water_level])
    layers |= {
        "optical": scene_files.reflectance(scene.reflectance, scene.bands, pixel_size=size, tags=time),
        "dem": scene_files.numbers(scene.dem[None], ("elevation",), pixel_size=size),
        "reference_water": scene_files.numbers(scene.reference_water[None], ("probability",), pixel_size=size),
        "terrain_mask": scene_files.classes(masks, ("layover", "radar_shadow"), pixel_size=size),
        "truth": scene_files.classes(truth, ("water_before", "water_after", "hidden_water"), pixel_size=size),
        "truth_share": scene_files.numbers(
            shares, ("fraction_before", "fraction_after", "water_level"), pixel_size=size
        ),
        "truth_mask": scene_files.classes(
            np.stack([scene.cloud, scene.terrain_shadow]), ("cloud", "terrain_shadow"), pixel_size=size
        ),
        "truth_land_cover": scene_files.classes(scene.land_cover[None], ("land_cover",), pixel_size=size),
        "truth_sar": scene_files.numbers(scene.mean_backscatter, _POLARIZATIONS, pixel_size=size),
    }
    hectares = (size / 100.0) ** 2
    facts = {
        "options": scene.parameters,
        "land_cover": dict(enumerate(radar_water_scene.CLASSES)),
        "water_before_ha": float(scene.fraction_before.sum()) * hectares,
        "water_after_ha": float(scene.fraction_after.sum()) * hectares,
        "layover_share": float(scene.layover.mean()),
        "radar_shadow_share": float(scene.radar_shadow.mean()),
    }
    return scene_files.SceneFiles(layers, facts=facts)


def of_river(scene: river_scene.RiverScene) -> scene_files.SceneFiles:
    """Files of a river of known width.

    Parameters
    ----------
    scene : RiverScene
        The scene.

    Returns
    -------
    SceneFiles
        mask, probability and the truth as raster and as points along the center lines.
    """
    size = scene.pixel_size
    layers = {
        "mask": scene_files.classes(scene.mask[None], ("water",), pixel_size=size),
        "probability": scene_files.numbers(scene.probability[None], ("probability",), pixel_size=size),
        "truth": scene_files.numbers(scene.fraction[None], ("fraction",), pixel_size=size),
    }
    records = river_scene.describe(scene.reaches, spacing=_TRUTH_SPACING)
    left, bottom, right, top = scene.grid.extent.boundingbox
    inside = [part for part in records if left <= part["x"] <= right and bottom <= part["y"] <= top]
    points = [shapely.Point(part["x"], part["y"]) for part in inside]
    fields = (
        _field("reach", "Reach", "河段", "integer"),
        _field("width_m", "Width from bank to bank", "河宽", "real", "m"),
        _field("water_width_m", "Width without islands", "水面宽", "real", "m"),
        _field("tangent_deg", "Direction from east", "走向", "real", "degree"),
        _field("measurable", "Measurable", "可测", "flag"),
    )
    columns = {
        "reach": np.array([part["reach"] for part in inside], dtype=np.int64),
        "width_m": np.array([part["width"] for part in inside], dtype=np.float64),
        "water_width_m": np.array([part["water_width"] for part in inside], dtype=np.float64),
        "tangent_deg": np.array([part["tangent"] for part in inside], dtype=np.float64),
        "measurable": np.array([part["measurable"] for part in inside], dtype=np.bool_),
    }
    table = _table("center_line", "Truth along the center line", "中心线真值", fields, points, columns)
    facts = {"options": vars(scene.options), "water_ha": float(scene.fraction.sum()) * (size / 100.0) ** 2}
    return scene_files.SceneFiles(layers, {"truth_width": (table,)}, facts=facts)


def of_ships(scene: ship_scene.ShipScene) -> scene_files.SceneFiles:
    """Files of ships on water.

    Parameters
    ----------
    scene : ShipScene
        The scene.

    Returns
    -------
    SceneFiles
        sar, water, bridges, ais.csv, and the ships as truth.
    """
    size = float(scene.grid.resolution.x)
    mask = scene.water.astype(np.uint8)
    layers = {
        "sar": scene_files.numbers(
            np.stack([scene.vv, scene.vh]), _POLARIZATIONS, pixel_size=size, tags=_radar_tags(scene.options.looks)
        ),
        "water": scene_files.classes(mask[None], ("water",), pixel_size=size),
        "truth_clutter": scene_files.numbers(scene.clutter, _POLARIZATIONS, pixel_size=size),
    }
    tables = {"truth_ships": (_ship_table(scene),)}
    if scene.bridges:
        lines = [shapely.LineString(np.column_stack([bridge.x, bridge.y])) for bridge in scene.bridges]
        columns = {"width_m": np.array([bridge.width for bridge in scene.bridges])}
        fields = (_field("width_m", "Width", "宽度", "real", "m"),)
        tables["bridges"] = (_table("bridges", "Bridges", "桥梁", fields, lines, columns),)
    facts = {
        "options": vars(scene.options),
        "searched_area_km2": scene.searched_area,
        "ships": [ship._asdict() for ship in scene.ships],
        "buoys": scene.buoys,
    }
    return scene_files.SceneFiles(layers, tables, {"ais.csv": _ais_text(scene)}, facts)


def drawn_water(rng: np.random.Generator) -> dict[str, Any]:
    """Options of a valley that the seed draws."""
    return {
        "flood_stage": round(float(rng.uniform(1.5, 4.5)), 2),
        "wind_speed": round(float(rng.uniform(1.2, 4.0)), 2),
        "soil_moisture": round(float(rng.uniform(0.2, 1.0)), 2),
        "look_azimuth": float(rng.choice([80.0, 100.0, 260.0, 280.0])),
        "incidence_angle": round(float(rng.uniform(32.0, 44.0)), 1),
    }


def drawn_river(rng: np.random.Generator) -> dict[str, Any]:
    """Options of a river that the seed draws."""
    return {
        "width": round(float(rng.uniform(60.0, 220.0)), 1),
        "angle": round(float(rng.uniform(0.0, 180.0)), 1),
        "course": str(rng.choice(river_scene.COURSES)),
        "islands": int(rng.integers(0, 3)),
        "bridges": int(rng.integers(0, 3)),
    }


def drawn_ships(rng: np.random.Generator) -> dict[str, Any]:
    """Options of ships that the seed draws."""
    return {
        "river_width": round(float(rng.uniform(500.0, 1400.0)), 1),
        "angle": round(float(rng.uniform(0.0, 180.0)), 1),
        "texture": round(float(rng.uniform(3.0, 20.0)), 2),
    }


def _ship_table(scene: ship_scene.ShipScene) -> feature_table.FeatureTable:
    ships = scene.ships
    fields = (
        _field("length_m", "Length", "长度", "real", "m"),
        _field("width_m", "Width", "宽度", "real", "m"),
        _field("heading_deg", "Course from north", "航向", "real", "degree"),
        _field("speed_ms", "Speed over ground", "航速", "real", "m s-1"),
        _field("true_x", "True easting", "真实东坐标", "real", "m"),
        _field("true_y", "True northing", "真实北坐标", "real", "m"),
        _field("moored", "Moored in a row", "并列停泊", "flag"),
        _field("searchable", "Image on open water", "位于开阔水面", "flag"),
        _field("mmsi", "Number it reports", "识别码", "integer"),
    )
    columns = {
        "length_m": np.array([ship.length for ship in ships], dtype=np.float64),
        "width_m": np.array([ship.width for ship in ships], dtype=np.float64),
        "heading_deg": np.array([ship.heading for ship in ships], dtype=np.float64),
        "speed_ms": np.array([ship.speed for ship in ships], dtype=np.float64),
        "true_x": np.array([ship.x for ship in ships], dtype=np.float64),
        "true_y": np.array([ship.y for ship in ships], dtype=np.float64),
        "moored": np.array([ship.moored for ship in ships], dtype=np.bool_),
        "searchable": np.array([ship.searchable for ship in ships], dtype=np.bool_),
        "mmsi": np.array([ship.mmsi for ship in ships], dtype=np.int64),
    }
    points = [shapely.Point(ship.image_x, ship.image_y) for ship in ships]
    return _table("ships", "Ships where their images lie", "船舶成像位置", fields, points, columns)


def _ais_text(scene: ship_scene.ShipScene) -> str:
    """Reports in the columns of the archives of the United States' coast guard."""
    carry = pyproj.Transformer.from_crs(scene_files.CRS, "EPSG:4326", always_xy=True)
    lines = ["MMSI,BaseDateTime,LAT,LON,SOG,COG,Length"]
    for report in scene.ais:
        longitude, latitude = carry.transform(report.x, report.y)
        moment = (ACQUIRED + datetime.timedelta(seconds=report.time_offset)).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines.append(
            f"{report.mmsi},{moment},{latitude:.6f},{longitude:.6f},{report.speed / _KNOT:.1f},"
            f"{report.course:.1f},{report.length:.0f}"
        )
    return "\n".join(lines) + "\n"


def _radar_tags(looks: float, *, back: int = 0) -> dict[str, str]:
    return {
        scene_files.TIME_TAG: (ACQUIRED - back * _REPEAT).isoformat(),
        "UNITS": "linear",
        "LOOKS": f"{looks:g}",
        "CALIBRATION": "gamma0",
    }


def _field(
    name: str, title: str, chinese: str, kind: feature_table.FieldKind, units: str = ""
) -> feature_table.FeatureField:
    return feature_table.FeatureField(name=name, title_en=title, title_zh=chinese, kind=kind, units=units)


def _table(
    name: str,
    title: str,
    chinese: str,
    fields: tuple[feature_table.FeatureField, ...],
    shapes: list[Any],
    columns: dict[str, Any],
) -> feature_table.FeatureTable:
    return feature_table.FeatureTable(
        name=name,
        title_en=title,
        title_zh=chinese,
        fields=fields,
        geometry=shapes,
        columns=columns,
        crs=scene_files.CRS,
    )
