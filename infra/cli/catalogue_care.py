"""Commands that look after the catalogue: withdrawal, retention, reconciliation, backup, exports."""

import contextlib
import dataclasses
import datetime as dt
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from infra import settings

if TYPE_CHECKING:
    from infra.delivery import fixity as fixity_of
    from infra.delivery import reconciliation
    from infra.delivery import replay as replays_of
    from infra.stages import workspace

AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


def withdraw(
    item: str = typer.Argument(..., help="Identity of the item, as `terralimb catalogue search` shows it."),
    reason: str = typer.Option(..., "--reason", help="Why, one line; everybody who asks for the item reads it."),
    revision: int | None = typer.Option(
        None, "--revision", min=1, help="Which revision, also one that was superseded; the current one by default."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Take an item back: it leaves search, its files answer 410 with the reason, and the feed announces it.

    The current revision alone is taken back; superseded ones stay to be had unless they are named by --revision.
    Everybody who was given a link is listed in HOME/withdrawals/ITEM-r<revision>.json, to be told. Run again after an
    interruption, it completes what is missing.
    """
    from infra.delivery import withdrawal

    try:
        said = withdrawal.checked_reason(reason)
    except withdrawal.ReasonError as error:
        raise typer.BadParameter(f"--reason: {error}") from error
    with attached() as here:
        path, document = withdrawal.withdraw(
            item,
            revision,
            reason=said,
            home=here.settings.home,
            store=here.store,
            catalog=here.catalog,
            catalogue_bucket=here.settings.bucket("catalogue"),
            now=_now(),
        )
    if as_json:
        _print({"file": str(path), **document})
        return
    before = "is withdrawn" if document["reason"] == said else "was withdrawn before; the first reason stands"
    _say(f"{item} revision {document['revision']} {before}: {document['reason']}")
    for told in document["recipients"]:
        open_until = f", a link holds until {told['open_until']}" if "open_until" in told else ""
        _say(f"to be told: {told['agency']} (key {told['key_id']}), last link {told['last']}{open_until}")
    _say(f"{len(document['recipients'])} to be told: {path}")


def hold(
    item: str = typer.Argument(..., help="Identity of the item."),
    reason: str = typer.Option(..., "--reason", help="Why."),
) -> None:
    """Put an item under legal hold: retention removes nothing of it, whatever its time."""
    from infra import catalog_store

    with attached() as here:
        placed = catalog_store.Custody(here.catalog).hold(item, reason=reason, placed_at=_now())
    _say(f"{item} is held." if placed else f"{item} was held before; the first reason stands.")


def release(item: str = typer.Argument(..., help="Identity of the item.")) -> None:
    """End the legal hold of an item."""
    from infra import catalog_store

    with attached() as here:
        if not catalog_store.Custody(here.catalog).release(item):
            raise LookupError(f"{item} is under no hold")
    _say(f"{item} is held no longer.")


def retention_plan(
    out: Path | None = typer.Option(
        None, "--out", dir_okay=False, help="Plan to write; HOME/retention/plan-<time>.json where not given."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """List and sign what may be removed because its time is over; nothing is removed.

    Look at the plan, then run `terralimb catalogue retention-run PLAN` while it holds (7 days as shipped).
    """
    from infra import signing
    from infra.delivery import retention, retention_rules

    now = _now()
    with attached() as here:
        rules = retention_rules.read(here.settings.retention or retention_rules.SHIPPED)
        made = retention.plan(here.catalog, rules, now=now, sign=signing.signer(here.settings.home))
        path = out or here.settings.home / "retention" / f"plan-{now:%Y%m%dt%H%M%Sz}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f"{path.name}.minisig").write_bytes(made.signature)
        path.write_bytes(made.body)
    objects = [listed for revision in made.plan.revisions for listed in revision.objects]
    size = sum(listed.size for listed in objects)
    if as_json:
        _print({"file": str(path), "revisions": len(made.plan.revisions), "objects": len(objects), "size": size})
        return
    for revision in made.plan.revisions:
        _say(f"{revision.item_id} r{revision.revision}  due {revision.due_at[:10]}  {revision.reason}")
    _say(f"{len(made.plan.revisions)} revisions, {len(objects)} objects, {size:,} octets: {path}")


def retention_run(
    plan: Path = typer.Argument(..., exists=True, dir_okay=False, help="Plan of `retention-plan`, .minisig beside it."),
    as_json: bool = AS_JSON,
) -> None:
    """Remove the files a signed plan lists, as far as the catalogue still agrees; hashes, sizes and times stay."""
    from infra import deletion_plan
    from infra.delivery import retention

    signature = plan.with_name(f"{plan.name}.minisig")
    if not signature.exists():
        raise deletion_plan.PlanError(f"{plan} has no signature beside it: expected {signature}")
    with attached() as here:
        done = retention.execute(
            plan.read_bytes(),
            signature.read_bytes(),
            home=here.settings.home,
            store=here.store,
            catalog=here.catalog,
            catalogue_bucket=here.settings.bucket("catalogue"),
            now=_now(),
        )
    if as_json:
        _print(dataclasses.asdict(done))
        return
    for kept in done.kept:
        _say(f"stays  {kept}")
    _say(f"{done.expired} revisions expired, {done.deleted} objects removed, {done.size:,} octets.")


def reconcile(
    repair: bool = typer.Option(
        False,
        "--repair",
        help="Deliver announcements and pointers anew, sign what lost its signature, enter missing collections, "
        "give up uploads begun a week ago; never delete an object.",
    ),
    deep: bool = typer.Option(
        False,
        "--deep",
        help="Read every object of current and superseded revisions too, and compare hashes and signatures: "
        "at 100 MB/s, 3 hours a terabyte. The daily care reads a thirtieth a day.",
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Compare database, store and feed: three counts and every difference.

    Damage that keeps the length of an object is found by reading it (--deep, kind content_wrong); what was found so
    before is read again each time. Nothing repairs it: publish the product again, or bring the object back from a copy.

    Exit status 0: they agree. 1: they differ.
    """
    from infra.delivery import fixity, reconciliation

    with attached() as here:
        found = reconciliation.reconcile(_stores(here), now=_now(), repair=repair)
        # Should reading fail, what was compared is told all the same, with what was known to be damaged.
        known = fixity.known(here.settings.home)
        reconciliation.write_report(
            here.settings.home, dataclasses.replace(found, differences=found.differences + known)
        )
        read = _read(here, deep=deep)
        found = dataclasses.replace(found, differences=found.differences + read.differences)
        reconciliation.write_report(here.settings.home, found)
    if as_json:
        document = dataclasses.asdict(found)
        for name in ("differences", "repaired"):
            document[name] = [one._asdict() for one in getattr(found, name)]
        _print(document | {"read": read.read, "read_size": read.size})
    else:
        for one in found.repaired:
            _say(f"repaired  {one.kind}  {one.place}  {one.detail}")
        for one in found.differences:
            _say(f"{one.kind}  {one.place}  {one.detail}")
        _say(f"database {found.database} objects, store {found.store}; feed {found.feed} of {found.announcements}")
        if deep:
            _say(f"read {read.read} objects, {read.size:,} octets: {len(read.differences)} not as published")
    if found.differences:
        raise typer.Exit(1)


def _read(here: "workspace.Workspace", *, deep: bool) -> "fixity_of.Fixity":
    """Read every object, or those that were found wrong before."""
    from infra import signing
    from infra.cli import progress
    from infra.delivery import fixity

    stores, home = _stores(here), here.settings.home
    listed = fixity.objects(stores) if deep else fixity.at(stores, fixity.known_wrong(home))
    with progress.octets("reading what is published", sum(one.size or 0 for one in listed)) as advance:
        return fixity.check(stores, listed, trusted=signing.public_keys(home), advance=advance)


def backup(as_json: bool = AS_JSON) -> None:
    """Copy the embedded database into the store under backup/<time>/, with its hash, signed.

    Keep HOME/keys elsewhere: no secret is part of a backup. PostgreSQL is backed up with pg_dump.
    """
    from infra import signing
    from infra.delivery import backup as backups
    from infra.delivery import care as caring

    with attached() as here:
        now = _now()
        manifest = backups.back_up(
            here.settings.resolved_database_url(),
            store=here.store,
            catalogue_bucket=here.settings.bucket("catalogue"),
            sign=signing.signer(here.settings.home),
            now=now,
        )
        caring.note(here.settings.home, "backup", now=now, outcome=caring.backup_outcome(manifest))
    if as_json:
        _print(manifest)
        return
    _say(f"backup/{manifest['at']}/: {manifest['revisions']} revisions, {manifest['size']:,} octets")


def restore(
    into: Path = typer.Option(..., "--into", dir_okay=False, help="Database file to write; it must not be there."),
    at: str | None = typer.Option(None, "--at", help="Time in the key of the backup; the newest where not given."),
    trust: Path | None = typer.Option(
        None, "--trust", exists=True, dir_okay=False, help="List of public keys; those of this home where not given."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Bring a backup of the database back into a file, verified before it stands under its name.

    What happened after the backup is entered again: withdrawals and publications from the feed in the store, keys and
    store credentials taken back from the record in HOME/audit. Lost is what else was done after the backup: keys made,
    notices given, webhooks added or suspended, holds placed.

    Stop the service first, move the old HOME/terralimb.sqlite away together with HOME/terralimb.sqlite-wal and
    HOME/terralimb.sqlite-shm, for SQLite would write what they hold into the new one and damage it. Then put the file
    in its place and run `terralimb catalogue reconcile`.
    """
    from infra import signing
    from infra.delivery import backup as backups

    with attached() as here:
        keys = (
            signing.public_keys(here.settings.home)
            if trust is None
            else signing.keys_of(json.loads(trust.read_text(encoding="utf-8")))
        )
        manifest, replayed = backups.restore(
            into,
            store=here.store,
            catalogue_bucket=here.settings.bucket("catalogue"),
            trusted=keys,
            record=here.settings.home / "audit",
            now=_now(),
            at=at,
        )
    if as_json:
        _print({**manifest, "replayed": dataclasses.asdict(replayed)})
    else:
        _say(f"{into}: the backup of {manifest['at']}, {manifest['revisions']} revisions")
        _say_replayed(replayed)
    _warn_of_loss(replayed)
    _say_aside(
        "before the file takes the place of HOME/terralimb.sqlite, stop the service and move the old one away together "
        "with terralimb.sqlite-wal and terralimb.sqlite-shm beside it: SQLite would damage the new one with them"
    )


def replay(as_json: bool = AS_JSON) -> None:
    """Enter what happened after a backup into a database brought back by other tools, such as pg_restore.

    `terralimb catalogue restore` does so itself. Withdrawals and publications come from the feed in the store, keys
    and store credentials taken back from the record in HOME/audit. Lost is what else was done after the
    backup: keys made, notices given, webhooks added or suspended, holds placed. Run it before the service is started;
    run again, it changes nothing.
    """
    from infra import signing
    from infra.delivery import replay as replays

    with attached() as here:
        done = replays.replay(
            here.catalog,
            store=here.store,
            catalogue_bucket=here.settings.bucket("catalogue"),
            record=here.settings.home / "audit",
            trusted=signing.public_keys(here.settings.home),
            now=_now(),
        )
    if as_json:
        _print(dataclasses.asdict(done))
    else:
        _say_replayed(done)
    _warn_of_loss(done)


def _say_replayed(done: "replays_of.Replay") -> None:
    _say(
        f"entered again: {done.withdrawn} withdrawals, {done.published} publications; taken back again: "
        f"{done.keys_revoked} keys, {done.store_credentials_revoked} store credentials"
    )


def _warn_of_loss(done: "replays_of.Replay") -> None:
    """Say on the other channel what somebody has to do by hand."""
    if done.publish_again:
        _say_aside(
            f"{len(done.publish_again)} publications came after the backup, their files are not all in the store as "
            f"signed, and they must be published again: {', '.join(done.publish_again)}"
        )
    if done.unknown:
        _say_aside(f"{len(done.unknown)} objects of the feed stay unknown: {', '.join(done.unknown)}")
    if done.record is not None:
        _say_aside(
            f"{done.record}: keys taken back after the backup may hold again; look with `terralimb access list-keys` "
            "and `terralimb access list-store-credentials`"
        )
    _say_aside(
        "lost is what else was done after the backup: keys made, notices given, webhooks added or suspended, holds "
        "placed; do it again"
    )


def export(as_json: bool = AS_JSON) -> None:
    """Bring the bulk exports up to date: export/<collection>/<yyyy-mm>.parquet, and the static catalogue in mirror/."""
    from infra.delivery import export as exports

    with attached() as here:
        done = exports.export(here.catalog, here.store, catalogue_bucket=here.settings.bucket("catalogue"))
    if as_json:
        _print(dataclasses.asdict(done))
        return
    _say(f"{done.items} items in {done.files} files, {done.written} written")


def care(as_json: bool = AS_JSON) -> None:
    """Do the daily care by hand: seal the record, publish timeliness, reconcile, back up, export what changed.

    Every step is done whatever becomes of the others, and nothing is deleted. /health shows what each found last; the
    DAG care_for_catalogue does the same once a day.

    Exit status 0: all went well. 1: a step failed; it is named.
    """
    from infra.delivery import care as caring

    with attached() as here:
        charge = caring.Charge(
            stores=_stores(here), home=here.settings.home, database_url=here.settings.resolved_database_url()
        )
        done = caring.run_all(charge, now=_now())
    told = {
        step: {"status": "failed", "reason": str(found)} if isinstance(found, Exception) else {"status": "ok", **found}
        for step, found in done.items()
    }
    if as_json:
        _print(told)
    else:
        for step, outcome in told.items():
            facts = ", ".join(f"{name} {value}" for name, value in outcome.items() if name != "status")
            _say(f"{step:11} {outcome['status']:7} {facts}")
    failed = [step for step, outcome in told.items() if outcome["status"] == "failed"]
    if failed:
        raise typer.Exit(1)


def timeliness(
    since: str | None = typer.Option(None, "--since", help="First day of observation, yyyy-mm-dd; 30 days ago."),
    until: str | None = typer.Option(None, "--until", help="Last day of observation, yyyy-mm-dd; today."),
    png: Path | None = typer.Option(None, "--png", dir_okay=False, help="Picture to write: histogram and days."),
    as_json: bool = AS_JSON,
) -> None:
    """Show how long profiles took from the end of their observation until they could be fetched.

    Counted from the catalogue by first publication, against the target of 180 minutes. The daily care publishes the
    same figures to timeliness/<day>.json of the catalogue bucket.

    Exit status 0: shown. 1: there are no profiles to draw.
    """
    from infra import catalog_store, database
    from infra.delivery import timeliness as measured

    today = _now().date()
    first, last = _day(since, today - dt.timedelta(days=30)), _day(until, today)
    if last < first:
        raise typer.BadParameter("--until comes before --since")
    url = settings.current().resolved_database_url()
    database.upgrade(url)
    found = measured.delays_between(catalog_store.CatalogStore(database.engine(url)), since=first, until=last)
    if png is not None:
        from products import timeliness_plot

        days = [dt.date.fromisoformat(one.day) for one in found]
        png.write_bytes(timeliness_plot.plot(days, [one.minutes for one in found], target=measured.TARGET_MINUTES))
    rows = measured.summary(found)
    if as_json:
        span = {"since": first.isoformat(), "until": last.isoformat()}
        _print({**span, "target_minutes": measured.TARGET_MINUTES, "profiles": len(found), "rows": rows})
        return
    for row in rows:
        minutes = "  ".join(f"{rank} {value:g}" for rank, value in row["minutes"].items())
        share = f"{100 * row['within_target']:.1f} % within {measured.TARGET_MINUTES:g} min"
        _say(f"{row['day']}  {row['platform']}  {row['stream']}  {row['profiles']} profiles  {minutes}  {share}")
    if not rows:
        _say(f"No profile was observed from {first} to {last}.")


def _day(text: str | None, otherwise: dt.date) -> dt.date:
    try:
        return otherwise if text is None else dt.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r:.40} is no day, as 2026-07-01") from None


@contextlib.contextmanager
def attached() -> Iterator["workspace.Workspace"]:
    """Stores of this home, started where they do not run, with the newest schema."""
    from infra import database
    from infra.embedded import installation

    chosen = settings.current()
    with installation.attached(chosen, announce=_say_aside) as here:
        database.upgrade(here.settings.resolved_database_url())
        yield here


def _stores(here: "workspace.Workspace") -> "reconciliation.Stores":
    from infra.delivery import reconciliation

    return reconciliation.stores_of(here.settings, catalog=here.catalog, store=here.store)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _print(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _say_aside(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(text)
