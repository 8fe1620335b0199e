"""Withdrawal: a product is taken back, and who was given a link to it is written down to be told."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

from infra import catalog_store, object_store, private_files, publication
from infra.delivery import audit

LAYOUT = "terralimb-withdrawal/1"
_REASON_LIMIT = 500


class ReasonError(ValueError):
    """What was given is no reason that can be told."""


def withdraw(
    item_id: str,
    revision: int | None = None,
    *,
    reason: str,
    home: Path,
    store: object_store.ObjectStore,
    catalog: catalog_store.CatalogStore,
    catalogue_bucket: str,
    now: dt.datetime,
) -> tuple[Path, dict[str, Any]]:
    """Take a revision of an item back, list who was given a link, and announce it.

    Repeated after an interruption it completes what is missing; the reason first given stands. Other revisions of the
    item with the same content are taken back with it, and each has a list of its own.

    Parameters
    ----------
    item_id : str
        Identity of the item.
    revision : int or None
        Which, the current one or one that was superseded; None for the current one [1].
    reason : str
        Why, one line for its users to read.
    home : Path
        Folder of the installation: the audit record, and ``withdrawals/<item>-r<revision>.json``.
    store : infra.object_store.ObjectStore
        Where pointer and feed go.
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    catalogue_bucket : str
        Bucket of pointer and feed.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    tuple of (Path, dict)
        The list and its content.

    Raises
    ------
    ReasonError
        The reason is empty, longer than 500 characters or more than one line.
    infra.catalog_store.UnknownItemError
        The item has no such revision, or none that could be withdrawn.
    """
    said = checked_reason(reason)
    item = catalog.item(item_id, revision)
    if item is None or item.state != "withdrawn":
        catalog.withdraw(item_id, revision, reason=said, withdrawn_at=now)
        item = catalog.item(item_id, revision)
        if item is None:
            raise catalog_store.UnknownItemError(f"{item_id} is gone")
    for twin in _twins(item, catalog):
        _write_down(twin, home, now)
    path, document = _write_down(item, home, now)
    publication.deliver_outbox(store=store, catalog=catalog, catalogue_bucket=catalogue_bucket)
    return path, document


def is_listed(home: Path, item_id: str, revision: int) -> bool:
    """Tell whether a withdrawal came to the list of who is to be told.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    item_id : str
        Identity.
    revision : int
        Revision [1].

    Returns
    -------
    bool
        False of one that was interrupted, or never began.
    """
    return _list_path(home, item_id, revision).exists()


def _twins(item: catalog_store.CatalogItem, catalog: catalog_store.CatalogStore) -> list[catalog_store.CatalogItem]:
    """Other revisions that were withdrawn with one because they have its content."""
    latest = catalog.item(item.item_id)
    numbers = range(1, latest.revision + 1 if latest else 1)
    others = (catalog.item(item.item_id, number) for number in numbers if number != item.revision)
    return [one for one in others if one and (one.state, one.content_sha256) == ("withdrawn", item.content_sha256)]


def _write_down(item: catalog_store.CatalogItem, home: Path, now: dt.datetime) -> tuple[Path, dict[str, Any]]:
    taken_back = audit.Entry(
        event="withdraw",
        decision="allowed",
        item_id=item.item_id,
        revision=item.revision,
        collection=item.collection,
        subject_sha256=item.content_sha256,
    )
    # Killed right after the transaction, the first run did not come to write it down.
    if not audit.is_recorded(home / "audit", taken_back):
        audit.AuditLog(home / "audit").record(taken_back, now=now)
    return _write_list(item, home, now)


def checked_reason(reason: str) -> str:
    """Reason as it is told.

    Parameters
    ----------
    reason : str
        Why, as it was given.

    Returns
    -------
    str
        Without spaces around it.

    Raises
    ------
    ReasonError
        It is empty, longer than 500 characters or more than one line.
    """
    said = reason.strip()
    if not said or len(said) > _REASON_LIMIT or not said.isprintable():
        raise ReasonError(f"a reason is one line of 1 to {_REASON_LIMIT} characters, for those who used the product")
    return said


def recipients(home: Path, item_id: str, revision: int, *, now: dt.datetime) -> list[dict[str, Any]]:
    """Who was given links to a revision, by agency and key.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    item_id : str
        Identity.
    revision : int
        Revision [1].
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    list of dict
        ``agency``, ``key_id``, times of the ``first`` and ``last`` link, ``files``, number of ``links``, and
        ``open_until`` where a link made earlier may still hold.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for line in audit.minted(home / "audit", item_id, revision):
        who = (line.entry.agency or "", line.entry.key_id or "")
        told = found.setdefault(
            who,
            {"agency": line.entry.agency, "key_id": line.entry.key_id, "first": line.at, "files": [], "links": 0},
        )
        told["last"] = line.at
        told["links"] += 1
        told["files"] = sorted({*told["files"], str(line.entry.asset)})
        until = line.entry.expires_at
        if until is not None and dt.datetime.fromisoformat(until) > now:
            told["open_until"] = max(until, told.get("open_until", until))
    return [found[who] for who in sorted(found)]


def _write_list(item: catalog_store.CatalogItem, home: Path, now: dt.datetime) -> tuple[Path, dict[str, Any]]:
    document = {
        "layout": LAYOUT,
        "item": item.item_id,
        "revision": item.revision,
        "reason": item.state_reason,
        "listed_at": now.astimezone(dt.UTC).isoformat(),
        "recipients": recipients(home, item.item_id, item.revision, now=now),
    }
    path = _list_path(home, item.item_id, item.revision)
    private_files.make_folder(path.parent)
    private_files.write(path, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    return path, document


def _list_path(home: Path, item_id: str, revision: int) -> Path:
    return home / "withdrawals" / f"{item_id}-r{revision}.json"
