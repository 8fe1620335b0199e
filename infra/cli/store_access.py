"""Commands of direct access to the object store: credentials of agencies, each for a prefix of its own."""

import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from infra import settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from infra.delivery import audit, store_access

AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")
DAYS = typer.Option(365, "--days", min=1, max=3650, help="How long they hold.")
ACCESS_KEY = typer.Argument(..., help="Access key, as `list-store-credentials` shows it.")


def create_store_credentials(
    agency: str = typer.Option(..., "--agency", help="Name of the agency: a-z, 0-9 and - within."),
    sector: list[str] = typer.Option(..., "--sector", help="Sector whose products it gets; may be repeated."),
    district: list[str] = typer.Option(
        [], "--district", help="Code of GB/T 2260 it is limited to, as 500112; may be repeated."
    ),
    all_districts: bool = typer.Option(
        False, "--all-districts", help="It is limited to no district; gets products of none, such as profiles, too."
    ),
    days: int = DAYS,
    note: str = typer.Option("", "--note", help="What they are for."),
    as_json: bool = AS_JSON,
) -> None:
    """Make credentials with which an agency reads its mailbox in the object store, and print the secret, once.

    The mailbox is a prefix of the agencies' bucket. `terralimb push run` copies into it what the agency may have, by
    the same rule as that of its API keys, each item with manifest and signature, and removes what is withdrawn. The
    credentials read and list that prefix and nothing else. The same agency with other limits gets another mailbox.

    Where the object store is not this installation's own, nothing can be made there: the policy is printed, and
    whoever runs that store makes a user with exactly this policy.

    Example: terralimb access create-store-credentials --agency cq-water --sector ecology --district 500112 --days 90
    """
    from infra.delivery import store_access

    if bool(district) == all_districts:
        raise typer.BadParameter("say either which districts the mailbox is for (--district), or --all-districts")
    try:
        mailbox = store_access.mailbox_of(agency=agency, sectors=sector, districts=district or None)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    _make(mailbox, days=days, note=note, as_json=as_json)


def rotate_store_credentials(access_key: str = ACCESS_KEY, days: int = DAYS, as_json: bool = AS_JSON) -> None:
    """Make new credentials for the same mailbox; the old ones hold until they are revoked or end.

    Hand the new ones over, have the agency use them, then revoke the old ones.
    """
    from infra.delivery import store_access

    found = store_access.find(_database(), access_key)
    _make(found.mailbox, days=days, note=f"in place of {access_key}", as_json=as_json)


def revoke_store_credentials(access_key: str = ACCESS_KEY) -> None:
    """Take store credentials back: the object store refuses them, and every link signed with them, when this returns.

    Exit status 0: they were taken back. 1: there are none, or they had been taken back before.

    When nobody can read a mailbox any more, `terralimb push run` empties it. In an object store that is not this
    installation's own, remove the user there: nothing here can.
    """
    from infra.delivery import store_access
    from infra.embedded import object_store_server

    chosen, engine = settings.current(), _database()
    found = store_access.find(engine, access_key)
    if chosen.s3_endpoint_url is None:
        object_store_server.dismiss(chosen.home, [access_key])
    if not store_access.revoke(engine, access_key, now=dt.datetime.now(dt.UTC)):
        raise LookupError(f"the store credentials {access_key} had been taken back before")
    _record("store_credentials_revoke", found)
    _say(f"The store credentials {access_key} of {found.mailbox.agency} are taken back.")
    if chosen.s3_endpoint_url is not None:
        _say(f"Remove their user at {chosen.s3_endpoint_url} too: until then that store serves them.")


