"""The item that tests of delivery publish: a water extent around Chongqing at noon of a day in autumn."""

import datetime as dt

from products import stac

NOON = dt.datetime(2021, 9, 1, 12, tzinfo=dt.UTC)
NAME = "open-water-extent-cq-20210901t032000z"
FIELDS = stac.ItemFields(
    product_code="open-water-extent",
    title="Open water extent",
    title_zh="开阔水面范围",
    geometry={"type": "Polygon", "coordinates": [[[106, 29], [107, 29], [107, 30], [106, 30], [106, 29]]]},
    bbox=(106.0, 29.0, 107.0, 30.0),
    start=NOON,
    quality_level="rapid",
)
