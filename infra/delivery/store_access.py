"""Store credentials of agencies: who may read which mailbox of the object store, and until when.

A mailbox is a prefix of the agencies' bucket for one agency and one set of limits; what lies in it is decided by
`infra.delivery.entitlement`. Its limits never change: other limits are another mailbox, so that nothing of wider
limits is left lying before whoever has narrower ones. Several credentials may read one mailbox, which is how they are
rotated. No secret is kept here: the object store alone knows it.
"""

import dataclasses
import datetime as dt
import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from infra import database
from infra.delivery import entitlement, identity, push

# The name is part of keys: no case, no form of a letter and no path may make one agency look like another.
_AGENCY = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

metadata = sa.MetaData()
mailbox_table = sa.Table(
    "mailbox",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("agency", sa.Text, nullable=False),
    sa.Column("sectors", sa.JSON, nullable=False),
    sa.Column("districts", sa.JSON(none_as_null=True)),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("closed_at", sa.Text),
)
content_table = sa.Table(
    "mailbox_item",
    metadata,
    sa.Column("mailbox", sa.Text, sa.ForeignKey("mailbox.id", name="item_of_mailbox"), primary_key=True),
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.CheckConstraint("state IN ('filling', 'held', 'removed')", name="mailbox_item_state_known"),
)
credential_table = sa.Table(
    "store_credential",
    metadata,
    sa.Column("access_key", sa.Text, primary_key=True),
    sa.Column("mailbox", sa.Text, sa.ForeignKey("mailbox.id", name="credential_of_mailbox"), nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Text, nullable=False),
    sa.Column("revoked_at", sa.Text),
    sa.Column("note", sa.Text, nullable=False),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mailbox:
    """A prefix that one agency reads.

    Attributes
    ----------
    id : str
        Identity, of agency and limits.
    agency : str
        Whose it is.
    sectors : tuple of str
        Sectors whose items it gets.
    districts : tuple of str or None
        Codes of GB/T 2260 it is limited to; None for all.
    """

    id: str
    agency: str
    sectors: tuple[str, ...]
    districts: tuple[str, ...] | None

    @property
    def prefix(self) -> str:
        """What every key in it begins with.

        Returns
        -------
        str
            With a slash at its end, so that it is the beginning of no other.
        """
        return f"{self.agency}/{self.id}/"

    @property
    def channel(self) -> str:
        """Name under which its position in the outbox is kept.

        Returns
        -------
        str
            Name of the channel.
        """
        return f"mailbox-{self.id}"

    @property
    def principal(self) -> entitlement.Principal:
        """Who reads it, as the rule of entitlement asks.

        Returns
        -------
        infra.delivery.entitlement.Principal
            With the scope download only.
        """
        return entitlement.Principal(
            agency=self.agency,
            sectors=frozenset(self.sectors),
            districts=None if self.districts is None else frozenset(self.districts),
            scopes=frozenset({"download"}),
            key_id=self.channel,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreCredential:
    """What is known of store credentials, without their secret.

    Attributes
    ----------
    access_key : str
        Public name.
    mailbox : Mailbox
        What they read.
    created_at, expires_at : str
        From when until when they hold, RFC 3339 UTC.
    revoked_at : str or None
        When they were taken back.
    note : str
        What the one who made them wrote down.
    """

    access_key: str
    mailbox: Mailbox
    created_at: str
    expires_at: str
    revoked_at: str | None
    note: str

    def state(self, now: dt.datetime) -> str:
        """Whether they hold.

        Parameters
        ----------
        now : datetime.datetime
            Time; aware.

        Returns
        -------
        str
            valid, expired or revoked.
        """
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if now >= dt.datetime.fromisoformat(self.expires_at) else "valid"


def mailbox_of(*, agency: str, sectors: Sequence[str], districts: Sequence[str] | None) -> Mailbox:
    """Mailbox of an agency with its limits, whether or not it is there.

    Parameters
    ----------
    agency : str
        Name of the agency: a-z, 0-9 and - within, at most 63.
    sectors : Sequence[str]
        Sectors, of `identity.SECTORS`; at least one.
    districts : Sequence[str] or None
        Codes of GB/T 2260 it is limited to; None for all.

    Returns
    -------
    Mailbox
        The same for the same limits.

    Raises
    ------
    ValueError
        The name cannot be part of a key, or a limit is empty or unknown.
    """
    if not _AGENCY.fullmatch(agency):
        raise ValueError(f"{agency!r} cannot name a mailbox: a-z, 0-9 and - within, at most 63; choose such a name")
    identity.check_limits(agency=agency, sectors=sectors, districts=districts)
    limits = {
        "agency": agency,
        "sectors": sorted(set(sectors)),
        "districts": None if districts is None else sorted(set(districts)),
    }
    name = hashlib.sha256(json.dumps(limits, sort_keys=True).encode()).hexdigest()[:12]
    return Mailbox(
        id=name,
        agency=agency,
        sectors=tuple(sorted(set(sectors))),
        districts=None if districts is None else tuple(sorted(set(districts))),
    )


def create(
    engine: sa.Engine, mailbox: Mailbox, *, expires_at: dt.datetime, note: str = "", now: dt.datetime
) -> StoreCredential:
    """Enter credentials for a mailbox, which is opened where it is not open.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    mailbox : Mailbox
        What they read.
    expires_at : datetime.datetime
        When they end; aware.
    note : str
        What they are for.
    now : datetime.datetime
        When they begin; aware.

    Returns
    -------
    StoreCredential
        They hold when the object store has been told.

    Raises
    ------
    ValueError
        They would have ended before they begin.
    """
    if expires_at <= now:
        raise ValueError(f"the credentials would have ended before they begin: {expires_at.isoformat()}")
    made = StoreCredential(
        access_key=f"TL{secrets.token_hex(9).upper()}",
        mailbox=mailbox,
        created_at=_text(now),
        expires_at=_text(expires_at),
        revoked_at=None,
        note=note,
    )
    row = {**dataclasses.asdict(made), "mailbox": mailbox.id}
    with engine.begin() as connection:
        _open(connection, mailbox, now)
        connection.execute(sa.insert(credential_table), [row])
    return made


def revoke(engine: sa.Engine, access_key: str, *, now: dt.datetime) -> bool:
    """Enter that credentials were taken back.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    access_key : str
        Public name.
    now : datetime.datetime
        Time to record; aware.

    Returns
    -------
    bool
        Whether there were such credentials that had not been taken back.
    """
    column = credential_table.c
    change = sa.update(credential_table).where(column.access_key == access_key, column.revoked_at.is_(None))
    with engine.begin() as connection:
        return connection.execute(change.values(revoked_at=_text(now))).rowcount == 1


def listing(engine: sa.Engine) -> tuple[StoreCredential, ...]:
    """All store credentials that were ever made, oldest first.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.

    Returns
    -------
    tuple of StoreCredential
        Without their secrets.
    """
    box, column = mailbox_table.c, credential_table.c
    joined = credential_table.join(mailbox_table, column.mailbox == box.id)
    statement = sa.select(credential_table, box.agency, box.sectors, box.districts).select_from(joined)
    with database.reading(engine) as connection:
        rows = connection.execute(statement.order_by(column.created_at, column.access_key)).mappings().all()
    return tuple(
        StoreCredential(
            access_key=row["access_key"],
            mailbox=mailbox_from_row(row, row["mailbox"]),
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
            note=row["note"],
        )
        for row in rows
    )


def find(engine: sa.Engine, access_key: str) -> StoreCredential:
    """Store credentials by their public name.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    access_key : str
        Public name.

    Returns
    -------
    StoreCredential
        Without their secret.

    Raises
    ------
    LookupError
        There are none of this name.
    """
    for found in listing(engine):
        if found.access_key == access_key:
            return found
    raise LookupError(f"there are no store credentials {access_key}: see `terralimb access list-store-credentials`")


def standing(engine: sa.Engine, *, now: dt.datetime) -> tuple[Mailbox, ...]:
    """Mailboxes that somebody may read now.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    tuple of Mailbox
        Each once.
    """
    return tuple({found.mailbox.id: found.mailbox for found in listing(engine) if found.state(now) == "valid"}.values())


def forsaken(engine: sa.Engine, *, now: dt.datetime) -> tuple[Mailbox, ...]:
    """Mailboxes that are open or filled although nobody may read them any more.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    tuple of Mailbox
        To be emptied and closed.
    """
    kept, box = {mailbox.id for mailbox in standing(engine, now=now)}, mailbox_table.c
    filled = sa.exists().where(content_table.c.mailbox == box.id)
    wanted = sa.select(mailbox_table).where(sa.or_(box.closed_at.is_(None), filled))
    with database.reading(engine) as connection:
        rows = connection.execute(wanted).mappings().all()
    return tuple(mailbox_from_row(row, row["id"]) for row in rows if row["id"] not in kept)


def overdue(engine: sa.Engine, access_keys: Iterable[str], *, now: dt.datetime) -> tuple[str, ...]:
    """Of the access keys the object store serves, those that it should not.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    access_keys : Iterable of str
        What it serves beside the installation.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    tuple of str
        Expired, revoked or unknown.
    """
    good = {found.access_key for found in listing(engine) if found.state(now) == "valid"}
    return tuple(sorted(set(access_keys) - good))


def close(engine: sa.Engine, mailbox: Mailbox, *, now: dt.datetime) -> bool:
    """Enter that a mailbox is closed, unless somebody may read it by now.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    mailbox : Mailbox
        Which.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    bool
        Whether it is closed.
    """
    column = credential_table.c
    held = sa.exists().where(column.mailbox == mailbox.id, column.revoked_at.is_(None), column.expires_at > _text(now))
    change = sa.update(mailbox_table).where(mailbox_table.c.id == mailbox.id, ~held)
    position = push.position_table
    with engine.begin() as connection:
        closed = connection.execute(change.values(closed_at=_text(now))).rowcount == 1
        if closed:
            for table in (position, push.set_aside_table):
                connection.execute(sa.delete(table).where(table.c.channel == mailbox.channel))
    return closed


def rewind(engine: sa.Engine, mailbox: Mailbox) -> None:
    """Fill a mailbox from the beginning again, where it was opened while it was emptied.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    mailbox : Mailbox
        Which; a closed one has no position and stays as it is.
    """
    column = push.position_table.c
    with engine.begin() as connection:
        connection.execute(sa.update(push.position_table).where(column.channel == mailbox.channel).values(sequence=0))


def _open(connection: sa.Connection, mailbox: Mailbox, now: dt.datetime) -> None:
    column = mailbox_table.c
    known = connection.execute(sa.select(column.closed_at).where(column.id == mailbox.id)).first()
    if known is None:
        row = {
            "id": mailbox.id,
            "agency": mailbox.agency,
            "sectors": list(mailbox.sectors),
            "districts": None if mailbox.districts is None else list(mailbox.districts),
            "created_at": _text(now),
            "closed_at": None,
        }
        connection.execute(sa.insert(mailbox_table), [row])
    elif known.closed_at is not None:
        connection.execute(sa.update(mailbox_table).where(column.id == mailbox.id).values(closed_at=None))
    else:
        return
    # From the beginning: whatever is current belongs in it.
    start = {"channel": mailbox.channel, "sequence": 0, "failures": 0, "failing_since": None, "reason": None}
    connection.execute(sa.delete(push.position_table).where(push.position_table.c.channel == mailbox.channel))
    connection.execute(sa.insert(push.position_table), [start])


def mailbox_from_row(row: Mapping[Any, Any], name: str) -> Mailbox:
    """Mailbox a row describes.

    Parameters
    ----------
    row : Mapping
        With ``agency``, ``sectors`` and ``districts``.
    name : str
        Its identity.

    Returns
    -------
    Mailbox
        The mailbox.
    """
    districts = row["districts"]
    return Mailbox(
        id=name,
        agency=row["agency"],
        sectors=tuple(row["sectors"]),
        districts=None if districts is None else tuple(districts),
    )


def _text(instant: dt.datetime) -> str:
    return instant.astimezone(dt.UTC).isoformat(timespec="seconds")
