"""Commands of access: keys of agencies, the key this installation signs with, and the record of who was given what."""

import dataclasses
import datetime as dt
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Column, Table

from infra import settings
from infra.cli import store_access

if TYPE_CHECKING:
    import sqlalchemy as sa

    from infra import signing
    from infra.delivery import audit, identity

app = typer.Typer(no_args_is_help=True, help="Keys of agencies, the signing key, and the record of who was given what.")

app.command("create-store-credentials")(store_access.create_store_credentials)
app.command("list-store-credentials")(store_access.list_store_credentials)
app.command("rotate-store-credentials")(store_access.rotate_store_credentials)
app.command("revoke-store-credentials")(store_access.revoke_store_credentials)

AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@app.command("create-key")
def create_key(
    agency: str = typer.Option(..., "--agency", help="Name of the agency: letters, digits and . @ + - _"),
    sector: list[str] = typer.Option(
        ..., "--sector", help="Sector whose products it may see, as emergency or weather; may be repeated."
    ),
    scope: list[str] = typer.Option(
        ["search", "download", "feed"], "--scope", help="Of search, download, feed, operate; may be repeated."
    ),
    district: list[str] = typer.Option(
        [], "--district", help="Code of GB/T 2260 it is limited to, as 500112; may be repeated."
    ),
    all_districts: bool = typer.Option(
        False, "--all-districts", help="It is limited to no district; sees products of none, such as profiles, too."
    ),
    days: int = typer.Option(365, "--days", min=1, max=3650, help="How long it holds."),
    note: str = typer.Option("", "--note", help="What it is for."),
    as_json: bool = AS_JSON,
) -> None:
    """Make an API key for a machine of an agency, and print it, once.

    Only a hash is kept: a key that is lost is replaced, not shown again. The agency sends it with every request as
    `Authorization: Bearer <key>`. It sees the products of its sectors that lie in its districts
    altogether: say which by --district, or --all-districts.

    Example: terralimb access create-key --agency cq-flood-control --sector emergency --district 500112 --days 90
    """
    from infra.delivery import identity

    if bool(district) == all_districts:
        raise typer.BadParameter("say either which districts the key is for (--district), or --all-districts")
    now = dt.datetime.now(dt.UTC)
    engine = _database()
    try:
        key = identity.create(
            engine,
            agency=agency,
            sectors=sector,
            scopes=scope,
            districts=district or None,
            expires_at=now + dt.timedelta(days=days),
            note=note,
            now=now,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    key_id = key.split("_")[1]
    _record("key_create", agency=agency, key_id=key_id)
    if as_json:
        _print({"key": key, "key_id": key_id, "agency": agency, "expires_at": _text(now + dt.timedelta(days=days))})
        return
    sys.stdout.write(f"{key}\n")
    _say(f"Key {key_id} of {agency}, for {days} days. It is shown this once: hand it over by a safe way.")


@app.command("revoke-key")
def revoke_key(key_id: str = typer.Argument(..., help="Id of the key, as `list-keys` shows it.")) -> None:
    """Take an API key back: the next request with it is refused.

    Exit status 0: it was taken back. 1: there is no such key, or it had been taken back before.

    Links to files that were made with it hold until they expire.
    """
    from infra.delivery import identity

    if not identity.revoke(_database(), key_id):
        raise LookupError(f"there is no key {key_id} that could be taken back: see `terralimb access list-keys`")
    _record("key_revoke", key_id=key_id)
    _say(f"Key {key_id} is taken back.")


@app.command("list-keys")
def list_keys(as_json: bool = AS_JSON) -> None:
    """Show the API keys that were ever made, without their secrets, and the keys this installation signs with."""
    from infra import signing
    from infra.delivery import identity

    chosen, now = settings.current(), dt.datetime.now(dt.UTC)
    keys, signers = identity.listing(_database()), signing.public_keys(chosen.home)
    if as_json:
        _print(
            {
                "api_keys": [{**dataclasses.asdict(key), "state": _state(key, now)} for key in keys],
                "signing_keys": signing.document(signers)["keys"],
            }
        )
        return
    table = Table(Column("key", no_wrap=True), "agency", "sectors", "districts", "scopes", "until", "state", box=None)
    for key in keys:
        limits = (", ".join(key.sectors), "all" if key.districts is None else ", ".join(key.districts))
        table.add_row(key.key_id, key.agency, *limits, ", ".join(key.scopes), key.expires_at[:10], _state(key, now))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table if keys else "No API key was made yet: see `terralimb access create-key --help`.")
    for signer in signers:
        console.print(f"signing key {signer.id}  {signer.state}  minisign -P {signer.public_key}", soft_wrap=True)


