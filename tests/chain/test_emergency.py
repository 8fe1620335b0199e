"""An emergency from the landing of a scene to the published flood and its alert, and everything that may go wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from scipy import ndimage
from typer.testing import CliRunner

from infra import archive, cli, database, emergency_run, settings
from infra.embedded import object_store_server
from infra.stages import chain, emergency, execution, landing, package_document, workspace
from products import feature_table, vector

pytestmark = [pytest.mark.chain, pytest.mark.timeout(300)]
SIZE = 240
TRANSFORM = Affine(10, 0, 600_000, 0, -10, 3_270_000)
DISTANCE = np.abs(np.mgrid[:SIZE, :SIZE][0] - 120)
RIVER, FLOODED = DISTANCE < 12, DISTANCE < 35
# Water stands on ground of 200 m + 0.15 m times the distance of its edge from the middle of the river.
GAUGES = """station,latitude,longitude,time,level_m,datum
agreeing,29.5441,106.0425,2026-07-15T18:00:00+08:00,205.2,national_1985
of another zero,29.5441,106.0425,2026-07-15T18:00:00+08:00,206.9,wusong
"""
CAP = "{urn:oasis:names:tc:emergency:cap:1.2}"


def backscatter(water: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.float64]:
    random = np.random.default_rng(seed)
    land = 2 * ndimage.gaussian_filter(random.normal(size=(SIZE, SIZE)), 4)
    layers = [np.where(water, dark, bright + land) for dark, bright in ((-20.0, -9.0), (-27.0, -15.0))]
    return np.stack([10 ** (layer / 10) * random.gamma(5, 0.2, (SIZE, SIZE)) for layer in layers])


def raster(path: Path, layers: npt.NDArray[np.float64], names: tuple[str, ...], **tags: str) -> Path:
    profile = {"driver": "GTiff", "height": SIZE, "width": SIZE, "count": len(layers), "dtype": "float32"}
    with rasterio.open(path, "w", **profile, crs="EPSG:32648", transform=TRANSFORM, nodata=float("nan")) as file:
        file.write(layers.astype(np.float32))
        file.descriptions = names
        file.update_tags(**tags)
    return path


def radar(path: Path, water: npt.NDArray[np.bool_], *, day: int, seed: int) -> Path:
    about = {"SENSOR": "sentinel-1a c-sar", "LEVEL": "gamma0", "BACKSCATTER_UNIT": "power"}
    taken = f"2026-07-{day:02d}T10:00:00Z"
    return raster(path, backscatter(water, seed), ("vv", "vh"), ACQUISITIONDATETIME=taken, **about)


def thermal(path: Path, *, warmest: float, night: bool = False) -> Path:
    """Ground of about 300 K at 375 m with two hot pixels, by day with the reflectance of dry land."""
    random = np.random.default_rng(8)
    t4 = 302 + 0.6 * random.normal(size=(SIZE, SIZE))
    t11 = 297 + 0.5 * random.normal(size=(SIZE, SIZE))
    t4[100, 20:22], t11[100, 20:22] = warmest, t11[100, 20:22] + 6
    layers, names = [t4, t11], ["t4", "t11"]
    for name, level in (("red", 0.12), ("nir", 0.22), ("swir2", 0.2)):
        layers.append(np.full((SIZE, SIZE), np.nan) if night else level + 0.01 * random.normal(size=(SIZE, SIZE)))
        names.append(name)
    taken = "2026-07-15T18:40:00Z" if night else "2026-07-15T05:40:00Z"
    made = raster(path, np.stack(layers), tuple(names), ACQUISITIONDATETIME=taken, SENSOR="VIIRS SNPP")
    with rasterio.open(made, "r+") as file:
        file.transform = Affine(375, 0, 600_000, 0, -375, 3_300_000)
        file.units = ("K", "K", "", "", "")
    return made


def objects(path: Path, shapes: list[shapely.Geometry], **columns: list[str]) -> Path:
    fields = tuple(feature_table.FeatureField(name=name, title_en=name, title_zh=name, kind="text") for name in columns)
    table = feature_table.FeatureTable(
        name=path.stem,
        title_en="Objects",
        title_zh="要素",
        fields=fields,
        geometry=shapes,
        columns={name: np.array(values, dtype=object) for name, values in columns.items()},
        crs="EPSG:32648",
    )
    vector.write([table], path)
    return path


@pytest.fixture
def here(
    server: object_store_server.RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[workspace.Workspace]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("TERRALIMB_HOME", str(home))
    monkeypatch.setenv("TERRALIMB_S3_ENDPOINT_URL", server.endpoint_url)
    monkeypatch.setenv("TERRALIMB_S3_CREDENTIALS_FILE", str(server.credentials_file))
    monkeypatch.setenv("TERRALIMB_BUCKET_PREFIX", f"e{abs(hash(str(tmp_path))) % 10**8}-")
    settings.current.cache_clear()
    chosen = settings.current()
    database.upgrade(chosen.resolved_database_url())
    made = workspace.open_workspace(chosen)
    for name in settings.BUCKETS:
        made.store.create_bucket(chosen.bucket(name))
    yield made
    settings.current.cache_clear()


def supply(here: workspace.Workspace, folder: Path) -> None:
    """Terrain, usual water of July, two districts that share the scene, and settlements from the river uphill."""
    terrain = np.stack([200 + 0.15 * DISTANCE, np.ones((SIZE, SIZE)), np.maximum(DISTANCE - 12, 0) * 0.15])
    readings = folder / "gauges.csv"
    readings.write_text(GAUGES)
    files = {
        "gauge-readings": readings,
        "terrain": raster(
            folder / "terrain.tif", terrain, ("elevation", "slope", "hand"), VERTICAL_DATUM="national_1985"
        ),
        "reference-water": raster(folder / "usual.tif", (0.95 * RIVER + 0.01)[None], ("water",), MONTH="7"),
        "districts": objects(
            folder / "districts.gpkg",
            [shapely.box(590_000, 3_260_000, 601_200, 3_280_000), shapely.box(601_200, 3_260_000, 610_000, 3_280_000)],
            adcode=["500112", "500101"],
        ),
        "assets": objects(
            folder / "assets.gpkg",
            [shapely.Point(600_605, 3_270_000 - 10 * row - 5) for row in (95, 120, 150, 160, 200)],
            id=["flooded", "in the river", "near", "not far", "far"],
            kind=["settlement"] * 5,
        ),
    }
    second = objects(
        folder / "more.gpkg", [shapely.Point(600_605, 3_269_995)], id=["of a second file"], kind=["settlement"]
    )
    more = folder / "more.csv"
    more.write_text(GAUGES.replace("agreeing", "of a second table"))
    for kind, path in [*files.items(), ("assets", second), ("gauge-readings", more)]:
        key = archive.landing_key("landed_auxiliary", kind, path.name)
        here.store.put_new(here.settings.bucket("landing"), key, path, media_type="application/octet-stream")
    landing.register(here, kind="landed_auxiliary")
    stage = chain.stage("ingest_auxiliary")
    outcomes = execution.run_units(stage, execution.due_units(stage, here.ledger), here)
    assert [outcome.state for outcome in outcomes] == ["done"] * 7


def ask(here: workspace.Workspace, *products: str, since: str = "2026-07-10") -> emergency_run.Reply:
    asked = emergency.request(bbox=(106.0, 29.4, 106.2, 29.7), since=since, products=products)
    return emergency_run.answer(asked, here, lambda _text: None)


def document(here: workspace.Workspace, kind: str) -> package_document.PackageDocument:
    return package_document.from_json(here.read(here.ledger.granules([kind])[0]))


def test_a_flood_is_mapped_published_and_alerted_by_district(here: workspace.Workspace, tmp_path: Path) -> None:
    supply(here, tmp_path)
    before, after = radar(tmp_path / "a.tif", RIVER, day=3, seed=1), radar(tmp_path / "b.tif", FLOODED, day=15, seed=2)
    emergency_run.land([before, after], here)
    reply = ask(here, "flood")
    assert reply.succeeded, reply
    (answer,) = reply.answers
    item = here.catalog.item(answer.item or "")
    assert item is not None
    assets = {
        "data.tif",
        "uncertainty.tif",
        "qa.tif",
        "objects.gpkg",
        "extent.geojson",
        "brief_zh.html",
        "quality.json",
    }
    assert assets <= set(item.item["assets"])
    made = document(here, "sector_product")
    held = {name: here.read_asset(file.key, file.sha256) for name, file in made.files.items()}
    with rasterio.MemoryFile(held["data.tif"]) as memory, memory.open() as data:
        classes = data.read(1)
    flood = FLOODED & ~RIVER
    assert ((classes == 2) & flood).sum() / ((classes == 2) | flood).sum() > 0.9
    assert (classes[RIVER] == 1).mean() > 0.9
    districts = {zone["code"]: zone for zone in json.loads(held["statistics.json"])["districts"]}
    assert set(districts) == {"500112", "500101"}
    assert districts["500112"]["name_zh"] == "渝北区"
    (tmp_path / "objects.gpkg").write_bytes(held["objects.gpkg"])
    about, _, _, columns = pyogrio.raw.read(tmp_path / "objects.gpkg", layer="exposed_assets")
    states = dict(
        zip(
            columns[list(about["fields"]).index("asset_id")], columns[list(about["fields"]).index("state")], strict=True
        )
    )
    told = [states[name] for name in ("flooded", "near", "not far", "far", "of a second file")]
    assert told == ["exposed", "exposed", "near", "clear", "clear"]
    # Usual water is no flood; its shore may lie within the near distance.
    assert states["in the river"] in {"clear", "near"}
    about, _, _, columns = pyogrio.raw.read(tmp_path / "objects.gpkg", layer=_gauge_layer(tmp_path / "objects.gpkg"))
    gauges = dict(zip(about["fields"], columns, strict=True))
    verdicts = dict(zip(gauges["station"], gauges["verdict"], strict=True))
    assert verdicts["agreeing"] == "agrees"
    assert verdicts["of a second table"] == "agrees"
    assert verdicts["of another zero"] == "other datum"
    alerts = [package_document.from_json(here.read(granule)) for granule in here.ledger.granules(["alert"])]
    assert {f"alert-flood-extent-class_area_km2-{code}" for code in districts} <= set(answer.alerts)
    record = ElementTree.fromstring(here.read_asset(*_file(alerts[0], "alert.cap.xml")))  # noqa: S314  our own
    assert record.findtext(f"{CAP}status") == "Exercise"
    assert {info.findtext(f"{CAP}language") for info in record.findall(f"{CAP}info")} == {"zh-CN", "en-US"}
    for one in alerts:
        assert here.catalog.item(one.item_id) is not None


@pytest.mark.parametrize("night", [False, True])
def test_a_thermal_scene_gives_fires_by_day_and_by_night(
    here: workspace.Workspace, tmp_path: Path, night: bool
) -> None:
    emergency_run.land([thermal(tmp_path / "heat.tif", warmest=355.0, night=night)], here)
    reply = ask(here, "fire")
    assert reply.succeeded, reply
    (answer,) = reply.answers
    assert here.catalog.item(answer.item or "") is not None
    made = document(here, "sector_product")
    held = {name: here.read_asset(file.key, file.sha256) for name, file in made.files.items()}
    (fire,) = json.loads(held["active_fire.geojson"])["features"]
    assert fire["properties"]["pixels"] == 2
    assert fire["properties"]["sensor"] == "viirs"
    assert fire["properties"]["frp_mw"] > 1
    assert fire["properties"]["daynight"] == ("N" if night else "D")
    assert len(answer.alerts) == 1
    assert json.loads(held["quality.json"])["facts"]["fires"] == 1


def test_roads_that_the_flood_reaches_are_a_product_and_without_roads_it_says_so(
    here: workspace.Workspace, tmp_path: Path
) -> None:
    supply(here, tmp_path)
    before, after = radar(tmp_path / "a.tif", RIVER, day=3, seed=1), radar(tmp_path / "b.tif", FLOODED, day=15, seed=2)
    emergency_run.land([before, after], here)
    (refused,) = ask(here, "segments").answers
    assert refused.state == "not_applicable"
    assert "segments" in (refused.reason or "")
    lines = [
        shapely.LineString([(600_100, 3_270_000 - 10 * row - 5), (602_300, 3_270_000 - 10 * row - 5)])
        for row in (95, 220)
    ]
    path = objects(tmp_path / "roads.gpkg", lines, id=["wet", "dry"], kind=["road"] * 2)
    key = archive.landing_key("landed_auxiliary", "segments", path.name)
    here.store.put_new(here.settings.bucket("landing"), key, path, media_type="application/octet-stream")
    landing.register(here, kind="landed_auxiliary")
    stage = chain.stage("ingest_auxiliary")
    execution.run_units(stage, execution.due_units(stage, here.ledger), here)
    reply = ask(here, "segments", since="2026-07-09")
    assert reply.succeeded, reply
    made = document(here, "sector_product")
    held = {name: here.read_asset(file.key, file.sha256) for name, file in made.files.items()}
    told = {
        one["properties"]["segment_id"]: one["properties"]
        for one in json.loads(held["exposed_segments.geojson"])["features"]
    }
    assert {name: one["state"] for name, one in told.items()} == {"wet": "exposed", "dry": "clear"}
    assert told["wet"]["exposed_share_low"] > 0.5
    assert told["wet"]["slope_state"] == "not_assessed"
    districts = json.loads(held["statistics.json"])["districts"]
    assert {zone["code"] for zone in districts} == {"500112", "500101"}


def _gauge_layer(path: Path) -> str:
    (name,) = [str(name) for name, _ in pyogrio.list_layers(path) if "gauge" in str(name)]
    return name


def _file(made: package_document.PackageDocument, name: str) -> tuple[str, str]:
    return made.files[name].key, made.files[name].sha256


def test_the_same_request_again_makes_nothing_and_a_later_scene_is_answered(
    here: workspace.Workspace, tmp_path: Path
) -> None:
    supply(here, tmp_path)
    emergency_run.land([radar(tmp_path / "b.tif", FLOODED, day=15, seed=2)], here)
    first = ask(here, "flood")
    sequence = here.ledger.last_sequence()
    assert ask(here, "flood").request == first.request
    assert here.ledger.last_sequence() == sequence
    emergency_run.land([radar(tmp_path / "c.tif", FLOODED, day=16, seed=3)], here)
    landing.register(here, kind="landed_scene")
    survey, respond = chain.stage("survey_scenes"), chain.stage("respond_emergency")
    execution.run_units(survey, execution.due_units(survey, here.ledger), here)
    due = execution.due_units(respond, here.ledger)
    assert [unit.variant for unit in due] == [f"{first.request}.flood-extent"]
    # The same flood a day later is no news: no second alert.
    (outcome,) = execution.run_units(respond, due, here)
    assert outcome.state == "done"
    assert outcome.report["alerts"] == []


def test_scenes_before_elsewhere_and_unreadable_make_nothing_and_are_told(
    here: workspace.Workspace, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"no scene")
    emergency_run.land([radar(tmp_path / "a.tif", RIVER, day=3, seed=1), broken], here)
    reply = ask(here, "flood")
    assert not reply.succeeded
    assert reply.answers == ()
    assert reply.missing == ("flood-extent",)
    ((key, reason),) = reply.unreadable
    assert key.endswith("broken.tif")
    assert "broken.tif" in reason
    away = emergency.request(bbox=(110.0, 31.0, 110.1, 31.1), since="2026-07-01", products=["flood"])
    assert emergency_run.answer(away, here, lambda _text: None).answers == ()


def test_a_wrong_line_in_the_thresholds_holds_up_no_product(
    here: workspace.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "alerts.yaml"
    wrong.write_text('version: "1"\nrules: [{product: floods}]\n')
    monkeypatch.setenv("TERRALIMB_ALERT_THRESHOLDS", str(wrong))
    settings.current.cache_clear()
    emergency_run.land([radar(tmp_path / "b.tif", FLOODED, day=15, seed=2)], here)
    reply = ask(here, "flood")
    (answer,) = reply.answers
    assert answer.state == "partial"
    assert answer.item is not None
    assert "alerts.yaml: rule 1" in (answer.reason or "")


def test_command_answers_and_its_status_says_whether_all_was_made(here: workspace.Workspace, tmp_path: Path) -> None:
    scene = radar(tmp_path / "b.tif", FLOODED, day=15, seed=2)
    box = ["emergency", "run", "--bbox", "106.0,29.4,106.2,29.7", "--since", "2026-07-10", "--json"]
    done = CliRunner().invoke(cli.app, [*box, "--land", str(scene)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout[done.stdout.index("{") :])
    assert told["missing"] == ["active-fire"]
    asked = CliRunner().invoke(cli.app, [*box, "--product", "flood,fire"])
    assert asked.exit_code == 1
    for wrong in (["--bbox", "1,2,3"], ["--since", "yesterday"], ["--product", "storm"], ["--bbox", "a,b,c,d"]):
        refused = CliRunner().invoke(cli.app, [*box, *wrong])
        assert refused.exit_code == 2, wrong
