"""What the operator landed once and every product reads: the newest that knows, all files of a kind together."""

import datetime as dt
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from infra import archive, ledger
from infra.stages import auxiliary, landed_scenes, sector_packages, static_layers
from infra.stages.execution import NotApplicableError, PrerequisiteMissingError, Unit
from processors.imagery import grid
from processors.quality import BadInputError
from products import feature_table, vector
from products.sectors import definition, exposed_segments, flood_extent, registry, statistics
from retrieval.surface import flood

SIZE = 20
TRANSFORM = Affine(10, 0, 600_000, 0, -10, 3_270_000)
GEOBOX = GeoBox((SIZE, SIZE), TRANSFORM, "EPSG:32648")
GAUGES = (
    "station,latitude,longitude,time,level_m,datum\n{name},29.5,106.0,2026-07-15T18:00:00+08:00,205.2,national_1985\n"
)


def raster(path: Path, layers: np.ndarray, names: tuple[str, ...], **tags: str) -> Path:
    profile = {"driver": "GTiff", "height": SIZE, "width": SIZE, "count": len(layers), "dtype": "float32"}
    with rasterio.open(path, "w", **profile, crs="EPSG:32648", transform=TRANSFORM, nodata=float("nan")) as file:
        file.write(layers.astype(np.float32))
        file.descriptions = names
        file.update_tags(**tags)
    return path


def lines(path: Path, identity: str, *rows: float) -> Path:
    field = feature_table.FeatureField(name="id", title_en="Id", title_zh="编号", kind="text")
    shapes = [shapely.LineString([(600_000, 3_270_000 - 10 * row), (600_200, 3_270_000 - 10 * row)]) for row in rows]
    table = feature_table.FeatureTable(
        name=path.stem,
        title_en="Lines",
        title_zh="线",
        fields=(field,),
        geometry=shapes,
        columns={"id": np.array([f"{identity}{number}" for number in range(len(rows))], dtype=object)},
        crs="EPSG:32648",
    )
    vector.write([table], path)
    return path


class Held:
    """Workspace of files, the later given the newer."""

    def __init__(self, home: Path, *given: tuple[str, Path]) -> None:
        self.settings = SimpleNamespace(home=home)
        self.paths = {path.name: path for _, path in given}
        self.reads = 0
        granules = [
            ledger.Granule(
                "auxiliary", path.name, f"{number:064x}", "g", "auxiliary", path.name, 1,
                {"kind": kind, "name": path.name}, registered_at=f"2026-07-{number + 1:02d}T00:00:00+00:00",
            )
            for number, (kind, path) in enumerate(given)
        ]  # fmt: skip
        self.ledger = SimpleNamespace(granules=lambda kinds: granules if kinds == ["auxiliary"] else [])

    def stretches(self, granule: ledger.Granule) -> list[bytes]:
        self.reads += 1
        return [self.paths[granule.key].read_bytes()]


def series(month: int = 7) -> xr.Dataset:
    dataset = xr.Dataset(
        {"qa": (("time", "y", "x"), np.zeros((1, SIZE, SIZE), dtype=np.uint16))},
        coords={"time": np.array([f"2026-{month:02d}-15"], dtype="datetime64[ns]")},
    )
    return grid.assign(dataset, GEOBOX)


def test_terrain_of_several_files_completes_and_the_newest_wins(tmp_path):
    old = np.stack([np.full((SIZE, SIZE), 200.0), np.full((SIZE, SIZE), 5.0)])
    new = np.full((1, SIZE, SIZE), 300.0)
    new[0, :, :8] = np.nan
    here = Held(
        tmp_path / "home",
        ("terrain", raster(tmp_path / "old.tif", old, ("elevation", "slope"))),
        ("terrain", raster(tmp_path / "new.tif", new, ("elevation",), VERTICAL_DATUM="National_1985 ")),
    )
    joined = static_layers.joined(series(), here)
    assert float(joined["elevation"].values[10, 15]) == 300.0
    assert float(joined["elevation"].values[10, 2]) == 200.0
    assert float(joined["slope"].values[10, 15]) == 5.0
    assert set(static_layers.terrain(here, GEOBOX, names=("slope",))) == {"slope"}
    heights = static_layers.elevation(here, GEOBOX)
    assert (heights.datum, float(heights.values[10, 15])) == ("national_1985", 300.0)


