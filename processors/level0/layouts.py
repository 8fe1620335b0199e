"""Packet layouts of our own link, declared once for encoder and decoder; docs/packets.md is their page.

Every packet is primary header, secondary header, body and packet error control, most significant octet first.
"""

from typing import Any, NamedTuple

import numpy as np

from processors import constants, quality
from processors.arrays import IntArray
from processors.ccsds import space_packet

ICD_VERSION = 1

HK_FAST = 0x010
HK_SLOW = 0x011
TCO = 0x013
GN_PVT = 0x022
RO_CL_FORE = 0x030
RO_CL_AFT = 0x031
RO_OL_FORE = 0x032
RO_OL_AFT = 0x033
RO_EVT = 0x034
IM_LINE = (0x050, 0x051, 0x052, 0x053, 0x054)
IM_ANC = 0x055

HOUSEKEEPING_CHANNEL = 0
OCCULTATION_CHANNEL = 2
IMAGER_CHANNEL = 4
TABLE_CHANNEL = 6

COUNTED_APIDS = (
    *range(0x010, 0x015),
    *range(0x020, 0x023),
    *range(0x030, 0x035),
    *range(0x040, 0x044),
    *range(0x050, 0x056),
)
COUNTED_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 63)

POSITION_UNIT = 2.0**-13
VELOCITY_UNIT = 2.0**-17
CLOCK_BIAS_UNIT = 2.0**-40
CLOCK_DRIFT_UNIT = 2.0**-46
OBC_COUNTER_UNIT = 1e-7
PHASE_UNIT = 2.0**-10
MICROSECONDS = 1_000_000
SAMPLE_PERIOD_MICROSECONDS = 10
SNR_UNIT = 2.0**-12
INTEGRATION_TIME_UNIT = 1e-9
BIT_EPOCH_MICROSECONDS = 10
NO_BIT_EPOCH = 0xFFFF
MODEL_HEIGHT_UNIT = 10.0
NO_MODEL_HEIGHT = -32768
ANGLE_UNIT = 1e-7
TEMPERATURE_UNIT = 0.01

SAMPLES = 50
OPEN_LOOP_SAMPLES = 100
NAVIGATION_BITS = 50
SIGNALS = 2
PIXELS = 2048
BANDS = ("blue", "green", "red", "nir", "swir1")
UNCOMPRESSED = 0
COMPRESSED = 1
COMPRESSION_BLOCK = 16
COMPRESSION_REFERENCE_INTERVAL = 128
SETTING_FLAG = 1
FRAME_COUNT_MODULUS = 1 << 28
NO_FRAME = 0xFFFFFFFF


class Signal(NamedTuple):
    """Carrier of a navigation signal: name and frequency [Hz]."""

    name: str
    frequency: float


CARRIERS = {
    1: Signal("L1", constants.GPS_L1),
    2: Signal("L2", constants.GPS_L2),
    3: Signal("B3", 1268.52e6),
    4: Signal("B1", 1561.098e6),
    5: Signal("L5", 1176.45e6),
    6: Signal("E6", 1278.75e6),
    7: Signal("E5b", 1207.14e6),
    8: Signal("E5", 1191.795e6),
}


def _packet(length: int, *body: tuple[Any, ...]) -> np.dtype[np.void]:
    """Layout of a whole packet; the octets the body leaves are spare and zero."""
    header = [
        ("primary_header", "u1", 6),
        ("time", "u1", 7),
        ("time_quality", "u1"),
        ("clock_partition", "u1"),
        ("icd_version", "u1"),
    ]
    trailer = [("packet_error_control", ">u2")]
    spare = length - np.dtype([*header, *body, *trailer]).itemsize
    if spare:
        body = (*body, ("spare", "u1", spare))
    return np.dtype([*header, *body, *trailer])


HOUSEKEEPING = _packet(
    256,
    ("mode", "u1"),
    ("reserved", "u1"),
    ("pps_phase", ">i4"),
    ("time_at_tone", ">u4"),
    ("bus_voltage", ">u2"),
    ("bus_current", ">i2"),
    ("temperature", ">u2", 4),
    ("packets_produced", ">u4", len(COUNTED_APIDS)),
    ("frames_produced", ">u4", len(COUNTED_CHANNELS)),
)

RECORDER = np.dtype([("oldest", ">u4"), ("newest", ">u4"), ("played_back", ">u4")])

SLOW_HOUSEKEEPING = _packet(
    1024,
    ("recorder", RECORDER, len(COUNTED_CHANNELS)),
)

TIME_CORRELATION = _packet(
    48,
    ("frame_counter", ">u4"),
    ("frame_obc_counter", ">u8"),
    ("pps_time", ">u4"),
    ("pps_obc_counter", ">u8"),
    ("drift", ">i4"),
)

NAVIGATION = _packet(
    80,
    ("fix_time", ">i8"),
    ("position", ">i8", 3),
    ("velocity", ">i4", 3),
    ("clock_bias", ">i8"),
    ("clock_drift", ">i4"),
    ("satellites", "u1"),
    ("fix_quality", "u1"),
    ("reserved", "u1", 4),
)

