"""Verified downloads for whoever uses the products: resumed where they broke off, checked before they count.

Nothing appears under its final name before its length, its hash and the signature over that hash are right. A file
that broke off is kept as ``.<name>.part`` beside a note of what it is a part of, and goes on from there.
"""

import dataclasses
import hashlib
import json
import os
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import httpx

from infra import publication, signing
from products import minisign

#: Called with the name of a file, the octets it has and the octets it will have.
Progress = Callable[[str, int, int], None]

_BLOCK = 1 << 20
_ATTEMPTS = 6
_LONGEST_PAUSE = 60.0
_MANIFEST_LIMIT = 10_000_000
_OK, _PARTIAL = 200, 206
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
    """

    item_id: str
    revision: int


class Source(Protocol):
    """Where items come from."""

    def find(self, item_id: str) -> RemoteItem:
        """Look an item up; raises FetchError where there is none to be had."""

    def url(self, item: RemoteItem, name: str) -> str:
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
    files : tuple of FetchedFile
        Its files.
    """

    item_id: str
    revision: int
    signature: str
    files: tuple[FetchedFile, ...]


class ServiceSource:
    """Items of a terralimb service.

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
            There is none to be had, or the service does not answer.
        """
        answer = self._get(f"/stac/search?ids={urllib.parse.quote(item_id, safe='')}&limit=1")
        features = answer.json()["features"]
        if not features:
            raise FetchError(f"{item_id}: the service has no such item for this key")
        return RemoteItem(item_id=item_id, revision=int(features[0]["properties"]["version"]))

    def url(self, item: RemoteItem, name: str) -> str:
        """Address of a file, good for a while.

        Parameters
        ----------
        item : RemoteItem
            The item.
        name : str
            Name of the file.

        Returns
        -------
        str
            The address; a secret.

        Raises
        ------
        FetchError
            There is no such file to be had.
        """
        parts = (urllib.parse.quote(part, safe="") for part in (item.item_id, str(item.revision), name))
        return self._get("/download/" + "/".join(parts), expected=307).headers["Location"]

    def public_keys(self) -> tuple[signing.PublicKey, ...]:
        """Keys the service signs with, as it says.

        Returns
        -------
        tuple of PublicKey
            The keys.
        """
        return signing.keys_of(self._get("/.well-known/terralimb-keys.json").json())

    def _get(self, path: str, *, expected: int = _OK) -> httpx.Response:
        for pause in _pauses():
            try:
                answer = self._client.get(self.base + path)
            except httpx.HTTPError as error:
                problem = f"{self.base} does not answer: {error}"
            else:
                if answer.status_code == expected:
                    return answer
                problem = f"{self.base}{path}: {_said(answer)}"
                if answer.status_code not in _AGAIN:
                    break
                pause = max(pause, _asked_pause(answer))
            time.sleep(pause)
        raise FetchError(problem)


