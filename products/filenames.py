"""Identifiers of published items: lowercase ASCII, the time in them, never a revision."""

import re
from datetime import UTC, datetime

from processors import quality

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]*")


def item_id(product: str, *, area: str, time: datetime) -> str:
    """Identity of one product of one area at one time, ``{product}-{area}-{yyyymmddthhmmssz}``.

    Parameters
    ----------
    product : str
        Product code.
    area : str
        Area code; capitals are lowered.
    time : datetime
        Nominal time with a time zone.

    Returns
    -------
    str
        Identifier made of ``a-z 0-9 _ -``.

    Raises
    ------
    processors.quality.BadInputError
        Where a code holds any other character (cause ``identifier_invalid``) or the time has no zone
        (cause ``time_zone_missing``).
    """
    if time.tzinfo is None:
        raise quality.BadInputError("time_zone_missing", f"the time {time.isoformat()} has no time zone")
    stamp = time.astimezone(UTC).strftime("%Y%m%dt%H%M%Sz")
    return f"{slug(product)}-{slug(area)}-{stamp}"


def slug(code: str) -> str:
    """Code in lowercase, refused where it could not be part of an identifier.

    Parameters
    ----------
    code : str
        Product or area code.

    Returns
    -------
    str
        The code in lowercase.

    Raises
    ------
    processors.quality.BadInputError
        Where the code is empty or holds other characters (cause ``identifier_invalid``).
    """
    lowered = code.lower()
    if not _SLUG.fullmatch(lowered):
        raise quality.BadInputError(
            "identifier_invalid", f"{code!r} cannot be part of an identifier: only a-z, 0-9, _ and - are allowed"
        )
    return lowered
