"""The real object store, once for all tests of the chain, in a home that vanishes afterwards."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra import object_store
from infra.embedded import object_store_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def object_store_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store-home")


@pytest.fixture(scope="session")
def server(object_store_home: Path) -> Iterator[object_store_server.RunningServer]:
    try:
        yield object_store_server.start(object_store_home, buckets=("tl-staging",))
    finally:
        object_store_server.stop(object_store_home, timeout=2.0)
    left = [process for process in psutil.process_iter(["cmdline"]) if str(object_store_home) in _arguments(process)]
    assert not left, f"processes left behind: {left}"


def _arguments(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or ())


@pytest.fixture(scope="session")
def store(server: object_store_server.RunningServer) -> Iterator[object_store.ObjectStore]:
    connected = server.connect()
    yield connected
    connected.close()


@pytest.fixture
def bucket(store: object_store.ObjectStore) -> str:
    """Return a bucket of the test's own."""
    name = f"tl-test-{next(_numbers):04d}"
    store.create_bucket(name)
    return name
