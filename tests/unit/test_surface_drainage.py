"""Drainage: water finds its way out over pits and flats, land stands above the channel it drains to."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from processors.imagery import drainage
from processors.quality import BadInputError

STEPS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
PIXEL = (10.0, 10.0)


def rough(seed: int, shape: tuple[int, int] = (40, 50)) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0, 60, shape).round().astype(np.float32)


def valley(rows: int = 41, columns: int = 31) -> npt.NDArray[np.float32]:
    """Plane that falls south by 0.1 m a row, with flanks that rise 2 m a column from the middle."""
    south = -0.1 * np.arange(rows)[:, None]
    return (50 + south + 2.0 * np.abs(np.arange(columns) - columns // 2)[None, :]).astype(np.float32)


def follow(flow: drainage.Flow, row: int, column: int) -> list[tuple[int, int]]:
    path = [(row, column)]
    while flow.direction[path[-1]] < drainage.OUTLET:
        step = STEPS[flow.direction[path[-1]]]
        path.append((path[-1][0] + step[0], path[-1][1] + step[1]))
        assert len(path) <= flow.direction.size, "water runs in a circle"
    return path


def lowest_pass(heights: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Least level at which a cell is joined to the edge, by relaxation."""
    rows, columns = heights.shape
    level: npt.NDArray[np.float64] = np.full((rows, columns), np.inf)
    edge = np.ones(heights.shape, dtype=bool)
    edge[1:-1, 1:-1] = False
    level[edge] = heights[edge]
    while True:
        padded = np.pad(level, 1, constant_values=np.inf)
        shifted = [padded[1 + i : 1 + i + rows, 1 + j : 1 + j + columns] for i, j in STEPS]
        near = np.min(np.stack(shifted), axis=0)
        newer = np.minimum(level, np.maximum(heights, near))
        if (newer == level).all():
            return level
        level = newer


@pytest.mark.parametrize("seed", [1, 2])
def test_filled_level_is_the_lowest_pass_to_the_edge(seed: int) -> None:
    heights = rough(seed)
    flow = drainage.flow_of(heights, pixel_size=PIXEL)
    np.testing.assert_array_equal(flow.filled, lowest_pass(heights))


@pytest.mark.parametrize("seed", [3, 4])
def test_water_of_every_cell_leaves_and_never_rises(seed: int) -> None:
    flow = drainage.flow_of(rough(seed), pixel_size=PIXEL)
    for row in range(0, 40, 3):
        for column in range(0, 50, 3):
            path = follow(flow, row, column)
            levels = [float(flow.filled[place]) for place in path]
            assert levels == sorted(levels, reverse=True)
            assert path[-1][0] in (0, 39) or path[-1][1] in (0, 49)


def test_a_cell_with_a_lower_neighbor_drains_down_the_steepest_way_on_pixels_that_are_not_square() -> None:
    heights = np.full((3, 3), 10.0, dtype=np.float32)
    heights[1, 1], heights[0, 1], heights[1, 2] = 9.0, 7.0, 6.0
    assert drainage.flow_of(heights, pixel_size=(10.0, 10.0)).direction[1, 1] == 2
    assert drainage.flow_of(heights, pixel_size=(10.0, 30.0)).direction[1, 1] == 0


def test_area_counts_every_cell_once_and_all_of_it_leaves() -> None:
    flow = drainage.flow_of(rough(5), pixel_size=(10.0, 20.0))
    area = drainage.contributing_area(flow, pixel_size=(10.0, 20.0))
    paths = [follow(flow, row, column) for row in range(40) for column in range(50)]
    counted = np.zeros((40, 50))
    for path in paths:
        for place in path:
            counted[place] += 200.0
    np.testing.assert_allclose(area, counted)
    assert area[flow.direction == drainage.OUTLET].sum() == 40 * 50 * 200.0


@pytest.mark.parametrize("seed", [6, 7])
def test_height_above_drainage_is_that_of_the_channel_met_on_the_way(seed: int) -> None:
    heights = rough(seed)
    found = drainage.drain(
        heights,
        pixel_size=PIXEL,
        parameters=drainage.DrainageParameters(channel_area=3000.0, fill_depth=float("inf")),
    )
    level = lowest_pass(heights)
    for row in range(40):
        for column in range(50):
            path = follow(found.flow, row, column)
            place = next((k for k, cell in enumerate(path) if found.channel[cell]), None)
            if place is None:
                assert np.isnan(found.hand[row, column])
                assert found.outcome[row, column] == drainage.LEAVES
                continue
            away = sum(10.0 * np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in itertools.pairwise(path[: place + 1]))
            assert found.hand[row, column] == pytest.approx(level[row, column] - level[path[place]])
            assert found.distance[row, column] == pytest.approx(away, rel=1e-5)
            assert found.outcome[row, column] == (drainage.REACHED if place else drainage.CHANNEL)


