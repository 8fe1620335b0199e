"""Rules of retention: the first class that fits decides, and a file that says nonsense is refused in one sentence."""

import datetime as dt
from pathlib import Path

import pytest

from infra import catalog_store
from infra.delivery import retention_rules
from processors import quality

NOON = dt.datetime(2021, 9, 1, 12, tzinfo=dt.UTC)


def kept(
    sector: str, state: str, *, stream: str = "final", since: dt.datetime | None = NOON
) -> catalog_store.KeptRevision:
    item = catalog_store.CatalogItem(
        item_id="a",
        collection="c",
        sector=sector,
        product="c",
        start=NOON,
        end=NOON,
        bbox=(0, 0, 1, 1),
        content_sha256="",
        manifest_sha256="",
        bucket="b",
        item_key="i",
        manifest_key="m",
        document={"id": "a", "properties": {"cqeo:stream": stream}},
        assets=(),
        revision=1,
        state=state,
        state_reason=None,
        published_at=NOON,
    )
    return catalog_store.KeptRevision(item=item, since=since)


@pytest.mark.parametrize(
    ("sector", "state", "stream", "days"),
    [
        ("emergency", "published", "final", 3653),
        ("emergency", "superseded", "final", 3653),
        ("weather", "published", "nrt", 30),
        ("weather", "published", "final", None),
        ("ecology", "published", "final", None),
        ("ecology", "superseded", "final", 90),
        ("transport", "withdrawn", "final", 90),
    ],
)
def test_the_shipped_rules_keep_what_they_promise(sector: str, state: str, stream: str, days: int | None) -> None:
    due = retention_rules.read(retention_rules.SHIPPED).due(kept(sector, state, stream=stream))
    assert (None if due is None else (due[0] - NOON).days) == days


def test_what_nobody_can_date_is_kept() -> None:
    assert retention_rules.read(retention_rules.SHIPPED).due(kept("ecology", "superseded", since=None)) is None


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("superseded_days: 90", "superseded_days: 0", "whole number of days"),
        ("superseded_days: 90", "superseded: 90", "are wanted"),
        ("stream: nrt", "stream: fast", "nrt, final or test"),
        ("sectors: [weather]", "sectors: weather", "a list of names"),
        ("  name: standard", "  name: standard\n  sectors: [ecology]", "the default fits everything"),
        ("plan_valid_days: 7", "plan_valid_days: null", "a number of days"),
        ('version: "1"', "", "version, plan_valid_days"),
    ],
)
def test_a_file_that_says_nonsense_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    text = retention_rules.SHIPPED.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "retention.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(quality.BadInputError, match=sentence):
        retention_rules.read(path)
