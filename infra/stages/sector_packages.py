"""From a fused dataset to a package in the archive: what the routine stage and the emergency have in common."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from infra import archive, product_parameters
from infra.stages import package_document, static_layers
from infra.stages.execution import NotApplicableError
from infra.stages.workspace import NewGranule, Workspace
from infra.surface import operator_layers, vector_file
from processors.imagery import grid
from products import exposure, feature_table, gauge_comparison, stac
from products.sectors import definition, exposed_segments, flood_extent, package, registry, statistics
from retrieval.surface import flood

TERRAIN_OF_FLOOD = ("slope", "hand", "elevation")
"""Layers that tell where water cannot stand."""


class Made(NamedTuple):
    """A package that was built and the granule that stands for it."""

    package: package.ProductPackage
    """The package."""
    granule: NewGranule
    """Its document."""
    report: dict[str, Any]
    """Item, quality and what the algorithm found."""
    tables: tuple[feature_table.FeatureTable, ...] = ()
    """Objects and exposed assets of the package."""
    zones: tuple[statistics.Zone, ...] = ()
    """Districts its figures were made for."""
    partial: str | None = None
    """Why it is less than was asked for."""


class NothingUsableError(Exception):
    """The input holds no pixel this product can use."""


def definition_in_force(code: str) -> definition.ProductDefinition:
    """Definition of a product with the parameters of this installation.

    Segments are exposed to the flood and the candidates that the products of those names map: a threshold changed there
    holds here, unless the operator gives this product its own.
    """
    chosen = product_parameters.in_force(registry.definition_of(code))
    if code != exposed_segments.DEFINITION.code:
        return chosen
    usual, changed, version = exposed_segments.ExposedSegmentsParameters(), {}, chosen.parameters_version
    for name, source in (("flood", "flood-extent"), ("landslide", "landslide-candidates")):
        other = definition_in_force(source)
        if getattr(chosen.parameters, name) == getattr(usual, name):
            changed[name], version = other.parameters, version or other.parameters_version
    parameters = dataclasses.replace(chosen.parameters, **changed)
    return dataclasses.replace(chosen, parameters=parameters, parameters_version=version)


def build(
    fused: xr.Dataset,
    chosen: definition.ProductDefinition,
    workspace: Workspace,
    *,
    group: str,
    district: statistics.Zone | None = None,
) -> Made:
    """Package of one product, for all of the fused dataset or for the part of it in one district.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset with the layers that stand still.
    chosen : ProductDefinition
        The product.
    workspace : Workspace
        Where the files go.
    group : str
        Group of the granule.
    district : Zone, optional
        District wanted.

    Returns
    -------
    Made
        Package and granule.

    Raises
    ------
    NotApplicableError
        The input cannot give this product.
    NothingUsableError
        It could, had it a usable pixel.
    """
    zones = static_layers.zones(workspace) if district is None else [district]
    if chosen.code == exposed_segments.DEFINITION.code:
        chosen = exposed_segments.with_segments(chosen, segments(workspace))
    if district is not None:
        fused, chosen = _cut(fused, chosen, district)
    kept: list[definition.SectorLayers] = []
    exposing = dataclasses.replace(chosen, algorithm=_exposing(chosen, fused, workspace, kept))
    try:
        built = package.build(fused, definition=exposing, zones=zones)
    except definition.NotApplicableError as error:
        if error.cause == "no_usable_pixel":
            raise NothingUsableError(str(error)) from error
        raise NotApplicableError(str(error)) from error
    made = archived(built, tuple(package.inputs_of(fused)), workspace, group=group)
    return made._replace(tables=kept[-1].features, zones=tuple(zones))


def segments(workspace: Workspace) -> exposed_segments.Segments | None:
    """Road and bridge segments the operator supplied, None where there are none."""
    held = dict(static_layers.assets(workspace)).get(static_layers.SEGMENTS)
    if held is None:
        return None
    return exposed_segments.Segments(_named(held), held.geometry, held.crs)


def _named(held: operator_layers.Assets) -> exposure.Named:
    return exposure.Named(held.identity, held.kind, held.name, held.name_zh)


def _exposing(
    chosen: definition.ProductDefinition,
    fused: xr.Dataset,
    workspace: Workspace,
    kept: list[definition.SectorLayers],
) -> Any:
    """The product's algorithm, followed by the join with what the operator wants to be told about."""

    @functools.wraps(chosen.algorithm)
    def exposing(dataset: xr.Dataset, *, parameters: Any) -> definition.SectorLayers:
        layers = chosen.algorithm(dataset, parameters=parameters)
        here = grid.geobox_of(dataset)
        latest = dataset["time"].values[layers.dates[-1]]
        kept.append(with_gauges(with_exposure(layers, chosen, here, workspace), chosen, here, workspace, time=latest))
        return kept[-1]

    return exposing


