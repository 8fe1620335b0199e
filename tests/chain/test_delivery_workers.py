"""Processes of the service: all answer, one that is killed is replaced, and none is left when they are told to end."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra import database
from infra.embedded import daemon

pytestmark = pytest.mark.chain


def waited(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status == 200 and b"status" in answer.read()
    except OSError:
        return False
    finally:
        connection.close()


def answering(parent: subprocess.Popen[bytes]) -> dict[int, psutil.Process]:
    return {child.pid: child for child in psutil.Process(parent.pid).children() if child.status() != "zombie"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    database.upgrade(f"sqlite:///{tmp_path / 'terralimb.sqlite'}")
    credentials = tmp_path / "credentials.json"
    credentials.write_text('{"access_key": "a", "secret_key": "b"}', encoding="utf-8")
    port = daemon.free_port(None)
    reach = {
        "TERRALIMB_HOME": str(tmp_path),
        "TERRALIMB_S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "TERRALIMB_S3_CREDENTIALS_FILE": str(credentials),
    }
    words = f"from infra.delivery import workers; workers.run('127.0.0.1', {port}, 2)"
    with subprocess.Popen([sys.executable, "-c", words], env=os.environ | reach) as parent:
        yield parent, port
        parent.terminate()


def test_a_killed_process_is_replaced_and_all_end_together(service: tuple[subprocess.Popen[bytes], int]) -> None:
    parent, port = service
    assert waited(lambda: len(answering(parent)) == 2)
    first = answering(parent)
    # Each connection may meet either process.
    assert all(waited(lambda: healthy(port)) for _ in range(8))
    gone = next(iter(first))
    os.kill(gone, signal.SIGKILL)
    assert waited(lambda: len(answering(parent)) == 2 and gone not in answering(parent))
    assert all(waited(lambda: healthy(port)) for _ in range(8))
    last = answering(parent)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(30) == 0
    assert waited(lambda: not any(child.is_running() and child.status() != "zombie" for child in last.values()))


def test_nobody_shares_the_port_of_a_running_service(service: tuple[subprocess.Popen[bytes], int]) -> None:
    _parent, port = service
    assert waited(lambda: healthy(port))
    words = f"from infra.delivery import workers; workers.run('127.0.0.1', {port}, 1, listening=lambda: print('mine'))"
    second = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 1
    assert f"127.0.0.1, port {port}: Address already in use; choose another with --port" in second.stderr
    assert "mine" not in second.stdout
