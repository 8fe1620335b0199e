"""Users are told ahead, on every way and once; what was told is never changed, only followed."""

import contextlib
import dataclasses
import datetime as dt
import functools
import json
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa

from infra import catalog_store, database, object_store
from infra.delivery import fair_share, identity, mqtt, notices, push, webhook
from infra.demonstration import modelled_catalogue
from products import notice, stac, streams

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
    from starlette import testclient

    from infra.delivery import gateway

NOW = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SECTORS = tuple(fields.sector for fields in modelled_catalogue.collections())
CHANGE = notices.Draft(
    kind="format-change",
    subjects=("flood-extent", "river-width"),
    effective_at=NOW + 30 * DAY,
    title_zh="洪水范围格式变更",
    title_en="Flood extent changes",
    text_zh="新增不确定度波段",
    text_en="A band of uncertainty is added.",
    old_format="1.0",
    new_format="2.0",
    test_data="flood-extent-test",
)


@dataclasses.dataclass
class Desk:
    home: Path
    catalog: catalog_store.CatalogStore
    clock: list[dt.datetime]

    @property
    def notices(self) -> notices.Notices:
        return notices.Notices(self.catalog)

    @functools.cached_property
    def client(self) -> testclient.TestClient:
        parts = gateway.Parts(
            catalog=self.catalog,
            store=object_store.ObjectStore(
                endpoint="http://127.0.0.1:9", credentials=object_store.Credentials("access", "secret")
            ),
            home=self.home,
            identities=identity.Identities(self.catalog.engine),
            limits=fair_share.Limits(rate=1e6, burst=1_000_000),
            clock=lambda: self.clock[0],
        )
        return testclient.TestClient(gateway.application(parts), base_url="http://service.test")

    def key(self, *sectors: str, scopes: tuple[Any, ...] = ("search",), districts: list[str] | None = None) -> str:
        return identity.create(
            self.catalog.engine, agency="a", sectors=list(sectors), districts=districts, scopes=scopes,
            expires_at=NOW + 90 * DAY, now=NOW - DAY,
        )  # fmt: skip

    def get(self, path: str, key: str | None) -> Any:
        return self.client.get(path, headers={} if key is None else {"Authorization": f"Bearer {key}"})


@pytest.fixture
def desk(tmp_path: Path, template: Path) -> Desk:
    (tmp_path / "t.sqlite").write_bytes(template.read_bytes())
    engine = database.engine(f"sqlite:///{tmp_path / 't.sqlite'}")
    return Desk(tmp_path, catalog_store.CatalogStore(engine), [NOW])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notices")
    path, copy = folder / "t.sqlite", folder / "copy.sqlite"
    database.upgrade(f"sqlite:///{path}")
    engine = database.engine(f"sqlite:///{path}")
    catalog = catalog_store.CatalogStore(engine)
    for fields in modelled_catalogue.collections():
        for stream in streams.STREAMS:
            catalog.put_collection(stac.build_collection(streams.collection_fields(fields, stream)))
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def changed(**given: Any) -> notices.Draft:
    return dataclasses.replace(CHANGE, **given)


@pytest.mark.parametrize(
    ("draft", "said"),
    [
        (changed(effective_at=NOW + 14 * DAY - dt.timedelta(seconds=1)), "14 days ahead"),
        (changed(test_data=None), "test data"),
        (changed(old_format=None), "version before and after"),
        (changed(subjects=()), "names the products"),
        (changed(subjects=("no-such",)), "there are: ecology|there are: flood-extent"),
        (changed(test_data="flood-extent"), "no collection of test data"),
        (changed(subjects=("flood-extent-test",)), "no product or collection"),
        (changed(title_zh=" "), "Chinese"),
        (changed(kind=None), "a kind"),
    ],
)
def test_a_notice_that_says_too_little_or_comes_too_late_is_refused(
    desk: Desk, draft: notices.Draft, said: str
) -> None:
    with pytest.raises(notice.NoticeError, match=said):
        desk.notices.add(draft, now=NOW)
    assert desk.notices.current() == ()


