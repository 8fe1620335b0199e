"""Store credentials: a policy means one prefix, a mailbox one set of limits, and who is dismissed stays so."""

import dataclasses
import datetime as dt
import fnmatch
import itertools
import json
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer import testing

from infra import catalog_store, database, object_store
from infra.cli import access
from infra.cli import push as push_command
from infra.cli import store_access as access_command
from infra.delivery import audit, mailbox, push, store_access
from infra.demonstration import modelled_catalogue
from infra.embedded import object_store_identities
from products import store_policy

NOON = dt.datetime(2025, 9, 1, 12, tzinfo=dt.UTC)
LATER = NOON + dt.timedelta(days=30)
COUNT = 60


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store-access") / "t.sqlite"
    database.upgrade(f"sqlite:///{path}")
    catalog = catalog_store.CatalogStore(database.engine(f"sqlite:///{path}"))
    with catalog.writing() as connection:
        for entry in modelled_catalogue.entries(COUNT, seed=1):
            catalog.publish(entry, published_at=NOON, connection=connection)
    return path


@pytest.fixture
def catalog(filled: Path) -> Iterator[catalog_store.CatalogStore]:
    found = catalog_store.CatalogStore(database.engine(f"sqlite:///{filled}"))
    yield found
    tables = (store_access.content_table, store_access.credential_table, store_access.mailbox_table)
    with found.engine.begin() as connection:
        for table in (*tables, push.position_table, push.set_aside_table):
            connection.execute(sa.delete(table))


def a_box(agency: str = "cq-water", *, districts: list[str] | None = None) -> store_access.Mailbox:
    return store_access.mailbox_of(agency=agency, sectors=["ecology"], districts=districts)


def given(catalog: catalog_store.CatalogStore, box: store_access.Mailbox, until: dt.datetime = LATER) -> str:
    return store_access.create(catalog.engine, box, expires_at=until, now=NOON).access_key


# The policy


def test_a_policy_names_one_prefix_with_its_slash_and_its_end() -> None:
    said = store_policy.document(bucket="tl-agencies", prefix="agency-a/0123/", expires_at=LATER)
    read, listed = said["Statement"]
    assert (read["Action"], listed["Action"]) == (["s3:GetObject"], ["s3:ListBucket"])
    (pattern,) = read["Resource"]
    (prefix,) = listed["Condition"]["StringLike"]["s3:prefix"]
    assert fnmatch.fnmatchcase("arn:aws:s3:::tl-agencies/agency-a/0123/x", pattern)
    for other in ("agency-ab/0123/x", "agency-a/01234/x", "agency-b/0123/x", "agency-a/0123"):
        assert not fnmatch.fnmatchcase(f"arn:aws:s3:::tl-agencies/{other}", pattern)
        assert not fnmatch.fnmatchcase(other, prefix)
    for statement in (read, listed):
        assert statement["Effect"] == "Allow"
        assert statement["Condition"]["DateLessThan"] == {"aws:CurrentTime": "2025-10-01T12:00:00Z"}


@pytest.mark.parametrize(
    "prefix",
    ["", "/", "agency-a", "agency*/", "agency?/", "a/../b/", "./", "a//", "A/", "${aws:username}/", "á/", "a/\n"],
)
def test_what_could_be_read_as_more_than_itself_is_no_prefix(prefix: str) -> None:
    with pytest.raises(ValueError, match="no prefix"):
        store_policy.document(bucket="tl-agencies", prefix=prefix, expires_at=LATER)
    with pytest.raises(ValueError, match="no name of a bucket"):
        store_policy.document(bucket="tl-*", prefix="a/", expires_at=LATER)


# Mailboxes and their credentials


@pytest.mark.parametrize("agency", ["", "A", "a.b", "a/b", "..", "a-", "-a", "重庆水利", "á", "a b", "a*", "a" * 64])
def test_a_name_that_could_look_like_another_is_refused(agency: str) -> None:
    with pytest.raises(ValueError, match="cannot name a mailbox"):
        a_box(agency)


