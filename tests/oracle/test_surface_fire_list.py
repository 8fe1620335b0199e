"""The list of fires of a whole day over the world, joined with the districts of Chongqing."""

import numpy as np
import pyogrio
import pytest

from infra.surface import fire_list, operator_layers

pytestmark = pytest.mark.oracle

LIST = "imagery/firms"
BOX = (105.0, 28.0, 111.0, 33.0)


def test_every_row_of_a_real_list_is_a_fire_and_nine_lie_about_chongqing(shared_data, tmp_path):
    source = shared_data(LIST) / "MODIS_C6_1_Global_24h.csv"
    report = fire_list.run(source, tmp_path / "fires.gpkg", bounds=BOX)
    rows = len(source.read_text().splitlines()) - 1
    assert report["rows"] == rows == 19_416
    assert (report["bad_rows"], report["fires"], report["outside_box"]) == (0, 9, rows - 9)


def test_fires_are_given_the_district_that_holds_them(shared_data, tmp_path):
    source = shared_data(LIST) / "MODIS_C6_1_Global_24h.csv"
    districts = shared_data("imagery/boundaries") / "chongqing_districts_2018.geojson"
    report = fire_list.run(source, tmp_path / "fires.gpkg", bounds=BOX, districts=districts)
    about, _, _, columns = pyogrio.raw.read(tmp_path / "fires.gpkg")
    column = dict(zip(about["fields"], columns, strict=True))
    zones = {zone.code: zone for zone in operator_layers.districts(districts)}
    held = [code for code in column["district_code"] if code is not None]
    assert len(held) + report["outside_districts"] == 9
    assert sum(item["fires"] for item in report["districts"]) == len(held) > 0
    # An independent judge: crossings of a ray with the outline, counted by hand.
    for longitude, latitude, code in zip(column["lon"], column["lat"], column["district_code"], strict=True):
        inside = [key for key, zone in zones.items() if crossed(zone.geometry, longitude, latitude)]
        assert inside == ([] if code is None else [code])


def crossed(shape, x, y):
    odd = False
    for polygon in getattr(shape, "geoms", [shape]):
        for ring in (polygon.exterior, *polygon.interiors):
            corner = np.asarray(ring.coords)
            (x0, y0), (x1, y1) = corner[:-1].T, corner[1:].T
            spans = (y0 > y) != (y1 > y)
            at = x0[spans] + (y - y0[spans]) / (y1[spans] - y0[spans]) * (x1[spans] - x0[spans])
            odd ^= bool(np.sum(at > x) % 2)
    return odd
