"""Districts of Chongqing as agencies hand them over: all are read, named and mended, and their areas add up."""

import numpy as np
import pytest

from infra.surface import operator_layers, vector_file

pytestmark = pytest.mark.oracle


def test_the_thirty_eight_districts_add_up_to_the_municipality(shared_data):
    zones = operator_layers.districts(shared_data("imagery/boundaries") / "chongqing_districts_2018.geojson")
    area = 0.0
    for zone in zones:
        shape = np.array([zone.geometry], dtype=object)
        area += vector_file.carried(shape, zone.crs, "EPSG:6933")[0].area / 1e6
        assert zone.geometry.is_valid
    assert len({zone.code for zone in zones}) == 38
    assert {(zone.name_zh, zone.name_en) for zone in zones} == set(operator_layers.names().values())
    assert area == pytest.approx(82_499, rel=2e-3)
