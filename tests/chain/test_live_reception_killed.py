"""A real receiver killed in mid-stream, again and again: what was acknowledged stays, and nothing is doubled."""

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from infra import object_store, packet_files
from infra.embedded import object_store_server
from processors.ccsds import link
from processors.simulation import downlink as simulation
from processors.simulation import packets as encoder

pytestmark = pytest.mark.chain

COMMAND = Path(sys.executable).with_name("terralimb")
LINK = Path(__file__).resolve().parents[2] / "infra" / "parameters" / "links" / "terralimb.yaml"
OURS = link.link_from_mapping(yaml.safe_load(LINK.read_text()))


def modelled(seed: int, lost: range = range(0)) -> bytes:
    """Return a pass of a few megabytes."""
    random = np.random.default_rng(seed)
    records = [encoder.PacketRecord(t, 0x20 + t % 3, random.bytes(int(random.integers(1, 3000)))) for t in range(1500)]
    packets = {2: encoder.space_packets(records)}
    return simulation.assemble_pass(packets, link=OURS, spacecraft=76, lost_frames=[(2, n) for n in lost]).cadus


class Receiver:
    """The command `downlink receive` in a process of its own."""

    def __init__(self, folder: Path, *options: str, home: Path | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TERRALIMB")}
        environment |= {"TERRALIMB_HOME": str(home or folder / "home")}
        where = () if home is not None else ("--out", str(folder))
        command = [str(COMMAND), "downlink", "receive", "--listen", "127.0.0.1:0", "--link", str(LINK)]
        self.process = subprocess.Popen(
            [*command, *where, *options], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        assert first.startswith("listening on 127.0.0.1:"), first
        self.port = int(first.rpartition(":")[2])

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; returns the exit status and what was said."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=60)
        return self.process.returncode, said


@contextlib.contextmanager
def receiving(folder: Path, *options: str, home: Path | None = None) -> Iterator[Receiver]:
    receiver = Receiver(folder, *options, home=home)
    try:
        yield receiver
    finally:
        if receiver.process.poll() is None:
            receiver.process.kill()
        receiver.process.communicate()


class Station:
    """A sender that resumes: it knows what it sent and remembers the newest total it was told."""

    def __init__(self, octets: bytes, header: str) -> None:
        self.octets, self.header = octets, header
        self.acknowledged = 0
        self.answers = bytearray()

    def connect(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.answers.clear()
        self.socket.sendall(f"TLRECEIVE1 {self.header}\n".encode())
        answer = b""
        while len(answer) < 8:
            answer += self.socket.recv(8 - len(answer))
        self.sent = int(struct.unpack(">Q", answer)[0])
        assert self.acknowledged <= self.sent <= len(self.octets)

    def send_to(self, end: int, size: int) -> None:
        while self.sent < end:
            with contextlib.suppress(ConnectionError):
                self.sent += self.socket.send(self.octets[self.sent : min(self.sent + size, end)])
            self.listen(0.001)

    def listen(self, seconds: float) -> None:
        with contextlib.suppress(ConnectionError):
            while select.select([self.socket], [], [], seconds)[0] and (octets := self.socket.recv(4096)):
                self.answers += octets
        whole = len(self.answers) // 8 * 8
        for (total,) in struct.iter_unpack(">Q", bytes(self.answers[:whole])):
            assert self.acknowledged <= total <= self.sent
            self.acknowledged = total
        del self.answers[:whole]

    def finish(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)
        while octets := self.socket.recv(4096):
            self.answers += octets
        self.listen(0)
        self.socket.close()


def decoder_of(receiver: Receiver) -> psutil.Process:
    """Return the receiver's child once it runs Python."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for child in psutil.Process(receiver.process.pid).children():
            if child.cmdline()[:1] == [sys.executable]:
                return child
        time.sleep(0.005)
    pytest.fail("no decoder was started")


def packets_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("packets/*/*/*.bin"))}


def decoded(folder: Path, octets: bytes) -> dict[str, bytes]:
    """Packets of the pass as a file."""
    folder.mkdir()
    (folder / "pass.cadu").write_bytes(octets)
    packet_files.decode([folder / "pass.cadu"], link=OURS, out=folder)
    return packets_in(folder)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_receiver_killed_in_mid_stream_loses_and_doubles_no_octet(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    octets = modelled(seed)
    points = sorted(random.integers(1, len(octets), size=3).tolist())
    station = Station(octets, "pass-1 tromso")
    for point in points:
        with receiving(tmp_path / "live") as receiver:
            station.connect(receiver.port)
            station.send_to(max(point, station.sent), int(random.integers(500, 100_000)))
            # Killed with octets on their way, some acknowledged, some not.
            receiver.end(signal.SIGKILL)
            station.listen(0)
            station.socket.close()
    with receiving(tmp_path / "live", "--once") as receiver:
        station.connect(receiver.port)
        station.send_to(len(octets), 65_536)
        station.finish()
        status, said = receiver.wait()
    assert status == 0, said
    assert station.acknowledged == len(octets)
    recordings = list((tmp_path / "live" / "recordings").glob("*.cadu"))
    assert [path.read_bytes() == octets for path in recordings] == [True]
    assert packets_in(tmp_path / "live") == decoded(tmp_path / "file", octets) != {}


def test_a_receiver_asked_to_end_acknowledges_everything_and_its_session_is_resumed(tmp_path: Path) -> None:
    octets = modelled(3)
    station = Station(octets, "pass-1")
    with receiving(tmp_path, "--station", "svalbard") as receiver:
        station.connect(receiver.port)
        station.send_to(len(octets) // 2 + 77, 10_000)
        status, said = receiver.end(signal.SIGTERM)
        station.listen(0)
        station.socket.close()
    assert status == 0
    assert "can be resumed" in said
    assert station.acknowledged == station.sent
    assert not list((tmp_path / "recordings").iterdir())
    with receiving(tmp_path, "--station", "svalbard", "--once") as receiver:
        station.connect(receiver.port)
        assert station.sent == len(octets) // 2 + 77
        station.send_to(len(octets), 50_000)
        station.finish()
        assert receiver.wait()[0] == 0
    account = json.loads((tmp_path / "completeness.json").read_text())
    assert account["bytes"] == {"in": len(octets), "frames": len(octets), "junk": 0, "tail": 0}


def test_two_stations_at_once_make_one_whole_pass(tmp_path: Path) -> None:
    octets = modelled(4)
    stations = [
        Station(modelled(4, range(100, 300)), "pass-1 tromso"),
        Station(modelled(4, range(700, 900)), "pass-1 svalbard"),
    ]
    expected = decoded(tmp_path / "file", octets)
    with receiving(tmp_path / "live") as receiver:
        for station in stations:
            station.connect(receiver.port)
        longest = max(len(station.octets) for station in stations)
        for end in itertools.chain(range(0, longest, 30_001), [longest]):
            for station in stations:
                station.send_to(min(end, len(station.octets)), 30_001)
        for station in stations:
            station.finish()
        deadline = time.monotonic() + 60
        while packets_in(tmp_path / "live") != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        assert receiver.end(signal.SIGTERM)[0] == 0
    assert packets_in(tmp_path / "live") == expected


def test_a_receiver_killed_while_decoding_leaves_no_decoder_and_its_successor_decodes(tmp_path: Path) -> None:
    octets = modelled(5)
    station = Station(octets, "pass-1")
    with receiving(tmp_path / "live", "--idle-seconds", "1") as receiver:
        station.connect(receiver.port)
        station.send_to(len(octets), 1 << 16)
        station.finish()
        decoder = decoder_of(receiver)
        # Held fast, so that it cannot come to its end by itself.
        decoder.suspend()
        receiver.end(signal.SIGKILL)
        _, alive = psutil.wait_procs([decoder], timeout=5)
        for process in alive:
            process.kill()
        assert not alive
    expected = decoded(tmp_path / "file", octets)
    with receiving(tmp_path / "live") as receiver:
        deadline = time.monotonic() + 60
        while not (tmp_path / "live" / "decoded.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert receiver.end(signal.SIGTERM)[0] == 0
    assert packets_in(tmp_path / "live") == expected


def test_the_sender_of_the_documentation_delivers_a_pass(tmp_path: Path) -> None:
    text = (LINK.parents[3] / "docs" / "reception.md").read_text()
    program = text.partition("```python\n")[2].partition("```")[0]
    octets = modelled(8)
    (tmp_path / "pass.cadu").write_bytes(octets)
    with receiving(tmp_path / "live", "--once") as receiver:
        call = f"send('127.0.0.1', {receiver.port}, 'pass-1', 'tromso', {str(tmp_path / 'pass.cadu')!r})"
        made = subprocess.run([sys.executable, "-c", f"{program}\n{call}"], capture_output=True, text=True, check=True)
        assert receiver.wait()[0] == 0
    assert made.stdout.splitlines()[-1] == f"{len(octets)} octets are safe"
    assert [path.read_bytes() == octets for path in (tmp_path / "live" / "recordings").glob("*.cadu")] == [True]


def test_a_stream_that_is_not_of_the_link_is_kept_and_makes_the_status_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(6).bytes(100_000)
    with receiving(tmp_path, "--once") as receiver:
        with socket.create_connection(("127.0.0.1", receiver.port)) as plain:
            plain.sendall(noise)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass
        status, said = receiver.wait()
    assert status == 1
    assert "not decoded" in said
    assert [path.read_bytes() for path in (tmp_path / "recordings").glob("*.cadu")] == [noise]


def test_a_landed_recording_is_in_the_landing_bucket_and_no_longer_here(
    tmp_path: Path,
    object_store_home: Path,
    server: object_store_server.RunningServer,
    store: object_store.ObjectStore,
) -> None:
    assert server.endpoint_url
    store.create_bucket("tl-landing")
    octets = modelled(7)
    station = Station(octets, "pass-1 tromso")
    with receiving(tmp_path, "--land", "--once", home=object_store_home) as receiver:
        station.connect(receiver.port)
        station.send_to(len(octets), 1 << 16)
        station.finish()
        status, said = receiver.wait()
    assert status == 0, said
    (landed,) = store.list("tl-landing", "downlink/tromso/terralimb/")
    assert store.read("tl-landing", landed.key) == octets
    assert not list((object_store_home / "reception" / "terralimb" / "recordings").glob("*.cadu"))