@pytest.mark.parametrize(
    "draft",
    [
        CHANGE,
        changed(effective_at=NOW + 14 * DAY),
        changed(effective_at=NOW + DAY, urgent_reason="the sensor failed", test_data=None),
        changed(test_data="https://files.example/coming.zip"),
        changed(kind="interruption", effective_at=NOW + DAY, test_data=None, old_format=None),
        changed(kind="general", subjects=(), effective_at=NOW, test_data=None),
    ],
)
def test_a_notice_in_time_or_with_a_reason_is_published(desk: Desk, draft: notices.Draft) -> None:
    made = desk.notices.add(draft, now=NOW)
    assert desk.notices.current() == (made,)
    assert (made.id, made.revision, made.change) == ("2026-0001", 1, "published")


def test_a_correction_keeps_what_it_does_not_name_and_a_typo_may_be_corrected_late(desk: Desk) -> None:
    first = desk.notices.add(CHANGE, now=NOW)
    late = NOW + 29 * DAY
    second = desk.notices.correct(first.id, notices.Draft(text_en="Two bands are added."), reason="typo", now=late)
    assert second == dataclasses.replace(
        first, revision=2, change="corrected", text_en="Two bands are added.", reason="typo", published_at=late
    )
    sooner = notices.Draft(effective_at=first.effective_at - dt.timedelta(hours=1))
    with pytest.raises(notice.NoticeError, match="14 days"):
        desk.notices.correct(first.id, sooner, reason="sooner", now=late)
    desk.notices.cancel(first.id, reason="put off", now=late)
    with pytest.raises(notice.NoticeError, match="was cancelled"):
        desk.notices.correct(first.id, sooner, reason="again", now=late)
    with pytest.raises(notices.UnknownNoticeError):
        desk.notices.cancel("2026-0099", reason="none", now=late)


@pytest.mark.parametrize("statement", ["UPDATE notice SET text_zh = 'x'", "DELETE FROM notice"])
def test_the_database_itself_refuses_to_change_what_was_told(desk: Desk, statement: str) -> None:
    made = desk.notices.add(CHANGE, now=NOW)
    with pytest.raises(sa.exc.IntegrityError, match="never changed"), desk.catalog.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert desk.notices.current() == (made,)


def test_any_valid_key_reads_the_notices_of_its_sectors_and_of_no_other(desk: Desk) -> None:
    desk.notices.add(CHANGE, now=NOW)
    desk.notices.add(changed(kind="general", subjects=(), test_data=None), now=NOW)
    both = {sector: desk.key(sector, scopes=("download",)) for sector in SECTORS}
    for sector, key in both.items():
        told = {one["id"]: one["collections"] for one in desk.get("/notices", key).json()["notices"]}
        mine = {"emergency": ["flood-extent"], "transport": ["river-width"]}.get(sector)
        assert told == {"2026-0002": []} | ({} if mine is None else {"2026-0001": mine})
        assert desk.get("/notices/2026-0001", key).status_code == (404 if mine is None else 200)
        assert ("2026-0001" in desk.get("/notices.atom", key).text) == (mine is not None)
    for path in ("/notices", "/notices.atom", "/notices/2026-0001"):
        assert desk.get(path, None).status_code == 401


