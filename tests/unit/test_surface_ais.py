"""Laws of AIS lists and of the join with ships seen."""

import numpy as np
import pytest

from processors.imagery import ais_positions
from processors.quality import BadInputError
from retrieval.surface import ais_match

PARAMETERS = ais_match.AisMatchParameters()
HEAD = "MMSI,BaseDateTime,LAT,LON,SOG,COG,Length"
NOON = 1_772_366_400.0
"""2026-03-01T12:00 UTC."""


def listed(*rows: str) -> ais_positions.AisPositions:
    return ais_positions.parse([HEAD, *rows])


def test_rows_that_cannot_be_are_counted_by_reason():
    read = listed(
        "413000001,2026-03-01T12:00:00Z,30,110,10,90,80",
        "413000001,2026-03-01T12:00:00Z,30,110,10,90,80",
        "0,2026-03-01T12:00:00Z,30,110,10,90,80",
        "413000002,2026-03-01T12:00:00Z,91,181,10,90,80",
        "413000003,yesterday,30,110,10,90,80",
        "413000004,2026-03-01",
        "",
        "413000005,2026-03-01T12:00:00,30,110,102.3,360,0",
    )
    assert dict(read.rejected) == {"twice": 1, "identity": 1, "position": 1, "time": 1, "too_short": 1}
    assert read.time.tolist() == [NOON, NOON]
    assert read.speed[0] == pytest.approx(10 * 1852 / 3600)
    assert np.isnan([read.speed[1], read.course[1], read.length[1]]).all()


def test_list_without_a_column_is_refused():
    with pytest.raises(BadInputError, match="lat"):
        ais_positions.parse(["mmsi,time,lon", "1,2,3"])
    with pytest.raises(BadInputError):
        ais_positions.parse([])


def test_place_between_two_reports_is_interpolated():
    placed = ais_match.at_time(
        listed("1,2026-03-01T11:50:00Z,30,110,,,", "1,2026-03-01T12:10:00Z,30.02,110.02,,,90"), NOON,
        parameters=PARAMETERS,
    )  # fmt: skip
    assert (placed.latitude[0], placed.longitude[0]) == pytest.approx((30.01, 110.01), abs=1e-6)
    assert placed.length[0] == 90
    assert placed.sigma[0] > 25


def test_place_after_the_last_report_is_reckoned_and_an_old_one_dropped():
    placed = ais_match.at_time(
        listed(
            "1,2026-03-01T11:55:00Z,30,110,10,0,", "2,2026-03-01T11:00:00Z,30,110,10,0,",
            "3,2026-03-01T11:58:00Z,30,110,,,",
        ), NOON, parameters=PARAMETERS,
    )  # fmt: skip
    assert placed.mmsi.tolist() == [1, 3]
    assert placed.too_old == 1
    assert (placed.latitude[0] - 30) * 111_195 == pytest.approx(10 * 1852 / 3600 * 300, rel=1e-3)
    assert placed.latitude[1] == 30
    assert placed.sigma[1] > 50


def reported(latitudes, *, speed=0.0, course=0.0, length=np.nan) -> ais_match.Reported:
    count = len(latitudes)
    return ais_match.Reported(
        np.arange(count) + 1, np.array(latitudes, float), np.full(count, 110.0), np.full(count, 30.0),
        np.full(count, speed), np.full(count, course), np.full(count, float(length)), 0,
    )  # fmt: skip


def joined(latitudes, reports, *, searched=True, look=None, longitude=110.0):
    count = len(latitudes)
    return ais_match.join(
        np.array(latitudes, float), np.full(count, longitude), np.full(count, 80.0), np.full(count, 15.0), reports,
        searched=np.full(reports.mmsi.size, searched), parameters=PARAMETERS, look=look,
    )  # fmt: skip


def test_each_report_is_used_once_and_the_rest_is_dark_or_silent():
    pairs = joined([30.0, 30.0005, 30.2], reported([30.0002, 30.4]))
    assert pairs.reported.tolist() == [0, -1, -1]
    assert pairs.status.tolist() == [ais_match.MATCHED, ais_match.SILENT]
    assert joined([], reported([30.0]), searched=False).status.tolist() == [ais_match.UNSEARCHED]
    assert joined([], reported([30.0], length=12)).status.tolist() == [ais_match.SMALL]
    assert joined([30.0], reported([])).reported.tolist() == [-1]


def test_moving_ship_is_looked_for_where_the_radar_shows_it():
    # Eastward at 5 m/s, away from a radar that flies north and looks east: imaged 120 s x 5 m/s x sin(30) to the south.
    shift = 300 / 111_195
    look = ais_match.Look(flight=0.0, incidence=30.0)
    moving = reported([30.0], speed=5.0, course=90.0)
    there = joined([30.0 - shift], moving, look=look)
    assert there.distance[0] == pytest.approx(0.0, abs=1.0)
    assert np.isnan(joined([30.0 + shift], moving, look=look).distance[0])
    assert joined([30.0 - shift], moving).reported.tolist() == [0]
