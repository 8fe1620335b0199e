"""Timeliness: from the end of the observation to availability, of every profile in the catalogue.

The time of publication is no part of any product, so these figures are a document of the catalogue bucket.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from infra import catalog_store, database, object_store
from products import stac

COLLECTION = "occultation-profile"
TARGET_MINUTES = 180.0
PERCENTILES = (50, 90, 95, 99)


class Delay(NamedTuple):
    """Delay of one profile [min]; day of the end of the observation, in UTC."""

    day: str
    platform: str
    stream: str
    minutes: float


def delays(catalog: catalog_store.CatalogStore, *, day: dt.date, collection: str = COLLECTION) -> list[Delay]:
    """Delay of every profile whose observation ended on one day, by its first publication.

    A later revision does not make the first one late, and one withdrawn since was available all the same.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    day : datetime.date
        Day of the end of the observation, UTC.
    collection : str
        Collection of the profiles.

    Returns
    -------
    list of Delay
        In the order of identities.
    """
    column = catalog_store.item_table.c
    begin = dt.datetime.combine(day, dt.time(), dt.UTC)
    first, after = (catalog_store.text_from_instant(at) for at in (begin, begin + dt.timedelta(days=1)))
    statement = sa.select(catalog_store.item_table).where(
        column.state.in_(catalog_store.STATES),
        column.collection == collection,
        column.revision == 1,
        column.end_time >= first,
        column.end_time < after,
    )
    with database.reading(catalog.engine) as connection:
        items = catalog.items_of(connection, statement.order_by(column.id))
    return [_delay(item) for item in items]


def delays_between(catalog: catalog_store.CatalogStore, *, since: dt.date, until: dt.date) -> list[Delay]:
    """Delays of the profiles of several days.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    since, until : datetime.date
        First and last day of the end of the observation, UTC.

    Returns
    -------
    list of Delay
        Day by day.
    """
    days = (since + dt.timedelta(days=at) for at in range((until - since).days + 1))
    return [one for day in days for one in delays(catalog, day=day)]


def _delay(item: catalog_store.CatalogItem) -> Delay:
    properties = item.document["properties"]
    return Delay(
        day=item.end.astimezone(dt.UTC).date().isoformat(),
        platform=str(properties.get("platform") or "unknown"),
        stream=str(properties.get("cqeo:stream", "final")),
        minutes=(item.published_at - item.end).total_seconds() / 60.0,
    )


def summary(found: Iterable[Delay], *, target: float = TARGET_MINUTES) -> list[dict[str, Any]]:
    """Percentiles by day, satellite and stream.

    Parameters
    ----------
    found : iterable of Delay
        The delays.
    target : float
        Target [min].

    Returns
    -------
    list of dict
        ``day``, ``platform``, ``stream``, ``profiles``, ``within_target`` [1], ``minutes`` by percentile.
    """
    groups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for one in found:
        groups[one[:3]].append(one.minutes)
    return list(_rows(groups, target))


def _rows(groups: dict[tuple[str, str, str], list[float]], target: float) -> Iterator[dict[str, Any]]:
    for (day, platform, stream), minutes in sorted(groups.items()):
        values = np.percentile(minutes, PERCENTILES)
        yield {
            "day": day,
            "platform": platform,
            "stream": stream,
            "profiles": len(minutes),
            "within_target": round(float(np.mean(np.array(minutes) <= target)), 4),
            "minutes": {f"p{rank}": round(float(value), 2) for rank, value in zip(PERCENTILES, values, strict=True)},
        }


def publish(
    catalog: catalog_store.CatalogStore, store: object_store.ObjectStore, *, catalogue_bucket: str, day: dt.date
) -> str:
    """Write the figures of one day to ``timeliness/<yyyy-mm-dd>.json`` of the catalogue bucket; later ones replace it.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    store : infra.object_store.ObjectStore
        Where the document goes.
    catalogue_bucket : str
        Its bucket.
    day : datetime.date
        The day, UTC.

    Returns
    -------
    str
        Key of the document.
    """
    rows = summary(delays(catalog, day=day))
    key = f"timeliness/{day.isoformat()}.json"
    body = stac.encoded({"day": day.isoformat(), "target_minutes": TARGET_MINUTES, "rows": rows})
    store.put_replace(catalogue_bucket, key, body, media_type="application/json")
    return key
