"""A small mission of our own spacecraft, and an installation that ingests it; run as a program, it only ingests.

The program is what the tests kill. It prints nothing and ends when no stage of the downlink has anything due.
"""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from infra import completeness_ledger, database, settings
from infra.embedded import object_store_server
from infra.stages import chain, execution, links, scheduling, workspace
from processors.ccsds import checksum, time_code
from processors.ccsds import link as spacelink
from processors.level0 import completeness, completeness_state, data_window, layouts
from processors.simulation import downlink, packets

OURS = spacelink.link_from_mapping(links.definition("terralimb"))
SPACECRAFT = 76
CADU = OURS.cadu_length
ZONE = 884
FIRST_WINDOW = data_window.window_named("20240515t0330")
PRODUCTS = ("packets", "completeness", "navigation", "level0_occultation", "level0_strip", "scene")
STAGES = tuple(stage.name for stage in chain.stages_of("ingest_downlink"))
CARRIERS = np.array([1575.42e6, 1227.60e6])

Packets = Mapping[int, Sequence[bytes]]
_numbers = itertools.count(1)


class Event(NamedTuple):
    """A sounding as its packets need it, with a phase that is smooth and means nothing."""

    time: Any
    carrier_phase: Any
    snr: Any
    event_id: int
    carrier_frequency: Any = CARRIERS
    transmitter: str = "G07"
    setting: bool = True


def _event(start: float, number: int, seconds: int = 20) -> Event:
    tick = np.arange(50 * seconds) / 50.0
    phase = 2.0e7 + 700.0 * tick + 3.0 * np.sin(tick / 5.0) + np.array([[0.0], [2.0]])
    return Event(np.round(start) + tick, phase, np.full(phase.shape, 400.0), number)


def burst(start: float, *, number: int, seconds: int = 40, seed: int = 0) -> dict[str, Any]:
    """Everything produced in a while: arguments of `packets.telemetry`."""
    time = start + np.arange(seconds)
    angle = time * 1.1e-3
    position = 6.9e6 * np.stack((np.cos(angle), np.sin(angle), 0.1 * angle / angle[0]), axis=1)
    velocity = 7.6e3 * np.stack((-np.sin(angle), np.cos(angle), 0.0 * angle), axis=1)
    counts = np.random.default_rng([seed, number]).integers(100, 4000, (5, seconds, 2048), dtype=np.uint16)
    line, first = time + 0.25, 1000 * number
    # a quarter of a kilometre from line to line and from pixel to pixel
    edge_longitude = np.stack((np.full(seconds, 106.0), np.full(seconds, 111.2)), axis=1)
    edge_latitude = 29.0 - 0.00225 * np.stack((np.arange(seconds), np.arange(seconds)), axis=1)
    imagery = packets.line_records(
        counts, line_time=line, first_line=first, gain=[1.0] * 5, integration_time=[0.002] * 5
    )
    imagery += packets.ancillary_records(
        line, first_line=first, interval=1, edge_longitude=edge_longitude, edge_latitude=edge_latitude
    )
    return {
        "housekeeping_time": time + 0.5,
        "slow_housekeeping_time": time[::10] + 0.6,
        "navigation": packets.navigation_records(time, position=position, velocity=velocity),
        "events": [_event(start + 5.0, number + 1)],
        "imagery": imagery,
    }


def merged(bursts: Iterable[dict[str, Any]]) -> dict[int, list[bytes]]:
    """Packets of several bursts by virtual channel: counters run on from one to the next."""
    parts = list(bursts)
    names = ("housekeeping_time", "slow_housekeeping_time")
    times = {name: np.concatenate([part[name] for part in parts]) for name in names}
    rows = {name: [row for part in parts for row in part[name]] for name in ("navigation", "events", "imagery")}
    return packets.telemetry(**times, **rows, zone_length=ZONE)


