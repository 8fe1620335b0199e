"""Sessions of a live reception on disk: octets that are safe, and the recordings they become."""

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra import packet_files
from infra.ground_station import protocol
from processors.ccsds import frame_sync

DECODED = "decoded.json"


@dataclass(frozen=True)
class Recording:
    """A finished stretch of a session: the fields of the JSON beside it.

    `offset` is the number of octets of the session before it; `landed` the key in the landing bucket, once it is there.
    """

    file: str
    station: str
    session: str
    link: str
    started: str
    finished: str
    offset: int
    octets: int
    sha256: str
    landed: str | None = None


class Spool:
    """Folder of a receiver: sessions that grow and recordings that are finished; one receiver at a time.

    Parameters
    ----------
    folder : Path
        The folder; made where it is not there.
    link : str
        Name of the link all of it is of.

    Raises
    ------
    protocol.ReceptionError
        Another receiver uses the folder, or it holds recordings of another link.
    """

    def __init__(self, folder: Path, *, link: str) -> None:
        self.folder = folder
        self.link = link
        self.growing = folder / "spool"
        self.finished = folder / "recordings"
        for made in (self.growing, self.finished):
            made.mkdir(parents=True, exist_ok=True)
        self._lock = (self.growing / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise protocol.ReceptionError(
                f"{folder} is in use by another receiver: stop that one, or choose another"
            ) from None
        try:
            self._check_link()
        except protocol.ReceptionError:
            self.close()
            raise

    def close(self) -> None:
        """Let others use the folder."""
        self._lock.close()

    def _check_link(self) -> None:
        documents = [*self.finished.glob("*.json"), *self.growing.glob("*.json")]
        others = {document(path)["link"] for path in documents} - {self.link}
        if others:
            raise protocol.ReceptionError(
                f"{self.folder} holds recordings of link {', '.join(sorted(others))}, not of {self.link}: "
                "choose another folder"
            )

    def recover(self) -> list[protocol.SessionName]:
        """Clean up after a receiver that was killed; returns the sessions that were growing."""
        leftovers = [*self.growing.glob(".*.partial"), *self.finished.glob(".*.partial")]
        documents = [path for path in self.growing.glob("*.json") if not path.with_suffix(".part").exists()]
        for path in (*leftovers, *documents):
            path.unlink()
        for path in self.folder.glob(".decoding-*"):
            shutil.rmtree(path, ignore_errors=True)
        names = (path.stem.partition(".") for path in sorted(self.growing.glob("*.part")))
        return [protocol.SessionName(station, session) for station, dot, session in names if dot]

    def recordings(self) -> list[Recording]:
        """Finished recordings whose octets are here, in the order of their files."""
        found = [Recording(**document(path)) for path in sorted(self.finished.glob("*.json"))]
        return [recording for recording in found if self.path(recording).exists()]

    def path(self, recording: Recording) -> Path:
        """File that holds the octets of a recording."""
        return self.finished / recording.file

    def held(self, name: protocol.SessionName) -> int:
        """Octets in finished recordings of a session, those that have moved on to the store included [1]."""
        found = [Recording(**document(path)) for path in self.finished.glob(f"*-{name}*.json")]
        return sum(
            recording.octets
            for recording in found
            if (recording.station, recording.session) == name
            and (recording.landed is not None or self.path(recording).exists())
        )

    def write(self, recording: Recording) -> None:
        """Write what is known of a recording beside it."""
        content = json.dumps(asdict(recording), indent=2) + "\n"
        packet_files.write_durably((self.finished / recording.file).with_suffix(".json"), content.encode())

    def decoded(self) -> set[str]:
        """Files the packets and the account in this folder were made from."""
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            return set(document(self.folder / DECODED)["recordings"])
        return set()

    def mark_decoded(self, files: Sequence[str]) -> None:
        """Note what the packets and the account in this folder were made from."""
        content = json.dumps({"recordings": sorted(files)}, indent=2) + "\n"
        packet_files.write_durably(self.folder / DECODED, content.encode())


class Intake:
    """Octets of one session on disk. Its methods block and are called by one thread at a time.

    Parameters
    ----------
    spool : Spool
        Where it is kept.
    name : protocol.SessionName
        Whose octets.
    """

    def __init__(self, spool: Spool, name: protocol.SessionName) -> None:
        self.offset = 0
        """Octets of the session in finished recordings."""
        self.size = 0
        """Octets of the growing file that are on disk."""
        self._spool = spool
        self._name = name
        self._part = spool.growing / f"{name}.part"
        self._known = spool.growing / f"{name}.json"
        self._descriptor: int | None = None

    @property
    def total(self) -> int:
        """Octets of the session that are safe."""
        return self.offset + self.size

    def open(self) -> None:
        """Find out what is there, and make sure that it is on disk.

        Raises
        ------
        OSError
            The disk does not take it.
        """
        if self._descriptor is not None:
            return
        if not self._part.exists():
            self.offset, self.size = self._spool.held(self._name), 0
            return
        self.offset = int(document(self._known)["offset"])
        descriptor = os.open(self._part, os.O_WRONLY | os.O_APPEND)
        try:
            # A killed receiver may have written octets it could not make safe any more.
            os.fdatasync(descriptor)
            packet_files.sync_folder(self._spool.growing)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self.size = descriptor, os.fstat(descriptor).st_size

    def append(self, octets: bytes | memoryview) -> None:
        """Add octets; they are on disk when this returns.

        Raises
        ------
        OSError
            The disk does not take them; the session is as it was before.
        """
        descriptor = self._begun()
        self._cut_back(descriptor)
        try:
            left = memoryview(octets)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fdatasync(descriptor)
        except OSError:
            # After a failed write to the device the cache tells nothing: what is not known to be safe goes.
            with contextlib.suppress(OSError):
                self._cut_back(descriptor)
            raise
        self.size += len(octets)

    def finish(self) -> Recording | None:
        """Turn the growing file into a recording; None where it holds nothing.

        Raises
        ------
        OSError
            The disk does not take it; asking again goes on from there.
        """
        self.open()
        if self._descriptor is None:
            return None
        self._cut_back(self._descriptor)
        if self.size == 0:
            self.close()
            self._part.unlink()
            self._known.unlink()
            return None
        recording = self._described()
        self._spool.write(recording)
        self._part.rename(self._spool.path(recording))
        self.close()
        self.offset, self.size = self.total, 0
        for folder in (self._spool.finished, self._spool.growing):
            packet_files.sync_folder(folder)
        self._known.unlink()
        return recording

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _begun(self) -> int:
        if self._descriptor is None:
            known = {"link": self._spool.link, "started": utc_now(), "offset": self.offset}
            packet_files.write_durably(self._known, (json.dumps(known) + "\n").encode())
            descriptor = os.open(self._part, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            self._descriptor = descriptor
            try:
                packet_files.sync_folder(self._spool.growing)
            except OSError:
                self.close()
                raise
        return self._descriptor

    def _cut_back(self, descriptor: int) -> None:
        """Remove octets that were written and never became safe, before others take their place."""
        if os.fstat(descriptor).st_size != self.size:
            os.ftruncate(descriptor, self.size)

    def _described(self) -> Recording:
        known = document(self._known)
        with self._part.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        compact = re.sub(r"[-:]|\.\d+", "", known["started"]).replace("+0000", "Z")
        place = f"-from-{self.offset}" if self.offset else ""
        return Recording(
            file=f"{compact}-{self._name}{place}.cadu",
            station=self._name.station,
            session=self._name.session,
            link=self._spool.link,
            started=known["started"],
            finished=utc_now(),
            offset=self.offset,
            octets=self.size,
            sha256=sha256,
        )


class MarkerCount:
    """Count of attached sync markers that begin with an octet, in either polarity: a cheap sign of life."""

    def __init__(self) -> None:
        self.count = 0
        upright = frame_sync.MARKER.to_bytes(frame_sync.MARKER_LENGTH, "big")
        self._markers = (upright, bytes(octet ^ 0xFF for octet in upright))
        self._last = b""

    def add(self, octets: bytes | memoryview) -> None:
        """Look through the next octets."""
        stream = self._last + bytes(octets)
        self.count += sum(stream.count(marker) for marker in self._markers)
        self._last = stream[len(stream) - frame_sync.MARKER_LENGTH + 1 :] if len(stream) > 3 else stream


# Server


def document(path: Path) -> dict[str, Any]:
    """JSON file as a mapping."""
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def utc_now() -> str:
    """Present time, ISO 8601 in UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
