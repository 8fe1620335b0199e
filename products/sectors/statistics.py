"""Figures of a product for its whole area and for districts whose outline the operator supplies.

Every pixel weighs its true ground area times the share of it that lies in the zone. Intervals are 95 %: 1.96 standard
deviations to either side, where a share rho of the error variance of a pixel is common to all pixels of the zone and
the rest is independent,

    var(mean)  = rho (sum w_i s_i)^2 + (1 - rho) sum w_i^2 s_i^2,   w_i = a_i / sum a_i,

with s_i the standard deviation of a value, or sqrt(P_i (1 - P_i)) for the share of a class with P_i the probability
that the pixel is of this class. What the class given leaves of the probability is spread evenly over the other
classes. These intervals describe the model's own doubt; they do not replace an error matrix from reference samples
(Olofsson et al. 2014).
"""

import csv
import dataclasses
import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import exactextract
import numpy as np
import numpy.typing as npt
import pyproj
import shapely
import shapely.geometry
import xarray as xr
from exactextract import raster as zone_raster
from odc.geo import geobox as geo_box
from pyproj.exceptions import ProjError
from scipy import interpolate

from processors import quality
from processors.imagery import grid
from products import feature_table, interval
from products.sectors import _statistics_kernels
from products.sectors import definition as product_definition

INTERVAL_METHOD = "model uncertainty, 1.96 sigma, error correlation 0.25; no reference samples"

