"""ecCodes, loaded so that it keeps its libraries to itself.

The usual import puts every library ecCodes depends on into the global namespace of the process, a copy of PROJ among
them. A second copy that comes later (pyproj, rasterio) then binds to the objects of the first: its database is not
found and at exit each object is destroyed twice ("double free or corruption"). Here the same libraries are opened
without lending their names to others; so no module but this one may import ecCodes.
"""

import contextlib
import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARY, DEPENDENCIES = "eccodeslib", "eckitlib"
ENTRY = "libeckit_geo.so"
"""Library of the dependencies that draws all the others in."""


def load() -> Any:
    """The module `eccodes`.

    Returns
    -------
    module
        The Python interface of ecCodes. Where its libraries are not those of the wheels, they are found as usual.
    """
    library, dependencies = _folder(LIBRARY), _folder(DEPENDENCIES)
    if library is None or dependencies is None or "eccodes" in sys.modules:
        return import_module("eccodes")
    # the libraries of ecCodes name these without a path: once open, they are found by name
    ctypes.CDLL(str(dependencies / "lib64" / ENTRY), mode=ctypes.RTLD_LOCAL)
    with _found_at(library):
        return import_module("eccodes")


def _folder(package: str) -> Path | None:
    """Folder of an installed package that holds libraries for this system."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None or sys.platform != "linux":
        return None
    folder = Path(found.origin).parent
    return folder if (folder / "lib64").is_dir() else None


@contextlib.contextmanager
def _found_at(folder: Path) -> Iterator[None]:
    """The search for the library ends in this folder, without the step that opens its dependencies for all."""
    wanted = {"FINDLIBS_DISABLE_PACKAGE": "yes", "FINDLIBS_DISABLE_PYTHON": "yes", "ECCODESLIB_HOME": str(folder)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