def onboard_time(packet: bytes) -> float:
    """On-board time of a packet of ours [s, GPS]."""
    octets = np.frombuffer(packet, dtype=np.uint8, count=7, offset=6)[np.newaxis]
    return float(time_code.seconds_from_ticks(time_code.ticks_from_cuc(octets))[0])


def edited(packet: bytes, change: Callable[[Any], None]) -> bytes:
    """Packet with some of its fields changed, its error control computed anew."""
    record = np.frombuffer(packet, dtype=layouts.LAYOUTS[(packet[0] & 0x7) << 8 | packet[1]]).copy()
    change(record)
    body = record.tobytes()[:-2]
    return body + checksum.crc16(body).to_bytes(2, "big")


def set_clock(sent: Packets, *, at: float, by: float) -> dict[int, list[bytes]]:
    """Packets of a spacecraft whose clock was set at an instant: another partition, and times shifted."""

    def shifted(packet: bytes) -> bytes:
        time = onboard_time(packet) + by
        ticks = time_code.octets_from_integers(time_code.ticks_from_seconds(np.array([time])), width=7)

        def change(record: Any) -> None:
            record["time"], record["clock_partition"] = ticks, 1

        return edited(packet, change)

    return {v: [p if onboard_time(p) < at else shifted(p) for p in some] for v, some in sent.items()}


@lru_cache(maxsize=4)
def mission(windows: tuple[int, ...] = (0, 1, 3), seed: int = 0) -> dict[int, list[bytes]]:
    """Packets of forty seconds of each of some windows, in the middle of each."""
    starts = [FIRST_WINDOW.start + number * data_window.LENGTH + 590.0 for number in windows]
    return merged(burst(start, number=number, seed=seed) for number, start in zip(windows, starts, strict=True))


def passes(sent: Packets, edges: Sequence[float], **options: Any) -> list[bytes]:
    """CADUs of what was sent, one pass between each two edges of on-board time; frame counters run on."""
    made, counter = [], dict.fromkeys((*sent, spacelink.AOS_IDLE_CHANNEL), 0)
    for low, high in itertools.pairwise([-np.inf, *edges, np.inf]):
        part = {vcid: [p for p in some if low <= onboard_time(p) < high] for vcid, some in sent.items()}
        one = downlink.assemble_pass(part, link=OURS, spacecraft=SPACECRAFT, first_counter=dict(counter), **options)
        for row in one.truth["frames"]:
            counter[row["vcid"]] += row["sent"]
        made.append(one.cadus)
    return made


@lru_cache(maxsize=1)
def three_passes() -> tuple[bytes, ...]:
    """One pass for each burst of the mission."""
    return tuple(passes(mission(), [FIRST_WINDOW.start + n * data_window.LENGTH for n in (1, 2)]))


@lru_cache(maxsize=1)
def one_pass() -> bytes:
    """The first of them."""
    return three_passes()[0]


def without(recording: bytes, frames: Iterable[int]) -> bytes:
    """Recording without some of its frames, by their place."""
    rows = np.frombuffer(recording, dtype=np.uint8).reshape(-1, CADU)
    return np.delete(rows, sorted(frames), axis=0).tobytes()


def cut(recording: bytes, *, at: Iterable[int]) -> list[bytes]:
    """Pieces of a recording, cut before some of its octets."""
    return [recording[low:high] for low, high in itertools.pairwise([0, *sorted(at), len(recording)])]