def test_a_layer_the_series_has_is_kept_and_one_without_data_is_not_joined(tmp_path):
    layers = np.stack([np.full((SIZE, SIZE), 200.0), np.full((SIZE, SIZE), np.nan)])
    here = Held(tmp_path / "home", ("terrain", raster(tmp_path / "a.tif", layers, ("elevation", "hand"))))
    own = series().assign(elevation=(("y", "x"), np.full((SIZE, SIZE), 7.0, dtype=np.float32)))
    joined = static_layers.joined(own, here)
    assert float(joined["elevation"].mean()) == 7.0
    assert "hand" not in joined
    assert static_layers.elevation(Held(tmp_path / "none"), GEOBOX) is None


def test_usual_water_is_that_of_the_month_or_none(tmp_path):
    july = raster(tmp_path / "july.tif", np.full((1, SIZE, SIZE), 0.4), ("water",), MONTH="7")
    here = Held(tmp_path / "home", ("reference-water", july))
    assert float(static_layers.joined(series(7), here)["reference_water"].mean()) == pytest.approx(0.4)
    assert "reference_water" not in static_layers.joined(series(8), here)


def test_files_of_a_kind_count_together_and_are_fetched_once(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    for path in (first, second):
        path.write_text(GAUGES.format(name=path.stem))
    here = Held(
        tmp_path / "home",
        ("segments", lines(tmp_path / "r1.gpkg", "a", 3.5)),
        ("segments", lines(tmp_path / "r2.gpkg", "b", 5.5, 9.5)),
        ("gauge-readings", first),
        ("gauge-readings", second),
    )
    ((kind, held),) = static_layers.assets(here)
    assert (kind, sorted(held.identity)) == ("segments", ["a0", "b0", "b1"])
    assert set(held.kind) == {"road"}
    assert sorted(static_layers.gauges(here).station) == ["a", "b"]
    reads = here.reads
    static_layers.assets(here)
    assert here.reads == reads
    assert sorted(sector_packages.segments(here).named.identity) == ["a0", "b0", "b1"]
    nobody = Held(tmp_path / "none")
    assert (static_layers.assets(nobody), static_layers.gauges(nobody)) == ([], None)
    assert sector_packages.segments(nobody) is None


def flooded(classes: np.ndarray) -> definition.SectorLayers:
    axes = ("y", "x")
    return definition.SectorLayers(
        data=xr.Dataset({flood_extent.LAYER: (axes, classes)}),
        uncertainty=xr.Dataset({flood_extent.LAYER: (axes, np.full(classes.shape, 0.95, dtype=np.float32))}),
        dates=np.array([0], dtype=np.intp),
    )


@pytest.mark.parametrize(("height", "states"), [(80.0, {"clear"}), (2.0, {"not_assessed"})])
def test_what_layover_hides_is_not_clear_in_the_package_of_the_flood(tmp_path, height, states):
    classes = np.full((SIZE, SIZE), flood.EXCLUDED, dtype=np.uint8)
    terrain = np.stack([np.full((SIZE, SIZE), 30.0), np.full((SIZE, SIZE), height)])
    here = Held(
        tmp_path / "home",
        ("segments", lines(tmp_path / "roads.gpkg", "a", 5.5)),
        ("terrain", raster(tmp_path / "t.tif", terrain, ("slope", "hand"))),
    )
    (table,) = sector_packages.with_exposure(
        flooded(classes), registry.definition_of("flood-extent"), GEOBOX, here
    ).features
    assert set(table.columns["state"]) == states


def test_products_that_are_no_hazard_and_places_without_assets_stay_as_they_are(tmp_path):
    layers = flooded(np.zeros((SIZE, SIZE), dtype=np.uint8))
    nobody = Held(tmp_path / "home")
    assert sector_packages.with_exposure(layers, registry.definition_of("flood-extent"), GEOBOX, nobody) is layers
    water = registry.definition_of("open-water-extent")
    assert sector_packages.with_exposure(layers, water, GEOBOX, nobody) is layers
    now = np.datetime64("2026-07-15")
    assert sector_packages.with_gauges(layers, water, GEOBOX, nobody, time=now) is layers


def test_the_routine_build_gives_the_segments_to_their_product_or_says_why_not(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(sector_packages, "archived", lambda built, *_a, **_k: sector_packages.Made(built, None, {}))

    def hazards(fused, *, parameters, segments):
        here = exposed_segments.require_segments(segments, GEOBOX)
        asked.append(sorted(here.named.identity))
        raise definition.NotApplicableError("no_usable_pixel", "nothing seen")

    monkeypatch.setattr(exposed_segments, "exposed_segments_layers", hazards)
    fused = series().assign(
        reflectance=(("time", "band", "y", "x"), np.ones((1, 1, SIZE, SIZE))),
        reflectance_sigma=(("time", "band", "y", "x"), np.ones((1, 1, SIZE, SIZE))),
    ).assign_coords(band=["red"]).assign_attrs(area="here")  # fmt: skip
    product = registry.definition_of("exposed-segments")
    here = Held(tmp_path / "home", ("segments", lines(tmp_path / "roads.gpkg", "a", 5.5)))
    with pytest.raises(sector_packages.NothingUsableError, match="nothing seen"):
        sector_packages.build(fused, product, here, group="g")
    assert asked == [["a0"]]
    with pytest.raises(NotApplicableError, match="supplied none"):
        sector_packages.build(fused, product, Held(tmp_path / "none"), group="g")


def unit(kind: str, key: str) -> Unit:
    return Unit("s", "u", "g", (ledger.Granule(kind, "a", "0" * 64, "g", "landing", key, 1, {}),))


def test_an_auxiliary_file_of_no_known_kind_is_refused_by_its_place():
    key = archive.landing_key("landed_auxiliary", "gossip", "a.txt")
    with pytest.raises(BadInputError, match="gossip") as caught:
        auxiliary.ingest(unit("landed_auxiliary", key), SimpleNamespace(read=lambda _granule: b""))
    assert caught.value.cause == "unknown_kind"


def test_districts_carry_their_boxes_and_old_data_are_told(tmp_path, caplog):
    zone = statistics.Zone(code="500112", name_en="a", name_zh="甲", geometry=shapely.box(106, 29, 107, 30))
    field = feature_table.FeatureField(name="adcode", title_en="Code", title_zh="代码", kind="text")
    table = feature_table.FeatureTable(
        name="districts", title_en="Districts", title_zh="区县", fields=(field,), geometry=[zone.geometry],
        columns={"adcode": np.array([zone.code], dtype=object)}, crs="EPSG:4326",
    )  # fmt: skip
    path = tmp_path / "districts.gpkg"
    vector.write([table], path)
    key = archive.landing_key("landed_auxiliary", "districts", path.name)
    here = SimpleNamespace(read=lambda _granule: path.read_bytes(), scratch_folder=lambda _name: tmp_path)
    (made,) = auxiliary.ingest(unit("landed_auxiliary", key), here).granules
    assert made.attributes["districts"] == {"500112": [106.0, 29.0, 107.0, 30.0]}
    nothing = SimpleNamespace(ledger=SimpleNamespace(granules=lambda _kinds: []))
    with pytest.raises(PrerequisiteMissingError, match="earth-orientation"):
        auxiliary.holding(nothing, kind="earth-orientation", time=dt.datetime.now(dt.UTC).isoformat())
    old = ledger.Granule(
        "auxiliary", "a", "0" * 64, "g", "auxiliary", "a", 1,
        {"kind": "leap-seconds", "end": "2001-01-01T00:00:00+00:00"},
    )  # fmt: skip
    (told,) = auxiliary.stale(SimpleNamespace(ledger=SimpleNamespace(granules=lambda _kinds: [old])))
    assert "leap-seconds" in told
    assert told in caplog.text


def test_scenes_that_are_gone_or_elsewhere_are_no_failure(tmp_path):
    facts = ledger.Granule("scene_facts", "s", "0" * 64, "g", "landing", "k", 1, {"sha256": "1" * 64})
    with pytest.raises(NotApplicableError, match="no longer in the landing store"):
        landed_scenes.files([facts], Held(tmp_path))
    scene = SimpleNamespace(geobox=GEOBOX, path=Path("a.tif"))
    with pytest.raises(NotApplicableError, match=r"a\.tif lies outside"):
        landed_scenes.window(scene, (100.0, 20.0, 101.0, 21.0))
    west, south, east, north = grid.geographic_bounds(GEOBOX)
    part = landed_scenes.window(scene, (west - 1, south - 1, (west + east) / 2, north + 1))
    assert SIZE // 2 <= part.shape[1] <= SIZE // 2 + 2
