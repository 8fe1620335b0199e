"""What has landed: the landing bucket against the ledger."""

import logging

from infra import archive, ledger, object_store
from infra.stages.workspace import Workspace

log = logging.getLogger(__name__)


def unregistered(workspace: Workspace, *, kind: str) -> list[str]:
    """Keys of landed objects of `kind` that the ledger does not hold in their present content."""
    bucket = workspace.settings.bucket("landing")
    held = {(granule.key, granule.attributes["etag"]) for granule in workspace.ledger.granules([kind])}
    listed = workspace.store.list(bucket, archive.landing_prefixes()[kind])
    return sorted(entry.key for entry in listed if (entry.key, entry.etag) not in held)


def register(workspace: Workspace, *, kind: str) -> int:
    """Enter newly landed objects of `kind` into the ledger with size and SHA-256; returns how many were new."""
    bucket = workspace.settings.bucket("landing")
    keys = unregistered(workspace, kind=kind)
    # Read before the ledger's transaction opens: a slow store must not hold its lock.
    arrived = [granule for key in keys if (granule := _granule(workspace, bucket, kind, key)) is not None]
    return workspace.ledger.register(arrived)


def _granule(workspace: Workspace, bucket: str, kind: str, key: str) -> ledger.Granule | None:
    try:
        head = workspace.store.head(bucket, key)
        digest = workspace.store.digest(bucket, key)
    except object_store.ObjectMissingError:
        log.warning("%s/%s was listed and is gone; it is registered when it comes again", bucket, key)
        return None
    return ledger.Granule(
        kind=kind,
        id=key,
        sha256=digest.sha256,
        group=kind,
        bucket=bucket,
        key=key,
        size=digest.size,
        attributes={"etag": head.etag},
    )
