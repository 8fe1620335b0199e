"""Fusion of real Landsat and MODIS images: of an alpine valley in spring, and of land surface temperature."""

import numpy as np
import pytest
import rasterio

from infra.imagery import spatiotemporal

pytestmark = pytest.mark.oracle

LANDSAT = {68: "filled_2020068_191-28.tif_filled_kranj.tif", 93: "filled_2020093_190-28.tif_filled_kranj.tif"}


def stored(path):
    with rasterio.open(path) as dataset:
        return dataset.read(masked=True).astype(np.float64).filled(np.nan)


def rmse(image, truth):
    return np.sqrt(np.nanmean(np.square(image - truth), axis=(1, 2)))


def modis(folder, day):
    return folder / f"filled_2020{day:03d}_18-04_kranj.tif"


def surface_temperature(folder, sensor, date):
    return folder / f"{sensor}_LST_cloudrm_2016{date}.tif"


@pytest.mark.parametrize(("start", "goal"), [(68, 93), (93, 68)])
def test_reflectance_of_another_day_is_not_worse_than_the_best_trivial_prediction(shared_data, tmp_path, start, goal):
    """Landsat holds reflectance x 10000 as floating point, MODIS reflectance resampled to the Landsat grid."""
    folder = shared_data("imagery") / "kranj"
    fine, coarse = folder / LANDSAT[start], modis(folder, start)
    report = spatiotemporal.run([fine], [coarse], modis(folder, goal), tmp_path / "out.tif")
    made, truth = stored(tmp_path / "out.tif"), stored(folder / LANDSAT[goal])
    before = stored(fine)
    persistence = rmse(before, truth)
    delta = rmse(before + 1e4 * (stored(modis(folder, goal)) - stored(coarse)), truth)
    errors = rmse(made[:6], truth)
    assert (errors <= 1.02 * np.minimum(persistence, delta)).sum() >= 5
    assert errors.mean() < 0.96 * min(persistence.mean(), delta.mean())
    assert any("times 10000" in note for note in report["warnings"])


def test_day_between_two_real_images_is_better_than_either_of_them(shared_data, tmp_path):
    """No MODIS image of day 100 is public: the last one stands for it, which makes the task harder."""
    folder = shared_data("imagery") / "kranj"
    last = folder / "filled_2020100_191-28.tif_filled_kranj.tif"
    fine, coarse = [folder / LANDSAT[68], last], [modis(folder, 68), modis(folder, 93)]
    spatiotemporal.run(fine, coarse, modis(folder, 91), tmp_path / "out.tif")
    errors = rmse(stored(tmp_path / "out.tif")[:6], stored(folder / LANDSAT[93]))
    single = [rmse(stored(path), stored(folder / LANDSAT[93])).mean() for path in fine]
    assert errors.mean() < min(single)


@pytest.mark.parametrize(("start", "goal"), [("0205", "0308"), ("0308", "0205")])
def test_surface_temperature_is_better_than_persistence_and_coarse_delta(shared_data, tmp_path, start, goal):
    folder = shared_data("imagery") / "ubestarfm"
    fine, coarse = surface_temperature(folder, "Landsat", start), surface_temperature(folder, "MOD11A1", start)
    target = surface_temperature(folder, "MOD11A1", goal)
    report = spatiotemporal.run([fine], [coarse], target, tmp_path / "out.tif")
    made, truth = stored(tmp_path / "out.tif"), stored(surface_temperature(folder, "Landsat", goal))
    persistence, delta = stored(fine), stored(fine) + stored(target) - stored(coarse)
    assert rmse(made[:1], truth) < 0.99 * min(rmse(persistence, truth), rmse(delta, truth))
    assert report["coarse_pixel"] == [10.0, 10.0]
    assert np.isnan(made[0]).sum() == np.isnan(persistence).sum()
