"""One recording of a link to the transfer frames that pass every check, whatever the size of the recording."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from processors import quality
from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import checksum, frame_sync, randomizer, reed_solomon, space_packet, transfer_frame
from processors.ccsds import link as spacelink

ENOUGH_FRAMES = 4
"""Fewer frames are no evidence of a wrong description."""
EARLY_FRAMES = 256
"""With this many frames and not one that decodes there is no need to read on."""
SAMPLE_FRAMES = 64
"""Frames that are tried with other descriptions."""
CLEAN_MARKERS = 0.005
"""Share of wrong marker bits below which reception is too good for every codeword to be broken [1]."""
ZONE_SAMPLE = 256
"""Frames from which the layout of the packet zone is judged."""
FATES = ("uncorrectable", "check_failed", "invalid", "foreign")


class LinkMismatchError(quality.BadInputError):
    """A recording is not of the link it is said to be of."""

    def __init__(self, message: str) -> None:
        super().__init__("link_mismatch", message)


class DecodedFrames(NamedTuple):
    """Frames of one stretch of a recording, in order of arrival.

    frames : transfer frames that pass every check, shape (frame, octet) [1];
    headers : their header fields, each of shape (frame,);
    corrected : symbols corrected in each, shape (frame,) [1];
    rejected : by fate, the frames that fail, as received and derandomised, shape (frame, octet) [1].
    """

    frames: ByteArray
    headers: transfer_frame.FrameHeaders
    corrected: IntArray
    rejected: dict[str, ByteArray]


class _Blocks(NamedTuple):
    """Code blocks of a stretch: the blocks, wrong bits of their markers, and which are broken although uncoded."""

    blocks: ByteArray
    marker_errors: IntArray
    broken: BoolArray


@dataclass
class _Evidence:
    """What speaks for and against the description of the link.

    A wrong one shows by frames none of which decodes while the markers between them are clean. Header and check count
    as well: the randomizer sequence is itself a codeword, so a wrong randomizer passes the code. Frames of zeros are no
    evidence of a wrong description but of a transmitter without data.
    """

    frames: int = 0
    sensible: int = 0
    blank: int = 0
    codewords: int = 0
    decodable: int = 0
    uncorrectable: int = 0
    marker_errors: int = 0
    sample: list[ByteArray] = field(default_factory=list)

    def weigh(self, found: _Blocks, frames: ByteArray, corrected: IntArray, failures: dict[str, BoolArray]) -> None:
        """Take the first frames into account; however they come, it is the same ones."""
        first = slice(max(EARLY_FRAMES - self.frames, 0))
        uncorrectable = failures["uncorrectable"][first]
        senseless = uncorrectable | failures["check_failed"][first] | failures["invalid"][first]
        self.frames += senseless.size
        self.sensible += int(np.sum(~senseless))
        self.blank += int(np.sum(~uncorrectable & ~np.any(frames[first], axis=1)))
        self.codewords += corrected[first].size
        self.decodable += int(np.sum(corrected[first] >= 0))
        self.uncorrectable += int(np.sum(uncorrectable))
        self.marker_errors += int(found.marker_errors[first].sum())
        if self.frames - senseless.size < SAMPLE_FRAMES:
            self.sample.append(found.blocks[:SAMPLE_FRAMES].copy())

    def suspect(self) -> bool:
        """Tell whether the description is more likely wrong than the reception bad."""
        if self.frames < ENOUGH_FRAMES or self.sensible or self.blank == self.frames:
            return False
        if 2 * self.uncorrectable <= self.frames:
            return True
        return 10 * self.decodable < self.codewords and self.marker_errors < CLEAN_MARKERS * 32 * self.frames


class FrameDecoder:
    """Decoder of one recording that comes in pieces; how it is cut changes nothing.

    Parameters
    ----------
    link : Link
        Description of the link; a stream of cadu or frames.
    """

    def __init__(self, link: spacelink.Link) -> None:
        self.counts = dict.fromkeys(("received", *FATES), 0)
        """Frames received, and those that failed by their first failure."""
        self._link = link
        self._stream = _MarkedStream(link) if link.stream == "cadu" else _FrameStream(link)
        self._evidence = _Evidence()
        self._control_fields = np.zeros(0, dtype=np.bool_)
        self._zone_frames: list[ByteArray] = []
        self._zone_judged = False

    @property
    def synchronization(self) -> frame_sync.SyncAccount:
        """Where the octets went; complete once finished."""
        return self._stream.account

    @property
    def fragments(self) -> "Fragments":
        """Pieces of a frame before the first and after the last whole one; known once finished."""
        return self._stream.fragments()

    def feed(self, octets: ByteArray) -> DecodedFrames:
        """Decode another stretch of the recording.

        Parameters
        ----------
        octets : ByteArray
            The next stretch, shape (octet,) [1].

        Returns
        -------
        DecodedFrames
            Frames that are complete by now.

        Raises
        ------
        LinkMismatchError
            The recording cannot be of this link.
        """
        decoded = self._decoded(self._stream.feed(octets))
        if self._evidence.frames >= EARLY_FRAMES:
            self._require_sense()
        if self._control_fields.size >= EARLY_FRAMES:
            self._require_control_field()
        if sum(map(len, self._zone_frames)) >= ZONE_SAMPLE:
            self._require_zones()
        return decoded

    def finish(self) -> DecodedFrames:
        """Decode what is left at the end of the recording.

        Returns
        -------
        DecodedFrames
            The last frames.

        Raises
        ------
        LinkMismatchError
            The recording cannot be of this link.
        """
        decoded = self._decoded(self._stream.finish())
        if self.counts["received"] == 0:
            raise LinkMismatchError(f"link {self._link.name}: configuration suspect: {self._stream.nothing_found()}")
        self._require_sense()
        self._require_control_field()
        self._require_zones()
        return decoded

    def _decoded(self, found: _Blocks) -> DecodedFrames:
        link = self._link
        frames, corrected = corrected_frames(found.blocks, link)
        headers = transfer_frame.headers_from_frames(frames, layout=link.layout)
        uncorrectable = np.any(corrected < 0, axis=1)
        failures = {
            "uncorrectable": uncorrectable,
            "check_failed": ~checksum.frames_pass(frames)
            if link.layout.fecf
            else np.zeros(len(frames), dtype=np.bool_),
            "invalid": ~headers.valid | found.broken,
            "foreign": _foreign(headers.scid, link),
        }
        good, rejected = self._sorted(frames, failures)
        self._evidence.weigh(found, frames, corrected, failures)
        if self._control_fields.size < EARLY_FRAMES:
            self._control_fields = np.concatenate((self._control_fields, headers.ocf[good]))[:EARLY_FRAMES]
        if not self._zone_judged:
            self._zone_frames.append(frames[np.flatnonzero(good)[:ZONE_SAMPLE]])
        return DecodedFrames(
            frames=frames if good.all() else frames[good],
            headers=headers.selected(good),
            corrected=corrected.sum(axis=1, dtype=np.int64)[good],
            rejected=rejected,
        )

    def _sorted(self, frames: ByteArray, failures: dict[str, BoolArray]) -> tuple[BoolArray, dict[str, ByteArray]]:
        """Count every frame once, under the first check it fails."""
        good = np.ones(len(frames), dtype=np.bool_)
        self.counts["received"] += len(frames)
        rejected = {}
        for fate, failed in failures.items():
            first = failed & good
            if first.any():
                self.counts[fate] += int(np.sum(first))
                rejected[fate] = frames[first]
                good &= ~failed
        return good, rejected

    def _require_sense(self) -> None:
        evidence = self._evidence
        if evidence.suspect():
            raise LinkMismatchError(
                f"link {self._link.name}: configuration suspect: not one of {evidence.frames} frames decodes; "
                + _advice(np.concatenate(evidence.sample), self._link)
            )

    def _require_control_field(self) -> None:
        """TM frames say themselves whether they carry an operational control field (CCSDS 132.0-B 4.1.2.4)."""
        declared, seen = self._link.layout.ocf, self._control_fields.size
        wrong = int(np.sum(self._control_fields != declared))
        if seen >= ENOUGH_FRAMES and 2 * wrong > seen:
            raise LinkMismatchError(
                f"link {self._link.name}: configuration suspect: {wrong} of {seen} frames say that they "
                f"carry {'no' if declared else 'an'} operational control field, against frame.ocf of the description"
            )

    def _require_zones(self) -> None:
        """Refuse a layout that cuts packets to pieces where another one does not."""
        if self._zone_judged:
            return
        self._zone_judged = True
        frames = np.concatenate(self._zone_frames)[:ZONE_SAMPLE]
        self._zone_frames = []
        link = self._link
        if not _cuts_packets(frames, link, link.layout):
            return
        for layout in _neighbours(link.layout):
            if _fits_packets(frames, link, layout):
                raise LinkMismatchError(
                    f"link {link.name}: configuration suspect: packets do not fit together across frames; they do with "
                    f"frame.ocf: {str(layout.ocf).lower()}, frame.fecf: {str(layout.fecf).lower()}"
                )


class Fragments(NamedTuple):
    """Pieces of frames at the ends of a recording.

    head : octets before the first marker, where they are fewer than a frame, shape (octet,) [1];
    head_bits : bits of the head that lie before the marker [1];
    tail : octets of the incomplete last frame, its marker first, shape (octet,) [1];
    tail_bit : bit of the first octet at which the marker begins [1].
    """

    head: ByteArray
    head_bits: int
    tail: ByteArray
    tail_bit: int


def _uncoded(blocks: ByteArray) -> _Blocks:
    """Blocks without markers."""
    return _Blocks(blocks, np.zeros(len(blocks), dtype=np.int64), np.zeros(len(blocks), dtype=np.bool_))


class _MarkedStream:
    """Code blocks out of a bit stream with markers."""

    def __init__(self, link: spacelink.Link) -> None:
        self._link = link
        self._synchronizer = frame_sync.Synchronizer(cadu_length=link.cadu_length)
        self.account = self._synchronizer.account

    def feed(self, octets: ByteArray) -> _Blocks:
        return self._blocks(self._synchronizer.feed(octets))

    def finish(self) -> _Blocks:
        return self._blocks(self._synchronizer.finish())

    def _blocks(self, found: frame_sync.Synchronization) -> _Blocks:
        broken = (found.slip != 0) & (self._link.reed_solomon is None)
        return _Blocks(found.blocks, found.marker_errors, broken)

    def fragments(self) -> Fragments:
        found = self._synchronizer
        return Fragments(found.head, found.head_bits, found.tail, found.tail_bit)

    def nothing_found(self) -> str:
        return (
            f"no sync marker {frame_sync.MARKER:08X} every {self._link.cadu_length} octets "
            f"in a recording of {self.account.octets} octets"
        )


class _FrameStream:
    """Transfer frames that some other system has synchronised and decoded, back to back."""

    def __init__(self, link: spacelink.Link) -> None:
        self._link = link
        self._held = np.zeros(0, dtype=np.uint8)
        self.account = frame_sync.SyncAccount()

    def feed(self, octets: ByteArray) -> _Blocks:
        length = self._link.block_length
        self.account.octets += octets.size
        held = np.concatenate((self._held, octets))
        count = held.size // length
        self._held = held[count * length :]
        self.account.frame_octets += count * length
        return _uncoded(held[: count * length].reshape(count, length))

    def finish(self) -> _Blocks:
        self.account.tail_octets = self._held.size
        return _uncoded(np.zeros((0, self._link.block_length), dtype=np.uint8))

    def fragments(self) -> Fragments:
        return Fragments(np.zeros(0, dtype=np.uint8), 0, self._held, 0)

    def nothing_found(self) -> str:
        return f"{self.account.octets} octets hold no frame of {self._link.block_length}"


def splice(first: Fragments, second: Fragments, link: spacelink.Link) -> DecodedFrames | None:
    """Frame that lies half at the end of one recording and half at the begin of another.

    Parameters
    ----------
    first, second : Fragments
        Ends of the two recordings.
    link : Link
        The link.

    Returns
    -------
    DecodedFrames or None
        The frame, where the halves make one that passes every check; without code and checksum nothing would tell.
    """
    length = 8 * link.block_length
    if link.stream != "cadu" or not link.checks_frames or not first.tail.size:
        return None
    if 8 * first.tail.size - first.tail_bit + second.head_bits != length + 8 * frame_sync.MARKER_LENGTH:
        return None
    bits = np.unpackbits(np.concatenate((first.tail, second.head)))
    octets = np.packbits(bits[first.tail_bit :][: 8 * link.cadu_length])
    wrong = int.from_bytes(octets[: frame_sync.MARKER_LENGTH].tobytes(), "big") ^ frame_sync.MARKER
    inverted = wrong.bit_count() > 16
    block = (octets ^ np.uint8(0xFF if inverted else 0))[frame_sync.MARKER_LENGTH :]
    decoder = FrameDecoder(link)
    decoded = decoder._decoded(_uncoded(block[np.newaxis]))
    return decoded if len(decoded.frames) == 1 else None


def corrected_frames(blocks: ByteArray, link: spacelink.Link) -> tuple[ByteArray, IntArray]:
    """Undo randomisation and coding.

    Parameters
    ----------
    blocks : ByteArray
        Code blocks without marker, shape (block, octet) [1].
    link : Link
        The link.

    Returns
    -------
    tuple of ByteArray and IntArray
        Transfer frames, shape (block, octet) [1], and the symbols corrected in each codeword, -1 where there is no
        correction, shape (block, codeword) [1].
    """
    if link.reed_solomon is None:
        return randomizer.randomize(blocks, link.randomizer), np.zeros((len(blocks), 1), dtype=np.int64)
    correction = reed_solomon.correct(blocks, code=link.reed_solomon, randomizer=link.randomizer)
    return correction.frames, correction.corrected.astype(np.int64)


def _foreign(scid: IntArray, link: spacelink.Link) -> BoolArray:
    return ~np.isin(scid, link.spacecraft) if link.spacecraft else np.zeros(scid.size, dtype=np.bool_)


def _advice(blocks: ByteArray, link: spacelink.Link) -> str:
    """What to change in the description: a variation with which the first frames make sense, if there is one.

    A valid version number alone is no sense: it takes a code, a checksum or a known spacecraft to tell.
    """
    for variation in _variations(link) if link.reed_solomon or link.layout.fecf or link.spacecraft else ():
        frames, corrected = corrected_frames(blocks, variation)
        headers = transfer_frame.headers_from_frames(frames, layout=variation.layout)
        sensible = np.all(corrected >= 0, axis=1) & headers.valid & ~_foreign(headers.scid, variation)
        if variation.layout.fecf:
            sensible &= checksum.frames_pass(frames)
        if 2 * np.sum(sensible) > len(blocks):
            return f"they do with {_described(variation)}"
    return "check frame type and length, randomizer, Reed-Solomon interleave and basis, fecf and ocf"


def _variations(link: spacelink.Link) -> Iterator[spacelink.Link]:
    """Links of the same block length that differ in what is easily confused."""
    code = link.reed_solomon
    codes = [code] if code is None else [dataclasses.replace(code, basis=basis) for basis in spacelink.BASES]
    for name in spacelink.RANDOMIZERS:
        for basis in codes:
            for fecf in (link.layout.fecf, False):
                layout = dataclasses.replace(link.layout, fecf=fecf)
                yield dataclasses.replace(link, randomizer=name, reed_solomon=basis, frame=layout)


def _described(link: spacelink.Link) -> str:
    basis = "" if link.reed_solomon is None else f", basis: {link.reed_solomon.basis}"
    return f"randomizer: {link.randomizer}{basis}, fecf: {str(link.layout.fecf).lower()}"


def _neighbours(layout: spacelink.Frame) -> Iterator[spacelink.Frame]:
    """Layouts that differ in the trailer."""
    for ocf in (False, True):
        for fecf in (False, True):
            changed = dataclasses.replace(layout, ocf=ocf, fecf=fecf)
            if changed != layout and changed.zone_length > spacelink.PRIMARY_HEADER:
                yield changed


def _cuts_packets(frames: ByteArray, link: spacelink.Link, layout: spacelink.Frame) -> bool:
    checked, disagreed = _pointer_checks(frames, link, layout)
    return checked >= ENOUGH_FRAMES and 2 * disagreed > checked


def _fits_packets(frames: ByteArray, link: spacelink.Link, layout: spacelink.Frame) -> bool:
    checked, disagreed = _pointer_checks(frames, link, layout)
    return checked >= ENOUGH_FRAMES and 10 * disagreed < checked


def _pointer_checks(frames: ByteArray, link: spacelink.Link, layout: spacelink.Frame) -> tuple[int, int]:
    """First header pointers compared with the packet that was open, and how many of them disagreed."""
    headers = transfer_frame.headers_from_frames(frames, layout=layout)
    checked = disagreed = 0
    identity = headers.scid << 6 | headers.vcid
    for channel in np.unique(identity):
        if link.role(int(channel) & 0x3F) != "packets":
            continue
        rows = np.flatnonzero(identity == channel)
        consecutive = np.diff(headers.counter[rows]) % headers.modulus[rows][1:] == 1
        reader = space_packet.PacketReader(longest=space_packet.LONGEST)
        zones = frames[rows, int(headers.zone_start[rows[0]]) : layout.zone.stop]
        reader.feed(zones, pointers=headers.pointer[rows], continues=np.r_[False, consecutive])
        checked += reader.account.pointers_checked
        disagreed += reader.account.pointers_disagreed
    return checked, disagreed
