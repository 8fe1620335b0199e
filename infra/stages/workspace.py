"""What a stage works with: the stores behind this installation's settings, and how their granules are written."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from infra import archive, catalog_store, database, object_store, settings
from infra import ledger as facts


@dataclass(frozen=True)
class NewGranule:
    """A file a stage made, before it has a place."""

    kind: str
    id: str
    group: str
    body: bytes
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
        sha256 = hashlib.sha256(new.body).hexdigest()
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
            size=len(new.body),
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
    )


@lru_cache(maxsize=1)
def current() -> Workspace:
    """Workspace of this process."""
    return open_workspace(settings.current())
