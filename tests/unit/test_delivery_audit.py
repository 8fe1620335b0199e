"""The record: it only grows, whatever is changed in it is named, no secret enters, and a kill loses no line before."""

import datetime as dt
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import signing
from infra.delivery import audit

NOON = dt.datetime(2026, 7, 15, 12, tzinfo=dt.UTC)
DAY = NOON.date()
CANARY = "c0ffee" * 10 + "cafe"
FILE = "2026-07-15.jsonl"


def entry(number: int = 1, **changes: object) -> audit.Entry:
    fields: dict[str, object] = {
        "event": "download",
        "decision": "allowed",
        "agency": "cq-water",
        "key_id": "ab12",
        "request_id": f"r{number}",
        "item_id": "flood-cq-20260715t060000z",
        "revision": number,
        "asset": "data",
    }
    return audit.Entry(**{**fields, **changes})  # type: ignore[arg-type]


def written(home: Path, count: int, *, start: dt.datetime = NOON, step: dt.timedelta = dt.timedelta(0)) -> Path:
    log = audit.AuditLog(home / "audit")
    for number in range(count):
        log.record(entry(number + 1), now=start + number * step)
    return home / "audit"


def sealed(home: Path, day: dt.date = DAY) -> Path:
    signing.ensure(home)
    return audit.AuditLog(home / "audit").seal(day, lambda body, comment: signing.sign(home, body, comment))


def found(home: Path) -> audit.Verification:
    return audit.verify(home / "audit", signing.public_keys(home))


def edit(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def rehashed(raw: bytes, **changes: object) -> bytes:
    """A line as a careful forger would write it: its own hash is right."""
    content = {**json.loads(raw), **changes}
    del content["sha256"]
    own = hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
    return json.dumps({**content, "sha256": own}, separators=(",", ":")).encode() + b"\n"


def test_every_line_follows_the_one_before_through_all_days(tmp_path: Path) -> None:
    folder = written(tmp_path, 7, step=dt.timedelta(hours=5))
    raw = (folder / FILE).read_bytes().splitlines(keepends=True)
    assert [rehashed(line) for line in raw] == raw
    lines = list(audit.lines(folder))
    assert [path.stem for path in sorted(folder.glob("*.jsonl"))] == ["2026-07-15", "2026-07-16"]
    assert [line.sequence for line in lines] == list(range(1, 8))
    assert [line.previous for line in lines] == [audit.ORIGIN, *(line.sha256 for line in lines[:-1])]
    assert [line.entry for line in lines] == [entry(number + 1) for number in range(7)]
    assert found(tmp_path) == audit.Verification(lines=7, sealed=0, heads=0, revoked_heads=0, fault=None)


def test_an_empty_record_holds(tmp_path: Path) -> None:
    assert found(tmp_path).fault is None
    assert list(audit.lines(tmp_path / "audit")) == []


@pytest.mark.parametrize(
    ("change", "line", "what"),
    [
        (lambda lines: [*lines[:2], lines[2].replace(b"cq-water", b"cq-wader"), *lines[3:]], 3, "altered"),
        (lambda lines: [*lines[:2], lines[2].replace(b'{"', b'{ "', 1), *lines[3:]], 3, "altered"),
        (lambda lines: [*lines[:2], rehashed(lines[2], agency="cq-forest"), *lines[3:]], 4, "line before it"),
        (lambda lines: [*lines[:2], *lines[3:]], 3, "sequence 4 stands where 3 belongs"),
        (lambda lines: lines[1:], 1, "sequence 2 stands where 1 belongs"),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], 3, "sequence 4 stands where 3 belongs"),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4, "sequence 3 stands where 4 belongs"),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], 3, "cannot be read"),
        (lambda lines: [*lines[:2], b"[1]\n", *lines[2:]], 3, "cannot be read"),
        (lambda lines: [*lines[:2], b'{"sequence":3}\n', *lines[2:]], 3, "cannot be read"),
        (lambda lines: [*lines, b"\0" * 70_000], 7, "no whole line"),
    ],
)
def test_the_first_broken_line_is_named(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], line: int, what: str
) -> None:
    edit(written(tmp_path, 6) / FILE, change)
    fault = found(tmp_path).fault
    assert fault is not None
    assert (fault.file, fault.line) == (FILE, line)
    assert what in fault.sentence
    assert found(tmp_path).lines == line - 1


