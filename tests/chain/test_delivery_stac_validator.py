"""The service judged from outside: by the STAC API validator without network, and by pystac-client unchanged."""

import datetime as dt
import json
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pystac.validation.jsonschemas
import pystac.validation.stac_validator
import pystac_client
import pytest
import uvicorn

from infra import catalog_store, object_store
from infra.delivery import entitlement, fair_share, identity
from infra.demonstration import modelled_catalogue
from products import stac
from tests import conftest

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    from infra.delivery import gateway

pytestmark = [pytest.mark.chain, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

COUNT = 120
HULL = '{"type":"Polygon","coordinates":[[[105,28],[110,28],[110,32],[105,32],[105,28]]]}'
SECTORS = [fields.sector for fields in modelled_catalogue.collections()]


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, catalogue_database: str, databases: conftest.Databases
) -> Iterator[tuple[str, str]]:
    """Address of a running STAC API over a modelled catalogue on every kind of database, and a key for it."""
    with databases.catalogue(catalogue_database) as catalog:
        yield from _serving(catalog, tmp_path_factory.mktemp("served"))


def _serving(catalog: catalog_store.CatalogStore, home: Path) -> Iterator[tuple[str, str]]:
    engine, now = catalog.engine, dt.datetime.now(dt.UTC)
    for fields in modelled_catalogue.collections():
        catalog.put_collection(stac.build_collection(fields))
    with catalog.writing() as connection:
        for entry in modelled_catalogue.entries(COUNT, seed=11):
            catalog.publish(entry, published_at=now, connection=connection)
    key = identity.create(
        engine, agency="judge", sectors=SECTORS, scopes=entitlement.SCOPES, expires_at=now + dt.timedelta(hours=1)
    )
    application = gateway.application(
        gateway.Parts(
            catalog=catalog,
            store=object_store.ObjectStore(
                endpoint="http://127.0.0.1:9", credentials=object_store.Credentials("access", "secret")
            ),
            home=home,
            identities=identity.Identities(engine),
            limits=fair_share.Limits(rate=1e6, burst=1_000_000, places=8),
        )
    )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/stac/", key
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the validator the schemas from here: ours, those vendored, and the core ones pystac brings."""
    import stac_validator.utilities
    import stac_validator.validate

    brought = Path(pystac.validation.jsonschemas.__path__[0])
    fetched = stac_validator.utilities.fetch_and_parse_schema

    def schema(address: str) -> dict[str, Any]:

        name = address.rpartition("/")[2]
        if address.startswith("https://schemas.stacspec.org/v1.1.0/"):
            return dict(json.loads((brought / "stac-spec" / "v1.1.0" / name).read_text(encoding="utf-8")))
        if address.startswith("https://geojson.org/schema/"):
            return dict(json.loads((brought / "geojson" / name).read_text(encoding="utf-8")))
        try:
            return stac.schema(address)
        except stac.StacError:
            return dict(fetched(address))

    def of_pystac(judge: Any, address: str) -> dict[str, Any]:
        return dict(judge.schema_cache.setdefault(address, schema(address)))

    monkeypatch.setattr(pystac.validation.stac_validator.JsonSchemaSTACValidator, "_get_schema", of_pystac)
    for module in (stac_validator.utilities, stac_validator.validate):
        monkeypatch.setattr(module, "fetch_and_parse_schema", schema)
    filed = stac_validator.utilities.fetch_and_parse_file

    def file(address: str, *given: Any, **more: Any) -> Any:
        local = address.startswith("http://127.0.0.1") or not address.startswith("http")
        return filed(address, *given, **more) if local else schema(address)

    monkeypatch.setattr(stac_validator.utilities, "fetch_and_parse_file", file)


def errors_of(served: tuple[str, str], classes: list[str]) -> list[str]:
    from stac_api_validator import validations

    address, key = served
    _, errors = validations.validate_api(
        root_url=address,
        ccs_to_validate=classes,
        collection="flood-extent",
        geometry=HULL,
        auth_bearer_token=key,
        auth_query_parameter=None,
        fields_nested_property="properties.cqeo:sector",
        validate_pagination=True,
        query_config=None,
        transaction_collection=None,
        headers={"Authorization": f"Bearer {key}"},
        stac_check_config=None,
    )
    return [str(error) for error in errors]


@pytest.mark.usefixtures("no_network")
def test_the_validator_finds_no_error_in_catalogue_search_filter_and_order(served: tuple[str, str]) -> None:
    classes = ["core", "collections", "features", "item-search", "filter", "item-search#sort"]
    assert errors_of(served, classes) == []


@pytest.mark.usefixtures("no_network")
def test_the_validator_errs_about_fields_in_the_one_way_known(served: tuple[str, str]) -> None:
    # It excludes `geometry` and then wants another property gone too, which nothing in the extension asks for.
    found = errors_of(served, ["core", "item-search", "item-search#fields"])
    assert len(found) == 2
    assert all("'exclude': ['geometry']" in error and "'properties.cqeo:sector'" in error for error in found)


def test_pystac_client_finds_pages_filters_and_orders_unchanged(served: tuple[str, str]) -> None:
    address, key = served
    client = pystac_client.Client.open(address, headers={"Authorization": f"Bearer {key}"})
    entries = list(modelled_catalogue.entries(COUNT, seed=11))
    assert {collection.id for collection in client.get_collections()} == {entry.collection for entry in entries}
    for method in ("GET", "POST"):
        search = client.search(method=method, collections=["flood-extent"], limit=7, sortby="-datetime")
        assert search.matched() == COUNT // 6
        found = [item.datetime for item in search.items()]
        assert found == sorted(
            (e.start.replace(microsecond=0) for e in entries if e.collection == "flood-extent"), reverse=True
        )
    filtered = client.search(
        method="GET", filter='"cqeo:clear_fraction" > 0.5 AND "cqeo:sector" = \'ecology\'', filter_lang="cql2-text"
    )
    clear = {
        e.item_id for e in entries if e.sector == "ecology" and e.document["properties"]["cqeo:clear_fraction"] > 0.5
    }
    assert {item.id for item in filtered.items()} == clear
    item = client.get_collection("water-extent").get_item(next(iter(clear)))
    assert item is not None
    assert item.assets["data"].href.startswith(address.removesuffix("stac/") + "download/")
