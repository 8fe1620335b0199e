"""The stages of the downlink under every kind of arrival, as experiments on the real object store.

Rationale: a pass comes in pieces, twice, late, in any order, from two stations, and so must not matter.
Expectation: the granules depend on what was received, not on how; nothing is unexplained; what is not touched by a
late piece keeps its content; what is bad costs nothing else; and the completeness ledger tells all of it.
"""

import datetime as dt
import errno
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from infra import completeness_report, granule_format, object_store
from infra.demonstration import modelled_input
from infra.embedded import object_store_server
from infra.stages import execution
from processors import timescales
from processors.ccsds import space_packet
from processors.level0 import data_window, downlink, layouts
from processors.simulation import downlink as simulation
from processors.simulation import occultation
from processors.simulation import packets as encoder
from tests.chain import downlink_ingestion as ingestion

pytestmark = pytest.mark.chain

Make = Callable[[], ingestion.Installation]
CADU = ingestion.CADU
FIRST, SECOND, FOURTH = (data_window.Window(ingestion.FIRST_WINDOW.start + 1800.0 * n, 0.0).name for n in (0, 1, 3))


@pytest.fixture(scope="module")
def make(server: object_store_server.RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Make:
    return lambda: ingestion.Installation(tmp_path_factory.mktemp("arrival"), server)


@pytest.fixture(scope="module")
def in_order(make: Make) -> ingestion.Installation:
    """Return the mission, pass after pass."""
    here = make()
    for number, one in enumerate(ingestion.three_passes()):
        here.land(f"pass{number}.cadu", one)
        here.ingest()
    return here


@pytest.fixture(scope="module")
def alone(make: Make) -> ingestion.Installation:
    """Return the first pass alone."""
    here = make()
    here.land("pass.cadu", ingestion.one_pass())
    return here.ingest()


def of_window(here: ingestion.Installation, name: str) -> dict[tuple[str, str], str]:
    """Products that come from one window."""
    granules = here.workspace.ledger.granules(ingestion.PRODUCTS)
    date_hour = name[:-2]
    return {
        (g.kind, g.id): g.sha256
        for g in granules
        if g.group.endswith(name) or (g.kind == "scene" and f"strip-{date_hour}" in g.id)
    }


def is_as(here: ingestion.Installation, other: ingestion.Installation) -> None:
    """Everything that was made is the same, and nothing is unexplained or left over."""
    assert here.current() == other.current()
    assert here.packets_held() == other.packets_held()
    assert here.gate() == []
    assert here.scratch() == []


def test_a_mission_gives_every_record_of_every_window_and_misses_nothing(in_order: ingestion.Installation) -> None:
    counted: dict[str, int] = {}
    for kind, _ in in_order.current():
        counted[kind] = counted.get(kind, 0) + 1
    # each burst lies across the edge of two slots of a minute
    assert counted == {
        "packets": 33,
        "completeness": 3,
        "navigation": 3,
        "level0_occultation": 3,
        "level0_strip": 6,
        "scene": 6,
    }
    sent = ingestion.mission()
    for window, number in ((FIRST, 0), (SECOND, 1), (FOURTH, 2)):
        imager = sent[layouts.IMAGER_CHANNEL]
        lines = [p for p in imager[len(imager) // 3 * number :][: len(imager) // 3] if p[1] == layouts.IM_LINE[2]]
        assert in_order.body("packets", f"{window}-{layouts.IM_LINE[2]}") == b"".join(lines)
    assert in_order.gate() == []
    assert not any(in_order.missing_frames().values())


def places(random: np.random.Generator, count: int) -> list[int]:
    """Octets anywhere in the pass, with twenty frames at least between two."""
    while True:
        found = np.sort(random.integers(20 * CADU, len(ingestion.one_pass()) - 20 * CADU, count))
        if count == 1 or np.diff(found).min() > 20 * CADU:
            return [int(octet) for octet in found]


@pytest.mark.parametrize(("pieces", "seed"), [(2, 0), (3, 1), (3, 2), (5, 3), (9, 4)])
def test_a_pass_cut_anywhere_and_landed_in_any_order_gives_the_same_granules(
    make: Make, alone: ingestion.Installation, pieces: int, seed: int
) -> None:
    random, here = np.random.default_rng(seed), make()
    cut = ingestion.cut(ingestion.one_pass(), at=places(random, pieces - 1))
    for number in random.permutation(pieces):
        here.land(f"piece{number}.cadu", cut[number])
        here.ingest()
    is_as(here, alone)
    assert sum(one.size for one in here.book.receptions()) == len(ingestion.one_pass())


@pytest.mark.parametrize("octet", [0, 1, 3, 4, CADU - 1])
def test_a_cut_in_a_marker_or_beside_it_costs_nothing(make: Make, alone: ingestion.Installation, octet: int) -> None:
    here = make()
    for number, piece in enumerate(ingestion.cut(ingestion.one_pass(), at=[333 * CADU + octet])):
        here.land(f"piece{number}.cadu", piece)
    is_as(here.ingest(), alone)


@pytest.mark.parametrize("seed", range(2))
def test_a_mission_cut_near_the_edge_of_a_window_gives_the_same_granules(make: Make, seed: int) -> None:
    edge = ingestion.FIRST_WINDOW.start + data_window.LENGTH
    # a burst across the edge, and one across the end of its margin
    sent = ingestion.merged([ingestion.burst(edge - 20.0, number=0), ingestion.burst(edge + 160.0, number=1)])
    recording = simulation.assemble_pass(sent, link=ingestion.OURS, spacecraft=76).cadus
    whole, here = make(), make()
    whole.land("whole.cadu", recording)
    random, frames = np.random.default_rng(seed), len(recording) // CADU
    near = [frames // 4, frames * 3 // 4]
    cut = [place * CADU + int(random.integers(-4 * CADU, 4 * CADU)) for place in near]
    for number, piece in enumerate(ingestion.cut(recording, at=cut)):
        here.land(f"piece{number}.cadu", piece)
    is_as(here.ingest(), whole.ingest())
    assert {window for window in whole.windows() if of_window(whole, window)} == {FIRST, SECOND}


def test_the_same_content_under_two_keys_and_stations_is_seen_again_and_changes_nothing(
    make: Make, alone: ingestion.Installation
) -> None:
    here = make()
    here.land("pass.cadu", ingestion.one_pass())
    before = here.ingest().workspace.ledger.granules(ingestion.PRODUCTS)
    last = here.workspace.ledger.last_sequence()
    here.land("pass.cadu.again", ingestion.one_pass(), station="sanya")
    here.ingest()
    is_as(here, alone)
    assert here.workspace.ledger.granules(ingestion.PRODUCTS) == before
    # the second decode is all the work there was
    assert here.workspace.ledger.last_sequence() == last + 1
    (reception,) = here.book.receptions()
    assert reception.sightings == 2
    totals = completeness_report.build(here.book, now=dt.datetime.now(dt.UTC))["totals"]
    assert (totals["receptions"], totals["seen_again"]) == (1, 1)


@pytest.mark.parametrize("first", [0, 1])
def test_two_stations_that_together_heard_everything_give_the_whole_pass(
    make: Make, alone: ingestion.Installation, first: int
) -> None:
    recording, random = ingestion.one_pass(), np.random.default_rng(24)
    frames = len(recording) // CADU
    fate = random.integers(0, 4, frames)
    heard = [ingestion.without(recording, np.flatnonzero(fate == station)) for station in (0, 1)]
    here = make()
    for station in (first, 1 - first):
        here.land("pass.cadu", heard[station], station=("kashi", "sanya")[station])
        here.ingest()
    is_as(here, alone)
    assert not any(here.missing_frames().values())
    lost = [sum(row["missing"] for row in one.account["virtual_channels"]) for one in here.book.receptions()]
    assert all(loss > frames // 8 for loss in lost)


def test_a_late_piece_changes_what_it_touches_and_nothing_else(make: Make, in_order: ingestion.Installation) -> None:
    first, second, third = ingestion.three_passes()
    here, late = make(), slice(500 * CADU, 520 * CADU)
    here.land("first.cadu", first)
    here.land("second.cadu", second[: late.start] + second[late.stop :])
    here.land("third.cadu", third)
    before = here.ingest().current()
    now = dt.datetime.now(dt.UTC)
    states = {entry.window.window: entry.state for entry in here.book.states(now)}
    assert states[SECOND] == "provisional"
    assert states[FIRST] == "complete"
    assert here.gate() == []
    gap = next(row for row in here.packets_held()[SECOND] if row["apid"] == layouts.IM_LINE[0])
    assert gap["missing"] > 0
    assert [request.state for request in here.book.plan_requests(now)][:1] == ["requested"]

    here.land("late.cadu", second[late], station="sanya")
    after = here.ingest().current()
    is_as(here, in_order)
    assert not any(here.missing_frames().values())
    assert not here.book.plan_requests(now)
    assert {request.state for request in here.book.requests()} <= {"satisfied", "split"}
    assert {entry.state for entry in here.book.states(now) if entry.window.window == SECOND} == {"complete"}
    touched = {key for key in after if after[key] != before.get(key)}
    assert touched <= set(of_window(here, SECOND))
    assert {name for kind, name in touched if kind == "level0_strip"} == {"tl01-strip-20240515t0410"}
    assert {name for kind, name in touched if kind == "scene"} == {"imager-tl01-strip-20240515t0410"}
    assert set(before) == set(after)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0)])
def test_passes_in_another_order_give_the_same_granules(
    make: Make, in_order: ingestion.Installation, order: tuple[int, ...]
) -> None:
    here = make()
    for number in order:
        here.land(f"pass{number}.cadu", ingestion.three_passes()[number])
        here.ingest()
    is_as(here, in_order)


def test_a_pass_of_another_window_leaves_the_others_untouched(make: Make) -> None:
    here = make()
    here.land("first.cadu", ingestion.three_passes()[0])
    before = here.ingest().workspace.ledger.granules(ingestion.PRODUCTS)
    account = here.windows()[FIRST]
    here.land("third.cadu", ingestion.three_passes()[2])
    here.ingest()
    kept = {granule.id: granule for granule in here.workspace.ledger.granules(ingestion.PRODUCTS)}
    assert [kept[granule.id] for granule in before] == before
    assert len(kept) == 2 * len(before)
    assert here.windows()[FIRST] == account
    assert set(here.outcomes("assemble_level0")) == {f"terralimb-76-{w}" for w in (FIRST, FOURTH)}


def test_a_copy_that_is_not_whole_is_partial_until_the_whole_file_comes(
    make: Make, alone: ingestion.Installation
) -> None:
    here = make()
    key = here.land("pass.cadu", ingestion.one_pass()[: 400 * CADU + 700])
    here.ingest()
    state, reason = here.outcomes("decode_recordings")[key]
    assert (state, "700 octets of tail" in str(reason)) == ("partial", True)
    assert here.current() != alone.current()
    here.land("pass.cadu", ingestion.one_pass())
    is_as(here.ingest(), alone)
    assert here.outcomes("decode_recordings")[key] == ("done", None)


def test_packets_that_come_in_real_time_and_again_from_the_recorder_are_held_once(
    make: Make, alone: ingestion.Installation
) -> None:
    sent = ingestion.mission((0,))
    both = {**sent, 1: sent[layouts.HOUSEKEEPING_CHANNEL]}
    here = make()
    here.land("pass.cadu", simulation.assemble_pass(both, link=ingestion.OURS, spacecraft=76).cadus)
    here.ingest()
    name = f"{FIRST}-{layouts.HK_FAST}"
    fast = [packet for packet in sent[0] if packet[1] == layouts.HK_FAST]
    assert here.body("packets", name) == b"".join(fast)
    row = next(row for row in here.packets_held()[FIRST] if row["apid"] == layouts.HK_FAST)
    assert (row["count"], row["duplicates"], row["conflicts"]) == (40, 40, 0)
    assert here.gate() == []


def test_a_playback_fills_what_real_time_lost(make: Make) -> None:
    sent = ingestion.mission((0,))
    both, here = {**sent, 1: sent[0]}, make()
    lost = [(0, number) for number in range(4, 9)]
    here.land("pass.cadu", simulation.assemble_pass(both, link=ingestion.OURS, spacecraft=76, lost_frames=lost).cadus)
    fast = [packet for packet in sent[0] if packet[1] == layouts.HK_FAST]
    assert here.ingest().body("packets", f"{FIRST}-{layouts.HK_FAST}") == b"".join(fast)
    assert here.gate() == []


@pytest.mark.parametrize("jump", [-1.0, 86400.0, None])
def test_a_jump_of_the_clock_loses_nothing_and_flags_what_it_touches(make: Make, jump: float | None) -> None:
    sent = ingestion.mission((0,))
    at = ingestion.FIRST_WINDOW.start + 605.0
    by = 5000.0 - at if jump is None else jump
    jumped = ingestion.set_clock(sent, at=at, by=by)
    here = make()
    here.land("pass.cadu", simulation.assemble_pass(jumped, link=ingestion.OURS, spacecraft=76).cadus)
    here.ingest()
    held: dict[int, int] = {}
    for account in here.packets_held().values():
        for row in account:
            held[row["apid"]] = held.get(row["apid"], 0) + row["count"]
            assert row["conflicts"] == 0
    every = list(itertools.chain.from_iterable(jumped.values()))
    assert held == {apid: sum(p[1] == apid for p in every) for apid in {p[1] for p in every}}
    assert here.gate() == []
    bodies = [here.workspace.read(granule) for granule in here.workspace.ledger.granules(["packets"])]
    stored = [space_packet.packets_from_octets(np.frombuffer(body, dtype=np.uint8)).packets for body in bodies]
    assert sum(table.start.size for table in stored) == len(every)
    flags = correlated(here)
    if jump == -1.0:
        # the event and the strip of that minute see both clocks; the strip of the minute before ended in time
        assert flags["tl01-event1"] == 0
        assert (flags["tl01-strip-20240515t0340"], flags["tl01-strip-20240515t0339"]) == (0, 1)
    else:
        wrong = [name for name in flags if "strip" in name and "20240515" not in name]
        assert wrong
        assert not any(flags[name] for name in wrong)


def correlated(here: ingestion.Installation) -> dict[str, int]:
    """Whether the time of each record is GPS time."""
    found = {}
    for granule in here.workspace.ledger.granules(["level0_strip", "level0_occultation"]):
        dataset = granule_format.decode(here.workspace.read(granule), name=granule.id, decode_times=False)
        found[granule.id] = int(dataset.attrs["time_correlated"])
    return found


def test_what_the_recorder_has_overwritten_is_lost_on_board_and_not_awaited(make: Make) -> None:
    vcid, lost = layouts.IMAGER_CHANNEL, range(300, 310)
    column = layouts.COUNTED_CHANNELS.index(vcid)

    def overwrite(record: Any) -> None:
        record["recorder"]["oldest"][:, column] = 305

    sent = {v: list(some) for v, some in ingestion.mission((0, 1)).items()}
    sent[0] = [ingestion.edited(p, overwrite) if p[1] == layouts.HK_SLOW else p for p in sent[0]]
    here = make()
    edge = [ingestion.FIRST_WINDOW.start + data_window.LENGTH]
    for number, one in enumerate(ingestion.passes(sent, edge, lost_frames=[(vcid, n) for n in lost])):
        here.land(f"pass{number}.cadu", one)
    here.ingest()
    now = dt.datetime.now(dt.UTC)
    here.book.plan_requests(now)
    assert {(request.first, request.last, request.state) for request in here.book.requests()} == {
        (300, 309, "requested")
    }
    ended = here.book.expire(now)
    assert [(request.first, request.last, request.state) for request in ended] == [(300, 304, "lost_on_board")]
    assert [(request.first, request.last) for request in here.book.requests(pending=True)] == [(305, 309)]
    later = now + dt.timedelta(hours=25)
    here.book.expire(later)
    states = {entry.window.window: entry.state for entry in here.book.states(later)}
    assert states[FIRST] == "closed_with_gaps"
    assert here.gate() == []


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("written", [0, 3, 6, 14])
def test_a_full_store_interrupts_the_unit_and_a_later_run_gives_the_same(
    make: Make, alone: ingestion.Installation, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    here, numbers = make(), itertools.count()
    here.land("pass.cadu", ingestion.one_pass())
    put = object_store.ObjectStore.put_new

    def put_some(*given: Any, **options: Any) -> Any:
        return put(*given, **options) if next(numbers) < written else full()

    monkeypatch.setattr(object_store.ObjectStore, "put_new", put_some)
    with pytest.raises(execution.StageFailedError, match="No space left"):
        here.ingest()
    states = [state for stage in ingestion.STAGES for state, _ in here.outcomes(stage).values()]
    assert "interrupted" in states
    assert set(states) <= {"done", "interrupted"}
    monkeypatch.undo()
    assert here.scratch() == []
    is_as(here.ingest(), alone)
    (reception,) = here.book.receptions()
    assert sum(reception.account["bytes"][name] for name in ("frames", "junk", "tail")) == reception.size


def test_a_full_scratch_interrupts_the_unit_and_a_later_run_gives_the_same(
    make: Make, alone: ingestion.Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = make()
    key = here.land("pass.cadu", ingestion.one_pass())
    monkeypatch.setattr(np.lib.format, "open_memmap", full)
    for _ in range(execution.MAX_ATTEMPTS + 1):
        with pytest.raises(execution.StageFailedError, match="No space left"):
            here.ingest()
    assert here.outcomes("decode_recordings")[key][0] == "interrupted"
    monkeypatch.undo()
    is_as(here.ingest(), alone)


@pytest.mark.parametrize(("part", "name"), [("bytes", "frames"), ("frames", "accepted"), ("zone_bytes", "packets")])
def test_one_missing_in_an_account_closes_the_gate(
    make: Make, monkeypatch: pytest.MonkeyPatch, part: str, name: str
) -> None:
    decode = downlink.decode_into

    def short(*given: Any, **options: Any) -> dict[str, Any]:
        account = decode(*given, **options)
        return {**account, part: {**account[part], name: account[part][name] - 1}}

    monkeypatch.setattr(downlink, "decode_into", short)
    here = make()
    here.land("pass.cadu", ingestion.one_pass()[: 100 * CADU])
    here.ingest()
    (sentence,) = here.gate()
    assert "1 have no fate" in sentence
    report = completeness_report.build(here.book, now=dt.datetime.now(dt.UTC))
    assert report["gate"]["released"] is False


def test_what_nobody_knows_is_stored_and_costs_nothing_else(make: Make, alone: ingestion.Installation) -> None:
    sent = {vcid: list(packets) for vcid, packets in ingestion.mission((0,)).items()}
    header = sent[0][0][6:16]
    ticks = [(int(ingestion.onboard_time(sent[0][n])) << 24) for n in (3, 9, 30)]
    strange = encoder.space_packets([encoder.PacketRecord(t, 0x3AB, b"what is this") for t in ticks])
    timed = [packet(0x155, n, header + bytes([n] * 50)) for n in range(5)]
    sent[9] = [*timed, *strange]
    here = make()
    here.land("pass.cadu", simulation.assemble_pass(sent, link=ingestion.OURS, spacecraft=76).cadus)
    here.ingest()
    ours, theirs = here.current(), alone.current()
    known = {key: sha256 for key, sha256 in ours.items() if key in theirs and key[0] != "completeness"}
    assert known == {key: sha256 for key, sha256 in theirs.items() if key[0] != "completeness"}
    assert here.body("packets", f"{FIRST}-{0x155}") == b"".join(timed)
    # what stands where ours have their time says anything; wherever that leads, the packets are stored
    stored = [here.workspace.read(g) for g in here.workspace.ledger.granules(["packets"]) if g.id.endswith(f"-{0x3AB}")]
    assert sorted(b"".join(stored)) == sorted(b"".join(strange))
    assert here.gate() == []


def packet(apid: int, sequence: int, data: bytes) -> bytes:
    """Packet with its error control."""
    record = [encoder.PacketRecord(0, apid, data)]
    return encoder.space_packets(record, first_sequence={apid: sequence})[0]


def test_frames_of_a_neighbor_are_kept_aside_and_counted(make: Make, alone: ingestion.Installation) -> None:
    rows = np.frombuffer(ingestion.one_pass(), dtype=np.uint8).reshape(-1, CADU)
    other = simulation.assemble_pass(ingestion.mission((3,)), link=ingestion.OURS, spacecraft=157).cadus
    foreign = np.frombuffer(other, dtype=np.uint8).reshape(-1, CADU)[:60]
    mixed = np.insert(rows, np.arange(60) * 11 + 5, foreign, axis=0)
    here = make()
    here.land("pass.cadu", mixed.tobytes())
    is_as(here.ingest(), alone)
    (reception,) = here.book.receptions()
    assert reception.account["frames"]["foreign"] == 60
    assert len(here.body("rejected_frames", "foreign")) == 60 * ingestion.OURS.layout.length


def test_a_frame_put_together_from_two_pieces_is_not_asked_for_again(make: Make) -> None:
    here = make()
    for number, piece in enumerate(ingestion.cut(ingestion.one_pass(), at=[333 * CADU + 400])):
        here.land(f"piece{number}.cadu", piece)
    here.ingest()
    assert here.book.plan_requests(dt.datetime.now(dt.UTC)) == []


def test_a_cut_where_the_on_board_time_jumps_costs_nothing(make: Make) -> None:
    recording = simulation.assemble_pass(ingestion.mission((0, 3)), link=ingestion.OURS, spacecraft=76).cadus
    whole, here = make(), make()
    whole.land("whole.cadu", recording)
    whole.ingest()
    middle = len(recording) // CADU // 2 + 1
    for number, piece in enumerate(ingestion.cut(recording, at=[middle * CADU])):
        here.land(f"piece{number}.cadu", piece)
    is_as(here.ingest(), whole)


@pytest.fixture(scope="module")
def modelled() -> modelled_input.ModelledPass:
    return modelled_input.modelled_pass(1)


def soundings(here: ingestion.Installation, modelled: modelled_input.ModelledPass, cut: list[int]) -> dict[Any, str]:
    """Everything up to the profiles."""
    bucket = here.settings.bucket("landing")
    sp3 = modelled.sp3.encode()
    here.workspace.store.put_replace(bucket, "auxiliary/gnss-orbits/sim.sp3", sp3, media_type="text/plain")
    for number, piece in enumerate(ingestion.cut(modelled.cadus, at=cut)):
        here.land(f"piece{number}.cadu", piece)
        here.ingest("ingest_auxiliary", "calibrate_occultations", "retrieve_occultations")
    return here.current((*ingestion.PRODUCTS, "level1b", "profile"))


def test_a_pass_in_pieces_gives_the_same_profiles(make: Make, modelled: modelled_input.ModelledPass) -> None:
    whole = soundings(make(), modelled, [])
    assert sum(kind == "profile" for kind, _ in whole) == modelled_input.OCCULTATIONS
    assert soundings(make(), modelled, [len(modelled.cadus) * 4 // 9]) == whole


def test_a_late_piece_of_the_orbit_saves_the_sounding_that_lacked_it(make: Make) -> None:
    start = float(timescales.gps_from_utc(modelled_input.START))
    sounded = occultation.simulate_occultations(start_gps=start, count=1, seed=1)
    orbit = sounded.receiver_orbit
    sent = encoder.telemetry(
        housekeeping_time=orbit.time[::10],
        navigation=encoder.navigation_records(
            orbit.time, position=orbit.position, velocity=orbit.velocity, clock_bias=orbit.clock_bias
        ),
        events=sounded.events,
    )
    vcid = layouts.OCCULTATION_CHANNEL
    frame = (np.cumsum([len(packet) for packet in sent[vcid]]) - 1) // ingestion.ZONE
    carried = [number for number, packet in enumerate(sent[vcid]) if packet[1] != layouts.GN_PVT]
    after = [(vcid, number) for number in range(int(frame[carried[-1]]) + 1, int(frame[-1]) + 1)]
    whole = simulation.assemble_pass(sent, link=ingestion.OURS, spacecraft=76).cadus
    short = simulation.assemble_pass(sent, link=ingestion.OURS, spacecraft=76, lost_frames=after).cadus
    held = {short[at : at + CADU] for at in range(0, len(short), CADU)}
    frames = [whole[at : at + CADU] for at in range(0, len(whole), CADU)]
    late = b"".join(one for one in frames if one not in held)
    found = []
    for pieces in ([whole], [short, late]):
        here = make()
        bucket, sp3 = here.settings.bucket("landing"), sounded.sp3.encode()
        here.workspace.store.put_replace(bucket, "auxiliary/gnss-orbits/sim.sp3", sp3, media_type="text/plain")
        for number, piece in enumerate(pieces):
            here.land(f"piece{number}.cadu", piece)
            here.ingest("ingest_auxiliary", "calibrate_occultations")
        found.append(here.current((*ingestion.PRODUCTS, "level1b")))
    assert any(kind == "level1b" for kind, _ in found[0])
    assert found[0] == found[1]
