"""Landed scenes of other missions: the part that lies in the area, on its grid, or a reason why not."""

from pathlib import Path

import numpy as np
import pytest

from infra.stages import imagery
from processors.imagery import grid
from processors.quality import BadInputError
from tests.unit import imagery_products as published


@pytest.fixture
def scene(tmp_path) -> Path:
    """A level 2A product of 60 x 60 pixels of 10 m."""
    numbers = {band: np.full((60, 60), 3000, dtype=np.uint16) for band in ("B02_10m", "B03_10m", "B04_10m", "B08_10m")}
    offsets = dict.fromkeys(published.BAND_IDS, -1000)
    folder = published.sentinel2_safe(tmp_path / "safe", numbers, level="2A", baseline="05.10", offsets=offsets)
    return published.zipped(folder)


def box_of(scene: Path) -> tuple[float, ...]:
    with imagery.scene_reading.open_scene(scene) as opened:
        return grid.geographic_bounds(opened.geobox)


def stated(monkeypatch, **area) -> None:
    monkeypatch.setattr(imagery, "areas", lambda: {"yubei": area})


def test_an_archive_is_read_with_its_offset(scene, monkeypatch):
    monkeypatch.setattr(imagery, "areas", dict)
    stack = imagery.scene_of_file(scene, area="yubei")
    assert float(stack["reflectance"].mean()) == pytest.approx(0.2)
    assert stack.attrs["area"] == "yubei"
    assert stack.sizes["y"] == stack.sizes["x"] == 60


def test_only_the_part_inside_the_area_is_read(scene, monkeypatch):
    west, south, east, north = box_of(scene)
    stated(monkeypatch, bbox=[west, (south + north) / 2, east + 1.0, north + 1.0])
    stack = imagery.scene_of_file(scene, area="yubei")
    assert 28 <= stack.sizes["y"] <= 33
    assert grid.alignment_offset(grid.geobox_of(stack)) < grid.ALIGNMENT_TOLERANCE


def test_the_area_may_state_its_grid(scene, monkeypatch):
    stated(monkeypatch, bbox=list(box_of(scene)), grid={"crs": "EPSG:4545", "resolution": 20.0})
    geobox = grid.geobox_of(imagery.scene_of_file(scene, area="yubei"))
    assert geobox.crs.epsg == 4545
    assert grid.pixel_size(geobox) == 20.0


def test_a_scene_beside_the_area_is_refused(scene, monkeypatch):
    west, south, east, north = box_of(scene)
    stated(monkeypatch, bbox=[west + 3.0, south, east + 3.0, north])
    with pytest.raises(BadInputError) as caught:
        imagery.scene_of_file(scene, area="yubei")
    assert caught.value.cause == "outside_area"


def test_a_part_too_large_for_memory_is_refused_with_the_way_out(scene, monkeypatch):
    stated(monkeypatch, bbox=list(box_of(scene)))
    monkeypatch.setattr(imagery, "LARGEST_SCENE", 1000)
    with pytest.raises(BadInputError, match="coarser grid") as caught:
        imagery.scene_of_file(scene, area="yubei")
    assert caught.value.cause == "scene_too_large"