def list_store_credentials(as_json: bool = AS_JSON) -> None:
    """Show the store credentials that were ever made, without their secrets."""
    from infra.delivery import store_access

    chosen, now = settings.current(), dt.datetime.now(dt.UTC)
    found = store_access.listing(_database())
    if as_json:
        _print({"store_credentials": [_account(one, chosen, now) for one in found]})
        return
    table = Table(Column("access key", no_wrap=True), "agency", "sectors", "districts", "prefix", "until", "state")
    table.box = None
    for one in found:
        box = one.mailbox
        limits = (", ".join(box.sectors), "all" if box.districts is None else ", ".join(box.districts))
        table.add_row(one.access_key, box.agency, *limits, box.prefix, one.expires_at[:10], one.state(now))
    nothing = "No store credentials were made yet: see `terralimb access create-store-credentials --help`."
    Console(width=None if sys.stdout.isatty() else 160).print(table if found else nothing)


def _make(mailbox: "store_access.Mailbox", *, days: int, note: str, as_json: bool) -> None:
    from infra.delivery import store_access
    from products import store_policy

    chosen, now = settings.current(), dt.datetime.now(dt.UTC).replace(microsecond=0)
    until, engine = now + dt.timedelta(days=days), _database()
    made = store_access.create(engine, mailbox, expires_at=until, note=note, now=now)
    document = _account(made, chosen, now)
    if chosen.s3_endpoint_url is None:
        document["secret_key"] = _admitted(made, until, engine)
    else:
        document["policy"] = store_policy.document(
            bucket=chosen.bucket("agencies"), prefix=mailbox.prefix, expires_at=until
        )
    _record("store_credentials_create", made)
    _tell(document, chosen, as_json=as_json)


def _admitted(made: "store_access.StoreCredential", until: dt.datetime, engine: "sa.Engine") -> str:
    """Have the embedded store let them in; what it does not take is not left standing."""
    from infra.delivery import store_access
    from infra.embedded import object_store_identities, object_store_server

    chosen = settings.current()
    guest = object_store_identities.guest(
        access_key=made.access_key, bucket=chosen.bucket("agencies"), prefix=made.mailbox.prefix, expires_at=until
    )
    try:
        object_store_server.admit(chosen.home, guest)
    except BaseException:
        store_access.revoke(engine, made.access_key, now=dt.datetime.now(dt.UTC))
        raise
    return guest.credentials.secret_key


def _tell(document: dict[str, Any], chosen: settings.Settings, *, as_json: bool) -> None:
    if as_json:
        _print(document)
    elif "policy" in document:
        _print(document["policy"])
    else:
        sys.stdout.write(f"{document['access_key']} {document['secret_key']}\n")
    place = f"s3://{document['bucket']}/{document['prefix']} of {document['agency']}, until {document['expires_at']}"
    if "policy" in document:
        _say(
            f"{chosen.s3_endpoint_url} is not run by this installation: make a user there with exactly this policy "
            f"and no other right, hand its keys to the agency, and remove it when {document['access_key']} is "
            f"revoked here. It reads {place}."
        )
    else:
        _say(f"Access key and secret for {place}. The secret is shown this once: hand it over by a safe way.")


def _account(one: "store_access.StoreCredential", chosen: settings.Settings, now: dt.datetime) -> dict[str, Any]:
    box = one.mailbox
    return {
        "access_key": one.access_key,
        "agency": box.agency,
        "sectors": list(box.sectors),
        "districts": None if box.districts is None else list(box.districts),
        "bucket": chosen.bucket("agencies"),
        "prefix": box.prefix,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "state": one.state(now),
        "note": one.note,
    }


def _database() -> "sa.Engine":
    from infra import database

    url = settings.current().resolved_database_url()
    database.upgrade(url)
    return database.engine(url)


def _record(event: "audit.Event", about: "store_access.StoreCredential") -> None:
    from infra.delivery import audit

    entry = audit.Entry(
        event=event,
        decision="allowed",
        agency=about.mailbox.agency,
        key_id=about.access_key,
        asset=about.mailbox.prefix.rstrip("/"),
        expires_at=about.expires_at,
    )
    audit.AuditLog(settings.current().home / "audit").record(entry)


def _print(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def _say(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, soft_wrap=True, markup=False)