def fetch(
    source: Source,
    item_id: str,
    folder: Path,
    *,
    names: frozenset[str] | None = None,
    trusted: tuple[signing.PublicKey, ...] | None = None,
    progress: Progress = lambda _name, _have, _size: None,
) -> FetchedItem:
    """Fetch the current revision of an item into ``folder/<item id>/r<revision>``.

    Parameters
    ----------
    source : Source
        Where it comes from.
    item_id : str
        Identity.
    folder : Path
        Where it goes.
    names : frozenset of str or None
        Files wanted; None for all.
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
    manifest, signature = _signed_manifest(source, item, keys)
    files = _files(manifest, item)
    unknown = sorted((names or frozenset()) - set(files))
    if unknown:
        raise FetchError(f"{item_id} has no file {', '.join(unknown)}; it has {', '.join(sorted(files))}")
    target = folder / item.item_id / f"r{item.revision}"
    target.mkdir(parents=True, exist_ok=True)
    with httpx.Client(timeout=30.0, trust_env=False) as line:
        fetched = [
            _fetched_file(line, source, item, name, entry, target, progress)
            for name, entry in sorted(files.items())
            if names is None or name in names
        ]
    return FetchedItem(item_id=item_id, revision=item.revision, signature=signature, files=tuple(fetched))


# The manifest


def _signed_manifest(
    source: Source, item: RemoteItem, keys: tuple[signing.PublicKey, ...]
) -> tuple[Mapping[str, Any], str]:
    with httpx.Client(timeout=30.0, trust_env=False) as line:
        body = _small(line, source, item, publication.MANIFEST_NAME)
        signature = _small(line, source, item, publication.SIGNATURE_NAME)
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
    return manifest, f"{said} (key {minisign.signer_id(signature)})"


def _small(line: httpx.Client, source: Source, item: RemoteItem, name: str) -> bytes:
    for pause in _pauses():
        try:
            answer = line.get(source.url(item, name))
        except httpx.HTTPError as error:
            problem = str(error)
        else:
            if answer.status_code == _OK and len(answer.content) <= _MANIFEST_LIMIT:
                return answer.content
            problem = _said(answer)
            if answer.status_code not in _AGAIN | _EXPIRED:
                break
        time.sleep(pause)
    raise FetchError(f"{item.item_id}: {name} cannot be had: {problem}")


def _files(manifest: Mapping[str, Any], item: RemoteItem) -> dict[str, Mapping[str, Any]]:
    """Files the manifest lists; a name that would lead out of the folder is refused, whoever signed it."""
    files: dict[str, Mapping[str, Any]] = manifest.get("files", {})
    for name, entry in files.items():
        if not _is_plain(name):
            raise FetchError(f"{item.item_id}: the manifest lists a file {name!r}, which is no plain name")
        if not isinstance(entry, dict) or not {"sha256", "size"} <= set(entry):
            raise FetchError(f"{item.item_id}: the manifest states no hash and size of {name!r}")
    return files


def _is_plain(name: str) -> bool:
    """Tell whether a name stays in its folder, and out of the way of parts and their notes."""
    return bool(name) and not name.startswith(".") and not set(name) & set("/\\\0")


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

    for pause in _pauses():
        have = part.length() if part.etag(sha256) else 0
        if have == size and part.etag(sha256):
            return transferred
        try:
            url = source.url(item, name)
            _one_transfer(line, url, part, sha256, have, size, told)
            if part.length() >= size:
                return transferred
            problem = f"the line ended after {part.length()} of {size} octets"
        except httpx.HTTPError as error:
            problem = f"the line broke: {error or type(error).__name__}"
        except _RefusedError as refusal:
            problem = str(refusal)
            if refusal.status not in _AGAIN | _EXPIRED | _CHANGED | {_OK, _PARTIAL}:
                break
        time.sleep(pause)
    raise FetchError(f"{item.item_id}: {name}: {problem}; what has come is kept, run the same command to go on")


class _RefusedError(Exception):
    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


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
            raise _RefusedError(answer.status_code, _said(answer))
        start = have if answer.status_code == _PARTIAL else 0
        _check_extent(answer, start, size)
        if start == 0:
            part.path.unlink(missing_ok=True)
            part.begin(sha256, answer.headers.get("ETag"))
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


def _hash(path: Path) -> tuple[str, int]:
    sha, size = hashlib.sha256(), 0
    if path.exists():
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                sha.update(block)
                size += len(block)
    return sha.hexdigest(), size


# Answers


def _pauses() -> Iterator[float]:
    """Pauses after each attempt [s]."""
    for attempt in range(_ATTEMPTS):
        yield 0.0 if attempt == _ATTEMPTS - 1 else min(_LONGEST_PAUSE, 0.2 * 3.0**attempt)


def _asked_pause(answer: httpx.Response) -> float:
    text = answer.headers.get("Retry-After", "0")
    return min(_LONGEST_PAUSE, float(text)) if text.isdigit() else 0.0


def _said(answer: httpx.Response) -> str:
    """What an answer says, without the address: a link is a secret."""
    try:
        told = answer.json()["description"]
    except (ValueError, KeyError, TypeError):
        told = answer.reason_phrase
    return f"status {answer.status_code}, {told}"
