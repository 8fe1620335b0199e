"""Verified downloads for whoever uses the products: resumed where they broke off, checked before they count.

Nothing appears under its final name before its length, its hash and the signature over that hash are right. A file
that broke off is kept as ``.<name>.part`` beside a note of what it is a part of, and goes on from there. Two that fetch
the same item into the same folder take turns.

Example::

    from infra.delivery import fetching

    with fetching.ServiceSource("https://service.example", key) as source:
        item = fetching.fetch(source, "open-water-extent-cq-20210901t032000z", "products")
    print(item.revision, item.path("statistics.json").read_text(encoding="utf-8"))
"""

import contextlib
import dataclasses
import datetime as dt
import email.utils
import fcntl
import hashlib
import json
import os
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, Self

import httpx

from infra import publication, signing
from products import minisign

#: Called with the name of a file, the octets it has and the octets it will have.
Progress = Callable[[str, int, int], None]

_BLOCK = 1 << 20
_ATTEMPTS = 6
_LONGEST_PAUSE = 60.0
#: A server that asks for more patience than this is not waited for [s].
_PATIENCE = 300.0
#: Who finds another at the same folder waits this long [s].
_TURN = 600.0
#: An attempt that brought this much does not count: it got somewhere [octet].
_WORTHWHILE = 1 << 20
_ENDED = -1.0
_MANIFEST_LIMIT = 10_000_000
_OK, _PARTIAL, _MISSING, _GONE = 200, 206, 404, 410
#: How a multihash says that 32 octets of SHA-256 follow.
_SHA256_MARK = "1220"
#: What is there now is not what the part was of.
_CHANGED = frozenset({412, 416})
_EXPIRED = frozenset({401, 403})
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class FetchError(Exception):
    """The item, or a file of it, could not be had as it should be."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteItem:
    """An item as its source describes it.

    Attributes
    ----------
    item_id : str
        Identity.
    revision : int
        Current revision [1].
    checksums : Mapping[str, str]
        SHA-256 in hex of every asset of this revision, by name.
    """

    item_id: str
    revision: int
    checksums: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Link:
    """Where a file is to be had for a while.

    Attributes
    ----------
    url : str
        The address; a secret.
    sha256 : str or None
        Hash the source states for it, in hex; None where it states none, as for a signature.
    """

    url: str = dataclasses.field(repr=False)
    sha256: str | None


class Source(Protocol):
    """Where items come from."""

    def find(self, item_id: str) -> RemoteItem:
        """Look an item up; raises FetchError where there is none to be had."""

    def link(self, item: RemoteItem, name: str) -> Link:
        """Address of a file, good for a while; raises FetchError where there is none to be had."""

    def public_keys(self) -> tuple[signing.PublicKey, ...]:
        """Keys the source signs with."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FetchedFile:
    """One file of a fetched item.

    Attributes
    ----------
    path : Path
        Where it lies.
    sha256 : str
        Its hash, verified, in hex.
    size : int
        Its length [octet].
    transferred : int
        Octets that came over the line now; 0 where it was there already.
    """

    path: Path
    sha256: str
    size: int
    transferred: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class FetchedItem:
    """A fetched item.

    Attributes
    ----------
    item_id : str
        Identity.
    revision : int
        Revision [1].
    signature : str
        What the signature says of the manifest, with the key that made it.
    manifest : Path
        The manifest that was signed; its signature lies beside it as ``MANIFEST.json.minisig``.
    files : tuple of FetchedFile
        Its files.
    """

    item_id: str
    revision: int
    signature: str
    manifest: Path
    files: tuple[FetchedFile, ...]

    def path(self, name: str) -> Path:
        """Where a file of it lies.

        Parameters
        ----------
        name : str
            Name of the file.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        FetchError
            It was not fetched.
        """
        for file in self.files:
            if file.path.name == name:
                return file.path
        there = ", ".join(file.path.name for file in self.files)
        raise FetchError(f"{self.item_id}: {name} was not fetched; what was is {there}")


