"""The completeness ledger: rows are facts, what counts is the newest of them, and nothing is asked for in vain."""

import datetime as dt
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from infra import completeness_ledger, database
from infra.completeness_ledger import Policy, Reception, Selection, Window
from infra.embedded import metadata_database
from processors import timescales

NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(hours=24)
FIRST = float(timescales.gps_from_utc(np.datetime64("2026-05-01T10:00:00")))
OWN = "76/2/0"
TIMELESS = 5
"""One of the 24 spacecraft of a long ledger sends no times."""


def in_memory() -> sa.Engine:
    """Database that waits for no disk; the tests of the migrations use one as installations do."""
    made = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    completeness_ledger.metadata.create_all(made)
    return made


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    made = in_memory()
    yield made
    made.dispose()


@pytest.fixture
def book(engine: sa.Engine) -> completeness_ledger.CompletenessLedger:
    return completeness_ledger.CompletenessLedger(engine)


def reception(recording: str = "a", held: dict[str, Any] | None = None, **more: Any) -> Reception:
    about = {"key": f"downlink/kourou/terralimb/{recording}", "link": "terralimb", "station": "kourou", "size": 10}
    account = {"frames": {"received": 3, "accepted": 3}}
    return Reception(**{**about, "account": account, "recording": recording, "held": held or {}, **more})


def window(name: str = "20260501t1000", **more: Any) -> Window:
    about = {"link": "terralimb", "scid": 76, "window": name, "start": FIRST, "stop": FIRST + 1800.0}
    return Window(**{**about, "inputs_sha256": "1", "account": whole(), **more})


def whole(missing: int = 0, gaps: list[list[int]] | None = None) -> dict[str, Any]:
    lost = sum(last - first + 1 for first, last in gaps or [])
    channel = {"scid": 76, "vcid": 2, "frames": 5, "missing": lost, "gaps": gaps or []}
    row = {"apid": 48, "count": 9, "missing": missing, "expected_produced": 9 + missing}
    return {"virtual_channels": [channel], "packets": [row], "unexplained": 0}


def count(engine: sa.Engine, table: sa.Table) -> int:
    with database.reading(engine) as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def asked(book: completeness_ledger.CompletenessLedger) -> list[tuple[int, int]]:
    return [(request.first, request.last) for request in book.requests(pending=True)]


def ended(book: completeness_ledger.CompletenessLedger, state: str) -> list[tuple[int, int]]:
    return [(request.first, request.last) for request in book.requests() if request.state == state]


# Receptions


def test_a_recording_is_counted_once_however_often_it_lands(book: completeness_ledger.CompletenessLedger) -> None:
    assert book.record_reception(reception())
    assert not book.record_reception(reception())
    assert not book.record_reception(reception(key="downlink/svalbard/terralimb/copy", station="svalbard"))
    (held,) = book.receptions()
    assert (held.sightings, held.station, held.account["frames"]["received"]) == (3, "kourou", 3)


def test_every_sighting_is_a_row_with_its_key(book: completeness_ledger.CompletenessLedger, engine: sa.Engine) -> None:
    book.record_reception(reception())
    book.record_reception(reception(key="other/place"))
    with database.reading(engine) as connection:
        rows = connection.execute(sa.select(completeness_ledger.reception_table.c["sighting", "key"])).all()
    assert [tuple(row) for row in rows] == [("counted", "downlink/kourou/terralimb/a"), ("again", "other/place")]


def test_a_recording_decoded_by_other_software_takes_the_place_of_the_former_account(
    book: completeness_ledger.CompletenessLedger, engine: sa.Engine
) -> None:
    book.record_reception(reception(held={OWN: [[1, 5]]}, software="1"))
    assert book.record_reception(reception(held={OWN: [[1, 9]]}, software="2"))
    (held,) = book.receptions()
    assert (held.software, held.held, held.sightings) == ("2", {OWN: [[1, 9]]}, 1)
    assert count(engine, completeness_ledger.reception_table) == 2


