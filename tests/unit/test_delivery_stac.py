"""Items are built from a package's values, are the same bytes every time, and are judged without any network."""

import copy
import dataclasses
import datetime as dt
import hashlib
import json
import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest

from products import stac

FIRST = dt.datetime(2021, 9, 1, 3, 20, tzinfo=dt.UTC)
BEIJING = dt.timezone(dt.timedelta(hours=8))
POLYGON = {"type": "Polygon", "coordinates": (((106, 29), (107, 29), (107, 30), (106, 30), (106, 29)),)}
GRID = stac.Projection(code="EPSG:32648", shape=(100, 90), transform=(10.0, 0.0, 500000.0, 0.0, -10.0, 3300000.0))
CLASSES = (
    stac.ClassValue(value=0, name="dry", title="Dry / 非水体", color="#ece7dc"),
    stac.ClassValue(value=255, name="nodata", title="No data / 无数据", nodata=True),
)
FIELDS = stac.ItemFields(
    product_code="open-water-extent",
    title="Open water extent",
    title_zh="开阔水面范围",
    description="Open water along rivers.",
    description_zh="沿江开阔水面。",
    keywords=("water", "水体"),
    geometry=POLYGON,
    bbox=(106.0, 29.0, 107.0, 30.0),
    start=FIRST,
    quality_level="rapid",
    quality_reasons=("one date",),
    clear_fraction=0.93,
    uncertainty={"kind": "class_probability", "asset": "uncertainty.tif"},
    admin_codes=("500101", "500112"),
    inputs=({"id": "s2-20210901", "sha256": "0" * 64}, {"id": "dem"}),
    lineage="logistic model on MNDWI",
    software={"terralimb": "0.1.0"},
    projection=GRID,
    expires=dt.datetime(2022, 9, 1, tzinfo=dt.UTC),
    extra={"gsd": 10.0, "platform": "sentinel-2a"},
)
BODY = b"not really a raster"
ASSETS = {
    "data.tif": stac.AssetFields(
        href="./data.tif",
        media_type="image/tiff; application=geotiff; profile=cloud-optimized",
        roles=("data",),
        size=len(BODY),
        sha256=hashlib.sha256(BODY).hexdigest(),
        title="Water",
        title_zh="水体",
        projection=GRID,
        bands=(stac.Band(name="open_water", data_type="uint8", nodata=255, classes=CLASSES),),
    ),
    "uncertainty.tif": stac.AssetFields(
        href="./uncertainty.tif",
        media_type="image/tiff",
        roles=("data", "uncertainty"),
        size=1,
        sha256="1" * 64,
        bands=(stac.Band(name="probability", data_type="float32", nodata=math.nan, unit="1"),),
    ),
}


def built(fields: stac.ItemFields = FIELDS, **changed: Any) -> dict[str, Any]:
    arguments = {
        "item_id": "open-water-extent-cq-20210901t032000z",
        "collection": "open-water-extent",
        "sector": "transport",
        "assets": ASSETS,
        "collection_href": "s3://tl-catalogue/collections/open-water-extent.json",
    }
    return stac.build_item(fields, **(arguments | changed))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any connection an error: whoever fetches a schema is found out."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_built_item_is_valid_and_says_what_the_package_says() -> None:
    item = built()
    stac.validate_item(item)
    assert item["stac_version"] == "1.1.0"
    assert item["properties"]["datetime"] == "2021-09-01T03:20:00Z"
    assert item["properties"]["cqeo:clear_fraction"] == 0.93
    assert item["properties"]["cqeo:quality"] == {"level": "rapid", "reasons": ["one date"]}
    assert item["properties"]["proj:shape"] == [100, 90]
    data = item["assets"]["data.tif"]
    assert (data["file:size"], data["file:checksum"]) == (len(BODY), "1220" + hashlib.sha256(BODY).hexdigest())
    assert data["raster:bands"][0]["classification:classes"][1]["nodata"] is True
    assert item["assets"]["uncertainty.tif"]["bands"][0]["nodata"] == "nan"
    assert "raster:bands" not in item["assets"]["uncertainty.tif"]


def test_another_reader_understands_the_item() -> None:
    item = pystac.Item.from_dict(built())
    assert (item.id, item.collection_id, item.datetime) == (
        "open-water-extent-cq-20210901t032000z",
        "open-water-extent",
        FIRST,
    )
    assert item.ext.proj.epsg == 32648
    assert item.assets["data.tif"].ext.file.size == len(BODY)
    assert sorted(item.assets) == ["data.tif", "uncertainty.tif"]


def test_the_same_package_gives_the_same_bytes() -> None:
    reversed_assets = dict(reversed(ASSETS.items()))
    beijing = dataclasses.replace(FIELDS, start=FIRST.astimezone(BEIJING))
    first = stac.encoded(built())
    assert stac.encoded(built(assets=reversed_assets)) == first
    assert stac.encoded(built(beijing)) == first
    assert json.loads(first) == built()
    assert "开阔水面范围".encode() in first