class ServiceSource:
    """Items of a terralimb service; used with ``with`` it lets go of the line at the end.

    Parameters
    ----------
    url : str
        Address of the service.
    key : str
        API key or token.
    timeout : float
        Limit for connecting and for each read [s].
    """

    def __init__(self, url: str, key: str, *, timeout: float = 30.0) -> None:
        self.base = url.rstrip("/")
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"}, timeout=timeout, follow_redirects=False, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def find(self, item_id: str) -> RemoteItem:
        """Look an item up.

        Parameters
        ----------
        item_id : str
            Identity.

        Returns
        -------
        RemoteItem
            The item.

        Raises
        ------
        FetchError
            There is none to be had, or the service does not answer; of one that was withdrawn or has expired it says
            why.
        """
        # Not searched for: a search shows neither test data nor what was withdrawn.
        answer = self._get(f"/item/{urllib.parse.quote(item_id, safe='')}", expected=frozenset({307, 404, 410}))
        if answer.status_code == _GONE:
            raise FetchError(_described(answer))
        if answer.status_code == _MISSING:
            raise FetchError(f"{item_id}: the service has no such item for this key")
        document = self._get(_path_to_item(answer.headers.get("Location", ""), item_id)).json()
        return RemoteItem(
            item_id=item_id,
            revision=int(document["properties"]["version"]),
            checksums={name: _sha256_of(asset.get("file:checksum", "")) for name, asset in document["assets"].items()},
        )

    def link(self, item: RemoteItem, name: str) -> Link:
        """Address of a file, good for a while.

        Parameters
        ----------
        item : RemoteItem
            The item.
        name : str
            Name of the file.

        Returns
        -------
        Link
            The address, and the hash the service states.

        Raises
        ------
        FetchError
            There is no such file to be had.
        """
        parts = (urllib.parse.quote(part, safe="") for part in (item.item_id, str(item.revision), name))
        answer = self._get("/download/" + "/".join(parts), expected=frozenset({307}))
        return Link(url=answer.headers["Location"], sha256=answer.headers.get("X-Content-SHA256"))

    def public_keys(self) -> tuple[signing.PublicKey, ...]:
        """Keys the service signs with, as it says.

        Returns
        -------
        tuple of PublicKey
            The keys.
        """
        return signing.keys_of(self._get("/.well-known/terralimb-keys.json").json())

    def _get(self, path: str, *, expected: frozenset[int] = frozenset({_OK})) -> httpx.Response:
        for pause in _pauses():
            asked = 0.0
            try:
                answer = self._client.get(self.base + path)
            except httpx.HTTPError as error:
                problem = f"{self.base} does not answer: {error}"
            else:
                if answer.status_code in expected:
                    return answer
                problem = f"{self.base}{path}: {_said(answer)}"
                if answer.status_code not in _AGAIN:
                    break
                asked = _asked_pause(answer)
            _rest(pause, asked, problem)
        raise FetchError(problem)


def fetch(
    source: Source,
    item_id: str,
    folder: Path | str,
    *,
    names: frozenset[str] | None = None,
    trusted: tuple[signing.PublicKey, ...] | None = None,
    progress: Progress = lambda _name, _have, _size: None,
) -> FetchedItem:
    """Fetch the current revision of an item into ``folder/<item id>/r<revision>``.

    Manifest and signature are left beside the files, so that they can be verified again without the source.

    The signature proves item, files and hashes. It does not hold the number of the revision: that these files are the
    current revision is the word of the source, and the manifest must be the one it states for that number.

    Parameters
    ----------
    source : Source
        Where it comes from.
    item_id : str
        Identity.
    folder : Path or str
        Where it goes.
    names : frozenset of str or None
        Files wanted, with which ``item.json`` comes; None for all.
    trusted : tuple of PublicKey or None
        Keys whose signature counts; None for those the source states.
    progress : callable
        Told how far each file is.

    Returns
    -------
    FetchedItem
        What is there now, all of it verified.

    Raises
    ------
    FetchError
        It cannot be had, or is not what was signed; what was verified stays, nothing else does.
    """
    if not _is_plain(item_id):
        raise FetchError(f"{item_id!r} cannot be the name of a folder")
    item = source.find(item_id)
    keys = source.public_keys() if trusted is None else trusted
    target = Path(folder) / item.item_id / f"r{item.revision}"
    with httpx.Client(timeout=30.0, trust_env=False) as line:
        signed = _signed_manifest(line, source, item, keys)
        files = _files(signed.manifest, item)
        unknown = sorted((names or frozenset()) - set(files))
        if unknown:
            raise FetchError(f"{item_id} has no file {', '.join(unknown)}; it has {', '.join(sorted(files))}")
        wanted = files.keys() if names is None else names | ({publication.ITEM_NAME} & files.keys())
        target.mkdir(parents=True, exist_ok=True)
        with _turn_at(target):
            fetched = [
                _fetched_file(line, source, item, name, entry, target, progress)
                for name, entry in sorted(files.items())
                if name in wanted
            ]
            # The manifest comes last: beside it lies what was asked for, all of it verified.
            _keep(target / publication.SIGNATURE_NAME, signed.signature)
            _keep(target / publication.MANIFEST_NAME, signed.body)
    return FetchedItem(
        item_id=item_id,
        revision=item.revision,
        signature=signed.said,
        manifest=target / publication.MANIFEST_NAME,
        files=tuple(fetched),
    )