def test_other_software_is_a_new_fact_even_where_it_finds_the_same(
    book: completeness_ledger.CompletenessLedger,
) -> None:
    book.record_reception(reception(software="1"))
    assert book.record_reception(reception(software="2"))
    assert [held.software for held in book.receptions()] == ["2"]


def test_the_former_account_stays_in_the_ledger_as_it_was(
    book: completeness_ledger.CompletenessLedger, engine: sa.Engine
) -> None:
    book.record_reception(reception(software="1", account={"old": True}))
    book.record_reception(reception(software="2", account={"old": False}))
    with database.reading(engine) as connection:
        table = completeness_ledger.reception_table
        rows = connection.execute(sa.select(table.c.account, table.c.superseded_by).order_by(table.c.sequence)).all()
    assert [tuple(row) for row in rows] == [({"old": True}, 2), ({"old": False}, None)]


def test_two_counting_rows_of_a_recording_are_refused_by_the_database(
    book: completeness_ledger.CompletenessLedger, engine: sa.Engine
) -> None:
    book.record_reception(reception(software="1"))
    book.record_reception(reception(software="2"))
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(completeness_ledger.reception_table.update().values(superseded_by=None))


def test_a_selection_is_by_on_board_time_or_by_receipt_where_there_is_none(
    book: completeness_ledger.CompletenessLedger,
) -> None:
    book.record_reception(reception("early", {"76/2/0": [[1, 2]]}, first_time=FIRST, last_time=FIRST + 60.0))
    book.record_reception(reception("late", {"77/2/0": [[1, 2]]}, first_time=FIRST + 7200.0, last_time=FIRST + 7260.0))
    book.record_reception(reception("timeless", {"157/16/0": [[1, 2]]}, link="suomi-npp"))
    ten = dt.datetime(2026, 5, 1, 10, tzinfo=dt.UTC)

    def names(**chosen: Any) -> list[str]:
        return [held.recording for held in book.receptions(Selection(**chosen))]

    assert names() == ["early", "late", "timeless"]
    assert names(until=ten + HOUR) == ["early"]
    assert names(since=ten + HOUR, until=ten + 3 * HOUR) == ["late"]
    assert names(since=ten + dt.timedelta(seconds=60), until=ten + HOUR) == ["early"]
    assert names(since=ten + dt.timedelta(seconds=61), until=ten + HOUR) == []
    assert "timeless" in names(since=dt.datetime.now(dt.UTC) - HOUR)
    assert names(scid=77) == ["late"]
    assert names(link="suomi-npp") == ["timeless"]


# Windows


def test_the_same_evaluation_adds_nothing_and_another_takes_its_place(
    book: completeness_ledger.CompletenessLedger, engine: sa.Engine
) -> None:
    assert book.record_window(window(account=whole(3), recorder={2: 7}))
    assert not book.record_window(window(account=whole(3), recorder={2: 7}))
    assert book.record_window(window(account=whole(), inputs_sha256="2", recorder={2: 7}))
    (held,) = book.windows()
    assert (held.account["packets"][0]["missing"], held.inputs_sha256, held.recorder) == (0, "2", {2: 7})
    assert count(engine, completeness_ledger.window_table) == 2


def test_a_reevaluated_window_keeps_the_time_of_its_first_evaluation(
    book: completeness_ledger.CompletenessLedger, engine: sa.Engine
) -> None:
    book.record_window(window(account=whole(3)))
    with engine.begin() as connection:
        connection.execute(completeness_ledger.window_table.update().values(first_recorded_at=NOON.isoformat()))
    book.record_window(window(account=whole(2)))
    (held,) = book.windows()
    assert held.first_recorded_at == NOON.isoformat()
    assert held.recorded_at != held.first_recorded_at


