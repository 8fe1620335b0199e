"""Lists of fires: every row becomes a fire, or is counted and named with its reason; each fire gets its district."""

import json

import numpy as np
import pyogrio
import pytest
import shapely
from typer.testing import CliRunner

from infra import cli
from infra.surface import fire_list as fire_list_file
from processors.imagery import fire_list
from processors.quality import BadInputError
from products.sectors import fire_list as product
from products.sectors import statistics

MODIS = (
    "latitude,longitude,brightness,scan,track,acq_date,acq_time,satellite,confidence,version,bright_t31,frp,daynight"
)
VIIRS = (
    "latitude,longitude,bright_ti4,scan,track,acq_date,acq_time,satellite,instrument,confidence,version,bright_ti5,frp,"
    "daynight"
)
ROW = "29.5,107.0,310.16,1.0,1.0,2022-02-26,0020,T,70,6.1NRT,290.0,12.5,N"


def test_both_kinds_of_list_give_the_same_columns():
    modis = fire_list.parse(f"{MODIS}\n{ROW}\n").fires
    viirs = fire_list.parse(f"{VIIRS}\n29.5,107.0,330.5,0.4,0.4,2022-02-26,0020,N,VIIRS,n,2.0NRT,291.0,3.2,N\n").fires
    assert (modis.t4[0], modis.t11[0], modis.power[0], modis.sensor[0], modis.satellite[0]) == (
        310.16,
        290.0,
        12.5,
        "modis",
        "Terra",
    )
    assert (viirs.t4[0], viirs.t11[0], viirs.sensor[0], viirs.satellite[0]) == (330.5, 291.0, "viirs", "Suomi-NPP")
    assert modis.time[0] == viirs.time[0] == np.datetime64("2022-02-26T00:20")


@pytest.mark.parametrize(
    ("text", "clock"), [("0020", "00:20"), ("20", "00:20"), ("5", "00:05"), ("2359", "23:59"), ("1:07", "01:07")]
)
def test_times_are_read_with_and_without_leading_zeros(text, clock):
    fires = fire_list.parse(f"{MODIS}\n{ROW.replace('0020', text)}\n").fires
    assert str(fires.time[0]) == f"2022-02-26T{clock}:00"


@pytest.mark.parametrize(
    ("text", "degree"),
    [("0", 1), ("29", 1), ("30", 2), ("79", 2), ("80", 3), ("100", 3), ("l", 1), ("nominal", 2), ("H", 3), ("", 0)],
)
def test_confidence_has_three_degrees_whatever_its_form(text, degree):
    fires = fire_list.parse(f"{MODIS}\n{ROW.replace(',70,', f',{text},')}\n").fires
    assert fires.confidence[0] == degree


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("29.5", "north", "latitude_invalid"),
        ("29.5", "nan", "latitude_invalid"),
        ("107.0", "", "longitude_invalid"),
        ("29.5", "91", "position_outside_the_globe"),
        ("107.0", "-180.5", "position_outside_the_globe"),
        ("0020", "2400", "time_invalid"),
        ("0020", "1260", "time_invalid"),
        ("0020", "noon", "time_invalid"),
        ("2022-02-26", "2022-02-30", "date_invalid"),
        ("2022-02-26", "yesterday", "date_invalid"),
        ("310.16", "hot", "temperature_invalid"),
        ("310.16", "99999", "temperature_invalid"),
        ("12.5", "-3", "power_invalid"),
        (",70,", ",101,", "confidence_invalid"),
        (",N", "", "wrong_number_of_fields"),
    ],
)
def test_a_bad_row_is_counted_and_named_and_the_rest_stands(old, new, reason):
    reading = fire_list.parse(f"{MODIS}\n{ROW}\n{ROW.replace(old, new)}\n\n")
    assert reading.rows == 2
    assert reading.bad == {reason: 1}
    assert reading.named == (f"line 3: {reason}",)
    assert len(reading.fires.longitude) == 1


def test_equal_detections_count_once_and_other_satellites_are_others():
    reading = fire_list.parse(f"{MODIS}\n{ROW}\n{ROW}\n{ROW.replace(',T,', ',A,')}\n")
    assert reading.duplicates == 1
    assert len(reading.fires.longitude) == 2


def test_missing_measurements_are_no_reason_to_lose_a_fire():
    reading = fire_list.parse(f"{MODIS}\n{ROW.replace('310.16', '').replace('12.5', '')}\n")
    assert np.isnan(reading.fires.t4[0])
    assert np.isnan(reading.fires.power[0])


def test_what_the_list_calls_static_is_marked():
    reading = fire_list.parse(f"{MODIS},type\n{ROW},0\n{ROW.replace('107.0', '107.1')},2\n")
    assert reading.fires.static.tolist() == [False, True]


