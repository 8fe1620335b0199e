"""Who may see which items: one rule, as a condition of the database and as a test of one item.

Search, item, count, collection, feed and download all ask here; nothing else decides. Nobody sees anything by default.
An agency sees the items of its sectors and, where it is limited to districts, only those whose every district lies in
its own: an item of several districts would show a neighbour's. Codes are those of GB/T 2260 (province, prefecture and
county, two digits each), with township and village behind them (three digits each); parts that are all zeros at the
end stand for everything that begins with what is before them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa

from infra import catalog_store

Scope = Literal["search", "download", "feed", "operate"]

#: Everything an identity can be allowed to do.
SCOPES: tuple[Scope, ...] = ("search", "download", "feed", "operate")

#: Digits of province, prefecture and county, each of a pair; what is behind comes in threes.
_COUNTY, _PAIR, _THREE = 6, 2, 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Principal:
    """Whoever asks, after the identity was proven.

    Attributes
    ----------
    agency : str
        Name of the agency, for limits and the audit record.
    sectors : frozenset of str
        Sectors whose items it may see.
    districts : frozenset of str or None
        Codes of GB/T 2260 it is limited to; None for all.
    scopes : frozenset of str
        What it may do, of `SCOPES`.
    key_id : str
        Public name of the key or token used, for the audit record.
    """

    agency: str
    sectors: frozenset[str]
    districts: frozenset[str] | None
    scopes: frozenset[Scope]
    key_id: str


def code_stem(code: str) -> str:
    """Beginning that the codes of everything within a district share.

    Parameters
    ----------
    code : str
        Code of six digits, or of nine or twelve with township and village.

    Returns
    -------
    str
        The code without the parts at its end that are all zeros; at least the two digits of the province.
    """
    while len(code) > _COUNTY and code.endswith("0" * _THREE):
        code = code[:-_THREE]
    while _PAIR < len(code) <= _COUNTY and code.endswith("0" * _PAIR):
        code = code[:-_PAIR]
    return code


def permits_collection(principal: Principal, *, sector: str) -> bool:
    """Tell whether an identity may know of a collection, whatever it may see in it.

    Parameters
    ----------
    principal : Principal
        Who asks.
    sector : str
        Sector of the collection.

    Returns
    -------
    bool
        Whether it may.
    """
    return sector in principal.sectors


def permits(principal: Principal, *, sector: str, admin_codes: Sequence[str]) -> bool:
    """Tell whether an identity may see an item.

    Parameters
    ----------
    principal : Principal
        Who asks.
    sector : str
        Sector of the item.
    admin_codes : Sequence[str]
        Districts the item concerns; empty for a product of no district.

    Returns
    -------
    bool
        Whether it may be seen.
    """
    if not permits_collection(principal, sector=sector):
        return False
    if principal.districts is None:
        return True
    stems = tuple(code_stem(code) for code in principal.districts)
    return bool(admin_codes) and all(code.startswith(stems) for code in admin_codes)


def condition(principal: Principal) -> sa.ColumnElement[bool]:
    """Give the same rule as a condition on the table of items.

    Parameters
    ----------
    principal : Principal
        Who asks.

    Returns
    -------
    sqlalchemy.ColumnElement
        Condition on `infra.catalog_store.item_table`.
    """
    item, district = catalog_store.item_table.c, catalog_store.district_table.c
    of_sector = item.sector.in_(sorted(principal.sectors))
    if principal.districts is None:
        return of_sector
    stems = sorted({code_stem(code) for code in principal.districts})
    within = sa.or_(sa.false(), *(district.code.startswith(stem, autoescape=True) for stem in stems))
    foreign = sa.select(district.district_set).where(~within)
    own = sa.select(district.district_set).where(within, district.district_set.not_in(foreign))
    return sa.and_(of_sector, item.district_set.in_(own))