def test_windows_are_selected_by_time_satellite_and_link(book: completeness_ledger.CompletenessLedger) -> None:
    book.record_window(window("20260501t1030", start=FIRST + 1800.0, stop=FIRST + 3600.0))
    book.record_window(window())
    book.record_window(window("pass-1", link="suomi-npp", scid=157, start=None, stop=None))
    ten = dt.datetime(2026, 5, 1, 10, tzinfo=dt.UTC)

    def names(**chosen: Any) -> list[str]:
        return [held.window for held in book.windows(Selection(**chosen))]

    assert names() == ["20260501t1000", "20260501t1030", "pass-1"]
    assert names(since=ten + dt.timedelta(minutes=31), until=ten + HOUR) == ["20260501t1030"]
    assert names(until=ten + dt.timedelta(minutes=30)) == ["20260501t1000"]
    assert names(scid=157) == ["pass-1"]
    assert names(link="terralimb", scid=157) == []


# Requests


def test_what_is_missing_between_held_frames_is_asked_for_once(
    book: completeness_ledger.CompletenessLedger, engine: sa.Engine
) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}))
    book.record_reception(reception("b", {OWN: [[50, 59]]}, station="svalbard"))
    (first, second) = book.plan_requests(NOON)
    assert [(first.first, first.last), (second.first, second.last)] == [(20, 29), (40, 49)]
    assert first.id == "terralimb/76/2/0/20-29"
    assert dt.datetime.fromisoformat(first.expires_at) == NOON + DAY
    rows = count(engine, completeness_ledger.request_table)
    assert book.plan_requests(NOON + HOUR) == []
    assert count(engine, completeness_ledger.request_table) == rows


def test_what_one_station_missed_and_another_held_is_not_asked_for(
    book: completeness_ledger.CompletenessLedger,
) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}))
    book.record_reception(reception("b", {OWN: [[15, 35]]}, station="svalbard"))
    assert book.plan_requests(NOON) == []


@pytest.mark.parametrize(
    "other", ["76/2/1", "76/3/0", "77/2/0"], ids=["another epoch", "another channel", "another spacecraft"]
)
def test_counters_of_another_sequence_are_no_neighbors(
    book: completeness_ledger.CompletenessLedger, other: str
) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19]], other: [[40, 49]]}))
    assert book.plan_requests(NOON) == []


def test_idle_channels_and_links_without_recorder_are_not_asked(engine: sa.Engine) -> None:
    book = completeness_ledger.CompletenessLedger(engine, Policy(without_recorder={"suomi-npp"}))
    gapped = [[1, 2], [5, 6]]
    book.record_reception(reception("a", {"76/63/0": gapped, OWN: gapped}))
    book.record_reception(reception("b", {"157/16/0": gapped}, link="suomi-npp"))
    assert [request.channel.vcid for request in book.plan_requests(NOON)] == [2]


def test_a_request_is_satisfied_when_its_frames_come(book: completeness_ledger.CompletenessLedger) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}))
    (request,) = book.plan_requests(NOON)
    book.record_reception(reception("b", {OWN: [[20, 29]]}))
    assert book.plan_requests(NOON + HOUR) == []
    assert book.history(request.id) == ["requested", "satisfied"]
    assert asked(book) == []


def test_the_rest_of_a_request_is_a_request_that_expires_with_the_whole(
    book: completeness_ledger.CompletenessLedger,
) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}))
    (request,) = book.plan_requests(NOON)
    book.record_reception(reception("b", {OWN: [[22, 24]]}))
    rest = book.plan_requests(NOON + HOUR)
    assert [(part.first, part.last) for part in rest] == asked(book) == [(20, 21), (25, 29)]
    assert {(part.since, part.expires_at) for part in rest} == {(request.since, request.expires_at)}
    assert ended(book, "satisfied") == [(22, 24)]
    assert book.history(request.id) == ["requested", "split"]


def test_frames_before_the_first_and_after_the_last_are_not_known_to_be_missing(
    book: completeness_ledger.CompletenessLedger,
) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19]]}))
    assert book.plan_requests(NOON) == []


def test_an_old_pass_that_comes_late_opens_the_gap_behind_it(book: completeness_ledger.CompletenessLedger) -> None:
    book.record_reception(reception("b", {OWN: [[50, 59]]}))
    book.plan_requests(NOON)
    book.record_reception(reception("a", {OWN: [[10, 19]]}))
    assert [(request.first, request.last) for request in book.plan_requests(NOON)] == [(20, 49)]


