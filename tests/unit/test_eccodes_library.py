"""ecCodes shares a process with other users of PROJ: neither takes the other's objects."""

import ast
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import eccodes_library

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = {
    "eccodes": "from infra import eccodes_library; codes = eccodes_library.load()\n"
    "handle = codes.codes_bufr_new_from_samples('BUFR4'); codes.codes_release(handle)",
    "pyproj": "import pyproj\n"
    "east, north = pyproj.Transformer.from_crs(4326, 32650, always_xy=True).transform(117.0, 0.0)\n"
    "assert abs(east - 500e3) < 1e-3 > abs(north), (east, north)",
    "rasterio": "import rasterio.warp\n"
    "(east,), (north,) = rasterio.warp.transform('EPSG:4326', 'EPSG:32650', [117.0], [0.0])\n"
    "assert abs(east - 500e3) < 1e-3 > abs(north), (east, north)",
}


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids="-".join)
def test_in_every_order_of_loading_maps_are_projected_and_the_process_ends_well(order: tuple[str, ...]) -> None:
    program = "\n".join(STEPS[name] for name in order)
    made = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (made.returncode, made.stderr) == (0, "")


def test_no_other_module_imports_eccodes() -> None:
    folders = ("processors", "retrieval", "products", "infra", "dags", "tests")
    paths = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    assert len(paths) > 100
    unwanted, direct = {"eccodes", "gribapi", "pdbufr", "cfgrib"}, []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        # An import spells the name: what never does need not be parsed.
        for node in ast.walk(ast.parse(text)) if any(name in text for name in unwanted) else ():
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.partition(".")[0] for name in names} & unwanted:
                direct.append(path.name)
    assert direct == []


def test_the_search_for_the_library_leaves_the_environment_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINDLIBS_DISABLE_PACKAGE", "no")
    before = dict(os.environ)
    with eccodes_library._found_at(tmp_path):
        inside = dict(os.environ)
    assert dict(os.environ) == before
    assert inside["ECCODESLIB_HOME"] == str(tmp_path)
    assert inside["FINDLIBS_DISABLE_PACKAGE"] == "yes"


def test_without_the_wheels_the_library_is_found_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eccodes_library, "LIBRARY", "no_such_wheel")
    assert eccodes_library.load() is sys.modules["eccodes"]
