"""Notices: what will change, when, for which collections, told ahead so that users can prepare and try it.

A notice is never changed. What proves wrong is corrected or cancelled by a further revision, which is told as the
first was. Delivery is at least once: consumers recognize a repetition by (id, revision).
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Literal

Kind = Literal["format-change", "interruption", "general"]
Change = Literal["published", "corrected", "cancelled"]

KINDS: tuple[Kind, ...] = ("format-change", "interruption", "general")
CHANGES: tuple[Change, ...] = ("published", "corrected", "cancelled")

#: Version of the layout of what is told.
LAYOUT = "terralimb-notice/1"
#: The event of a notice among the events of announcements.
EVENT = "notice"
#: How long ahead a change of format is told, unless there is a reason [day].
AHEAD_DAYS = 14


class NoticeError(ValueError):
    """A notice cannot be given as it is; the sentence says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Notice:
    """One revision of a notice.

    Attributes
    ----------
    id : str
        Identity.
    revision : int
        Revision, from 1 [1].
    change : str
        published, corrected or cancelled.
    kind : str
        One of `KINDS`.
    collections : Mapping[str, str]
        Sector by collection it is about; empty for all.
    effective_at, published_at : datetime.datetime
        From when it holds, and when it was told; aware.
    title_zh, title_en, text_zh, text_en : str
        What it says.
    old_format, new_format : str or None
        Versions of the format before and after.
    test_data : str or None
        Collection of the test stream, or address, where the coming format can be tried.
    urgent_reason : str or None
        Why it was told late.
    reason : str or None
        Why it was corrected or cancelled.
    """

    id: str
    revision: int
    change: Change
    kind: Kind
    collections: Mapping[str, str]
    effective_at: dt.datetime
    published_at: dt.datetime
    title_zh: str
    title_en: str
    text_zh: str
    text_en: str
    old_format: str | None = None
    new_format: str | None = None
    test_data: str | None = None
    urgent_reason: str | None = None
    reason: str | None = None


def check(notice: Notice, *, before: Notice | None = None) -> None:
    """Refuse a notice that says too little or comes too late.

    Parameters
    ----------
    notice : Notice
        The notice, about to be published.
    before : Notice or None
        The revision before it.

    Raises
    ------
    NoticeError
        What is wrong with it, and what to do.
    """
    if not all(text.strip() for text in (notice.title_zh, notice.title_en, notice.text_zh, notice.text_en)):
        raise NoticeError("a notice has a title and a text in Chinese and in English")
    if (notice.change == "published") != (before is None):
        raise NoticeError(f"{notice.id}: a correction or cancellation follows what was published, nothing else does")
    if before is not None and before.change == "cancelled":
        raise NoticeError(f"{notice.id} was cancelled: give a new notice")
    if before is not None and not notice.reason:
        raise NoticeError(f"{notice.id}: a correction or cancellation says why")
    if notice.kind == "format-change" and notice.change != "cancelled":
        _check_format_change(notice, before)


def _check_format_change(notice: Notice, before: Notice | None) -> None:
    if not notice.collections:
        raise NoticeError("a change of format names the products or collections that change")
    if not notice.old_format or not notice.new_format:
        raise NoticeError("a change of format names the version before and after")
    if notice.urgent_reason:
        return
    if not notice.test_data:
        raise NoticeError("a change of format comes with test data: publish some and name them, or say why not")
    put_off = before is not None and before.kind == notice.kind and notice.effective_at >= before.effective_at
    if not put_off and notice.effective_at < notice.published_at + dt.timedelta(days=AHEAD_DAYS):
        raise NoticeError(f"a change of format is told {AHEAD_DAYS} days ahead: choose a later time, or say why not")


def coming(notice: Notice, now: dt.datetime) -> bool:
    """Whether a notice is still to be heeded.

    Parameters
    ----------
    notice : Notice
        Its latest revision.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    bool
        Whether its time has not come yet and it was not cancelled.
    """
    return notice.change != "cancelled" and notice.effective_at > now


def within(notice: Notice, permitted: Callable[[str], bool]) -> Notice | None:
    """What of a notice concerns somebody.

    Parameters
    ----------
    notice : Notice
        The notice.
    permitted : callable
        Whether collections of a sector may be known to them.

    Returns
    -------
    Notice or None
        With the collections they may know only; None where there is none of these. A notice about everything stays.
    """
    if not notice.collections:
        return notice
    kept = {name: sector for name, sector in notice.collections.items() if permitted(sector)}
    return dataclasses.replace(notice, collections=kept) if kept else None


def message(notice: Notice, address: Callable[..., str]) -> dict[str, Any]:
    """What consumers are told.

    Parameters
    ----------
    notice : Notice
        The notice, as far as it concerns them.
    address : callable
        Gives an address of the service by the parts of its path.

    Returns
    -------
    dict
        Ready for JSON.
    """
    links = [{"rel": "notice", "href": address("notices", notice.id)}]
    if notice.test_data is not None:
        link = notice.test_data if "://" in notice.test_data else address("stac", "collections", notice.test_data)
        links.append({"rel": "test-data", "href": link})
    told = {
        "layout": LAYOUT,
        "event": EVENT,
        "change": notice.change,
        "id": notice.id,
        "revision": notice.revision,
        "kind": notice.kind,
        "collections": sorted(notice.collections),
        "sectors": sorted(set(notice.collections.values())),
        "effective_at": _rfc3339(notice.effective_at),
        "published_at": _rfc3339(notice.published_at),
        "title": {"zh": notice.title_zh, "en": notice.title_en},
        "text": {"zh": notice.text_zh, "en": notice.text_en},
        "links": links,
    }
    optional = {
        "old_format": notice.old_format,
        "new_format": notice.new_format,
        "urgent_reason": notice.urgent_reason,
        "reason": notice.reason,
    }
    return told | {name: value for name, value in optional.items() if value is not None}


def _rfc3339(instant: dt.datetime) -> str:
    return instant.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
