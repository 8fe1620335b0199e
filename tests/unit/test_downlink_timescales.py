"""GPS time and UTC."""

import importlib.resources
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processors import timescales


@pytest.mark.parametrize(
    ("utc", "gps"),
    [
        ("1980-01-06T00:00:00", 0),
        ("1999-08-22T00:00:00", 1024 * 604800 + 13 - 0),
        ("2016-12-31T23:59:59", 1167264016),
        ("2017-01-01T00:00:00", 1167264018),
        ("2021-04-09T00:00:00", 1301961618),
    ],
)
def test_known_epochs_agree_both_ways(utc, gps):
    instant = np.datetime64(utc, "ns")
    assert timescales.gps_from_utc(instant) == gps
    assert timescales.utc_from_gps(float(gps)) == instant


def test_gps_time_runs_on_through_the_leap_second():
    around = np.array([1167264016.5, 1167264017.0, 1167264017.5, 1167264018.5])
    utc = timescales.utc_from_gps(around)
    assert timescales.leap_seconds(around).tolist() == [17, 17, 17, 18]
    # 23:59:60.0 and 23:59:60.5 have no label and read as the second after
    assert utc.astype(str).tolist() == [
        "2016-12-31T23:59:59.500000000",
        "2017-01-01T00:00:00.000000000",
        "2017-01-01T00:00:00.500000000",
        "2017-01-01T00:00:00.500000000",
    ]


def test_leap_seconds_are_those_of_the_time_zone_database():
    table = importlib.resources.files("tzdata").joinpath("zoneinfo/leapseconds").read_text()
    published = []
    for line in table.splitlines():
        if line.startswith("Leap") and int(line.split()[1]) >= 1980:
            _, year, month, day, *_ = line.split()
            parsed = time.strptime(f"{year} {month} {day}", "%Y %b %d")
            date = f"{parsed.tm_year}-{parsed.tm_mon:02d}-{parsed.tm_mday:02d}"
            published.append(np.datetime64(date, "D") + 1)
    after = timescales.gps_from_utc(np.array(published))
    assert timescales.leap_seconds(after).tolist() == list(range(1, len(published) + 1))
    assert timescales.leap_seconds(after - 0.5).tolist() == list(range(len(published)))


def test_round_trip_holds_to_the_resolution_of_float64():
    seconds = np.random.default_rng(1).uniform(1.2e9, 1.6e9, 1000)
    assert np.max(np.abs(timescales.gps_from_utc(timescales.utc_from_gps(seconds)) - seconds)) <= 2.4e-7


def test_leap_seconds_only_ever_grow_one_at_a_time():
    daily = timescales.leap_seconds(np.arange(0.0, 1.4e9, 86400.0))
    assert daily[0] == 0
    assert daily[-1] == 18
    assert_array_equal(np.unique(np.diff(daily)), [0, 1])


def test_week_counts_without_rollover():
    assert timescales.week_from_gps(2048 * 604800.0 + 3.5) == (2048, 3.5)
