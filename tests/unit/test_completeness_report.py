"""The completeness report: figures that add up, a gate that decides the exit status, a picture that can be read."""

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image
from typer.testing import CliRunner

from infra import cli, completeness_ledger, completeness_report, database, settings
from infra.completeness_ledger import CompletenessLedger, Reception, Selection, Window
from processors import timescales
from products import completeness_plot

FIRST = float(timescales.gps_from_utc(np.datetime64("2026-05-01T10:00:00")))
OCTETS = {"in": 100, "frames": 90, "junk": 7, "tail": 3}
FRAMES = {"received": 9, "accepted": 6, "uncorrectable": 2, "check_failed": 1, "corrected": 4, "idle": 1}
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompletenessLedger:
    chosen = settings.Settings(home=tmp_path)
    monkeypatch.setattr(settings, "current", lambda: chosen)
    engine = database.engine(chosen.resolved_database_url())
    completeness_ledger.metadata.create_all(engine)
    return CompletenessLedger(engine)


def received(book: CompletenessLedger, recording: str = "a" * 64, **more: Any) -> None:
    about = {"key": "k", "link": "terralimb", "station": "kourou", "size": 100}
    account = {"bytes": OCTETS, "frames": FRAMES, "corrected_symbols": 5}
    held = {"76/2/0": [[1, 60], [71, 100]]}
    times = {"first_time": FIRST, "last_time": FIRST + 1800.0}
    book.record_reception(
        Reception(**{**about, "recording": recording, "account": account, "held": held, **times, **more})
    )


def evaluated(book: CompletenessLedger, window: str = "20260501t1000", *, missing: int = 10, **more: Any) -> None:
    channel = {"scid": 76, "vcid": 2, "frames": 90, "missing": missing, "gaps": [[61, 60 + missing]] if missing else []}
    rows = [
        {"apid": 48, "count": 200 - missing, "missing": missing, "expected_produced": 200, "duplicates": 3},
        {"apid": 49, "count": 50, "missing": 0, "expected_produced": None, "conflicts": 1},
        {"apid": 2047, "count": 7, "missing": 0, "idle": True},
    ]
    account = {"virtual_channels": [channel], "packets": rows, "unexplained": 0}
    about = {"link": "terralimb", "scid": 76, "start": FIRST, "stop": FIRST + 1800.0, "inputs_sha256": "1"}
    book.record_window(Window(**{**about, "window": window, "account": account, **more}))


def run(*words: str) -> Any:
    return CliRunner().invoke(cli.app, ["downlink", "report", *words])


def test_frames_and_packets_of_the_report_are_those_of_the_facts(book: CompletenessLedger) -> None:
    received(book)
    evaluated(book)
    evaluated(book, "20260501t1030", missing=0, start=FIRST + 1800.0, stop=FIRST + 3600.0)
    made = completeness_report.build(book, now=NOW)
    (channel,) = made["channels"]
    assert [channel[name] for name in ("satellite", "expected", "held", "missing", "percent", "gaps")] == [
        "TL01", 100, 90, 10, 90.0, [[61, 70]],
    ]  # fmt: skip
    first, second = made["packets"]
    assert [first[name] for name in ("apid", "expected", "held", "missing", "percent", "expected_produced")] == [
        48, 400, 390, 10, 97.5, 400,
    ]  # fmt: skip
    assert (first["duplicates"], second["conflicts"], second["expected_produced"]) == (6, 2, None)
    assert [(row["window"], row["expected"], row["held"], row["missing_frames"]) for row in made["windows"]] == [
        ("20260501t1000", 250, 240, 10),
        ("20260501t1030", 250, 250, 0),
    ]
    assert (made["windows"][0]["start"], made["windows"][0]["stop"]) == ("2026-05-01T10:00:00Z", "2026-05-01T10:30:00Z")
    assert made["gate"] == {"released": True, "unexplained": 0, "violations": []}


def test_totals_count_every_recording_once(book: CompletenessLedger) -> None:
    received(book)
    received(book, station="svalbard")
    received(book, "b" * 64, first_time=None, last_time=None)
    totals = completeness_report.build(book, now=NOW)["totals"]
    assert (totals["receptions"], totals["seen_again"], totals["octets"], totals["lost"]) == (2, 1, 200, 6)
    assert totals["frames"]["received"] == 18


