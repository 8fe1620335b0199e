"""One package builder for every sector product: rasters, picture, statistics, provenance, and what a catalogue needs.

Assets of a package: ``data.tif`` (the layers: 32-bit float, or unsigned 8-bit classes), ``uncertainty.tif`` (same
bands: one standard deviation, or the probability of the class given in percent), ``qa.tif`` (bit field and number of
clear looks), ``quicklook.png``, ``statistics.json``, ``statistics.csv``, ``brief_zh.html``, ``brief_en.html``,
``quality.json`` and ``prov.json``; for classes also ``data.tif.aux.xml`` with the category names; where there are
objects or outlined classes ``objects.gpkg`` with all of them, and each layer as ``.fgb`` and ``.geojson``. The bytes
are a function of the fused dataset, the definition, the zones, the installed software and, for the picture, the
installed fonts.
"""

import datetime as dt
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
import shapely.geometry
import xarray as xr
from odc.geo import geobox as geo_box

from processors import quality
from processors.imagery import grid
from processors.imagery import qa as qa_bits
from products import cog, feature_table, filenames, provenance, quicklook, vector
from products.sectors import brief, outline, statistics
from products.sectors import definition as product_definition
from retrieval.surface import observation

QA_NODATA = 65535
PROBABILITY_SCALE = 0.01
DEGREE_DIGITS = 7
GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
GEOPACKAGE = "application/geopackage+sqlite3"
PRODUCT_VERSION = "1"
CLASS_FIELD = "class_value"
"""Field of a table of objects that says which class of the product each of them is of."""
_UNCERTAINTY = {"class": "class_probability", "value": "standard_deviation", "objects": "per_object"}
_INKS = ("#d0006f", "#111827", "#7c3aed", "#0f766e")
"""Colours of the tables of objects on the picture, in their order."""
_COPIES: tuple[tuple[str, vector.Driver, str, str, str], ...] = (
    (".fgb", "FlatGeobuf", "application/vnd.flatgeobuf", "for the web", "网络版"),
    (".geojson", "GeoJSON", "application/geo+json", "GeoJSON in WGS 84", "GeoJSON"),
)


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of a package.

    Parameters
    ----------
    content : bytes
        The file.
    media_type : str
        Internet media type.
    roles : tuple of str
        Roles in the sense of STAC.
    title_en : str
        English title.
    title_zh : str
        Chinese title.
    """

    content: bytes = field(repr=False)
    media_type: str
    roles: tuple[str, ...]
    title_en: str
    title_zh: str


@dataclass(frozen=True, kw_only=True)
class ProductPackage:
    """A finished product, ready to be published.

    Parameters
    ----------
    item_id : str
        Identity, without revision.
    definition : ProductDefinition
        Declaration of the product.
    area : str
        Code of the area.
    datetime : dt.datetime
        Nominal time: the last date used.
    start_datetime : dt.datetime
        First date used.
    end_datetime : dt.datetime
        Last date used.
    bbox : tuple of float
        West, south, east, north [degree], WGS 84.
    geometry : Mapping
        GeoJSON polygon of the footprint [degree], WGS 84.
    proj_code : str or None
        Authority code of the grid's reference system.
    proj_shape : tuple of int
        Rows, columns.
    proj_transform : tuple of float
        Six coefficients from column and row to coordinates of the grid.
    properties : Mapping
        Further properties of the catalogue item, in JSON types.
    statistics : Mapping
        Figures per area and district.
    quality : Mapping
        Shares and reasons, level ``nominal``, ``reduced`` or ``poor``.
    assets : Mapping
        Files by name.
    """

    item_id: str
    definition: product_definition.ProductDefinition
    area: str
    datetime: dt.datetime
    start_datetime: dt.datetime
    end_datetime: dt.datetime
    bbox: tuple[float, float, float, float]
    geometry: Mapping[str, Any]
    proj_code: str | None
    proj_shape: tuple[int, int]
    proj_transform: tuple[float, ...]
    properties: Mapping[str, Any]
    statistics: Mapping[str, Any]
    quality: Mapping[str, Any]
    assets: Mapping[str, Asset]


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """Shares from which a product is no longer of nominal quality.

    Parameters
    ----------
    excluded_reduced : float
        Share of the area without product [1].
    excluded_poor : float
        Share of the area without product [1].
    filled_reduced : float
        Share of filled pixels [1].
    filled_poor : float
        Share of filled pixels [1].
    """

    excluded_reduced: float = 0.2
    excluded_poor: float = 0.6
    filled_reduced: float = 0.3
    filled_poor: float = 0.7


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the layers of a product speak of: where, when, seen how.

    Parameters
    ----------
    area : str
        Name or code of the area.
    geobox : GeoBox
        Grid of the layers, north up.
    qa : numpy.ndarray
        Quality bits of the product without that for no data (y, x), unsigned 16 bit.
    clear_looks : numpy.ndarray
        Number of dates seen clear (y, x), unsigned 16 bit [1].
    evidence : Evidence
        Clear and filled shares [1].
    start, end : dt.datetime
        First and last date used.
    dates : int
        Number of dates used [1].
    bands : tuple of str
        Bands the input held.
    inputs : tuple of Mapping
        What it was made of, each with an ``id``.
    footprint : shapely.geometry.Polygon
        Outline of what was seen [degree], WGS 84.
    """

    area: str
    geobox: geo_box.GeoBox
    qa: npt.NDArray[np.uint16]
    clear_looks: npt.NDArray[np.uint16]
    evidence: statistics.Evidence
    start: dt.datetime
    end: dt.datetime
    dates: int
    bands: tuple[str, ...]
    inputs: tuple[Mapping[str, Any], ...]
    footprint: shapely.geometry.Polygon


