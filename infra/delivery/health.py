"""State of the delivery in figures an operator can act on; what nobody has measured is said to be so."""

import datetime as dt
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from infra import catalog_store, database
from infra.delivery import push, reconciliation

#: An announcement outstanding longer than this means that delivery stands still [s].
DELIVERY_LIMIT = 300.0

NOT_MEASURED = "not measured"


def report(catalog: catalog_store.CatalogStore, *, home: Path, now: dt.datetime) -> dict[str, Any]:
    """Describe the catalogue and its delivery.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    home : Path
        Folder of the installation, for what the last reconciliation found.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    dict
        ``status`` ok or degraded with its ``reasons``, counts, age of the newest item of each collection [s], age of
        the oldest announcement outstanding [s], channels, last reconciliation.
    """
    counts = catalog.counts()
    oldest = _oldest_outstanding(catalog, now)
    reasons = []
    if oldest is not None and oldest > DELIVERY_LIMIT:
        reasons.append(f"an announcement has been outstanding for {oldest:.0f} s")
    return {
        "status": "degraded" if reasons else "ok",
        "reasons": reasons,
        "items": dict(counts.states),
        "announcements": counts.announcements,
        "outstanding": counts.undelivered,
        "oldest_outstanding_seconds": NOT_MEASURED if oldest is None else round(oldest, 1),
        "collections": _ages(catalog, now),
        "push": push.report(catalog, now=now),
        "reconciliation": reconciliation.last_counts(home),
    }


def _oldest_outstanding(catalog: catalog_store.CatalogStore, now: dt.datetime) -> float | None:
    waiting = catalog.undelivered(limit=1)
    return (now - waiting[0].created_at).total_seconds() if waiting else None


def _ages(catalog: catalog_store.CatalogStore, now: dt.datetime) -> dict[str, dict[str, float]]:
    """Seconds since the newest content, and since the last publication, of every collection."""
    item = catalog_store.item_table.c
    newest = sa.select(item.collection, sa.func.max(item.end_time), sa.func.max(item.published_at))
    statement = newest.where(item.state == "published").group_by(item.collection).order_by(item.collection)
    with database.reading(catalog.engine) as connection:
        rows = connection.execute(statement).all()
    return {
        row[0]: {
            "content_age_seconds": round((now - dt.datetime.fromisoformat(row[1])).total_seconds(), 1),
            "publication_age_seconds": round((now - dt.datetime.fromisoformat(row[2])).total_seconds(), 1),
        }
        for row in rows
    }