def test_the_feed_of_notices_gives_every_revision_once_from_any_position(desk: Desk) -> None:
    key, other = desk.key("emergency"), desk.key("weather")
    start = desk.get("/notices", key).json()["cursor"]
    first = desk.notices.add(CHANGE, now=NOW)
    middle = desk.get("/notices", key).json()["cursor"]
    desk.notices.correct(first.id, notices.Draft(text_en="More."), reason="typo", now=NOW)
    desk.notices.cancel(first.id, reason="not yet", now=NOW)
    body = desk.get(f"/notices?after={start}&limit=2", key).json()
    assert [one["change"] for one in body["notices"]] == ["published", "corrected"]
    assert body["more"] is True
    rest = desk.get(body["next"], key).json()
    assert [(one["change"], one["reason"]) for one in rest["notices"]] == [("cancelled", "not yet")]
    assert [one["revision"] for one in desk.get(f"/notices?after={middle}", key).json()["notices"]] == [2, 3]
    assert desk.get(f"/notices?after={start}", other).json()["notices"] == []
    assert desk.get("/notices?after=nonsense", key).status_code == 400
    assert desk.get(f"/notices?after={start}&limit=x", key).status_code == 400
    one = desk.get(f"/notices/{first.id}", key).json()
    assert one["change"] == "cancelled"
    assert [each["revision"] for each in one["revisions"]] == [1, 2, 3]


def test_the_atom_feed_names_every_revision_in_both_languages_newest_first(desk: Desk) -> None:
    made = desk.notices.add(CHANGE, now=NOW)
    desk.notices.cancel(made.id, reason="not yet", now=NOW + DAY)
    root = ElementTree.fromstring(desk.get("/notices.atom", desk.key("transport")).content)  # noqa: S314  our own
    atom = "{http://www.w3.org/2005/Atom}"
    entries = root.findall(f"{atom}entry")
    assert [one.findtext(f"{atom}id") for one in entries] == [
        "urn:terralimb:notice:2026-0001:2",
        "urn:terralimb:notice:2026-0001:1",
    ]
    assert "取消" in str(entries[0].findtext(f"{atom}title"))
    assert "Flood extent changes" in str(entries[1].findtext(f"{atom}title"))
    assert {link.get("rel") for link in entries[1].findall(f"{atom}link")} == {"alternate", "related"}


def test_a_collection_links_to_its_notice_until_it_takes_effect_or_is_cancelled(desk: Desk) -> None:
    key = desk.key(*SECTORS)

    def linked(collection: str) -> list[str]:
        links = desk.get(f"/stac/collections/{collection}", key).json()["links"]
        return [link["href"] for link in links if link["rel"] == "notice"]

    assert linked("flood-extent") == []
    made = desk.notices.add(CHANGE, now=NOW)
    assert linked("flood-extent") == linked("river-width") == [f"http://service.test/notices/{made.id}"]
    assert linked("land-cover") == linked("flood-extent-test") == []
    listed = desk.get("/stac/collections", key).json()["collections"]
    assert {one["id"] for one in listed if any(link["rel"] == "notice" for link in one["links"])} == {
        "flood-extent",
        "river-width",
    }
    assert desk.get(linked("flood-extent")[0], key).json()["links"][1]["href"].endswith("/flood-extent-test")
    desk.clock[0] = made.effective_at
    assert linked("flood-extent") == []
    desk.clock[0] = NOW
    desk.notices.cancel(made.id, reason="not yet", now=NOW)
    assert linked("flood-extent") == []


@dataclasses.dataclass
class Receiver:
    """Another side that breaks once."""

    name: str = "r"
    got: list[Any] = dataclasses.field(default_factory=list)
    breaks_at: int | None = None

    def deliver(self, told: Any) -> Iterator[int]:
        for one in told:
            if one.sequence == self.breaks_at:
                raise push.ChannelError("gone")
            self.got.append(one.notice.revision)
            yield one.sequence

    def close(self) -> None:
        pass