def build(
    fused: xr.Dataset,
    *,
    definition: product_definition.ProductDefinition,
    zones: Sequence[statistics.Zone] = (),
    limits: QualityLimits | None = None,
) -> ProductPackage:
    """Package of one product from a fused dataset.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset.
    definition : ProductDefinition
        Product wanted.
    zones : sequence of Zone
        Districts of the operator.
    limits : QualityLimits, optional
        Shares that lower the quality level.

    Returns
    -------
    ProductPackage
        Files and properties.

    Raises
    ------
    NotApplicableError
        Where the input cannot give this product (causes ``band_missing``, ``layer_missing``, ``too_few_dates``,
        ``no_usable_pixel``).
    processors.quality.BadInputError
        Where the fused dataset breaks its contract (causes ``variable_missing``, ``area_missing``, ``crs_missing``,
        ``grid_irregular``, ``identifier_invalid``).
    """
    fused = _north_up(fused)
    geobox = _geobox(fused)
    product_definition.require(fused, definition=definition)
    layers = definition.algorithm(fused, parameters=definition.parameters)
    subject = _subject(fused, fused.isel(time=layers.dates), geobox)
    if not _known(layers, definition, subject).any():
        raise product_definition.NotApplicableError(
            "no_usable_pixel", f"{definition.code} has no value on any pixel of this input"
        )
    return assemble(layers, subject, definition=definition, zones=zones, limits=limits)