def test_other_limits_are_another_mailbox_and_the_same_in_another_order_the_same() -> None:
    one = store_access.mailbox_of(agency="a", sectors=["ecology", "transport"], districts=["500113", "500112"])
    two = store_access.mailbox_of(agency="a", sectors=["transport", "ecology"], districts=["500112", "500113"])
    assert one == two
    boxes = {a_box("a").prefix, a_box("b").prefix, one.prefix, a_box("a", districts=["500112"]).prefix}
    assert len(boxes) == 4
    assert not any(first != second and second.startswith(first) for first in boxes for second in boxes)
    with pytest.raises(ValueError, match="sector"):
        store_access.mailbox_of(agency="a", sectors=["fishing"], districts=None)
    with pytest.raises(ValueError, match="districts"):
        store_access.mailbox_of(agency="a", sectors=["ecology"], districts=[""])


def test_credentials_hold_until_they_end_or_are_revoked(catalog: catalog_store.CatalogStore) -> None:
    first, second = given(catalog, a_box()), given(catalog, a_box())
    assert first != second
    assert store_access.revoke(catalog.engine, first, now=NOON)
    assert not store_access.revoke(catalog.engine, first, now=NOON)
    states = {found.access_key: found.state(NOON) for found in store_access.listing(catalog.engine)}
    assert states == {first: "revoked", second: "valid"}
    assert store_access.find(catalog.engine, second).state(LATER) == "expired"
    assert set(store_access.overdue(catalog.engine, [first, second, "TLUNKNOWN"], now=NOON)) == {first, "TLUNKNOWN"}
    assert set(store_access.overdue(catalog.engine, [first, second], now=LATER)) == {first, second}
    with pytest.raises(LookupError):
        store_access.find(catalog.engine, "TLUNKNOWN")
    with pytest.raises(ValueError, match="ended before"):
        given(catalog, a_box(), NOON)


def test_no_secret_is_in_the_database(catalog: catalog_store.CatalogStore) -> None:
    columns = {column.name for column in store_access.credential_table.c}
    assert columns == {"access_key", "mailbox", "created_at", "expires_at", "revoked_at", "note"}
    assert {field.name for field in dataclasses.fields(store_access.StoreCredential)} == columns


def test_a_mailbox_is_closed_only_when_nobody_may_read_it(catalog: catalog_store.CatalogStore) -> None:
    box, engine = a_box(), catalog.engine
    key = given(catalog, box)
    assert store_access.standing(engine, now=NOON) == (box,)
    assert store_access.forsaken(engine, now=NOON) == ()
    assert not store_access.close(engine, box, now=NOON)
    assert store_access.forsaken(engine, now=LATER) == (box,)
    store_access.revoke(engine, key, now=NOON)
    assert store_access.forsaken(engine, now=NOON) == (box,)
    assert store_access.close(engine, box, now=NOON)
    assert store_access.forsaken(engine, now=NOON) == ()
    assert push.Positions(engine).all() == ()


@pytest.mark.parametrize("limits", [[], ["--all-districts", "--district", "500112"]])
def test_store_credentials_without_a_word_about_districts_are_refused(
    monkeypatch: pytest.MonkeyPatch, limits: list[str]
) -> None:
    monkeypatch.setattr(access_command, "_make", lambda *_given, **_named: pytest.fail("something was made"))
    given = ["create-store-credentials", "--agency", "a", "--sector", "ecology", *limits]
    refused = testing.CliRunner().invoke(access.app, given)
    assert refused.exit_code == 2
    assert "--all-districts" in refused.output


@pytest.mark.parametrize(
    ("limits", "districts"),
    [(["--all-districts"], None), (["--district", "500113", "--district", "500112"], ("500112", "500113"))],
)
def test_store_credentials_are_for_the_districts_that_were_said(
    monkeypatch: pytest.MonkeyPatch, limits: list[str], districts: tuple[str, ...] | None
) -> None:
    made: list[store_access.Mailbox] = []
    monkeypatch.setattr(access_command, "_make", lambda box, **_named: made.append(box))
    given = ["create-store-credentials", "--agency", "a", "--sector", "ecology", *limits]
    assert testing.CliRunner().invoke(access.app, given).exit_code == 0
    assert [box.districts for box in made] == [districts]


