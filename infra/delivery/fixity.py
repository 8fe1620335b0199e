"""Fixity: whether what the store holds is, octet by octet, what was published.

Sizes are compared whenever stores are reconciled; damage that keeps the length is found by reading alone. Every asset,
item and manifest of a current or superseded revision is read and its SHA-256 compared: an asset's with the catalogue,
a manifest's with the catalogue, an item's with what its manifest says; the signature of the manifest is verified.

Reading all costs what the store holds: at 100 MB/s, 2.8 hours a terabyte. The daily share is one thirtieth of the
objects, 100 s a day for 300 GB, and ends after half an hour (`SHARE_SECONDS`) with the object at hand, which the
scheduler's limit of an hour a step leaves room for; how many were not reached is told. So all is read within 30 days
as long as a thirtieth is read within half an hour: 5 TB at 100 MB/s.
"""

import datetime as dt
import hashlib
import json
import time
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from infra import catalog_store, object_store, publication, signing
from infra.delivery import reconciliation
from products import minisign

KIND = "content_wrong"

#: Days in which the daily share comes round to every object once [day].
ROUND_DAYS = 30

#: How long the daily share may be read [s].
SHARE_SECONDS = 1800.0

Advance = Callable[[int], None]


class Fixity(NamedTuple):
    """What was read.

    Attributes
    ----------
    read : int
        Objects read in full [1].
    size : int
        Their length together [octet].
    unread : int
        Objects for which there was no time [1].
    differences : tuple of infra.delivery.reconciliation.Difference
        What is not as published, of kind content_wrong.
    """

    read: int
    size: int
    unread: int
    differences: tuple[reconciliation.Difference, ...]


Named = list[catalog_store.NamedObject]


def objects(stores: reconciliation.Stores) -> Named:
    """List every object of a current or superseded revision.

    Parameters
    ----------
    stores : infra.delivery.reconciliation.Stores
        What is compared.

    Returns
    -------
    list of infra.catalog_store.NamedObject
        Each object once.
    """
    return list({(one.bucket, one.key): one for one in _live(stores)}.values())


