"""Names of modules and functions are the field's, DAG files shadow nothing, and every checker sees a planted fault."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("processors", "retrieval", "products", "infra")
REFUSED_MODULES = {
    "utils",
    "util",
    "helpers",
    "common",
    "misc",
    "core",
    "base",
    "shared",
    "lib",
    "tools",
    "manager",
    "handler",
    "service",
    "engine",
    "functions",
    "classes",
    "types",
    "models",
    "data",
    "process",
    "processing",
    "pipeline",
    "temp",
    "old",
    "new",
    "v2",
}
REFUSED_PREFIXES = ("get_", "do_", "handle_", "calc_", "process_")
# Methods whose names a library's base class prescribes.
PRESCRIBED = {"infra/delivery/stac_api.py": {"get_queryables", "get_collection", "get_item", "get_search"}}
MAX_DAG_LINES = 150


def modules() -> Iterator[Path]:
    for package in (*PACKAGES, "dags"):
        yield from sorted((REPOSITORY / package).rglob("*.py"))


def refused_name(stem: str) -> bool:
    return stem in REFUSED_MODULES


def refused_functions(tree: ast.AST) -> list[str]:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [node.name for node in functions if node.name.lstrip("_").startswith(REFUSED_PREFIXES)]


def shadowed(stem: str) -> bool:
    return stem in PACKAGES or stem in sys.stdlib_module_names


def domain_imports(tree: ast.AST) -> list[str]:
    """Modules of ours a DAG file imports other than the stages."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    ours = [name for name in names if name.split(".")[0] in PACKAGES]
    return [name for name in ours if not name.startswith("infra.stages")]


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_module_and_function_names_are_field_terms(path: Path) -> None:
    assert not refused_name(path.stem)
    prescribed = PRESCRIBED.get(str(path.relative_to(REPOSITORY)), set())
    assert not set(refused_functions(ast.parse(path.read_text()))) - prescribed


@pytest.mark.parametrize("path", sorted((REPOSITORY / "dags").rglob("*.py")), ids=lambda path: path.name)
def test_dag_files_are_thin_and_reach_the_domain_through_stages_only(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not shadowed(path.stem)
    assert domain_imports(tree) == []
    assert len(path.read_text().splitlines()) < MAX_DAG_LINES
    siblings = {other.stem for other in (REPOSITORY / "dags").glob("*.py")}
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not siblings & imported


def test_no_name_of_a_place_where_packages_come_from_is_committed() -> None:
    host = re.compile(r"https?://[\w.-]*(pypi|pythonhosted|npmjs|deb\.debian)[\w.-]*")
    texts = [path for path in REPOSITORY.rglob("*") if path.suffix in {".lock", ".toml", ".md", ".yaml", ".cfg"}]
    kept = [path for path in texts if not {".venv", ".uv", "var"} & set(path.relative_to(REPOSITORY).parts)]
    assert kept
    assert [path.name for path in kept if host.search(path.read_text(errors="ignore"))] == []


def test_the_checkers_see_planted_faults() -> None:
    assert refused_name("utils")
    assert refused_functions(ast.parse("def get_value(): ...\nasync def _handle_it(): ...")) == [
        "get_value",
        "_handle_it",
    ]
    assert shadowed("products")
    assert shadowed("calendar")
    assert domain_imports(ast.parse("from processors.ccsds import link\nfrom infra.stages import chain")) == [
        "processors.ccsds.link"
    ]