class Installation:
    """Buckets and a ledger of their own on a running object store."""

    def __init__(self, home: Path, server: object_store_server.RunningServer) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.settings = settings.Settings(
            home=home,
            s3_endpoint_url=server.endpoint_url,
            s3_credentials_file=server.credentials_file,
            bucket_prefix=f"tl-arrival-{next(_numbers):04d}-",
        )
        database.upgrade(self.settings.resolved_database_url())
        self.workspace = workspace.open_workspace(self.settings)
        for name in ("landing", "archive", "quarantine"):
            self.workspace.store.create_bucket(self.settings.bucket(name))

    def environment(self) -> dict[str, str]:
        """Environment that makes another process work in this installation."""
        return {
            "TERRALIMB_HOME": str(self.settings.home),
            "TERRALIMB_S3_ENDPOINT_URL": str(self.settings.s3_endpoint_url),
            "TERRALIMB_S3_CREDENTIALS_FILE": str(self.settings.s3_credentials_file),
            "TERRALIMB_BUCKET_PREFIX": self.settings.bucket_prefix,
        }

    def land(self, name: str, body: bytes, *, station: str = "kashi", link: str = "terralimb") -> str:
        """Land a recording, in place of another of that name."""
        key = f"downlink/{station}/{link}/{name}"
        bucket = self.settings.bucket("landing")
        self.workspace.store.put_replace(bucket, key, body, media_type="application/octet-stream")
        return key

    def ingest(self, *extra: str) -> "Installation":
        """Run the stages of the downlink, and others named, until nothing more can be done."""
        ingest_everything(self.workspace, (*STAGES, *extra))
        return self

    def current(self, kinds: Iterable[str] = PRODUCTS) -> dict[tuple[str, str], str]:
        """Hash of every current granule by kind and identity."""
        found = self.workspace.ledger.granules(list(kinds))
        assert len({(granule.kind, granule.id) for granule in found}) == len(found)
        return {(granule.kind, granule.id): granule.sha256 for granule in found}

    def body(self, kind: str, name: str) -> bytes:
        """Content of a current granule whose identity contains a name."""
        (granule,) = [one for one in self.workspace.ledger.granules([kind]) if name in one.id]
        return self.workspace.read(granule)

    def windows(self) -> dict[str, dict[str, Any]]:
        """Account of every window."""
        return {window.window: dict(window.account) for window in self.book.windows()}

    def packets_held(self) -> dict[str, list[dict[str, Any]]]:
        """Account of the packets of every window."""
        return {window: account["packets"] for window, account in self.windows().items()}

    def missing_frames(self) -> dict[int, int]:
        """Frames that no recording held between those that were, by virtual channel."""
        held = completeness_ledger.held_of(self.book.receptions())
        return {channel.vcid: completeness.size(completeness.gaps(some)) for channel, some in held.items()}

    def outcomes(self, stage: str) -> dict[str, tuple[str, str | None]]:
        """State and reason of the newest outcome of each unit of a stage."""
        found = self.workspace.ledger.latest_outcomes(stage)
        return {unit: (outcome.state, outcome.reason) for (_, unit), outcome in found.items()}

    def gate(self) -> list[str]:
        """What stands against a release."""
        received = {one.recording: one.account for one in self.book.receptions()}
        return completeness_state.gate(received, self.windows())

    def scratch(self) -> list[str]:
        """Folders of units that are left over."""
        folder = self.settings.home / "scratch"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    @property
    def book(self) -> completeness_ledger.CompletenessLedger:
        """Its completeness ledger."""
        return self.workspace.completeness


def ingest_everything(here: workspace.Workspace, stages: Iterable[str] = STAGES) -> None:
    """Plan and run stages as the scheduler does, until a round finds nothing but what waits for something else."""
    names = tuple(stages)
    for _ in range(execution.MAX_ATTEMPTS):
        if not any(list(_round(here, names))):
            return


def _round(here: workspace.Workspace, stages: Iterable[str]) -> Iterator[bool]:
    """Whether each stage did anything."""
    before, workspace.current = workspace.current, lambda: here  # type: ignore[assignment]
    try:
        for stage in stages:
            for batch in scheduling.plan(stage):
                done = scheduling.run(stage, batch)
                yield set(done["states"]) != {"waiting"}
    finally:
        workspace.current = before


if __name__ == "__main__":
    ingest_everything(workspace.current())
    sys.exit(0)
