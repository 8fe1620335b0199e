"""Every physical parameter of a public function of the domain is documented with a unit that can be read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from numpydoc import docscrape

REPOSITORY = Path(__file__).resolve().parents[2]
PHYSICAL = re.compile(r"\b(FloatArray|float)\b")
# Factors such as m, s-1, W, 1e-6, 2^-24 s, joined by spaces; named exceptions of the conventions.
FACTOR = r"(1e-?\d+|2\^-?\d+|[1%]|[a-zA-Z]+(-?\d+)?)"
# Statistics that work in the unit of whatever they are given say "any unit".
UNIT = re.compile(rf"\[{FACTOR}( {FACTOR})*( since [^\]]+|, GPS)?\]|\bany units?\b")


class Undocumented(NamedTuple):
    """A parameter without a readable unit."""

    function: str
    parameter: str


def undocumented(text: str) -> Iterator[Undocumented]:
    """Physical parameters of public functions in `text` whose description states no unit."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            described = descriptions(ast.get_docstring(node) or "")
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                annotation = ast.unparse(argument.annotation) if argument.annotation else ""
                if PHYSICAL.search(annotation) and not UNIT.search(described.get(argument.arg, "")):
                    yield Undocumented(node.name, argument.arg)


def descriptions(docstring: str) -> dict[str, str]:
    """Description of every parameter of a numpydoc docstring, names that share one split apart."""
    parameters = docscrape.NumpyDocString(docstring)["Parameters"]
    return {
        name.strip(): f"{parameter.type} {' '.join(parameter.desc)}"
        for parameter in parameters
        for name in parameter.name.split(",")
    }


def domain_modules() -> list[Path]:
    found = [path for package in ("processors", "retrieval") for path in (REPOSITORY / package).rglob("*.py")]
    return sorted(path for path in found if path.name != "_kernels.py")


@pytest.mark.parametrize("path", domain_modules(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_physical_parameters_state_a_readable_unit(path: Path) -> None:
    assert list(undocumented(path.read_text())) == []


def test_a_parameter_without_unit_is_noticed() -> None:
    planted = '''
def falling_time(height: float, *, gravity: float) -> float:
    """Time to fall.

    Parameters
    ----------
    height : float
        Height [m].
    gravity : float
        Gravity.
    """
'''
    assert list(undocumented(planted)) == [Undocumented("falling_time", "gravity")]