def test_frames_a_new_account_no_longer_holds_are_missing_again(
    book: completeness_ledger.CompletenessLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completeness_ledger, "LOOK_BACK", 0)
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}, software="1"))
    book.record_reception(reception("b", {OWN: [[20, 29]]}, software="1"))
    assert book.plan_requests(NOON) == []
    book.record_reception(reception("b", {}, software="2"))
    assert [(request.first, request.last) for request in book.plan_requests(NOON)] == [(20, 29)]


def test_a_request_expires_and_is_not_made_again(book: completeness_ledger.CompletenessLedger) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}))
    (request,) = book.plan_requests(NOON)
    assert book.expire(NOON + DAY - HOUR) == []
    (end,) = book.expire(NOON + DAY)
    assert (end.id, end.state, end.since, end.expires_at) == (
        request.id,
        "expired",
        request.since,
        request.expires_at,
    )
    assert book.expire(NOON + 2 * DAY) == []
    assert book.plan_requests(NOON + 2 * DAY) == []
    assert asked(book) == []


def test_what_came_before_the_expiry_was_looked_at_is_satisfied_not_expired(
    book: completeness_ledger.CompletenessLedger,
) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}))
    (request,) = book.plan_requests(NOON)
    book.record_reception(reception("b", {OWN: [[20, 29]]}))
    assert book.expire(NOON + 2 * DAY) == []
    assert book.history(request.id) == ["requested", "satisfied"]


def test_what_the_recorder_has_overwritten_is_lost_for_good(book: completeness_ledger.CompletenessLedger) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39], [50, 59]]}))
    book.plan_requests(NOON)
    lost = book.expire(NOON + HOUR, {(76, 2): 45})
    assert [(end.first, end.last, end.state) for end in lost] == [
        (20, 29, "lost_on_board"),
        (40, 44, "lost_on_board"),
    ]
    assert {dt.datetime.fromisoformat(end.expires_at) for end in lost} == {NOON + DAY}
    assert asked(book) == [(45, 49)]
    assert book.expire(NOON + HOUR, {(76, 2): 45}) == []
    assert book.plan_requests(NOON + HOUR) == []
    assert [(end.first, end.last, end.state) for end in book.expire(NOON + 2 * DAY)] == [(45, 49, "expired")]
    assert ended(book, "lost_on_board") == [(20, 29), (40, 44)]


def test_the_oldest_frame_on_board_itself_is_not_lost(book: completeness_ledger.CompletenessLedger) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [21, 39]]}))
    book.plan_requests(NOON)
    assert book.expire(NOON, {(76, 2): 20}) == []
    assert [(end.first, end.last) for end in book.expire(NOON, {(76, 2): 21})] == [(20, 20)]
    book.record_reception(reception("b", {OWN: [[44, 49]]}))
    assert [(end.first, end.last) for end in book.expire(NOON, {(76, 2): 43})] == [(40, 42)]
    assert asked(book) == [(43, 43)]


def test_the_recorder_is_what_the_newest_window_says(book: completeness_ledger.CompletenessLedger) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}))
    book.plan_requests(NOON)
    book.record_window(window(recorder={2: 12}))
    assert book.expire(NOON) == []
    book.record_window(window("later", recorder={2: 30}))
    book.record_window(window("silent"))
    assert [(end.first, end.last, end.state) for end in book.expire(NOON)] == [(20, 29, "lost_on_board")]


def test_the_recorder_says_nothing_of_frames_before_a_reset(book: completeness_ledger.CompletenessLedger) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]], "76/2/1": [[1, 9]]}))
    book.plan_requests(NOON)
    assert book.expire(NOON, {(76, 2): 1000}) == []