def test_what_is_not_whole_never_reads_as_a_hundred_percent(book: CompletenessLedger) -> None:
    received(book, held={"76/2/0": [[1, 50_000], [50_002, 100_001]]})
    (channel,) = completeness_report.build(book, now=NOW)["channels"]
    assert (channel["missing"], channel["percent"]) == (1, 99.99)


def test_states_are_counted_and_requests_listed_while_they_are_open(book: CompletenessLedger) -> None:
    received(book, last_time=FIRST + 2000.0)
    evaluated(book)
    book.plan_requests(NOW)
    made = completeness_report.build(book, now=NOW)
    assert made["states"] == {"open": 0, "provisional": 1, "complete": 0, "closed_with_gaps": 0}
    assert [(row["first"], row["last"], row["frames"], row["state"]) for row in made["requests"]] == [
        (61, 70, 10, "requested")
    ]
    book.expire(NOW + dt.timedelta(days=2))
    assert completeness_report.build(book, now=NOW)["requests"] == []
    every = completeness_report.build(book, now=NOW, every_request=True)["requests"]
    assert [row["state"] for row in every] == ["expired"]


def test_latency_is_from_the_last_on_board_time_to_the_ledger(book: CompletenessLedger) -> None:
    # The ledger stamps what it takes in by the clock, so the time of the test is that of this line, not of the import.
    now = dt.datetime.now(dt.UTC)
    last = float(timescales.gps_from_utc(np.datetime64(now.replace(tzinfo=None)))) - 600.0
    received(book, last_time=last)
    made = completeness_report.build(book, now=now)
    assert made["totals"]["latency"]["median"] == pytest.approx(600.0, abs=120.0)
    assert made["totals"]["latency"]["median"] == made["receptions"][0]["latency"]


@pytest.mark.parametrize(
    ("name", "found"), [("157", (None, 157)), ("TL01", ("terralimb", 76)), ("tl24", ("terralimb", 99))]
)
def test_a_satellite_is_known_by_number_or_name(name: str, found: tuple[str | None, int]) -> None:
    assert completeness_report.satellite_from_name(name) == found
    if found[0]:
        assert completeness_report.satellite_name(*found) == name.upper()


@pytest.mark.parametrize("name", ["TL00", "TL25", "TLx", "x", "-1", ""])
def test_a_name_of_no_satellite_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        completeness_report.satellite_from_name(name)


def test_the_command_tells_people_what_is_missing_and_that_it_is_released(book: CompletenessLedger) -> None:
    received(book)
    evaluated(book)
    book.plan_requests(NOW)
    made = run()
    assert made.exit_code == 0, made.output
    for words in ("kourou", "TL01", "95.00", "20260501t1000", "requested", "unexplained 0: released"):
        assert words in made.stdout


def test_the_command_prints_one_object_for_programs(book: CompletenessLedger) -> None:
    received(book)
    evaluated(book)
    made = run("--json", "--satellite", "TL01", "--since", "2026-05-01", "--until", "2026-05-02T00:00:00Z")
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout)
    assert (told["satellite"], told["link"], told["since"]) == (76, "terralimb", "2026-05-01T00:00:00+00:00")
    assert len(told["receptions"]) == len(told["windows"]) == 1
    assert set(told) == set(json.loads(run("--json", "--satellite", "157").stdout))
    assert json.loads(run("--json", "--since", "2026-05-03").stdout)["windows"] == []


def test_one_octet_without_fate_makes_the_exit_status_one(book: CompletenessLedger) -> None:
    account = {"bytes": {**OCTETS, "junk": OCTETS["junk"] - 1}, "frames": FRAMES}
    received(book, account=account)
    made = run()
    assert made.exit_code == 1
    assert "not released" in made.stdout
    assert f"recording {'a' * 12} of terralimb at kourou: 100 octets came in" in made.stdout
    told = run("--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["gate"]["violations"] != []


def test_an_unexplained_loss_makes_the_exit_status_one(book: CompletenessLedger) -> None:
    evaluated(book, account={"packets": [{"apid": 1, "count": 1, "missing": 2}], "unexplained": 2})
    made = run("--json")
    assert made.exit_code == 1
    assert json.loads(made.stdout)["gate"]["unexplained"] == 2


@pytest.mark.parametrize("upgraded", [False, True])
def test_where_nothing_was_received_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upgraded: bool
) -> None:
    chosen = settings.Settings(home=tmp_path)
    monkeypatch.setattr(settings, "current", lambda: chosen)
    if upgraded:
        database.upgrade(chosen.resolved_database_url())
    made = run()
    assert made.exit_code == 0
    assert "received" in made.stdout
    assert json.loads(run("--json", "--link", "x").stdout)["receptions"] == []
    assert (tmp_path / "terralimb.sqlite").exists() == upgraded