def with_exposure(
    layers: definition.SectorLayers, chosen: definition.ProductDefinition, geobox: GeoBox, workspace: Workspace
) -> definition.SectorLayers:
    """Layers of a hazard with tables of the assets and segments it reaches; others as they are.

    Parameters
    ----------
    layers : SectorLayers
        What an algorithm returned.
    chosen : ProductDefinition
        The product; the classes it outlines are the hazard.
    geobox : GeoBox
        Grid of the layers.
    workspace : Workspace
        Where the operator's files are.

    Returns
    -------
    SectorLayers
        With one more table for every kind of file the operator supplied.
    """
    if chosen.kind != "class" or not chosen.outlined or chosen.sector != "emergency":
        return layers
    held = static_layers.assets(workspace)
    if not held:
        return layers
    name = chosen.layers[0].name
    values = layers.data[name].transpose("y", "x").values
    if chosen.code == flood_extent.DEFINITION.code and (values == flood.EXCLUDED).any():
        # Excluded is either too high for water or hidden from the radar, and what is hidden is not clear.
        terrain = static_layers.terrain(workspace, geobox, names=TERRAIN_OF_FLOOD)
        hidden = exposed_segments.unjudged(values, terrain, chosen.parameters)
        values = np.where(hidden, np.uint8(definition.CLASS_NODATA), values)
    hazard = exposure.hazard_of(
        values,
        layers.uncertainty[name].transpose("y", "x").values,
        classes=chosen.outlined,
        geobox=geobox,
    )
    tables = [_exposed(kept, hazard, which) for which, kept in held]
    return layers._replace(features=(*layers.features, *(table for table in tables if len(table))))


def with_gauges(
    layers: definition.SectorLayers,
    chosen: definition.ProductDefinition,
    geobox: GeoBox,
    workspace: Workspace,
    *,
    time: np.datetime64,
) -> definition.SectorLayers:
    """Layers of a flood with the level of the mapped water beside the readings of gauges; others as they are.

    Parameters
    ----------
    layers : SectorLayers
        What an algorithm returned.
    chosen : ProductDefinition
        The product.
    geobox : GeoBox
        Grid of the layers.
    workspace : Workspace
        Where the operator's files are.
    time : numpy.datetime64
        Time of the scene (UTC).

    Returns
    -------
    SectorLayers
        With the table of the gauges where there are readings and heights.
    """
    readings = static_layers.gauges(workspace) if chosen.code == flood_extent.DEFINITION.code else None
    heights = None if readings is None else static_layers.elevation(workspace, geobox)
    if readings is None or heights is None:
        return layers
    classes = layers.data[chosen.layers[0].name].transpose("y", "x").values
    compared = gauge_comparison.table(
        readings,
        water=np.isin(classes, (flood.PERMANENT, flood.FLOOD, flood.PROBABLE)),
        elevation=heights.values,
        geobox=geobox,
        elevation_datum=heights.datum,
        time=time,
    )
    return layers._replace(features=(*layers.features, compared))


def _exposed(held: operator_layers.Assets, hazard: exposure.Hazard, which: str) -> feature_table.FeatureTable:
    box = shapely.box(*grid.geographic_bounds(hazard.geobox))
    places = vector_file.carried(held.geometry, held.crs, "EPSG:4326")
    here = np.asarray(shapely.intersects(places, box), dtype=bool)
    found = exposure.join(held.geometry[here], held.crs, hazard=hazard)
    named = exposure.Named(*(column[here] for column in _named(held)))
    titles = _TITLES[which]
    return exposure.table(found, named, held.geometry[here], crs=held.crs, name=f"exposed_{which}", titles=titles)


_TITLES = {
    static_layers.ASSETS: ("Assets and the hazard", "设施受影响情况"),
    static_layers.SEGMENTS: ("Road and bridge segments and the hazard", "路段桥梁受影响情况"),
}