def assemble(
    layers: product_definition.SectorLayers,
    subject: Subject,
    *,
    definition: product_definition.ProductDefinition,
    zones: Sequence[statistics.Zone] = (),
    limits: QualityLimits | None = None,
) -> ProductPackage:
    """Package of layers that have been computed, of any size, also of layers that hold nothing.

    Parameters
    ----------
    layers : SectorLayers
        Layers, objects and facts.
    subject : Subject
        What they speak of.
    definition : ProductDefinition
        The product.
    zones : sequence of Zone
        Districts of the operator.
    limits : QualityLimits, optional
        Shares that lower the quality level.

    Returns
    -------
    ProductPackage
        Files and properties; where no pixel has a value, the quality level is ``insufficient``.
    """
    summary = statistics.summarize(
        layers, definition=definition, evidence=subject.evidence, geobox=subject.geobox, zones=zones
    )
    verdict = _quality(summary["area"], layers, subject, limits or QualityLimits())
    outlines = outline.outlines(layers, definition=definition, geobox=subject.geobox)
    tables = (*layers.features, *outlines.tables)
    item_id = filenames.item_id(definition.code, area=subject.area, time=subject.end)
    record = _record(item_id, definition, subject)
    picture = _picture(layers, definition, subject)
    gaps = brief.Gaps(reasons=_reasons(layers, definition, subject), not_outlined=outlines.left_out)
    about = brief.Subject(
        item_id=item_id,
        area=subject.area,
        start=subject.start,
        end=subject.end,
        inputs=tuple(str(entry["id"]) for entry in subject.inputs),
        provenance_sha256=hashlib.sha256(record).hexdigest(),
        software=provenance.software_version(),
        object_titles={table.name: (table.title_zh, table.title_en) for table in layers.features},
    )
    west, south, east, north = subject.footprint.bounds
    return ProductPackage(
        item_id=item_id,
        definition=definition,
        area=filenames.slug(subject.area),
        datetime=subject.end,
        start_datetime=subject.start,
        end_datetime=subject.end,
        bbox=(west, south, east, north),
        geometry=json.loads(json.dumps(shapely.geometry.mapping(subject.footprint))),
        proj_code=_code(subject.geobox),
        proj_shape=(subject.geobox.shape.y, subject.geobox.shape.x),
        proj_transform=tuple(float(value) for value in subject.geobox.transform[:6]),
        properties=_properties(definition, subject, verdict),
        statistics=summary,
        quality=verdict,
        assets={
            **_rasters(layers, definition, subject, item_id),
            **_vectors(tables),
            "quicklook.png": picture,
            **_tables(summary, verdict),
            **_briefs(definition, about, summary, verdict, picture, gaps),
            "quality.json": _report(definition, layers, summary, verdict, subject, gaps),
            "prov.json": _asset(record, "application/json", ("metadata", "provenance"), "Provenance", "溯源信息"),
        },
    )


def _subject(fused: xr.Dataset, used: xr.Dataset, geobox: geo_box.GeoBox) -> Subject:
    filled = observation.flagged(used["qa"], qa_bits.QaBit.FILLED)
    clear = observation.clear(used)
    return Subject(
        area=_area(fused),
        geobox=geobox,
        qa=product_qa(used["qa"]).values,
        clear_looks=clear.sum("time").astype(np.uint16).values,
        evidence=statistics.evidence_of(clear, filled),
        start=_utc(used["time"].values[0]),
        end=_utc(used["time"].values[-1]),
        dates=int(used.sizes["time"]),
        bands=tuple(str(band) for band in fused["band"].values),
        inputs=tuple(inputs_of(fused)),
        footprint=footprint(_seen(used), geobox),
    )


def _north_up(fused: xr.Dataset) -> xr.Dataset:
    """Rows from north to south, as rasters are stored."""
    southward = fused["y"].values[0] >= fused["y"].values[-1]
    return fused if southward else fused.isel(y=slice(None, None, -1))


def _geobox(fused: xr.Dataset) -> geo_box.GeoBox:
    missing = [name for name in ("reflectance", "reflectance_sigma", "qa") if name not in fused]
    if missing:
        raise quality.BadInputError("variable_missing", f"the fused dataset has no variable {', '.join(missing)}")
    return grid.geobox_of(fused)


def _area(fused: xr.Dataset) -> str:
    area = fused.attrs.get("area")
    if not area:
        raise quality.BadInputError("area_missing", "the fused dataset has no attribute area")
    return str(area)


def _known(
    layers: product_definition.SectorLayers, definition: product_definition.ProductDefinition, subject: Subject
) -> npt.NDArray[np.bool_]:
    if definition.kind == "objects":
        return np.asarray(subject.evidence.clear > 0)
    first = layers.data[definition.layers[0].name].values
    return np.asarray(first != product_definition.CLASS_NODATA if definition.kind == "class" else ~np.isnan(first))


