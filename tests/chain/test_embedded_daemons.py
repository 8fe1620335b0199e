"""Servers of the installation: found again, ended with everything they started, never mistaken for another's."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.embedded import daemon, metadata_database

pytestmark = pytest.mark.chain


def wait_for(condition: object, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def sleeper(folder: Path, script: str = "sleep 60") -> daemon.Daemon:
    return daemon.Daemon("sleeper", ["sh", "-c", script], folder)


def test_a_started_daemon_is_known_and_a_stopped_one_is_not(tmp_path: Path) -> None:
    server = sleeper(tmp_path)
    server.start()
    assert server.pid() is not None
    server.stop()
    assert server.pid() is None
    server.stop()


def test_a_daemon_that_died_is_noticed_before_anyone_collects_it(tmp_path: Path) -> None:
    server = sleeper(tmp_path)
    server.start()
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: server.pid() is None)
    server.stop()


def test_a_daemon_that_ended_before_its_start_was_noted_is_not_running(tmp_path: Path) -> None:
    server = sleeper(tmp_path, "exit 1")
    server.start()
    noted = json.loads(server.state.read_text())
    assert wait_for(lambda: daemon.start_ticks(noted["pid"]) is None)
    server.state.write_text(json.dumps(noted | {"start_ticks": None}))
    assert server.pid() is None
    server.stop()


def test_children_of_a_dead_leader_are_ended_too(tmp_path: Path) -> None:
    server = sleeper(tmp_path, "sleep 61 & sleep 60; wait")
    server.start()
    leader = server.pid()
    assert leader is not None
    assert wait_for(lambda: len(psutil.Process(leader).children()) == 2)
    children = psutil.Process(leader).children()
    os.kill(leader, signal.SIGKILL)
    assert wait_for(lambda: server.pid() is None)
    server.stop()
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_a_process_that_took_over_the_pid_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        server = sleeper(tmp_path)
        server.state.write_text(json.dumps({"pid": other.pid, "start_ticks": 1}))
        server.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_daemon_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from infra.embedded import daemon;"
        "server = daemon.Daemon('sleeper', ['sleep', '60'], Path(sys.argv[1])); server.start();"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert wait_for(lambda: sleeper(tmp_path).pid() is None)


def test_a_server_that_stops_while_starting_says_why(tmp_path: Path) -> None:
    server = sleeper(tmp_path, "echo the disk is full; exit 3")
    server.start()
    with pytest.raises(daemon.DaemonError, match="the disk is full"):
        server.wait_until(lambda: False, seconds=10)
    server.stop()


def test_the_schedulers_database_listens_on_loopback_only_and_keeps_its_password_to_itself(tmp_path: Path) -> None:
    server, url = metadata_database.start(tmp_path)
    try:
        pid = server.pid()
        assert pid is not None
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        listening = {
            connection.laddr.ip
            for process in family
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        secret = tmp_path / "metadata_database" / "password"
        assert secret.stat().st_mode & 0o077 == 0
        assert secret.read_text() in url
        assert not any(secret.read_text() in " ".join(process.cmdline()) for process in family)
    finally:
        server.stop()
    assert server.pid() is None
