"""Drainage of real height models: water leaves, never rises, and land stands above its channel."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio

from infra.surface import terrain, terrain_layers
from processors.imagery import drainage

pytestmark = pytest.mark.oracle

FILES = ("imagery/pysheds/dem.tif", "imagery/dem_stitcher/los_angeles_dem_geoid.tif")
STEPS = np.array([(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)])


def heights(path: Path) -> npt.NDArray[np.float32]:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1, masked=True).astype(np.float32).filled(np.nan), dtype=np.float32)


@pytest.mark.parametrize("name", FILES)
def test_hand_of_a_real_height_model_falls_to_zero_along_the_way(name: str, shared_data: Callable[[str], Path]) -> None:
    values = heights(shared_data(name))
    found = drainage.drain(values, pixel_size=(30.0, 30.0), parameters=drainage.DrainageParameters(channel_area=2.0e5))
    assert found.channel.any()
    assert np.nanmin(found.hand) >= 0
    assert (found.hand[found.channel] == 0).all()
    assert (np.isfinite(found.hand) == (found.outcome < drainage.LEAVES)).all()
    place = np.argwhere(found.outcome == drainage.REACHED)
    below = place + STEPS[found.flow.direction[tuple(place.T)]]
    assert (found.hand[tuple(below.T)] <= found.hand[tuple(place.T)] + 1e-3).all()
    assert (found.distance[tuple(below.T)] < found.distance[tuple(place.T)]).all()
    assert (found.area[tuple(below.T)] > found.area[tuple(place.T)]).all()
    # All water leaves over the rim, none is lost and none made.
    outlets = found.flow.direction == drainage.OUTLET
    assert np.nansum(found.area[outlets], dtype=np.float64) == pytest.approx(
        900.0 * np.isfinite(values).sum(), rel=1e-3
    )
    # Where land falls by itself, the height is that between the cell and its channel.
    assert np.nanmedian(found.flow.filled - values) == 0


@pytest.mark.parametrize("name", FILES)
def test_the_terrain_file_of_a_real_height_model_is_on_a_metric_grid(
    name: str, shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    report = terrain.run(shared_data(name), tmp_path / "t.tif", incidence=38.0, look_azimuth=100.0)
    assert report["status"] == "ok"
    assert report["crs"].startswith("EPSG:326")
    with rasterio.open(tmp_path / "t.tif") as file:
        layers = dict(zip(file.descriptions, file.read(), strict=True))
    assert tuple(layers) == terrain_layers.NAMES
    known = np.isfinite(layers["elevation"])
    assert known.mean() > 0.9
    assert np.nanmin(layers["hand"]) == 0
    flat = layers["slope"] < 1
    assert np.nanmedian(layers["local_incidence"][flat]) == pytest.approx(38.0, abs=0.5)
    # Front slopes steeper than the incidence are in layover, and hardly anything else is.
    assert np.nanmean(layers["layover"]) < 0.02