# What lies in them


@dataclasses.dataclass
class Shelf:
    """A store that knows its keys only."""

    hashes: dict[str, str]
    keys: set[str] = dataclasses.field(default_factory=set)
    copies: int = 0
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    #: What becomes of a read, by key.
    troubles: dict[str, object_store.ObjectStoreError] = dataclasses.field(default_factory=dict)
    #: What becomes of everything.
    away: object_store.ObjectStoreError | None = None

    def digest(self, bucket: str, key: str) -> None:
        if self.away is not None:
            raise self.away
        if key in self.troubles:
            raise self.troubles[key]
        if key.endswith(".minisig"):
            raise object_store.ObjectMissingError(key)

    def copy(self, bucket: str, key: str, *, to_bucket: str, to_key: str) -> object_store.StoredObject:
        self.digest(bucket, key)
        self.keys.add(to_key)
        self.copies += 1
        return object_store.StoredObject(to_bucket, to_key, 1, self.hashes.get(key, "0" * 64))

    def put_replace(self, bucket: str, key: str, body: bytes, *, media_type: str) -> None:
        self.keys.add(key)
        self.notes[key] = json.loads(body)

    def list(self, bucket: str, prefix: str) -> Iterator[object_store.StoredObject]:
        if self.away is not None:
            raise self.away
        return (object_store.StoredObject(bucket, key, 1) for key in sorted(self.keys) if key.startswith(prefix))

    def delete(self, bucket: str, key: str) -> None:
        self.keys.discard(key)


def shelf_of(catalog: catalog_store.CatalogStore) -> Shelf:
    with database.reading(catalog.engine) as connection:
        asset = catalog_store.asset_table.c
        hashes = {row.key: row.sha256 for row in connection.execute(sa.select(asset.key, asset.sha256))}
        item = catalog_store.item_table.c
        manifests = connection.execute(sa.select(item.manifest_key, item.manifest_sha256)).all()
    return Shelf({**hashes, **{row.manifest_key: row.manifest_sha256 for row in manifests}})


class Clock:
    """A clock that is set by hand."""

    now = NOON

    def __call__(self) -> dt.datetime:
        return self.now


def channel_of(
    catalog: catalog_store.CatalogStore, box: store_access.Mailbox, shelf: Any, home: Path, clock: Clock | None = None
) -> mailbox.MailboxChannel:
    return mailbox.MailboxChannel(
        box,
        catalog.engine,
        bucket="b",
        store=lambda: shelf,
        record=audit.AuditLog(home / "audit"),
        clock=clock or Clock(),
    )


def pushed(catalog: catalog_store.CatalogStore, box: store_access.Mailbox, shelf: Any, home: Path) -> push.Position:
    return push.Pusher(catalog=catalog).push(channel_of(catalog, box, shelf, home))


def items_in(shelf: Shelf) -> set[str]:
    """Items whose folder has a manifest, or anything else."""
    return {key.split("/")[3] for key in shelf.keys}


def own_items(catalog: catalog_store.CatalogStore, box: store_access.Mailbox) -> list[catalog_store.CatalogItem]:
    column = catalog_store.item_table.c
    statement = sa.select(catalog_store.item_table).where(column.sector.in_(box.sectors)).order_by(column.id)
    with database.reading(catalog.engine) as connection:
        return list(catalog.items_of(connection, statement))


def aside_of(catalog: catalog_store.CatalogStore) -> list[tuple[str, str]]:
    return [(one.item_id, one.reason) for one in push.SetAside(catalog.engine).all()]


