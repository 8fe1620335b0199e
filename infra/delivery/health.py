"""State of the delivery in figures an operator can act on; what nobody has measured is said to be so."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from infra import catalog_store, database
from infra.delivery import care, push, reconciliation, webhook

#: An announcement outstanding longer than this means that delivery stands still [s].
DELIVERY_LIMIT = 300.0

NOT_MEASURED = "not measured"


def status(catalog: catalog_store.CatalogStore, *, home: Path, now: dt.datetime) -> str:
    """Say how it is in a word, at little cost: everybody may ask, as often as they like.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    home : Path
        Folder of the installation, for what its daily care found last.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    str
        ok or degraded.
    """
    return "degraded" if any(_reasons(_oldest_outstanding(catalog, now), care.notes(home))) else "ok"


def report(catalog: catalog_store.CatalogStore, *, home: Path, now: dt.datetime) -> dict[str, Any]:
    """Describe the catalogue and its delivery.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    home : Path
        Folder of the installation, for what its daily care found last.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    dict
        ``status`` ok or degraded with its ``reasons``, counts, age of the newest item of each collection [s], age of
        the oldest announcement outstanding [s], channels with position and lag, webhooks suspended, last seal of the
        record, last backup, last reconciliation, and what became of each step of the daily care.
    """
    counts = catalog.counts()
    oldest = _oldest_outstanding(catalog, now)
    noted = care.notes(home)
    reasons = list(_reasons(oldest, noted))
    backup = noted.get("backup", {}).get("went_well") or {}
    return {
        "status": "degraded" if reasons else "ok",
        "reasons": reasons,
        "items": dict(counts.states),
        "announcements": counts.announcements,
        "outstanding": counts.undelivered,
        "oldest_outstanding_seconds": NOT_MEASURED if oldest is None else round(oldest, 1),
        "collections": _ages(catalog, now) or NOT_MEASURED,
        "push": push.report(catalog, now=now) or NOT_MEASURED,
        "webhooks_suspended": _suspended(catalog.engine),
        "audit_seal": _last_seal(home),
        "backup": backup if "backup" in backup else NOT_MEASURED,
        "reconciliation": reconciliation.last_counts(home),
        "care": {step: _said(noted[step]) if step in noted else NOT_MEASURED for step in care.STEPS},
    }


def _reasons(oldest: float | None, noted: dict[str, dict[str, Any]]) -> Iterator[str]:
    if oldest is not None and oldest > DELIVERY_LIMIT:
        yield f"an announcement has been outstanding for {oldest:.0f} s"
    for step, told in noted.items():
        if told.get("status") == "failed":
            yield f"the daily care failed at {step}: {told.get('reason')}"


def _said(told: dict[str, Any]) -> dict[str, Any]:
    return {name: told.get(name) for name in ("at", "status", "reason")}


def _suspended(engine: sa.Engine) -> list[dict[str, str | None]]:
    return [
        {
            "id": hook.id,
            "agency": hook.agency,
            "reason": hook.suspended_reason,
            "since": hook.suspended_at or NOT_MEASURED,
        }
        for hook in webhook.listing(engine)
        if not hook.active
    ]


def _last_seal(home: Path) -> dict[str, Any] | str:
    """How far the newest signed head goes, and when it was written."""
    found = []
    for path in (home / "audit").glob("*.head.json"):
        try:
            head = json.loads(path.read_text(encoding="utf-8"))
            written = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
            told = {"at": written.isoformat(timespec="seconds"), "day": head["day"], "lines": head["last_sequence"]}
            found.append((int(head["last_sequence"]), told))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return max(found, key=lambda one: one[0])[1] if found else NOT_MEASURED


def _oldest_outstanding(catalog: catalog_store.CatalogStore, now: dt.datetime) -> float | None:
    waiting = catalog.undelivered(limit=1)
    return (now - waiting[0].created_at).total_seconds() if waiting else None


def _ages(catalog: catalog_store.CatalogStore, now: dt.datetime) -> dict[str, dict[str, float] | str]:
    """Seconds since the newest content, and since the last publication, of every collection."""
    item = catalog_store.item_table.c
    newest = sa.select(item.collection, sa.func.max(item.end_time), sa.func.max(item.published_at))
    statement = newest.where(item.state == "published").group_by(item.collection).order_by(item.collection)
    with database.reading(catalog.engine) as connection:
        rows = connection.execute(statement).all()
        known = connection.execute(sa.select(catalog_store.collection_table.c.id)).scalars().all()
    ages: dict[str, dict[str, float] | str] = dict.fromkeys(known, NOT_MEASURED)
    ages |= {
        row[0]: {
            "content_age_seconds": round((now - dt.datetime.fromisoformat(row[1])).total_seconds(), 1),
            "publication_age_seconds": round((now - dt.datetime.fromisoformat(row[2])).total_seconds(), 1),
        }
        for row in rows
    }
    return dict(sorted(ages.items()))
