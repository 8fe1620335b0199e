"""One package builder for every sector product: rasters, picture, statistics, provenance, and what a catalogue needs.

Assets of a package: ``data.tif`` (the layers: 32-bit float, or unsigned 8-bit classes), ``uncertainty.tif`` (same
bands: one standard deviation, or the probability of the class given in percent), ``qa.tif`` (bit field and number of
clear looks), ``quicklook.png``, ``statistics.json``, ``statistics.csv`` and ``prov.json``; for classes also
``data.tif.aux.xml`` with the category names. The bytes are a function of the fused dataset, the definition, the
zones, the installed software and, for the picture, the installed fonts.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyproj
import shapely
import shapely.geometry
import xarray as xr
from odc.geo import geobox as geo_box

from processors import quality
from processors.imagery import grid
from processors.imagery import qa as qa_bits
from products import cog, filenames, provenance, quicklook
from products.sectors import definition as product_definition
from products.sectors import statistics
from retrieval.surface import observation

QA_NODATA = 65535
PROBABILITY_SCALE = 0.01
DEGREE_DIGITS = 7
GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
PRODUCT_VERSION = "1"


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
        Where the input cannot give this product (causes ``band_missing``, ``too_few_dates``, ``no_usable_pixel``).
    processors.quality.BadInputError
        Where the fused dataset breaks its contract (causes ``variable_missing``, ``area_missing``, ``crs_missing``,
        ``grid_irregular``, ``identifier_invalid``).
    """
    fused = _north_up(fused)
    geobox = _geobox(fused)
    product_definition.require(fused, definition=definition)
    layers = _computed(fused, definition)
    used = fused.isel(time=layers.dates)
    summary = statistics.summarize(layers, definition=definition, evidence=_evidence(used), geobox=geobox, zones=zones)
    start, end = _utc(used["time"].values[0]), _utc(used["time"].values[-1])
    area = _area(fused)
    item_id = filenames.item_id(definition.code, area=area, time=end)
    verdict = _quality(summary["area"], layers, used, limits or QualityLimits())
    footprint = _footprint(used, geobox)
    west, south, east, north = footprint.bounds
    return ProductPackage(
        item_id=item_id,
        definition=definition,
        area=filenames.slug(area),
        datetime=end,
        start_datetime=start,
        end_datetime=end,
        bbox=(west, south, east, north),
        geometry=json.loads(json.dumps(shapely.geometry.mapping(footprint))),
        proj_code=_code(geobox),
        proj_shape=(geobox.shape.y, geobox.shape.x),
        proj_transform=tuple(float(value) for value in geobox.transform[:6]),
        properties=_properties(definition, fused, geobox, verdict),
        statistics=summary,
        quality=verdict,
        assets={
            **_rasters(layers, definition, used, geobox, item_id),
            **_picture(layers, definition, fused, geobox, start, end),
            **_tables(summary, verdict),
            **_provenance(item_id, definition, fused),
        },
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


def _computed(fused: xr.Dataset, definition: product_definition.ProductDefinition) -> product_definition.SectorLayers:
    layers = definition.algorithm(fused, parameters=definition.parameters)
    if not _known(layers, definition).any():
        raise product_definition.NotApplicableError(
            "no_usable_pixel", f"{definition.code} has no value on any pixel of this input"
        )
    return layers


def _known(layers: product_definition.SectorLayers, definition: product_definition.ProductDefinition) -> xr.DataArray:
    first = layers.data[definition.layers[0].name]
    return first != product_definition.CLASS_NODATA if definition.kind == "class" else first.notnull()


def _evidence(used: xr.Dataset) -> statistics.Evidence:
    filled = observation.flagged(used["qa"], qa_bits.QaBit.FILLED)
    return statistics.evidence_of(observation.clear(used), filled)


def _rasters(
    layers: product_definition.SectorLayers,
    definition: product_definition.ProductDefinition,
    used: xr.Dataset,
    geobox: geo_box.GeoBox,
    item_id: str,
) -> dict[str, Asset]:
    tags = {"PRODUCT": definition.code, "ITEM": item_id, "TITLE": definition.title_en, "TITLE_ZH": definition.title_zh}
    data_layers = _data_layers(definition)
    rasters = {
        "data.tif": Asset(
            content=cog.encode(_gridded(layers.data, geobox), layers=data_layers, tags=tags),
            media_type=GEOTIFF,
            roles=("data",),
            title_en=definition.title_en,
            title_zh=definition.title_zh,
        ),
        "uncertainty.tif": _uncertainty(layers, definition, geobox, tags),
        "qa.tif": _qa(used, _known(layers, definition), geobox, tags),
    }
    if definition.kind == "class":
        rasters["data.tif.aux.xml"] = Asset(
            content=cog.category_sidecar(data_layers),
            media_type="application/xml",
            roles=("metadata",),
            title_en="Category names",
            title_zh="类别名称",
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
    percent = (layers.uncertainty / PROBABILITY_SCALE).round().fillna(product_definition.CLASS_NODATA).astype(np.uint8)
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


def _qa(used: xr.Dataset, known: xr.DataArray, geobox: geo_box.GeoBox, tags: Mapping[str, str]) -> Asset:
    bands = xr.Dataset(
        {
            "qa": product_qa(used["qa"], known=known),
            "clear_looks": observation.clear(used).sum("time").astype(np.uint16),
        }
    )
    meanings = " ".join(f"{position}:{flag.name}" for position, flag in enumerate(qa_bits.QaBit))
    layers = [
        cog.RasterLayer(variable="qa", description="qa", units="1", nodata=QA_NODATA, tags={"BITS": meanings}),
        cog.RasterLayer(variable="clear_looks", description="clear_looks", units="1", nodata=QA_NODATA),
    ]
    return Asset(
        content=cog.encode(_gridded(bands, geobox), layers=layers, tags=tags, resampling="NEAREST"),
        media_type=GEOTIFF,
        roles=("metadata", "data-mask"),
        title_en="Quality bits and number of clear looks",
        title_zh="质量标识与晴空观测次数",
    )


def product_qa(qa: xr.DataArray, *, known: xr.DataArray) -> xr.DataArray:
    """Quality bits of a product: a bit is set where it is set on at least half of the dates used.

    Bit 0, no data, speaks of the product itself.

    Parameters
    ----------
    qa : xr.DataArray
        Bit field (time, y, x) of the dates used.
    known : xr.DataArray
        Pixels with a product value, boolean (y, x).

    Returns
    -------
    xr.DataArray
        Bit field (y, x), unsigned 16 bit.
    """
    result = (~known).astype(np.uint16) * np.uint16(qa_bits.QaBit.NODATA)
    for flag in qa_bits.QaBit:
        if flag is not qa_bits.QaBit.NODATA:
            often = observation.flagged(qa, flag).mean("time") >= 0.5
            result = result | (often.astype(np.uint16) * np.uint16(flag))
    return result.astype(np.uint16)


def _gridded(dataset: xr.Dataset, geobox: geo_box.GeoBox) -> xr.Dataset:
    """Variables alone on the exact grid, whatever coordinates they carried."""
    bare = {name: (("y", "x"), variable.transpose("y", "x").values) for name, variable in dataset.data_vars.items()}
    return grid.assign(xr.Dataset(bare), geobox)


def _picture(
    layers: product_definition.SectorLayers,
    definition: product_definition.ProductDefinition,
    fused: xr.Dataset,
    geobox: geo_box.GeoBox,
    start: dt.datetime,
    end: dt.datetime,
) -> dict[str, Asset]:
    first = definition.layers[0]
    image = _gridded(layers.data[[first.name]], geobox)[first.name]
    period = f"{end:%Y-%m-%d}" if start.date() == end.date() else f"{start:%Y-%m-%d} / {end:%Y-%m-%d}"
    text = quicklook.MapText(
        title_en=definition.title_en,
        title_zh=definition.title_zh,
        date=f"{period} UTC",
        source=f"{_area(fused)} | {_code(geobox) or 'local grid'} | {definition.validity} product | terralimb",
    )
    return {
        "quicklook.png": Asset(
            content=quicklook.render(image, legend=_legend(definition), text=text),
            media_type="image/png",
            roles=("overview", "thumbnail"),
            title_en="Quicklook map",
            title_zh="快视图",
        )
    }


def _legend(
    definition: product_definition.ProductDefinition,
) -> list[quicklook.LegendEntry] | quicklook.ColourBar:
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


def _provenance(item_id: str, definition: product_definition.ProductDefinition, fused: xr.Dataset) -> dict[str, Asset]:
    record = provenance.document(
        item_id,
        activity=f"{definition.algorithm.__module__}.{definition.algorithm.__qualname__}",
        inputs=inputs_of(fused),
        parameters=definition.parameters,
        attributes={"product": definition.code, "product_version": PRODUCT_VERSION, "validity": definition.validity},
    )
    return {
        "prov.json": Asset(
            content=record,
            media_type="application/json",
            roles=("metadata", "provenance"),
            title_en="Provenance",
            title_zh="溯源信息",
        )
    }


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
    used: xr.Dataset,
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
    return {
        "level": "poor" if poor else "reduced" if reasons else "nominal",
        "reasons": reasons,
        "clear_share": whole["clear_share"],
        "filled_share": filled,
        "outside_share": whole["outside_share"],
        "excluded_share": excluded,
        "dates_used": int(used.sizes["time"]),
        "mean_uncertainty": {
            str(name): float(variable.mean()) for name, variable in layers.uncertainty.data_vars.items()
        },
    }


def _properties(
    definition: product_definition.ProductDefinition,
    fused: xr.Dataset,
    geobox: geo_box.GeoBox,
    verdict: Mapping[str, Any],
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
        "uncertainty": "class_probability" if definition.kind == "class" else "standard_deviation",
        "clear_fraction": verdict["clear_share"],
        "gsd": abs(float(geobox.resolution.x)),
        "bands": [str(band) for band in fused["band"].values],
        "inputs": [str(entry["id"]) for entry in inputs_of(fused)],
        "parameters_sha256": provenance.parameters_hash(definition.parameters),
        "software_version": provenance.software_version(),
        "classes": provenance.plain(definition.classes),
        "layers": provenance.plain(definition.layers),
    }


def _footprint(used: xr.Dataset, geobox: geo_box.GeoBox) -> shapely.geometry.Polygon:
    """Convex outline of the observed pixels in WGS 84, densified so that edges follow the projection."""
    seen = used["reflectance"].notnull().any(("time", "band")).values
    if "backscatter" in used:
        seen = seen | used["backscatter"].notnull().any(("time", "polarization")).values
    rows, columns = np.nonzero(seen)
    corners = np.concatenate([np.column_stack([columns + right, rows + down]) for right in (0, 1) for down in (0, 1)])
    hull = shapely.convex_hull(shapely.multipoints(corners))
    step = max(geobox.shape) / 16
    transform = geobox.transform
    to_degrees = pyproj.Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    outline = shapely.transform(
        shapely.segmentize(hull, step),
        lambda column, row: to_degrees.transform(transform.a * column + transform.c, transform.e * row + transform.f),
        interleaved=False,
    )
    ring = [(round(x, DEGREE_DIGITS), round(y, DEGREE_DIGITS)) for x, y in outline.exterior.coords]
    return shapely.geometry.polygon.orient(shapely.geometry.Polygon(ring))


def _code(geobox: geo_box.GeoBox) -> str | None:
    epsg = geobox.crs.epsg if geobox.crs is not None else None
    return f"EPSG:{epsg}" if epsg else None


def _utc(time: np.datetime64) -> dt.datetime:
    seconds = int(time.astype("datetime64[s]").astype(np.int64))
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
