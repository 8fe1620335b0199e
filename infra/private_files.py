"""Folders and files of this installation that no other account of the machine reads."""

import os
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a folder that is for its owner only; one that is there keeps its mode, which may have been chosen.

    Parameters
    ----------
    path : Path
        The folder; those above it are made as the surroundings have it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def make_file(path: Path) -> None:
    """Make an empty file that is for its owner only; one that is there is left as it is.

    Parameters
    ----------
    path : Path
        The file.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def write(path: Path, text: str) -> None:
    """Write a file that is for its owner only, under its final name at once or not at all.

    Parameters
    ----------
    path : Path
        The file; its folder is made where it is not there.
    text : str
        Its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(path)
