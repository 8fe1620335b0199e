"""How long after its publication a product is visible over HTTP, and told to feed and webhook.

Usage: python -m tests.benchmarks.announcement [publications, 20 unless given]. Starts object store, service and
`terralimb push run` of a home of its own, all on loopback. Prints one JSON object; exit status 1 where a bar is missed.
"""

import contextlib
import datetime as dt
import functools
import http.client
import http.server
import json
import os
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from infra import catalog_store, database, publication, settings, signing
from infra.delivery import identity, webhook
from infra.embedded import object_store_server
from products import stac
from tests.benchmarks import delivery

VISIBLE_BAR, TOLD_BAR = 2.0, 5.0
"""Until when a product is found, and announced, after it was published [s]."""
SECTOR = "emergency"


@contextlib.contextmanager
def received() -> Iterator[tuple[int, "queue.Queue[tuple[str, float]]"]]:
    """Listen for posts of a webhook.

    Yields
    ------
    tuple of int and queue.Queue
        Port, and identities with the time each was told at [s].
    """
    told: queue.Queue[tuple[str, float]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.put((json.loads(body)["id"], time.perf_counter()))
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1]), told
        server.shutdown()


def _published(number: int, chosen: settings.Settings, catalog: catalog_store.CatalogStore, home: Path) -> str:
    start = dt.datetime(2026, 7, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=number)
    item_id = f"flood-extent-cq-{start:%Y%m%dt%H%M%Sz}"
    store = object_store_server.start(home).connect()
    fields = stac.ItemFields(
        product_code="flood-extent",
        title="Flood extent",
        title_zh="洪水范围",
        geometry={"type": "Polygon", "coordinates": [[[106, 29], [107, 29], [107, 30], [106, 30], [106, 29]]]},
        bbox=(106.0, 29.0, 107.0, 30.0),
        start=start,
        quality_level="rapid",
    )
    publication.publish_package(
        item_id=item_id,
        collection="flood-extent",
        sector=SECTOR,
        fields=fields,
        assets={"data.tif": publication.AssetContent(secrets.token_bytes(1_000_000), "image/tiff", ("data",))},
        store=store,
        catalog=catalog,
        bucket=chosen.bucket("products"),
        key_prefix="flood-extent/v1",
        catalogue_bucket=chosen.bucket("catalogue"),
        signer=functools.partial(signing.sign, home),
    )
    return item_id


def _found(port: int, key: str, address: str, holds: str) -> float:
    """Time at which an address first answers with a text [s]."""
    until = time.perf_counter() + 30.0
    while time.perf_counter() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", address, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        if answer.status == 200 and holds in body:
            return time.perf_counter()
        time.sleep(0.02)
    raise RuntimeError(f"{address} did not show {holds} within 30 s")


def _told(queued: "queue.Queue[tuple[str, float]]", item_id: str) -> float:
    while True:
        name, at = queued.get(timeout=30)
        if name == item_id:
            return at


@contextlib.contextmanager
def _pushing(environment: dict[str, str]) -> Iterator[None]:
    command = [str(Path(sys.executable).with_name("terralimb")), "push", "run"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as pusher:
        try:
            if pusher.stderr is None or b"Pushing" not in pusher.stderr.readline():
                raise RuntimeError("terralimb push run did not start")
            yield
        finally:
            pusher.terminate()


def measured(home: Path, count: int) -> dict[str, list[float]]:
    """Publish one product after the other and time what follows.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    count : int
        Publications [1].

    Returns
    -------
    dict
        Times after the end of each publication [s].
    """
    chosen = settings.Settings(home=home)
    signing.ensure(home)
    server = object_store_server.start(home, buckets=[chosen.bucket(name) for name in settings.BUCKETS])
    url = chosen.resolved_database_url()
    database.upgrade(url)
    engine = database.engine(url)
    catalog = catalog_store.CatalogStore(engine)
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    key = identity.create(engine, agency="a", sectors=[SECTOR], scopes=["search", "feed"], expires_at=end)
    reach = {
        "TERRALIMB_HOME": str(home),
        "TERRALIMB_S3_ENDPOINT_URL": server.endpoint_url,
        "TERRALIMB_S3_CREDENTIALS_FILE": str(server.credentials_file),
    }
    times: dict[str, list[float]] = {"visible": [], "in the feed": [], "webhook": []}
    with received() as (hook, queued), delivery.served(home, workers=1, environment=reach) as port:
        webhook.add(catalog, home, agency="a", url=f"http://127.0.0.1:{hook}/in", sectors=[SECTOR])
        with _pushing(os.environ | reach):
            for number in range(count):
                item_id = _published(number, chosen, catalog, home)
                end_of_stage = time.perf_counter()
                seen = _found(port, key, f"/stac/collections/flood-extent/items/{item_id}", item_id)
                fed = _found(port, key, "/feed?limit=1000", item_id)
                for name, at in (("visible", seen), ("in the feed", fed), ("webhook", _told(queued, item_id))):
                    times[name].append(max(0.0, at - end_of_stage))
    return times


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory(prefix="terralimb-bench-") as folder:
        home = Path(folder)
        try:
            times = measured(home, count)
        finally:
            object_store_server.stop(home)
    slowest = {name: round(max(taken), 3) for name, taken in times.items()}
    result = {"publications": count, "load": os.getloadavg()[0], "slowest after publication [s]": slowest}
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    sys.exit(0 if slowest["visible"] < VISIBLE_BAR and max(slowest.values()) < TOLD_BAR else 1)


if __name__ == "__main__":
    main()
