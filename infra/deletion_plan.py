"""Signed plans of deletion: nothing outside staging is deleted but what such a plan lists, while it holds.

A plan is a JSON document with a detached signature of this installation. It lists every object with its hash and
length, so that what was looked at when it was made is what goes, and nothing that came in its place.
"""

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from infra import signing
from products import minisign

LAYOUT = "terralimb-retention-plan/1"

#: First word of the signed comment, so that no other document this installation signs passes for a plan.
PURPOSE = "retention-plan"


class PlanError(RuntimeError):
    """A plan cannot be acted upon; the sentence says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListedObject:
    """An object a plan lists.

    Attributes
    ----------
    bucket, key : str
        Where it is.
    sha256 : str
        Hash of its content, in hex.
    size : int
        Length [octet].
    """

    bucket: str
    key: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListedRevision:
    """A revision whose time is over.

    Attributes
    ----------
    item_id : str
        Identity.
    revision : int
        Revision [1].
    collection : str
        Its collection.
    state : str
        State it had when the plan was made.
    due_at : str
        When its time was over, RFC 3339 UTC.
    reason : str
        Why, for its users to read.
    objects : tuple of ListedObject
        What goes.
    """

    item_id: str
    revision: int
    collection: str
    state: str
    due_at: str
    reason: str
    objects: tuple[ListedObject, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be removed.

    Attributes
    ----------
    made_at, expires_at : datetime.datetime
        From when until when it may be acted upon.
    rules_sha256 : str
        Hash of the retention rules it follows, in hex.
    revisions : tuple of ListedRevision
        What goes.
    held : tuple of str
        Identities that were left out because they are held.
    """

    made_at: dt.datetime
    expires_at: dt.datetime
    rules_sha256: str
    revisions: tuple[ListedRevision, ...]
    held: tuple[str, ...] = ()


def encoded(plan: Plan) -> bytes:
    """Bytes of a plan, as they are signed.

    Parameters
    ----------
    plan : Plan
        The plan.

    Returns
    -------
    bytes
        JSON.
    """
    document = {
        "layout": LAYOUT,
        "made_at": plan.made_at.astimezone(dt.UTC).isoformat(),
        "expires_at": plan.expires_at.astimezone(dt.UTC).isoformat(),
        "rules_sha256": plan.rules_sha256,
        "revisions": [dataclasses.asdict(revision) for revision in plan.revisions],
        "held": list(plan.held),
    }
    return (json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


class Warrant:
    """A plan whose signature was verified: without one there is none.

    Parameters
    ----------
    body : bytes
        Bytes of the plan.
    signature : bytes
        Its detached signature.
    keys : Sequence of infra.signing.PublicKey
        Keys of this installation.

    Raises
    ------
    PlanError
        The signature does not hold, is for something else, or the document is no plan.
    """

    def __init__(self, body: bytes, signature: bytes, keys: Sequence[signing.PublicKey]) -> None:
        try:
            comment = signing.verify(keys, body, signature)
        except minisign.SignatureError as error:
            raise PlanError(f"the plan is not signed as it has to be: {error}") from error
        if comment.partition(" ")[0] != PURPOSE:
            raise PlanError(f"the signature is for {comment!r:.80}, not for a retention plan")
        self.sha256 = hashlib.sha256(body).hexdigest()
        self.plan = _read(body)
        self._listed = {
            (listed.bucket, listed.key): listed for revision in self.plan.revisions for listed in revision.objects
        }

    def require_valid(self, now: dt.datetime) -> None:
        """Check that the plan holds at a time.

        Parameters
        ----------
        now : datetime.datetime
            Time; aware.

        Raises
        ------
        PlanError
            It does not hold yet, or no longer.
        """
        if not self.plan.made_at <= now < self.plan.expires_at:
            raise PlanError(
                f"the plan holds from {self.plan.made_at:%Y-%m-%dT%H:%M:%SZ} to "
                f"{self.plan.expires_at:%Y-%m-%dT%H:%M:%SZ}, not at {now:%Y-%m-%dT%H:%M:%SZ}: make a new one"
            )

    def listed(self, bucket: str, key: str, *, now: dt.datetime) -> ListedObject | None:
        """Look an object up in the plan.

        Parameters
        ----------
        bucket, key : str
            Where it is.
        now : datetime.datetime
            Time; aware.

        Returns
        -------
        ListedObject or None
            What the plan says of it; None where it lists it not, or does not hold now.
        """
        if not self.plan.made_at <= now < self.plan.expires_at:
            return None
        return self._listed.get((bucket, key))


def _read(body: bytes) -> Plan:
    try:
        document: Mapping[str, Any] = json.loads(body)
        if document["layout"] != LAYOUT:
            raise PlanError(f"the plan is of the layout {document['layout']!r:.60}, not {LAYOUT}")
        return Plan(
            made_at=dt.datetime.fromisoformat(document["made_at"]),
            expires_at=dt.datetime.fromisoformat(document["expires_at"]),
            rules_sha256=document["rules_sha256"],
            revisions=tuple(_revision(entry) for entry in document["revisions"]),
            held=tuple(document["held"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(f"this is not a retention plan: {error}") from error


def _revision(entry: Mapping[str, Any]) -> ListedRevision:
    objects = tuple(ListedObject(**listed) for listed in entry["objects"])
    return ListedRevision(**{**entry, "objects": objects})