def test_a_span_of_time_has_both_ends() -> None:
    item = built(dataclasses.replace(FIELDS, end=FIRST + dt.timedelta(days=29)))
    stac.validate_item(item)
    properties = item["properties"]
    assert properties["datetime"] is None
    assert (properties["start_datetime"], properties["end_datetime"]) == (
        "2021-09-01T03:20:00Z",
        "2021-09-30T03:20:00Z",
    )


def test_only_extensions_in_use_are_declared() -> None:
    plain = stac.ItemFields(
        product_code="profile",
        title="Profile",
        title_zh="廓线",
        geometry={"type": "Point", "coordinates": [106.5, 29.5]},
        bbox=(106.5, 29.5, 106.5, 29.5),
        start=FIRST,
        quality_level="candidate",
    )
    file = stac.AssetFields(href="./p.nc", media_type="application/netcdf", roles=("data",), size=1, sha256="2" * 64)
    item = built(plain, assets={"p.nc": file}, sector="weather")
    stac.validate_item(item)
    assert item["stac_extensions"] == [stac.FILE, stac.CQEO]
    everything = {stac.CLASSIFICATION, stac.FILE, stac.PROCESSING, stac.PROJECTION, stac.RASTER, stac.TIMESTAMPS}
    assert set(built()["stac_extensions"]) == everything | {stac.CQEO}


def test_what_is_served_is_valid_and_leaves_the_stored_item_alone() -> None:
    stored = built()
    before = copy.deepcopy(stored)
    for state, deprecated in (("published", False), ("superseded", True), ("withdrawn", True)):
        served = stac.with_publication(stored, revision=3, state=state, published_at=FIRST.astimezone(BEIJING))
        stac.validate_item(served)
        properties = served["properties"]
        assert (properties["version"], properties["deprecated"]) == ("3", deprecated)
        assert (properties["published"], properties["cqeo:status"]) == ("2021-09-01T03:20:00Z", state)
    assert stored == before


BREACHES: dict[str, tuple[Callable[[dict], object], str]] = {
    "unknown sector": (lambda i: i["properties"].update({"cqeo:sector": "x"}), r"\['cqeo:sector'\]: 'x' is not one of"),
    "unknown own field": (lambda i: i["properties"].update({"cqeo:foo": 1}), "cqeo:foo"),
    "no Chinese title": (lambda i: i["properties"].pop("cqeo:title_zh"), "cqeo:title_zh"),
    "share above one": (lambda i: i["properties"].update({"cqeo:clear_fraction": 1.01}), "clear_fraction.*maximum"),
    "share below zero": (lambda i: i["properties"].update({"cqeo:clear_fraction": -0.01}), "clear_fraction.*minimum"),
    "code too short": (lambda i: i["properties"].update({"cqeo:admin_codes": ["50010"]}), "admin_codes.*50010"),
    "capital in identity": (lambda i: i.update(id="Open-Water"), r"\$\.id: 'Open-Water' does not match"),
    "no such day": (lambda i: i["properties"].update(datetime="2021-02-30T00:00:00Z"), "datetime.*2021-02-30"),
    "time without zone": (lambda i: i["properties"].update(datetime="2021-02-03T00:00:00"), "not a 'date-time'"),
    "checksum not SHA-256": (lambda i: i["assets"]["data.tif"].update({"file:checksum": "00"}), "file:checksum.*1220"),
    "no checksum": (lambda i: i["assets"]["data.tif"].pop("file:checksum"), "file:checksum.*required"),
    "negative size": (lambda i: i["assets"]["data.tif"].update({"file:size": -1}), "file:size.*-1"),
    "no assets": (lambda i: i["assets"].clear(), r"\$\.assets"),
    "shape of one number": (lambda i: i["properties"].update({"proj:shape": [1]}), "proj:shape.*short"),
    "transform of five": (lambda i: i["properties"].update({"proj:transform": [1, 2, 3, 4, 5]}), "proj:transform"),
    "referenced schema": (lambda i: i["properties"].update({"proj:projjson": {"type": "x"}}), "proj:projjson"),
    "data type": (lambda i: i["assets"]["data.tif"]["raster:bands"][0].update(data_type="u8"), "data_type.*u8"),
    "class without name": (
        lambda i: i["assets"]["data.tif"]["raster:bands"][0]["classification:classes"][0].pop("name"),
        "classification:classes.*name",
    ),
    "processing": (lambda i: i["properties"].update({"processing:level": 3}), "processing:level.*3 is not"),
    "version": (
        lambda i: (i["stac_extensions"].append(stac.VERSIONING), i["properties"].update(version=2)),
        "version: 2 is not of type",
    ),
    "timestamps": (lambda i: i["properties"].update(expires="2022-09-01T00:00:00+08:00"), "expires"),
    "core version": (lambda i: i.update(stac_version="1.0.0"), "stac_version.*1.1.0"),
    "no links": (lambda i: i.pop("links"), "links"),
    "collection without link": (lambda i: i["links"].clear(), "collection"),
    "box of three": (lambda i: i.update(bbox=[1, 2, 3]), r"\$\.bbox"),
    "unknown extension": (lambda i: i["stac_extensions"].append("https://e.example/x.json"), "not at hand.*fetched"),
    "own extension undeclared": (lambda i: i["stac_extensions"].remove(stac.CQEO), "not declared"),
}


