"""How much a filter may ask for, decided before anything reads it.

The library that reads CQL2 text goes one level of the machine's stack deeper with every operator of a chain, until the
process ends, and reads the inside of a parenthesis again for every one around it where something in there is wrong.
So operators and parentheses are counted here, in the text, and levels, operators and strings in a tree of JSON.
"""

import re
from collections.abc import Iterator
from typing import Any

#: The most a filter may hold: octets, levels of nesting, operators beside AND and OR [1].
LENGTH_LIMIT = 65_536
DEPTH_LIMIT = 32
OPERATOR_LIMIT = 256

#: The most of octets times two to the power of the nesting that a text may be [1]; about half a second to refuse.
WORK_LIMIT = 2**20

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
_POSITION = rf"\s*{_NUMBER}(?:\s+{_NUMBER}){{0,3}}\s*"
#: Positions of a geometry, whose signs are no operators; no more than four numbers follow each other without a comma.
_POSITIONS = re.compile(rf"\({_POSITION}(?:,{_POSITION})*\)")
#: Operators that make a chain; the library knows the words inside other words too, where they follow no letter.
_OPERATOR = re.compile(r"[<>=!|]+|[-+*/^%]|not|(?<![a-z_.:])(?:in|is|like|between|div)", re.IGNORECASE)


class FilterTooLargeError(ValueError):
    """The filter asks for too much at once."""


def check_text(text: str) -> None:
    """Refuse a filter in CQL2 text that is too much to read.

    Parameters
    ----------
    text : str
        The filter.

    Raises
    ------
    FilterTooLargeError
        It is too long, nested too deeply or has too many operators.
    """
    _check_length(text)
    bare = _POSITIONS.sub(" ", _QUOTED.sub("''", text))
    if len(text) << min(_nesting(bare), DEPTH_LIMIT) > WORK_LIMIT:
        raise FilterTooLargeError("the filter is nested too deeply for its length")
    _check_count(sum(1 for _ in _OPERATOR.finditer(bare)))


def check_tree(tree: Any) -> None:
    """Refuse a filter in CQL2 JSON that is too much to read.

    Parameters
    ----------
    tree : Any
        The filter, as read from JSON.

    Raises
    ------
    FilterTooLargeError
        It is nested too deeply, has too many operators, or a text that is none.
    """
    check_json(tree)
    _check_count(sum(isinstance(value, dict) and "op" in value for value, _ in _parts(tree)))


def check_json(tree: Any, *, above: int = 0) -> None:
    """Refuse JSON that is nested too deeply or holds a text that is none.

    Parameters
    ----------
    tree : Any
        What was read from JSON.
    above : int
        Levels a filter may lie below its top [1].

    Raises
    ------
    FilterTooLargeError
        It is, or does.
    """
    for value, level in _parts(tree):
        if level > 2 * DEPTH_LIMIT + above:
            raise FilterTooLargeError(f"what is asked is nested deeper than {DEPTH_LIMIT} levels")
        if isinstance(value, str) and not storable(value):
            raise FilterTooLargeError("there is a text with NUL or with half a character")


def _parts(tree: Any) -> Iterator[tuple[Any, int]]:
    """Every value of a tree with its level, names of objects among them."""
    waiting = [(tree, 1)]
    while waiting:
        value, level = waiting.pop()
        yield value, level
        if isinstance(value, dict):
            waiting += [(part, level + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list):
            waiting += [(part, level + 1) for part in value]


def _check_length(text: str) -> None:
    if len(text.encode(errors="surrogatepass")) > LENGTH_LIMIT:
        raise FilterTooLargeError(f"the filter is longer than {LENGTH_LIMIT} octets")


def _check_count(operators: int) -> None:
    if operators > OPERATOR_LIMIT:
        raise FilterTooLargeError(f"the filter has more than {OPERATOR_LIMIT} operators; IN takes a list")


def storable(text: str) -> bool:
    """Tell whether a text is one the database can compare with: without NUL and without halves of characters.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    bool
        Whether it is.
    """
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif character == ")":
            depth = max(0, depth - 1)
    return deepest
