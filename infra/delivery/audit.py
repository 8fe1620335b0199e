"""Who was allowed what, and who was refused: an append-only record in which nothing can be changed unseen.

One file a day, `<yyyy-mm-dd>.jsonl`, one JSON object a line. Every line carries a sequence that counts through all
days, the hash of the line before it and its own; a signed head states how far the record went when it was sealed.
A line altered, removed or put elsewhere breaks the chain, one cut off from the end contradicts the head. Lines after
the last head can be cut off unseen, so seal often, and keep copies of the heads where this machine cannot delete.

No secret can enter: every field has a narrow form, text that does not have it is replaced by the beginning of its
hash, and no form admits a key, a token or the query of a presigned link.
"""

import contextlib
import dataclasses
import datetime as dt
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, get_args

from infra import private_files, signing
from products import minisign

Event = Literal[
    "authenticate", "search", "item", "tile", "feed", "download", "subscribe", "publish", "supersede", "withdraw",
    "expire", "key_create", "key_revoke", "signing_key_rotate", "signing_key_revoke", "torn",
    "store_credentials_create", "store_credentials_revoke", "mailbox_put", "mailbox_remove",
]  # fmt: skip
Decision = Literal["allowed", "refused"]

_HANDED_OVER = frozenset({"download", "mailbox_put"})

HEAD_LAYOUT = "terralimb-audit-head/1"
ORIGIN = "0" * 64