def archived(
    built: package.ProductPackage, inputs: tuple[Mapping[str, Any], ...], workspace: Workspace, *, group: str
) -> Made:
    """Put the files of a package into the archive and describe it.

    Parameters
    ----------
    built : ProductPackage
        The package.
    inputs : tuple of Mapping
        What it was made of.
    workspace : Workspace
        Where the files go.
    group : str
        Group of the granule.

    Returns
    -------
    Made
        Package and granule.
    """
    chosen = built.definition
    document = package_document.PackageDocument(
        item_id=built.item_id,
        collection=chosen.code,
        sector=chosen.sector,
        bucket="products",
        fields=_fields(built, inputs),
        files=dict(_files(built, workspace)),
    )
    granule = NewGranule(
        kind="sector_product",
        id=archive.identity(built.item_id),
        group=group,
        body=document.to_json(),
        suffix=".json",
        media_type="application/json",
        attributes={"product": chosen.code, "sector": chosen.sector},
    )
    return Made(built, granule, {"item": built.item_id, "quality": built.quality["level"]})


def _cut(
    fused: xr.Dataset, chosen: definition.ProductDefinition, district: statistics.Zone
) -> tuple[xr.Dataset, definition.ProductDefinition]:
    """The dataset around the district, and the product silent about what lies beyond its border."""
    whole = grid.geobox_of(fused)
    part = grid.within(whole, district.geometry.bounds)
    row, column = (round(value) for value in (~whole.transform @ (part.transform.c, part.transform.f))[::-1])
    rows, columns = slice(row, row + part.shape[0]), slice(column, column + part.shape[1])
    near = fused.isel(y=rows, x=columns).assign_attrs(area=district.code)
    inside = statistics.inside(district, part)

    @functools.wraps(chosen.algorithm)
    def within_district(dataset: xr.Dataset, *, parameters: Any) -> definition.SectorLayers:
        layers = chosen.algorithm(dataset, parameters=parameters)
        here = xr.DataArray(inside, dims=("y", "x"), coords={name: layers.data[name] for name in ("y", "x")})
        return _restricted(layers, here, district)

    return near, dataclasses.replace(chosen, algorithm=within_district)


def _restricted(
    layers: definition.SectorLayers, here: xr.DataArray, district: statistics.Zone
) -> definition.SectorLayers:
    data = layers.data.map(lambda layer: layer.where(here, _nothing(layer)).astype(layer.dtype))
    beyond = ~here if layers.outside is None else layers.outside | ~here
    features = tuple(statistics.features_inside(table, district) for table in layers.features)
    uncertainty = layers.uncertainty.where(here)
    return layers._replace(data=data, uncertainty=uncertainty, outside=beyond, features=features)


def _nothing(layer: xr.DataArray) -> float:
    return definition.CLASS_NODATA if np.issubdtype(layer.dtype, np.integer) else float("nan")


def _fields(built: package.ProductPackage, inputs: tuple[Mapping[str, Any], ...]) -> stac.ItemFields:
    properties = built.properties
    several = built.start_datetime != built.end_datetime
    return stac.ItemFields(
        product_code=built.definition.code,
        title=properties["title"],
        title_zh=properties["title_zh"],
        description=properties["description"],
        description_zh=properties["description_zh"],
        keywords=tuple(properties["keywords"]),
        geometry=built.geometry,
        bbox=built.bbox,
        start=built.start_datetime,
        end=built.end_datetime if several else None,
        quality_level=properties["validity"],
        quality_reasons=tuple(built.quality["reasons"]),
        clear_fraction=properties["clear_fraction"],
        uncertainty={
            "kind": properties["uncertainty"],
            "asset": "objects.gpkg" if built.definition.kind == "objects" else "uncertainty.tif",
        },
        inputs=inputs,
        level="L3",
        software={"terralimb": properties["software_version"]},
        projection=_projection(built),
        extra={"gsd": properties["gsd"]},
    )


def _projection(built: package.ProductPackage) -> stac.Projection | None:
    if built.proj_code is None:
        return None
    return stac.Projection(code=built.proj_code, shape=built.proj_shape, transform=built.proj_transform)


def _files(built: package.ProductPackage, workspace: Workspace) -> Iterator[tuple[str, package_document.PackagedFile]]:
    for name, asset in sorted(built.assets.items()):
        written = workspace.write_asset(asset.content, PurePosixPath(name).suffix, asset.media_type)
        yield (
            name,
            package_document.PackagedFile(
                key=written["key"],
                sha256=written["sha256"],
                media_type=asset.media_type,
                roles=asset.roles,
                title=asset.title_en,
                title_zh=asset.title_zh,
                projection=_projection(built) if name.endswith(".tif") else None,
            ),
        )
