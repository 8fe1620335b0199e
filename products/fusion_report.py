"""The report of a fusion as one page people can read: verdict, warnings, pictures, tables, and no other file needed."""

import base64
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

_TEMPLATE = "fusion_report.html.j2"
_LONGEST_TABLE = 60
_GOOD = frozenset({"ok", "flagged"})


class Picture(NamedTuple):
    """A picture of the page."""

    caption: str
    """What it shows."""
    body: bytes
    """PNG."""


class _Cell(NamedTuple):
    text: str
    number: bool


class _Table(NamedTuple):
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[_Cell, ...], ...]


def page(report: Mapping[str, Any], *, title: str, lead: str, pictures: Sequence[Picture]) -> str:
    """HTML of a report.

    Parameters
    ----------
    report : Mapping
        The report as written to JSON; `status` and `warnings` are shown on top, scalars in one table, every list of
        objects in a table of its own.
    title : str
        Headline.
    lead : str
        One sentence below it.
    pictures : sequence of Picture
        Pictures, in order.

    Returns
    -------
    str
        A page that needs no other file.
    """
    status = str(report.get("status", "ok"))
    return _template().render(
        title=title,
        lead=lead,
        status=status,
        good=status in _GOOD,
        warnings=[str(text) for text in report.get("warnings", ())],
        figures=[{"caption": item.caption, "body": base64.b64encode(item.body).decode()} for item in pictures],
        tables=_tables(report),
        document=json.dumps(report, indent=1, ensure_ascii=False, default=str),
    )


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    folder = Path(__file__).parent
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True)
    return environment.get_template(_TEMPLATE)


def _tables(report: Mapping[str, Any]) -> list[_Table]:
    """The report's scalars, then its lists and objects."""
    hidden = {"status", "warnings"}
    scalars = {key: value for key, value in report.items() if key not in hidden and _is_plain(value)}
    tables = [_of_pairs("Summary", scalars)] if scalars else []
    for key, value in report.items():
        if key in hidden or key in scalars:
            continue
        tables += _nested(key, value)
    return tables


def _nested(title: str, value: Any) -> list[_Table]:
    heading = title.replace("_", " ")
    if isinstance(value, Mapping):
        rows = list(value.values())
        if rows and all(isinstance(row, Mapping) for row in rows):
            return [_of_objects(heading, [{"": key, **row} for key, row in value.items()])]
        return [_of_pairs(heading, value)] if value else []
    if isinstance(value, Sequence) and value and all(isinstance(row, Mapping) for row in value):
        return [_of_objects(heading, value)]
    return [_of_pairs(heading, {str(number): item for number, item in enumerate(value, 1)})] if value else []


def _of_pairs(title: str, pairs: Mapping[str, Any]) -> _Table:
    return _Table(title, (), tuple((_cell(str(key).replace("_", " ")), _cell(value)) for key, value in pairs.items()))


def _of_objects(title: str, rows: Sequence[Mapping[str, Any]]) -> _Table:
    head = tuple(dict.fromkeys(key for row in rows for key in row))
    shown = rows[:_LONGEST_TABLE]
    note = f" (the first {len(shown)} of {len(rows)})" if len(rows) > len(shown) else ""
    cells = tuple(tuple(_cell(row.get(key)) for key in head) for row in shown)
    return _Table(title + note, tuple(key.replace("_", " ") for key in head), cells)


def _cell(value: Any) -> _Cell:
    if isinstance(value, bool) or value is None:
        return _Cell({True: "yes", False: "no", None: "-"}[value], number=False)
    if isinstance(value, float):
        return _Cell(f"{value:.4g}", number=True)
    if isinstance(value, int):
        return _Cell(f"{value}", number=True)
    if isinstance(value, str):
        return _Cell(value, number=False)
    return _Cell(_in_words(value), number=False)


def _in_words(value: Any) -> str:
    """A nested value on one line, figures as short as elsewhere."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_in_words(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_in_words(item) for item in value)
    return _cell(value).text


def _is_plain(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value) <= 8 and all(item is None or isinstance(item, str | int | float) for item in value)
    return not isinstance(value, Mapping)