SAMPLE = np.dtype([("nco_phase", "u1", 5), ("in_phase", ">i2"), ("quadrature", ">i2")])

_CARRIER_HEADER: tuple[tuple[Any, ...], ...] = (
    ("system", "S1"),
    ("prn", "u1"),
    ("signal", "u1", SIGNALS),
    ("event_id", ">u4"),
    ("flags", "u1"),
    ("sample_count", "u1"),
    ("sample_period", ">u2"),
    ("snr_scale", ">u2"),
    ("model_height", ">i2"),
    ("reference_phase", ">i8", SIGNALS),
)

CARRIER = _packet(950, *_CARRIER_HEADER, ("samples", SAMPLE, (SAMPLES, SIGNALS)))

OPEN_LOOP_CARRIER = _packet(
    1866,
    *_CARRIER_HEADER,
    ("bit_epoch", ">u2"),
    ("bit_values", "u1", 7),
    ("bits_known", "u1", 7),
    ("samples", SAMPLE, (OPEN_LOOP_SAMPLES, SIGNALS)),
)

EVENT = _packet(
    64,
    ("event_id", ">u4"),
    ("system", "S1"),
    ("prn", "u1"),
    ("signal", "u1", SIGNALS),
    ("flags", "u1"),
    ("reserved", "u1"),
    ("start_time", ">i8"),
    ("stop_time", ">i8"),
    ("closed_loop_packets", ">u2"),
    ("open_loop_packets", ">u2"),
)

LINE = _packet(
    3110,
    ("line", ">u4"),
    ("band", "u1"),
    ("compression", "u1"),
    ("tdi", "u1"),
    ("reserved", "u1"),
    ("gain", ">f4"),
    ("integration_time", ">u4"),
    ("first_pixel", ">u2"),
    ("pixel_count", ">u2"),
    ("pixels", "u1", PIXELS * 12 // 8),
)

ANCILLARY = _packet(
    128,
    ("line", ">u4"),
    ("line_time", ">i8"),
    ("edge_longitude", ">i4", 2),
    ("edge_latitude", ">i4", 2),
    ("focal_plane_temperature", ">u2"),
    ("calibration_state", "u1"),
)

LAYOUTS = {
    HK_FAST: HOUSEKEEPING,
    HK_SLOW: SLOW_HOUSEKEEPING,
    TCO: TIME_CORRELATION,
    GN_PVT: NAVIGATION,
    RO_CL_FORE: CARRIER,
    RO_CL_AFT: CARRIER,
    RO_OL_FORE: OPEN_LOOP_CARRIER,
    RO_OL_AFT: OPEN_LOOP_CARRIER,
    RO_EVT: EVENT,
    **dict.fromkeys(IM_LINE, LINE),
    IM_ANC: ANCILLARY,
}


def records_from_packets(stream: bytes, *, apid: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Packets of one application process as a structured array; packets of others are left alone.

    Parameters
    ----------
    stream : bytes
        Space packets back to back, as `downlink.decode` returns them: their packet error control has been checked.
    apid : int
        Application process of the layout wanted [1].

    Returns
    -------
    structured ndarray
        Packets in order, shape (packet,) [1].

    Raises
    ------
    BadInputError
        The octets are no whole packets, or a packet is not of our interface version or length.
    """
    layout = LAYOUTS[apid]
    if not stream:
        return np.zeros(0, dtype=layout)
    found = space_packet.packets_from_octets(np.frombuffer(stream, dtype=np.uint8))
    if found.partial or found.malformed:
        raise quality.BadInputError("packets_broken", "the packet stream does not consist of whole packets")
    packets = found.packets.selected(found.packets.apid == apid)
    if np.any(packets.length != layout.itemsize):
        lengths = sorted(set(packets.length.tolist()))
        raise quality.BadInputError(
            "packet_length", f"packets of APID {apid:#05x} have {lengths} octets, not {layout.itemsize}"
        )
    records = _gathered(packets, layout)
    if np.any(records["icd_version"] != ICD_VERSION):
        raise quality.BadInputError(
            "icd_version", f"packets of APID {apid:#05x} are not of interface version {ICD_VERSION}"
        )
    return records


def _gathered(
    packets: space_packet.PacketTable, layout: np.dtype[np.void]
) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    octets = packets.octets[packets.start[:, np.newaxis] + np.arange(layout.itemsize)]
    return np.ascontiguousarray(octets).reshape(-1).view(layout)


def sequence_count(records: np.ndarray[tuple[int], np.dtype[np.void]]) -> IntArray:
    """Packet sequence count of each record (CCSDS 133.0-B 4.1.3.4).

    Parameters
    ----------
    records : structured ndarray
        Packets, shape (packet,) [1].

    Returns
    -------
    IntArray
        Counts, shape (packet,) [1].
    """
    header = records["primary_header"].astype(np.int64)
    return (header[:, 2] & 0x3F) << 8 | header[:, 3]
