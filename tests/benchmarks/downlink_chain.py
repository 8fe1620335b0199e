"""Speed and memory of a whole decode, from CADUs to packets in files and the account: run by `make bench`.

The recording is a pass of our own link, three bits out of step and with a bit error rate of 1e-4, which one process
makes while another one decodes it. Speed is CADU octets by CPU time of the decoding process alone, over both halves of
its work: reading (frames go to disk by channel) and merging (frames are cut into packets). Memory is the peak resident
set of that process, pages of mapped files included. What comes out is checked against what was sent.

With `--long` (`make soak`) the recording has 10 GB and the decode must not grow slower: the last tenth of what is read,
and of the packets of the largest channel, is compared with the first one.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml

from infra import packet_files
from processors.arrays import ByteArray
from processors.ccsds import link as spacelink
from processors.level0 import downlink, frame_epochs, frame_store
from processors.simulation import downlink as simulation

LINK = Path(__file__).parents[2] / "infra/parameters/links/terralimb.yaml"
SPACECRAFT = 76
BIT_ERROR_RATE = 1e-4
BITS_OUT_OF_STEP = 3
SHORT, LONG = 250_000_000, 10_000_000_000

GIGABITS = 0.8
MEBIBYTES = 1e9 / 2**20
LAST_TO_FIRST = 0.9


def described() -> spacelink.Link:
    return spacelink.link_from_mapping(yaml.safe_load(LINK.read_text()))


def frames_of(octets: int) -> int:
    """Frames of a recording of about so many octets: whole repetitions of the mixture of channels."""
    return -(-octets // described().cadu_length // simulation.BULK_CYCLE) * simulation.BULK_CYCLE


def produce(frames: int, target: BinaryIO) -> None:
    """Write the recording."""
    last = np.zeros(1, dtype=np.uint8)
    stretches = simulation.bulk_pass(
        link=described(), spacecraft=SPACECRAFT, frames=frames, bit_error_rate=BIT_ERROR_RATE, seed=1
    )
    for stretch in stretches:
        octets = np.concatenate((last, stretch.reshape(-1)))
        last = octets[-1:]
        target.write((octets[:-1] << (8 - BITS_OUT_OF_STEP) | octets[1:] >> BITS_OUT_OF_STEP).data)
    target.write((last << (8 - BITS_OUT_OF_STEP)).data)


@dataclass
class Course:
    """How far the work had come at which CPU time: octets done so far [1] and time [s]."""

    octets: list[int] = field(default_factory=lambda: [0])
    seconds: list[float] = field(default_factory=lambda: [time.process_time()])
    own_memory: float = 0.0

    def note(self, octets: int) -> None:
        self.own_memory = max(self.own_memory, own_memory())
        self.octets.append(self.octets[-1] + octets)
        self.seconds.append(time.process_time())

    def rates(self) -> list[float]:
        """Speed in each tenth of the octets [Gbit/s]."""
        done, seconds = np.array(self.octets, dtype=float), np.array(self.seconds)
        at = np.interp(np.linspace(0.0, done[-1], 11), done, seconds)
        rates: list[float] = (8e-10 * done[-1] / np.diff(at)).tolist()
        return rates


class NotingSink(packet_files.FolderSink):
    """Packets in files, and how the work on each channel went on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.courses: dict[int, Course] = {}

    def add_channel(
        self, name: frame_store.ChannelName, segments: list[frame_epochs.Segment], link: spacelink.Link
    ) -> None:
        self.courses[name.vcid] = Course()

    def add_packets(self, channel: downlink.PacketChannel, content: bytes) -> None:
        super().add_packets(channel, content)
        self.courses[channel.vcid].note(len(content))

    def course(self) -> Course:
        """Course of the channel with most octets."""
        return max(self.courses.values(), key=lambda course: course.octets[-1])


def stretches(source: BinaryIO, course: Course) -> Iterator[ByteArray]:
    """Stretches as they are read from a file, also where they come through a pipe."""
    while True:
        octets = np.empty(downlink.STRETCH, dtype=np.uint8)
        size = source.readinto(octets.data)  # type: ignore[attr-defined]
        if not size:
            return
        yield octets[:size]
        course.note(size)


def warm_up(link: spacelink.Link) -> None:
    """Load what is compiled before the clock runs."""
    recording = b"".join(
        part.tobytes()
        for part in simulation.bulk_pass(link=link, spacecraft=SPACECRAFT, frames=200, bit_error_rate=1e-4)
    )
    downlink.decode([recording], link=link)


