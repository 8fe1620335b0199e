"""Files of a fused scene: what the arrays hold stands in the rasters, and the report counts what was filled."""

import json

import numpy as np
import pytest
import rasterio
import xarray as xr
from rio_cogeo import cogeo

from processors.imagery import grid, qa
from products import fused_scene

GEOBOX = grid.covering((600_000.0, 3_270_000.0, 600_900.0, 3_270_700.0), crs="EPSG:32648", resolution=10.0)


def fused(bands=("blue", "green", "red", "nir"), *, days=("2024-05-15", "2024-06-14")) -> xr.Dataset:
    rng = np.random.default_rng(9)
    shape = (len(days), len(bands), *GEOBOX.shape)
    values = rng.uniform(-0.01, 0.5, shape).astype(np.float32)
    values[1, :, :5] = np.nan
    observed = np.ones((len(days), *GEOBOX.shape), dtype=bool)
    observed[0, :, :30] = False
    observed[1, :5] = False
    bits = np.where(observed, 0, qa.QaBit.FILLED).astype(np.uint16)
    bits[1, :5] = qa.QaBit.NODATA
    source = np.where(observed, qa.Source.OBSERVED, qa.Source.TEMPORAL_REGRESSION).astype(np.uint8)
    axes = ("time", "y", "x")
    dataset = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values),
            "reflectance_sigma": (("time", "band", "y", "x"), np.full(shape, 0.012, dtype=np.float32)),
            "qa": (axes, bits),
            "source": (axes, source),
            "observed": (axes, observed),
        },
        coords={"time": np.array(days, dtype="datetime64[ns]"), "band": list(bands)},
        attrs={
            "area": "yubei",
            "sensor": "simulated",
            "inputs": json.dumps([{"id": "a", "sha256": "0" * 64}]),
            "insufficient_dates": json.dumps(["2024-06-14T00:00:00Z"]),
            "coregistration": json.dumps([{"time": "2024-05-15", "status": "reference"}, {"status": "unknown"}]),
        },
    )
    return grid.assign(dataset, GEOBOX)


@pytest.fixture(scope="module")
def made() -> dict[tuple[str, str], bytes]:
    return {(file.kind, file.name): file.body for file in fused_scene.files(fused())}


def test_every_date_has_its_files_and_the_fusion_one_report(made):
    dates = ("20240515", "20240614")
    kinds = ("fused_raster", "fused_quality", "fused_map")
    assert set(made) == {(kind, date) for kind in kinds for date in dates} | {
        ("fusion_report", ""),
        ("fusion_page", ""),
    }


def test_rasters_are_cloud_optimized_and_hold_the_values_to_half_a_number(made, tmp_path):
    truth = fused()
    for index, date in enumerate(("20240515", "20240614")):
        path = tmp_path / f"{date}.tif"
        path.write_bytes(made["fused_raster", date])
        assert cogeo.cog_validate(path, quiet=True)[0]
        with rasterio.open(path) as raster:
            values = raster.read(masked=True) * fused_scene.SCALE
            assert raster.descriptions == tuple(
                f"{n}{e}" for e in ("", "_sigma") for n in ("blue", "green", "red", "nir")
            )
            assert set(raster.scales) == {fused_scene.SCALE}
            assert raster.transform.almost_equals(GEOBOX.transform)
        wanted = truth["reflectance"].values[index]
        assert np.array_equal(values.mask[:4], np.isnan(wanted))
        assert np.abs(values[:4].filled(np.nan) - wanted)[np.isfinite(wanted)].max() <= 0.51 * fused_scene.SCALE
        assert values[4:].min() == pytest.approx(0.012)


def test_quality_raster_holds_bits_and_sources_with_their_meanings(made, tmp_path):
    path = tmp_path / "qa.tif"
    path.write_bytes(made["fused_quality", "20240515"])
    truth = fused().isel(time=0)
    with rasterio.open(path) as raster:
        assert np.array_equal(raster.read(1), truth["qa"].values)
        assert np.array_equal(raster.read(2), truth["source"].values)
        days = raster.read(3)
        assert (days[:5, 30:] == 0).all()
        assert (days[10:, :30] == 30).all()
        assert (days[:5, :30] == 65535).all()
        assert "filled" in raster.tags(1)["FLAG_MEANINGS"]
        assert "temporal_regression" in raster.tags(2)["FLAG_MEANINGS"]


def test_the_report_counts_what_was_filled_and_warns(made):
    report = json.loads(made["fusion_report", ""])
    first, second = report["dates"]
    assert first["filled"] == pytest.approx(30 / 90, abs=1e-4)
    assert first["observed"] == pytest.approx(60 / 90, abs=1e-4)
    assert second["with_data"] == pytest.approx(65 / 70, abs=1e-4)
    assert second["median_sigma"] == pytest.approx(0.012)
    assert report["status"] == "flagged"
    assert any("2024-06-14" in text for text in report["warnings"])
    assert any("1 of 2 dates" in text for text in report["warnings"])
    page = made["fusion_page", ""].decode()
    assert "33%" in page
    assert "yubei" in page


def test_dates_of_one_day_keep_their_time():
    names = {file.name for file in fused_scene.files(fused(days=("2024-05-15T03:00:00", "2024-05-15T05:00:00")))}
    assert names == {"20240515t030000", "20240515t050000", ""}


@pytest.mark.parametrize("bands", [("green", "red", "nir"), ("nir",)])
def test_pictures_are_made_of_what_bands_there_are(bands):
    maps = [file.body for file in fused_scene.files(fused(bands)) if file.kind == "fused_map"]
    assert all(body.startswith(b"\x89PNG") for body in maps)


def test_equal_scenes_give_equal_files(made):
    again = {(file.kind, file.name): file.body for file in fused_scene.files(fused())}
    assert again == made
