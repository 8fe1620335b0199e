"""A batch of occultations: one file costs at most itself, nothing is overwritten silently, everything is reported."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import threadpoolctl

from infra import granule_format, occultation_batch
from infra.stages import occultation as stage
from processors.occultation import excess_phase
from processors.orbit import sp3
from processors.simulation import occultation as simulation
from products import ropp

COMMAND = Path(sys.executable).with_name("terralimb")
START = 1.45e9
KEYS = ["input", "output", "status", "quality_flags", "seconds", "reason"]
LONG_ENOUGH = 60.0


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Level-1B files of three simulated occultations."""
    folder = tmp_path_factory.mktemp("level1b")
    made = simulation.simulate_occultations(start_gps=START, count=3, seed=11)
    receiver = simulation.dataset_from_receiver_orbit(made.receiver_orbit)
    transmitters = sp3.parse(made.sp3)
    paths = []
    for event in made.events:
        level = excess_phase.excess_phase_from_carrier(
            simulation.dataset_from_observation(event), receiver=receiver, transmitters=transmitters
        )
        paths.append(folder / f"{level.attrs['occultation_id']}.nc")
        paths[-1].write_bytes(granule_format.encode(level))
    return paths


@pytest.fixture
def poison(tmp_path: Path, events: list[Path]) -> dict[str, Path]:
    """Files no profile comes from."""
    contents = {"empty": b"", "text": b"no occultation\n" * 50, "cut": events[0].read_bytes()[:5000]}
    paths = {name: tmp_path / f"{name}.nc" for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    return paths


def batch(paths: list[Path], out: Path, **options: Any) -> occultation_batch.Report:
    return occultation_batch.run([str(path) for path in paths], out=out, **{"workers": 1, **options})


def alone(path: Path, name: str) -> bytes:
    """Profile of a file by itself, with one thread of the numerical libraries as in a batch: sums depend on it."""
    with threadpoolctl.threadpool_limits(1):
        return stage.profile_from_file(path.read_bytes(), name=name).netcdf


def retouched(path: Path, target: Path) -> Path:
    """Another file of the same occultation."""
    level = granule_format.decode(path.read_bytes(), name=path.name, decode_times=False)
    target.write_bytes(granule_format.encode(level.assign_attrs(history="made again")))
    return target


def until(condition: Callable[[], Any]) -> Any:
    """What a condition comes to be within reasonable time."""
    end = time.monotonic() + LONG_ENOUGH
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def opened_to_write(fifo: Path) -> int | None:
    """Descriptor of a named pipe some process has opened to read, None as long as none has."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def named_pipes(tmp_path: Path, count: int) -> list[Path]:
    paths = [tmp_path / f"slow-{number}.nc" for number in range(count)]
    for path in paths:
        os.mkfifo(path)
    return paths


def readers(fifo: Path) -> list[int]:
    """Processes that have opened a file, this one aside."""
    found = []
    for process in psutil.Process().children(recursive=True):
        folder = Path(f"/proc/{process.pid}/fd")
        links = [entry.readlink() for entry in folder.iterdir()] if folder.exists() else []
        if fifo in links:
            found.append(process.pid)
    return found


def test_the_report_says_of_every_input_in_its_order_what_became_of_it(
    tmp_path: Path, events: list[Path], poison: dict[str, Path]
) -> None:
    inputs = [events[0], poison["cut"], events[1], poison["text"], poison["empty"], tmp_path / "none.nc"]
    report = batch(inputs, tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "report.json").read_text())
    assert rows == report.rows
    assert [row["input"] for row in rows] == [str(path) for path in inputs]
    assert all(list(row)[:6] == KEYS for row in rows)
    assert [row["status"] for row in rows] == ["ok", "rejected", "ok", "rejected", "rejected", "rejected"]
    assert [row["cause"] for row in rows] == [None, "unreadable", None, "unreadable", "empty", "unreadable"]
    assert report.failed
    for path, row in zip(inputs, rows, strict=True):
        assert (row["output"] is None) == (row["status"] == "rejected") == bool(row["reason"])
        assert row["output"] is None or Path(row["output"]).read_bytes()[:3] == b"CDF"
        assert path in events or row["lowest_altitude"] is None
        assert path not in events or -200.0 < row["lowest_altitude"] < 3000.0


def test_rejected_by_content_is_no_failure(tmp_path: Path, events: list[Path]) -> None:
    level = granule_format.decode(events[0].read_bytes(), name="x", decode_times=False)
    short = tmp_path / "short.nc"
    short.write_bytes(granule_format.encode(level.isel(time=slice(0, 60))))
    report = batch([short, events[1]], tmp_path / "out")
    assert [row["status"] for row in report.rows] == ["rejected", "ok"]
    assert not report.failed


def test_two_workers_make_the_same_bytes_as_one(tmp_path: Path, events: list[Path], poison: dict[str, Path]) -> None:
    inputs = [events[0], poison["cut"], *events[1:]]
    single, together = (batch(inputs, tmp_path / f"{count}", workers=count, plots=True) for count in (1, 2))
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert len(names) == 2 * len(events) + 1
    assert names == sorted(path.name for path in (tmp_path / "2").iterdir())
    for name in names:
        if name != "report.json":
            assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    for one, two in zip(single.rows, together.rows, strict=True):
        changing = {"seconds", "steps", "output", "outputs"}
        assert {key: one[key] for key in one.keys() - changing} == {key: two[key] for key in two.keys() - changing}


def test_killed_workers_cost_the_files_they_were_on_and_no_other(tmp_path: Path, events: list[Path]) -> None:
    slow = named_pipes(tmp_path, 2)

    def kill() -> None:
        descriptors = [until(lambda path=path: opened_to_write(path)) for path in slow]
        for path in slow:
            (victim,) = until(lambda path=path: readers(path))
            os.kill(victim, signal.SIGKILL)
        for descriptor in descriptors:
            os.close(descriptor)

    killer = threading.Thread(target=kill)
    killer.start()
    report = batch([*slow, *events], tmp_path / "out", workers=2)
    killer.join()
    assert [row["status"] for row in report.rows] == ["rejected", "rejected", "ok", "ok", "ok"]
    assert [row["cause"] for row in report.rows[:2]] == ["worker_died", "worker_died"]
    assert "SIGKILL" in report.rows[0]["reason"]
    assert report.failed


def test_a_file_without_end_costs_its_time_and_no_other_file(tmp_path: Path, events: list[Path]) -> None:
    (fifo,) = named_pipes(tmp_path, 1)
    report = batch([fifo, *events], tmp_path / "out", workers=2, patience=5.0)
    assert [row["status"] for row in report.rows] == ["rejected", "ok", "ok", "ok"]
    assert "time was up" in report.rows[0]["reason"]


def test_of_two_files_of_one_occultation_the_first_is_kept_and_the_second_reported(
    tmp_path: Path, events: list[Path]
) -> None:
    second = retouched(events[0], tmp_path / "second.nc")
    report = batch([events[0], second], tmp_path / "out")
    kept, other = report.rows
    assert (kept["status"], other["status"]) == ("ok", "rejected")
    assert other["output"] is None
    assert str(events[0]) in other["reason"]
    expected = alone(events[0], events[0].name)
    assert Path(kept["output"]).read_bytes() == expected
    assert expected != alone(second, second.name)


def test_the_first_in_the_order_of_inputs_is_kept_also_when_it_is_done_last(tmp_path: Path, events: list[Path]) -> None:
    (fifo,), second, out = named_pipes(tmp_path, 1), retouched(events[0], tmp_path / "second.nc"), tmp_path / "out"

    def feed() -> None:
        until(lambda: list(out.glob("*.nc")))
        fifo.write_bytes(events[0].read_bytes())

    feeder = threading.Thread(target=feed)
    feeder.start()
    report = batch([fifo, second], out, workers=2)
    feeder.join()
    assert [row["status"] for row in report.rows] == ["ok", "rejected"]
    expected = alone(events[0], fifo.name)
    assert Path(report.rows[0]["output"]).read_bytes() == expected


def test_a_copy_of_a_file_is_told_and_shares_its_profile(tmp_path: Path, events: list[Path]) -> None:
    copy = tmp_path / "copy.nc"
    copy.write_bytes(events[0].read_bytes())
    report = batch([events[0], copy], tmp_path / "out")
    assert [row["status"] for row in report.rows] == ["ok", "ok"]
    assert report.rows[0]["output"] == report.rows[1]["output"]
    assert report.rows[1]["cause"] == "same_bytes"
    assert len(list((tmp_path / "out").glob("*.nc"))) == 1


def test_a_stopped_batch_reports_what_is_done_and_leaves_no_parts(tmp_path: Path, events: list[Path]) -> None:
    done: list[int] = []
    report = batch(
        events, tmp_path / "out", progress=lambda counts: done.append(counts.total()), stop=lambda: bool(done)
    )
    assert report.left == len(events) - 1
    assert [row["input"] for row in report.rows] == [str(events[0])]
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == sorted([Path(report.rows[0]["output"]).name, "report.json"])


def test_a_failing_encoder_costs_its_format_and_not_the_profile(
    tmp_path: Path, events: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> bytes:
        raise ValueError("does not fit")

    batch(events[:1], tmp_path / "out", plots=True)
    monkeypatch.setattr("products.profile_plot.plot", broken)
    report = batch(events[:1], tmp_path / "out", plots=True)
    (row,) = report.rows
    assert row["status"] == "flagged"
    assert "does not fit" in row["reason"]
    assert report.failed
    assert Path(row["output"]).exists()
    # A picture of an earlier run does not pass for one of this.
    assert list((tmp_path / "out").glob("*.png")) == []


def test_what_a_format_cannot_hold_is_told_by_format_and_field(tmp_path: Path, events: list[Path]) -> None:
    second, copy = retouched(events[0], tmp_path / "second.nc"), tmp_path / "copy.nc"
    copy.write_bytes(events[0].read_bytes())
    (kept, same, other), failed, _ = batch([events[0], copy, second], tmp_path / "out", formats=["bufr", "aws", "ropp"])
    expected = ropp.encoded(stage.profile_from_file(events[0].read_bytes(), name="x").dataset).outside
    # dry temperature above the stratopause follows the background's out of ROPP's range
    assert expected["dry_temp"] > 0
    assert kept["outside"] == same["outside"] == {"ropp": expected}
    assert other["outside"] == {}
    assert [Path(name).suffixes[-1] for name in kept["outputs"]] == [".nc", ".bufr", ".nc", ".nc"]
    assert (kept["status"], failed) == ("ok", False)


def test_an_identity_out_of_a_file_names_no_other_place(
    tmp_path: Path, events: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage.profile_from_file(events[0].read_bytes(), name="x")
    monkeypatch.setattr(stage, "profile_from_file", lambda body, name: made._replace(occultation_id="../outside"))
    report = batch(events[:1], tmp_path / "out")
    assert report.rows[0]["status"] == "rejected"
    assert not list(tmp_path.glob("outside*"))


def test_an_error_that_is_not_the_inputs_is_a_failure_with_its_name(
    tmp_path: Path, events: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(body: bytes, name: str) -> stage.Profile:
        raise ZeroDivisionError("of course not")

    monkeypatch.setattr(stage, "profile_from_file", broken)
    report = batch(events[:1], tmp_path / "out")
    assert report.failed
    assert report.rows[0]["reason"] == "ZeroDivisionError: of course not"


def retrieve(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND), "occultation", "retrieve", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "120"})


@pytest.mark.chain
def test_folders_and_patterns_stand_for_their_files_and_the_summary_counts_them(
    tmp_path: Path, events: list[Path], poison: dict[str, Path]
) -> None:
    out = tmp_path / "out"
    made = retrieve(events[0].parent, f"{tmp_path}/c*.nc", "--out", out, "--json", "--workers", "1")
    assert made.returncode == 1, made.stderr
    rows = json.loads((out / "report.json").read_text())
    assert [row["input"] for row in rows] == [*map(str, sorted(events)), str(poison["cut"])]
    summary = json.loads(made.stdout)
    assert {name: summary[name] for name in ("inputs", "ok", "flagged", "rejected")} == {
        "inputs": 4,
        "ok": 3,
        "flagged": 0,
        "rejected": 1,
    }
    assert summary["reasons"] == {"unreadable": 1}
    assert str(poison["cut"]) in made.stderr


@pytest.mark.chain
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{file}", "--format", "netcdf,grib"], "netcdf"),
        (["{folder}/nothing*.nc"], "no file matches"),
        (["{folder}"], "no files in"),
        (["{file}", "--workers", "0"], "workers"),
    ],
)
def test_wrong_usage_is_status_two_and_says_what_is_right(
    tmp_path: Path, events: list[Path], words: list[str], told: str
) -> None:
    (tmp_path / "folder").mkdir()
    places = {"file": str(events[0]), "folder": str(tmp_path / "folder")}
    made = retrieve(*(word.format(**places) for word in words), "--out", tmp_path / "out")
    assert made.returncode == 2
    assert told in made.stderr
    assert not (tmp_path / "out").exists()


def begun(inputs: list[Path], out: Path, *, until_made: int) -> tuple["subprocess.Popen[str]", list[int]]:
    """A batch of two workers hanging on the named pipes among its inputs, and descriptors that let them go on."""
    command = [str(COMMAND), "occultation", "retrieve", *map(str, inputs), "--out", str(out), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    descriptors = [until(lambda path=path: opened_to_write(path)) for path in inputs if path.is_fifo()]
    until(lambda: len(list(out.glob("*.nc"))) == until_made)
    return process, descriptors


@pytest.mark.chain
def test_interrupting_finishes_the_files_at_hand_reports_and_begins_no_more(tmp_path: Path, events: list[Path]) -> None:
    slow = named_pipes(tmp_path, 2)
    process, descriptors = begun([events[0], *slow, *events[1:]], tmp_path / "out", until_made=1)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1.0)
    for descriptor in descriptors:
        os.close(descriptor)
    _, said = process.communicate(timeout=LONG_ENOUGH)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "not begun" in said
    rows = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["status"] for row in rows] == ["ok", "rejected", "rejected"]
    assert [row["input"] for row in rows] == [str(path) for path in (events[0], *slow)]


@pytest.mark.chain
def test_no_worker_outlives_a_batch_that_was_killed(tmp_path: Path, events: list[Path]) -> None:
    process, descriptors = begun([*named_pipes(tmp_path, 1), *events], tmp_path / "out", until_made=len(events))
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3
    process.kill()
    for descriptor in descriptors:
        os.close(descriptor)
    process.communicate(timeout=LONG_ENOUGH)
    _, alive = psutil.wait_procs(family, timeout=LONG_ENOUGH)
    assert alive == []
