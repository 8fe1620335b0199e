"""Damage grades: whole buildings stay whole under another sun and view, rubble is told, little is left unassessed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from scipy import ndimage
from typer.testing import CliRunner

from infra import cli
from processors.quality import BadInputError
from products import feature_table, vector
from retrieval.surface import damage

SIZE = 320


class Town(NamedTuple):
    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    collapsed: npt.NDArray[np.float64]
    boxes: list[tuple[int, int, int, int]]


def town(seed: int, *, shift: tuple[float, float] = (0.6, -0.4), gain: float = 1.15) -> Town:
    """Ridged roofs on textured ground, of which a part or all turns into rubble; the second date is brighter, moved."""
    random = np.random.default_rng(seed)
    before = 0.25 + 0.4 * ndimage.gaussian_filter(random.normal(size=(SIZE, SIZE)), 2)
    labels, boxes, collapsed = np.zeros((SIZE, SIZE), dtype=np.int32), [], []
    for top in range(15, SIZE - 40, 40):
        for left in range(15, SIZE - 40, 40):
            rows, columns = (int(side) for side in random.integers(15, 26, 2))
            boxes.append((top, left, rows, columns))
            labels[top : top + rows, left : left + columns] = len(boxes)
            ridges = 0.03 * np.sin(np.arange(columns) / random.uniform(1.5, 4))
            roof = random.uniform(0.15, 0.6) + ridges + np.zeros((rows, 1))
            roof[: rows // 2] += random.uniform(0.02, 0.08)
            before[top : top + rows, left : left + columns] = roof
            collapsed.append(random.choice([0.0, 0.0, 0.6, 1.0]))
    after = before.copy()
    for (top, left, rows, columns), share in zip(boxes, collapsed, strict=True):
        fallen = int(rows * share)
        rubble = 0.3 + 0.24 * ndimage.gaussian_filter(random.normal(size=(fallen, columns)), 0.7)
        after[top : top + fallen, left : left + columns] = rubble
    after = ndimage.shift(after, shift, mode="nearest") * gain + 0.03
    noise = random.normal(0, 0.01, (2, SIZE, SIZE))
    return Town(
        (before + noise[0]).astype(np.float32),
        (after + noise[1]).astype(np.float32),
        labels,
        np.array(collapsed),
        boxes,
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_whole_roofs_and_rubble_are_told_apart(seed: int) -> None:
    scene = town(seed)
    found = damage.assess(scene.before, scene.after, scene.labels, count=len(scene.boxes))
    assert (found.grade[scene.collapsed == 0] <= damage.POSSIBLE).mean() > 0.95
    assert (found.grade[scene.collapsed == 1] == damage.DESTROYED).mean() > 0.9
    assert (found.grade[scene.collapsed == 0.6] >= damage.LIKELY).mean() > 0.8


def test_a_town_without_damage_is_left_whole_whatever_the_light() -> None:
    scene = town(3)
    moved = ndimage.shift(scene.before, (1.5, 2.0), mode="nearest") * 0.6 + 0.1
    found = damage.assess(scene.before, moved.astype(np.float32), scene.labels, count=len(scene.boxes))
    assert (found.grade == damage.NONE_VISIBLE).mean() > 0.9
    assert (found.grade <= damage.POSSIBLE).all()


def test_clouded_tiny_and_absent_buildings_are_not_assessed() -> None:
    scene = town(4)
    top, left, rows, columns = scene.boxes[0]
    scene.after[top : top + rows, left : left + columns] = np.nan
    scene.labels[scene.labels == 2] = 0
    scene.labels[:3, :3] = 2
    found = damage.assess(scene.before, scene.after, scene.labels, count=len(scene.boxes) + 1)
    assert found.grade[[0, 1, -1]].tolist() == [damage.NOT_ASSESSED] * 3
    assert np.isnan(found.probability[[0, 1, -1]]).all()
    assert (found.grade[2:-1] != damage.NOT_ASSESSED).all()
    with pytest.raises(BadInputError, match="no pixel in common"):
        damage.assess(scene.before, np.full_like(scene.after, np.nan), scene.labels, count=3)
    with pytest.raises(ValueError, match="shapes"):
        damage.assess(scene.before, scene.after[:5], scene.labels, count=3)


def test_radar_t_is_that_of_welch_and_needs_ten_dates() -> None:
    random = np.random.default_rng(5)
    before = random.normal(-8, 1, (12, 40, 40)).astype(np.float32)
    after = random.normal(-8, 1, (3, 40, 40)).astype(np.float32)
    after[:, :20] += 5.0
    found = damage.radar_change(before, after)
    first, second = before[:, 5, 5].astype(float), after[:, 5, 5].astype(float)
    expected = abs(second.mean() - first.mean()) / np.sqrt(first.var(ddof=1) / 12 + second.var(ddof=1) / 3)
    assert found[5, 5] == pytest.approx(expected, rel=1e-4)
    assert np.median(found[:20]) > 4 > np.median(found[20:])
    assert np.isnan(damage.radar_change(before[:9], after)).all()
    single = damage.radar_change(before, after[:1])
    spread = before[:, 5, 5].astype(float).var(ddof=1)
    assert single[5, 5] == pytest.approx(abs(after[0, 5, 5] - first.mean()) / np.sqrt(spread / 12 + spread), rel=1e-4)


def test_radar_raises_what_the_images_leave_open() -> None:
    scene = town(6)
    quiet, loud = (np.full((SIZE, SIZE), value, dtype=np.float32) for value in (0.8, 6.0))
    alone, calm, stirred = (
        damage.assess(scene.before, scene.after, scene.labels, count=len(scene.boxes), radar_t=radar).probability
        for radar in (None, quiet, loud)
    )
    assert (calm <= alone).all()
    assert (stirred >= alone).all()
    assert (stirred > calm + 1e-6).any()


def written(path: Path, image: npt.NDArray[np.float32]) -> Path:
    transform = Affine(0.5, 0, 600_000, 0, -0.5, 3_300_000)
    profile = {"driver": "GTiff", "height": SIZE, "width": SIZE, "count": 1, "dtype": "float32", "nodata": float("nan")}
    with rasterio.open(path, "w", **profile, crs="EPSG:32648", transform=transform) as file:
        file.write(image, 1)
    return path


def footprints(path: Path, scene: Town, *, west: float = 600_000.0) -> Path:
    outlines = [
        shapely.box(west + left / 2, 3_300_000 - (top + rows) / 2, west + (left + columns) / 2, 3_300_000 - top / 2)
        for top, left, rows, columns in scene.boxes
    ]
    table = feature_table.FeatureTable(
        name="footprints", title_en="F", title_zh="轮廓", fields=(), geometry=outlines, columns={}, crs="EPSG:32648"
    )
    vector.write([table], path)
    return path


def test_command_grades_the_footprints_of_the_operator(tmp_path: Path) -> None:
    scene = town(7)
    before, after = written(tmp_path / "a.tif", scene.before), written(tmp_path / "b.tif", scene.after)
    arguments = ["surface", "damage", "--before", str(before), "--after", str(after), "--json"]
    outlines = footprints(tmp_path / "f.gpkg", scene)
    out = ["--footprints", str(outlines), "--out", str(tmp_path / "d.gpkg")]
    done = CliRunner().invoke(cli.app, [*arguments, *out])
    assert done.exit_code == 0, done.output
    about, _, _, columns = pyogrio.raw.read(tmp_path / "d.gpkg")
    held = dict(zip(about["fields"], columns, strict=True))
    whole = damage.assess(scene.before, scene.after, scene.labels, count=len(scene.boxes))
    assert held["grade"].tolist() == whole.grade.tolist()
    assert held["grade_name_zh"][int(np.flatnonzero(whole.grade == damage.DESTROYED)[0])] == "毁坏"
    few = CliRunner().invoke(cli.app, [*arguments, *out, "--radar-before", str(before), "--radar-after", str(after)])
    assert "1 radar dates before" in str(few.exception)
    away = footprints(tmp_path / "g.gpkg", scene, west=700_000.0)
    elsewhere = CliRunner().invoke(cli.app, [*arguments, "--footprints", str(away), "--out", str(tmp_path / "e.gpkg")])
    assert "no building" in str(elsewhere.exception)
    assert not (tmp_path / "e.gpkg").exists()
