"""Seconds hidden from one COSMIC-1 occultation: layers of a real atmosphere are what a bridge has to cross."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from processors.occultation import level1b
from retrieval.occultation import georeference, profile_retrieval, quality

pytestmark = pytest.mark.oracle


class Observation(NamedTuple):
    level1b: xr.Dataset
    complete: xr.Dataset


@pytest.fixture(scope="module")
def observation(shared_data: Callable[[str], Path]) -> Observation:
    path = shared_data("occultation/cosmic1_phase_to_profile") / "ropp_pp_wopt_tool.nc"
    with xr.open_dataset(path, decode_times=False) as opened:
        level = level1b.level1b_from_dataset(opened.load())
    return Observation(level, profile_retrieval.retrieve(level))


@pytest.mark.parametrize("below_line", [30e3, 0.0, -25e3, -40e3])
def test_a_hidden_second_stays_within_the_stated_uncertainty(observation: Observation, below_line: float) -> None:
    line = georeference.straight_line_heights(observation.level1b)
    time = observation.level1b["time"].to_numpy()
    kept = np.abs(time - time[np.argmin(np.abs(line - below_line))]) >= 0.5
    found = profile_retrieval.retrieve(observation.level1b.isel(time=kept))
    raised = quality.QualityFlag(int(found["quality_flag"]))
    assert raised & ~quality.QualityFlag.SUPER_REFRACTION == quality.QualityFlag.DATA_GAPS
    complete = observation.complete
    assert float(found["lowest_altitude"]) == pytest.approx(float(complete["lowest_altitude"]), abs=100.0)
    expected = np.exp(np.interp(found["altitude"], complete["altitude"], np.log(complete["refractivity"])))
    error = (found["refractivity"] - expected).to_numpy()
    layer = ((found["altitude"] > 8e3) & (found["altitude"] < 60e3)).to_numpy()
    assert np.abs(error / found["refractivity_uncertainty"].to_numpy())[layer].max() < 3.0
    core = ((found["altitude"] > 10e3) & (found["altitude"] < 30e3)).to_numpy()
    assert abs((error / expected)[core].mean()) < 5e-3