@pytest.mark.parametrize("words", [["--since", "yesterday"], ["--satellite", "moon"], ["--until", "2026-13-01"]])
def test_a_wish_that_cannot_be_read_is_wrong_usage(book: CompletenessLedger, words: list[str]) -> None:
    assert run(*words).exit_code == 2


# The picture


def row(
    number: int = 0, *, state: str = "complete", missing: int = 0, satellite: str = "TL01", **more: Any
) -> dict[str, Any]:
    begin = np.datetime64("2026-05-01T00:00:00") + np.timedelta64(30 * number, "m")
    about = {"link": "terralimb", "scid": 76, "satellite": satellite, "recorded_at": "2026-05-02T00:00:00.000+00:00"}
    times = {"start": f"{begin}Z", "stop": f"{begin + np.timedelta64(30, 'm')}Z"}
    return {**about, **times, "state": state, "expected": 100, "held": 100 - missing, "missing": missing, **more}


def pixels(rows: list[dict[str, Any]], color: str) -> int:
    """Pixels of a color in the picture of windows."""
    picture = (image.imread(io.BytesIO(completeness_plot.plot(rows)))[..., :3] * 255.0).round().astype(int)
    wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    return int(np.all(picture == wanted, axis=-1).sum())


@pytest.mark.parametrize("state", sorted(completeness_plot.COLORS))
def test_the_area_of_a_state_is_that_of_its_windows(state: str) -> None:
    other = "open" if state != "open" else "complete"
    color = completeness_plot.COLORS[state]
    legend = pixels([row(number, state=other) for number in range(8)], color)
    two = pixels([row(number, state=state if number < 2 else other) for number in range(8)], color) - legend
    four = pixels([row(number, state=state if number < 4 else other) for number in range(8)], color) - legend
    assert legend > 0
    assert four == pytest.approx(2 * two, rel=0.03)


def test_a_window_that_misses_half_is_drawn_half_as_high() -> None:
    color = completeness_plot.COLORS["provisional"]
    legend = pixels([row(number) for number in range(4)], color)
    full = pixels([row(number, state="provisional") for number in range(4)], color) - legend
    half = pixels([row(number, state="provisional", missing=50) for number in range(4)], color) - legend
    assert half == pytest.approx(full / 2, rel=0.05)


def test_a_single_missing_packet_is_marked() -> None:
    bare = pixels([row(number) for number in range(4)], completeness_plot.MISSING)
    rows = [row(number, missing=1 if number == 2 else 0, expected=100_000, held=99_999) for number in range(4)]
    assert pixels(rows, completeness_plot.MISSING) > bare + 10
    frames = [row(number, missing_frames=1 if number == 2 else 0) for number in range(4)]
    assert pixels(frames, completeness_plot.MISSING) > bare + 10


def test_every_satellite_has_a_panel_and_the_same_windows_give_the_same_picture() -> None:
    one = [row(number) for number in range(3)]
    two = [*one, *(row(number, satellite="TL02", scid=77) for number in range(3))]
    heights = [image.imread(io.BytesIO(completeness_plot.plot(rows))).shape[0] for rows in (one, two)]
    assert heights[1] - heights[0] == pytest.approx(completeness_plot.PANEL * 100.0, abs=2.0)
    assert completeness_plot.plot(one) == completeness_plot.plot(list(reversed(one)))


def test_passes_without_on_board_time_are_drawn_at_their_receipt() -> None:
    timeless = row(start=None, stop=None)
    assert pixels([timeless], completeness_plot.COLORS["complete"]) > 1000
    with pytest.raises(ValueError, match="no windows"):
        completeness_plot.plot([])


def test_the_command_draws_the_windows_it_reports(book: CompletenessLedger, tmp_path: Path) -> None:
    path = tmp_path / "plots" / "completeness.png"
    received(book)
    assert run("--plot", str(path)).exit_code == 0
    assert not path.exists()
    evaluated(book)
    assert run("--plot", str(path), "--json").exit_code == 0
    windows = completeness_report.build(book, now=dt.datetime.now(dt.UTC), selection=Selection())["windows"]
    assert path.read_bytes() == completeness_plot.plot(windows)
    assert completeness_ledger.held_of(book.receptions())