def test_a_day_cut_short_or_removed_is_seen_by_the_day_after(tmp_path: Path) -> None:
    folder = written(tmp_path, 6, step=dt.timedelta(hours=5))
    kept = (folder / FILE).read_bytes()
    edit(folder / FILE, lambda lines: lines[:-1])
    fault = found(tmp_path).fault
    assert fault is not None
    assert (fault.file, fault.line) == ("2026-07-16.jsonl", 1)
    (folder / FILE).write_bytes(kept[:-10])
    fault = found(tmp_path).fault
    assert fault is not None
    assert (fault.file, fault.line) == (FILE, 3)
    (folder / FILE).unlink()
    assert found(tmp_path).fault is not None


def test_a_tail_cut_off_contradicts_the_signed_head(tmp_path: Path) -> None:
    folder = written(tmp_path, 6)
    sealed(tmp_path)
    assert found(tmp_path) == audit.Verification(lines=6, sealed=6, heads=1, revoked_heads=0, fault=None)
    edit(folder / FILE, lambda lines: lines[:-1])
    fault = found(tmp_path).fault
    assert fault is not None
    assert (fault.file, fault.line) == (FILE, 6)
    assert "lines are missing" in fault.sentence
    (folder / FILE).unlink()
    fault = found(tmp_path).fault
    assert fault is not None
    assert "the day is missing" in fault.sentence


def test_a_chain_written_anew_from_the_altered_line_on_contradicts_the_signed_head(tmp_path: Path) -> None:
    folder = written(tmp_path, 3)
    sealed(tmp_path)
    (folder / FILE).unlink()
    log = audit.AuditLog(folder)
    for number in range(3):
        log.record(entry(number + 1, agency="cq-forest"), now=NOON)
    fault = found(tmp_path).fault
    assert fault is not None
    assert (fault.line, "vouches" in fault.sentence) == (3, True)


def test_a_head_can_be_sealed_again_as_the_day_goes_on(tmp_path: Path) -> None:
    folder = written(tmp_path, 2)
    first = sealed(tmp_path)
    assert sealed(tmp_path) == first
    audit.AuditLog(folder).record(entry(3), now=NOON)
    assert (found(tmp_path).lines, found(tmp_path).sealed) == (3, 2)
    assert sealed(tmp_path) != first
    assert (found(tmp_path).sealed, found(tmp_path).heads) == (3, 2)


def test_a_head_without_a_signature_that_holds_is_a_fault(tmp_path: Path) -> None:
    written(tmp_path, 2)
    head = sealed(tmp_path)
    kept = head.read_bytes()
    head.write_bytes(kept.replace(b'"lines": 2', b'"lines": 1'))
    fault = found(tmp_path).fault
    assert fault is not None
    assert fault.file == head.name
    body = kept.replace(b"audit-head", b"other")
    head.write_bytes(body)
    head.with_name(f"{head.name}.minisig").write_bytes(signing.sign(tmp_path, body, "x"))
    assert found(tmp_path).fault is not None
    head.write_bytes(kept)
    head.with_name(f"{head.name}.minisig").unlink()
    assert found(tmp_path).fault is not None


def test_heads_of_a_revoked_key_vouch_for_nothing_until_sealed_again(tmp_path: Path) -> None:
    written(tmp_path, 2)
    sealed(tmp_path)
    signing.revoke(tmp_path, signing.ensure(tmp_path).id, reason="stolen")
    assert found(tmp_path) == audit.Verification(lines=2, sealed=0, heads=0, revoked_heads=1, fault=None)
    sealed(tmp_path)
    assert (found(tmp_path).sealed, found(tmp_path).revoked_heads) == (2, 0)


