"""What a stage works with: the stores behind this installation's settings, and how their granules are written."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from infra import archive, catalog_store, completeness_ledger, database, object_store, settings
from infra import ledger as facts
from infra.stages import links

READ_SIZE = 8 << 20


@dataclass(frozen=True)
class NewGranule:
    """A file a stage made, before it has a place; a large one lies in the unit's scratch folder meanwhile."""

    kind: str
    id: str
    group: str
    body: bytes | Path
    suffix: str
    media_type: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Workspace:
    """Stores of one installation."""

    settings: settings.Settings
    store: object_store.ObjectStore
    ledger: facts.Ledger
    catalog: catalog_store.CatalogStore
    completeness: completeness_ledger.CompletenessLedger
    scratch: Path | None = None
    """Folder of the unit being worked on; it is gone when the unit is done."""

    def scratch_folder(self, name: str) -> Path:
        """Make a folder that lasts as long as the unit.

        Raises
        ------
        RuntimeError
            No unit is being worked on.
        """
        if self.scratch is None:
            raise RuntimeError("there is no scratch folder outside a unit of work")
        folder = self.scratch / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def require_registered(self, granule: facts.Granule) -> None:
        """Check the object of a granule against the hash the ledger holds.

        Raises
        ------
        CorruptGranuleError
            The object in the store is not the one that was registered.
        """
        if self.store.digest(granule.bucket, granule.key).sha256 != granule.sha256:
            raise CorruptGranuleError(f"{granule.bucket}/{granule.key} is not the content registered in the ledger")

    def stretches(self, granule: facts.Granule) -> Iterator[bytes]:
        """Bytes of a granule in pieces, however large it is, checked once the last has been read.

        Raises
        ------
        CorruptGranuleError
            The object in the store is not the one that was registered.
        """
        digest = hashlib.sha256()
        with self.store.open(granule.bucket, granule.key) as stream:
            while piece := stream.read(READ_SIZE):
                digest.update(piece)
                yield piece
        if digest.hexdigest() != granule.sha256:
            raise CorruptGranuleError(f"{granule.bucket}/{granule.key} is not the content registered in the ledger")

    def fetch(self, granule: facts.Granule) -> Path:
        """Bytes of a granule as a file of the scratch folder, checked."""
        path = self.scratch_folder("fetched") / f"{granule.id}-{archive.short(granule.sha256)}"
        with path.open("wb") as file:
            for piece in self.stretches(granule):
                file.write(piece)
        return path

    def read(self, granule: facts.Granule) -> bytes:
        """Bytes of a granule, checked against the hash the ledger holds.

        Raises
        ------
        CorruptGranuleError
            The object in the store is not the one that was registered.
        """
        body = self.store.read(granule.bucket, granule.key)
        if hashlib.sha256(body).hexdigest() != granule.sha256:
            raise CorruptGranuleError(f"{granule.bucket}/{granule.key} is not the content registered in the ledger")
        return body

    def write(self, granules: Iterable[NewGranule]) -> list[facts.Granule]:
        """Put new granules into the archive; identical content already there is left alone."""
        return [self._write(granule) for granule in granules]

    def _write(self, new: NewGranule) -> facts.Granule:
        digest = object_store.digest_of(new.body)
        sha256 = digest.sha256
        bucket = self.settings.bucket("archive")
        key = archive.granule_key(new.kind, new.id, sha256, new.suffix)
        self.store.put_new(bucket, key, new.body, media_type=new.media_type)
        return facts.Granule(
            kind=new.kind,
            id=new.id,
            sha256=sha256,
            group=new.group,
            bucket=bucket,
            key=key,
            size=digest.size,
            attributes=new.attributes,
        )

    def write_asset(self, body: bytes, suffix: str, media_type: str) -> dict[str, Any]:
        """Put a product's file into the archive and say where it is."""
        sha256 = hashlib.sha256(body).hexdigest()
        key = archive.asset_key(sha256, suffix)
        self.store.put_new(self.settings.bucket("archive"), key, body, media_type=media_type)
        return {"key": key, "sha256": sha256, "size": len(body), "media_type": media_type}

    def read_asset(self, key: str, sha256: str) -> bytes:
        """Bytes of a file written by `write_asset`, checked."""
        body = self.store.read(self.settings.bucket("archive"), key)
        if hashlib.sha256(body).hexdigest() != sha256:
            raise CorruptGranuleError(f"{key} in the archive is not the content its package names")
        return body


class CorruptGranuleError(Exception):
    """An object in the store differs from what the ledger says it is."""


def open_workspace(chosen: settings.Settings) -> Workspace:
    """Workspace for `chosen` settings."""
    engine = database.engine(chosen.resolved_database_url())
    return Workspace(
        settings=chosen,
        store=object_store.from_settings(chosen),
        ledger=facts.Ledger(engine),
        catalog=catalog_store.CatalogStore(engine),
        completeness=completeness_ledger.CompletenessLedger(engine, _policy()),
    )


def _policy() -> completeness_ledger.Policy:
    """Missing frames can be asked for again only where the spacecraft keeps them."""
    direct = [name for name in links.names() if not links.definition(name).get("recorder", False)]
    return completeness_ledger.Policy(without_recorder=frozenset(direct))


@lru_cache(maxsize=1)
def current() -> Workspace:
    """Workspace of this process."""
    return open_workspace(settings.current())
