"""What the demonstration lands: the project's own forward models, or the files of a folder."""

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra import archive
from infra.stages import links

RULES = Path(__file__).with_name("landing_rules.yaml")


@dataclass(frozen=True)
class LandedFile:
    """A file and the key it lands under."""

    key: str
    body: bytes


class NoInputError(Exception):
    """A folder holds nothing the main job knows what to do with."""


def from_folder(folder: Path) -> Iterator[LandedFile]:
    """Files of `folder` that the main job takes, each with its landing key.

    A folder is laid out like the landing bucket (`downlink/<station>/<link>/...`, `occultations/<centre>/...`,
    `scenes/<source>/<area>/...`, `auxiliary/<kind>/...`) or like the project's collection of real data; other files are
    left alone.

    Raises
    ------
    NoInputError
        No file of the folder is taken.
    """
    taken = [(path, key) for path in sorted(folder.rglob("*")) if path.is_file() and (key := _key(path, folder))]
    if not taken:
        raise NoInputError(
            f"{folder} holds nothing to land: lay it out as downlink/<station>/<link>/, occultations/<centre>/, "
            "scenes/<source>/<area>/ and auxiliary/<kind>/"
        )
    for path, key in taken:
        yield LandedFile(key, path.read_bytes())


def left_alone(folder: Path) -> list[str]:
    """Files of `folder` the main job does not take, for the summary to name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in files if _key(path, folder) is None]


def _key(path: Path, folder: Path) -> str | None:
    relative = path.relative_to(folder)
    for rule in _rules():
        if _matches(str(relative), rule):
            return str(rule["land"]).format(name=path.name)
    return _key_as_laid_out(relative)


def _matches(relative: str, rule: dict[str, Any]) -> bool:
    return fnmatch.fnmatch(relative, rule["files"]) and not any(
        fnmatch.fnmatch(relative, pattern) for pattern in rule.get("except", ())
    )


def _key_as_laid_out(relative: Path) -> str | None:
    key = relative.as_posix()
    kind = archive.landed_kind(key)
    parts = archive.landing_parts(key)
    if kind == "landed_downlink":
        return key if len(parts) == 2 and parts[1] in links.names() else None
    return key if kind and parts else None


def _rules() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["rules"]
    return loaded