# The manifest


class _SignedManifest(NamedTuple):
    """A manifest as it came, and what its signature says of it."""

    manifest: Mapping[str, Any]
    body: bytes
    signature: bytes
    said: str


def _signed_manifest(
    line: httpx.Client, source: Source, item: RemoteItem, keys: tuple[signing.PublicKey, ...]
) -> _SignedManifest:
    body, stated = _small(line, source, item, publication.MANIFEST_NAME)
    signature, _ = _small(line, source, item, publication.SIGNATURE_NAME)
    try:
        said = signing.verify(keys, body, signature)
    except minisign.SignatureError as error:
        raise FetchError(f"{item.item_id}: the manifest is not signed by a trusted key: {error}") from error
    try:
        manifest = json.loads(body)
        of = manifest["id"]
    except (ValueError, KeyError, TypeError):
        raise FetchError(f"{item.item_id}: what was signed is no manifest") from None
    if of != item.item_id:
        raise FetchError(f"{item.item_id}: the signed manifest is that of {of!r}")
    if stated is None or hashlib.sha256(body).hexdigest() != stated.lower():
        raise FetchError(f"{item.item_id}: the manifest is signed, but not the one stated for revision {item.revision}")
    return _SignedManifest(manifest, body, signature, f"{said} (key {minisign.signer_id(signature)})")


def _small(line: httpx.Client, source: Source, item: RemoteItem, name: str) -> tuple[bytes, str | None]:
    """Content of a small file, and the hash the source states for it."""
    for pause in _pauses():
        asked = 0.0
        try:
            link = source.link(item, name)
            answer = line.get(link.url)
        except httpx.HTTPError as error:
            problem = str(error)
        else:
            if answer.status_code == _OK and len(answer.content) <= _MANIFEST_LIMIT:
                return answer.content, link.sha256
            problem = _said(answer)
            if answer.status_code not in _AGAIN | _EXPIRED:
                break
            asked = _asked_pause(answer)
        _rest(pause, asked, f"{item.item_id}: {name}: {problem}")
    raise FetchError(f"{item.item_id}: {name} cannot be had: {problem}")


def _files(manifest: Mapping[str, Any], item: RemoteItem) -> dict[str, Mapping[str, Any]]:
    """Files the manifest lists; a name that would lead out of the folder is refused, whoever signed it."""
    files: dict[str, Mapping[str, Any]] = manifest.get("files", {})
    for name, entry in files.items():
        if not _is_plain(name):
            raise FetchError(f"{item.item_id}: the manifest lists a file {name!r}, which is no plain name")
        if name in {publication.MANIFEST_NAME, publication.SIGNATURE_NAME}:
            raise FetchError(f"{item.item_id}: the manifest lists {name}, which is its own place")
        if not isinstance(entry, dict) or not {"sha256", "size"} <= set(entry):
            raise FetchError(f"{item.item_id}: the manifest states no hash and size of {name!r}")
    signed = {name: str(entry["sha256"]) for name, entry in files.items()}
    other = sorted(name for name, sha256 in item.checksums.items() if signed.get(name) != sha256)
    if other:
        raise FetchError(f"{item.item_id}: what was signed of {', '.join(other)} is not what the catalogue states")
    return files


def _is_plain(name: str) -> bool:
    """Tell whether a name stays in its folder, and out of the way of parts and their notes."""
    return bool(name) and not name.startswith(".") and not set(name) & set("/\\\0")


# One folder