def _asset(content: bytes, media_type: str, roles: tuple[str, ...], title_en: str, title_zh: str) -> Asset:
    return Asset(content=content, media_type=media_type, roles=roles, title_en=title_en, title_zh=title_zh)


def _rasters(
    layers: product_definition.SectorLayers,
    definition: product_definition.ProductDefinition,
    subject: Subject,
    item_id: str,
) -> dict[str, Asset]:
    if definition.kind == "objects":
        return {}
    tags = {"PRODUCT": definition.code, "ITEM": item_id, "TITLE": definition.title_en, "TITLE_ZH": definition.title_zh}
    data_layers, geobox = _data_layers(definition), subject.geobox
    rasters = {
        "data.tif": _asset(
            cog.encode(_gridded(layers.data, geobox), layers=data_layers, tags=tags),
            GEOTIFF,
            ("data",),
            definition.title_en,
            definition.title_zh,
        ),
        "uncertainty.tif": _uncertainty(layers, definition, geobox, tags),
        "qa.tif": _qa(subject, _known(layers, definition, subject), tags),
    }
    if definition.kind == "class":
        rasters["data.tif.aux.xml"] = _asset(
            cog.category_sidecar(data_layers), "application/xml", ("metadata",), "Category names", "类别名称"
        )
    return rasters


def _data_layers(definition: product_definition.ProductDefinition) -> list[cog.RasterLayer]:
    nodata = float(product_definition.CLASS_NODATA) if definition.kind == "class" else float("nan")
    return [
        cog.RasterLayer(
            variable=layer.name,
            description=layer.name,
            units=layer.units,
            nodata=nodata,
            categories=tuple(
                cog.RasterCategory(value=item.value, name_en=item.name_en, name_zh=item.name_zh, colour=item.colour)
                for item in definition.classes
            ),
            tags={"TITLE": layer.title_en, "TITLE_ZH": layer.title_zh},
        )
        for layer in definition.layers
    ]


def _uncertainty(
    layers: product_definition.SectorLayers,
    definition: product_definition.ProductDefinition,
    geobox: geo_box.GeoBox,
    tags: Mapping[str, str],
) -> Asset:
    if definition.kind == "class":
        return _probability(layers, definition, geobox, tags)
    bands = [
        cog.RasterLayer(variable=layer.name, description=f"{layer.name}_sigma", units=layer.units, nodata=float("nan"))
        for layer in definition.layers
    ]
    return Asset(
        content=cog.encode(_gridded(layers.uncertainty, geobox), layers=bands, tags=tags),
        media_type=GEOTIFF,
        roles=("data", "uncertainty"),
        title_en="One standard deviation",
        title_zh="标准不确定度",
    )


def _probability(
    layers: product_definition.SectorLayers,
    definition: product_definition.ProductDefinition,
    geobox: geo_box.GeoBox,
    tags: Mapping[str, str],
) -> Asset:
    name = definition.layers[0].name
    percent = xr.Dataset({name: (("y", "x"), _percent(layers.uncertainty[name].transpose("y", "x").values))})
    band = cog.RasterLayer(
        variable=definition.layers[0].name,
        description=f"{definition.layers[0].name}_probability",
        units="1",
        nodata=float(product_definition.CLASS_NODATA),
        scale=PROBABILITY_SCALE,
    )
    return Asset(
        content=cog.encode(_gridded(percent, geobox), layers=[band], tags=tags),
        media_type=GEOTIFF,
        roles=("data", "uncertainty"),
        title_en="Probability of the class given",
        title_zh="所给类别的概率",
    )


