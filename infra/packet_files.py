"""Recordings in files to packets in files: a folder that is complete or not there."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from processors import quality
from processors.arrays import ByteArray
from processors.ccsds import link as spacelink
from processors.level0 import downlink

ACCOUNT = "completeness.json"
PACKETS = "packets"
QUARANTINE = "quarantine"


def decode(
    paths: Sequence[Path],
    *,
    link: spacelink.Link,
    out: Path,
    progress: Callable[[int], None] = lambda octets: None,
) -> dict[str, Any]:
    """Decode and merge recordings in files, however long they are.

    Writes `out/packets/<scid>/<vcid>/<apid>.bin` (space packets back to back, idle ones left out),
    `out/quarantine/<why>.frames` and `.packets` (what failed a check, as received), and last
    `out/completeness.json`: where that file is, the others are whole. What an earlier decode left there is replaced.

    Parameters
    ----------
    paths : sequence of Path
        Recordings of one link; their order does not matter.
    link : Link
        Description of the link.
    out : Path
        Folder; made where it is not there.
    progress : callable
        Told the number of octets each time some have been read.

    Returns
    -------
    dict
        The account; under `failed` the files that could not be decoded and why.

    Raises
    ------
    BadInputError
        Not one file can be decoded.
    """
    out.mkdir(parents=True, exist_ok=True)
    recordings = [downlink.Recording(str(path), _stretches(path, progress)) for path in paths]
    with tempfile.TemporaryDirectory(prefix=".decoding-", dir=out) as place:
        sink = FolderSink(Path(place))
        try:
            account = downlink.decode_into(sink, recordings, link=link, folder=Path(place))
        except quality.BadInputError as error:
            raise quality.BadInputError(error.cause, f"{', '.join(map(str, paths))}: {error}") from error
        sink.sync()
        (out / ACCOUNT).unlink(missing_ok=True)
        for name in (PACKETS, QUARANTINE):
            shutil.rmtree(out / name, ignore_errors=True)
            if (Path(place) / name).exists():
                (Path(place) / name).rename(out / name)
        write_durably(out / ACCOUNT, (json.dumps(account, indent=2) + "\n").encode())
    return account


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is there with all of its content or not at all, also after a loss of power.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes
        Its content.
    """
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder are on disk.

    Parameters
    ----------
    folder : Path
        The folder.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stretches(path: Path, progress: Callable[[int], None]) -> Iterator[ByteArray]:
    with path.open("rb") as file:
        while (stretch := np.fromfile(file, dtype=np.uint8, count=downlink.STRETCH)).size:
            yield stretch
            progress(stretch.size)


class FolderSink(downlink.DiscardingSink):
    """Packets and rejected frames appended to files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: set[Path] = set()

    def add_packets(self, channel: downlink.PacketChannel, content: bytes) -> None:
        """Append packets of a source to its file."""
        self._append(self._folder / PACKETS / str(channel.scid) / str(channel.vcid) / f"{channel.apid}.bin", content)

    def add_rejected(self, fate: str, content: bytes) -> None:
        """Append what failed a check to the file of its fate."""
        self._append(self._folder / QUARANTINE / fate, content)

    def _append(self, path: Path, content: bytes) -> None:
        if path not in self._known:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._known.add(path)
        with path.open("ab") as file:
            file.write(content)

    def sync(self) -> None:
        """Make sure that all files are on disk."""
        for path in self._known:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        for folder in {path.parent for path in self._known}:
            sync_folder(folder)