STRIP = 512
"""Rows that are summed up at a time [1]."""

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A district with its outline.

    Parameters
    ----------
    code : str
        Division code of GB/T 2260, or any other key.
    name_en : str
        English name.
    name_zh : str
        Chinese name.
    geometry : shapely.Geometry
        Polygon or multipolygon.
    crs : str
        Reference system of the outline. CGCS2000 (EPSG:4490) and WGS 84 agree within decimetres and are taken as
        equal; any other pair needs a transformation that PROJ knows, else the outline is refused.
    """

    code: str
    name_en: str
    name_zh: str
    geometry: Any
    crs: str = "EPSG:4490"


class Evidence(NamedTuple):
    """How the pixels of a product came about.

    Attributes
    ----------
    clear : FloatArray
        Share of the used dates on which the pixel was seen clear (y, x) [1].
    filled : FloatArray
        Share of the used dates on which the pixel was filled (y, x) [1].
    """

    clear: FloatArray
    filled: FloatArray


def summarize(
    layers: product_definition.SectorLayers,
    *,
    definition: product_definition.ProductDefinition,
    evidence: Evidence,
    geobox: geo_box.GeoBox,
    zones: Sequence[Zone] = (),
) -> dict[str, Any]:
    """Statistics of a product.

    Parameters
    ----------
    layers : SectorLayers
        What the algorithm returned.
    definition : ProductDefinition
        Declaration of the product.
    evidence : Evidence
        Clear and filled shares [1].
    geobox : GeoBox
        Grid of the layers.
    zones : sequence of Zone
        Districts; those outside the grid are left out of the result and named under ``districts_outside``.

    Returns
    -------
    dict
        ``area`` for the whole grid and ``districts``, a list; areas [m2], shares [1].

    Raises
    ------
    processors.quality.BadInputError
        Where an outline cannot be carried to the grid (cause ``outline_datum``).
    """
    whole = {
        "code": "",
        "name_en": "",
        "name_zh": "",
        **(_zone_figures(layers, definition, evidence, geobox, None) or {}),
    }
    whole |= _object_counts(layers, None)
    covered, outside = [], []
    for zone in zones:
        figures = _zone_figures(layers, definition, evidence, geobox, zone)
        if figures is None:
            outside.append(zone.code)
            continue
        names = {"code": zone.code, "name_en": zone.name_en, "name_zh": zone.name_zh}
        covered.append({**names, **figures, **_object_counts(layers, zone)})
    return {
        "product": definition.code,
        "interval_method": INTERVAL_METHOD,
        "area": whole,
        "districts": covered,
        "districts_outside": outside,
    }


def table(summary: Mapping[str, Any]) -> bytes:
    """Statistics as a table: one row per zone and class or layer.

    Parameters
    ----------
    summary : Mapping
        Result of `summarize`.

    Returns
    -------
    bytes
        CSV in UTF-8 with a byte-order mark, which spreadsheet programs need for Chinese.
    """
    rows = [row for zone in (summary["area"], *summary["districts"]) for row in _rows(zone)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=_COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def cell_areas(geobox: geo_box.GeoBox) -> FloatArray:
    """Ground area of each pixel on the ellipsoid.

    In a projected system the grid area is divided by the areal scale of the projection, taken at a coarse mesh and
    interpolated; in a geographic one each row is a geodesic quadrilateral.

    Parameters
    ----------
    geobox : GeoBox
        Grid.

    Returns
    -------
    numpy.ndarray
        Area (y, x) [m2].
    """
    crs = pyproj.CRS.from_user_input(str(geobox.crs))
    if crs.is_geographic:
        return _geographic_areas(geobox, crs)
    metre = crs.axis_info[0].unit_conversion_factor
    return abs(geobox.transform.determinant) * metre**2 / _areal_scale(geobox, crs)


def strip_areas(geobox: geo_box.GeoBox, rows: slice) -> FloatArray:
    """Ground area of the pixels of some rows of a grid.

    Parameters
    ----------
    geobox : GeoBox
        Grid.
    rows : slice
        Start and stop [pixel].

    Returns
    -------
    numpy.ndarray
        Area (y, x) [m2].
    """
    return cell_areas(grid.part(geobox, rows, slice(0, geobox.shape[1])))


def _geographic_areas(geobox: geo_box.GeoBox, crs: pyproj.CRS) -> FloatArray:
    geod = crs.get_geod() or pyproj.Geod(ellps="WGS84")
    height, width = geobox.shape
    left, right = geobox.transform.c, geobox.transform.c + geobox.transform.a
    edges = geobox.transform.f + geobox.transform.e * np.arange(height + 1)
    rows = [
        abs(geod.polygon_area_perimeter([left, right, right, left], [top, top, bottom, bottom])[0])
        for top, bottom in itertools.pairwise(edges)
    ]
    return np.repeat(np.array(rows)[:, None], width, axis=1)


def _areal_scale(geobox: geo_box.GeoBox, crs: pyproj.CRS, *, mesh: int = 9) -> FloatArray:
    height, width = geobox.shape
    rows, columns = np.linspace(0, height, mesh), np.linspace(0, width, mesh)
    column_mesh, row_mesh = np.meshgrid(columns, rows)
    affine = geobox.transform
    x = affine.a * column_mesh + affine.b * row_mesh + affine.c
    y = affine.d * column_mesh + affine.e * row_mesh + affine.f
    to_geodetic = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    longitude, latitude = to_geodetic.transform(x, y)
    scale = pyproj.Proj(crs).get_factors(longitude, latitude).areal_scale
    spline = interpolate.RectBivariateSpline(rows, columns, scale, kx=2, ky=2)
    on_cells: FloatArray = spline(np.arange(height) + 0.5, np.arange(width) + 0.5)
    return on_cells


def inside(zone: Zone, geobox: geo_box.GeoBox) -> npt.NDArray[np.bool_]:
    """Pixels of a grid that lie at least half in a zone.

    Parameters
    ----------
    zone : Zone
        District.
    geobox : GeoBox
        Grid.

    Returns
    -------
    numpy.ndarray
        Boolean (y, x).
    """
    within = np.zeros(tuple(geobox.shape), dtype=bool)
    found = _coverage(zone, geobox)
    if found is not None:
        rows, columns, coverage = found
        within[rows, columns] = coverage >= 0.5
    return within


def features_inside(table: feature_table.FeatureTable, zone: Zone) -> feature_table.FeatureTable:
    """Objects whose middle lies in a zone.

    Parameters
    ----------
    table : FeatureTable
        Objects.
    zone : Zone
        District.

    Returns
    -------
    FeatureTable
        Those in the district.
    """
    kept = _objects_inside(table, zone)
    shapes = np.asarray(table.geometry, dtype=object)
    return dataclasses.replace(
        table,
        geometry=list(shapes[kept]),
        columns={name: np.asarray(column)[kept] for name, column in table.columns.items()},
    )


def _objects_inside(table: feature_table.FeatureTable, zone: Zone) -> npt.NDArray[np.bool_]:
    if not len(table):
        return np.zeros(0, dtype=bool)
    middles = shapely.point_on_surface(np.asarray(table.geometry, dtype=object))
    carry = _transformer(zone.crs, table.crs, zone.code)
    outline = shapely.make_valid(shapely.transform(zone.geometry, carry.transform, interleaved=False))
    shapely.prepare(outline)
    return np.asarray(shapely.intersects(outline, middles), dtype=bool)


def _object_counts(layers: product_definition.SectorLayers, zone: Zone | None) -> dict[str, Any]:
    """Number of objects of every table in a zone."""
    if not layers.features:
        return {}
    counts = {
        table.name: len(table) if zone is None else int(_objects_inside(table, zone).sum()) for table in layers.features
    }
    return {"objects": counts}


def _coverage(zone: Zone, geobox: geo_box.GeoBox) -> tuple[slice, slice, FloatArray] | None:
    """Rows and columns that hold the zone, and the share of each of their pixels inside it [1]; None without any."""
    transformer = _transformer(zone.crs, str(geobox.crs), zone.code)
    outline = shapely.make_valid(shapely.transform(zone.geometry, transformer.transform, interleaved=False))
    near = shapely.intersection(outline, shapely.box(*geobox.extent.boundingbox.bbox))
    if not near.area > 0:
        return None
    rows, columns = _window(geobox, near.bounds)
    part = grid.part(geobox, rows, columns)
    bounds = part.boundingbox
    shape = tuple(part.shape)
    raster = zone_raster.NumPyRasterSource(
        np.zeros(shape, dtype=np.uint8), xmin=bounds.left, ymin=bounds.bottom, xmax=bounds.right, ymax=bounds.top
    )
    polygon = {"type": "Feature", "geometry": shapely.geometry.mapping(near)}
    found = exactextract.exact_extract(raster, [polygon], ["cell_id", "coverage"])[0]["properties"]
    coverage = np.zeros(shape[0] * shape[1])
    coverage[found["cell_id"]] = found["coverage"]
    return rows, columns, coverage.reshape(shape)


def _window(geobox: geo_box.GeoBox, bounds: tuple[float, float, float, float]) -> tuple[slice, slice]:
    """Rows and columns of a north-up grid that hold a box."""
    transform, (height, width) = geobox.transform, geobox.shape
    left, right = ((x - transform.c) / transform.a for x in (bounds[0], bounds[2]))
    top, bottom = ((y - transform.f) / transform.e for y in (bounds[3], bounds[1]))
    rows = slice(max(math.floor(top), 0), min(max(math.ceil(bottom), math.floor(top) + 1), height))
    columns = slice(max(math.floor(left), 0), min(max(math.ceil(right), math.floor(left) + 1), width))
    return rows, columns


def _transformer(crs: str, wanted: str, name: str) -> pyproj.Transformer:
    source, target = pyproj.CRS.from_user_input(crs), pyproj.CRS.from_user_input(wanted)
    try:
        return pyproj.Transformer.from_crs(
            source, target, always_xy=True, allow_ballpark=_agree_within_decimetres(source, target)
        )
    except ProjError as error:
        raise quality.BadInputError(
            "outline_datum", f"the outline of {name} is in {source.name}, which cannot be carried to {target.name}"
        ) from error


def _agree_within_decimetres(source: pyproj.CRS, target: pyproj.CRS) -> bool:
    """Whether both are realizations of the ITRS, between which PROJ knows no transformation and none is needed."""
    names = [
        crs.geodetic_crs.datum.name if crs.geodetic_crs and crs.geodetic_crs.datum else "" for crs in (source, target)
    ]
    return all(name.startswith(("China 2000", "World Geodetic System 1984")) for name in names)


class _Shares:
    """Weights of a zone by what became of its pixels, added up strip by strip."""

    def __init__(self) -> None:
        self.sums = dict.fromkeys(("area", "product", "clear", "filled", "outside", "excluded"), 0.0)

    def add(
        self, weight: FloatArray, known: BoolArray, beyond: BoolArray | None, clear: FloatArray, filled: FloatArray
    ) -> None:
        """Add one strip."""
        apart = np.zeros_like(known) if beyond is None else beyond & ~known
        parts = {
            "area": weight.sum(),
            "product": weight[known].sum(),
            "clear": (weight * clear).sum(),
            "filled": (weight * filled).sum(),
            "outside": weight[apart].sum(),
            "excluded": weight[~known & ~apart].sum(),
        }
        for name, value in parts.items():
            self.sums[name] += float(value)

    def figures(self) -> dict[str, Any]:
        """Areas [m2] and shares [1]."""
        total = self.sums["area"]
        shares = {f"{name}_share": self.sums[name] / total for name in ("clear", "filled", "outside", "excluded")}
        return {"area_m2": total, "product_area_m2": self.sums["product"], **shares}


def _zone_figures(
    layers: product_definition.SectorLayers,
    definition: product_definition.ProductDefinition,
    evidence: Evidence,
    geobox: geo_box.GeoBox,
    zone: Zone | None,
) -> dict[str, Any] | None:
    """Figures of a zone, of the whole grid for None; None where the zone does not reach into the grid."""
    found = (
        _coverage(zone, geobox) if zone is not None else (slice(0, geobox.shape[0]), slice(0, geobox.shape[1]), None)
    )
    if found is None:
        return None
    rows, columns, coverage = found
    part = grid.part(geobox, rows, columns)
    shares = _Shares()
    classes = np.zeros((len(definition.classes) + 1, 5))
    values = {layer.name: np.zeros(5) for layer in definition.layers}
    for strip in _strips(part.shape[0]):
        here = (slice(rows.start + strip.start, rows.start + strip.stop), columns)
        weight = strip_areas(part, strip)
        weight = weight if coverage is None else weight * coverage[strip]
        known = _known(layers, definition, here, evidence)
        beyond = None if layers.outside is None else np.asarray(layers.outside.values[here], dtype=bool)
        shares.add(weight, known, beyond, evidence.clear[here], evidence.filled[here])
        if definition.kind == "class":
            _add_classes(layers, definition, here, weight, classes)
        elif definition.kind == "value":
            _add_values(layers, definition, here, weight, values)
    if not shares.sums["area"] > 0:
        return None
    if definition.kind == "objects":
        return shares.figures()
    if definition.kind == "class":
        return shares.figures() | {"classes": _class_figures(definition, classes)}
    return shares.figures() | {"layers": [_layer_figures(layer, values[layer.name]) for layer in definition.layers]}


def _strips(height: int) -> Iterator[slice]:
    for start in range(0, height, STRIP):
        yield slice(start, min(start + STRIP, height))


def _known(
    layers: product_definition.SectorLayers,
    definition: product_definition.ProductDefinition,
    here: tuple[slice, slice],
    evidence: Evidence,
) -> BoolArray:
    if definition.kind == "objects":
        # Without a raster, what was looked at is what was seen.
        return np.asarray(evidence.clear[here] > 0)
    first = layers.data[definition.layers[0].name].values[here]
    return np.asarray(first != product_definition.CLASS_NODATA if definition.kind == "class" else ~np.isnan(first))


def _add_classes(
    layers: product_definition.SectorLayers,
    definition: product_definition.ProductDefinition,
    here: tuple[slice, slice],
    weight: FloatArray,
    sums: FloatArray,
) -> None:
    name = definition.layers[0].name
    position = np.full(product_definition.CLASS_NODATA + 1, -1, dtype=np.int64)
    position[[item.value for item in definition.classes]] = np.arange(len(definition.classes))
    _statistics_kernels.class_sums(
        np.ascontiguousarray(layers.data[name].values[here]),
        np.ascontiguousarray(layers.uncertainty[name].values[here], dtype=np.float64),
        weight,
        position,
        float(max(len(definition.classes) - 1, 1)),
        sums,
    )


def _add_values(
    layers: product_definition.SectorLayers,
    definition: product_definition.ProductDefinition,
    here: tuple[slice, slice],
    weight: FloatArray,
    sums: Mapping[str, FloatArray],
) -> None:
    for layer in definition.layers:
        value, sigma = (
            np.ascontiguousarray(part[layer.name].values[here], dtype=np.float64)
            for part in (layers.data, layers.uncertainty)
        )
        _statistics_kernels.value_sums(value, np.nan_to_num(sigma), weight, sums[layer.name])


def _class_figures(definition: product_definition.ProductDefinition, sums: FloatArray) -> list[dict[str, Any]]:
    area = float(sums[-1, 0])
    common, independent = sums[:-1, 3].sum(), sums[:-1, 4].sum()
    figures = []
    for row, item in enumerate(definition.classes):
        # Its own pixels with their own doubt, all others as if they might be of this class.
        linear = common - sums[row, 3] + sums[row, 1]
        squared = independent - sums[row, 4] + sums[row, 2]
        share, low, high = _interval(sums[row, 0], linear, squared, area, bounds=(0.0, 1.0))
        figures.append(
            {
                "value": item.value,
                "name_en": item.name_en,
                "name_zh": item.name_zh,
                "area_m2": float(sums[row, 0]),
                "area_95_m2": [None if low is None else low * area, None if high is None else high * area],
                "share": share,
                "share_95": [low, high],
            }
        )
    return figures


def _layer_figures(layer: product_definition.ProductLayer, sums: FloatArray) -> dict[str, Any]:
    mean, low, high = _interval(sums[1], sums[3], sums[4], sums[0])
    spread = None if mean is None else float(np.sqrt(max(sums[2] / sums[0] - mean**2, 0.0)))
    return {
        "name": layer.name,
        "title_en": layer.title_en,
        "title_zh": layer.title_zh,
        "units": layer.units,
        "mean": mean,
        "mean_95": [low, high],
        "standard_deviation": spread,
    }


def _interval(
    total: float,
    linear: float,
    squared: float,
    weight: float,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float | None, float | None, float | None]:
    """Weighted mean with its lower and upper limit; None where there is nothing to average.

    `total` is the sum of weight and value, `linear` of weight and deviation, `squared` of the square of the latter.
    """
    if not weight > 0:
        return None, None, None
    mean = float(total / weight)
    variance = (
        interval.ERROR_CORRELATION * (linear / weight) ** 2 + (1 - interval.ERROR_CORRELATION) * squared / weight**2
    )
    half = interval.NORMAL_QUANTILE_95 * float(np.sqrt(max(variance, 0.0)))
    return mean, max(mean - half, bounds[0]), min(mean + half, bounds[1])


_COLUMNS = (
    *("code", "name_zh", "name_en", "item_zh", "item_en", "units", "value", "lower_95", "upper_95", "item_area_m2"),
    *("area_m2", "clear_share", "filled_share", "outside_share", "excluded_share"),
)
"""Columns of the table."""


def _rows(zone: Mapping[str, Any]) -> list[dict[str, Any]]:
    head = {key: zone[key] for key in ("code", "name_zh", "name_en")}
    tail = {
        key: _rounded(zone[key])
        for key in ("area_m2", "clear_share", "filled_share", "outside_share", "excluded_share")
    }
    if "classes" in zone:
        items = [
            (item["name_zh"], item["name_en"], "1", item["share"], item["share_95"], item["area_m2"])
            for item in zone["classes"]
        ]
    elif "layers" in zone:
        items = [
            (item["title_zh"], item["title_en"], item["units"], item["mean"], item["mean_95"], None)
            for item in zone["layers"]
        ]
    else:
        items = [(name, name, "1", count, (None, None), None) for name, count in zone.get("objects", {}).items()]
    return [
        {
            **head,
            "item_zh": name_zh,
            "item_en": name_en,
            "units": units,
            "value": _rounded(value),
            "lower_95": _rounded(limits[0]),
            "upper_95": _rounded(limits[1]),
            "item_area_m2": _rounded(area),
            **tail,
        }
        for name_zh, name_en, units, value, limits, area in items
    ]


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def evidence_of(clear: xr.DataArray, filled: xr.DataArray) -> Evidence:
    """Shares of the used dates, from boolean series.

    Parameters
    ----------
    clear : xr.DataArray
        Seen clear (time, y, x).
    filled : xr.DataArray
        Filled (time, y, x).

    Returns
    -------
    Evidence
        Shares (y, x) [1].
    """
    return Evidence(clear.mean("time").values, filled.mean("time").values)
