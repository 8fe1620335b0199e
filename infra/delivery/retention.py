"""Retention: what goes when its time is over, by a signed plan, and what stays of it.

First a revision becomes a tombstone (state `expired`; hashes, sizes, times, manifest and signature stay), then its
files go, with the writer's turn in hand. Killed in between, the same plan, or the next one, goes on where it stopped.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path

from infra import catalog_store, deletion_plan, object_store, publication, signing
from infra.delivery import audit, retention_rules
from products import stac


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignedPlan:
    """A plan as bytes.

    Attributes
    ----------
    body, signature : bytes
        Document and detached signature.
    plan : deletion_plan.Plan
        What the document says.
    """

    body: bytes
    signature: bytes
    plan: deletion_plan.Plan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """What came of a plan.

    Attributes
    ----------
    expired : int
        Revisions that are tombstones now [1].
    deleted : int
        Objects deleted now [1].
    size : int
        Their length [octet].
    kept : tuple of str
        What was listed and stays, with the reason.
    """

    expired: int
    deleted: int
    size: int
    kept: tuple[str, ...]


def plan(
    catalog: catalog_store.CatalogStore,
    rules: retention_rules.Rules,
    *,
    now: dt.datetime,
    sign: Callable[[bytes, str], bytes],
) -> SignedPlan:
    """List and sign what may go; nothing is changed.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    rules : retention_rules.Rules
        How long what is kept.
    now : datetime.datetime
        Time; aware.
    sign : callable
        Gives the signature of a body with a trusted comment.

    Returns
    -------
    SignedPlan
        The plan.
    """
    custody = catalog_store.Custody(catalog)
    found = [listed for kept in custody.kept() if (listed := _listed(kept, rules, now)) is not None]
    made = deletion_plan.Plan(
        made_at=now,
        expires_at=now + rules.plan_valid,
        rules_sha256=rules.sha256,
        revisions=tuple(found),
        held=tuple(hold.item_id for hold in custody.holds()),
    )
    body = deletion_plan.encoded(made)
    return SignedPlan(
        body=body, signature=sign(body, f"{deletion_plan.PURPOSE} {now.astimezone(dt.UTC).isoformat()}"), plan=made
    )


def _listed(
    kept: catalog_store.KeptRevision, rules: retention_rules.Rules, now: dt.datetime
) -> deletion_plan.ListedRevision | None:
    item = kept.item
    if item.state == "expired":
        due, reason = now, str(item.state_reason)
    else:
        found = rules.due(kept)
        if found is None or found[0] > now:
            return None
        due, reason = found
    document = object_store.digest_of(stac.encoded(item.document))
    return deletion_plan.ListedRevision(
        item_id=item.item_id,
        revision=item.revision,
        collection=item.collection,
        state=item.state,
        due_at=due.astimezone(dt.UTC).isoformat(),
        reason=reason,
        objects=(
            *(
                deletion_plan.ListedObject(bucket=asset.bucket, key=asset.key, sha256=asset.sha256, size=asset.size)
                for asset in item.assets
            ),
            deletion_plan.ListedObject(
                bucket=item.bucket, key=item.item_key, sha256=document.sha256, size=document.size
            ),
        ),
    )


def execute(
    body: bytes,
    signature: bytes,
    *,
    home: Path,
    store: object_store.ObjectStore,
    catalog: catalog_store.CatalogStore,
    catalogue_bucket: str,
    now: dt.datetime,
) -> Execution:
    """Remove what a signed plan lists, as far as the catalogue still agrees.

    Parameters
    ----------
    body, signature : bytes
        The plan and its signature.
    home : Path
        Folder of the installation: its keys and its audit record.
    store : infra.object_store.ObjectStore
        Where the objects are.
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    catalogue_bucket : str
        Bucket of pointers.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    Execution
        What was removed, and what was not and why.

    Raises
    ------
    deletion_plan.PlanError
        The plan is not signed by this installation, has been altered, or does not hold now.
    """
    warrant = deletion_plan.Warrant(body, signature, signing.public_keys(home))
    warrant.require_valid(now)
    run = _Run(warrant, store, catalog, now)
    record = audit.AuditLog(home / "audit")
    for listed in warrant.plan.revisions:
        if not run.expire(listed):
            continue
        record.record(
            audit.Entry(
                event="expire",
                decision="allowed",
                item_id=listed.item_id,
                revision=listed.revision,
                collection=listed.collection,
                subject_sha256=warrant.sha256,
            ),
            now=now,
        )
        publication.refresh_pointer(listed.item_id, store=store, catalog=catalog, catalogue_bucket=catalogue_bucket)
        publication.refresh_latest(listed.collection, store=store, catalog=catalog, catalogue_bucket=catalogue_bucket)
        run.remove(listed)
    return Execution(expired=run.expired, deleted=run.deleted, size=run.size, kept=tuple(run.kept))


class _Run:
    """One execution, with what came of it so far."""

    def __init__(
        self,
        warrant: deletion_plan.Warrant,
        store: object_store.ObjectStore,
        catalog: catalog_store.CatalogStore,
        now: dt.datetime,
    ) -> None:
        self.warrant, self.store, self.now = warrant, store, now
        self.custody = catalog_store.Custody(catalog)
        self.expired = self.deleted = self.size = 0
        self.kept: list[str] = []

    def expire(self, listed: deletion_plan.ListedRevision) -> bool:
        done = self.custody.expire(
            listed.item_id,
            listed.revision,
            state=listed.state,
            reason=listed.reason,
            plan_sha256=self.warrant.sha256,
            at=self.now,
        )
        if done:
            self.expired += 1
        else:
            self.kept.append(f"{listed.item_id} r{listed.revision}: held, or no longer {listed.state}")
        return done

    def remove(self, listed: deletion_plan.ListedRevision) -> None:
        with self.custody.removing(listed.item_id, listed.revision, at=self.now) as free:
            for found in listed.objects:
                if free is None or (found.bucket, found.key) not in free:
                    self.kept.append(f"{found.bucket}/{found.key}: held, or named by another revision")
                else:
                    self._delete(found)

    def _delete(self, found: deletion_plan.ListedObject) -> None:
        try:
            gone = self.store.delete_planned(found.bucket, found.key, warrant=self.warrant, now=self.now)
        except object_store.DeletionRefusedError as error:
            self.kept.append(str(error))
            return
        self.deleted += gone
        self.size += found.size if gone else 0
