"""Search of a STAC API, answered by a loopback server; without the optional packages it says what to install."""

import http.server
import importlib
import json
import threading
import urllib.parse
from collections.abc import Iterator

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from infra.imagery import stac_search
from processors.quality import BadInputError
from tests.unit import imagery_products as products

BOUNDS = (106.0, 29.5, 106.5, 30.0)
START, END = np.datetime64("2024-05-01"), np.datetime64("2024-06-30")
GEOBOX = GeoBox((6, 8), Affine(10, 0, products.CORNER[0], 0, -10, products.CORNER[1]), products.UTM)


def item(identity: str, day: str, *, cover: float | None, href: str = "", applied: bool = False) -> dict:
    about = {"nodata": 0, "scale": 0.0001, "offset": -0.1, "data_type": "uint16", "spatial_resolution": 10}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
        ],
        "id": identity,
        "collection": "sentinel-2-l2a",
        "geometry": {"type": "Point", "coordinates": [106.03, 29.82]},
        "bbox": [106.0, 29.7, 106.1, 29.9],
        "properties": {
            "datetime": f"{day}T03:36:02Z",
            "earthsearch:boa_offset_applied": applied,
            "proj:epsg": 32648,
            **({} if cover is None else {"eo:cloud_cover": cover}),
        },
        "assets": {
            "red": {
                "href": href,
                "roles": ["data"],
                "proj:shape": [6, 8],
                "proj:transform": list(GEOBOX.transform)[:6],
                "raster:bands": [about],
            }
        },
        "links": [],
    }


class _Api(http.server.BaseHTTPRequestHandler):
    items: list[dict]
    asked: list[dict]

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        octets = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(json.loads(octets))

    def answer(self, asked: dict | None = None) -> None:
        own = f"http://{self.headers['Host']}"
        if urllib.parse.urlparse(self.path).path == "/search":
            self.asked.append(asked or dict(urllib.parse.parse_qsl(urllib.parse.urlparse(self.path).query)))
            body = {"type": "FeatureCollection", "features": self.items, "links": []}
        else:
            search = {"rel": "search", "href": f"{own}/search", "type": "application/geo+json"}
            body = {
                "type": "Catalog",
                "stac_version": "1.0.0",
                "id": "loopback",
                "description": "canned answers",
                "conformsTo": ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"],
                "links": [{"rel": "self", "href": own}, search, {**search, "method": "POST"}],
            }
        octets = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/geo+json")
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""


@pytest.fixture
def api() -> Iterator[tuple[str, type[_Api]]]:
    pytest.importorskip("pystac_client", reason="the extra `stac` is not installed")
    handler = type("Api", (_Api,), {"items": [], "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


def search(address: str, **options) -> list[stac_search.Found]:
    settings = {"collections": ["sentinel-2-l2a"], "bounds": BOUNDS, "start": START, "end": END, **options}
    return stac_search.search(address, **settings)


def test_scenes_come_once_each_in_time_order_with_the_cloudy_left_out(api):
    address, handler = api
    handler.items = [
        item("late", "2024-06-14", cover=5.0),
        item("early", "2024-05-15", cover=None),
        item("cloudy", "2024-05-20", cover=95.0),
        item("late", "2024-06-14", cover=5.0),
    ]
    found = search(address, largest_cloud_cover=60.0)
    assert [entry.identity for entry in found] == ["early", "late"]
    assert found[0].time == np.datetime64("2024-05-15T03:36:02")
    asked = handler.asked[0]
    assert "2024-05-01" in asked["datetime"]
    assert "2024-06-30" in asked["datetime"]
    assert [
        float(edge) for edge in (asked["bbox"].split(",") if isinstance(asked["bbox"], str) else asked["bbox"])
    ] == list(BOUNDS)


def test_service_that_does_not_answer_is_refused(api):
    with pytest.raises(BadInputError) as refusal:
        search("http://127.0.0.1:9")
    assert refusal.value.cause == "search_failed"


@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_each_item_is_decoded_by_its_own_offset(api, tmp_path):
    """One item's numbers carry the offset of 1000, the other's have been freed of it: equal reflectance."""
    pytest.importorskip("odc.stac", reason="the extra `stac` is not installed")
    address, handler = api
    numbers = np.full((6, 8), 2000, np.uint16)
    numbers[0, 0] = 0
    first = products.write_raster(tmp_path / "a.tif", numbers, nodata=0)
    second = products.write_raster(
        tmp_path / "b.tif", np.where(numbers > 0, numbers - 1000, 0).astype(np.uint16), nodata=0
    )
    handler.items = [
        item("b", "2024-06-14", cover=1.0, href=str(second), applied=True),
        item("a", "2024-05-15", cover=1.0, href=str(first)),
    ]
    scene = stac_search.load(search(address), bands={"red": "red"}, geobox=GEOBOX, area="chongqing")
    values = scene["reflectance"].values
    assert np.isnan(values[:, 0, 0, 0]).all()
    np.testing.assert_allclose(values[:, 0, 1:], 0.1, atol=1e-6)
    away = GeoBox((6, 8), Affine(10, 0, 700_000, 0, -10, 3_300_000), products.UTM)
    with pytest.raises(BadInputError) as refusal:
        stac_search.load(search(address), bands={"red": "red"}, geobox=away)
    assert refusal.value.cause == "outside_area"


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"bounds": (29.5, 106.0, 30.0, 106.5)}, "axes_swapped"),
        ({"bounds": (106.5, 29.5, 106.0, 30.0)}, "axes_swapped"),
        ({"start": END, "end": START}, "dates_swapped"),
    ],
)
def test_swapped_axes_and_dates_are_refused_before_the_search(options, cause):
    with pytest.raises(BadInputError) as refusal:
        search("http://127.0.0.1:9", **options)
    assert refusal.value.cause == cause


def test_absent_packages_are_named(monkeypatch):
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(RuntimeError, match=r"pystac-client.*extra `stac`"):
        search("http://127.0.0.1:9")
    entry = stac_search.Found("a", "c", START, None, {}, None)
    with pytest.raises(RuntimeError, match="odc-stac"):
        stac_search.load([entry], bands={"red": "red"}, geobox=GEOBOX)


def test_nothing_found_is_nothing_to_load():
    with pytest.raises(BadInputError) as refusal:
        stac_search.load([], bands={"red": "red"}, geobox=GEOBOX)
    assert refusal.value.cause == "all_nodata"