def test_frames_that_come_after_all_are_no_longer_lost(book: completeness_ledger.CompletenessLedger) -> None:
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}))
    book.plan_requests(NOON)
    book.expire(NOON, {(76, 2): 30})
    book.record_reception(reception("b", {OWN: [[20, 24]]}))
    assert book.plan_requests(NOON) == []
    assert (ended(book, "lost_on_board"), ended(book, "satisfied")) == ([(25, 29)], [(20, 24)])


def test_an_instant_without_time_zone_is_refused(book: completeness_ledger.CompletenessLedger) -> None:
    with pytest.raises(ValueError, match="time zone"):
        book.plan_requests(dt.datetime(2026, 5, 1))  # noqa: DTZ001


@pytest.mark.parametrize("seed", range(10))
def test_requests_are_what_sets_of_integers_say(
    book: completeness_ledger.CompletenessLedger, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random passes, plans, expiries and pointers against plain sets of counters."""
    monkeypatch.setattr(completeness_ledger, "LOOK_BACK", 0 if seed % 2 else completeness_ledger.LOOK_BACK)
    random = np.random.default_rng(seed)
    held: set[int] = set()
    given_up: set[int] = set()
    waiting: dict[int, dt.datetime] = {}
    oldest = 0
    now = NOON
    for step in range(25):
        now += dt.timedelta(hours=float(random.integers(0, 9)))
        first = int(random.integers(0, 200))
        bounds = np.cumsum(random.integers(1, 12, size=6)) + first
        intervals = [[int(bounds[0]), int(bounds[1])], [int(bounds[2]) + 1, int(bounds[3])]]
        intervals = [interval for interval in intervals if interval[0] <= interval[1]]
        if random.random() < 0.7:
            book.record_reception(reception(f"r{step}", {OWN: intervals}))
            held |= {counter for low, high in intervals for counter in range(low, high + 1)}
        book.plan_requests(now)
        gaps = set(range(min(held), max(held))) - held if held else set()
        waiting = {counter: waiting.get(counter, now + DAY) for counter in gaps - given_up}
        if random.random() < 0.4:
            oldest = max(oldest, int(random.integers(0, 60)))
            book.expire(now, {(76, 2): oldest})
            gone = {counter for counter, expiry in waiting.items() if counter < oldest or expiry <= now}
            given_up |= gone
            waiting = {counter: expiry for counter, expiry in waiting.items() if counter not in gone}
        pending = [counter for low, high in asked(book) for counter in range(low, high + 1)]
        assert sorted(pending) == sorted(waiting)
        lost = [
            counter
            for state in ("expired", "lost_on_board")
            for low, high in ended(book, state)
            for counter in range(low, high + 1)
        ]
        assert sorted(lost) == sorted(given_up - held)


# States


def test_a_window_goes_from_open_through_provisional_to_an_end(
    book: completeness_ledger.CompletenessLedger,
) -> None:
    now = dt.datetime.now(dt.UTC)

    def state(at: dt.datetime) -> str:
        ((_, found),) = book.states(at)
        return found

    gapped = {OWN: [[10, 19], [30, 39]]}
    book.record_reception(reception("a", gapped, first_time=FIRST, last_time=FIRST + 900.0))
    book.record_window(window(account=whole(2, [[20, 29]])))
    assert state(now) == "open"
    book.record_reception(reception("b", {OWN: [[40, 49]]}, first_time=FIRST + 900.0, last_time=FIRST + 1900.0))
    assert state(now) == "provisional"
    book.plan_requests(now + DAY - HOUR)
    assert state(now + DAY + HOUR) == "provisional"
    book.expire(now + 2 * DAY)
    assert state(now + 2 * DAY) == "closed_with_gaps"
    book.record_window(window(account=whole(), inputs_sha256="2"))
    assert state(now + 2 * DAY) == "complete"


def test_a_request_made_after_the_deadline_does_not_open_a_window_again(
    book: completeness_ledger.CompletenessLedger,
) -> None:
    now = dt.datetime.now(dt.UTC)
    book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}, last_time=FIRST + 1900.0))
    book.record_window(window(account=whole(2, [[20, 29]])))
    late = now + DAY + HOUR
    assert [found for _, found in book.states(late)] == ["closed_with_gaps"]
    book.plan_requests(late)
    assert asked(book) == [(20, 29)]
    assert [found for _, found in book.states(late)] == ["closed_with_gaps"]


def test_a_pass_without_on_board_time_does_not_wait_for_more(book: completeness_ledger.CompletenessLedger) -> None:
    book.record_window(window("pass-1", start=None, stop=None))
    assert [found for _, found in book.states(dt.datetime.now(dt.UTC))] == ["complete"]


# Databases


@pytest.mark.chain
def test_postgresql_keeps_the_same_ledger(tmp_path: Path) -> None:
    times = {"first_time": FIRST, "last_time": FIRST + 1900.0}
    server, url = _postgresql(tmp_path)
    try:
        database.upgrade(url)
        book = completeness_ledger.CompletenessLedger(database.engine(url))
        assert book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}, **times, software="1"))
        assert not book.record_reception(reception("a", {OWN: [[10, 19], [30, 39]]}, **times, software="1"))
        assert book.record_reception(reception("a", {OWN: [[10, 19], [40, 49]]}, **times, software="2"))
        assert book.record_window(window(account=whole(2, [[20, 29]]), recorder={2: 25}))
        assert not book.record_window(window(account=whole(2, [[20, 29]]), recorder={2: 25}))
        assert [(request.first, request.last) for request in book.plan_requests(NOON)] == [(20, 39)]
        assert [(end.first, end.last) for end in book.expire(NOON)] == [(20, 24)]
        assert asked(book) == [(25, 39)]
        (held,) = book.receptions(Selection(scid=76, until=dt.datetime(2026, 5, 2, tzinfo=dt.UTC)))
        assert (held.sightings, held.held) == (2, {OWN: [[10, 19], [40, 49]]})
        assert [found for _, found in book.states(dt.datetime.now(dt.UTC))] == ["provisional"]
        database.engine(url).dispose()
    finally:
        server.stop()


def _postgresql(home: Path) -> tuple[Any, str]:
    with warnings.catch_warnings():
        # The handle of the server's process warns when it goes out of scope; the server is stopped by its number.
        warnings.simplefilter("ignore", ResourceWarning)
        return metadata_database.start(home)


# Many rows


def many(book: completeness_ledger.CompletenessLedger, engine: sa.Engine, rows: int) -> None:
    """Fill the ledger: half an hour of one of 24 spacecraft a reception."""
    for number in range(2):
        book.record_reception(reception(f"seed{number}", {OWN: [[-9, -8], [-5, -3]]}, last_time=FIRST - 9e6))
        book.record_window(window(f"seed{number}", start=FIRST - 9e6, stop=FIRST - 9e6, recorder={2: 1}))
    with engine.begin() as connection:
        for table in (completeness_ledger.reception_table, completeness_ledger.window_table):
            pattern = dict(connection.execute(sa.select(table).limit(1)).mappings().one())
            connection.execute(table.insert(), [_numbered(pattern, number) for number in range(rows)])
        pattern = dict(connection.execute(sa.select(completeness_ledger.held_table).limit(1)).mappings().one())
        connection.execute(completeness_ledger.held_table.insert(), [_held(pattern, number) for number in range(rows)])
    book.plan_requests(NOON)


def _numbered(pattern: dict[str, Any], number: int) -> dict[str, Any]:
    time, scid = FIRST + 1800.0 * (number // 24), 76 + number % 24
    told = NOON + dt.timedelta(seconds=75 * number)
    values = {
        "sequence": 100 + number,
        "recording": f"r{number}",
        "window_id": f"w{number}",
        "scid": scid,
        "first_time": time,
        "last_time": time + 1800.0,
        "start_time": time,
        "stop_time": time + 1800.0,
        "recorded_at": told.isoformat(timespec="milliseconds"),
        "first_recorded_at": told.isoformat(timespec="milliseconds"),
    }
    if number % 24 == TIMELESS:
        values |= dict.fromkeys(("first_time", "last_time", "start_time", "stop_time"))
    return {**pattern, **{name: value for name, value in values.items() if name in pattern}}


def _held(pattern: dict[str, Any], number: int) -> dict[str, Any]:
    first = 1000 * (number // 24)
    reach = {"first_counter": first, "last_counter": first + 999, "intervals": [[first, first + 999]]}
    about = {"sequence": 100 + number, "reception": 100 + number, "scid": 76 + number % 24}
    time = None if number % 24 == TIMELESS else FIRST + 1800.0 * (number // 24 + 1)
    return {**pattern, **reach, **about, "last_time": time}


def questions(book: completeness_ledger.CompletenessLedger, rows: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """What the stages and the daily report do, at the newest end of the ledger."""
    turn = rows // 24
    last = dt.datetime(2026, 5, 1, 10, tzinfo=dt.UTC) + dt.timedelta(minutes=30 * turn)
    newest = {OWN: [[1000 * turn, 1000 * turn + 5], [1000 * turn + 9, 1000 * turn + 99]]}
    recent = Selection(since=last - HOUR, until=last)
    time = FIRST + 1800.0 * turn
    yield "record_reception", lambda: book.record_reception(reception("new", newest, last_time=time))
    yield "record_window", lambda: book.record_window(window("new", start=time, stop=time + 1800.0))
    yield "plan_requests", lambda: book.plan_requests(NOON)
    yield "expire", lambda: book.expire(NOON)
    yield "receptions", lambda: book.receptions(recent)
    yield "receptions of one", lambda: book.receptions(Selection(recent.since, recent.until, scid=76, link="terralimb"))
    yield "states", lambda: book.states(NOON, recent)
    yield "states of one", lambda: book.states(NOON, Selection(recent.since, recent.until, scid=76))
    timeless = Selection(recent.since, recent.until, scid=76 + TIMELESS)
    yield "states of one without times", lambda: book.states(NOON, timeless)
    yield "requests", lambda: book.requests(pending=True)


def test_no_question_reads_a_whole_table(book: completeness_ledger.CompletenessLedger, engine: sa.Engine) -> None:
    rows = 240
    many(book, engine, rows)
    asked_for: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE")):
            asked_for.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    for _, question in questions(book, rows):
        question()
    sa.event.remove(engine, "before_cursor_execute", note)
    with database.reading(engine) as connection:
        steps = [
            (str(row[3]), statement)
            for statement, parameters in asked_for
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    tables = {table.name for table in completeness_ledger.metadata.sorted_tables}
    assert {table for table in tables for step, _ in steps if step.startswith(f"SEARCH {table}")} == tables - {
        "retransmission_plan"
    }
    scans = [step for step, _ in steps if step.startswith("SCAN") and step.split()[1] in tables]
    # The newest row by its number: the first of the scan.
    assert set(scans) <= {"SCAN retransmission_plan"}


def test_the_work_of_a_question_does_not_grow_with_the_ledger() -> None:
    work: dict[int, dict[str, int]] = {}
    for rows in (1_200, 4_800):
        engine = in_memory()
        book = completeness_ledger.CompletenessLedger(engine)
        many(book, engine, rows)
        work[rows] = {name: _instructions(engine, question) for name, question in questions(book, rows)}
        engine.dispose()
    assert all(steps > 0 for steps in work[1_200].values())
    grown = {name: work[4_800][name] / work[1_200][name] for name in work[1_200]}
    # A search by index is the same few instructions in a longer table; a look at every row is four times as many.
    assert {name: growth for name, growth in grown.items() if growth > 1.1} == {}


def _instructions(engine: sa.Engine, question: Callable[[], object]) -> int:
    """Instructions the database's machine executes for a question."""
    steps = 0

    def count_step() -> int:
        nonlocal steps
        steps += 1
        return 0

    with engine.connect() as connection:
        driver = connection.connection.driver_connection
    driver.set_progress_handler(count_step, 1)
    question()
    driver.set_progress_handler(None, 1)
    return steps