@app.command("rotate-signing-key")
def rotate_signing_key(
    reason: str = typer.Option(..., "--reason", help="Why; it stands in the public list of keys."),
    revoke: str | None = typer.Option(
        None, "--revoke", metavar="KEY-ID", help="The key was stolen or lost: nothing it signed verifies any more."
    ),
) -> None:
    """Sign with a new key from now on.

    The key before is retired: what it signed still verifies, but its secret is deleted. With --revoke nothing the
    named key ever signed verifies again, so sign what is still delivered anew; if it was the active key a new one
    takes its place.
    """
    from infra import signing

    home = settings.current().home
    if revoke is None:
        active = signing.rotate(home, reason=reason)
        _record("signing_key_rotate", key_id=active.id)
    else:
        active = signing.revoke(home, revoke, reason=reason)
        _record("signing_key_revoke", key_id=revoke)
    _say(f"Signatures are made with key {active.id} now. Verify with: minisign -P {active.public_key}")


@app.command("verify-audit")
def verify_audit(
    seal: bool = typer.Option(False, "--seal", help="If all holds, sign how far the record of the newest day goes."),
    as_json: bool = AS_JSON,
) -> None:
    """Check the record of who was given what: every line, the chain through all days, every signed head.

    Exit status 0: all holds. 1: a line was altered, removed or put elsewhere, or the end was cut off; the first such
    place is named. Lines after the last signed head could be cut off unseen: --seal signs a head.
    """
    from infra import signing
    from infra.delivery import audit

    home = settings.current().home
    found = audit.verify(home / "audit", signing.public_keys(home))
    if found.fault is None and seal and found.lines > found.sealed:
        _seal(home / "audit", signing.ensure(home))
        found = audit.verify(home / "audit", signing.public_keys(home))
    if as_json:
        _print({"status": "ok" if found.fault is None else "broken", **dataclasses.asdict(found)})
    elif found.fault is None:
        _say(_account(found))
    if found.fault is not None:
        raise ValueError(f"the record does not hold: {found.fault.sentence}; {found.lines} lines before it do")


def _seal(folder: Path, signer: "signing.PublicKey") -> None:
    from infra import signing
    from infra.delivery import audit

    newest = max(path.stem for path in folder.glob("*.jsonl"))

    def sign(body: bytes, comment: str) -> bytes:
        return signing.sign(folder.parent, body, comment)

    audit.AuditLog(folder).seal(dt.date.fromisoformat(newest), sign)
    _say(f"Sealed with key {signer.id}.")


def _account(found: "audit.Verification") -> str:
    told = f"The record holds: {found.lines} lines, {found.sealed} of them under {found.heads} signed heads."
    if found.revoked_heads:
        told += f" {found.revoked_heads} heads are of a revoked key and vouch for nothing."
    if found.lines > found.sealed:
        told += f" The last {found.lines - found.sealed} lines are not sealed: run with --seal."
    return told


def _state(key: "identity.ApiKey", now: dt.datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if now >= dt.datetime.fromisoformat(key.expires_at) else "valid"


def _database() -> "sa.Engine":
    from infra import database

    url = settings.current().resolved_database_url()
    database.upgrade(url)
    return database.engine(url)


def _record(event: "audit.Event", *, key_id: str, agency: str | None = None) -> None:
    from infra.delivery import audit

    entry = audit.Entry(event=event, decision="allowed", agency=agency, key_id=key_id)
    audit.AuditLog(settings.current().home / "audit").record(entry)


def _text(instant: dt.datetime) -> str:
    return instant.isoformat(timespec="seconds")


def _print(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def _say(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, soft_wrap=True, markup=False)
