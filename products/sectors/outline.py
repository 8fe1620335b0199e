"""Areas of chosen classes as polygons, with their size and mean probability."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from odc.geo import geobox as geo_box
from scipy import ndimage

from products import feature_table
from products.sectors import definition as product_definition
from products.sectors import statistics

MOST = 20_000
"""Areas outlined at most, the largest first [1]."""
_AROUND = np.ones((3, 3), dtype=bool)

_FIELDS = (
    feature_table.FeatureField(name="class_value", title_en="Class", title_zh="类别值", kind="integer"),
    feature_table.FeatureField(name="class_en", title_en="Class in English", title_zh="类别(英文)", kind="text"),
    feature_table.FeatureField(name="class_zh", title_en="Class in Chinese", title_zh="类别", kind="text"),
    feature_table.FeatureField(name="area_m2", title_en="Area", title_zh="面积", kind="real", units="m2"),
    feature_table.FeatureField(
        name="probability", title_en="Mean probability of the class", title_zh="平均概率", kind="real", units="1"
    ),
)


class _Areas(NamedTuple):
    """Connected areas of one class; the figures are of all of them, the labels of those kept, from 1 on."""

    labels: npt.NDArray[np.int32]
    kept: npt.NDArray[np.bool_]
    size: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]


class Outlines(NamedTuple):
    """Polygons, and what of the classes they leave out.

    Attributes
    ----------
    tables : tuple of FeatureTable
        One table ``extent``, none where no class is outlined.
    left_out : Mapping
        By class value: number ``areas`` [1] and ground ``area_m2`` [m2] of what is in the raster alone.
    """

    tables: tuple[feature_table.FeatureTable, ...]
    left_out: Mapping[str, Mapping[str, float]]


def outlines(
    layers: product_definition.SectorLayers,
    *,
    definition: product_definition.ProductDefinition,
    geobox: geo_box.GeoBox,
) -> Outlines:
    """Polygons of the classes a product outlines.

    Areas smaller than the definition's least outline, and those beyond the `MOST` largest of a class, stay in the
    raster alone.

    Parameters
    ----------
    layers : SectorLayers
        What the algorithm returned.
    definition : ProductDefinition
        Says which classes are outlined.
    geobox : GeoBox
        Grid of the layers.

    Returns
    -------
    Outlines
        Table, and what is not in it.
    """
    if not definition.outlined or definition.kind != "class":
        return Outlines((), {})
    name = definition.layers[0].name
    values, certain = layers.data[name].values, layers.uncertainty[name].values
    shapes: list[Any] = []
    left_out: dict[str, Mapping[str, float]] = {}
    rows: list[tuple[int, str, str, float, float]] = []
    for item in definition.classes:
        if item.value not in definition.outlined:
            continue
        areas = _areas(values == item.value, certain, geobox, definition.least_outline)
        left_out[str(item.value)] = {"areas": int((~areas.kept).sum()), "area_m2": float(areas.size[~areas.kept].sum())}
        for shape, area, probability in _outlined(areas, geobox):
            shapes.append(shape)
            rows.append((item.value, item.name_en, item.name_zh, area, probability))
    extent = feature_table.FeatureTable(
        name="extent",
        title_en=f"{definition.title_en}: areas",
        title_zh=f"{definition.title_zh}:范围",
        fields=_FIELDS,
        geometry=shapes,
        columns=_columns(rows),
        crs=str(geobox.crs),
        geometry_type="Polygon",
    )
    return Outlines((extent,), left_out)


def _columns(rows: list[tuple[int, str, str, float, float]]) -> dict[str, npt.NDArray[Any]]:
    kinds: tuple[Any, ...] = (np.int64, object, object, np.float64, np.float64)
    columns = zip(*rows, strict=True) if rows else ((),) * len(kinds)
    return {
        field.name: np.array(list(column), dtype=kind)
        for field, column, kind in zip(_FIELDS, columns, kinds, strict=True)
    }


def _outlined(areas: _Areas, geobox: geo_box.GeoBox) -> Iterator[tuple[Any, float, float]]:
    """Polygon, area [m2] and mean probability of every area kept, the largest first."""
    parts: dict[int, list[Any]] = {}
    # Outlines of pixels that share an edge are valid; an area that hangs together by corners has several of them.
    for outline, number in rasterio.features.shapes(areas.labels, mask=areas.labels > 0, transform=geobox.transform):
        parts.setdefault(int(number), []).append(shapely.geometry.shape(outline))
    for number in sorted(parts, key=lambda key: (-areas.size[key - 1], key)):
        own = parts[number]
        shape = own[0] if len(own) == 1 else shapely.MultiPolygon(own)
        yield shape, float(areas.size[number - 1]), float(areas.probability[number - 1])


def _areas(member: npt.NDArray[np.bool_], certain: npt.NDArray[Any], geobox: geo_box.GeoBox, least: int) -> _Areas:
    """Connected areas of at least so many pixels, with ground area and mean probability."""
    labels = np.zeros(member.shape, dtype=np.int32)
    count = int(ndimage.label(member, structure=_AROUND, output=labels))
    pixels, size, weighted = (np.zeros(count + 1) for _ in range(3))
    for start in range(0, member.shape[0], statistics.STRIP):
        strip = slice(start, min(start + statistics.STRIP, member.shape[0]))
        inside = member[strip]
        own = labels[strip][inside]
        ground = statistics.strip_areas(geobox, strip)[inside]
        pixels += np.bincount(own, minlength=count + 1)
        size += np.bincount(own, weights=ground, minlength=count + 1)
        sure = np.nan_to_num(certain[strip][inside].astype(np.float64))
        weighted += np.bincount(own, weights=ground * sure, minlength=count + 1)
    kept = pixels >= least
    kept[0] = False
    if kept.sum() > MOST:
        smallest = np.sort(size[kept])[-MOST]
        kept &= size >= smallest
    probability = np.divide(weighted, size, out=np.zeros_like(size), where=size > 0)
    numbers = np.where(kept, np.arange(count + 1), 0).astype(np.int32)
    for start in range(0, member.shape[0], statistics.STRIP):
        strip = slice(start, start + statistics.STRIP)
        labels[strip] = numbers[labels[strip]]
    return _Areas(labels, kept[1:], size[1:], probability[1:])