def test_a_valley_has_the_heights_of_its_flanks() -> None:
    heights = valley()
    found = drainage.drain(heights, pixel_size=PIXEL, parameters=drainage.DrainageParameters(channel_area=3500.0))
    middle = 15
    assert found.channel[20:, middle].all()
    assert not found.channel[:, :10].any()
    away = np.abs(np.arange(31) - middle)
    # Down a flank water goes straight or diagonally: as many rows south as at most columns.
    upper = 2.0 * away + 0.1 * away + 1e-3
    assert ((found.hand[25] >= 2.0 * away - 1e-3) & (found.hand[25] <= upper))[2:-2].all()


def test_a_deep_sinkhole_is_measured_from_its_floor_and_a_shallow_pit_is_filled() -> None:
    heights = valley()
    heights[18:23, 3:8] -= 1.0
    deep = valley()
    rows, columns = np.mgrid[-6:7, -6:7]
    deep[14:27, 1:14] = np.minimum(deep[14:27, 1:14], -30 + 8 * np.hypot(rows, columns))
    choices = drainage.DrainageParameters(channel_area=2000.0)
    carved = drainage.drain(deep, pixel_size=PIXEL, parameters=choices)
    filled = drainage.drain(
        deep, pixel_size=PIXEL, parameters=drainage.DrainageParameters(channel_area=2000.0, fill_depth=1e6)
    )
    assert np.nanmax(carved.hand[16:25, 3:12]) > np.nanmax(filled.hand[16:25, 3:12]) + 10
    assert np.nanmin(carved.hand) == 0
    shallow = drainage.drain(heights, pixel_size=PIXEL, parameters=choices)
    np.testing.assert_allclose(shallow.flow.filled[19:22, 4:7], lowest_pass(heights)[19:22, 4:7])


def test_a_reservoir_passes_water_on() -> None:
    heights = valley()
    heights[10:20, 11:20] = 48.0
    found = drainage.drain(heights, pixel_size=PIXEL, parameters=drainage.DrainageParameters(channel_area=3500.0))
    assert found.area[35, 15] > 25 * 31 * 100
    assert (found.hand[found.channel] == 0).all()


def test_a_void_inside_passes_water_on_and_is_no_channel() -> None:
    heights = valley()
    heights[18:22, 13:18] = np.nan
    found = drainage.drain(heights, pixel_size=PIXEL, parameters=drainage.DrainageParameters(channel_area=1000.0))
    void = np.isnan(heights)
    assert not found.channel[void].any()
    assert np.isnan(found.hand[void]).all()
    assert np.isnan(found.area[void]).all()
    assert (found.outcome[void] == drainage.VOID).all()
    assert found.area[30, 15] > 25 * 25 * 100
    assert np.isfinite(found.hand[10, 15])


def test_a_void_at_the_edge_is_outside() -> None:
    heights = valley()
    heights[25:] = np.nan
    found = drainage.drain(heights, pixel_size=PIXEL, parameters=drainage.DrainageParameters(channel_area=1e9))
    assert (found.outcome[:25] == drainage.LEAVES).all()
    assert (found.flow.direction[25:] == drainage.NO_DIRECTION).all()
    assert np.isnan(found.hand).all()


def test_known_water_is_the_channel_and_can_be_joined_by_area() -> None:
    heights = valley()
    known = np.zeros(heights.shape, dtype=bool)
    known[:, 5] = True
    known[0, 0] = True
    heights[0, 0] = np.nan
    alone = drainage.drain(heights, pixel_size=PIXEL, channels=known)
    assert (alone.channel == (known & np.isfinite(heights))).all()
    assert (alone.hand[alone.channel] == 0).all()
    assert np.nanmin(alone.hand) == 0
    joined = drainage.drain(
        heights,
        pixel_size=PIXEL,
        channels=known,
        parameters=drainage.DrainageParameters(channel_area=3500.0, join_area=True),
    )
    assert joined.channel[30, 15]
    assert joined.channel[30, 5]
    assert not alone.channel[30, 15]


def test_what_cannot_be_drained_is_refused() -> None:
    with pytest.raises(BadInputError, match="no height"):
        drainage.flow_of(np.full((4, 4), np.nan, dtype=np.float32), pixel_size=PIXEL)
    with pytest.raises(ValueError, match="pixels"):
        drainage.flow_of(valley(), pixel_size=(0.0, 1.0))
    with pytest.raises(ValueError, match="channels"):
        drainage.drain(valley(), pixel_size=PIXEL, channels=np.zeros((2, 2), dtype=bool))


def test_heights_below_zero_are_in_order() -> None:
    heights = rough(8) - 30
    np.testing.assert_array_equal(drainage.flow_of(heights, pixel_size=PIXEL).filled, lowest_pass(heights))