@contextlib.contextmanager
def _turn_at(folder: Path) -> Iterator[None]:
    """Hold a folder: two that write the same part would spoil it, so the second waits and finds the work done."""
    path, deadline = folder / ".fetching.lock", time.monotonic() + _TURN
    while (held := _taken(path)) is None:
        if time.monotonic() > deadline:
            raise FetchError(f"another process has been fetching into {folder} for {_TURN:.0f} s: see to that one")
        time.sleep(0.1)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        held.close()


def _taken(path: Path) -> IO[str] | None:
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it before removes the name while it still holds the file: a file without a name holds nobody.
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


# One file


@dataclasses.dataclass(frozen=True)
class _Part:
    """A file on its way: what has come of it, and of what it is a part."""

    path: Path
    note: Path

    def etag(self, sha256: str) -> str | None:
        """Mark of the content this is a part of; None where there is nothing to go on from."""
        try:
            said = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        known = isinstance(said, dict) and said.get("sha256") == sha256 and self.path.exists()
        return said.get("etag") if known else None

    def length(self) -> int:
        """Octets that have come [octet]; 0 where there are none."""
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, sha256: str, etag: str | None) -> None:
        self.note.write_text(json.dumps({"sha256": sha256, "etag": etag}), encoding="utf-8")

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _fetched_file(
    line: httpx.Client,
    source: Source,
    item: RemoteItem,
    name: str,
    entry: Mapping[str, Any],
    folder: Path,
    progress: Progress,
) -> FetchedFile:
    path, sha256, size = folder / name, str(entry["sha256"]), int(entry["size"])
    if path.exists() and _hash(path) == (sha256, size):
        progress(name, size, size)
        return FetchedFile(path=path, sha256=sha256, size=size, transferred=0)
    part = _Part(folder / f".{name}.part", folder / f".{name}.part.json")
    transferred = _transfer(line, source, item, name, part, sha256, size, progress)
    found = _hash(part.path)
    if found != (sha256, size):
        part.drop()
        raise FetchError(
            f"{item.item_id}: {name} came as {found[1]} octets with SHA-256 {found[0]}; "
            f"{size} with {sha256} were signed; nothing was kept"
        )
    _settle(part, path)
    return FetchedFile(path=path, sha256=sha256, size=size, transferred=transferred)


def _transfer(
    line: httpx.Client,
    source: Source,
    item: RemoteItem,
    name: str,
    part: _Part,
    sha256: str,
    size: int,
    progress: Progress,
) -> int:
    """Bring a part to its full length, going on wherever the line or the link gave out."""
    transferred, problem = 0, ""

    def told(added: int, at: int) -> None:
        nonlocal transferred
        transferred += added
        progress(name, min(at, size), size)

    pauses = _pauses()
    while (pause := next(pauses, _ENDED)) != _ENDED:
        have, before, asked = part.length() if part.etag(sha256) else 0, transferred, 0.0
        if have == size and part.etag(sha256):
            return transferred
        try:
            _one_transfer(line, source.link(item, name).url, part, sha256, have, size, told)
            if part.length() >= size:
                return transferred
            problem = f"the line ended after {part.length()} of {size} octets"
        except httpx.HTTPError as error:
            problem = f"the line broke: {error or type(error).__name__}"
        except _RefusedError as refusal:
            problem, asked = str(refusal), refusal.asked
            if refusal.status not in _AGAIN | _EXPIRED | _CHANGED | {_OK, _PARTIAL}:
                break
        if transferred - before >= _WORTHWHILE:
            pauses = _pauses()
        _rest(pause, asked, f"{item.item_id}: {name}: {problem}")
    raise FetchError(f"{item.item_id}: {name}: {problem}; what has come is kept, run the same command to go on")


class _RefusedError(Exception):
    def __init__(self, status: int, said: str, asked: float = 0.0) -> None:
        super().__init__(said)
        self.status = status
        self.asked = asked