@pytest.mark.parametrize("name", BREACHES)
def test_each_breach_is_named_with_its_place(name: str) -> None:
    breach, message = BREACHES[name]
    item = built()
    breach(item)
    with pytest.raises(stac.StacError, match=message):
        stac.validate_item(item)


def test_a_schema_that_refers_to_an_unknown_address_is_an_error_not_a_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    held = stac.schema

    def with_foreign_reference(url: str) -> dict[str, Any]:
        content = held(url)
        return {**content, "allOf": [{"$ref": "https://elsewhere.example/s.json"}]} if url == stac.FILE else content

    monkeypatch.setattr(stac, "schema", with_foreign_reference)
    for cached in (stac._registry, stac._validator):
        cached.cache_clear()
    try:
        with pytest.raises(stac.StacError, match=r"refers to https://elsewhere\.example/s\.json"):
            stac.validate_item(built())
    finally:
        for cached in (stac._registry, stac._validator):
            cached.cache_clear()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_id": "With-Capitals"}, "identity"),
        ({"item_id": ""}, "identity"),
        ({"fields": dataclasses.replace(FIELDS, start=FIRST.replace(tzinfo=None))}, "time zone"),
        ({"fields": dataclasses.replace(FIELDS, end=FIRST - dt.timedelta(seconds=1))}, "ends"),
        ({"fields": dataclasses.replace(FIELDS, bbox=(106.0, 29.0, 106.9, 30.0))}, "outside the box"),
        ({"fields": dataclasses.replace(FIELDS, bbox=(106.0, 29.1, 107.0, 30.0))}, "outside the box"),
    ],
)
def test_a_broken_contract_is_refused_while_building(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(stac.StacError, match=message):
        built(**changes)


def test_a_footprint_across_the_antimeridian_lies_in_its_box() -> None:
    across = {"type": "MultiPoint", "coordinates": [[178.0, -18.0], [180.0, -18.0], [-180.0, -18.0], [-179.0, -17.0]]}
    fields = dataclasses.replace(FIELDS, geometry=across, bbox=(178.0, -18.0, -179.0, -17.0))
    stac.validate_item(built(fields))
    outside = {"type": "Point", "coordinates": [0.0, -17.5]}
    with pytest.raises(stac.StacError, match="outside the box"):
        built(dataclasses.replace(fields, geometry=outside))
    world = {"type": "MultiPoint", "coordinates": [[-180.0, -90.0], [180.0, 90.0], [0.0, 0.0]]}
    stac.validate_item(built(dataclasses.replace(FIELDS, geometry=world, bbox=(-180.0, -90.0, 180.0, 90.0))))


def test_numbers_that_json_cannot_say_are_refused() -> None:
    with pytest.raises(stac.StacError, match="not JSON compliant"):
        stac.encoded({"id": "x", "value": math.nan})
    with pytest.raises(stac.StacError, match=r"x: .*serializable"):
        stac.encoded({"id": "x", "value": FIRST})


def test_a_collection_is_valid_and_bilingual() -> None:
    fields = stac.CollectionFields(
        collection_id="open-water-extent",
        product_code="open-water-extent",
        sector="transport",
        title="Open water extent",
        title_zh="开阔水面范围",
        description="Open water along rivers.",
        description_zh="沿江开阔水面。",
        bbox=(105.0, 28.0, 110.0, 32.0),
        interval=(FIRST, None),
    )
    collection = stac.build_collection(fields)
    stac.validate_collection(collection)
    assert (collection["title"], collection["cqeo:title_zh"]) == ("Open water extent", "开阔水面范围")
    assert collection["extent"]["temporal"]["interval"] == [["2021-09-01T03:20:00Z", None]]
    for name, value in (("license", "a licence"), ("extent", None), ("cqeo:sector", "x"), ("cqeo:title_zh", "")):
        with pytest.raises(stac.StacError, match="collection open-water-extent"):
            stac.validate_collection({**collection, name: value})
    with pytest.raises(stac.StacError, match="description"):
        stac.validate_collection({name: value for name, value in collection.items() if name != "description"})


def test_every_schema_file_is_listed_named_by_itself_and_documented() -> None:
    folder = Path(stac.__file__).parent / "schemas"
    listed = {**stac._EXTENSION_FILES, **stac._REFERENCED_FILES}
    of_stac = {path for path in folder.rglob("*.json") if "wis2-notification" not in path.parts}
    assert {folder / name for name in listed.values()} == of_stac
    readme = (folder / "README.md").read_text()
    for url, name in listed.items():
        assert stac.schema(url)["$id"].rstrip("#") == url
        assert f"`{name.rpartition('/')[0]}`" in readme
    with pytest.raises(stac.StacError, match="nothing is fetched"):
        stac.schema("https://e.example/x.json")
