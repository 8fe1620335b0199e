"""Speed of the occultation retrieval, from the octets of a level-1B file to those of a profile: run by `make bench`.

One event of 100 Hz, two signals and 110 s, simulated by wave optics: CPU seconds of one core once everything is loaded,
and the seconds of each step. Then the first use after installation: the command with no compiled kernels beside the
same with all. Then a batch: the command over many distinct occultations on two cores, its wall time and the peak
memory of its processes. Wall times mean something on an idle machine only; its load is told.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import threadpoolctl
import xarray as xr

from infra import granule_format
from infra.stages import occultation
from processors.occultation import level1b
from processors.simulation import wave_occultation

COMMAND = Path(sys.executable).with_name("terralimb")
DURATION = 110.0
"""Length of an event [s]."""
SEED = 3
DISTINCT = 40
REPEATS = 20
LIMIT, GOAL = 0.30, 0.15
"""CPU time of one retrieval [s]."""
FIRST_USE = 20.0
"""CPU time that compilation adds to the first use [s]."""
BATCH, BATCH_SECONDS, WORKERS = 1000, 240.0, 2
POLL = 0.2
MEBIBYTE = 2**20


def verdict(value: float, limit: float) -> str:
    return "kept" if value <= limit else "NOT KEPT"


def cut(event: xr.Dataset) -> xr.Dataset:
    """So many seconds of an event from its upper end on."""
    seconds = event["time"].to_numpy() - float(event["time"][0])
    if seconds[-1] < DURATION:
        return event
    inside = seconds < DURATION if event.attrs["setting"] else seconds > seconds[-1] - DURATION
    return event.isel(time=inside)


def simulated(case: wave_occultation.Case) -> xr.Dataset:
    with threadpoolctl.threadpool_limits(1):
        return cut(case.simulate().level1b)


@dataclass(frozen=True)
class Warm:
    """CPU and wall times of the repetitions [s], and median wall time of each step [s]."""

    cpu: list[float]
    wall: list[float]
    steps: dict[str, float]


def warm(body: bytes) -> Warm:
    """Retrieve again and again once everything is loaded and compiled."""
    cpu, wall, steps = [], [], []
    occultation.profile_from_file(body, name="event.nc")
    for _ in range(REPEATS):
        started, begun = time.process_time(), time.perf_counter()
        made = occultation.profile_from_file(body, name="event.nc")
        cpu.append(time.process_time() - started)
        wall.append(time.perf_counter() - begun)
        steps.append(made.steps)
    return Warm(cpu, wall, {name: statistics.median(each[name] for each in steps) for name in steps[0]})


def report_warm(body: bytes, event: xr.Dataset) -> bool:
    found = warm(body)
    median, wall = statistics.median(found.cpu), statistics.median(found.wall)
    span = float(event["time"][-1] - event["time"][0])
    sys.stdout.write(
        f"one event, {event.sizes['time']} samples of two signals, {span:.0f} s, {len(body) / 1e6:.1f} MB, one core\n"
        f"level 1B to NetCDF, median of {REPEATS}   {median:6.3f} s CPU (limit {LIMIT:.2f}, goal {GOAL:.2f})  "
        f"{verdict(median, LIMIT)}{', goal reached' if median <= GOAL else ''}\n"
        f"level 1B to NetCDF, minimum        {min(found.cpu):6.3f} s CPU\n"
        f"level 1B to NetCDF, median         {wall:6.3f} s of the clock, of which\n"
    )
    rest = {"reading, product and the rest": wall - sum(found.steps.values())}
    for name, value in {**found.steps, **rest}.items():
        sys.stdout.write(f"  {name.replace('_', ' '):32} {value:6.3f} s\n")
    return median <= LIMIT


def command_seconds(arguments: list[str], *, kernels: Path) -> float:
    """CPU time of the command and all it started, with a folder for compiled kernels [s]."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(kernels)}
    child = subprocess.Popen([str(COMMAND), *arguments], env=environment, stderr=subprocess.PIPE)
    complaint = b"" if child.stderr is None else child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the command failed: {complaint.decode(errors='replace')[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def report_first_use(event: Path, folder: Path) -> bool:
    kernels = folder / "kernels"
    arguments = ["occultation", "retrieve", str(event), "--out", str(folder / "first"), "--workers", "1"]
    first, second = (command_seconds(arguments, kernels=kernels) for _ in range(2))
    if not any(kernels.rglob("*.nbi")):
        raise SystemExit("the first use compiled nothing into its folder")
    extra = first - second
    sys.stdout.write(
        f"first use of the command            {first:6.2f} s CPU, afterwards {second:.2f} s: compilation {extra:.2f} s "
        f"(limit {FIRST_USE:.0f})  {verdict(extra, FIRST_USE)}\n"
    )
    return extra <= FIRST_USE


def copies(events: list[xr.Dataset], count: int) -> Iterator[xr.Dataset]:
    """As many occultations as wanted: further ones are the same in the Earth-fixed frame, whole hours later."""
    for number in range(count):
        event = events[number % len(events)]
        moved = event.assign_coords(time=event["time"] + 3600.0 * (number // len(events)))
        moved["time"].attrs.update(event["time"].attrs)
        identity = level1b.occultation_id(
            event.attrs["transmitter"], event.attrs["receiver"], float(moved["time"].to_numpy()[0])
        )
        yield moved.assign_attrs(occultation_id=identity)


@dataclass(frozen=True)
class Batch:
    """What a batch took: wall and CPU time [s], highest resident set of each process [MiB], and its report."""

    wall: float
    cpu: float
    peaks: list[float]
    rows: list[dict[str, object]]


class Watch:
    """Highest resident set [MiB] and CPU time [s] of each process, as last seen."""

    def __init__(self) -> None:
        self.peak: dict[int, float] = {}
        self.cpu: dict[int, float] = {}

    def look(self, process: psutil.Process) -> None:
        """Look at a process and its descendants; one that is gone keeps what was last seen of it."""
        try:
            members = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                resident, times = member.memory_info().rss / MEBIBYTE, member.cpu_times()
                self.peak[member.pid] = max(self.peak.get(member.pid, 0.0), resident)
                self.cpu[member.pid] = times.user + times.system


def batch(inputs: Path, out: Path) -> Batch:
    """Retrieve a folder and watch the processes."""
    started, watch = time.monotonic(), Watch()
    arguments = ["occultation", "retrieve", str(inputs), "--out", str(out), "--workers", str(WORKERS)]
    child = psutil.Popen([str(COMMAND), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None:
        watch.look(child)
        time.sleep(POLL)
    wall = time.monotonic() - started
    if child.returncode:
        raise SystemExit(f"the batch ended with exit status {child.returncode}")
    peaks = sorted(watch.peak.values(), reverse=True)
    return Batch(wall, sum(watch.cpu.values()), peaks, json.loads((out / "report.json").read_text()))


def report_batch(events: list[xr.Dataset], count: int, folder: Path) -> bool:
    inputs, out = folder / "level1b", folder / "profiles"
    inputs.mkdir()
    octets = 0
    for number, event in enumerate(copies(events, count)):
        octets += (inputs / f"{number:04d}.nc").write_bytes(granule_format.encode(event))
    load = os.getloadavg()[0]
    found = batch(inputs, out)
    limit = BATCH_SECONDS * count / BATCH
    retrieved = sum(row["status"] != "rejected" for row in found.rows)
    written = len(list(out.glob("*.nc")))
    kept = found.wall <= limit and retrieved == written == count
    rest = " ".join(f"{peak:.0f}" for peak in found.peaks[: WORKERS + 2])
    sys.stdout.write(
        f"{count} occultations ({len(events)} distinct events, {octets / 1e6:.0f} MB), {WORKERS} processes\n"
        f"batch                               {found.wall:6.1f} s (limit {limit:.0f})  "
        f"{'kept' if kept else 'NOT KEPT'}, load before {load:.1f} on {len(os.sched_getaffinity(0))} cores\n"
        f"  CPU time of all processes         {found.cpu:6.1f} s, by {WORKERS} {found.cpu / WORKERS:.1f} s\n"
        f"  retrieved                         {retrieved}, files {written}\n"
        f"  peak resident set of a process    {rest} MiB\n"
    )
    for row in [row for row in found.rows if row["status"] == "rejected"][:5]:
        sys.stdout.write(f"  rejected: {row['input']}: {row['reason']}\n")
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--events",
        type=int,
        default=BATCH,
        help="occultations of the batch, 0 for none; fewer than 1000 scale the limit, which the start then weighs on",
    )
    arguments = parser.parse_args()
    series = wave_occultation.cases(max(1, min(arguments.events, DISTINCT)), seed=SEED)
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        events = list(pool.map(simulated, series))
    body = granule_format.encode(events[0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "event.nc").write_bytes(body)
        sys.stdout.write(f"load of the machine {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores\n")
        kept = [report_warm(body, events[0]), report_first_use(folder / "event.nc", folder)]
        if arguments.events:
            kept.append(report_batch(events, arguments.events, folder))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
