"""What becomes of finished recordings: landed in the store, decoded as files are."""

import asyncio
import contextlib
import json
import mmap
import os
import sys
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import yaml

from infra import archive, object_store, packet_files
from infra.ground_station import protocol, receiver, spool
from processors import quality
from processors.ccsds import link as spacelink

RETRY_SECONDS = 30.0


class Landing(Protocol):
    """Way into the installation's store."""

    def __call__(self, recording: spool.Recording, path: Path) -> str:
        """Land a recording, prove it, and return its key."""


class Decoding(Protocol):
    """Way from recordings to packets."""

    def __call__(self, paths: Sequence[Path]) -> Awaitable[dict[str, Any]]:
        """Decode recordings together and return the account."""


class Aftercare:
    """What happens to finished recordings: landed and decoded, also those an earlier receiver left.

    Parameters
    ----------
    spool : spool.Spool
        Where they are.
    announce : callable
        Told in a sentence what happens.
    land : Landing or None
        How they are landed.
    decode : Decoding or None
        How they are decoded; without it a recording is removed once it has landed.
    """

    def __init__(
        self, spool: spool.Spool, *, announce: receiver.Announce, land: Landing | None, decode: Decoding | None
    ) -> None:
        self.troubles: dict[str, str] = {}
        """Files that could not be landed or decoded at the last attempt, and why."""
        self._spool = spool
        self._announce = announce
        self._land = land
        self._decode = decode
        self._news = asyncio.Event()
        self._refused: set[str] | None = None
        self._settling = asyncio.Lock()

    def notice(self) -> None:
        """Look again soon: there is a new recording."""
        self._news.set()

    async def run(self) -> None:
        """Care for recordings for ever; what failed to land is tried again from time to time."""
        while True:
            self._news.clear()
            try:
                await self.settle()
            except Exception as error:  # noqa: BLE001  whatever one attempt met, reception goes on and the next may succeed
                self._announce(f"{self._spool.folder}: {type(error).__name__}: {error}; tried again later")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._news.wait()

    async def settle(self) -> None:
        """Land and decode what is due."""
        async with self._settling:
            await self._settle()

    async def _settle(self) -> None:
        for recording in self._spool.recordings():
            if self._land is not None and recording.landed is None:
                await asyncio.to_thread(self._try_to_land, recording)
            elif recording.landed is not None and self._decode is None:
                self._spool.path(recording).unlink()
        if self._decode is not None:
            await self._decode_all(self._decode)

    def _try_to_land(self, recording: spool.Recording) -> None:
        path = self._spool.path(recording)
        try:
            key = self._land(recording, path) if self._land is not None else ""
        except (OSError, object_store.ObjectStoreError, protocol.ReceptionError) as error:
            self.troubles[recording.file] = str(error)
            self._announce(f"{recording.file}: not landed: {error}; tried again later")
            return
        self._spool.write(replace(recording, landed=key))
        self.troubles.pop(recording.file, None)
        self._announce(f"{recording.file}: landed as {key}")
        if self._decode is None:
            path.unlink()

    async def _decode_all(self, decode: Decoding) -> None:
        files = {recording.file for recording in self._spool.recordings()}
        if files == self._refused or files <= self._spool.decoded():
            return
        try:
            account = await decode([self._spool.finished / file for file in sorted(files)])
        except protocol.ReceptionError as error:
            self._refused = files
            self.troubles |= dict.fromkeys(files, str(error))
            self._announce(f"not decoded: {error}; tried again with the next recording")
            return
        self._refused = None
        self._spool.mark_decoded(sorted(files))
        failed = {Path(row["recording"]).name: row["reason"] for row in account.get("failed", [])}
        for file in files:
            self.troubles.pop(file, None)
        self.troubles |= failed
        self._announce_decoded(account, len(files), failed)

    def _announce_decoded(self, account: dict[str, Any], count: int, failed: dict[str, str]) -> None:
        frames, packets = (
            account["frames"]["accepted"],
            sum(row["count"] for row in account["packets"] if not row["idle"]),
        )
        missing = sum(row["missing"] for row in account["virtual_channels"])
        self._announce(f"decoded {count} recordings: {frames} frames, {missing} missing, {packets} packets")
        for reason in failed.values():
            self._announce(f"not decoded: {reason}")


def land_in(store: object_store.ObjectStore, bucket: str) -> Landing:
    """Way into a landing bucket: put under a key that names station, link and content, then read back and compare."""

    def land(recording: spool.Recording, path: Path) -> str:
        folder = archive.landing_key("landed_downlink", recording.station, recording.link, recording.file)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            # Only hashed there: a mapped file does for the octets, however large.
            key = archive.landing_version(folder, cast(bytes, content))
        store.put_new(bucket, key, path, media_type="application/octet-stream")
        found = store.digest(bucket, key)
        if (found.size, found.sha256) != (recording.octets, recording.sha256):
            raise protocol.ReceptionError(f"{bucket}/{key} came back with other octets than were received")
        return key

    return land


# Decoding in a process of its own: it takes nothing from the reception, whatever it needs


def link_from_file(path: Path) -> spacelink.Link:
    """Link a LINK.yaml describes.

    Raises
    ------
    protocol.ReceptionError
        It is no link definition.
    """
    try:
        loaded = yaml.safe_load(path.read_text())
        return spacelink.link_from_mapping(loaded)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, quality.BadInputError) as error:
        reason = " ".join(str(error).split())
        raise protocol.ReceptionError(f"{path} is not a link definition: {reason}") from error


def decode_with(link_file: Path, out: Path) -> Decoding:
    """Way from recordings to `out/packets` and `out/completeness.json`, as `downlink decode` makes them."""

    async def decode(paths: Sequence[Path]) -> dict[str, Any]:
        request = {"link": str(link_file.resolve()), "out": str(out.resolve()), "paths": [str(p) for p in paths]}
        child = await asyncio.create_subprocess_exec(
            # It must not outlive a receiver that was killed, whose successor decodes into the same folder.
            *("setpriv", "--pdeathsig", "KILL", sys.executable, "-c"),
            "from infra.ground_station import aftercare; aftercare.decode_requested()",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            answer, complaint = await child.communicate(json.dumps(request).encode())
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
            raise
        if child.returncode != 0:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise protocol.ReceptionError(last or f"the decoder ended with status {child.returncode}")
        account: dict[str, Any] = json.loads(answer)
        return account

    return decode


def decode_requested() -> None:
    """Decode what the request on standard input names; the account goes to standard output."""
    os.nice(5)
    request = json.load(sys.stdin)
    try:
        link = link_from_file(Path(request["link"]))
        account = packet_files.decode([Path(path) for path in request["paths"]], link=link, out=Path(request["out"]))
    except (quality.BadInputError, protocol.ReceptionError, OSError) as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        sys.exit(1)
    json.dump(account, sys.stdout)


# Small things
