"""The calibration set in force: what ships, what an operator may put in its place, and what is refused."""

import numpy as np
import pytest
import xarray as xr
import yaml

from infra.imagery import imager_calibration
from processors.imagery import detector_calibration, radiometry
from processors.quality import BadInputError


@pytest.fixture
def stated():
    return yaml.safe_load(imager_calibration.DEFAULT.read_text())


def written(folder, stated):
    path = folder / "set.yaml"
    path.write_text(yaml.safe_dump(stated))
    return path


def test_the_set_that_ships_is_the_design():
    shipped = imager_calibration.load()
    assert shipped.radiometric == radiometry.RadiometricCalibration()
    assert shipped.dark.shape == (5, 2048)
    assert shipped.relative_uncertainty == 0.03
    assert not shipped.bad.any()


def test_a_set_of_detectors_comes_from_the_file_that_is_named(tmp_path, stated):
    made = detector_calibration.uniform(radiometry.RadiometricCalibration(version="orbit-7"), pixels=32)
    made.dark[2, 5] = 71.0
    detector_calibration.dataset_from_calibration(made).to_netcdf(tmp_path / "orbit-7.nc")
    path = written(tmp_path, stated | {"detectors": "orbit-7.nc", "version": "orbit-7"})
    assert imager_calibration.load(path).dark[2, 5] == 71.0
    path = written(tmp_path, stated | {"detectors": "orbit-7.nc"})
    with pytest.raises(BadInputError, match="wanted 'design-1'") as refusal:
        imager_calibration.load(path)
    assert refusal.value.cause == "calibration_version"


def test_validity_is_read(tmp_path, stated):
    path = written(tmp_path, stated | {"valid_from": "2024-01-01", "valid_until": "2024-06-01"})
    made = imager_calibration.load(path, pixels=8)
    assert (made.valid_from, made.valid_until) == (np.datetime64("2024-01-01"), np.datetime64("2024-06-01"))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"layout": 9}, "calibration_version"),
        ({"detectors": "absent.nc"}, "calibration_missing"),
        ({"bands": {"blue": {}}}, "calibration_missing"),
        ({"bands": None}, "calibration_missing"),
        ({"relative_uncertainty": None}, "calibration_missing"),
    ],
)
def test_a_set_that_lacks_something_is_refused(tmp_path, stated, change, cause):
    with pytest.raises(BadInputError) as refusal:
        imager_calibration.load(written(tmp_path, stated | change))
    assert refusal.value.cause == cause


def test_files_hold_plain_arrays(tmp_path):
    made = detector_calibration.dataset_from_calibration(detector_calibration.uniform(pixels=16))
    made.to_netcdf(tmp_path / "set.nc")
    with xr.open_dataset(tmp_path / "set.nc") as dataset:
        assert dataset["relative_gain"].dims == ("band", "pixel")
