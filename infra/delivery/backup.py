"""Backup of the embedded database into the store, and back: one file, its hash, and a signature over it.

PostgreSQL is backed up with its own tools (pg_dump); nothing here touches it. Secret keys are no part of a backup:
keep `<home>/keys` elsewhere, and with it the list of public keys that a restore trusts.
"""

import contextlib
import datetime as dt
import json
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import alembic.util
import sqlalchemy as sa

from infra import catalog_store, database, object_store, private_files, signing
from infra.delivery import replay
from products import minisign

LAYOUT = "terralimb-backup/1"
PURPOSE = "backup"
_FILE, _MANIFEST, _SIGNATURE = "terralimb.sqlite", "MANIFEST.json", "MANIFEST.json.minisig"


class BackupError(RuntimeError):
    """A backup cannot be made or restored; the sentence says why."""


class Restoration(NamedTuple):
    """A backup that was brought back.

    Attributes
    ----------
    manifest : dict
        The backup's manifest.
    replayed : infra.delivery.replay.Replay
        What happened after the backup and was entered again.
    """

    manifest: dict[str, Any]
    replayed: replay.Replay


def back_up(
    database_url: str,
    *,
    store: object_store.ObjectStore,
    catalogue_bucket: str,
    sign: Callable[[bytes, str], bytes],
    now: dt.datetime,
) -> dict[str, Any]:
    """Copy the database as of one instant into the store, while others go on writing.

    Parameters
    ----------
    database_url : str
        SQLAlchemy URL of an SQLite file.
    store : infra.object_store.ObjectStore
        Where it goes.
    catalogue_bucket : str
        Bucket; keys are ``backup/<time>/...``.
    sign : callable
        Gives the signature of a body with a trusted comment.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    BackupError
        The database is no SQLite file, or the copy is damaged.
    """
    source = _sqlite_file(database_url)
    name = now.astimezone(dt.UTC).strftime("%Y%m%dt%H%M%Sz")
    with tempfile.TemporaryDirectory(prefix="backup-", dir=source.parent) as folder:
        copy = Path(folder) / _FILE
        with contextlib.closing(sqlite3.connect(source, isolation_level=None)) as connection:
            connection.execute("PRAGMA busy_timeout=30000")
            connection.execute("VACUUM INTO ?", (str(copy),))
        facts = _inspected(copy)
        digest = object_store.digest_of(copy)
        manifest = {
            "layout": LAYOUT, "at": name, "file": _FILE, "sha256": digest.sha256, "size": digest.size, **facts,
        }  # fmt: skip
        body = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
        place = f"backup/{name}"
        store.put_new(catalogue_bucket, f"{place}/{_FILE}", copy, media_type="application/vnd.sqlite3")
        signature = sign(body, f"{PURPOSE} {name}")
        store.put_new(catalogue_bucket, f"{place}/{_SIGNATURE}", signature, media_type="text/plain")
        # The manifest is last: a backup without one was never finished.
        store.put_new(catalogue_bucket, f"{place}/{_MANIFEST}", body, media_type="application/json")
    return manifest


