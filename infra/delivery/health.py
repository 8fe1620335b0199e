"""State of the delivery in figures an operator can act on; what nobody has measured is said to be so."""

import collections
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

#: A channel that fails longer than this wants somebody to look at it [s].
FAILING_LIMIT = 300.0
#: A step of the daily care that was not done for this long was left out [h].
CARE_LIMIT = 36.0

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
    return "degraded" if any(_reasons(catalog, care.notes(home), now)) else "ok"


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
    reasons = list(_reasons(catalog, noted, now))
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


def _reasons(catalog: catalog_store.CatalogStore, noted: dict[str, dict[str, Any]], now: dt.datetime) -> Iterator[str]:
    oldest = _oldest_outstanding(catalog, now)
    if oldest is not None and oldest > DELIVERY_LIMIT:
        yield f"an announcement has been outstanding for {oldest:.0f} s"
    yield from _push_reasons(catalog.engine, now)
    for step, told in noted.items():
        if told.get("status") == "failed":
            yield f"the daily care failed at {step}: {told.get('reason')}"
    yield from _care_reasons(catalog, noted, now)


def _push_reasons(engine: sa.Engine, now: dt.datetime) -> Iterator[str]:
    suspended = {hook.channel: hook for hook in webhook.listing(engine) if not hook.active}
    for hook in suspended.values():
        yield f"webhook {hook.id} of {hook.agency} is suspended: {hook.suspended_reason}"
    for position in push.Positions(engine).all():
        if position.failing_since is None or push.side_of(position.channel) in suspended:
            continue
        failing = (now - position.failing_since).total_seconds()
        if failing > FAILING_LIMIT:
            yield f"{position.channel} has failed for {failing:.0f} s: {position.reason}"
    aside = push.SetAside(engine).all()
    for channel, count in collections.Counter(one.channel for one in aside).items():
        first = next(one for one in aside if one.channel == channel)
        yield f"{channel} set {count} aside, the first {first.item_id} revision {first.revision}: {first.reason}"


def _care_reasons(
    catalog: catalog_store.CatalogStore, noted: dict[str, dict[str, Any]], now: dt.datetime
) -> Iterator[str]:
    done = {step: _instant(told.get("at")) for step, told in noted.items()}
    hours = {step: (now - at).total_seconds() / 3600 for step, at in done.items() if at is not None}
    late = [step for step, age in hours.items() if age > CARE_LIMIT]
    if late:
        yield f"the daily care did not come to {', '.join(late)} for {max(hours[step] for step in late):.0f} h"
    first = None if noted else next(iter(catalog.announcements(after=0, limit=1)), None)
    if first is not None and (now - first.created_at).total_seconds() / 3600 > CARE_LIMIT:
        yield "the daily care has never run"


def _instant(text: Any) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else None


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
