"""Daily care of the delivery: seal the record, publish timeliness, compare stores, back up, export what changed.

Every step stands alone: what one cannot do keeps no other from being done. What each did last is noted in the home,
where the state of the service is told from. Nothing is ever deleted here; retention follows a signed plan.
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from infra import signing
from infra.delivery import audit, backup, export, fixity, reconciliation, timeliness

#: Days whose timeliness is counted anew, because profiles of them may still come [day].
TIMELINESS_DAYS = 7

#: Expiry has no position in the feed: what expired so long before the last export is looked at again.
EXPIRY_OVERLAP = dt.timedelta(days=1)


class CareError(RuntimeError):
    """A step found what somebody has to look at; the sentence says where."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Charge:
    """What is cared for.

    Attributes
    ----------
    stores : infra.delivery.reconciliation.Stores
        Catalogue, object store and buckets.
    home : Path
        Folder of the installation: record, keys, notes.
    database_url : str
        SQLAlchemy URL of the catalogue.
    """

    stores: reconciliation.Stores
    home: Path
    database_url: str

    def sign(self, body: bytes, comment: str) -> bytes:
        """Signature of a body with the key of this home.

        Parameters
        ----------
        body : bytes
            What is signed.
        comment : str
            Trusted comment.

        Returns
        -------
        bytes
            The signature.
        """
        return signing.sign(self.home, body, comment)


Outcome = dict[str, Any]


def run(step: str, charge: Charge, *, now: dt.datetime) -> Outcome:
    """Do one step and note what became of it.

    Parameters
    ----------
    step : str
        One of `STEPS`.
    charge : Charge
        What is cared for.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    dict
        What was done, in figures.

    Raises
    ------
    Exception
        Whatever the step could not do; it is noted.
    """
    try:
        outcome = STEPS[step](charge, now)
    except Exception as error:
        note(charge.home, step, now=now, failure=" ".join(str(error).split()) or type(error).__name__)
        raise
    note(charge.home, step, now=now, outcome=outcome)
    return outcome


def run_all(charge: Charge, *, now: dt.datetime) -> dict[str, Outcome | Exception]:
    """Do every step, whatever becomes of the others.

    Parameters
    ----------
    charge : Charge
        What is cared for.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    dict
        By step what was done, or what went wrong.
    """
    found: dict[str, Outcome | Exception] = {}
    for step in STEPS:
        try:
            found[step] = run(step, charge, now=now)
        except Exception as error:  # noqa: BLE001  the others are done all the same; the caller tells of this one
            found[step] = error
    return found


def note(
    home: Path, step: str, *, now: dt.datetime, outcome: Outcome | None = None, failure: str | None = None
) -> None:
    """Keep what became of a step last, and when it went well last.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    step : str
        The step.
    now : datetime.datetime
        Time; aware.
    outcome : dict or None
        What was done.
    failure : str or None
        What went wrong; None where nothing did.
    """
    at = now.astimezone(dt.UTC).isoformat(timespec="seconds")
    known = notes(home).get(step, {})
    went_well = known.get("went_well") if failure is not None else {"at": at, **(outcome or {})}
    document = {"at": at, "status": "ok" if failure is None else "failed", "reason": failure, "went_well": went_well}
    path = home / "care" / f"{step}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.rename(path)


