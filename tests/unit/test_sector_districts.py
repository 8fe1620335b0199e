"""Products by district: silent beyond the border, together the whole, each object in one of them."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from infra import ledger
from infra.stages import sector_packages, sectors
from infra.stages.execution import Unit
from processors.imagery import grid
from products import feature_table
from products.sectors import definition, registry, statistics

DEGREE = 2.0**-10
GEOBOX = GeoBox((20, 30), rasterio.Affine(DEGREE, 0, 106.0, 0, -DEGREE, 30.0), "EPSG:4326")
BORDER = 106.0 + 13 * DEGREE
NORTH = 30.0 - 12 * DEGREE
CHOSEN = registry.definition_of("open-water-extent")
FIELD = feature_table.FeatureField(name="number", title_en="Number", title_zh="编号", kind="integer")


def outlined(code: str, geometry: shapely.Polygon) -> statistics.Zone:
    return statistics.Zone(code=code, name_en=code, name_zh=code, geometry=geometry, crs="EPSG:4326")


def zone(code: str, west: float, east: float, *, south: float = 29.0, north: float = 31.0) -> statistics.Zone:
    return outlined(code, shapely.box(west, south, east, north))


WEST, EAST = zone("w", 105.0, BORDER), zone("e", BORDER, 107.0)


def fused() -> xr.Dataset:
    values = np.arange(np.prod(GEOBOX.shape), dtype=np.float32).reshape(1, 1, *GEOBOX.shape)
    dataset = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values)},
        coords={"time": np.array(["2026-07-15"], dtype="datetime64[ns]"), "band": ["green"]},
        attrs={"area": "CQ"},
    )
    return grid.assign(dataset, GEOBOX)


def objects(geobox: GeoBox) -> feature_table.FeatureTable:
    """One object a pixel of the first row."""
    middles = [geobox.transform @ (column + 0.5, 0.5) for column in range(geobox.shape[1])]
    return feature_table.FeatureTable(
        name="things",
        title_en="Things",
        title_zh="目标",
        fields=(FIELD,),
        geometry=[shapely.Point(*place) for place in middles],
        columns={"number": np.array([round((x - 106.0) / DEGREE - 0.5) for x, _ in middles], dtype=np.int64)},
        crs="EPSG:4326",
    )


def everywhere(dataset: xr.Dataset, *, parameters: object) -> definition.SectorLayers:
    """A class, a value and objects wherever the algorithm is let look; it never speaks of pixel 0."""
    scene = dataset["reflectance"].isel(time=0, band=0, drop=True)
    data = xr.Dataset({"classes": (scene % 2).astype(np.uint8), "value": scene})
    return definition.SectorLayers(
        data=data,
        uncertainty=xr.Dataset({"classes": xr.full_like(scene, 0.9), "value": xr.full_like(scene, 0.1)}),
        dates=np.array([0]),
        outside=scene == 0,
        features=(objects(grid.geobox_of(dataset)),),
    )


def made(district: statistics.Zone, algorithm=everywhere) -> tuple[xr.Dataset, definition.SectorLayers]:
    product = dataclasses.replace(CHOSEN, algorithm=algorithm)
    near, cut = sector_packages._cut(fused(), product, district)
    return near, cut.algorithm(near, parameters=cut.parameters)


def numbers(layers: definition.SectorLayers) -> list[int]:
    return layers.features[0].columns["number"].tolist()


def test_only_what_surrounds_the_district_is_looked_at():
    near, _ = made(zone("n", 105.0, BORDER, south=NORTH))
    whole = fused()["reflectance"]
    assert dict(near.sizes) == {"time": 1, "band": 1, "y": 12, "x": 13}
    np.testing.assert_array_equal(near["reflectance"], whole[:, :, :12, :13])
    assert near.attrs["area"] == "n"
    east, _ = made(EAST)
    np.testing.assert_array_equal(east["reflectance"], whole[:, :, :, 13:])


def test_nothing_is_said_beyond_a_slanting_border():
    slope = shapely.Polygon([(106.0, 30.0), (106.0 + 30 * DEGREE, 30.0), (106.0, 30.0 - 20 * DEGREE)])
    district = outlined("s", slope)
    near, layers = made(district)
    here = statistics.inside(district, grid.geobox_of(near))
    assert here.any()
    assert not here.all()
    assert (layers.data["classes"].values[~here] == definition.CLASS_NODATA).all()
    assert (layers.data["classes"].values[here] <= 1).all()
    assert layers.data["classes"].dtype == np.uint8
    for values in (layers.data["value"], *layers.uncertainty.values()):
        np.testing.assert_array_equal(np.isfinite(values), here)
    known = near["reflectance"].values[0, 0] == 0
    np.testing.assert_array_equal(layers.outside, ~here | known)


def test_a_product_that_speaks_of_everything_is_outside_only_beyond_the_border():
    _, layers = made(
        WEST, lambda dataset, *, parameters: everywhere(dataset, parameters=parameters)._replace(outside=None)
    )
    assert layers.outside is not None
    assert not layers.outside.any()


def test_the_districts_together_are_the_whole_and_share_nothing():
    whole = everywhere(fused(), parameters=None)
    parts = [made(district) for district in (WEST, EAST)]
    areas = [
        statistics.cell_areas(grid.geobox_of(near))[layers.data["classes"].values != definition.CLASS_NODATA].sum()
        for near, layers in parts
    ]
    assert sum(areas) == pytest.approx(statistics.cell_areas(GEOBOX).sum(), rel=1e-9)
    assert numbers(parts[0][1]) == list(range(13))
    assert numbers(parts[1][1]) == list(range(13, 30))
    joined = np.concatenate([layers.data["value"].values for _, layers in parts], axis=1)
    np.testing.assert_array_equal(joined, whole.data["value"].values)


def granule(kind: str, **attributes) -> ledger.Granule:
    return ledger.Granule(kind, kind, "0" * 64, "g", "granules", kind, 1, attributes)


def variants(box: list[float] | None, districts: dict[str, list[float]]) -> list[str]:
    here = granule("fused_scene", **({} if box is None else {"bbox": box}))
    book = SimpleNamespace(granules=lambda kinds: [granule("auxiliary", districts=districts), granule("auxiliary")])
    return sectors.products_and_districts(Unit("sector_products", "u", "g", (here,)), book)


BOXES = {"w": [105.0, 29.0, 106.0, 31.0], "e": [106.0, 29.0, 107.0, 31.0], "far": [110.0, 29.0, 111.0, 31.0]}


def test_each_product_is_made_for_the_whole_and_every_district_reached():
    codes = [product.code for product in registry.definitions() if product.kind != "objects"]
    assert variants([105.5, 29.5, 106.5, 30.5], BOXES) == [
        *codes,
        *(f"{code}@e" for code in codes),
        *(f"{code}@w" for code in codes),
    ]


@pytest.mark.parametrize(
    ("box", "districts"),
    [
        ([105.2, 29.5, 105.8, 30.5], BOXES),
        ([105.2, 29.5, 106.0, 30.5], BOXES),
        ([120.0, 29.5, 121.0, 30.5], BOXES),
        ([105.5, 29.5, 106.5, 30.5], {}),
        (None, BOXES),
    ],
)
def test_a_scene_that_reaches_one_district_or_none_is_made_once(box, districts):
    assert not [variant for variant in variants(box, districts) if "@" in variant]
