"""Definitions of downlinks this installation receives: one YAML file each, packaged with it."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[1] / "parameters" / "links"


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """Names of the known links."""
    return frozenset(path.stem for path in FOLDER.glob("*.yaml"))


def definition(name: str) -> dict[str, Any]:
    """Link definition called `name`, as `processors.ccsds.link` reads it.

    Raises
    ------
    KeyError
        There is no such link.
    """
    if name not in names():
        raise KeyError(f"no link {name!r}; known links: {', '.join(sorted(names()))}")
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return loaded