def consume(source: BinaryIO, folder: Path) -> dict[str, Any]:
    """Decode the recording into the folder; figures and account."""
    link = described()
    warm_up(link)
    sink, before = NotingSink(folder), own_memory()
    reading, begin = Course(), time.process_time()
    recording = downlink.Recording("bulk", stretches(source, reading))
    account = downlink.decode_into(sink, [recording], link=link, folder=folder)
    sink.sync()
    seconds = time.process_time() - begin
    return {
        "seconds": seconds,
        "reading": reading.seconds[-1] - begin,
        "own": max(course.own_memory for course in (reading, *sink.courses.values())),
        "before": before,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rates": {"reading": reading.rates(), "merging": sink.course().rates()},
        "written": sum(path.stat().st_size for path in (folder / packet_files.PACKETS).rglob("*.bin")),
        "account": account,
    }


def own_memory() -> float:
    """Resident set now, without pages of files [MiB]."""
    _, resident, of_files, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - of_files) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measured(octets: int, folder: Path) -> dict[str, Any]:
    """Run producer and decoder side by side."""
    me = [sys.executable, __file__]
    producer = subprocess.Popen([*me, "--produce", str(frames_of(octets))], stdout=subprocess.PIPE)
    decoder = subprocess.Popen([*me, "--consume", str(folder)], stdin=producer.stdout, stdout=subprocess.PIPE)
    if producer.stdout is not None:
        producer.stdout.close()
    answer, _ = decoder.communicate()
    if producer.wait() or decoder.returncode:
        raise SystemExit("the decode failed")
    return dict(json.loads(answer))


def complaints(account: dict[str, Any], octets: int) -> list[str]:
    """What is wrong with the result."""
    link = described()
    truth = simulation.bulk_truth(link=link, frames=frames_of(octets))
    frames = {row["vcid"]: row["frames"] for row in account["virtual_channels"]}
    packets = {row["apid"]: row["count"] for row in account["packets"] if not row["idle"]}
    size = frames_of(octets) * link.cadu_length
    checks = {
        "frames of the channels": frames == truth["frames"],
        "packets of the application processes": packets == truth["packets"],
        "nothing missing": not any(row["missing"] for row in account["virtual_channels"] + account["packets"]),
        "every frame accepted": account["frames"]["received"] == account["frames"]["accepted"] == frames_of(octets),
        "octets": account["bytes"]["frames"] == size and account["bytes"]["in"] == size + 1,
        "errors corrected": 0.9 < account["corrected_symbols"] / (8 * size * BIT_ERROR_RATE) < 1.1,
    }
    return [name for name, right in checks.items() if not right]


def report(result: dict[str, Any], octets: int, *, long: bool) -> bool:
    """Print the figures; True where every bar is met."""
    size = result["account"]["bytes"]["in"]
    bar = f">= {LAST_TO_FIRST:g}" if long else ""
    merging = result["seconds"] - result["reading"]
    rows = [
        ("CADUs to packets, both halves", 8e-9 * size / result["seconds"], "Gbit/s", f">= {GIGABITS:g}"),
        ("  reading", 8e-9 * size / result["reading"], "Gbit/s", ""),
        ("  merging", 8e-9 * size / merging, "Gbit/s", ""),
        ("peak memory", result["peak"], "MiB", f"< {MEBIBYTES:.0f}"),
        ("  without pages of files", result["own"], "MiB", ""),
        ("  the same before the decode", result["before"], "MiB", ""),
        *((f"last tenth by first, {half}", rates[-1] / rates[0], "", bar) for half, rates in result["rates"].items()),
    ]
    met = result["peak"] < MEBIBYTES and rows[0][1] >= GIGABITS
    if long:
        met &= min(rates[-1] / rates[0] for rates in result["rates"].values()) >= LAST_TO_FIRST
    sys.stdout.write(
        f"decode of {size / 1e6:.0f} MB of CADUs into {result['written'] / 1e6:.0f} MB of packets, one core\n"
    )
    for name, value, unit, limit in rows:
        sys.stdout.write(f"{name:34} {value:9.3f} {unit:7} {limit}\n")
    for half, rates in result["rates"].items():
        sys.stdout.write(f"Gbit/s by tenths, {half}: {' '.join(f'{rate:.2f}' for rate in rates)}\n")
    wrong = complaints(result["account"], octets)
    for name in wrong:
        sys.stdout.write(f"WRONG RESULT: {name}\n")
    sys.stdout.write(f"bars {'met' if met else 'NOT MET'}\n")
    return met and not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="10 GB, and no slower at the end than at the begin")
    parser.add_argument("--octets", type=int, help="octets of the recording instead")
    parser.add_argument("--folder", type=Path, help="where frames and packets go: about twice the recording")
    parser.add_argument("--produce", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--consume", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.produce is not None:
        produce(arguments.produce, sys.stdout.buffer)
        return 0
    if arguments.consume is not None:
        json.dump(consume(sys.stdin.buffer, arguments.consume), sys.stdout)
        return 0
    octets = arguments.octets or (LONG if arguments.long else SHORT)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measured(octets, Path(folder))
    return 0 if report(result, octets, long=arguments.long) else 1


if __name__ == "__main__":
    sys.exit(main())