def notes(home: Path) -> dict[str, dict[str, Any]]:
    """What became of each step last.

    Parameters
    ----------
    home : Path
        Folder of the installation.

    Returns
    -------
    dict
        By step: when, status, reason, and when it went well last with what it did; without steps never tried.
    """
    found = {}
    for step in STEPS:
        try:
            document = json.loads((home / "care" / f"{step}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(document, dict):
            found[step] = document
    return found


def month_before(now: dt.datetime) -> str:
    """The month before this one, in UTC.

    Parameters
    ----------
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    str
        yyyy-mm.
    """
    return f"{now.astimezone(dt.UTC).date().replace(day=1) - dt.timedelta(days=1):%Y-%m}"


def backup_outcome(manifest: Mapping[str, Any]) -> Outcome:
    """What is noted of a backup.

    Parameters
    ----------
    manifest : Mapping[str, Any]
        Its manifest.

    Returns
    -------
    dict
        Its name, revisions and size.
    """
    return {"backup": manifest["at"], "revisions": manifest["revisions"], "size": manifest["size"]}


def _seal(charge: Charge, now: dt.datetime) -> Outcome:
    folder = charge.home / "audit"
    signing.ensure(charge.home)
    found = audit.verify(folder, signing.public_keys(charge.home))
    if found.fault is not None:
        raise CareError(f"the record of access does not hold: {found.fault.sentence}")
    if found.lines > found.sealed:
        newest = max(path.stem for path in folder.glob("*.jsonl"))
        audit.AuditLog(folder).seal(dt.date.fromisoformat(newest), charge.sign, now=now)
    return {"lines": found.lines, "sealed_now": found.lines - found.sealed}


def _timeliness(charge: Charge, now: dt.datetime) -> Outcome:
    today = now.astimezone(dt.UTC).date()
    days = [today - dt.timedelta(days=back) for back in range(TIMELINESS_DAYS, 0, -1)]
    for day in days:
        timeliness.publish(
            charge.stores.catalog, charge.stores.store, catalogue_bucket=charge.stores.catalogue_bucket, day=day
        )
    return {"since": days[0].isoformat(), "until": days[-1].isoformat()}


def _reconcile(charge: Charge, now: dt.datetime) -> Outcome:
    """Compare stores, and read a thirtieth of what is published, so that all is read within a month.

    What was found damaged before is read every day. Reading ends after half an hour (`infra.delivery.fixity`).
    """
    found = reconciliation.reconcile(charge.stores, now=now)
    # Should reading fail, what was compared is told all the same, with what was known to be damaged.
    known = fixity.known(charge.home)
    reconciliation.write_report(charge.home, dataclasses.replace(found, differences=found.differences + known))
    listed = fixity.share(charge.stores, now=now, also=fixity.known_wrong(charge.home))
    read = fixity.check(charge.stores, listed, trusted=signing.public_keys(charge.home), seconds=fixity.SHARE_SECONDS)
    found = dataclasses.replace(found, differences=found.differences + read.differences)
    reconciliation.write_report(charge.home, found)
    if found.differences:
        raise CareError(
            f"database, store and feed differ in {len(found.differences)} places: "
            "look with `terralimb catalogue reconcile`"
        )
    figures = {"read": read.read, "read_size": read.size, "unread": read.unread}
    return {"database": found.database, "store": found.store, "feed": found.feed, **figures}


def _back_up(charge: Charge, now: dt.datetime) -> Outcome:
    if sa.make_url(charge.database_url).get_backend_name() != "sqlite":
        return {"skipped": "PostgreSQL is backed up with pg_dump"}
    signing.ensure(charge.home)
    made = backup.back_up(
        charge.database_url,
        store=charge.stores.store,
        catalogue_bucket=charge.stores.catalogue_bucket,
        sign=charge.sign,
        now=now,
    )
    return backup_outcome(made)


def _export(charge: Charge, now: dt.datetime) -> Outcome:
    """Export all once the month before is over, else the months in which something changed since the last export.

    What is withdrawn leaves the exports within a day; a day on which exporting failed is made up for on the next.
    """
    month = month_before(now)
    last = notes(charge.home).get("export", {}).get("went_well") or {}
    since = None
    if last.get("month") == month and type(last.get("sequence")) is int:
        since = export.Mark(last["sequence"], dt.datetime.fromisoformat(last["at"]) - EXPIRY_OVERLAP)
    done = export.export(
        charge.stores.catalog, charge.stores.store, catalogue_bucket=charge.stores.catalogue_bucket, since=since
    )
    return {"month": month, **dataclasses.asdict(done)}


#: What is done once a day, by name.
STEPS: Mapping[str, Callable[[Charge, dt.datetime], Outcome]] = {
    "seal": _seal,
    "timeliness": _timeliness,
    "reconcile": _reconcile,
    "backup": _back_up,
    "export": _export,
}
