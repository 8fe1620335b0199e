"""Auxiliary data: validity comes from content, wrong content is refused, age raises the alarm."""

import datetime as dt
import json

import numpy as np
import pytest
import xarray as xr

from infra import auxiliary, granule_format, ledger
from processors import quality

LEAP = "# comment\n#$\t3676924800\n#@\t3928521600\n2272060800\t10\n"


def version(kind: str, start: str | None, end: str | None, identity: str = "x") -> ledger.Granule:
    attributes = {"kind": kind, "start": start, "end": end}
    return ledger.Granule("auxiliary", identity, "0", "auxiliary", "b", "k", 1, attributes)


def test_leap_seconds_hold_from_update_to_expiry() -> None:
    # The NTP seconds of 2016-07-08 and 2024-06-28, as they stand in the IERS file of Bulletin C 52 and 66.
    validity = auxiliary.read_leap_seconds(LEAP.encode(), "leap-seconds.list")
    assert validity == auxiliary.Validity("2016-07-08T00:00:00+00:00", "2024-06-28T00:00:00+00:00")


def test_space_weather_holds_over_the_days_with_both_indices() -> None:
    table = "DATE,F10.7_OBS,AP_AVG\n2020-01-01,70.1,4\n2020-01-02,70.3,5\n2020-01-03,,\n"
    validity = auxiliary.read_space_weather(table.encode(), "sw.csv")
    assert (validity.start, validity.end) == ("2020-01-01T00:00:00+00:00", "2020-01-02T23:59:59+00:00")


def test_earth_orientation_holds_over_the_days_with_a_pole() -> None:
    line = "20 1 1 58849.00 I  0.076577 0.000030  0.282336"
    empty = "20 1 2 58850.00 "
    validity = auxiliary.read_earth_orientation(f"{line}\n{empty}\n".encode(), "finals2000A.all")
    assert validity.start == validity.end == "2020-01-01T00:00:00+00:00"


def test_analysis_holds_at_its_times() -> None:
    times = np.array(["2020-01-01T00", "2020-01-01T06"], dtype="datetime64[ns]")
    temperature = xr.DataArray([1.0, 2.0], dims="time", attrs={"standard_name": "air_temperature"})
    body = granule_format.encode(xr.Dataset({"t": temperature}, coords={"time": times}))
    validity = auxiliary.read_nwp_analysis(body, "analysis.nc")
    assert (validity.start, validity.end) == ("2020-01-01T00:00:00+00:00", "2020-01-01T06:00:00+00:00")


def test_districts_need_codes() -> None:
    ring = [[106.0, 29.0], [107.0, 29.0], [107.0, 30.0], [106.0, 29.0]]
    outline = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {"adcode": 500101}, "geometry": outline}
    good = json.dumps({"type": "FeatureCollection", "features": [feature]}).encode()
    assert auxiliary.read_districts(good, "districts.geojson") == auxiliary.Validity(None, None)
    for features, words in (
        ([], r"districts\.geojson"),
        ([feature, feature], "500101 stands there more than once"),
        ([feature | {"properties": {"note": 1}}], "object 1 carries no code"),
        ([feature | {"geometry": {"type": "Point", "coordinates": [106.0, 29.0]}}], "500101 has no area"),
        ([feature | {"geometry": None}], "without geometry"),
    ):
        body = json.dumps({"type": "FeatureCollection", "features": features}).encode()
        with pytest.raises(quality.BadInputError, match=words):
            auxiliary.read_districts(body, "districts.geojson")


def test_districts_are_known_by_their_chinese_name_too() -> None:
    ring = [[106.0, 29.0], [107.0, 29.0], [107.0, 30.0], [106.0, 29.0]]
    outline = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {"name": "万州区"}, "geometry": outline}
    body = json.dumps({"type": "FeatureCollection", "features": [feature]}).encode()
    assert auxiliary.read_districts(body, "districts.geojson") == auxiliary.Validity(None, None)


@pytest.mark.parametrize("kind", sorted(auxiliary.KINDS))
@pytest.mark.parametrize("body", [b"", b"\x00\xff\xfe\x00 nothing that was asked for", b"plain text\n"])
def test_every_kind_refuses_what_it_is_not(kind: str, body: bytes) -> None:
    with pytest.raises(quality.BadInputError, match=r"file\.bin"):
        auxiliary.KINDS[kind].read(body, "file.bin")


def test_the_version_that_holds_latest_is_chosen() -> None:
    early, late = version("dem", "2020-01-01", "2020-12-31", "early"), version("dem", "2020-06-01", None, "late")
    chosen = auxiliary.holding([early, late, version("geoid", None, None)], kind="dem", time="2020-07-01")
    assert [granule.id for granule in chosen] == ["late", "early"]
    assert auxiliary.holding([early], kind="dem", time="2021-07-01") == []


def test_the_alarm_names_the_kind_that_grew_old_and_only_that() -> None:
    now = dt.datetime(2020, 1, 10, tzinfo=dt.UTC)
    old = version("gnss-orbits", "2020-01-01T00:00:00+00:00", "2020-01-02T00:00:00+00:00")
    fresh = version("gnss-orbits", "2020-01-08T00:00:00+00:00", "2020-01-09T00:00:00+00:00")
    assert auxiliary.stale([old, version("dem", None, None)], now=now)[0].startswith("gnss-orbits: newest")
    assert auxiliary.stale([old, fresh], now=now) == []
