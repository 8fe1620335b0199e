"""What must be known of a space link before its bits can be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from processors import quality

STREAMS = ("cadu", "frames", "packets")
FRAME_TYPES = ("aos", "tm")
BASES = ("dual", "conventional")
RANDOMIZERS = ("none", "ccsds", "ccsds17")
PACKET_CHECKS = ("none", "crc16")
PACKET_TIMES = ("none", "cuc", "cds")
CORRECTABLE = (8, 16)
HEADER_CONTROL = 2
ROLES = ("packets", "idle")
AOS_IDLE_CHANNEL = 63
VIRTUAL_CHANNELS = {"aos": 64, "tm": 8}
SPACECRAFT = {"aos": 256, "tm": 1024}
PRIMARY_HEADER = 6
POINTER_FIELD = {"aos": 2, "tm": 0}
"""Octets between the frame header and the packet zone: the M_PDU header of AOS; TM keeps its pointer in the header."""


class LinkError(quality.BadInputError):
    """A link description that cannot be meant."""

    def __init__(self, message: str) -> None:
        super().__init__("link_invalid", message)


@dataclass(frozen=True)
class ReedSolomon:
    """Reed-Solomon coding of a link (CCSDS 131.0-B, section 4).

    Parameters
    ----------
    interleave : int
        Codewords in a code block, 1 to 8 [1].
    basis : str
        `dual` (Berlekamp representation, what CCSDS prescribes) or `conventional`.
    virtual_fill : int
        Symbols of every codeword that are zero and never sent [1].
    e : int
        Symbols of a codeword that can be corrected: 16 for (255,223), 8 for (255,239) [1].
    """

    interleave: int
    basis: str = "dual"
    virtual_fill: int = 0
    e: int = 16

    @property
    def data_length(self) -> int:
        """Octets of a transfer frame that fills the code block."""
        return self.interleave * (255 - 2 * self.e - self.virtual_fill)

    @property
    def parity_length(self) -> int:
        """Octets of check symbols after the transfer frame."""
        return self.interleave * 2 * self.e


@dataclass(frozen=True)
class Frame:
    """Layout of a transfer frame (CCSDS 732.0-B for AOS, 132.0-B for TM).

    Parameters
    ----------
    type : str
        `aos` or `tm`.
    length : int
        Transfer frame without marker and parity [1, octets].
    fecf : bool
        Frame error control field (two octets) at the end.
    ocf : bool
        Operational control field (four octets) before it.
    insert_zone : int
        Octets of the insert zone after the primary header [1].
    fhec : bool
        Frame header error control (two octets) at the end of the AOS primary header.
    secondary_header : int
        Octets of the secondary header of those TM frames that have one, where the length they state is not to be
        believed; 0 believes it [1].
    """

    type: str
    length: int
    fecf: bool = False
    ocf: bool = False
    insert_zone: int = 0
    fhec: bool = False
    secondary_header: int = 0

    @property
    def header_length(self) -> int:
        """Octets of the primary header."""
        return PRIMARY_HEADER + HEADER_CONTROL * self.fhec

    @property
    def data_field(self) -> int:
        """First octet after primary header and insert zone."""
        return self.header_length + self.insert_zone

    @property
    def zone(self) -> slice:
        """Octets of the frame that hold packets."""
        trailer = 4 * self.ocf + 2 * self.fecf
        return slice(self.data_field + POINTER_FIELD[self.type], self.length - trailer)

    @property
    def zone_length(self) -> int:
        """Octets of the packet zone."""
        return int(self.zone.stop - self.zone.start)


@dataclass(frozen=True)
class Link:
    """One space link, as a LINK.yaml describes it.

    Parameters
    ----------
    name : str
        Name of the link in every report.
    stream : str
        `cadu` (bits with markers), `frames` (transfer frames back to back) or `packets` (space packets back to back).
    frame : Frame or None
        Transfer frame; None for a stream of packets.
    randomizer : str
        `ccsds` for the 255-bit sequence of CCSDS 131.0-B, `ccsds17` for the long one of its issue 5, or `none`.
    reed_solomon : ReedSolomon or None
        Coding, where there is one.
    spacecraft : tuple of int
        Accepted spacecraft identifiers; empty accepts every one.
    virtual_channels : mapping of int to str
        Role of a channel where it is not the usual one.
    packet_check : str
        `crc16` where every packet but idle ones ends in its packet error control.
    packet_time : str
        Time code right after the primary header of packets with a secondary header: `cuc` (P-field-less, four octets
        of GPS seconds and three of fraction), `cds` (two octets of days since 1958, four of milliseconds, two of
        microseconds) or `none`.
    recorder : bool
        Whether the spacecraft keeps its frames until they are received: only then can missing ones be asked for again.
    """

    name: str
    stream: str
    frame: Frame | None
    randomizer: str
    reed_solomon: ReedSolomon | None
    spacecraft: tuple[int, ...]
    virtual_channels: Mapping[int, str]
    packet_check: str
    packet_time: str = "none"
    recorder: bool = False

    @property
    def cadu_length(self) -> int:
        """Octets from one marker to the next."""
        return 4 + self.block_length

    @property
    def block_length(self) -> int:
        """Octets after the marker: transfer frame and parity."""
        parity = 0 if self.reed_solomon is None else self.reed_solomon.parity_length
        return self.layout.length + parity

    @property
    def layout(self) -> Frame:
        """Transfer frame layout; only a link with frames has one.

        Raises
        ------
        LinkError
            The link is a stream of packets.
        """
        if self.frame is None:
            raise LinkError(f"link {self.name}: a stream of packets has no transfer frame")
        return self.frame

    @property
    def checks_frames(self) -> bool:
        """Whether a code or a checksum vouches for every frame that is accepted."""
        return self.reed_solomon is not None or self.layout.fecf

    def role(self, vcid: int) -> str:
        """Role of a virtual channel: `packets` or `idle`."""
        usual = "idle" if self.layout.type == "aos" and vcid == AOS_IDLE_CHANNEL else "packets"
        return self.virtual_channels.get(vcid, usual)


def link_from_mapping(mapping: Mapping[str, Any]) -> Link:
    """Check a parsed LINK.yaml and freeze it.

    Parameters
    ----------
    mapping : mapping
        Content of the file.

    Returns
    -------
    Link
        The link.

    Raises
    ------
    LinkError
        A field is missing, unknown or impossible; the message names it.
    """
    root = _Section(
        mapping,
        "",
        {
            "name",
            "stream",
            "frame",
            "coding",
            "spacecraft",
            "virtual_channels",
            "packet_check",
            "packet_time",
            "recorder",
        },
    )
    stream = root.choice("stream", STREAMS)
    frame = None if stream == "packets" else _frame(root.section("frame", _FRAME_FIELDS))
    coding = root.section("coding", {"randomizer", "reed_solomon"}, optional=True)
    if stream != "cadu" and coding.mapping:
        raise LinkError(f"coding: a stream of {stream} has no coding left to undo")
    return Link(
        name=root.text("name"),
        stream=stream,
        frame=frame,
        randomizer=coding.choice("randomizer", RANDOMIZERS, default="none"),
        reed_solomon=_reed_solomon(coding, frame),
        spacecraft=_spacecraft(root, frame),
        virtual_channels=_virtual_channels(root, frame),
        packet_check=root.choice("packet_check", PACKET_CHECKS, default="none"),
        packet_time=root.choice("packet_time", PACKET_TIMES, default="none"),
        recorder=root.flag("recorder"),
    )


_FRAME_FIELDS = {"type", "length", "fecf", "ocf", "insert_zone", "fhec", "secondary_header"}
_CODE_FIELDS = {"e", "interleave", "basis", "virtual_fill"}


@dataclass(frozen=True)
class _Section:
    """Mapping that names the field in every complaint."""

    mapping: Mapping[str, Any]
    prefix: str
    known: set[str]

    def __post_init__(self) -> None:
        if not isinstance(self.mapping, Mapping):
            raise LinkError(f"{self.prefix.rstrip('.') or 'link'}: expected a mapping, found {self.mapping!r}")
        for key in self.mapping:
            if key not in self.known:
                raise LinkError(f"{self.prefix}{key}: no such field; known are {', '.join(sorted(self.known))}")

    def value(self, key: str, default: Any = None) -> Any:
        value = self.mapping.get(key, default)
        if value is None:
            raise LinkError(f"{self.prefix}{key}: missing")
        return value

    def section(self, key: str, known: set[str], *, optional: bool = False) -> "_Section":
        return _Section(self.value(key, {} if optional else None), f"{self.prefix}{key}.", known)

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str) or not value:
            raise LinkError(f"{self.prefix}{key}: expected a name, found {value!r}")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self.value(key, default)
        if value not in allowed:
            raise LinkError(f"{self.prefix}{key}: expected one of {', '.join(allowed)}, found {value!r}")
        return str(value)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise LinkError(f"{self.prefix}{key}: expected an integer from {low} to {high}, found {value!r}")
        return value

    def flag(self, key: str) -> bool:
        value = self.value(key, False)
        if not isinstance(value, bool):
            raise LinkError(f"{self.prefix}{key}: expected true or false, found {value!r}")
        return value


def _frame(section: _Section) -> Frame:
    frame = Frame(
        type=section.choice("type", FRAME_TYPES),
        length=section.integer("length", 16, 65536),
        fecf=section.flag("fecf"),
        ocf=section.flag("ocf"),
        insert_zone=section.integer("insert_zone", 0, 65536, default=0),
        fhec=section.flag("fhec"),
        secondary_header=section.integer("secondary_header", 0, 64, default=0),
    )
    if frame.type == "aos" and frame.secondary_header:
        raise LinkError("frame.secondary_header: AOS frames have none")
    if frame.type == "tm" and (frame.fhec or frame.insert_zone):
        raise LinkError(f"frame.{'fhec' if frame.fhec else 'insert_zone'}: TM frames have none")
    if frame.zone_length < PRIMARY_HEADER + 1:
        raise LinkError(f"frame.length: {frame.length} octets leave no room for packets")
    return frame


def _reed_solomon(coding: _Section, frame: Frame | None) -> ReedSolomon | None:
    if frame is None or coding.mapping.get("reed_solomon") is None:
        return None
    section = coding.section("reed_solomon", _CODE_FIELDS)
    e = section.integer("e", 8, 16, default=16)
    if e not in CORRECTABLE:
        raise LinkError(f"coding.reed_solomon.e: expected 8 or 16, found {e}")
    symbols = 255 - 2 * e
    interleave = section.integer("interleave", 1, 8)
    fill = section.integer("virtual_fill", 0, symbols * interleave, default=0)
    missing = symbols * interleave - frame.length
    # CCSDS 131.0-B counts the fill of the code block, many tools that of a codeword: at most one of them fits
    if missing < 0 or missing % interleave or missing not in (fill, fill * interleave):
        raise LinkError(
            f"coding.reed_solomon: interleave {interleave} and virtual_fill {fill} "
            f"do not fit frame.length {frame.length}"
        )
    return ReedSolomon(interleave, section.choice("basis", BASES, default="dual"), missing // interleave, e)


def _spacecraft(root: _Section, frame: Frame | None) -> tuple[int, ...]:
    accepted = root.value("spacecraft", [])
    highest = 1024 if frame is None else SPACECRAFT[frame.type]
    if not isinstance(accepted, list | tuple) or not all(type(i) is int and 0 <= i < highest for i in accepted):
        raise LinkError(f"spacecraft: expected a list of identifiers below {highest}, found {accepted!r}")
    return tuple(accepted)


def _virtual_channels(root: _Section, frame: Frame | None) -> dict[int, str]:
    roles = root.value("virtual_channels", {})
    highest = 64 if frame is None else VIRTUAL_CHANNELS[frame.type]
    if not isinstance(roles, Mapping):
        raise LinkError(f"virtual_channels: expected a mapping of channel to role, found {roles!r}")
    for vcid, role in roles.items():
        if type(vcid) is not int or not 0 <= vcid < highest:
            raise LinkError(f"virtual_channels: {vcid!r} is no channel number below {highest}")
        if role not in ROLES:
            raise LinkError(f"virtual_channels.{vcid}: expected one of {', '.join(ROLES)}, found {role!r}")
    return dict(roles)
