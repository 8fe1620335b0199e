"""The embedded object store: closed, on loopback only, found again after any end."""

import http.client
import json
import os
import secrets
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra import object_store
from infra.embedded import object_store_server

pytestmark = pytest.mark.chain


_PRIVATE_FILES = (
    "credentials.json", "identities.json", "security.toml", "certificate.key", "state.json", "server.log",
)  # fmt: skip


@pytest.fixture
def own_home(tmp_path: Path) -> Iterator[Path]:
    """Home of a server this test may kill."""
    yield tmp_path
    object_store_server.stop(tmp_path, timeout=0.0)
    assert object_store_server.running(tmp_path) is None


def status_of(port: int, path: str, method: str = "GET") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=b"x" if method in {"PUT", "POST"} else None)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_server_listens_on_loopback_only(server: object_store_server.RunningServer) -> None:
    expected = {port + step for port in server.ports.values() for step in (0, 10000)}
    deadline = time.monotonic() + 10
    while {port for _, port in _listening(server)} != expected and time.monotonic() < deadline:
        time.sleep(0.05)  # some listeners open a moment after the store is ready
    assert {port for _, port in _listening(server)} == expected  # nothing that was not asked for
    assert {address for address, _ in _listening(server)} == {"127.0.0.1"}


def _listening(server: object_store_server.RunningServer) -> list[tuple[str, int]]:
    connections = psutil.Process(server.pid).net_connections("inet")
    return [tuple(entry.laddr) for entry in connections if entry.status == psutil.CONN_LISTEN]


def test_the_server_talks_to_nobody_outside(server: object_store_server.RunningServer) -> None:
    peers = {
        connection.raddr.ip for connection in psutil.Process(server.pid).net_connections("inet") if connection.raddr
    }
    assert peers <= {"127.0.0.1"}


def test_telemetry_is_off_and_no_secret_is_on_the_command_line_or_in_the_log(
    server: object_store_server.RunningServer,
) -> None:
    arguments = psutil.Process(server.pid).cmdline()
    assert "-master.telemetry=false" in arguments
    token_keys = _security(server).partition("[grpc]")[0]
    keys = [line.partition('"')[2].rstrip('"') for line in token_keys.splitlines() if line.startswith("key")]
    assert len(keys) == 4
    for secret in (server.credentials.secret_key, *keys):
        assert len(secret) >= 32
        assert secret not in " ".join(arguments)
        assert secret not in " ".join(psutil.Process(server.pid).environ().values())
        assert secret not in server.log.read_text()
        assert secret not in repr(server)


def _security(server: object_store_server.RunningServer) -> str:
    return (server.home / "object_store" / "security.toml").read_text()


def test_only_the_owner_reads_the_servers_files(server: object_store_server.RunningServer) -> None:
    root = server.home / "object_store"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    for name in _PRIVATE_FILES:
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600, name
    assert server.credentials_file == root / "credentials.json"


def test_the_file_interface_is_closed_without_a_token(
    server: object_store_server.RunningServer, store: object_store.ObjectStore, bucket: str
) -> None:
    store.put_new(bucket, "secret.txt", b"not for you", media_type="text/plain")
    for path in (f"/buckets/{bucket}/secret.txt", f"/buckets/{bucket}/", "/"):
        assert status_of(server.ports["filer"], path) in {401, 403}, path
    assert status_of(server.ports["filer"], f"/buckets/{bucket}/planted.txt", "PUT") in {401, 403}
    assert status_of(server.ports["filer"], f"/buckets/{bucket}/secret.txt", "DELETE") in {401, 403}
    assert [entry.key for entry in store.list(bucket)] == ["secret.txt"]


def test_an_unsigned_request_is_refused(
    server: object_store_server.RunningServer, store: object_store.ObjectStore, bucket: str
) -> None:
    store.put_new(bucket, "a", b"a", media_type="text/plain")
    assert status_of(server.ports["s3"], f"/{bucket}/a") == 403
    assert status_of(server.ports["s3"], f"/{bucket}/b", "PUT") == 403


def test_the_administration_pages_are_off(server: object_store_server.RunningServer) -> None:
    for path in ("/", "/login", "/object-store/buckets", "/api/users"):
        assert status_of(server.ports["admin"], path) == 404


def test_a_mistyped_bucket_is_not_created(store: object_store.ObjectStore) -> None:
    with pytest.raises(object_store.ObjectMissingError):
        store.put_new("tl-no-such-bucket", "a", b"a", media_type="text/plain")
    assert "tl-no-such-bucket" not in store.buckets()