def _one_transfer(
    line: httpx.Client, url: str, part: _Part, sha256: str, have: int, size: int, told: Callable[[int, int], None]
) -> None:
    etag = part.etag(sha256)
    headers = {"Accept-Encoding": "identity"}
    if have and etag:
        headers |= {"Range": f"bytes={have}-", "If-Match": etag}
    with line.stream("GET", url, headers=headers) as answer:
        if answer.status_code in _CHANGED:
            part.drop()  # to begin again
        if answer.status_code not in {_OK, _PARTIAL}:
            answer.read()
            raise _RefusedError(answer.status_code, _said(answer), _asked_pause(answer))
        start = have if answer.status_code == _PARTIAL else 0
        _check_extent(answer, start, size)
        mark = answer.headers.get("ETag")
        if have and not start and "Content-Length" not in answer.headers and mark != etag:
            # Such as an error page under status 200: what has come is worth more than that.
            raise _RefusedError(_OK, f"the rest was asked for, something of no stated length came {_kind(answer)}")
        if start == 0:
            part.path.unlink(missing_ok=True)
            # A weak mark never matches, by the rules of HTTP: nothing could go on from it.
            part.begin(sha256, None if mark is None or mark.startswith("W/") else mark)
        _write(answer, part.path, start, size, told)


def _check_extent(answer: httpx.Response, start: int, size: int) -> None:
    """Refuse what cannot be the file, such as an error page under status 200, before any of it is written."""
    span = answer.headers.get("Content-Range", "")
    if answer.status_code == _PARTIAL and not span.startswith(f"bytes {start}-"):
        raise _RefusedError(_PARTIAL, f"octets from {start} on were asked for, {span[:80] or 'others'} came")
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and start + int(length) != size:
        raise _RefusedError(answer.status_code, f"{start + int(length)} octets were offered, {size} were signed")


def _write(answer: httpx.Response, path: Path, start: int, size: int, told: Callable[[int, int], None]) -> None:
    at = start
    with path.open("ab") as file:
        # Blocks as they come: gathered into larger ones, those that came last would be lost with the line.
        for block in answer.iter_raw():
            file.write(block[: max(0, size - at) + 1])  # one octet too many is enough to be found out
            at += len(block)
            told(len(block), at)
            if at > size:
                break
        file.flush()
        os.fsync(file.fileno())


def _settle(part: _Part, path: Path) -> None:
    part.path.replace(path)
    part.note.unlink(missing_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep(path: Path, body: bytes) -> None:
    """Put something small and verified under its name, where it is not there already."""
    if path.exists() and path.read_bytes() == body:
        return
    part = _Part(path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.part.json"))
    with part.path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    _settle(part, path)


def _hash(path: Path) -> tuple[str, int]:
    sha, size = hashlib.sha256(), 0
    if path.exists():
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                sha.update(block)
                size += len(block)
    return sha.hexdigest(), size


# Answers


def _path_to_item(location: str, item_id: str) -> str:
    """Path within the service that a redirect to an item leads to; the key goes to no other host."""
    path = urllib.parse.urlsplit(location).path
    *_, stac, collections, collection, items, last = ("", "", "", "", *path.split("/"))
    if (stac, collections, items, urllib.parse.unquote(last)) != ("stac", "collections", "items", item_id):
        raise FetchError(f"{item_id}: the service leads to {path[:120]!r}, which is no address of that item")
    return f"/stac/collections/{collection}/items/{last}"


def _pauses() -> Iterator[float | None]:
    """Pauses after each attempt [s]; None after the last."""
    for attempt in range(_ATTEMPTS - 1):
        yield min(_LONGEST_PAUSE, 0.2 * 3.0**attempt)
    yield None


def _rest(pause: float | None, asked: float, problem: str) -> None:
    """Pause before the next attempt, as long as was asked for, if that is within reason."""
    if asked > _PATIENCE:
        raise FetchError(f"{problem}; it asks to come back in {asked:.0f} s")
    if pause is not None:
        time.sleep(max(pause, asked))


def _asked_pause(answer: httpx.Response) -> float:
    """Patience a server asks for [s]: a number of seconds, or an instant."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        instant = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (instant.replace(tzinfo=instant.tzinfo or dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds())


def _said(answer: httpx.Response) -> str:
    """What an answer says, without the address: a link is a secret."""
    return f"status {answer.status_code}, {_described(answer)}"


def _described(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["description"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase


def _kind(answer: httpx.Response) -> str:
    return f"({answer.headers.get('Content-Type', 'of no stated kind')[:60]})"


def _sha256_of(multihash: str) -> str:
    """SHA-256 in hex within a multihash; empty, which equals no hash, where it holds another."""
    return multihash[len(_SHA256_MARK) :] if multihash.startswith(_SHA256_MARK) else ""
