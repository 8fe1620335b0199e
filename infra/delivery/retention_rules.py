"""Rules of retention: the class of every revision, from the file in force."""

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from infra import catalog_store
from processors import quality

SHIPPED = Path(__file__).parents[1] / "parameters" / "retention.yaml"

_DAYS = {"published": "current_days", "superseded": "superseded_days", "withdrawn": "withdrawn_days"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetentionClass:
    """How long revisions of one kind are kept.

    Attributes
    ----------
    name : str
        Name of the class.
    days : Mapping[str, int or None]
        Days by state; None for ever [day].
    sectors, collections : frozenset of str or None
        What it is for; None for all.
    stream : str or None
        nrt, final or test; None for all.
    """

    name: str
    days: Mapping[str, int | None]
    sectors: frozenset[str] | None = None
    collections: frozenset[str] | None = None
    stream: str | None = None

    def fits(self, item: catalog_store.CatalogItem) -> bool:
        """Whether a revision is of this class.

        Parameters
        ----------
        item : infra.catalog_store.CatalogItem
            The revision.

        Returns
        -------
        bool
            True where all the class names fits.
        """
        stream = item.document.get("properties", {}).get("cqeo:stream")
        return (
            (self.sectors is None or item.sector in self.sectors)
            and (self.collections is None or item.collection in self.collections)
            and (self.stream is None or self.stream == stream)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules in force.

    Attributes
    ----------
    classes : tuple of RetentionClass
        In the order they are tried; the last fits everything.
    plan_valid : datetime.timedelta
        How long a plan may be acted upon.
    sha256 : str
        Hash of the file, in hex.
    """

    classes: tuple[RetentionClass, ...]
    plan_valid: dt.timedelta
    sha256: str

    def due(self, kept: catalog_store.KeptRevision) -> tuple[dt.datetime, str] | None:
        """When the time of a revision is over, and by which rule.

        Parameters
        ----------
        kept : infra.catalog_store.KeptRevision
            The revision.

        Returns
        -------
        tuple of (datetime.datetime, str) or None
            Instant and reason; None where it is kept for ever or nobody knows since when its state holds.
        """
        item = kept.item
        found = next(one for one in self.classes if one.fits(item))
        days, since = found.days[item.state], kept.since
        if days is None or since is None:
            return None
        kind = {"published": "revisions", "superseded": "superseded revisions", "withdrawn": "withdrawn revisions"}
        reason = f"the files were removed: {kind[item.state]} of class {found.name} are kept {days} days"
        return since + dt.timedelta(days=days), reason


def read(path: Path) -> Rules:
    """Rules of a file.

    Parameters
    ----------
    path : Path
        YAML with version, plan_valid_days, classes and default.

    Returns
    -------
    Rules
        The rules.

    Raises
    ------
    processors.quality.BadInputError
        `retention_invalid` naming the file, the class and what is wrong with it.
    """
    try:
        raw = path.read_bytes()
        loaded = yaml.safe_load(raw)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise quality.BadInputError("retention_invalid", f"{path} cannot be read: {error}") from error
    if not isinstance(loaded, dict) or set(loaded) != {"version", "plan_valid_days", "classes", "default"}:
        raise _invalid(str(path), "version, plan_valid_days, classes and default are wanted")
    entries = [*(loaded["classes"] or ()), loaded["default"]]
    classes = tuple(_class(entry, f"{path}: class {number}") for number, entry in enumerate(entries, 1))
    last = classes[-1]
    if last.sectors is not None or last.collections is not None or last.stream is not None:
        raise _invalid(str(path), "the default fits everything, so it names no sectors, collections or stream")
    valid = _days(loaded["plan_valid_days"], f"{path}: plan_valid_days")
    if valid is None:
        raise _invalid(str(path), "plan_valid_days is a number of days")
    return Rules(classes=classes, plan_valid=dt.timedelta(days=valid), sha256=hashlib.sha256(raw).hexdigest())


def _class(entry: Any, place: str) -> RetentionClass:
    needed = {"name", *_DAYS.values()}
    names = set(entry) if isinstance(entry, dict) else set()
    if not needed <= names <= needed | {"sectors", "collections", "stream"}:
        raise _invalid(place, f"{', '.join(sorted(needed))} are wanted; sectors, collections and stream may be there")
    if entry.get("stream") not in {None, "nrt", "final", "test"}:
        raise _invalid(place, f"stream is nrt, final or test, not {entry['stream']!r}")
    return RetentionClass(
        name=str(entry["name"]),
        days={state: _days(entry[name], f"{place}: {name}") for state, name in _DAYS.items()},
        sectors=_set(entry.get("sectors"), f"{place}: sectors"),
        collections=_set(entry.get("collections"), f"{place}: collections"),
        stream=entry.get("stream"),
    )


def _days(value: Any, place: str) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise _invalid(place, f"a whole number of days from 1, or null, not {value!r}")
    return value


def _set(value: Any, place: str) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise _invalid(place, f"a list of names, not {value!r}")
    return frozenset(value)


def _invalid(place: str, what: str) -> quality.BadInputError:
    return quality.BadInputError("retention_invalid", f"{place}: {what}")
