"""The commands of the imagery: what they write, what their reports say, how they end."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from infra.cli import app
from infra.imagery import simulation

SHARES = "blue=1,green=2,red=3,nir=4"


def called(*words: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["imagery", *(str(word) for word in words)])
    assert result.exit_code == status, (result.output, result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for kind, size in (("sensor", 160), ("pair", 240), ("clouds", 160), ("change", 96)):
        simulation.run(kind, folder / kind, 5, size=size)
    return folder


def bands(path: Path) -> tuple[str, ...]:
    with rasterio.open(path) as raster:
        return raster.descriptions


def report_of(path: Path) -> dict:
    page = path.with_suffix(".html").read_text()
    assert "data:image/png;base64," in page
    return json.loads(path.read_text())


def test_simulate_writes_the_truth_beside_the_scene(tmp_path):
    document = json.loads(
        called("simulate", "--kind", "clouds", "--out", tmp_path, "--size", 80, "--seed", 2, "--json")
    )
    assert document == json.loads((tmp_path / "truth.json").read_text())
    assert (tmp_path / "scene.tif").exists()


def test_pansharpen_writes_sigma_bands_and_a_report_with_scores(made, tmp_path):
    out, report = tmp_path / "o.tif", tmp_path / "r.json"
    words = ("--ms", made / "sensor" / "ms.tif", "--pan", made / "sensor" / "pan.tif", "--out", out, "--report", report)
    text = called("pansharpen", *words)
    assert bands(out) == ("blue", "green", "red", "nir", "blue_sigma", "green_sigma", "red_sigma", "nir_sigma")
    document = report_of(report)
    assert document["reduced_scale"]
    assert len(document["inputs"]["ms"]["sha256"]) == 64
    assert "pictures" in text
    called("pansharpen", *words[:4], "--out", tmp_path / "p.tif", "--plain", "--no-sigma")
    assert bands(tmp_path / "p.tif") == ("blue", "green", "red", "nir")


def test_coregister_reports_the_shift_of_the_content(made, tmp_path):
    pair, report = made / "pair", tmp_path / "r.json"
    words = ("--reference", pair / "reference.tif", "--target", pair / "target.tif", "--out", tmp_path / "o.tif")
    called("coregister", *words, "--report", report)
    document, truth = report_of(report), json.loads((pair / "truth.json").read_text())
    down, right = truth["parameters"]["shift"]
    assert document["status"] == "ok"
    assert document["shift_x"] == pytest.approx(right, abs=0.1)
    assert document["shift_y"] == pytest.approx(down, abs=0.1)
    assert {"n_tie_points", "rmse", "ce90"} <= set(document)


def test_coregister_refuses_another_place_and_ends_with_one(made, tmp_path):
    simulation.run("pair", tmp_path / "other", 9, size=240)
    document = json.loads(
        called(
            "coregister", "--reference", made / "pair" / "reference.tif", "--target", tmp_path / "other" / "target.tif",
            "--out", tmp_path / "o.tif", "--json", status=1,
        )
    )  # fmt: skip
    assert document["status"] == "refused"
    assert document["reason"]
    with rasterio.open(tmp_path / "other" / "target.tif") as given, rasterio.open(tmp_path / "o.tif") as left:
        assert np.array_equal(given.read(1), left.read(1))


def test_fuse_time_predicts_the_wanted_date(made, tmp_path):
    folder, report = made / "change", tmp_path / "r.json"
    fine, coarse = sorted(folder.glob("fine_*.tif")), sorted(folder.glob("coarse_*.tif"))
    called(
        "fuse-time", "--fine", fine[0], "--coarse", coarse[0], "--fine", fine[2], "--coarse", coarse[2],
        "--coarse-target", coarse[1], "--out", tmp_path / "o.tif", "--report", report,
    )  # fmt: skip
    names = bands(fine[0])
    assert bands(tmp_path / "o.tif") == (*names, *(f"{name}_sigma" for name in names))
    assert report_of(report)["status"] in {"ok", "flagged"}


def test_fuse_time_wants_pairs(made, tmp_path):
    folder = made / "change"
    fine, coarse = sorted(folder.glob("fine_*.tif")), sorted(folder.glob("coarse_*.tif"))
    called(
        "fuse-time", "--fine", fine[0], "--fine", fine[2], "--coarse", coarse[0], "--coarse-target", coarse[1],
        "--out", tmp_path / "o.tif", status=2,
    )  # fmt: skip


def test_cloud_mask_writes_classes_and_probability(made, tmp_path):
    report = tmp_path / "r.json"
    called(
        "cloud-mask", "--scene", made / "clouds" / "scene.tif", "--bands", SHARES, "--sun-azimuth", 140,
        "--sun-elevation", 50, "--dem", made / "clouds" / "dem.tif", "--out", tmp_path / "m.tif", "--report", report,
    )  # fmt: skip
    with rasterio.open(tmp_path / "m.tif") as raster:
        classes, probability = raster.read(1), raster.read(2) * raster.scales[1]
    assert set(np.unique(classes)) <= {0, 1, 2, 3, 4, 5, 255}
    assert probability[classes == 2].mean() > 0.5 > probability[classes == 0].mean()
    report_of(report)


@pytest.mark.parametrize("words", ["blue=1,green=2,red=3", "blue=1,green=2,red=3,nir", "blue=0,green=2,red=3,nir=4"])
def test_cloud_mask_wants_its_bands_by_name(made, tmp_path, words):
    scene = made / "clouds" / "scene.tif"
    called("cloud-mask", "--scene", scene, "--bands", words, "--out", tmp_path / "m.tif", status=2)


def dated(path: Path, values: np.ndarray) -> Path:
    profile = {"driver": "GTiff", "dtype": "float32", "crs": "EPSG:32648", "nodata": np.nan}
    transform = rasterio.Affine(10.0, 0.0, 600_000.0, 0.0, -10.0, 3_300_000.0)
    with rasterio.open(path, "w", width=40, height=40, count=2, transform=transform, **profile) as raster:
        raster.write(values.astype(np.float32))
        raster.descriptions = ("red", "nir")
    return path


def series(folder: Path) -> list[Path]:
    rng = np.random.default_rng(2)
    land = rng.uniform(0.05, 0.3, (2, 40, 40))
    folder.mkdir()
    found = []
    for month in range(1, 7):
        values = land * (1.0 + 0.1 * month) + rng.normal(0.0, 0.002, land.shape)
        if month == 3:
            values[:, :20] = np.nan
        found.append(dated(folder / f"s_2024-{month:02d}-15.tif", values))
    return found


def test_fill_gaps_fills_every_date_and_reports(tmp_path):
    series(tmp_path / "in")
    called("fill-gaps", "--series", tmp_path / "in", "--out", tmp_path / "out")
    with rasterio.open(tmp_path / "out" / "s_2024-03-15.tif") as raster:
        assert raster.descriptions == ("red", "nir", "red_sigma", "nir_sigma")
        assert np.isfinite(raster.read()).all()
    document = report_of(tmp_path / "out" / "report.json")
    assert next(row for row in document["dates"] if row["stem"] == "s_2024-03-15")["filled"] == 800


def test_composite_takes_files_in_either_way(tmp_path):
    paths = series(tmp_path / "in")
    report = tmp_path / "r.json"
    called("composite", "--scenes", paths[0], *paths[1:], "--out", tmp_path / "o.tif", "--report", report)
    repeated = [word for path in paths for word in ("--scenes", path)]
    called("composite", *repeated, "--out", tmp_path / "p.tif")
    with rasterio.open(tmp_path / "o.tif") as first, rasterio.open(tmp_path / "p.tif") as second:
        assert np.array_equal(first.read(), second.read(), equal_nan=True)
    report_of(report)


def test_reproject_brings_onto_an_aligned_grid_or_another_rasters(made, tmp_path):
    source = made / "clouds" / "scene.tif"
    called("reproject", "--source", source, "--crs", "EPSG:4545", "--resolution", 20, "--out", tmp_path / "o.tif")
    with rasterio.open(tmp_path / "o.tif") as raster:
        assert raster.crs.to_epsg() == 4545
        assert raster.transform.c % 20 == 0
        assert raster.transform.f % 20 == 0
    called("reproject", "--source", tmp_path / "o.tif", "--like", source, "--out", tmp_path / "p.tif")
    with rasterio.open(source) as given, rasterio.open(tmp_path / "p.tif") as back:
        assert back.transform.almost_equals(given.transform)
        assert back.shape == given.shape
    words = ("reproject", "--source", source, "--crs", "EPSG:4545", "--out", tmp_path / "q.tif")
    called(*words, status=2)


def test_prepare_masks_registers_sharpens_and_reprojects_in_one_go(made, tmp_path):
    sensor, report = made / "sensor", tmp_path / "r.json"
    words = ("--ms", sensor / "ms.tif", "--pan", sensor / "pan.tif", "--reference", sensor / "pan.tif")
    sun = ("--sun-azimuth", 140, "--sun-elevation", 50)
    called("prepare", *words, "--bands", SHARES, *sun, "--out", tmp_path / "o.tif", "--report", report)
    document = report_of(report)
    assert document["coregistration"]["status"] == "ok"
    assert abs(document["coregistration"]["shift_x"]) < 0.05
    called("pansharpen", *words[:4], "--out", tmp_path / "s.tif")
    with rasterio.open(tmp_path / "s.tif") as direct, rasterio.open(tmp_path / "o.tif") as prepared:
        inner = np.s_[:, 8:-8, 8:-8]
        difference = direct.read()[inner].astype(float) - prepared.read()[inner]
        assert np.abs(difference).mean() < 0.02 * direct.read()[inner].mean()
    with rasterio.open(tmp_path / "o_qa.tif") as raster:
        assert raster.dtypes == ("uint16",)


def test_prepare_says_when_it_could_not_register(made, tmp_path):
    sensor = made / "sensor"
    simulation.run("sensor", tmp_path / "other", 99, size=160)
    words = ("--ms", sensor / "ms.tif", "--pan", sensor / "pan.tif", "--reference", tmp_path / "other" / "pan.tif")
    document = json.loads(called("prepare", *words, "--out", tmp_path / "o.tif", "--json"))
    assert document["status"] == "flagged"
    assert any("co-registration refused" in text for text in document["warnings"])
    with rasterio.open(tmp_path / "o_qa.tif") as raster:
        assert (raster.read(1) & 256).any()


def test_convert_reads_a_plain_raster_whose_bands_are_named(made, tmp_path):
    source = made / "clouds" / "scene.tif"
    called("convert", source, "--bands", "red=3,nir=4", "--out", tmp_path / "o.tif")
    assert bands(tmp_path / "o.tif") == ("red", "nir")
    with rasterio.open(source) as given, rasterio.open(tmp_path / "o.tif") as taken:
        assert np.array_equal(given.read([3, 4]), taken.read())
        assert taken.tags()["ACQUISITIONDATETIME"]


def test_search_wants_a_box():
    words = (
        "search",
        "--api",
        "http://127.0.0.1:1",
        "--collection",
        "c",
        "--since",
        "2024-01-01",
        "--until",
        "2024-02-01",
    )
    called(*words, "--bbox", "1,2,3", status=2)
    called(*words, "--bbox", "1,5,3,2", status=2)