def share(stores: reconciliation.Stores, *, now: dt.datetime, also: Container[str] = frozenset()) -> Named:
    """List what is read on a day: one thirtieth of all objects by the hash of their keys.

    Parameters
    ----------
    stores : infra.delivery.reconciliation.Stores
        What is compared.
    now : datetime.datetime
        Time; aware.
    also : Container of str
        Buckets and keys that are read whatever their day, first.

    Returns
    -------
    list of infra.catalog_store.NamedObject
        Each object once, in another order each round: what there was no time for in one is not last in the next.
    """
    day = int(now.timestamp() // 86_400)
    salt = f"{day // ROUND_DAYS} "
    chosen = {
        (one.bucket, one.key): one
        for one in _live(stores)
        if _hashed(_place(one)) % ROUND_DAYS == day % ROUND_DAYS or _place(one) in also
    }
    return sorted(chosen.values(), key=lambda one: (_place(one) not in also, _hashed(f"{salt}{_place(one)}")))


def at(stores: reconciliation.Stores, places: Container[str]) -> Named:
    """List objects by their places.

    Parameters
    ----------
    stores : infra.delivery.reconciliation.Stores
        What is compared.
    places : Container of str
        Buckets and keys.

    Returns
    -------
    list of infra.catalog_store.NamedObject
        Those of them that a current or superseded revision still names.
    """
    return [one for one in objects(stores) if _place(one) in places] if places else []


def known(home: Path) -> tuple[reconciliation.Difference, ...]:
    """What was found wrong before: it goes on being told until it was read again and found as published.

    Parameters
    ----------
    home : Path
        Folder of the installation, with the newest report.

    Returns
    -------
    tuple of infra.delivery.reconciliation.Difference
        Of kind content_wrong.
    """
    try:
        told = json.loads((home / reconciliation.REPORT).read_text(encoding="utf-8"))["differences"]
        return tuple(
            reconciliation.Difference(KIND, str(one["place"]), str(one["detail"]))
            for one in told
            if one["kind"] == KIND
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def known_wrong(home: Path) -> frozenset[str]:
    """Where it is that was found wrong before.

    Parameters
    ----------
    home : Path
        Folder of the installation, with the newest report.

    Returns
    -------
    frozenset of str
        Buckets and keys; of a signature, those of its manifest.
    """
    return frozenset(one.place.removesuffix(publication.SIGNATURE_SUFFIX) for one in known(home))


def check(
    stores: reconciliation.Stores,
    listed: Sequence[catalog_store.NamedObject],
    *,
    trusted: Sequence[signing.PublicKey],
    seconds: float | None = None,
    advance: Advance = lambda _size: None,
) -> Fixity:
    """Read objects and compare them with what was published.

    One that is missing, and an asset of another length, are left to `infra.delivery.reconciliation.reconcile`. One that
    cannot be read while its bucket can be listed is damaged as far as anybody can tell, and no reason not to read on.

    Parameters
    ----------
    stores : infra.delivery.reconciliation.Stores
        What is compared.
    listed : Sequence of infra.catalog_store.NamedObject
        What to read, from `objects`.
    trusted : Sequence of infra.signing.PublicKey
        Keys manifests may be signed with. Signatures of a revoked key vouch for nothing and are not judged.
    seconds : float or None
        How long reading may go on; None for as long as it takes [s].
    advance : callable
        Told the length the catalogue holds of each object that was read, or could not be [octet].

    Returns
    -------
    Fixity
        What was read and what is wrong.

    Raises
    ------
    infra.object_store.ObjectStoreError
        The store as a whole does not answer.
    """
    until = None if seconds is None else time.monotonic() + seconds
    read = size = 0
    differences: list[reconciliation.Difference] = []
    for done, one in enumerate(listed):
        if until is not None and time.monotonic() > until:
            return Fixity(read, size, len(listed) - done, tuple(differences))
        try:
            length, faults = _judge(one)(one, stores, trusted)
        except object_store.ObjectMissingError:
            continue
        except object_store.ObjectStoreError as error:
            length, faults = None, [(_place(one), _unreadable(error, one, stores))]
        differences += [
            reconciliation.Difference(KIND, place, f"{one.name} of {one.item_id} r{one.revision}: {said}")
            for place, said in faults
        ]
        if length is not None:
            read, size = read + 1, size + length
        advance(one.size or 0)
    return Fixity(read, size, 0, tuple(differences))


Faults = list[tuple[str, str]]


def _asset(
    one: catalog_store.NamedObject, stores: reconciliation.Stores, _trusted: Sequence[signing.PublicKey]
) -> tuple[int, Faults]:
    found = stores.store.digest(one.bucket, one.key)
    wrong = found.size == one.size and found.sha256 != one.sha256
    return found.size, [(_place(one), _other(found.sha256, one.sha256))] if wrong else []


def _item(
    one: catalog_store.NamedObject, stores: reconciliation.Stores, _trusted: Sequence[signing.PublicKey]
) -> tuple[int, Faults]:
    found = stores.store.digest(one.bucket, one.key)
    folder = one.key.rpartition("/")[0]
    try:
        manifest = stores.store.read(one.bucket, f"{folder}/{publication.MANIFEST_NAME}")
    except object_store.ObjectMissingError:
        raise
    except object_store.ObjectStoreError as error:
        _unreadable(error, one, stores)
        manifest = b""
    if hashlib.sha256(manifest).hexdigest() != one.sha256:
        # A manifest that is damaged is told of when its own turn comes, and says nothing about the item.
        return found.size, []
    expected = json.loads(manifest)["files"][publication.ITEM_NAME]["sha256"]
    wrong = found.sha256 != expected
    return found.size, [(_place(one), _other(found.sha256, expected))] if wrong else []


def _manifest(
    one: catalog_store.NamedObject, stores: reconciliation.Stores, trusted: Sequence[signing.PublicKey]
) -> tuple[int, Faults]:
    body = stores.store.read(one.bucket, one.key)
    sha256 = hashlib.sha256(body).hexdigest()
    if sha256 != one.sha256:
        return len(body), [(_place(one), _other(sha256, one.sha256))]
    return len(body), list(_signature_faults(one, body, stores, trusted))


def _signature_faults(
    one: catalog_store.NamedObject, body: bytes, stores: reconciliation.Stores, trusted: Sequence[signing.PublicKey]
) -> Iterator[tuple[str, str]]:
    key = f"{one.key}{publication.SIGNATURE_SUFFIX}"
    try:
        signature = stores.store.read(one.bucket, key)
    except object_store.ObjectMissingError:
        # Reconciling tells of that; where nothing is signed it is no fault.
        return
    except object_store.ObjectStoreError as error:
        yield f"{one.bucket}/{key}", _unreadable(error, one, stores)
        return
    try:
        if minisign.signer_id(signature) in {known.id for known in trusted if known.state == "revoked"}:
            return
        said = signing.verify(trusted, body, signature)
    except minisign.SignatureError as error:
        yield f"{one.bucket}/{key}", f"the signature does not hold: {error}"
        return
    expected = f"{one.item_id} {json.loads(body)['content_sha256']}"
    if said != expected:
        yield f"{one.bucket}/{key}", f"the signature is for {said!r:.120}"


def _unreadable(
    error: object_store.ObjectStoreError, one: catalog_store.NamedObject, stores: reconciliation.Stores
) -> str:
    """What is said of an object that cannot be read; raises where the store as a whole does not answer."""
    if not stores.store.answers(one.bucket):
        raise error
    return f"cannot be read: {error}"


def _judge(one: catalog_store.NamedObject) -> Callable[..., tuple[int, Faults]]:
    # An asset has a length in the catalogue, and may bear any name.
    return _asset if one.size is not None else {"item": _item, "manifest": _manifest}[one.name]


def _other(found: str, expected: str | None) -> str:
    return f"SHA-256 {found}, not {expected}"


def _live(stores: reconciliation.Stores) -> Iterator[catalog_store.NamedObject]:
    named = catalog_store.Custody(stores.catalog).objects()
    return (one for one in named if one.state in {"published", "superseded"})


def _place(one: catalog_store.NamedObject) -> str:
    return f"{one.bucket}/{one.key}"


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