def test_starting_again_attaches_and_two_homes_have_different_secrets(
    server: object_store_server.RunningServer, own_home: Path
) -> None:
    assert object_store_server.start(server.home) == server
    other = object_store_server.start(own_home, buckets=["tl-a", "tl-b"])
    assert other.connect().buckets() == ("tl-a", "tl-b")
    assert other.credentials.secret_key != server.credentials.secret_key
    assert not {*other.ports.values()} & {*server.ports.values()}
    stranger = object_store.ObjectStore(endpoint=other.endpoint_url, credentials=server.credentials)
    with pytest.raises(object_store.AccessRefusedError):
        stranger.buckets()


def test_data_survive_kill_9_and_the_address_stays(own_home: Path) -> None:
    first = object_store_server.start(own_home, buckets=["tl-archive"])
    bodies = {f"k/{number}": secrets.token_bytes(50_000) for number in range(20)}
    for key, body in bodies.items():
        first.connect().put_new("tl-archive", key, body, media_type="application/octet-stream")
    server = first
    # Started from what a killed one left, it finds its volumes again later than it answers.
    for _ in range(3):
        os.kill(server.pid, signal.SIGKILL)
        _wait_for_end(server.pid)
        assert object_store_server.running(own_home) is None
        again = object_store_server.start(own_home)
        assert again.pid != server.pid
        assert (again.endpoint_url, again.credentials) == (first.endpoint_url, first.credentials)
        store = again.connect()
        assert {entry.key: store.read("tl-archive", entry.key) for entry in store.list("tl-archive")} == bodies
        server = again


def test_stale_or_broken_state_is_no_running_server(own_home: Path) -> None:
    root = own_home / "object_store"
    root.mkdir()
    # Our own, living process id must not pass for the server's.
    (root / "state.json").write_text(json.dumps({"pid": os.getpid(), "ports": {"s3": 1}}))
    assert object_store_server.running(own_home) is None
    assert object_store_server.stop(own_home) is False
    server = object_store_server.start(own_home)
    (root / "state.json").write_text("{ this is not JSON")
    assert object_store_server.running(own_home) == server  # found by its command line
    assert object_store_server.stop(own_home) is True
    assert not psutil.pid_exists(server.pid)


def test_a_taken_port_makes_it_choose_others(own_home: Path) -> None:
    first = object_store_server.start(own_home)
    object_store_server.stop(own_home)
    blocker = "import socket,sys,time; s=socket.socket(); s.bind(('127.0.0.1',int(sys.argv[1]))); s.listen(); print(1,flush=True); time.sleep(60)"  # noqa: E501
    with subprocess.Popen([sys.executable, "-c", blocker, str(first.ports["filer"] + 10000)], stdout=-1) as taken:
        assert taken.stdout is not None
        taken.stdout.readline()
        second = object_store_server.start(own_home, buckets=["tl-a"])
        taken.kill()
    assert second.ports["filer"] != first.ports["filer"]
    assert second.connect().buckets() == ("tl-a",)


def test_a_server_outlives_the_process_that_started_it_and_is_stopped_by_another(own_home: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from infra.embedded import object_store_server as s;"
        "print(s.start(Path(sys.argv[1])).pid)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(own_home)], capture_output=True, text=True, check=True)
    found = object_store_server.running(own_home)
    assert found is not None
    assert found.pid == int(done.stdout)
    assert found.stop() is True
    assert object_store_server.running(own_home) is None


def test_a_server_that_cannot_start_says_why(own_home: Path) -> None:
    root = own_home / "object_store"
    (root / "data").mkdir(parents=True)
    (root / "data" / "filerldb2").write_text("a file where a folder must be")
    with pytest.raises(object_store_server.ObjectStoreServerError, match=r"log line: .+"):
        object_store_server.start(own_home, timeout=8.0)
    assert object_store_server.running(own_home) is None


def test_the_version_is_checked(tmp_path: Path) -> None:
    other = tmp_path / "weed"
    other.write_text("#!/bin/sh\necho 'version 8000GB 3.99 linux amd64'\n")
    other.chmod(0o755)
    with pytest.raises(object_store_server.ObjectStoreServerError, match=r"3\.99.*not version 4\.48"):
        object_store_server.check_version(other)
    object_store_server.check_version(object_store_server.binary())


def test_the_context_stops_what_it_started_and_only_that(own_home: Path) -> None:
    with object_store_server.serving(own_home) as outer:
        with object_store_server.serving(own_home) as inner:
            assert inner == outer
        assert object_store_server.running(own_home) == outer
    assert object_store_server.running(own_home) is None


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
