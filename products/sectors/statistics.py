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
import io
import itertools
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
from products.sectors import definition as product_definition

ERROR_CORRELATION = 0.25
NORMAL_QUANTILE_95 = 1.959963984540054
INTERVAL_METHOD = "model uncertainty, 1.96 sigma, error correlation 0.25; no reference samples"

FloatArray = npt.NDArray[np.float64]


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
    areas = cell_areas(geobox)
    whole = {"code": "", "name_en": "", "name_zh": "", **_figures(layers, definition, evidence, areas)}
    covered, outside = [], []
    for zone, coverage in _coverages(zones, geobox):
        if not coverage.any():
            outside.append(zone.code)
            continue
        figures = _figures(layers, definition, evidence, areas * coverage)
        covered.append({"code": zone.code, "name_en": zone.name_en, "name_zh": zone.name_zh, **figures})
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
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\r\n")
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


def _coverages(zones: Sequence[Zone], geobox: geo_box.GeoBox) -> Iterator[tuple[Zone, FloatArray]]:
    for zone in zones:
        yield zone, _coverage(zone, geobox)


def _coverage(zone: Zone, geobox: geo_box.GeoBox) -> FloatArray:
    """Share of each pixel inside the zone (y, x) [1]."""
    transformer = _to_grid(zone, geobox)
    outline = shapely.make_valid(shapely.transform(zone.geometry, transformer.transform, interleaved=False))
    shape = geobox.shape
    coverage = np.zeros(shape.y * shape.x)
    inside = shapely.intersection(outline, shapely.box(*geobox.extent.boundingbox.bbox))
    if inside.area > 0:
        bounds = geobox.extent.boundingbox
        raster = zone_raster.NumPyRasterSource(
            np.zeros(shape), xmin=bounds.left, ymin=bounds.bottom, xmax=bounds.right, ymax=bounds.top
        )
        zone_polygon = {"type": "Feature", "geometry": shapely.geometry.mapping(inside)}
        found = exactextract.exact_extract(raster, [zone_polygon], ["cell_id", "coverage"])[0]["properties"]
        coverage[found["cell_id"]] = found["coverage"]
    return coverage.reshape(shape.y, shape.x)


def _to_grid(zone: Zone, geobox: geo_box.GeoBox) -> pyproj.Transformer:
    source, target = pyproj.CRS.from_user_input(zone.crs), pyproj.CRS.from_user_input(str(geobox.crs))
    try:
        return pyproj.Transformer.from_crs(
            source, target, always_xy=True, allow_ballpark=_agree_within_decimetres(source, target)
        )
    except ProjError as error:
        raise quality.BadInputError(
            "outline_datum", f"the outline of {zone.code} is in {source.name}, which cannot be carried to {target.name}"
        ) from error


def _agree_within_decimetres(source: pyproj.CRS, target: pyproj.CRS) -> bool:
    """Whether both are realizations of the ITRS, between which PROJ knows no transformation and none is needed."""
    names = [
        crs.geodetic_crs.datum.name if crs.geodetic_crs and crs.geodetic_crs.datum else "" for crs in (source, target)
    ]
    return all(name.startswith(("China 2000", "World Geodetic System 1984")) for name in names)


def _figures(
    layers: product_definition.SectorLayers,
    definition: product_definition.ProductDefinition,
    evidence: Evidence,
    weight: FloatArray,
) -> dict[str, Any]:
    total = float(weight.sum())
    first = layers.data[definition.layers[0].name]
    known = (first != product_definition.CLASS_NODATA if definition.kind == "class" else first.notnull()).values
    outside = np.zeros(known.shape, dtype=bool) if layers.outside is None else layers.outside.values & ~known
    figures: dict[str, Any] = {
        "area_m2": total,
        "product_area_m2": float(weight[known].sum()),
        "clear_share": float((weight * evidence.clear).sum() / total),
        "filled_share": float((weight * evidence.filled).sum() / total),
        "outside_share": float(weight[outside].sum() / total),
        "excluded_share": float(weight[~known & ~outside].sum() / total),
    }
    if definition.kind == "class":
        return figures | {"classes": _class_figures(layers, definition, weight)}
    return figures | {"layers": [_layer_figures(layers, layer, weight) for layer in definition.layers]}


def _class_figures(
    layers: product_definition.SectorLayers, definition: product_definition.ProductDefinition, weight: FloatArray
) -> list[dict[str, Any]]:
    name = definition.layers[0].name
    values, probability = layers.data[name].values, layers.uncertainty[name].values.astype(np.float64)
    known = values != product_definition.CLASS_NODATA
    weights, values, probability = weight[known], values[known], probability[known]
    others = max(len(definition.classes) - 1, 1)
    figures = []
    for item in definition.classes:
        member = values == item.value
        belonging = np.where(member, probability, (1 - probability) / others)
        share, low, high = _interval(
            member.astype(np.float64), np.sqrt(belonging * (1 - belonging)), weights, bounds=(0.0, 1.0)
        )
        area = float(weights.sum())
        figures.append(
            {
                "value": item.value,
                "name_en": item.name_en,
                "name_zh": item.name_zh,
                "area_m2": float(weights[member].sum()),
                "area_95_m2": [None if low is None else low * area, None if high is None else high * area],
                "share": share,
                "share_95": [low, high],
            }
        )
    return figures


def _layer_figures(
    layers: product_definition.SectorLayers, layer: product_definition.ProductLayer, weight: FloatArray
) -> dict[str, Any]:
    values = layers.data[layer.name].values.astype(np.float64)
    sigma = layers.uncertainty[layer.name].values.astype(np.float64)
    known = np.isfinite(values)
    mean, low, high = _interval(values[known], sigma[known], weight[known])
    return {
        "name": layer.name,
        "title_en": layer.title_en,
        "title_zh": layer.title_zh,
        "units": layer.units,
        "mean": mean,
        "mean_95": [low, high],
        "standard_deviation": _spread(values[known], weight[known], mean),
    }


def _interval(
    values: FloatArray,
    sigma: FloatArray,
    weight: FloatArray,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float | None, float | None, float | None]:
    """Weighted mean with its lower and upper limit; None where there is nothing to average."""
    total = weight.sum()
    if not total > 0:
        return None, None, None
    share = weight / total
    mean = float((share * values).sum())
    common = float((share * sigma).sum()) ** 2
    independent = float((share**2 * sigma**2).sum())
    half = NORMAL_QUANTILE_95 * float(np.sqrt(ERROR_CORRELATION * common + (1 - ERROR_CORRELATION) * independent))
    return mean, max(mean - half, bounds[0]), min(mean + half, bounds[1])


def _spread(values: FloatArray, weight: FloatArray, mean: float | None) -> float | None:
    if mean is None:
        return None
    return float(np.sqrt((weight * (values - mean) ** 2).sum() / weight.sum()))


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
    else:
        items = [
            (item["title_zh"], item["title_en"], item["units"], item["mean"], item["mean_95"], None)
            for item in zone["layers"]
        ]
    return [
        {
            **head,
            "item_zh": name_zh,
            "item_en": name_en,
            "units": units,
            "value": _rounded(value),
            "lower_95": _rounded(interval[0]),
            "upper_95": _rounded(interval[1]),
            "item_area_m2": _rounded(area),
            **tail,
        }
        for name_zh, name_en, units, value, interval, area in items
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
