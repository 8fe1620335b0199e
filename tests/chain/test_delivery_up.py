"""`terralimb up` keeps the delivery service running with the rest, and what it serves can be fetched and believed."""

import contextlib
import dataclasses
import datetime as dt
import functools
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra import catalog_store, database, publication, settings, signing
from infra.delivery import identity, stored_hash
from infra.embedded import announcer, daemon, delivery_server, object_store_server
from tests.chain import open_water
from tests.chain import test_delivery_push_arrival as arrival

pytestmark = pytest.mark.chain

NAME = open_water.NAME
TERRALIMB = [sys.executable, "-c", "from infra import cli; cli.main()"]
FIELDS = open_water.FIELDS


def waited(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return condition()


@dataclasses.dataclass
class Running:
    home: Path
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    @property
    def url(self) -> str:
        (line,) = [line for line in self.said.splitlines() if line.startswith("STAC API")]
        return line.split()[2].removesuffix("/stac/")

    @property
    def service(self) -> daemon.Daemon:
        return delivery_server.server(self.home, 0, {})

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*TERRALIMB, *arguments], env=environment(self.home), capture_output=True, text=True, check=False
        )


def environment(home: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TERRALIMB_")}
    return {**inherited, "TERRALIMB_HOME": str(home), "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Running]:
    home, output = tmp_path / "home", tmp_path / "output"
    with output.open("wb") as written:
        child = subprocess.Popen(
            [*TERRALIMB, "up", "--no-airflow"], env=environment(home), stdout=written, stderr=subprocess.STDOUT
        )
    running = Running(home, child, output)
    try:
        assert waited(lambda: "Ctrl-C" in running.said or child.poll() is not None, 240)
        assert child.poll() is None, running.said
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        child.wait(60)


def published(running: Running) -> catalog_store.CatalogStore:
    server = object_store_server.running(running.home)
    assert server is not None
    store = server.connect()
    chosen = settings.Settings(home=running.home)
    catalog = catalog_store.CatalogStore(database.engine(chosen.resolved_database_url()))
    publication.publish_package(
        item_id=NAME,
        collection="open-water-extent",
        sector="transport",
        fields=FIELDS,
        assets={"data.tif": publication.AssetContent(os.urandom(100_000), "image/tiff", ("data",))},
        store=store,
        catalog=catalog,
        bucket=chosen.bucket("products"),
        key_prefix="open-water-extent/v1",
        catalogue_bucket=chosen.bucket("catalogue"),
        signer=functools.partial(signing.sign, running.home),
    )
    return catalog


def test_up_serves_what_was_published_starts_the_service_again_and_ends_with_all_of_it(
    up: Running, tmp_path: Path
) -> None:
    with contextlib.closing(arrival.Receiver()) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/in"
        told = ("add-webhook", "--agency", "cq-roads", "--url", url, "--sector", "transport", "--all-districts")
        assert up.run("push", *told).returncode == 0
        catalog = published(up)
        assert waited(lambda: receiver.identities() == [NAME], 30), up.said
    key, out = tmp_path / "key", tmp_path / "got"
    key.write_text(
        identity.create(
            catalog.engine,
            agency="cq-roads",
            sectors=("transport",),
            scopes=("search", "download"),
            expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
        )
    )
    asked = ("fetch", NAME, "--out", str(out), "--url", up.url, "--key-file", str(key))
    made = up.run(*asked)
    assert made.returncode == 0, made.stderr
    body = (out / NAME / "r1" / "data.tif").read_bytes()
    assert len(body) == 100_000
    manifest = out / NAME / "r1" / "MANIFEST.json"
    signature = manifest.with_name("MANIFEST.json.minisig").read_bytes()
    signing.verify(signing.public_keys(up.home), manifest.read_bytes(), signature)
    store, item = object_store_server.running(up.home), catalog.item(NAME)
    assert store is not None
    assert item is not None
    sha512 = stored_hash.Sha512(store.connect)
    assert sha512(item.assets[0]) == hashlib.sha512(body).hexdigest()
    assert sha512(dataclasses.replace(item.assets[0], key="nothing")) is None

    first = up.service.pid()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert waited(lambda: delivery_server.answers(up.url) and up.service.pid() not in {None, first}, 240), up.said
    assert "was started again" in up.said

    catalog.withdraw(NAME, reason="cloud was taken for water 云误判为水", withdrawn_at=dt.datetime.now(dt.UTC))
    for way in (asked, asked[:4]):
        gone = up.run(*way)
        assert (gone.returncode, gone.stdout) == (1, "")
        assert gone.stderr == f"terralimb: {NAME} was withdrawn: cloud was taken for water 云误判为水\n"

    url, last, pushing = up.url, up.service.pid(), announcer.server(up.home, {}).pid()
    assert last is not None
    assert pushing is not None
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 0, up.said
    assert not delivery_server.answers(url)
    assert daemon.start_ticks(last) is daemon.start_ticks(pushing) is None
    assert object_store_server.running(up.home) is None


def test_a_service_that_stops_again_and_again_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = daemon.Daemon("service", ["sh", "-c", "echo the port is taken"], tmp_path)
    running = delivery_server.DeliveryServer("http://127.0.0.1:9", broken)
    for _ in range(delivery_server.RESTARTS):
        assert running.started_again()
        assert waited(lambda: broken.pid() is None, 10)
    with pytest.raises(daemon.DaemonError, match=r"stopped 6 times in 120 s(.|\n)*the port is taken"):
        running.started_again()
    broken.stop()


def test_a_push_that_cannot_run_is_told_once_with_the_end_of_its_log_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = tmp_path / "count"
    broken = daemon.Daemon("push", ["sh", "-c", f"echo x >> {count}; echo the address is none"], tmp_path)
    pushing = announcer.Announcer(broken)
    pushing.start()
    assert waited(lambda: broken.pid() is None, 10)
    said = pushing.trouble()
    assert said is not None
    assert "the address is none" in said
    assert pushing.trouble() is None
    assert count.read_text() == "x\n"
    monkeypatch.setattr(announcer, "PAUSE", 0.0)
    assert pushing.trouble() is None
    assert waited(lambda: count.read_text() == "x\nx\n", 10)
    pushing.stop()