def restore(
    into: Path,
    *,
    store: object_store.ObjectStore,
    catalogue_bucket: str,
    trusted: Sequence[signing.PublicKey],
    record: Path,
    now: dt.datetime,
    at: str | None = None,
) -> Restoration:
    """Bring a backup back as a database file, verified, and with what happened since, before it stands under its name.

    Parameters
    ----------
    into : Path
        File to write; it must not be there.
    store : infra.object_store.ObjectStore
        Where the backups are.
    catalogue_bucket : str
        Their bucket.
    trusted : Sequence of infra.signing.PublicKey
        Keys that may have signed it, and the manifests of what was published since.
    record : Path
        Folder of the record of access, which tells what keys were taken back since.
    now : datetime.datetime
        Time; aware.
    at : str or None
        Time in the key of the backup; None for the newest that was finished.

    Returns
    -------
    Restoration
        The manifest, and what was entered again.

    Raises
    ------
    BackupError
        There is no such backup, it is not signed or is damaged, it is of a newer version, the file is there
        already, or what SQLite keeps beside a file lies beside it.
    """
    if into.exists():
        raise BackupError(f"{into} is there already: a restore never overwrites, choose another name")
    if left := [path for path in _beside(into) if path.exists()]:
        # SQLite would take it for this database's own, and write what it holds into it.
        raise BackupError(f"{left[0]} is of another database and would damage this one: move it away first")
    listed = [found.key for found in store.list(catalogue_bucket, "backup/") if found.key.endswith(f"/{_MANIFEST}")]
    wanted = listed[-1:] if at is None else [key for key in listed if key.split("/")[1] == at]
    if not wanted:
        raise BackupError(f"there is no backup{'' if at is None else f' of {at}'} in {catalogue_bucket}/backup/")
    place = wanted[0].rpartition("/")[0]
    manifest = _verified(store, catalogue_bucket, place, trusted)
    into.parent.mkdir(parents=True, exist_ok=True)
    part = into.with_name(f".{into.name}.part")
    # What a restore that was killed left beside would be taken for this one's.
    _remove(part)
    try:
        private_files.make_file(part)
        with store.open(catalogue_bucket, f"{place}/{_FILE}") as stream, part.open("wb") as target:
            while block := stream.read(1 << 20):
                target.write(block)
        found = object_store.digest_of(part)
        if (found.sha256, found.size) != (manifest["sha256"], manifest["size"]):
            raise BackupError(f"{place}/{_FILE} is not the file its manifest vouches for")
        _inspected(part)
        done = replay.replay(
            _newest_schema(part),
            store=store,
            catalogue_bucket=catalogue_bucket,
            record=record,
            trusted=trusted,
            now=now,
        )
        _settle(part)
        part.rename(into)
    finally:
        _remove(part)
    return Restoration(manifest, done)


def _newest_schema(path: Path) -> catalog_store.CatalogStore:
    url = f"sqlite:///{path}"
    try:
        database.upgrade(url)
    except alembic.util.CommandError as error:
        raise BackupError(f"the backup is of a newer version of this program: {error}") from error
    return catalog_store.CatalogStore(database.engine(url))


def _settle(path: Path) -> None:
    """Bring everything into the one file: what SQLite keeps beside it would not go along with it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    if any(beside.exists() for beside in _beside(path)):
        raise BackupError("the restored database is still being written")


def _remove(part: Path) -> None:
    for path in (part, *_beside(part)):
        path.unlink(missing_ok=True)


def _beside(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm", "-journal")]


def _sqlite_file(database_url: str) -> Path:
    url = sa.make_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise BackupError("only the embedded SQLite database is backed up here: use pg_dump for PostgreSQL")
    path = Path(url.database)
    if not path.exists():
        raise BackupError(f"there is no database {path} to back up")
    return path


def _verified(
    store: object_store.ObjectStore, bucket: str, place: str, trusted: Sequence[signing.PublicKey]
) -> dict[str, Any]:
    body = store.read(bucket, f"{place}/{_MANIFEST}")
    try:
        comment = signing.verify(trusted, body, store.read(bucket, f"{place}/{_SIGNATURE}"))
    except (minisign.SignatureError, object_store.ObjectMissingError) as error:
        raise BackupError(f"{place}: the backup is not signed as it has to be: {error}") from error
    manifest: dict[str, Any] = json.loads(body)
    if comment != f"{PURPOSE} {manifest.get('at')}" or manifest.get("layout") != LAYOUT:
        raise BackupError(f"{place}: the signature is for {comment!r:.80}, not for this backup")
    return manifest


def _inspected(path: Path) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        state = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if state != "ok" or connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise BackupError(f"the copy of the database is damaged: {state}")
        count = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("item", "outbox")}  # noqa: S608
        version = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    return {"revisions": count["item"], "announcements": count["outbox"], "schema": version}