def test_notices_are_pushed_at_least_once_with_positions_of_their_own(desk: Desk) -> None:
    made = desk.notices.add(CHANGE, now=NOW)
    desk.notices.correct(made.id, notices.Draft(text_en="More."), reason="typo", now=NOW)
    inner = Receiver(breaks_at=2)
    channel, pusher = push.NoticeChannel(inner), push.Pusher(catalog=desk.catalog, clock=lambda: NOW)
    assert pusher.push(channel).sequence == 1
    state = push.report(desk.catalog, now=NOW + DAY)["notices-r"]
    assert (state["position"], state["outstanding"], state["lag_seconds"]) == (1, 1, 86_400.0)
    inner.breaks_at = None
    assert pusher.push(channel) == push.Position(channel="notices-r", sequence=2)
    assert inner.got == [1, 2]
    assert pusher.positions.read("r") == push.Position(channel="r")


def test_a_new_channel_is_told_of_what_is_still_to_be_heeded_and_of_nothing_past(desk: Desk) -> None:
    engine = desk.catalog.engine
    assert push.present(engine, "notices-mqtt", now=NOW) == 0
    past = desk.notices.add(changed(kind="general", effective_at=NOW, test_data=None), now=NOW)
    ahead = desk.notices.add(CHANGE, now=NOW)
    desk.notices.add(changed(kind="general", effective_at=NOW, test_data=None), now=NOW)
    begin = push.present(engine, "notices-mqtt", now=NOW + DAY)
    told = notices.outgoing(engine, after=begin, address=lambda *parts: "/".join(parts), limit=9)
    assert past.id not in {one.notice.id for one in told}
    assert told[0].notice == ahead
    assert push.present(engine, "notices-mqtt", now=NOW + 31 * DAY) == 3


def test_a_broker_gets_one_message_a_sector_that_names_no_collection_of_another(desk: Desk) -> None:
    desk.notices.add(CHANGE, now=NOW)
    desk.notices.add(changed(kind="general", subjects=(), test_data=None), now=NOW)
    told = notices.outgoing(desk.catalog.engine, after=0, address=lambda *parts: "/".join(parts), limit=9)
    sent = {topic: json.loads(payload) for one in told for topic, payload, _ in mqtt.for_notices()(one)}
    assert {topic: payload["collections"] for topic, payload in sent.items()} == {
        "cq/notices/emergency/format-change": ["flood-extent"],
        "cq/notices/transport/format-change": ["river-width"],
        "cq/notices/all/general": [],
    }
    assert {payload["event"] for payload in sent.values()} == {"notice"}


def test_a_webhook_gets_the_notices_of_its_sectors_only(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk.notices.add(CHANGE, now=NOW)
    desk.notices.add(changed(subjects=("land-cover",)), now=NOW)
    posted: list[Any] = []
    monkeypatch.setattr(webhook.WebhookChannel, "_post", lambda _self, payload: posted.append(payload))
    hook, _secret = webhook.add(
        desk.catalog, tmp_path, agency="a", url="https://h.example", sectors=["transport"], districts=["500112"]
    )
    channel = push.NoticeChannel(webhook.WebhookChannel(hook, tmp_path))
    push.Pusher(catalog=desk.catalog).push(channel)
    channel.close()
    assert [(one["id"], one["collections"]) for one in posted] == [("2026-0001", ["river-width"])]


def test_a_webhook_whose_notices_fail_for_days_is_suspended_with_the_time(desk: Desk, tmp_path: Path) -> None:
    engine = desk.catalog.engine
    hook, _secret = webhook.add(desk.catalog, tmp_path, agency="a", url="https://h.example", sectors=["transport"])
    failing = push.Position(channel=f"notices-{hook.channel}", failures=9, failing_since=NOW, reason="gone")
    assert not webhook.suspend_hopeless(engine, failing, now=NOW + DAY)
    assert webhook.suspend_hopeless(engine, failing, now=NOW + 4 * DAY)
    (found,) = webhook.listing(engine)
    assert (found.active, found.suspended_at) == (False, "2026-07-05T12:00:00.000000Z")
    webhook.set_active(engine, hook.id, reason=None)
    (found,) = webhook.listing(engine)
    assert (found.active, found.suspended_at) == (True, None)