def test_nothing_broken_or_absent_is_sealed(tmp_path: Path) -> None:
    folder = written(tmp_path, 3)
    with pytest.raises(audit.AuditError, match="no record of 2026-07-16"):
        sealed(tmp_path, DAY + dt.timedelta(days=1))
    edit(folder / FILE, lambda lines: [lines[0], lines[2]])
    with pytest.raises(audit.AuditError, match=r"cannot be sealed: 2026-07-15\.jsonl, line 2"):
        sealed(tmp_path)


@pytest.mark.parametrize(
    "secret",
    [
        f"tl_0123456789abcdef_{CANARY}",
        f"https://store/products/a?X-Amz-Signature={CANARY}",
        f"data?X-Amz-Credential=K%2F20260715&X-Amz-Signature={CANARY}",
        f"Bearer {CANARY}",
        CANARY,
        f"eyJhbGciOiJFZERTQSJ9.{CANARY}.sig",
        f"line\nbreak{CANARY}",
        "短" + CANARY,
    ],
)
def test_no_secret_enters_by_any_field(tmp_path: Path, secret: str) -> None:
    names = ("agency", "key_id", "request_id", "item_id", "collection", "asset", "address", "expires_at", "cause")
    audit.AuditLog(tmp_path / "audit").record(entry(**dict.fromkeys(names, secret)), now=NOON)
    text = b"".join(path.read_bytes() for path in (tmp_path / "audit").iterdir())
    assert CANARY[:12].encode() not in text
    assert text.count(b"redacted:") == len(names)
    assert found(tmp_path).fault is None
    assert [line.entry.event for line in audit.lines(tmp_path / "audit")] == ["download"]


def test_ordinary_names_are_kept_as_they_are(tmp_path: Path) -> None:
    kept = {
        "agency": "重庆市应急管理局",
        "key_id": "oidc:6f1c2d3e-0000-4000-8000-1234567890ab",
        "request_id": "0123456789abcdef0123456789abcdef",
        "item_id": "flood-extent-cq-20260715t060000z",
        "asset": "r2-0a1b2c3d/data.tif",
        "subject_sha256": "0a" * 32,
        "address": "2001:db8::1",
        "expires_at": "2026-07-15T12:15:00+00:00",
        "cause": "key_expired",
    }
    audit.AuditLog(tmp_path / "audit").record(entry(**kept), now=NOON)
    (line,) = audit.lines(tmp_path / "audit")
    assert {name: getattr(line.entry, name) for name in kept} == kept


@pytest.mark.parametrize("changes", [{"event": CANARY}, {"decision": "maybe"}, {"revision": "2"}, {"size": -1}])
def test_what_is_no_event_or_count_is_a_fault_of_the_caller_and_its_text_is_not_repeated(
    changes: dict[str, object],
) -> None:
    with pytest.raises(ValueError, match="not") as refused:
        entry(**changes)
    assert CANARY not in str(refused.value)


def test_a_half_line_is_set_aside_and_the_chain_goes_on(tmp_path: Path) -> None:
    folder = written(tmp_path, 2)
    with (folder / FILE).open("ab") as stream:
        stream.write(b'{"sequence":3,"at":"2026')
    assert found(tmp_path).fault is None
    line = audit.AuditLog(folder).record(entry(3), now=NOON)
    assert [one.entry.event for one in audit.lines(folder)] == ["download", "download", "torn", "download"]
    assert (line.sequence, found(tmp_path).lines, found(tmp_path).fault) == (4, 4, None)
    assert (folder / "2026-07-15.torn").read_bytes() == b'{"sequence":3,"at":"2026\n'


def test_a_half_line_that_was_the_first_of_its_day_is_set_aside_too(tmp_path: Path) -> None:
    folder = written(tmp_path, 2)
    (folder / "2026-07-16.jsonl").write_bytes(b'{"seq')
    audit.AuditLog(folder).record(entry(3), now=NOON + dt.timedelta(days=1))
    (folder / "2026-07-17.jsonl").touch()
    audit.AuditLog(folder).record(entry(4), now=NOON + dt.timedelta(days=2))
    assert [line.sequence for line in audit.lines(folder)] == [1, 2, 3, 4, 5]
    assert found(tmp_path).fault is None