_AGENCY = re.compile(r"\w[\w.@+-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}")
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,255}")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}")
_CAUSE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)")
#: A whole API key, a JSON web token, or a run so long that only something random or encoded has it.
_SECRET = re.compile(r"tl_[0-9a-f]+_|eyJ[A-Za-z0-9_-]|[A-Za-z0-9]{33}")
_FORMS = {
    "agency": _AGENCY, "key_id": _NAME, "request_id": _NAME, "item_id": _NAME, "collection": _NAME, "asset": _PATH,
    "subject_sha256": _SHA256, "address": _ADDRESS, "expires_at": _INSTANT, "cause": _CAUSE,
}  # fmt: skip
_REDACTED = re.compile(r"redacted:[0-9a-f]{12}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TAIL = 65_536


class AuditError(RuntimeError):
    """The record cannot be kept or read as it is; the sentence says where."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that was allowed or refused.

    Text that does not have the form of its field, or looks like a secret, is replaced by `redacted:` and the beginning
    of its hash: it often comes from whoever asks, and must neither leak nor keep the event from being recorded.

    Attributes
    ----------
    event : str
        What was asked, of `Event`.
    decision : str
        allowed or refused.
    agency : str or None
        Who asked; None where nobody was recognized.
    key_id : str or None
        Public name of the key or token.
    request_id : str or None
        Name of the request, the same in all its lines.
    item_id, collection : str or None
        Item or collection it was about.
    revision : int or None
        Revision of the item [1].
    asset : str or None
        Name of the asset or the path of the file, without a query.
    subject_sha256 : str or None
        Hash of the content, in hex.
    size : int or None
        Length of the content [byte].
    address : str or None
        Network address that asked.
    expires_at : str or None
        Until when the link holds, RFC 3339 UTC.
    cause : str or None
        Why it was refused, one snake-case word of the code.
    unrecorded : int or None
        Refusals of the same origin that came too fast before this one to be written one by one [1].
    """

    event: Event
    decision: Decision
    agency: str | None = None
    key_id: str | None = None
    request_id: str | None = None
    item_id: str | None = None
    collection: str | None = None
    revision: int | None = None
    asset: str | None = None
    subject_sha256: str | None = None
    size: int | None = None
    address: str | None = None
    expires_at: str | None = None
    cause: str | None = None
    unrecorded: int | None = None

    def __post_init__(self) -> None:
        if self.event not in get_args(Event) or self.decision not in get_args(Decision):
            raise ValueError("the event or decision is not one the record knows")
        for name in ("revision", "size", "unrecorded"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise ValueError(f"{name} is not a count")
        for name, form in _FORMS.items():
            object.__setattr__(self, name, _clean(getattr(self, name), form))


class Line(NamedTuple):
    """A line of the record: its place in the chain and what it says."""

    sequence: int
    at: str
    previous: str
    sha256: str
    entry: Entry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """First place where the record is not what was written.

    Attributes
    ----------
    file : str
        Name of the file.
    line : int
        Line in it, from 1; the one after the last where lines are missing at the end.
    sentence : str
        What is wrong, naming both.
    """

    file: str
    line: int
    sentence: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found of the record.

    Attributes
    ----------
    lines : int
        Lines that hold, up to the fault if there is one [1].
    sealed : int
        Of these, how many a signed head vouches for [1].
    heads : int
        Signed heads that hold [1].
    revoked_heads : int
        Heads of a revoked key, which vouch for nothing; seal again [1].
    fault : Fault or None
        First broken place; None where all holds.
    """

    lines: int
    sealed: int
    heads: int
    revoked_heads: int
    fault: Fault | None


class _Place(NamedTuple):
    sequence: int
    sha256: str


class _Head(NamedTuple):
    name: str
    day: str
    lines: int
    sequence: int
    sha256: str


class _Broken(Exception):  # noqa: N818  carries a fault through the walk, never leaves this module
    def __init__(self, file: str, line: int, what: str) -> None:
        super().__init__(what)
        self.fault = Fault(file=file, line=line, sentence=f"{file}, line {line}: {what}")


class AuditLog:
    """The record in one folder, which several processes may write.

    Parameters
    ----------
    folder : Path
        Folder of the daily files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def record(self, entry: Entry, *, now: dt.datetime | None = None) -> Line:
        """Append a line; it is on the disk when this returns.

        Parameters
        ----------
        entry : Entry
            What happened.
        now : datetime, optional
            When; the clock's time where not given.

        Returns
        -------
        Line
            The line with its place in the chain.

        Raises
        ------
        AuditError
            If the last line cannot be read: nothing more is chained to a broken record.
        """
        with self._locked():
            return self._append(entry, now or dt.datetime.now(dt.UTC))

    def seal(self, day: dt.date, sign: Callable[[bytes, str], bytes], *, now: dt.datetime | None = None) -> Path:
        """Sign how far the record of a day goes; may be done again as the day goes on.

        Parameters
        ----------
        day : date
            Day (UTC) of the file.
        sign : callable
            Gives the signature of a body with a trusted comment, such as `signing.sign` of a home.
        now : datetime, optional
            When; the clock's time where not given.

        Returns
        -------
        Path
            The head; its signature lies beside it as `.minisig`.

        Raises
        ------
        AuditError
            If the day has no lines or they are broken: a signature would vouch for them.
        """
        with self._locked():
            path = self._folder / f"{day.isoformat()}.jsonl"
            if path.exists() and path == _days(self._folder)[-1]:
                self._settle(path, now or dt.datetime.now(dt.UTC))
            try:
                found = list(_checked(path, None)) if path.exists() else []
            except _Broken as broken:
                raise AuditError(f"the record cannot be sealed: {broken.fault.sentence}") from broken
            if not found:
                raise AuditError(f"there is no record of {day.isoformat()} to seal")
            return self._write_head(day, found[-1], len(found), sign)

    def _write_head(self, day: dt.date, last: Line, count: int, sign: Callable[[bytes, str], bytes]) -> Path:
        head = {
            "layout": HEAD_LAYOUT,
            "day": day.isoformat(),
            "lines": count,
            "last_sequence": last.sequence,
            "sha256": last.sha256,
        }
        body = (json.dumps(head, indent=2) + "\n").encode()
        path = self._folder / f"{day.isoformat()}.{last.sequence}.head.json"
        # The signature first: a head is never seen without it. Sealed again, the same lines give the same head.
        _replace(path.with_name(f"{path.name}.minisig"), sign(body, f"audit {day.isoformat()} to {last.sequence}"))
        _replace(path, body)
        return path

    def _append(self, entry: Entry, now: dt.datetime) -> Line:
        at = now.astimezone(dt.UTC)
        days = _days(self._folder)
        today = self._folder / f"{at.date().isoformat()}.jsonl"
        if not days:
            return _write(today, entry, at, None)
        # Files are walked in the order of their days: a clock that was set back goes on in the newest.
        newest = days[-1]
        self._settle(newest, at)
        return _write(max(today, newest), entry, at, _end(days))

    def _settle(self, path: Path, at: dt.datetime) -> None:
        """Set the half line of a writer that was killed aside, and say so in the record."""
        with path.open("rb+") as stream:
            whole, torn = _torn(stream)
            if not torn:
                return
            with path.with_suffix(".torn").open("ab") as aside:
                aside.write(torn + b"\n")
                aside.flush()
                os.fsync(aside.fileno())
            stream.truncate(whole)
            os.fsync(stream.fileno())
        said = Entry(
            event="torn",
            decision="refused",
            size=len(torn),
            subject_sha256=hashlib.sha256(torn).hexdigest(),
            cause="writer_was_killed",
        )
        _write(path, said, at, _end(_days(self._folder)))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        private_files.make_folder(self._folder.parent)
        private_files.make_folder(self._folder)
        handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def lines(folder: Path, *, containing: bytes = b"") -> Iterator[Line]:
    """All whole lines of the record in their order, unverified.

    Parameters
    ----------
    folder : Path
        Folder of the daily files.
    containing : bytes
        Only lines with these bytes in them, which are found faster than lines are read.

    Yields
    ------
    Line
        The next line.

    Raises
    ------
    AuditError
        At a line that cannot be read.
    """
    for path in _days(folder):
        for number, raw in _raw_lines(path):
            if containing not in raw:
                continue
            try:
                yield _parsed(raw)
            except ValueError as error:
                raise AuditError(f"{path.name}, line {number}: cannot be read") from error


def minted(folder: Path, item_id: str, revision: int) -> Iterator[Line]:
    """Who was given a link to a revision of an item, or its files in a mailbox, oldest first.

    Parameters
    ----------
    folder : Path
        Folder of the daily files.
    item_id : str
        The item.
    revision : int
        Its revision [1].

    Yields
    ------
    Line
        The line of a download that was allowed, or of files that were put into a mailbox.
    """
    for line in lines(folder, containing=_encoded({"item_id": item_id})[1:-1]):
        entry = line.entry
        about = (entry.decision, entry.item_id, entry.revision) == ("allowed", item_id, revision)
        if about and entry.event in _HANDED_OVER:
            yield line


def is_recorded(folder: Path, entry: Entry) -> bool:
    """Whether the record says something already, whenever it was.

    Parameters
    ----------
    folder : Path
        Folder of the daily files.
    entry : Entry
        What to look for; it names an item.

    Returns
    -------
    bool
        True where some line says exactly this.
    """
    about = _encoded({"item_id": entry.item_id})[1:-1]
    return any(line.entry == entry for line in lines(folder, containing=about))


def verify(folder: Path, keys: Sequence[signing.PublicKey]) -> Verification:
    """Check every line, the chain through all days and every signed head.

    Parameters
    ----------
    folder : Path
        Folder of the daily files.
    keys : Sequence of signing.PublicKey
        Keys the heads may be signed with.

    Returns
    -------
    Verification
        What holds, and the first broken line if there is one. A half line at the very end is no fault: it is what a
        killed writer leaves, and the next record sets it aside.
    """
    walk = _Walk(folder, keys)
    try:
        walk.run()
    except _Broken as broken:
        return walk.result(broken.fault)
    return walk.result(None)


class _Walk:
    """One pass over the record, with what was found so far."""

    def __init__(self, folder: Path, keys: Sequence[signing.PublicKey]) -> None:
        self._folder, self._keys = folder, keys
        self._lines = self._sealed = self._heads = self._revoked = 0

    def result(self, fault: Fault | None) -> Verification:
        return Verification(
            lines=self._lines, sealed=self._sealed, heads=self._heads, revoked_heads=self._revoked, fault=fault
        )

    def run(self) -> None:
        heads = [head for path in sorted(self._folder.glob("*.head.json")) if (head := self._head(path))]
        days = _days(self._folder)
        for day in sorted({head.day for head in heads} - {path.stem for path in days}):
            raise _Broken(f"{day}.jsonl", 1, "the day is missing, although it was sealed")
        end = _Place(0, ORIGIN)
        for path in days:
            end = self._day(path, end, {head.sequence: head for head in heads if head.day == path.stem})
            _refuse_torn(path, newest=path == days[-1])

    def _day(self, path: Path, end: _Place, heads: dict[int, _Head]) -> _Place:
        number = 0
        for number, line in enumerate(_checked(path, end), start=1):
            end = _Place(line.sequence, line.sha256)
            self._lines += 1
            head = heads.pop(line.sequence, None)
            if head is None:
                continue
            if (head.sha256, head.lines) != (line.sha256, number):
                raise _Broken(path.name, number, f"it is not the line that {head.name} vouches for")
            self._heads, self._sealed = self._heads + 1, line.sequence
        for head in heads.values():
            raise _Broken(path.name, number + 1, f"lines are missing: {head.name} vouches for {head.sequence} in all")
        return end

    def _head(self, path: Path) -> _Head | None:
        """What a head states, None where its key was revoked since."""
        revoked = {key.id for key in self._keys if key.state == "revoked"}
        try:
            body, signature = path.read_bytes(), path.with_name(f"{path.name}.minisig").read_bytes()
            if minisign.signer_id(signature) in revoked:
                self._revoked += 1
                return None
            signing.verify(self._keys, body, signature)
            stated = json.loads(body)
            if stated["layout"] != HEAD_LAYOUT:
                raise ValueError("it is of another layout")
            return _Head(path.name, *(stated[name] for name in ("day", "lines", "last_sequence", "sha256")))
        except (OSError, ValueError, KeyError) as error:
            raise _Broken(path.name, 1, f"this head vouches for nothing: {error}") from error


def _clean(value: Any, form: re.Pattern[str]) -> str | None:
    if value is None:
        return None
    text = str(value)
    if _REDACTED.fullmatch(text):
        return text
    if form.fullmatch(text) and (form is _SHA256 or not _SECRET.search(text)):
        return text
    return f"redacted:{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:12]}"


def _days(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.glob("*.jsonl") if _DAY.fullmatch(path.stem))


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()


def _chained(sequence: int, at: str, previous: str, entry: Entry) -> tuple[bytes, str]:
    """Bytes of a line and its hash, which covers everything else in it."""
    said = {name: value for name, value in dataclasses.asdict(entry).items() if value is not None}
    content = {"sequence": sequence, "at": at, **said, "previous": previous}
    sha256 = hashlib.sha256(_encoded(content)).hexdigest()
    return _encoded({**content, "sha256": sha256}), sha256


def _write(path: Path, entry: Entry, at: dt.datetime, last: Line | None) -> Line:
    sequence, previous = (1, ORIGIN) if last is None else (last.sequence + 1, last.sha256)
    when = at.isoformat(timespec="milliseconds")
    raw, sha256 = _chained(sequence, when, previous, entry)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        left = raw + b"\n"
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    return Line(sequence, when, previous, sha256, entry)


def _torn(stream: BinaryIO) -> tuple[int, bytes]:
    """Length of the whole lines of a file, and what stands after them."""
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - _TAIL)
    stream.seek(start)
    tail = stream.read()
    cut = tail.rfind(b"\n") + 1
    if not cut and start:
        raise AuditError("the record ends in something that no writer of it left: run `verify-audit`")
    return start + cut, tail[cut:]


def _last(path: Path) -> Line | None:
    with path.open("rb") as stream:
        whole, _ = _torn(stream)
        stream.seek(max(0, whole - _TAIL))
        tail = stream.read(min(whole, _TAIL))
    if not tail:
        return None
    raw = tail[:-1].rpartition(b"\n")[2]
    try:
        line = _parsed(raw)
    except ValueError as error:
        raise AuditError(f"the last line of {path.name} cannot be read: nothing is chained to it") from error
    if _chained(line.sequence, line.at, line.previous, line.entry)[0] != raw:
        raise AuditError(f"the last line of {path.name} is not what was written: nothing is chained to it")
    return line


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if raw.endswith(b"\n"):
                yield number, raw[:-1]


def _parsed(raw: bytes) -> Line:
    try:
        content = json.loads(raw)
        sequence, at, previous, sha256 = (content.pop(name) for name in ("sequence", "at", "previous", "sha256"))
        return Line(sequence, at, previous, sha256, Entry(**content))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a line of the record") from error


def _checked(path: Path, end: _Place | None) -> Iterator[Line]:
    """Lines of a day that go on from `end`; without one the first line is taken as it stands."""
    for number, raw in _raw_lines(path):
        try:
            line = _parsed(raw)
        except ValueError:
            raise _Broken(path.name, number, "it cannot be read") from None
        if _chained(line.sequence, line.at, line.previous, line.entry)[0] != raw:
            raise _Broken(path.name, number, "it was altered: its hash is another")
        if end and line.sequence != end.sequence + 1:
            raise _Broken(path.name, number, f"sequence {line.sequence} stands where {end.sequence + 1} belongs")
        if end and line.previous != end.sha256:
            raise _Broken(path.name, number, "the line before it is not the one it was written after")
        end = _Place(line.sequence, line.sha256)
        yield line


def _refuse_torn(path: Path, *, newest: bool) -> None:
    """Refuse what no writer leaves: half a line with whole ones after it, or more than a line without an end."""
    with path.open("rb") as stream:
        try:
            torn = _torn(stream)[1]
        except AuditError:
            torn, newest = b"?", False
        if torn and not newest:
            stream.seek(0)
            number = sum(1 for _ in stream)
            raise _Broken(path.name, number, "it is no whole line, and not what a killed writer leaves")


def _end(days: Sequence[Path]) -> Line | None:
    """Last line of all days; a day whose only line was torn has none."""
    return next((line for path in reversed(days) if (line := _last(path)) is not None), None)


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.rename(path)
