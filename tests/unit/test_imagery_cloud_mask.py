"""Cloud mask on spectra that are known and on simulated strips."""

import numpy as np
import pytest
import xarray as xr

from processors.imagery import cloud_mask, geolocation, grid, strip_scene
from processors.quality import BadInputError
from processors.simulation import scenes

BANDS = ["blue", "green", "red", "nir", "swir1"]
SPECTRA = {
    "field": [0.05, 0.08, 0.05, 0.40, 0.20],
    "soil": [0.08, 0.11, 0.14, 0.22, 0.30],
    "cloud": [0.60, 0.60, 0.59, 0.62, 0.50],
    "snow": [0.80, 0.80, 0.78, 0.70, 0.08],
    "water": [0.06, 0.07, 0.05, 0.02, 0.01],
    "roof": [0.26, 0.26, 0.26, 0.28, 0.25],
}


def scene_of(names: list[list[str]], **coords: list[float]) -> xr.Dataset:
    """A stack whose dates are uniform blocks of 20 pixels a side beside each other."""
    dates = [np.repeat(np.array([SPECTRA[name] for name in row]), 20, axis=0) for row in names]
    values = np.stack([np.repeat(date.T[:, None], 20, axis=1) for date in dates]).astype(np.float32)
    times = np.datetime64("2024-05-01", "ns") + np.arange(len(names)) * np.timedelta64(10, "D")
    scene = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values)}, coords={"time": times, "band": BANDS}
    ).assign_coords({name: ("time", value) for name, value in coords.items()})
    width = values.shape[-1]
    return grid.assign(scene, grid.covering((0, 0, 250 * width, 5000), crs="EPSG:32648", resolution=250))


def centers(mask: xr.Dataset, date: int = 0) -> list[int]:
    return mask["cloud_class"].values[date][10, 10::20].tolist()


def test_known_spectra_get_their_class():
    mask = cloud_mask.classify(scene_of([["field", "cloud", "field", "snow", "soil", "water", "field"]]))
    assert centers(mask) == [0, 2, 0, 4, 0, 5, 0]
    assert float(mask["cloud_probability"].values[0][10, 30]) > 0.9
    assert float(mask["cloud_probability"].values[0][10, 90]) < 0.2


def test_missing_values_are_no_data_and_have_no_probability():
    scene = scene_of([["field", "field"]])
    scene["reflectance"][0, :, :, :20] = np.nan
    mask = cloud_mask.classify(scene)
    assert (mask["cloud_class"].values[0][:, :20] == 255).all()
    assert np.isnan(mask["cloud_probability"].values[0][:, :20]).all()
    assert (mask["cloud_class"].values[0][:, 20:] == 0).all()


def test_pixel_that_lost_one_band_under_a_cloud_is_still_cloud():
    scene = scene_of([["field", "cloud"]])
    scene["reflectance"][0, 3, 8:11, :] = np.nan
    assert cloud_mask.classify(scene)["cloud_class"].values[0][9, [10, 30]].tolist() == [0, 2]


def test_bright_roof_seen_on_all_dates_is_no_cloud():
    stack = scene_of([["field", "roof"]] * 5)
    assert centers(cloud_mask.classify(stack.isel(time=[0])))[1] in (1, 2)
    assert all(centers(cloud_mask.classify(stack), date)[1] == 0 for date in range(5))


def test_bright_roof_known_from_a_clear_reference_is_no_cloud():
    scene = scene_of([["field", "roof", "cloud"]])
    reference = scene_of([["field", "roof", "field"]])["reflectance"].isel(time=0)
    assert centers(cloud_mask.classify(scene, reference=reference)) == [0, 0, 2]


def test_sudden_haze_is_found_by_comparison_with_other_dates():
    stack = scene_of([["field"]] * 3)
    stack["reflectance"][1, :3] += 0.07
    alone = cloud_mask.classify(stack.isel(time=[1]))
    assert centers(alone) == [0]
    assert centers(cloud_mask.classify(stack), 1)[0] in (1, 2)


def test_shadow_lies_away_from_the_sun():
    """Sun in the east (azimuth 90 degrees), so the shadow falls on the western side of the cloud."""
    field = np.array(SPECTRA["field"], dtype=np.float32)
    values = np.broadcast_to(field[:, None, None], (5, 80, 120)).copy()
    values[:, 35:45, 60:70] = np.array(SPECTRA["cloud"])[:, None, None]
    for start in (48, 82):  # the same dark patch on both sides
        values[:, 35:45, start : start + 8] *= 0.5
    scene = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values[None])},
        coords={"time": [np.datetime64("2024-05-01", "ns")], "band": BANDS},
    ).assign_coords(sun_zenith=("time", [45.0]), sun_azimuth=("time", [90.0]))
    scene = grid.assign(scene, grid.covering((0, 0, 120 * 250, 80 * 250), crs="EPSG:32648", resolution=250))
    classes = cloud_mask.classify(scene)["cloud_class"].values[0]
    assert (classes[38:42, 50:54] == 3).all()
    assert not (classes[:, 72:] == 3).any()


def test_scene_without_near_infrared_is_refused():
    with pytest.raises(BadInputError) as refusal:
        cloud_mask.classify(scene_of([["field"]]).isel(band=slice(0, 3)))
    assert refusal.value.cause == "band_missing"


@pytest.mark.parametrize("seed", [1, 6])
def test_simulated_clouds_are_found_and_clear_land_is_kept(seed):
    strip = scenes.simulate_strip(seed=seed, lines=100)
    scene = strip_scene.scene_from_strip(strip.strip, source="test")
    geobox = grid.geobox_of(scene)
    edges = {name: strip.strip[name].values for name in ("edge_longitude", "edge_latitude")}
    position = geolocation.locate(geolocation.grid_vectors(geobox).reshape(-1, 3), **edges, pixels=scenes.PIXELS)
    layers = np.stack([strip.cloud, strip.shadow]).astype(np.float32)
    cloud, shadow = geolocation.resample(layers, position, shape=geobox.shape.yx, nearest=True).values > 0
    classes = cloud_mask.classify(scene)["cloud_class"].values[0]
    found, clear = np.isin(classes, (1, 2, 3)), scene["footprint"].values[0] & ~cloud & ~shadow
    assert found[cloud].mean() > 0.85
    assert found[shadow].mean() > 0.6
    assert found[clear].mean() < 0.10


def test_a_scene_clouded_on_every_date_has_no_clear_look() -> None:
    """Cloud that never leaves is no bright surface: nothing usually shows so much blue."""
    landscape = scenes.simulate_landscape(seed=3)
    times = np.array([f"2024-{month:02d}-15T03:00:00" for month in range(3, 8)], dtype="datetime64[ns]")
    one = scenes.simulate_external_scene(landscape, seed=3, time=times[0], bounds=(600e3, 3200e3, 640e3, 3240e3))
    year = xr.concat([one.assign_coords(time=[time]) for time in times], dim="time", data_vars="minimal")
    year["reflectance"] = xr.full_like(year["reflectance"], 0.9)
    classes = cloud_mask.classify(year)["cloud_class"].values
    assert np.isin(classes, (cloud_mask.CLOUD, cloud_mask.THIN_CLOUD)).all()