@pytest.mark.parametrize("districts", [None, ["500100"], ["500229", "500103"]])
def test_a_mailbox_gets_what_the_rule_allows_and_nothing_else(
    catalog: catalog_store.CatalogStore, tmp_path: Path, districts: list[str] | None
) -> None:
    box = a_box(districts=districts)
    given(catalog, box)
    shelf = shelf_of(catalog)
    assert pushed(catalog, box, shelf, tmp_path).sequence == COUNT
    with database.reading(catalog.engine) as connection:
        rows = connection.execute(sa.select(catalog_store.item_table)).mappings().all()
    expected = set()
    for row in rows:
        codes = json.loads(row["document"])["properties"].get("cqeo:admin_codes", [])
        # By hand: the whole city's code stands for all that begin with 5001, any other for itself.
        own = [code[:4] if code.endswith("00") else code for code in districts or []]
        inside = bool(codes) and all(any(code.startswith(stem) for stem in own) for code in codes)
        if row["sector"] == "ecology" and (districts is None or inside):
            expected.add(row["id"])
    assert {key.split("/")[3] for key in shelf.keys} == expected
    assert expected
    assert all(key.startswith(box.prefix) for key in shelf.keys)
    copies = shelf.copies
    store_access.rewind(catalog.engine, box)
    assert pushed(catalog, box, shelf, tmp_path).sequence == COUNT
    assert shelf.copies == copies  # told again, it copies nothing again


UNREADABLE = object_store.StoreUnavailableError("500 read failed")
MISSING = object_store.ObjectMissingError("NoSuchKey")


@pytest.mark.parametrize("wrong", ["other content", UNREADABLE, MISSING], ids=["changed", "unreadable", "missing"])
def test_an_item_whose_content_is_wrong_is_set_aside_and_the_rest_goes_on(
    catalog: catalog_store.CatalogStore, tmp_path: Path, wrong: str | object_store.ObjectStoreError
) -> None:
    box, shelf = a_box(), shelf_of(catalog)
    given(catalog, box)
    bad, *others = own_items(catalog, box)
    file = bad.assets[-1]
    sound = shelf.hashes[file.key]
    if isinstance(wrong, str):
        shelf.hashes[file.key] = "0" * 64
    else:
        shelf.troubles[file.key] = wrong
    clock = Clock()
    channel = channel_of(catalog, box, shelf, tmp_path, clock)
    done = push.Pusher(catalog=catalog).push(channel)
    assert (done.sequence, done.failures) == (COUNT, 0)
    assert items_in(shelf) == {item.item_id for item in others}
    said = "is not what was published" if isinstance(wrong, str) else str(wrong)
    ((item_id, reason),) = aside_of(catalog)
    assert (item_id, said in reason) == (bad.item_id, True)
    (told,) = push.report(catalog, now=NOON)[box.channel]["set_aside"]
    assert (told["item"], told["revision"], told["since"]) == (bad.item_id, 1, NOON.isoformat())

    clock.now = NOON + dt.timedelta(seconds=60)
    channel.catch_up()  # nothing was put right yet
    assert [item_id for item_id, _ in aside_of(catalog)] == [bad.item_id]
    shelf.troubles.clear()
    shelf.hashes[file.key] = sound
    channel.catch_up()
    assert items_in(shelf) == {item.item_id for item in others}  # it was tried just now
    clock.now = NOON + dt.timedelta(seconds=120)
    channel.catch_up()
    assert items_in(shelf) == {item.item_id for item in (bad, *others)}
    assert aside_of(catalog) == []