def test_a_clock_set_back_does_not_break_the_order(tmp_path: Path) -> None:
    folder = written(tmp_path, 2)
    audit.AuditLog(folder).record(entry(3), now=NOON - dt.timedelta(days=3))
    assert [path.name for path in folder.glob("*.jsonl")] == [FILE]
    assert [line.at[:10] for line in audit.lines(folder)] == ["2026-07-15", "2026-07-15", "2026-07-12"]
    assert found(tmp_path).fault is None


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0], lines[1].replace(b"cq-water", b"cq-wader")],
        lambda lines: [lines[0], b"{}\n"],
        lambda lines: [*lines, b"\0" * 70_000],
    ],
)
def test_nothing_is_chained_to_a_broken_end(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    folder = written(tmp_path, 2)
    edit(folder / FILE, change)
    before = (folder / FILE).read_bytes()
    with pytest.raises(audit.AuditError):
        audit.AuditLog(folder).record(entry(3), now=NOON)
    assert (folder / FILE).read_bytes() == before


def test_a_link_is_traced_to_all_who_were_given_one_and_to_nobody_else(tmp_path: Path) -> None:
    log = audit.AuditLog(tmp_path / "audit")
    asked = [
        entry(1, agency="a"),
        entry(2, agency="other-revision"),
        entry(1, agency="refused", decision="refused", cause="foreign_sector"),
        entry(1, agency="looked", event="item"),
        entry(1, agency="other-item", item_id="flood-cq-20260715t060000z-2"),
        entry(1, agency="b"),
    ]
    for number, one in enumerate(asked):
        log.record(one, now=NOON + number * dt.timedelta(hours=5))
    given = list(audit.minted(tmp_path / "audit", "flood-cq-20260715t060000z", 1))
    assert [line.entry.agency for line in given] == ["a", "b"]


def test_a_link_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    folder = written(tmp_path, 2)
    edit(folder / FILE, lambda lines: [lines[0], b'{"item_id":"flood-cq-20260715t060000z"}\n'])
    with pytest.raises(audit.AuditError, match=r"2026-07-15\.jsonl, line 2"):
        list(audit.minted(folder, "flood-cq-20260715t060000z", 1))


def test_threads_share_one_chain(tmp_path: Path) -> None:
    threads = [threading.Thread(target=written, args=(tmp_path, 8)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(tmp_path) == audit.Verification(lines=32, sealed=0, heads=0, revoked_heads=0, fault=None)


WRITER = """
import os, pathlib, signal, sys
from infra.delivery import audit
log = audit.AuditLog(pathlib.Path(sys.argv[1]))
told, killed_at = int(sys.argv[2]), int(sys.argv[3])
write = os.write
def half(handle, content):
    write(handle, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
for number in range(told):
    if number == killed_at:
        os.write = half
    log.record(audit.Entry(event="search", decision="allowed", agency=sys.argv[4]))
    print(number, flush=True)
"""


def writer(folder: Path, count: int, killed_at: int, agency: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(count), str(killed_at), agency]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_share_one_chain_and_one_killed_while_it_writes_loses_no_line_it_was_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    running = [writer(folder, 20, 10, "killed"), writer(folder, 20, -1, "a"), writer(folder, 20, -1, "b")]
    told = [len(process.communicate(timeout=60)[0].split()) for process in running]
    assert [process.returncode for process in running] == [-9, 0, 0]
    audit.AuditLog(folder).record(entry(), now=NOON)
    kept = [line.entry.agency for line in audit.lines(folder) if line.entry.event == "search"]
    assert [kept.count(agency) for agency in ("killed", "a", "b")] == told == [10, 20, 20]
    assert len([line for line in audit.lines(folder) if line.entry.event == "torn"]) == 1
    assert found(tmp_path).fault is None
