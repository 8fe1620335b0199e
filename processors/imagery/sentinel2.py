"""Sentinel-2 level 1C and 2A: reflectance = (number + offset) / quantification value.

Both constants come from the product's metadata (Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD). Since
processing baseline 04.00 the offset is -1000, in reprocessed older scenes too: the list in the metadata decides, never
the date. Numbers below 1000 are then negative reflectance and stay so.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from processors.imagery import scene_layers
from processors.imagery.qa import QaBit
from processors.quality import BadInputError

OFFSET_BASELINE = 4.0
"""Processing baseline from which every product states its radiometric offsets."""

NAMES = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B10": "cirrus",
    "B11": "swir1",
    "B12": "swir2",
}
"""Band names of the physical bands, in the order of the band identifiers 0 to 12."""

_BAND_FILE = re.compile(r"_(B(?:0[1-9]|1[0-2]|8A))(?:_(10|20|60)m)?\.(?:jp2|tiff?)$", re.IGNORECASE)
_CLASS_FILE = re.compile(r"_SCL(?:_(20|60)m)?\.(?:jp2|tiff?)$", re.IGNORECASE)
_PLAUSIBLE_NEGATIVE = -0.05
_PLAUSIBLE_SHARE = 0.02


def metadata_from_xml(product: bytes, tile: bytes, *, names: Sequence[str]) -> scene_layers.SceneMetadata:
    """What a SAFE product says about itself.

    Parameters
    ----------
    product : bytes
        MTD_MSIL1C.xml or MTD_MSIL2A.xml.
    tile : bytes
        MTD_TL.xml of the granule.
    names : sequence of str
        Files of the product.

    Returns
    -------
    scene_layers.SceneMetadata
        Every band at its finest resolution; the scene classification as layer `scl`.

    Raises
    ------
    BadInputError
        `offset_missing` (baseline 04.00 or later without offsets), `offset_ambiguous`, `metadata_missing`,
        `nodata_missing`, `band_missing`.
    """
    about = scene_layers.Markup(product, name="the product metadata")
    granule = scene_layers.Markup(tile, name="MTD_TL.xml")
    level = _level(about.text("PROCESSING_LEVEL"))
    decodings = _decodings(about, level=level)
    layers = _layers(names, decodings)
    if not layers:
        raise BadInputError("band_missing", "the product holds no band files")
    return scene_layers.SceneMetadata(
        identity=_identity(about.either("PRODUCT_URI", "PRODUCT_URI_2A")),
        sensor=f"{about.text('SPACECRAFT_NAME').lower()} msi",
        level=level,
        time=scene_layers.moment(granule.text("SENSING_TIME"), what="SENSING_TIME of MTD_TL.xml"),
        layers=layers,
        sun_zenith=granule.number("Mean_Sun_Angle/ZENITH_ANGLE"),
        sun_azimuth=granule.number("Mean_Sun_Angle/AZIMUTH_ANGLE"),
    )


def metadata_from_item(item: Mapping[str, Any], *, locations: Mapping[str, str]) -> scene_layers.SceneMetadata:
    """What a STAC item says about cloud-optimized copies of a level 2A scene.

    The property `earthsearch:boa_offset_applied` goes before the offset the assets state: where it is true the numbers
    have already been shifted.

    Parameters
    ----------
    item : Mapping
        The STAC item.
    locations : Mapping
        Asset key to the file that holds it.

    Returns
    -------
    scene_layers.SceneMetadata
        The bands among the assets.

    Raises
    ------
    BadInputError
        `offset_missing`, `scale_missing`, `nodata_missing`, `time_missing`, `band_missing`, `metadata_missing`.
    """
    properties = item.get("properties", {})
    layers = tuple(
        scene_layers.Layer(name, scene_layers.REFLECTANCE, location, _asset_decoding(item, key))
        for key, location in locations.items()
        if (name := _asset_name(key)) is not None
    )
    if not layers:
        raise BadInputError("band_missing", f"{item.get('id')}: none of the assets is a band")
    elevation = properties.get("view:sun_elevation")
    azimuth = properties.get("view:sun_azimuth")
    return scene_layers.SceneMetadata(
        identity=_identity(str(properties.get("s2:product_uri") or item.get("id"))),
        sensor=f"{properties.get('platform', 'sentinel-2')} msi",
        level="surface_reflectance",
        time=scene_layers.moment(str(properties.get("datetime") or ""), what="datetime of the item"),
        layers=layers,
        sun_zenith=None if elevation is None else 90.0 - float(elevation),
        sun_azimuth=None if azimuth is None else float(azimuth),
    )


def check_offset(values: npt.NDArray[np.float32], *, identity: str) -> None:
    """Refuse reflectance that can only come from an offset applied twice: a good part of it far below zero.

    Some catalogs say of shifted numbers that they are not; the numbers tell.

    Parameters
    ----------
    values : array
        Reflectance of any bands [1].
    identity : str
        The scene, for messages.

    Raises
    ------
    BadInputError
        `offset_implausible`.
    """
    seen = values[np.isfinite(values)]
    if seen.size and float((seen < _PLAUSIBLE_NEGATIVE).mean()) > _PLAUSIBLE_SHARE:
        raise BadInputError(
            "offset_implausible",
            f"{identity}: reflectance far below zero; the offset its metadata state has already been applied",
        )


def qa_bits(classes: npt.NDArray[np.generic]) -> npt.NDArray[np.uint16]:
    """Quality bits of the scene classification, a hint beside the own cloud mask.

    Parameters
    ----------
    classes : array
        Codes of SCL: 0 no data, 1 saturated or defective, 3 cloud shadow, 8 and 9 cloud, 10 thin cirrus.

    Returns
    -------
    array
        Bits of `qa.QaBit`.
    """
    table = np.zeros(256, dtype=np.uint16)
    for bit, codes in (
        (QaBit.NODATA, [0]),
        (QaBit.SATURATED, [1]),
        (QaBit.SHADOW, [3]),
        (QaBit.CLOUD, [8, 9, 10]),
    ):
        table[codes] = bit
    return table[np.asarray(classes).astype(np.uint8)]


def _level(text: str) -> str:
    levels = {"1C": "toa_reflectance", "2A": "surface_reflectance"}
    found = levels.get(text.strip()[-2:].upper())
    if found is None:
        raise BadInputError("level_unknown", f"processing level {text!r} is neither 1C nor 2A")
    return found


def _decodings(about: scene_layers.Markup, *, level: str) -> dict[str, scene_layers.Decoding]:
    surface = level == "surface_reflectance"
    tags = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE") if surface else ("QUANTIFICATION_VALUE",)
    divisor = scene_layers.number(about.either(*tags), what=tags[0])
    if divisor <= 0:
        raise BadInputError("scale_missing", f"the quantification value is {divisor:g}")
    special = _special_values(about)
    offsets = _offsets(about, "BOA_ADD_OFFSET" if surface else "RADIO_ADD_OFFSET")
    return {
        band: scene_layers.Decoding(
            1.0 / divisor, offsets[band] / divisor, (special["NODATA"],), special.get("SATURATED")
        )
        for band in offsets
    }


def _special_values(about: scene_layers.Markup) -> dict[str, float]:
    found = {}
    for element in about.elements("Special_Values"):
        text, index = element.findtext("SPECIAL_VALUE_TEXT"), element.findtext("SPECIAL_VALUE_INDEX")
        found[str(text).strip().upper()] = scene_layers.number(index, what="SPECIAL_VALUE_INDEX")
    if "NODATA" not in found:
        raise BadInputError("nodata_missing", "the product metadata state no number for no data")
    return found


def _offsets(about: scene_layers.Markup, tag: str) -> dict[str, float]:
    """Offset of every band [number]; the list in the metadata decides, an old baseline without one has none."""
    elements = about.elements(tag)
    identifiers = _identifiers(about)
    if not elements:
        baseline = about.number("PROCESSING_BASELINE")
        if baseline >= OFFSET_BASELINE:
            raise BadInputError("offset_missing", f"processing baseline {baseline:05.2f} without the list of {tag}")
        return dict.fromkeys(NAMES, 0.0)
    offsets: dict[str, float] = {}
    for element in elements:
        band = identifiers.get(str(element.get("band_id")))
        if band is None or band in offsets:
            raise BadInputError("offset_ambiguous", f"{tag} of band_id {element.get('band_id')} cannot be assigned")
        offsets[band] = scene_layers.number(element.text, what=f"{tag} of {band}")
    return offsets


def _identifiers(about: scene_layers.Markup) -> dict[str, str]:
    """Band of every identifier; the spectral information of the product goes before the order of the bands."""
    stated = {
        str(element.get("bandId")): _physical(str(element.get("physicalBand")))
        for element in about.elements("Spectral_Information")
        if element.get("bandId") and element.get("physicalBand")
    }
    return stated or {str(number): band for number, band in enumerate(NAMES)}


def _physical(text: str) -> str:
    band = text.strip().upper()
    return band if band == "B8A" else f"B{int(band[1:]):02d}" if band[1:].isdigit() else band


def _layers(names: Sequence[str], decodings: Mapping[str, scene_layers.Decoding]) -> tuple[scene_layers.Layer, ...]:
    finest: dict[str, tuple[int, str]] = {}
    for name in names:
        match = _BAND_FILE.search(name)
        if match is None or "QI_DATA" in name:
            continue
        band, size = match[1].upper(), int(match[2] or 0)
        if band not in finest or size < finest[band][0]:
            finest[band] = size, name
    lost = sorted(finest.keys() - decodings.keys())
    if lost:
        raise BadInputError("offset_missing", f"the metadata state no offset for {', '.join(lost)}")
    bands = [
        scene_layers.Layer(NAMES[band], scene_layers.REFLECTANCE, finest[band][1], decodings[band])
        for band in NAMES
        if band in finest
    ]
    classes = sorted(name for name in names if _CLASS_FILE.search(name) and "QI_DATA" not in name)
    if classes:
        plain = scene_layers.Decoding(1.0, 0.0, ())
        bands.append(scene_layers.Layer("scl", scene_layers.CLASSES, classes[0], plain))
    return tuple(bands)


def _asset_name(key: str) -> str | None:
    if key.upper() in NAMES:
        return NAMES[key.upper()]
    return key if key in NAMES.values() else None


def _asset_decoding(item: Mapping[str, Any], key: str) -> scene_layers.Decoding:
    asset = item.get("assets", {}).get(key)
    if asset is None:
        raise BadInputError("metadata_missing", f"{item.get('id')}: the item has no asset {key}")
    about = (asset.get("raster:bands") or asset.get("bands") or [{}])[0]
    about = {**asset, **about}
    values = {name: about.get(name, about.get(f"raster:{name}")) for name in ("scale", "offset", "nodata")}
    if values["scale"] is None:
        raise BadInputError("scale_missing", f"{item.get('id')}: asset {key} states no scale")
    if values["nodata"] is None:
        raise BadInputError("nodata_missing", f"{item.get('id')}: asset {key} states no number for no data")
    offset = _asset_offset(item, values["offset"], key)
    return scene_layers.Decoding(float(values["scale"]), offset, (float(values["nodata"]),), 65535.0)


def _asset_offset(item: Mapping[str, Any], stated: Any, key: str) -> float:
    properties = item.get("properties", {})
    applied = properties.get("earthsearch:boa_offset_applied", properties.get("sentinel:boa_offset_applied"))
    if applied is True:
        return 0.0
    baseline = properties.get("s2:processing_baseline", properties.get("processing:version"))
    if baseline is None and stated is None:
        raise BadInputError("offset_missing", f"{item.get('id')}: neither offset nor processing baseline of {key}")
    if stated is None and scene_layers.number(baseline, what="processing baseline") >= OFFSET_BASELINE:
        raise BadInputError("offset_missing", f"{item.get('id')}: baseline {baseline} without an offset of {key}")
    return float(stated or 0.0)


def _identity(text: str) -> str:
    """Acquisition of a product name: mission, datatake, orbit and tile without level and processing."""
    parts = PurePosixPath(text).name.removesuffix(".SAFE").split("_")
    if len(parts) >= 6 and parts[1].startswith("MSIL"):
        return "_".join((parts[0], parts[2], *parts[4:6]))
    return "_".join(parts)
