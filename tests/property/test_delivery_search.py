"""Search against brute force: for any boxes and times it finds exactly what a look at every item finds."""

import datetime as dt
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from infra import catalog_store, database

DAY = dt.datetime(2021, 9, 1, tzinfo=dt.UTC)

# Whole and half degrees meet at edges often, and the odd floats are not exact in the index's 32 bits.
longitudes = st.one_of(st.integers(-360, 360).map(lambda n: n / 2), st.floats(-180, 180))
latitudes = st.one_of(st.integers(-180, 180).map(lambda n: n / 2), st.floats(-90, 90))


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    south, north = sorted((draw(latitudes), draw(latitudes)))
    return draw(longitudes), south, draw(longitudes), north


minutes = st.integers(0, 20)
spans = st.tuples(minutes, minutes).map(sorted)
items = st.lists(st.tuples(boxes(), spans), min_size=1, max_size=12)


def longitude_parts(box: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    west, _, east, _ = box
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


def touches(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    if one[1] > other[3] or other[1] > one[3]:
        return False
    return any(a <= d and c <= b for a, b in longitude_parts(one) for c, d in longitude_parts(other))


@pytest.fixture
def catalog(tmp_path: Path) -> catalog_store.CatalogStore:
    engine = database.engine(f"sqlite:///{tmp_path}/search.sqlite")
    with engine.begin() as connection:
        catalog_store.metadata.create_all(connection)
        catalog_store.create_spatial_index(connection)
    return catalog_store.CatalogStore(engine)


@hypothesis.settings(
    max_examples=60, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.example(items=[((0.0, -2.2e-309, 0.0, 0.0), [0, 0])], question=(0.0, -0.5, 0.0, -2.2e-309), span=[0, 0])
@hypothesis.given(items=items, question=boxes(), span=spans)
def test_search_finds_exactly_what_brute_force_finds(
    catalog: catalog_store.CatalogStore,
    items: list[tuple[tuple[float, float, float, float], list[int]]],
    question: tuple[float, float, float, float],
    span: list[int],
) -> None:
    with catalog.writing() as connection:
        connection.execute(catalog_store.outbox_table.delete())
        connection.execute(catalog_store.item_table.delete())  # empties the spatial index by its trigger
        for number, (box, (first, last)) in enumerate(items):
            catalog.publish(_entry(f"i{number}", box, first, last), published_at=DAY, connection=connection)
    found = catalog.search(bbox=question, datetime_range=(_at(span[0]), _at(span[1])))
    expected = {
        f"i{number}"
        for number, (box, (first, last)) in enumerate(items)
        if touches(box, question) and first <= span[1] and last >= span[0]
    }
    assert {item.item_id for item in found} == expected
    assert [item.start for item in found] == sorted((item.start for item in found), reverse=True)


def _at(minute: int) -> dt.datetime:
    return DAY + dt.timedelta(minutes=minute)


def _entry(item_id: str, box: tuple[float, float, float, float], first: int, last: int) -> catalog_store.CatalogEntry:
    return catalog_store.CatalogEntry(
        item_id=item_id,
        collection="c",
        sector="ecology",
        product="c",
        start=_at(first),
        end=_at(last),
        bbox=box,
        content_sha256="0" * 64,
        manifest_sha256="0" * 64,
        bucket="b",
        item_key="i",
        manifest_key="m",
        document={"id": item_id},
        assets=(),
    )
