"""The daily care does each step whatever becomes of the others, and /health tells what is known and what is not."""

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra import catalog_store, database, object_store, settings
from infra.cli import push as push_command
from infra.delivery import audit, care, health, notices, push, reconciliation, webhook
from infra.demonstration import modelled_catalogue
from infra.stages import scheduling
from products import stac, timeliness_plot

NOON = dt.datetime(2026, 8, 1, 0, 20, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
STEPS = ("seal", "timeliness", "reconcile", "backup", "export")


@pytest.fixture
def charge(tmp_path: Path) -> care.Charge:
    url = f"sqlite:///{tmp_path / 't.sqlite'}"
    engine = database.engine(url)
    for metadata in (catalog_store.metadata, push.metadata, notices.metadata):
        metadata.create_all(engine)
    with engine.begin() as connection:
        catalog_store.create_spatial_index(connection)
    store = object_store.ObjectStore(
        endpoint="http://127.0.0.1:9", credentials=object_store.Credentials("access", "secret")
    )
    stores = reconciliation.Stores(catalog_store.CatalogStore(engine), store, ("p",), "c")
    return care.Charge(stores=stores, home=tmp_path, database_url=url)


def step_that(raises: Exception | None, done: list[str], name: str) -> Callable[..., dict[str, Any]]:
    def step(_charge: care.Charge, _now: dt.datetime) -> dict[str, Any]:
        done.append(name)
        if raises is not None:
            raise raises
        return {"figure": 1}

    return step


@pytest.mark.parametrize("broken", STEPS)
def test_a_step_that_fails_is_told_of_and_hides_no_other(
    charge: care.Charge, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    done: list[str] = []
    steps = {
        name: step_that(care.CareError("it is broken\nhere") if name == broken else None, done, name) for name in STEPS
    }
    monkeypatch.setattr(care, "STEPS", steps)
    found = care.run_all(charge, now=NOON)
    assert tuple(done) == STEPS
    assert [name for name, outcome in found.items() if isinstance(outcome, Exception)] == [broken]
    told = health.report(charge.stores.catalog, home=charge.home, now=NOON)
    assert {name: one["status"] for name, one in told["care"].items()} == dict.fromkeys(STEPS, "ok") | {
        broken: "failed"
    }
    assert told["status"] == "degraded"
    assert told["reasons"] == [f"the daily care failed at {broken}: it is broken here"]
    with pytest.raises(care.CareError):
        care.run(broken, charge, now=NOON)


def test_a_failure_does_not_forget_when_it_went_well_last(charge: care.Charge) -> None:
    good = care.backup_outcome({"at": "20260731t002000z", "revisions": 7, "size": 9, "sha256": "x"})
    care.note(charge.home, "backup", now=NOON - DAY, outcome=good)
    care.note(charge.home, "backup", now=NOON, failure="the store is away")
    told = health.report(charge.stores.catalog, home=charge.home, now=NOON)
    assert told["backup"] == {
        "at": "2026-07-31T00:20:00+00:00", "backup": "20260731t002000z", "revisions": 7, "size": 9
    }  # fmt: skip
    assert told["care"]["backup"] == {
        "at": "2026-08-01T00:20:00+00:00", "status": "failed", "reason": "the store is away"
    }  # fmt: skip


def test_where_nothing_is_known_health_says_so(charge: care.Charge) -> None:
    told = health.report(charge.stores.catalog, home=charge.home, now=NOON)
    for name in ("audit_seal", "backup", "reconciliation", "push", "collections", "oldest_outstanding_seconds"):
        assert told[name] == "not measured", name
    assert told["care"] == dict.fromkeys(STEPS, "not measured")
    assert told["status"] == "ok"
    charge.stores.catalog.put_collection(stac.build_collection(next(modelled_catalogue.collections())))
    told = health.report(charge.stores.catalog, home=charge.home, now=NOON)
    assert told["collections"] == {"land-cover": "not measured"}


def test_health_names_the_newest_of_each_collection_lags_and_suspended_webhooks(charge: care.Charge) -> None:
    catalog = charge.stores.catalog
    for minutes, entry in zip((90, 60), modelled_catalogue.entries(12, seed=1), strict=False):
        entry = dataclasses.replace(entry, collection="land-cover", end=NOON - 2 * dt.timedelta(minutes=minutes))
        catalog.publish(entry, published_at=NOON - dt.timedelta(minutes=minutes))
    hook, _secret = webhook.add(
        catalog, charge.home, agency="a", url="https://h.example", sectors=["weather"], from_start=True, now=NOON
    )
    push.Positions(catalog.engine).advance(hook.channel, 1)
    webhook.set_active(catalog.engine, hook.id, reason="failed for 3 days", now=NOON - DAY)
    told = health.report(catalog, home=charge.home, now=NOON)
    assert told["collections"]["land-cover"] == {"content_age_seconds": 7200.0, "publication_age_seconds": 3600.0}
    channel = told["push"][hook.channel]
    assert (channel["position"], channel["outstanding"], channel["lag_seconds"]) == (1, 1, 3600.0)
    assert told["webhooks_suspended"] == [
        {"id": hook.id, "agency": "a", "reason": "failed for 3 days", "since": "2026-07-31T00:20:00.000000Z"}
    ]


def reasons(charge: care.Charge, now: dt.datetime) -> list[str]:
    """What is wrong, as an operator reads it; whoever has no key hears the same in a word."""
    told = health.report(charge.stores.catalog, home=charge.home, now=now)
    word = "degraded" if told["reasons"] else "ok"
    assert told["status"] == health.status(charge.stores.catalog, home=charge.home, now=now) == word
    return list(told["reasons"])


def test_a_channel_that_fails_for_minutes_degrades_and_one_that_recovers_or_is_gone_does_not(
    charge: care.Charge,
) -> None:
    positions = push.Positions(charge.stores.catalog.engine)
    positions.fail("mqtt", "refused", now=NOON)
    assert reasons(charge, NOON + dt.timedelta(seconds=300)) == []
    later = NOON + dt.timedelta(seconds=301)
    assert reasons(charge, later) == ["mqtt has failed for 301 s: refused"]
    positions.advance("mqtt", 0)
    assert reasons(charge, later) == []
    positions.fail("mqtt", "refused", now=NOON)
    # Its broker is configured no more.
    push_command._Channels(settings.Settings(home=charge.home), charge.stores.catalog, from_beginning=False)
    assert reasons(charge, later) == []


def test_a_suspended_webhook_degrades_once_whatever_its_channels_failed_at(charge: care.Charge) -> None:
    catalog = charge.stores.catalog
    hook, _secret = webhook.add(catalog, charge.home, agency="a", url="https://h.example", sectors=["weather"])
    positions = push.Positions(catalog.engine)
    for name in (hook.channel, push.notice_channel(hook.channel)):
        positions.fail(name, "gone", now=NOON - 4 * DAY)
    assert len(reasons(charge, NOON)) == 2
    webhook.set_active(catalog.engine, hook.id, reason="failed for 3 days", now=NOON)
    assert reasons(charge, NOON) == [f"webhook {hook.id} of a is suspended: failed for 3 days"]


def test_what_a_channel_set_aside_degrades_until_it_is_settled(charge: care.Charge) -> None:
    aside = push.SetAside(charge.stores.catalog.engine)
    for item in ("one", "two"):
        aside.put("mailbox-a", item, 1, reason="it is not what was published", now=NOON)
    told = "mailbox-a set 2 aside, the first one revision 1: it is not what was published"
    assert reasons(charge, NOON) == [told]
    for one in aside.all():
        aside.settle(one)
    assert reasons(charge, NOON) == []


def test_care_that_stopped_or_never_ran_degrades_after_a_day_and_a_half(charge: care.Charge) -> None:
    assert reasons(charge, NOON) == []
    charge.stores.catalog.publish(next(modelled_catalogue.entries(1, seed=1)), published_at=NOON)
    announcements = charge.stores.catalog.undelivered()
    charge.stores.catalog.mark_delivered(announcements[0].sequence, delivered_at=NOON)
    age = NOON - announcements[0].created_at
    assert reasons(charge, NOON - age + dt.timedelta(hours=36)) == []
    assert reasons(charge, NOON - age + dt.timedelta(hours=36.1)) == ["the daily care has never run"]
    for step in STEPS:
        care.note(charge.home, step, now=NOON, outcome={})
    care.note(charge.home, "backup", now=NOON + DAY, outcome={})
    assert reasons(charge, NOON + dt.timedelta(hours=36)) == []
    late = ", ".join(step for step in STEPS if step != "backup")
    assert reasons(charge, NOON + dt.timedelta(hours=37)) == [f"the daily care did not come to {late} for 37 h"]
    (charge.home / "care" / "seal.json").write_text('{"at": "2026-08-01T00:20:00", "status": "ok"}')
    assert "seal" not in reasons(charge, NOON + dt.timedelta(hours=37))[0]


def test_the_record_is_sealed_once_it_holds_and_never_when_it_does_not(charge: care.Charge) -> None:
    assert care.run("seal", charge, now=NOON) == {"lines": 0, "sealed_now": 0}
    record = audit.AuditLog(charge.home / "audit")
    for _ in range(3):
        record.record(audit.Entry(event="feed", decision="allowed"), now=NOON - DAY)
    assert care.run("seal", charge, now=NOON) == {"lines": 3, "sealed_now": 3}
    assert care.run("seal", charge, now=NOON) == {"lines": 3, "sealed_now": 0}
    seal = health.report(charge.stores.catalog, home=charge.home, now=NOON)["audit_seal"]
    assert (seal["day"], seal["lines"]) == ("2026-07-31", 3)
    day = charge.home / "audit" / "2026-07-31.jsonl"
    day.write_bytes(day.read_bytes().replace(b"allowed", b"refused", 1))
    with pytest.raises(care.CareError, match="does not hold"):
        care.run("seal", charge, now=NOON)


def test_all_is_exported_once_a_month_and_else_what_changed_since_the_export_that_went_well(
    charge: care.Charge, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    fault: list[Exception] = []

    def exported(*_given: Any, since: Any, **_named: Any) -> Any:
        made.append(since)
        if fault:
            raise fault.pop()
        return care.export.Export(items=1, files=1, written=1, sequence=len(made))

    monkeypatch.setattr(care.export, "export", exported)
    first = dt.datetime(2026, 3, 1, 0, 20, tzinfo=dt.UTC)
    assert care.run("export", charge, now=first)["month"] == "2026-02"
    care.run("export", charge, now=first + DAY)
    fault.append(object_store.ObjectStoreError("the store is away"))
    with pytest.raises(object_store.ObjectStoreError):
        care.run("export", charge, now=first + 2 * DAY)
    care.run("export", charge, now=first + 3 * DAY)
    # From the one that went well, and a day before it, for expiry has no position.
    assert made == [None, (1, first - DAY), (2, first), (2, first)]
    april = dt.datetime(2026, 4, 1, 0, 20, tzinfo=dt.UTC)
    fault.append(object_store.ObjectStoreError("the store is away"))
    with pytest.raises(object_store.ObjectStoreError):
        care.run("export", charge, now=april)
    assert care.run("export", charge, now=april + DAY)["month"] == "2026-03"
    assert made[4:] == [None, None]


def test_a_note_of_an_export_that_states_no_position_leads_to_a_whole_one(
    charge: care.Charge, monkeypatch: pytest.MonkeyPatch
) -> None:
    care.note(charge.home, "export", now=NOON, outcome={"month": "2026-07", "items": 3})
    made: list[Any] = []

    def exported(*_given: Any, since: Any, **_named: Any) -> Any:
        made.append(since)
        return care.export.Export(items=1, files=1, written=1, sequence=1)

    monkeypatch.setattr(care.export, "export", exported)
    care.run("export", charge, now=NOON + DAY)
    assert made == [None]


def test_the_scheduler_and_the_care_name_the_same_steps() -> None:
    assert tuple(care.STEPS) == STEPS == scheduling.CARE_STEPS


def test_a_channel_begins_at_the_present_unless_told_otherwise_and_misses_nothing_from_then_on(
    charge: care.Charge,
) -> None:
    catalog = charge.stores.catalog
    entries = tuple(modelled_catalogue.entries(9, seed=1))
    for entry in entries[:5]:
        catalog.publish(entry, published_at=NOON)
    chosen = settings.Settings(home=charge.home, mqtt_url="mqtt://127.0.0.1:1")
    positions = push.Positions(catalog.engine)
    push_command._Channels(chosen, catalog, from_beginning=False)
    assert {one.channel: one.sequence for one in positions.all()} == {
        "mqtt": 5,
        "mqtt-test": 5,
        "notices-mqtt": 0,
    }
    for entry in entries[5:]:
        catalog.publish(entry, published_at=NOON)
    # The broker was away all the while, and the command is started anew: the position stays that of the first start.
    push_command._Channels(chosen, catalog, from_beginning=False)
    push_command._Channels(chosen, catalog, from_beginning=True)
    assert positions.read("mqtt").sequence == 5
    told = push.outgoing(catalog, after=5, public_url="")
    assert [one.item.item_id for one in told] == [entry.item_id for entry in entries[5:]]
    wis2 = chosen.model_copy(update={"wis2": True, "public_url": "https://s.example"})
    push_command._Channels(wis2, catalog, from_beginning=True)
    assert positions.read("wis2").sequence == 0


def test_the_picture_of_timeliness_counts_by_day_and_is_the_same_again() -> None:
    days = [dt.date(2026, 7, 1 + at % 3) for at in range(60)]
    minutes = [float(at) for at in range(60)]
    first = timeliness_plot.plot(days, minutes, target=30.0)
    assert first.startswith(b"\x89PNG")
    assert timeliness_plot.plot(days, minutes, target=30.0) == first
    assert timeliness_plot.plot(days, minutes, target=31.0) != first
    rows = timeliness_plot.by_day(days, np.array(minutes))
    # Day 1 holds 0, 3, ..., 57: its median is 28.5, and 95 % of the way along is 0.05 of a step of 3 beyond 54.
    assert rows[0] == (dt.date(2026, 7, 1), pytest.approx(28.5), pytest.approx(54.15))
    with pytest.raises(ValueError, match="no profiles"):
        timeliness_plot.plot([], [], target=30.0)


def test_what_is_noted_is_whole_json_a_person_can_read(charge: care.Charge) -> None:
    care.note(charge.home, "seal", now=NOON, outcome={"lines": 3})
    text = (charge.home / "care" / "seal.json").read_text(encoding="utf-8")
    assert json.loads(text)["went_well"] == {"at": "2026-08-01T00:20:00+00:00", "lines": 3}
    (charge.home / "care" / "seal.json").write_text("{half", encoding="utf-8")
    assert health.report(charge.stores.catalog, home=charge.home, now=NOON)["care"]["seal"] == "not measured"