@pytest.mark.parametrize(("text", "cause"), [("", "empty"), ("a,b\n1,2\n", "columns_missing")])
def test_what_is_no_list_is_refused(text, cause):
    with pytest.raises(BadInputError) as refused:
        fire_list.parse(text)
    assert refused.value.cause == cause


def fires_at(*places):
    return fire_list.parse(
        "\n".join([MODIS, *(ROW.replace("29.5,107.0", f"{latitude},{longitude}") for longitude, latitude in places)])
    ).fires


def test_a_box_holds_its_edges_and_may_cross_the_antimeridian():
    fires = fires_at((105.0, 28.0), (105.1, 29.0), (111.0, 33.0), (179.0, 30.0), (-179.0, 30.0))
    assert fire_list.within(fires, (105.0, 28.0, 111.0, 33.0)).tolist() == [True, True, True, False, False]
    assert fire_list.within(fires, (170.0, 28.0, -170.0, 33.0)).tolist() == [False, False, False, True, True]
    with pytest.raises(BadInputError, match="west,south,east,north"):
        fire_list.within(fires, (105.0, 33.0, 111.0, 28.0))


def zone(code, box, crs="EPSG:4490"):
    return statistics.Zone(code=code, name_en=f"District {code}", name_zh=f"区{code}", geometry=box, crs=crs)


def test_every_fire_gets_the_district_it_lies_in_and_of_overlapping_ones_the_first():
    zones = [zone("500101", shapely.box(106, 29, 107.5, 30)), zone("500102", shapely.box(107, 29, 109, 30))]
    owner = product.district(fires_at((106.5, 29.5), (107.2, 29.5), (108.0, 29.5), (110.0, 29.5)), zones)
    assert owner.tolist() == [0, 0, 1, -1]


def test_outlines_in_a_projected_system_find_the_same_fires():
    # Central meridian 105 degrees, false easting 500 km.
    outline = zone("500101", shapely.box(600_000, 3_200_000, 800_000, 3_400_000), "EPSG:32648")
    owner = product.district(fires_at((107.0, 29.5), (105.5, 29.5)), [outline])
    assert owner.tolist() == [0, -1]


def test_the_table_names_the_district_and_counts_by_district():
    fires = fires_at((106.5, 29.5), (106.6, 29.5), (110.0, 29.5))
    zones = [zone("500101", shapely.box(106, 29, 107.5, 30))]
    owner = product.district(fires, zones)
    table = product.table(fires, zones=zones, owner=owner)
    assert table.columns["district_code"].tolist() == ["500101", "500101", None]
    assert table.columns["district_zh"].tolist() == ["区500101", "区500101", None]
    counts = product.counted(fires, zones=zones, owner=owner)
    assert counts == [
        {"code": "500101", "name_en": "District 500101", "name_zh": "区500101", "fires": 2, "frp_mw": 25.0}
    ]


def written(folder, *rows):
    path = folder / "fires.csv"
    path.write_text("\n".join([MODIS, *rows]) + "\n", encoding="utf-8-sig")
    return path


def test_a_list_becomes_a_vector_file_and_the_report_says_what_was_left_out(tmp_path):
    source = written(tmp_path, ROW, ROW, ROW.replace("107.0", "120.0"), ROW.replace("29.5", "x"))
    out = tmp_path / "fires.gpkg"
    made = CliRunner().invoke(
        cli.app,
        ["surface", "fire-list", "--csv", str(source), "--bbox", "105,28,111,33", "--out", str(out), "--json"],
    )
    assert made.exit_code == 0
    report = json.loads(made.stdout)
    assert report["status"] == "flagged"
    assert {name: report[name] for name in ("rows", "bad_rows", "duplicates", "outside_box", "fires")} == {
        "rows": 4,
        "bad_rows": 1,
        "duplicates": 1,
        "outside_box": 1,
        "fires": 1,
    }
    assert pyogrio.read_info(out)["features"] == 1


def test_refusals_name_the_file(tmp_path):
    source = written(tmp_path, ROW.replace("29.5", "x"))
    with pytest.raises(BadInputError, match="none of its 1 rows"):
        fire_list_file.run(source, tmp_path / "o.gpkg")
    with pytest.raises(BadInputError, match="written as"):
        fire_list_file.run(source, tmp_path / "o.tif")
    with pytest.raises(BadInputError, match="no readable list"):
        fire_list_file.run(tmp_path / "none.csv", tmp_path / "o.gpkg")
    source.write_text("a,b\n")
    with pytest.raises(BadInputError, match=r"fires\.csv: no list"):
        fire_list_file.run(source, tmp_path / "o.gpkg")


def test_a_box_of_other_form_is_a_usage_error(tmp_path):
    source = written(tmp_path, ROW)
    out = str(tmp_path / "o.gpkg")
    made = CliRunner().invoke(cli.app, ["surface", "fire-list", "--csv", str(source), "--bbox", "1,2", "--out", out])
    assert made.exit_code == 2
