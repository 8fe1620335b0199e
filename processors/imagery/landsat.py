"""Landsat 4-9 levels 1 and 2: reflectance and temperature by the numbers of the MTL file.

Collection 2 level 2: Landsat 8-9 Collection 2 Level 2 Science Product Guide (LSDS-1619). Level 1: reflectance =
(M Q + A) / sin(sun elevation), temperature = K2 / ln(K1 / L + 1) (Landsat 8 Data Users Handbook, LSDS-1574, section 5).
Older files give radiance only; then rho = pi L d2 / (E sin(sun elevation)) with the solar irradiance E and the thermal
constants of Chander, Markham and Helder (2009), tables 3 to 5 and 7.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from processors.imagery import scene_layers, solar_geometry
from processors.imagery.qa import QaBit
from processors.quality import BadInputError

Groups: TypeAlias = dict[str, dict[str, str]]

_THEMATIC = {"1": "blue", "2": "green", "3": "red", "4": "nir", "5": "swir1", "7": "swir2", "8": "pan"}
_OPERATIONAL = {
    "1": "coastal",
    "2": "blue",
    "3": "green",
    "4": "red",
    "5": "nir",
    "6": "swir1",
    "7": "swir2",
    "8": "pan",
    "9": "cirrus",
}
_THERMAL = {
    "6": "thermal",
    "6_VCID_1": "thermal",
    "6_VCID_2": "thermal_high_gain",
    "10": "thermal",
    "11": "thermal2",
    "ST_B6": "surface_temperature",
    "ST_B10": "surface_temperature",
}

# Solar irradiance [W m-2 um-1], Chander, Markham and Helder (2009).
_IRRADIANCE = {
    "LANDSAT_4": {"1": 1983.0, "2": 1795.0, "3": 1539.0, "4": 1028.0, "5": 219.8, "7": 83.49},
    "LANDSAT_5": {"1": 1983.0, "2": 1796.0, "3": 1536.0, "4": 1031.0, "5": 220.0, "7": 83.44},
    "LANDSAT_7": {"1": 1997.0, "2": 1812.0, "3": 1533.0, "4": 1039.0, "5": 230.8, "7": 84.90, "8": 1362.0},
}
_PLANCK = {
    "LANDSAT_4": scene_layers.Planck(671.62, 1284.30),
    "LANDSAT_5": scene_layers.Planck(607.76, 1260.56),
    "LANDSAT_7": scene_layers.Planck(666.09, 1282.71),
}
_LINE = re.compile(r"^\s*(\w+)\s*=\s*(.+?)\s*$")


def groups_from_mtl(text: bytes) -> Groups:
    """Groups of an MTL file in any of its three forms.

    Parameters
    ----------
    text : bytes
        MTL.txt, MTL.json or MTL.xml.

    Returns
    -------
    dict
        Group name to keys and values.

    Raises
    ------
    BadInputError
        `metadata_unreadable`.
    """
    stripped = text.lstrip(b"\xef\xbb\xbf \t\r\n\x00")
    if stripped.startswith(b"{"):
        return _from_json(stripped)
    if stripped.startswith(b"<"):
        root = scene_layers.Markup(stripped, name="MTL.xml").root
        return {group.tag: {entry.tag: (entry.text or "").strip() for entry in group} for group in root}
    return _from_text(stripped.decode("ascii", errors="replace"))


def metadata_from_mtl(text: bytes, *, names: Sequence[str]) -> scene_layers.SceneMetadata:
    """What a Landsat scene says about itself.

    Parameters
    ----------
    text : bytes
        MTL file in any of its forms.
    names : sequence of str
        Files beside it.

    Returns
    -------
    scene_layers.SceneMetadata
        Reflective and thermal bands of which the file is there; quality bits as layer `qa_pixel`.

    Raises
    ------
    BadInputError
        `metadata_missing`, `scale_missing`, `band_missing`, `sensor_unknown`, `time_missing`.
    """
    groups = groups_from_mtl(text)
    spacecraft = _value(groups, "SPACECRAFT_ID").upper().replace("-", "_").replace("LANDSAT_0", "LANDSAT_")
    sensor = _value(groups, "SENSOR_ID").upper()
    if "MSS" in sensor or not re.fullmatch(r"LANDSAT_?[4-9]", spacecraft):
        raise BadInputError("sensor_unknown", f"{spacecraft} {sensor} is not read")
    level2 = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS" in groups
    time = _time(groups)
    elevation = scene_layers.number(_value(groups, "SUN_ELEVATION"), what="SUN_ELEVATION")
    if not level2 and elevation <= 0:
        raise BadInputError("sun_below_horizon", f"the sun stood at {elevation:.1f} degrees: there is no reflectance")
    scene = _Scene(groups, spacecraft, sensor, time, elevation)
    layers = _layers(scene, names, level2=level2)
    if not any(layer.quantity == scene_layers.REFLECTANCE for layer in layers):
        raise BadInputError("band_missing", "the scene holds no file of a reflective band")
    return scene_layers.SceneMetadata(
        identity=_identity(groups),
        sensor=f"{spacecraft.lower().replace('_', '-')} {sensor.lower()}",
        level="surface_reflectance" if level2 else "toa_reflectance",
        time=time,
        layers=tuple(layers),
        sun_zenith=90.0 - elevation,
        sun_azimuth=scene_layers.number(_value(groups, "SUN_AZIMUTH"), what="SUN_AZIMUTH") % 360.0,
    )


def qa_bits(numbers: npt.NDArray[np.generic]) -> npt.NDArray[np.uint16]:
    """Quality bits of QA_PIXEL of collection 2, a hint beside the own cloud mask.

    Parameters
    ----------
    numbers : array
        QA_PIXEL: bit 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow.

    Returns
    -------
    array
        Bits of `qa.QaBit`.
    """
    given = np.asarray(numbers).astype(np.uint16)
    out = np.zeros(given.shape, dtype=np.uint16)
    for bits, flag in ((0b1, QaBit.NODATA), (0b1110, QaBit.CLOUD), (0b10000, QaBit.SHADOW)):
        out |= np.where(given & bits, flag.value, 0).astype(np.uint16)
    return out


class _Scene:
    """Groups of one scene and what its bands have in common."""

    def __init__(self, groups: Groups, spacecraft: str, sensor: str, time: np.datetime64, elevation: float) -> None:
        self.groups, self.spacecraft, self.time = groups, spacecraft, time
        self.names = _OPERATIONAL if "OLI" in sensor else _THEMATIC
        self.sine = math.sin(math.radians(elevation))

    def number(self, key: str, *, groups: Sequence[str] = ()) -> float | None:
        for name in groups or self.groups:
            if key in self.groups.get(name, {}):
                return scene_layers.number(self.groups[name][key], what=key)
        return None

    def pair(self, quantity: str, suffix: str, *, groups: Sequence[str]) -> tuple[float, float] | None:
        scale = self.number(f"{quantity}_MULT_BAND_{suffix}", groups=groups)
        offset = self.number(f"{quantity}_ADD_BAND_{suffix}", groups=groups)
        return None if scale is None or offset is None else (scale, offset)


_LEVEL1 = ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING")
_CONSTANTS = ("LEVEL1_THERMAL_CONSTANTS", "TIRS_THERMAL_CONSTANTS", "THERMAL_CONSTANTS")


def _layers(scene: _Scene, names: Sequence[str], *, level2: bool) -> list[scene_layers.Layer]:
    known = {PurePosixPath(name).name.upper(): name for name in names}
    layers = []
    for suffix, stated in _files(scene.groups).items():
        location = known.get(PurePosixPath(stated).name.upper())
        if location is None:
            continue
        layer = _layer(scene, suffix, location, level2=level2)
        if layer is not None:
            layers.append(layer)
    return layers


def _files(groups: Groups) -> dict[str, str]:
    """Band suffix to file name; of a level 2 file the group of the product, not that of the level 1 record."""
    for group in ("PRODUCT_CONTENTS", "PRODUCT_METADATA"):
        if group in groups:
            prefix = "FILE_NAME_"
            entries = groups[group].items()
            return {key.removeprefix(prefix): value for key, value in entries if key.startswith(prefix)}
    raise BadInputError("metadata_missing", "the MTL file names no band files")


def _layer(scene: _Scene, suffix: str, location: str, *, level2: bool) -> scene_layers.Layer | None:
    band = suffix.removeprefix("BAND_")
    if suffix == "QUALITY_L1_PIXEL":
        plain = scene_layers.Decoding(1.0, 0.0, ())
        return scene_layers.Layer("qa_pixel", scene_layers.CLASSES, location, plain)
    if not suffix.startswith("BAND_"):
        return None
    if band in _THERMAL and not (band == "6" and scene.names is _OPERATIONAL):
        decoding = _surface_temperature(scene, band) if level2 else _brightness_temperature(scene, band)
        return scene_layers.Layer(_THERMAL[band], scene_layers.TEMPERATURE, location, decoding)
    if band not in scene.names:
        return None
    decoding = _surface(scene, band) if level2 else _top_of_atmosphere(scene, band)
    return scene_layers.Layer(scene.names[band], scene_layers.REFLECTANCE, location, decoding)


def _surface(scene: _Scene, band: str) -> scene_layers.Decoding:
    pair = scene.pair("REFLECTANCE", band, groups=["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"])
    if pair is None:
        raise BadInputError("scale_missing", f"the MTL file gives no surface reflectance scale of band {band}")
    return scene_layers.Decoding(*pair, (0.0,), valid=_quantized(scene, band, "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"))


def _surface_temperature(scene: _Scene, band: str) -> scene_layers.Decoding:
    group = "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"
    pair = scene.pair("TEMPERATURE", band, groups=[group])
    if pair is None:
        raise BadInputError("scale_missing", f"the MTL file gives no surface temperature scale of {band}")
    return scene_layers.Decoding(*pair, (0.0,), valid=_quantized(scene, band, group))


def _quantized(scene: _Scene, band: str, *groups: str) -> tuple[float, float] | None:
    limits = [scene.number(f"QUANTIZE_CAL_{end}_BAND_{band}", groups=groups) for end in ("MIN", "MAX")]
    return None if limits[0] is None or limits[1] is None else (limits[0], limits[1])


def _level1_limits(scene: _Scene, band: str) -> tuple[tuple[float, float], float]:
    found = _quantized(scene, band, "LEVEL1_MIN_MAX_PIXEL_VALUE", "MIN_MAX_PIXEL_VALUE")
    if found is None:
        raise BadInputError("nodata_missing", f"the MTL file states no quantization limits of band {band}")
    return found, found[1]


def _top_of_atmosphere(scene: _Scene, band: str) -> scene_layers.Decoding:
    limits, saturated = _level1_limits(scene, band)
    pair = scene.pair("REFLECTANCE", band, groups=_LEVEL1)
    if pair is None:
        radiance = scene.pair("RADIANCE", band, groups=_LEVEL1)
        irradiance = _IRRADIANCE.get(scene.spacecraft, {}).get(band)
        if radiance is None or irradiance is None:
            raise BadInputError("scale_missing", f"neither reflectance nor radiance scale of band {band}")
        factor = math.pi * _sun_distance(scene) ** 2 / irradiance
        pair = radiance[0] * factor, radiance[1] * factor
    scale, offset = (value / scene.sine for value in pair)
    return scene_layers.Decoding(scale, offset, (0.0,), saturated, limits)


def _brightness_temperature(scene: _Scene, band: str) -> scene_layers.Decoding:
    limits, saturated = _level1_limits(scene, band)
    radiance = scene.pair("RADIANCE", band, groups=_LEVEL1)
    constants = [scene.number(f"{key}_CONSTANT_BAND_{band}", groups=_CONSTANTS) for key in ("K1", "K2")]
    if constants[0] is not None and constants[1] is not None:
        planck: scene_layers.Planck | None = scene_layers.Planck(constants[0], constants[1])
    else:
        planck = _PLANCK.get(scene.spacecraft)
    if radiance is None or planck is None:
        raise BadInputError("scale_missing", f"no radiance scale or thermal constants of band {band}")
    return scene_layers.Decoding(*radiance, (0.0,), saturated, limits, planck)


def _sun_distance(scene: _Scene) -> float:
    stated = scene.number("EARTH_SUN_DISTANCE")
    if stated is not None:
        return stated
    return solar_geometry.sun_position(scene.time, np.zeros(1), np.zeros(1)).distance


def _time(groups: Groups) -> np.datetime64:
    day, clock = _value(groups, "DATE_ACQUIRED"), _value(groups, "SCENE_CENTER_TIME").removesuffix("Z")
    return scene_layers.moment(f"{day}T{clock[:18]}", what="DATE_ACQUIRED and SCENE_CENTER_TIME")


def _identity(groups: Groups) -> str:
    product = next((group["LANDSAT_PRODUCT_ID"] for group in groups.values() if "LANDSAT_PRODUCT_ID" in group), None)
    if product is None:
        return _value(groups, "LANDSAT_SCENE_ID")
    parts = product.split("_")
    return "_".join((parts[0], *parts[2:4])) if len(parts) >= 4 else product


def _value(groups: Mapping[str, Mapping[str, str]], key: str) -> str:
    for group in groups.values():
        if key in group:
            return group[key]
    raise BadInputError("metadata_missing", f"the MTL file does not state {key}")


def _from_json(text: bytes) -> Groups:
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise BadInputError("metadata_unreadable", f"MTL.json is not readable: {error}") from error
    root = next(iter(tree.values()), {}) if len(tree) == 1 else tree
    return {name: {key: str(value) for key, value in group.items()} for name, group in root.items() if _is_group(group)}


def _is_group(value: Any) -> bool:
    return isinstance(value, dict)


def _from_text(text: str) -> Groups:
    groups: Groups = {}
    path: list[str] = []
    for line in text.replace("\x00", "\n").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        key, value = match[1], match[2].strip('"')
        if key == "GROUP":
            path.append(value)
        elif key == "END_GROUP":
            if not path or path.pop() != value:
                raise BadInputError("metadata_unreadable", f"MTL.txt closes the group {value}, which is not open")
        elif path:
            groups.setdefault(path[-1], {})[key] = value
    if path or not groups:
        raise BadInputError("metadata_unreadable", "MTL.txt ends before its groups do")
    return groups
