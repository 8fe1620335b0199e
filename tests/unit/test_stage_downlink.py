"""The stages of the downlink one by one: what each makes of a small pass, and what one instrument costs another."""

import contextlib
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra import completeness_ledger, database, ledger, settings
from infra.stages import downlink, execution, level0, links
from infra.stages.workspace import NewGranule, Workspace
from processors import quality
from processors.ccsds import link as spacelink
from processors.level0 import data_window, layouts
from processors.simulation import downlink as simulation
from processors.simulation import packets as encoder

CADU = 1024
ZONE = 884
OURS = spacelink.link_from_mapping(links.definition("terralimb"))
WINDOW = data_window.window_named("20240515t0330")
START = WINDOW.start + 600.0


class Objects:
    """A store that holds what it was given."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}

    @contextlib.contextmanager
    def open(self, _bucket: str, key: str) -> Iterator[io.BytesIO]:
        yield io.BytesIO(self.bodies[key])

    def read(self, _bucket: str, key: str) -> bytes:
        return self.bodies[key]


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    engine = database.engine(f"sqlite:///{tmp_path}/ledger.sqlite")
    completeness_ledger.metadata.create_all(engine)
    nothing: Any = None
    store: Any = Objects()
    book = completeness_ledger.CompletenessLedger(engine)
    return Workspace(settings.Settings(home=tmp_path), store, nothing, nothing, book)


def telemetry(start: float = START, seconds: int = 12) -> dict[int, list[bytes]]:
    """Housekeeping, orbit and a few imager lines with their ancillary packets."""
    time = start + np.arange(seconds)
    place = np.stack((np.full(seconds, 7.0e6), np.zeros(seconds), time - start), axis=1)
    lines = encoder.line_records(
        np.full((5, seconds, 2048), 700, dtype=np.uint16),
        line_time=time + 0.2,
        gain=[1.0] * 5,
        integration_time=[0.002] * 5,
    )
    edge = np.tile([106.0, 111.2], (seconds, 1))
    located = encoder.ancillary_records(time + 0.2, edge_longitude=edge, edge_latitude=edge - 77.0, interval=1)
    return encoder.telemetry(
        housekeeping_time=time + 0.5,
        navigation=encoder.navigation_records(time, position=place, velocity=place),
        imagery=[*lines, *located],
    )


def recording(sent: dict[int, list[bytes]], **options: Any) -> bytes:
    return simulation.assemble_pass(sent, link=OURS, spacecraft=76, **options).cadus


@pytest.fixture(scope="module")
def cadus() -> bytes:
    return recording(telemetry())


def kept(here: Workspace, made: NewGranule) -> ledger.Granule:
    """Granule as the ledger would hold it, its content in the store."""
    body = made.body if isinstance(made.body, bytes) else made.body.read_bytes()
    sha256 = hashlib.sha256(body).hexdigest()
    store: Any = here.store
    store.bodies[f"{made.kind}/{made.id}"] = body
    key = f"{made.kind}/{made.id}"
    return ledger.Granule(made.kind, made.id, sha256, made.group, "tl-archive", key, len(body), made.attributes)


def unit(here: Workspace, stage: str, granules: list[ledger.Granule]) -> tuple[execution.Unit, Workspace]:
    folder = here.settings.home / f"{stage}-{granules[0].id.replace('/', '-')}"
    return execution.Unit(stage, granules[0].group, granules[0].group, tuple(granules)), dataclasses.replace(
        here, scratch=folder
    )


def decode(here: Workspace, body: bytes, *, key: str = "downlink/kashi/terralimb/pass.cadu") -> execution.UnitResult:
    store: Any = here.store
    store.bodies[key] = body
    sha256 = hashlib.sha256(body).hexdigest()
    landed = ledger.Granule("landed_downlink", key, sha256, "landed_downlink", "tl-landing", key, len(body))
    return downlink.decode_recording(*unit(here, "decode_recordings", [landed]))


def assembled(here: Workspace, *bodies: bytes) -> execution.UnitResult:
    """Everything of the window made from some recordings."""
    frames: dict[str, list[ledger.Granule]] = {}
    for body in bodies:
        for made in decode(here, body).granules:
            if made.kind == "frames" and made.attributes["window"] == WINDOW.name:
                frames.setdefault(made.group, []).append(kept(here, made))
    packets = []
    for group in frames.values():
        with contextlib.suppress(execution.NotApplicableError):
            (made,) = downlink.reassemble_packets(*unit(here, "reassemble_packets", group)).granules
            packets.append(kept(here, made))
    return level0.assemble(*unit(here, "assemble_level0", packets))


def contents(result: execution.UnitResult) -> dict[tuple[str, str], bytes]:
    return {(g.kind, g.id): g.body if isinstance(g.body, bytes) else g.body.read_bytes() for g in result.granules}


def test_a_recording_becomes_the_frames_of_each_channel_and_window(here: Workspace, cadus: bytes) -> None:
    result = decode(here, cadus)
    assert result.partial is None
    found = {made.group: made.attributes["frames"] for made in result.granules}
    sent = {vcid: -(-sum(map(len, packets)) // ZONE) for vcid, packets in telemetry().items()}
    assert found == {f"terralimb-76-{vcid}-{WINDOW.name}": frames for vcid, frames in sent.items()}
    (reception,) = here.completeness.receptions()
    assert reception.size == len(cadus) == reception.account["bytes"]["frames"]
    assert WINDOW.start + 600.0 <= (reception.first_time or 0.0) <= (reception.last_time or 0.0) < WINDOW.start + 612.0


def test_the_same_content_under_another_key_gives_the_same_granules(here: Workspace, cadus: bytes) -> None:
    first = contents(decode(here, cadus))
    assert first
    assert contents(decode(here, cadus, key="downlink/sanya/terralimb/other.cadu")) == first
    (reception,) = here.completeness.receptions()
    assert reception.sightings == 2


def test_a_recording_cut_in_mid_frame_is_partial_and_its_piece_is_kept(here: Workspace, cadus: bytes) -> None:
    result = decode(here, cadus[: 40 * CADU + 500])
    assert result.partial is not None
    assert "500 octets of tail" in result.partial
    (piece,) = [made for made in result.granules if made.kind == "fragment"]
    assert piece.body == cadus[40 * CADU : 40 * CADU + 500]
    assert piece.group == f"terralimb-fragments-{WINDOW.name}"


def test_a_piece_of_a_frame_is_kept_for_every_window_of_its_recording(here: Workspace) -> None:
    # the imager's channel is played back from two windows before
    late, early = telemetry(), telemetry(START - 2.0 * data_window.LENGTH)
    mixed = recording({0: late[0], 4: early[4]})
    made = decode(here, mixed[700:-300]).granules
    windows = {one.attributes["window"] for one in made if one.kind == "frames"}
    assert {WINDOW.name, data_window.Window(WINDOW.start - 2.0 * data_window.LENGTH, 0.0).name} <= windows
    for end in ("head", "tail"):
        pieces = [one for one in made if one.kind == "fragment" and one.attributes["end"] == end]
        assert {one.group for one in pieces} == {f"terralimb-fragments-{window}" for window in windows}


def test_a_channel_without_a_whole_packet_is_of_the_windows_of_its_recording(here: Workspace) -> None:
    sent = telemetry()
    long = encoder.space_packets([encoder.PacketRecord(0, 0x155, sent[0][0][6:16] + bytes(3000))])
    both = recording({0: sent[0], 2: long})
    middle = both[2 * CADU : -2 * CADU]
    found = {made.group: made.attributes["frames"] for made in decode(here, middle).granules}
    assert any(group == f"terralimb-76-2-{WINDOW.name}" for group in found)
    assert not any("pass-" in group for group in found)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("downlink/kashi/suomi-npp/pass.cadu", "link suomi-npp"),
        ("downlink/kashi/nowhere/pass.cadu", "does not say its link"),
        ("downlink/terralimb/pass.cadu", "does not say its link"),
    ],
)
def test_a_recording_of_another_link_is_refused_with_its_reason(
    here: Workspace, cadus: bytes, key: str, reason: str
) -> None:
    with pytest.raises(quality.BadInputError, match=reason):
        decode(here, cadus, key=key)
    assert here.completeness.receptions() == []


def test_two_pieces_of_one_frame_make_it_and_others_make_nothing(here: Workspace, cadus: bytes) -> None:
    at = 40 * CADU + 500
    pieces = [
        kept(here, made)
        for body in (cadus[:at], cadus[at:])
        for made in decode(here, body).granules
        if made.kind == "fragment"
    ]
    (spliced,) = downlink.splice_frames(*unit(here, "splice_frames", pieces)).granules
    whole = {frame.tobytes() for frame in _frames(decode(here, cadus))}
    halves = {frame.tobytes() for body in (cadus[:at], cadus[at:]) for frame in _frames(decode(here, body))}
    assert {np.load(Path(str(spliced.body)))[0]["frame"].tobytes()} == whole - halves
    with pytest.raises(execution.NotApplicableError):
        downlink.splice_frames(*unit(here, "splice_frames", pieces[:1]))


def _frames(result: execution.UnitResult) -> Iterator[Any]:
    for made in result.granules:
        if made.kind == "frames":
            yield from np.load(Path(str(made.body)))["frame"]


def test_a_window_gives_the_packets_and_the_records_of_every_instrument(here: Workspace, cadus: bytes) -> None:
    result = assembled(here, cadus)
    assert result.partial is None
    kinds = sorted({made.kind for made in result.granules})
    assert kinds == ["completeness", "level0_strip", "navigation", "packets"]
    sent = [packet for packets in telemetry().values() for packet in packets]
    for apid in {apid_of(packet) for packet in sent}:
        content = contents(result)["packets", f"terralimb-76-{WINDOW.name}-{apid}"]
        assert content == b"".join(packet for packet in sent if apid_of(packet) == apid)
    assert result.report == {"packets": len(sent), "unexplained": 0}


def apid_of(packet: bytes) -> int:
    return (packet[0] & 0x7) << 8 | packet[1]


def test_two_halves_of_a_pass_give_the_same_products_as_the_whole(here: Workspace, cadus: bytes) -> None:
    at = 30 * CADU
    assert contents(assembled(here, cadus[:at], cadus[at:])) == contents(assembled(here, cadus))


def test_an_instrument_that_cannot_be_read_costs_the_others_nothing(
    here: Workspace, cadus: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise quality.BadInputError("ancillary_missing", "no strip without ancillary packets")

    whole = contents(assembled(here, cadus))
    monkeypatch.setattr(level0.imager, "strip_from_packets", refuse)
    result = assembled(here, cadus)
    assert result.partial == "spacecraft 76: no strip without ancillary packets"
    assert contents(result) == {key: body for key, body in whole.items() if key[0] != "level0_strip"}


def test_the_account_of_a_window_says_what_was_lost_and_nothing_of_how_it_came(here: Workspace) -> None:
    lost = recording(telemetry(), lost_frames=[(layouts.IMAGER_CHANNEL, 20)])
    account = json.loads(contents(assembled(here, lost))["completeness", f"terralimb-76-{WINDOW.name}"])
    assert sum(row["missing"] for row in account["packets"]) == 1
    assert account["unexplained"] == 0
    assert set(account) == {"packets", "unexplained"}
    (window,) = here.completeness.windows()
    (imager,) = [row for row in window.account["virtual_channels"] if row["vcid"] == layouts.IMAGER_CHANNEL]
    assert imager["gaps"] == [[20, 20]]


def test_packets_of_a_channel_are_read_as_they_were_written(here: Workspace, cadus: bytes) -> None:
    frames = [kept(here, made) for made in decode(here, cadus).granules if made.group.startswith("terralimb-76-2-")]
    (made,) = downlink.reassemble_packets(*unit(here, "reassemble_packets", frames)).granules
    held = downlink.packets_from_granule(bytes(made.body) if isinstance(made.body, bytes) else b"")
    assert held.packets.content() == b"".join(telemetry()[2])
    assert held.breaks.size == len(telemetry()[2])
    assert len(set(held.breaks.tolist())) == 1  # nothing interrupts a channel that is whole