def _percent(probability: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Probability in percent, strip by strip so that a large scene needs no copy of itself."""
    percent = np.empty(probability.shape, dtype=np.uint8)
    for start in range(0, probability.shape[0], statistics.STRIP):
        rows = slice(start, start + statistics.STRIP)
        part = np.round(probability[rows] / PROBABILITY_SCALE)
        percent[rows] = np.where(np.isnan(part), product_definition.CLASS_NODATA, part).astype(np.uint8)
    return percent


def _qa(subject: Subject, known: npt.NDArray[np.bool_], tags: Mapping[str, str]) -> Asset:
    bits = subject.qa | np.where(known, np.uint16(0), np.uint16(qa_bits.QaBit.NODATA))
    bands = xr.Dataset({"qa": (("y", "x"), bits), "clear_looks": (("y", "x"), subject.clear_looks)})
    meanings = " ".join(f"{position}:{flag.name}" for position, flag in enumerate(qa_bits.QaBit))
    layers = [
        cog.RasterLayer(variable="qa", description="qa", units="1", nodata=QA_NODATA, tags={"BITS": meanings}),
        cog.RasterLayer(variable="clear_looks", description="clear_looks", units="1", nodata=QA_NODATA),
    ]
    return _asset(
        cog.encode(_gridded(bands, subject.geobox), layers=layers, tags=tags, resampling="NEAREST"),
        GEOTIFF,
        ("metadata", "data-mask"),
        "Quality bits and number of clear looks",
        "质量标识与晴空观测次数",
    )


def product_qa(qa: xr.DataArray) -> xr.DataArray:
    """Quality bits of a product: a bit is set where it is set on at least half of the dates used.

    Bit 0, no data, speaks of the product itself and is left to it.

    Parameters
    ----------
    qa : xr.DataArray
        Bit field (time, y, x) of the dates used.

    Returns
    -------
    xr.DataArray
        Bit field (y, x), unsigned 16 bit.
    """
    result = xr.zeros_like(qa.isel(time=0, drop=True), dtype=np.uint16)
    for flag in qa_bits.QaBit:
        if flag is not qa_bits.QaBit.NODATA:
            often = observation.flagged(qa, flag).mean("time") >= 0.5
            result = result | (often.astype(np.uint16) * np.uint16(flag))
    return result.astype(np.uint16)


def _gridded(dataset: xr.Dataset, geobox: geo_box.GeoBox) -> xr.Dataset:
    """Variables alone on the exact grid, whatever coordinates they carried."""
    bare = {name: (("y", "x"), variable.transpose("y", "x").values) for name, variable in dataset.data_vars.items()}
    return grid.assign(xr.Dataset(bare), geobox)


def _vectors(tables: Sequence[feature_table.FeatureTable]) -> dict[str, Asset]:
    """GeoPackage with every layer, and each layer for the web and for people."""
    if not tables:
        return {}
    files = {
        "objects.gpkg": _asset(
            vector.encode(tables, driver="GPKG"), GEOPACKAGE, ("data",), "Objects, all layers", "矢量要素(全部图层)"
        )
    }
    for table in tables:
        for suffix, driver, media_type, words, words_zh in _COPIES:
            content = vector.encode([table], driver=driver)
            titles = f"{table.title_en}, {words}", f"{table.title_zh}({words_zh})"
            files[f"{table.name}{suffix}"] = _asset(content, media_type, ("data",), *titles)
    return files


def _briefs(
    definition: product_definition.ProductDefinition,
    about: brief.Subject,
    summary: Mapping[str, Any],
    verdict: Mapping[str, Any],
    picture: Asset,
    gaps: brief.Gaps,
) -> dict[str, Asset]:
    pages = {
        language: brief.render(
            definition, about, summary=summary, verdict=verdict, picture=picture.content, language=language, gaps=gaps
        )
        for language in ("zh", "en")
    }
    return {
        "brief_zh.html": _asset(pages["zh"], "text/html", ("overview",), "Brief in Chinese", "产品简报"),
        "brief_en.html": _asset(pages["en"], "text/html", ("overview",), "Brief in English", "产品简报(英文)"),
    }


def _report(
    definition: product_definition.ProductDefinition,
    layers: product_definition.SectorLayers,
    summary: Mapping[str, Any],
    verdict: Mapping[str, Any],
    subject: Subject,
    gaps: brief.Gaps,
) -> Asset:
    """Quality report for machines."""
    document = {
        "product": definition.code,
        "product_version": PRODUCT_VERSION,
        "validity": definition.validity,
        "quality": verdict,
        "reasons_without_value": dict(gaps.reasons),
        "uncertainty": {
            "kind": _UNCERTAINTY[definition.kind],
            "interval_method": summary["interval_method"],
            "mean": verdict["mean_uncertainty"],
        },
        "facts": provenance.plain(dict(layers.facts)),
        "not_outlined": dict(gaps.not_outlined),
        "parameters": provenance.plain(definition.parameters),
        "parameters_sha256": provenance.parameters_hash(definition.parameters),
        "parameters_version": definition.parameters_version or None,
        "inputs": [dict(entry) for entry in subject.inputs],
        "districts": [
            {name: zone[name] for name in ("code", "clear_share", "filled_share", "outside_share", "excluded_share")}
            for zone in summary["districts"]
        ],
    }
    return _asset(provenance.canonical_json(document), "application/json", ("metadata",), "Quality report", "质量报告")


def _reasons(
    layers: product_definition.SectorLayers, definition: product_definition.ProductDefinition, subject: Subject
) -> dict[str, float]:
    """Share of the pixels without value by the quality bit that is set there [1]; ``other`` has none of them."""
    lost = ~_known(layers, definition, subject)
    if layers.outside is not None:
        lost &= ~np.asarray(layers.outside.values, dtype=bool)
    total, size = int(lost.sum()), lost.size
    bits = subject.qa[lost]
    found = {
        str(flag.name).lower(): float(((bits & np.uint16(flag)) != 0).sum() / size)
        for flag in qa_bits.QaBit
        if flag is not qa_bits.QaBit.NODATA
    }
    named = {name: share for name, share in found.items() if share}
    plain = int(((bits & ~np.uint16(qa_bits.QaBit.NODATA)) == 0).sum()) if total else 0
    return {**named, "other": plain / size}


def _picture(
    layers: product_definition.SectorLayers, definition: product_definition.ProductDefinition, subject: Subject
) -> Asset:
    start, end = subject.start, subject.end
    image = _image(layers, definition, subject)
    period = f"{end:%Y-%m-%d}" if start.date() == end.date() else f"{start:%Y-%m-%d} / {end:%Y-%m-%d}"
    text = quicklook.MapText(
        title_en=definition.title_en,
        title_zh=definition.title_zh,
        date=f"{period} UTC",
        source=f"{subject.area} | {_code(subject.geobox) or 'local grid'} | {definition.validity} product | terralimb",
    )
    inks = itertools.cycle(_INKS)
    drawn = [overlay for table in layers.features if len(table) for overlay in _overlays(table, definition, next(inks))]
    content = quicklook.render(image, legend=_legend(definition), text=text, overlays=drawn)
    return _asset(content, "image/png", ("overview", "thumbnail"), "Quicklook map", "快视图")


def _image(
    layers: product_definition.SectorLayers, definition: product_definition.ProductDefinition, subject: Subject
) -> xr.DataArray:
    """First layer on its grid; of a product of objects, what was looked at."""
    if definition.kind == "objects":
        seen = np.where(_known(layers, definition, subject), 0, product_definition.CLASS_NODATA).astype(np.uint8)
        return grid.assign(xr.Dataset({"seen": (("y", "x"), seen)}), subject.geobox)["seen"]
    name = definition.layers[0].name
    return _gridded(layers.data[[name]], subject.geobox)[name]


def _overlays(
    table: feature_table.FeatureTable, definition: product_definition.ProductDefinition, ink: str
) -> list[quicklook.Overlay]:
    """Objects for the picture: in the colours of their classes where they say theirs, else all in one."""
    if CLASS_FIELD not in table.columns:
        one = quicklook.Overlay(
            geometry=table.geometry, crs=table.crs, label_en=table.title_en, label_zh=table.title_zh, colour=ink
        )
        return [one]
    values = np.asarray(table.columns[CLASS_FIELD])
    shapes = np.asarray(list(table.geometry), dtype=object)
    return [
        quicklook.Overlay(
            geometry=list(shapes[values == item.value]),
            crs=table.crs,
            label_en=item.name_en,
            label_zh=item.name_zh,
            colour=item.colour,
        )
        for item in definition.classes
        if (values == item.value).any()
    ]


def _legend(
    definition: product_definition.ProductDefinition,
) -> list[quicklook.LegendEntry] | quicklook.ColourBar:
    if definition.kind == "objects":
        return [quicklook.LegendEntry(value=0, colour="#f2f0ea", label_en="Looked at", label_zh="已观测范围")]
    if definition.kind == "class":
        return [
            quicklook.LegendEntry(value=item.value, colour=item.colour, label_en=item.name_en, label_zh=item.name_zh)
            for item in definition.classes
        ]
    first = definition.layers[0]
    return quicklook.ColourBar(
        colour_map=first.colour_map,
        minimum=first.display_range[0],
        maximum=first.display_range[1],
        label_en=first.title_en,
        label_zh=first.title_zh,
        units=first.units,
    )


def _tables(summary: Mapping[str, Any], verdict: Mapping[str, Any]) -> dict[str, Asset]:
    return {
        "statistics.json": Asset(
            content=provenance.canonical_json({**summary, "quality": verdict}),
            media_type="application/json",
            roles=("metadata", "statistics"),
            title_en="Statistics",
            title_zh="统计",
        ),
        "statistics.csv": Asset(
            content=statistics.table(summary),
            media_type="text/csv",
            roles=("metadata", "statistics"),
            title_en="Statistics, table",
            title_zh="统计表",
        ),
    }


def _record(item_id: str, definition: product_definition.ProductDefinition, subject: Subject) -> bytes:
    return provenance.document(
        item_id,
        activity=f"{definition.algorithm.__module__}.{definition.algorithm.__qualname__}",
        inputs=[dict(entry) for entry in subject.inputs],
        parameters=definition.parameters,
        attributes={
            "product": definition.code,
            "product_version": PRODUCT_VERSION,
            "validity": definition.validity,
            **({"parameters_version": definition.parameters_version} if definition.parameters_version else {}),
        },
    )


def inputs_of(fused: xr.Dataset) -> list[dict[str, Any]]:
    """Inputs the fused dataset names, each with an ``id``, sorted.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset; its attribute ``inputs`` is a list of names, or JSON text of a list of names or objects.

    Returns
    -------
    list of dict
        One entry per input, possibly none.
    """
    stated = fused.attrs.get("inputs", [])
    if isinstance(stated, str):
        stated = json.loads(stated) if stated.lstrip().startswith("[") else [stated]
    entries = [dict(entry) if isinstance(entry, Mapping) else {"id": str(entry)} for entry in stated]
    return sorted(entries, key=lambda entry: str(entry["id"]))


def _quality(
    whole: Mapping[str, Any],
    layers: product_definition.SectorLayers,
    subject: Subject,
    limits: QualityLimits,
) -> dict[str, Any]:
    excluded, filled = whole["excluded_share"], whole["filled_share"]
    reasons = [
        reason
        for reason, value, limit in (
            ("much_of_the_area_excluded", excluded, limits.excluded_reduced),
            ("many_pixels_filled", filled, limits.filled_reduced),
        )
        if value > limit
    ]
    poor = excluded > limits.excluded_poor or filled > limits.filled_poor
    empty = not whole["product_area_m2"] > 0
    if empty:
        reasons = [*reasons, "no_usable_pixel"]
    return {
        "level": "insufficient" if empty else "poor" if poor else "reduced" if reasons else "nominal",
        "reasons": reasons,
        "clear_share": whole["clear_share"],
        "filled_share": filled,
        "outside_share": whole["outside_share"],
        "excluded_share": excluded,
        "dates_used": subject.dates,
        "mean_uncertainty": {str(name): _mean(layer.values) for name, layer in layers.uncertainty.data_vars.items()},
    }


def _mean(values: npt.NDArray[Any]) -> float | None:
    """Mean of what is finite, strip by strip; None without any."""
    total, count = 0.0, 0
    for start in range(0, values.shape[0], statistics.STRIP):
        part = values[start : start + statistics.STRIP]
        finite = np.isfinite(part)
        total += float(part[finite].sum(dtype=np.float64))
        count += int(finite.sum())
    return total / count if count else None


def _properties(
    definition: product_definition.ProductDefinition, subject: Subject, verdict: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "title": definition.title_en,
        "title_zh": definition.title_zh,
        "description": definition.description_en,
        "description_zh": definition.description_zh,
        "keywords": [definition.sector, definition.code, definition.title_zh],
        "sector": definition.sector,
        "product_code": definition.code,
        "product_version": PRODUCT_VERSION,
        "kind": definition.kind,
        "validity": definition.validity,
        "latency_target_seconds": definition.latency_target.total_seconds(),
        "uncertainty": _UNCERTAINTY[definition.kind],
        "clear_fraction": verdict["clear_share"],
        "gsd": abs(float(subject.geobox.resolution.x)),
        "bands": list(subject.bands),
        "inputs": [str(entry["id"]) for entry in subject.inputs],
        "parameters_sha256": provenance.parameters_hash(definition.parameters),
        "software_version": provenance.software_version(),
        "classes": provenance.plain(definition.classes),
        "layers": provenance.plain(definition.layers),
    }


def _seen(used: xr.Dataset) -> npt.NDArray[np.bool_]:
    seen = used["reflectance"].notnull().any(("time", "band")).values
    if "backscatter" in used:
        seen = seen | used["backscatter"].notnull().any(("time", "polarization")).values
    return np.asarray(seen)


def footprint(seen: npt.NDArray[np.bool_], geobox: geo_box.GeoBox) -> shapely.geometry.Polygon:
    """Convex outline of the observed pixels in WGS 84, densified so that edges follow the projection.

    Parameters
    ----------
    seen : numpy.ndarray
        Whether a pixel was observed (y, x); the whole grid counts where none was.
    geobox : GeoBox
        Grid.

    Returns
    -------
    shapely.geometry.Polygon
        Outline [degree].
    """
    rows = np.flatnonzero(seen.any(axis=1))
    if rows.size:
        # The hull of the pixels is that of the first and the last of every row.
        first = seen[rows].argmax(axis=1)
        last = seen.shape[1] - 1 - seen[rows][:, ::-1].argmax(axis=1)
        ends = np.concatenate([np.column_stack([first, rows]), np.column_stack([last + 1, rows])])
    else:
        height, width = seen.shape
        ends = np.array([(0, 0), (width, 0), (0, height - 1), (width, height - 1)])
    corners = np.concatenate([ends, ends + np.array([0, 1])])
    hull = shapely.convex_hull(shapely.multipoints(corners))
    step = max(geobox.shape) / 16
    transform = geobox.transform
    to_degrees = pyproj.Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    edge = shapely.transform(
        shapely.segmentize(hull, step),
        lambda column, row: to_degrees.transform(transform.a * column + transform.c, transform.e * row + transform.f),
        interleaved=False,
    )
    ring = [(round(x, DEGREE_DIGITS), round(y, DEGREE_DIGITS)) for x, y in edge.exterior.coords]
    return shapely.geometry.polygon.orient(shapely.geometry.Polygon(ring))


def _code(geobox: geo_box.GeoBox) -> str | None:
    epsg = geobox.crs.epsg if geobox.crs is not None else None
    return f"EPSG:{epsg}" if epsg else None


def _utc(time: np.datetime64) -> dt.datetime:
    seconds = int(time.astype("datetime64[s]").astype(np.int64))
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