def test_what_stays_set_aside_is_tried_more_and_more_rarely(
    catalog: catalog_store.CatalogStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, shelf, clock = a_box(), shelf_of(catalog), Clock()
    given(catalog, box)
    file = own_items(catalog, box)[0].assets[0]
    shelf.hashes[file.key] = "0" * 64
    channel = channel_of(catalog, box, shelf, tmp_path, clock)
    push.Pusher(catalog=catalog).push(channel)
    tried: list[int] = []
    put = channel.contents.put
    monkeypatch.setattr(channel.contents, "put", lambda *told: (tried.append(seconds), put(*told))[1])
    for seconds in range(0, 4 * 3600, 30):
        clock.now = NOON + dt.timedelta(seconds=seconds)
        channel.catch_up()
    assert tried[:5] == [60, 120, 240, 480, 960]
    assert tried[-1] - tried[-2] == 3600
    assert push.SetAside(catalog.engine).all()[0].since == NOON


def test_what_is_set_aside_is_tried_one_at_a_time_the_longest_due_first_also_while_the_store_is_away(
    catalog: catalog_store.CatalogStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, shelf, clock = a_box(), shelf_of(catalog), Clock()
    given(catalog, box)
    bad = own_items(catalog, box)[:3]
    for item in bad:
        shelf.hashes[item.assets[0].key] = "0" * 64
    pushed(catalog, box, shelf, tmp_path)
    clock.now = NOON + dt.timedelta(seconds=1)
    channel = channel_of(catalog, box, shelf, tmp_path, clock)  # after a start all are due at once
    tried: list[str] = []
    put = channel.contents.put
    monkeypatch.setattr(channel.contents, "put", lambda *told: (tried.append(told[1].item_id), put(*told))[1])
    for count in (1, 2, 3, 3):
        channel.catch_up()
        assert len(tried) == count
    assert sorted(tried) == sorted(item.item_id for item in bad)
    shelf.away = UNREADABLE
    clock.now += dt.timedelta(seconds=60)
    for _ in bad:
        with pytest.raises(push.ChannelError, match=str(UNREADABLE)):
            channel.catch_up()
    channel.catch_up()
    assert tried[3:] == tried[:3]


@dataclasses.dataclass
class Slow(Shelf):
    """A store that takes its time over what it finds damaged."""

    damaged: str = ""
    reads: threading.Event = dataclasses.field(default_factory=threading.Event)
    done: threading.Event = dataclasses.field(default_factory=threading.Event)

    def digest(self, bucket: str, key: str) -> None:
        if key == self.damaged:
            self.reads.set()
            self.done.wait(10)
        super().digest(bucket, key)


def test_a_slow_read_of_what_is_set_aside_comes_last_and_holds_up_nothing_else(
    catalog: catalog_store.CatalogStore, tmp_path: Path
) -> None:
    box = a_box()
    given(catalog, box)
    bad = own_items(catalog, box)[0]
    push.SetAside(catalog.engine).put(box.channel, bad.item_id, 1, reason="damaged", now=NOON)
    shelf = Slow(shelf_of(catalog).hashes)
    looks, stop = itertools.count(), threading.Event()
    channels = {box.channel: channel_of(catalog, box, shelf, tmp_path)}
    # Ordinary delivery does not meet the damage: only what is tried again does.
    push.Positions(catalog.engine).advance(box.channel, COUNT - 1)
    shelf.damaged = bad.assets[0].key
    run = push.Pusher(catalog=catalog).run
    runner = threading.Thread(target=run, args=(lambda: next(looks) >= 0 and channels, stop), kwargs={"poll": 0.01})
    runner.start()
    try:
        assert shelf.reads.wait(10)
        assert push.Positions(catalog.engine).read(box.channel).sequence == COUNT
        seen = next(looks)
        stop.wait(0.2)
        assert next(looks) > seen + 5
    finally:
        shelf.done.set()
        stop.set()
        runner.join()
    assert bad.item_id in items_in(shelf)


def test_once_tries_everything_set_aside_before_once_and_after_all_channels(
    catalog: catalog_store.CatalogStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, other, shelf = a_box(), a_box("cq-other"), shelf_of(catalog)
    given(catalog, box)
    given(catalog, other)
    bad = own_items(catalog, box)[:2]
    for item in bad:
        shelf.hashes[item.assets[0].key] = "0" * 64
    pushed(catalog, box, shelf, tmp_path)
    channels = {own.channel: channel_of(catalog, own, shelf, tmp_path) for own in (box, other)}
    tried: list[tuple[str, int]] = []
    for channel in channels.values():
        catch_up = channel.catch_up

        def noted(name: str = channel.name, catch_up: Callable[[], None] = catch_up) -> None:
            tried.append((name, push.Positions(catalog.engine).read(other.channel).sequence))
            catch_up()

        monkeypatch.setattr(channel, "catch_up", noted)
    copies = shelf.copies
    with pytest.raises(RuntimeError, match="not everything was taken"):
        push_command._once(push.Pusher(catalog=catalog), channels)
    assert tried == [(box.channel, COUNT)] * 2  # what the other sets aside now was tried now
    assert shelf.copies > copies
    assert len(aside_of(catalog)) == 4


def test_a_note_told_again_with_another_time_stands_instead_of_the_first(
    catalog: catalog_store.CatalogStore, tmp_path: Path
) -> None:
    box, shelf = a_box(), shelf_of(catalog)
    given(catalog, box)
    channel = channel_of(catalog, box, shelf, tmp_path)
    push.Pusher(catalog=catalog).push(channel)
    item = own_items(catalog, box)[0]
    for write, name in ((channel.contents.mark, "SUPERSEDED.json"), (channel.contents.take_back, "WITHDRAWN.json")):
        for at in ("2025-09-02T00:00:00Z", "2025-09-03T00:00:00Z"):
            assert write(box, item, {"occurred_at": at}, shelf)  # type: ignore[arg-type]
            (note,) = [said for key, said in shelf.notes.items() if key.endswith(name)]
            assert note == {"occurred_at": at}


@pytest.mark.parametrize(
    "away",
    [UNREADABLE, object_store.ObjectMissingError("NoSuchBucket"), object_store.AccessRefusedError("403")],
    ids=["unavailable", "no bucket", "refused"],
)
def test_a_store_that_is_not_to_be_had_holds_the_mailbox_and_sets_nothing_aside(
    catalog: catalog_store.CatalogStore, tmp_path: Path, away: object_store.ObjectStoreError
) -> None:
    box, shelf = a_box(), shelf_of(catalog)
    given(catalog, box)
    shelf.away = away
    failed = pushed(catalog, box, shelf, tmp_path)
    assert (failed.failures, aside_of(catalog)) == (1, [])
    assert failed.sequence < COUNT
    assert str(away) in str(failed.reason)
    shelf.away = None
    assert pushed(catalog, box, shelf, tmp_path).sequence == COUNT
    assert items_in(shelf) == {item.item_id for item in own_items(catalog, box)}


def test_a_store_that_lists_and_reads_nothing_holds_the_mailbox(
    catalog: catalog_store.CatalogStore, tmp_path: Path
) -> None:
    box, shelf = a_box(), shelf_of(catalog)
    given(catalog, box)
    shelf.troubles = dict.fromkeys((*shelf.hashes, *(item.item_key for item in own_items(catalog, box))), UNREADABLE)
    for item in own_items(catalog, box):
        shelf.troubles[f"{item.manifest_key}.minisig"] = UNREADABLE
    assert pushed(catalog, box, shelf, tmp_path).failures == 1
    assert aside_of(catalog) == []


def test_what_was_withdrawn_or_whose_mailbox_was_closed_is_set_aside_no_longer(
    catalog: catalog_store.CatalogStore, tmp_path: Path
) -> None:
    box, shelf = a_box(), shelf_of(catalog)
    key = given(catalog, box)
    bad, other, *_ = own_items(catalog, box)
    for item in (bad, other):
        shelf.hashes[item.assets[0].key] = "0" * 64
    clock = Clock()
    channel = channel_of(catalog, box, shelf, tmp_path, clock)
    push.Pusher(catalog=catalog).push(channel)
    assert len(aside_of(catalog)) == 2
    change = sa.update(catalog_store.item_table).where(catalog_store.item_table.c.id == bad.item_id)
    with catalog.engine.begin() as connection:
        connection.execute(change.values(state="withdrawn"))
    clock.now = NOON + dt.timedelta(seconds=60)
    try:
        for _ in range(2):
            channel.catch_up()
    finally:
        with catalog.engine.begin() as connection:
            connection.execute(change.values(state="published"))
    assert [item_id for item_id, _ in aside_of(catalog)] == [other.item_id]
    assert bad.item_id not in items_in(shelf)
    store_access.revoke(catalog.engine, key, now=NOON)
    assert store_access.close(catalog.engine, box, now=NOON)
    assert aside_of(catalog) == []


def test_nothing_is_put_into_a_closed_mailbox(catalog: catalog_store.CatalogStore, tmp_path: Path) -> None:
    box = a_box()
    store_access.revoke(catalog.engine, given(catalog, box), now=NOON)
    store_access.close(catalog.engine, box, now=NOON)
    shelf = shelf_of(catalog)
    pushed(catalog, box, shelf, tmp_path)
    assert shelf.keys == set()


def test_what_is_being_copied_while_the_mailbox_is_closed_and_emptied_does_not_stay(
    catalog: catalog_store.CatalogStore, tmp_path: Path
) -> None:
    box, shelf = a_box(), shelf_of(catalog)
    key, item = given(catalog, box), own_items(catalog, box)[0]
    contents = channel_of(catalog, box, shelf, tmp_path).contents
    copy = shelf.copy

    def overtaken(*told: str, **to: str) -> object_store.StoredObject:
        if store_access.revoke(catalog.engine, key, now=NOON):
            store_access.close(catalog.engine, box, now=NOON)
            contents.empty(box, shelf)  # type: ignore[arg-type]
        return copy(*told, **to)

    shelf.copy = overtaken  # type: ignore[method-assign, assignment]
    assert not contents.put(box, item, shelf)  # type: ignore[arg-type]
    assert shelf.copies > 1
    assert shelf.keys == set()
    assert not contents.any()


def test_what_expired_is_removed_and_the_rest_stays(catalog: catalog_store.CatalogStore, tmp_path: Path) -> None:
    box = a_box()
    given(catalog, box)
    shelf = shelf_of(catalog)
    pushed(catalog, box, shelf, tmp_path)
    items = sorted({key.split("/")[3] for key in shelf.keys})
    column = catalog_store.item_table.c
    change = sa.update(catalog_store.item_table).where(column.id == items[0])
    with catalog.engine.begin() as connection:
        connection.execute(change.values(state="expired"))
    try:
        contents = mailbox.Contents(catalog.engine, bucket="b", record=audit.AuditLog(tmp_path / "audit"))
        assert contents.remove_gone(shelf) == 1  # type: ignore[arg-type]
        assert contents.remove_gone(shelf) == 0  # type: ignore[arg-type]
        assert {key.split("/")[3] for key in shelf.keys} == set(items[1:])
    finally:
        with catalog.engine.begin() as connection:
            connection.execute(change.values(state="published"))


# The file of the embedded store


def test_who_is_dismissed_stays_in_the_file_without_rights_or_secret_until_the_next_start(tmp_path: Path) -> None:
    path, owner = tmp_path / "identities.json", object_store.Credentials("TLOWNER", "owner-secret")
    object_store_identities.write(path, owner, now=NOON)
    guests = {
        name: object_store_identities.guest(access_key=name, bucket="tl-agencies", prefix="a/b/", expires_at=until)
        for name, until in (("TLONE", LATER), ("TLTWO", LATER), ("TLOVER", NOON))
    }
    for guest in guests.values():
        object_store_identities.add(path, guest)
    with pytest.raises(ValueError, match="given before"):
        object_store_identities.add(path, guests["TLONE"])
    assert object_store_identities.disable(path, ["TLONE", "installation", "TLNOBODY"]) == (guests["TLONE"],)
    text = path.read_text()
    assert guests["TLONE"].credentials.secret_key not in text
    entries = {entry["name"]: entry for entry in json.loads(text)["identities"]}
    gone = entries["TLONE"]
    assert (gone["disabled"], gone["actions"], gone["policyNames"]) == (True, [], [])
    assert entries["installation"]["actions"] == ["Admin", "Read", "Write", "List", "Tagging"]
    assert object_store_identities.guests(path) == (guests["TLTWO"], guests["TLOVER"])
    with pytest.raises(ValueError, match="given before"):
        object_store_identities.add(path, guests["TLONE"])
    object_store_identities.write(path, owner, now=NOON)
    assert {entry["name"] for entry in json.loads(path.read_text())["identities"]} == {"installation", "TLTWO"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert guests["TLTWO"].credentials.secret_key not in repr(guests["TLTWO"])
