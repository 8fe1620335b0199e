"""Our own spacecraft's packets, encoded from arrays: the forward model of the level-0 decoders."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from processors import constants
from processors.arrays import FloatArray, IntArray
from processors.ccsds import checksum, space_packet, time_code
from processors.level0 import imager, layouts, line_compression

FULL_SCALE = 30000
"""Largest amplitude of I and Q [1]: leaves room below the 16-bit limit."""

_PARTITION_PLACE = 8
"""Octet of the clock partition in the secondary header: after seven of time and one of its quality."""

Records = np.ndarray[tuple[int], np.dtype[np.void]]


class PacketRecord(NamedTuple):
    """One packet before it is numbered.

    ticks : time of the secondary header in units of 2^-24 s [1];
    apid : application process [1];
    data : packet data field without packet error control.
    """

    ticks: int
    apid: int
    data: bytes


class CarrierObservation(Protocol):
    """What the encoder needs of one occultation event."""

    @property
    def time(self) -> FloatArray:
        """GPS time, evenly sampled, shape (time,) [s]."""

    @property
    def carrier_phase(self) -> FloatArray:
        """Carrier phase, growing with distance, NaN where there is none, shape (2, time) [m]."""

    @property
    def snr(self) -> FloatArray:
        """Signal to noise ratio in 1 Hz, shape (2, time) [V/V]."""

    @property
    def carrier_frequency(self) -> FloatArray:
        """Carrier frequencies, shape (2,) [Hz]."""

    @property
    def transmitter(self) -> str:
        """RINEX name such as G05."""

    @property
    def setting(self) -> bool:
        """True where the transmitter sets."""

    @property
    def event_id(self) -> int:
        """Identifier of the event [1]."""


def space_packets(records: Sequence[PacketRecord], *, first_sequence: Mapping[int, int] | None = None) -> list[bytes]:
    """Order records by time and finish them: header, sequence count per APID, packet error control.

    Parameters
    ----------
    records : sequence of PacketRecord
        Records in any order.
    first_sequence : mapping of int to int, optional
        Sequence count of the first packet of an APID, where it is not 0 [1].

    Returns
    -------
    list of bytes
        Space packets in the order of their times.
    """
    sequence = dict(first_sequence or {})
    packets = []
    for record in sorted(records, key=lambda record: (record.ticks, record.apid)):
        number = sequence.get(record.apid, 0)
        sequence[record.apid] = number + 1
        # the length field counts the packet error control, so it must be there before the checksum is known
        blank = space_packet.encode(record.data + b"\x00\x00", apid=record.apid, sequence=number)[:-2]
        packets.append(blank + checksum.crc16(blank).to_bytes(2, "big"))
    return packets


def navigation_records(
    time: FloatArray,
    *,
    position: FloatArray,
    velocity: FloatArray,
    clock_bias: FloatArray | None = None,
    clock_drift: FloatArray | None = None,
) -> list[PacketRecord]:
    """GN_PVT packets.

    Parameters
    ----------
    time : FloatArray
        GPS time, shape (time,) [s].
    position, velocity : FloatArray
        Earth-fixed, shape (time, 3) [m], [m s-1].
    clock_bias, clock_drift : FloatArray, optional
        Receiver clock, zero where left out, shape (time,) [s], [1].

    Returns
    -------
    list of PacketRecord
        One record per time.
    """
    ticks, records = _blank(layouts.GN_PVT, time)
    nothing = np.zeros(len(ticks))
    records["fix_time"] = ticks
    records["position"] = _integers(position, layouts.POSITION_UNIT)
    records["velocity"] = _integers(velocity, layouts.VELOCITY_UNIT)
    records["clock_bias"] = _integers(nothing if clock_bias is None else clock_bias, layouts.CLOCK_BIAS_UNIT)
    records["clock_drift"] = _integers(nothing if clock_drift is None else clock_drift, layouts.CLOCK_DRIFT_UNIT)
    records["satellites"] = 12
    return _records(ticks, layouts.GN_PVT, records)


def event_records(event: CarrierObservation) -> list[PacketRecord]:
    """RO_CL packets of one event, and the RO_EVT packet that closes it.

    Setting events come from the aft antenna, rising ones from the fore antenna. The NCO phase is the phase rounded to
    its unit; what remains goes to I and Q.

    Parameters
    ----------
    event : CarrierObservation
        The event, sampled evenly from a whole microsecond on.

    Returns
    -------
    list of PacketRecord
        One record per 50 samples, and the table entry.

    Raises
    ------
    ValueError
        The samples are not even or not at whole microseconds, or a carrier is not in the interface.
    """
    period = _sample_period(event.time)
    begin = np.arange(0, event.time.size, layouts.SAMPLES)
    apid = layouts.RO_CL_AFT if event.setting else layouts.RO_CL_FORE
    ticks, records = _blank(apid, event.time[begin])
    _describe(records, event)
    records["sample_count"] = np.minimum(event.time.size - begin, layouts.SAMPLES)
    records["sample_period"] = period
    records["model_height"] = layouts.NO_MODEL_HEIGHT
    _fill_samples(records, event)
    return [*_records(ticks, apid, records), _table_entry(event, packets=begin.size)]


def _sample_period(time: FloatArray) -> int:
    first = round(float(time[0]) * layouts.MICROSECONDS)
    if abs(first / layouts.MICROSECONDS - time[0]) > np.spacing(time[0]):
        raise ValueError("an event must begin at a whole microsecond")
    unit = layouts.SAMPLE_PERIOD_MICROSECONDS
    period = round(float(np.median(np.diff(time))) * layouts.MICROSECONDS / unit)
    even = (first + np.arange(time.size) * period * unit) / layouts.MICROSECONDS
    if period < 1 or np.max(np.abs(even - time)) > 1e-6:
        raise ValueError("an event must be sampled evenly, at a multiple of 10 us")
    return period


def _describe(records: Records, event: CarrierObservation) -> None:
    """Fill what RO_CL and RO_EVT have in common."""
    records["system"] = event.transmitter[0].encode()
    records["prn"] = int(event.transmitter[1:])
    records["signal"] = [_signal_number(float(frequency)) for frequency in event.carrier_frequency]
    records["event_id"] = event.event_id
    records["flags"] = layouts.SETTING_FLAG if event.setting else 0


def _signal_number(frequency: float) -> int:
    for number, carrier in layouts.CARRIERS.items():
        if abs(carrier.frequency - frequency) < 1.0:
            return number
    raise ValueError(f"no signal of the interface has its carrier at {frequency} Hz")


def _fill_samples(records: Records, event: CarrierObservation) -> None:
    shape = (layouts.SIGNALS, records.size * layouts.SAMPLES)
    cycles, snr = np.full(shape, np.nan), np.zeros(shape)
    wavelength = constants.SPEED_OF_LIGHT / np.asarray(event.carrier_frequency)
    cycles[:, : event.time.size] = event.carrier_phase / wavelength[:, np.newaxis]
    snr[:, : event.time.size] = np.nan_to_num(event.snr)
    measured = np.isfinite(cycles)
    reference = np.array([np.rint(row[ok][0]) if ok.any() else 0.0 for row, ok in zip(cycles, measured, strict=True)])
    relative = np.where(measured, cycles - reference[:, np.newaxis], 0.0)
    nco = np.rint(relative / layouts.PHASE_UNIT).astype(np.int64)
    angle = 2.0 * np.pi * (relative - nco * layouts.PHASE_UNIT)
    scale = max(int(np.ceil(snr.max() / FULL_SCALE / layouts.SNR_UNIT)), 1)
    # the weakest measurement still has one count: no counts means no measurement
    amplitude = np.where(measured, np.maximum(snr / (scale * layouts.SNR_UNIT), 1.0), 0.0)
    records["snr_scale"] = scale
    records["reference_phase"] = reference
    samples = records["samples"]
    samples["nco_phase"] = _by_packet(time_code.octets_from_integers(nco, width=5))
    samples["in_phase"] = _by_packet(np.rint(amplitude * np.cos(angle)))
    samples["quadrature"] = _by_packet(np.rint(amplitude * np.sin(angle)))


def _by_packet(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Reorder (signal, time, ...) to (packet, sample, signal, ...)."""
    split = values.reshape(layouts.SIGNALS, -1, layouts.SAMPLES, *values.shape[2:])
    return np.moveaxis(split, 0, 2)


def _table_entry(event: CarrierObservation, *, packets: int) -> PacketRecord:
    stop = event.time[-1:]
    ticks, records = _blank(layouts.RO_EVT, stop)
    _describe(records, event)
    records["start_time"] = time_code.ticks_from_seconds(event.time[:1])
    records["stop_time"] = ticks
    records["closed_loop_packets"] = packets
    return _records(ticks, layouts.RO_EVT, records)[0]


def line_records(
    counts: npt.NDArray[np.uint16],
    *,
    line_time: FloatArray,
    gain: Sequence[float],
    integration_time: Sequence[float],
    first_line: int = 0,
    tdi_stages: int = 1,
    compress: bool = False,
) -> list[PacketRecord]:
    """IM_LINE packets.

    Parameters
    ----------
    counts : ndarray of uint16
        12-bit counts, shape (5, line, 2048) [1].
    line_time : FloatArray
        GPS time of each line, shape (line,) [s].
    gain : sequence of float
        Gain setting of each band [1].
    integration_time : sequence of float
        Integration time of each band [s].
    first_line : int
        Line number of the first line [1].
    tdi_stages : int
        Stages of time-delayed integration [1].
    compress : bool
        Whether lines are compressed where that makes them shorter.

    Returns
    -------
    list of PacketRecord
        One record per band and line.
    """
    result = []
    for band, apid in enumerate(layouts.IM_LINE):
        ticks, records = _blank(apid, line_time)
        records["line"] = first_line + np.arange(len(ticks))
        records["band"] = band + 1
        records["compression"] = layouts.UNCOMPRESSED
        records["tdi"] = tdi_stages
        records["gain"] = gain[band]
        records["integration_time"] = round(integration_time[band] / layouts.INTEGRATION_TIME_UNIT)
        records["pixel_count"] = layouts.PIXELS
        records["pixels"] = imager.octets_from_counts(counts[band])
        plain = _records(ticks, apid, records)
        result += [_compressed(*pair) for pair in zip(plain, counts[band], strict=True)] if compress else plain
    return result


def _compressed(record: PacketRecord, counts: npt.NDArray[np.uint16]) -> PacketRecord:
    """Line packet with a coded data set, which ends the packet, in the place of the counts."""
    coded = line_compression.octets_from_counts(counts).tobytes()
    described = bytearray(record.data[: imager.DESCRIPTION - space_packet.HEADER])
    if len(described) + len(coded) >= len(record.data):
        return record
    described[imager.COMPRESSION_FLAG - space_packet.HEADER] = layouts.COMPRESSED
    return record._replace(data=bytes(described) + coded)


def ancillary_records(
    line_time: FloatArray,
    *,
    edge_longitude: FloatArray,
    edge_latitude: FloatArray,
    first_line: int = 0,
    interval: int = 30,
    temperature: float = 293.15,
    calibration_state: int = 0,
) -> list[PacketRecord]:
    """IM_ANC packets of every n-th line, and of the last one.

    Parameters
    ----------
    line_time : FloatArray
        GPS time of each line, shape (line,) [s].
    edge_longitude, edge_latitude : FloatArray
        Centres of the first and the last pixel of each line, shape (line, 2) [degree].
    first_line : int
        Line number of the first line [1].
    interval : int
        Lines from one packet to the next [1].
    temperature : float
        Focal-plane temperature [K].
    calibration_state : int
        State of the calibration unit [1].

    Returns
    -------
    list of PacketRecord
        One record per located line.
    """
    rows = np.unique(np.r_[np.arange(0, line_time.size, interval), line_time.size - 1])
    ticks, records = _blank(layouts.IM_ANC, line_time[rows])
    records["line"] = first_line + rows
    records["line_time"] = ticks
    records["edge_longitude"] = _integers(np.asarray(edge_longitude)[rows], layouts.ANGLE_UNIT)
    records["edge_latitude"] = _integers(np.asarray(edge_latitude)[rows], layouts.ANGLE_UNIT)
    records["focal_plane_temperature"] = round(temperature / layouts.TEMPERATURE_UNIT)
    records["calibration_state"] = calibration_state
    return _records(ticks, layouts.IM_ANC, records)


def housekeeping_records(
    time: FloatArray, *, channels: Mapping[int, Sequence[PacketRecord]], zone_length: int
) -> list[PacketRecord]:
    """HK_FAST packets that count what the spacecraft has produced before each of them.

    Parameters
    ----------
    time : FloatArray
        GPS time of each packet, ascending, shape (time,) [s].
    channels : mapping of int to sequence of PacketRecord
        Everything else produced, by virtual channel.
    zone_length : int
        Octets of packets in a frame [1]: a frame is produced once its packets fill it.

    Returns
    -------
    list of PacketRecord
        One record per time.
    """
    ticks, records = _blank(layouts.HK_FAST, time)
    produced = {layouts.HK_FAST: np.arange(len(ticks))}
    frames = _frames_filled(ticks, own=layouts.HOUSEKEEPING, channels=channels, zone_length=zone_length)
    for others in channels.values():
        for apid in {record.apid for record in others}:
            of_apid = np.array(sorted(record.ticks for record in others if record.apid == apid), dtype=np.int64)
            produced[apid] = produced.get(apid, 0) + np.searchsorted(of_apid, ticks)
    for column, apid in enumerate(layouts.COUNTED_APIDS):
        records["packets_produced"][:, column] = produced.get(apid, 0)
    for column, vcid in enumerate(layouts.COUNTED_CHANNELS):
        records["frames_produced"][:, column] = frames.get(vcid, 0)
    records["mode"] = 1
    records["time_at_tone"] = ticks >> 24
    records["bus_voltage"] = 28000
    records["temperature"] = 29315
    return _records(ticks, layouts.HK_FAST, records)


def slow_housekeeping_records(
    time: FloatArray,
    *,
    channels: Mapping[int, Sequence[PacketRecord]],
    zone_length: int,
    capacity: int = 1 << 22,
    first_counter: Mapping[int, int] | None = None,
    played_back: Mapping[int, int] | None = None,
) -> list[PacketRecord]:
    """HK_SLOW packets with the pointers of the recorder, which keeps every frame until it is full.

    Parameters
    ----------
    time : FloatArray
        GPS time of each packet, ascending, shape (time,) [s].
    channels : mapping of int to sequence of PacketRecord
        Everything else produced, by virtual channel.
    zone_length : int
        Octets of packets in a frame [1]: a frame is recorded once its packets fill it.
    capacity : int
        Frames of a channel that the recorder holds before it overwrites the oldest [1].
    first_counter : mapping of int to int, optional
        Counter of the first frame of a channel, where it is not 0 [1].
    played_back : mapping of int to int, optional
        Counter of the newest frame of a channel that has been played back, where one has [1].

    Returns
    -------
    list of PacketRecord
        One record per time.
    """
    ticks, records = _blank(layouts.HK_SLOW, time)
    frames = _frames_filled(ticks, own=layouts.SLOW_HOUSEKEEPING, channels=channels, zone_length=zone_length)
    records["recorder"] = layouts.NO_FRAME
    for column, vcid in enumerate(layouts.COUNTED_CHANNELS):
        filled = frames.get(vcid, np.zeros(len(ticks), dtype=np.int64))
        first = (first_counter or {}).get(vcid, 0)
        pointers = {"oldest": first + np.maximum(filled - capacity, 0), "newest": first + filled - 1}
        if vcid in (played_back or {}):
            pointers["played_back"] = np.minimum((played_back or {})[vcid], pointers["newest"])
        for name, pointer in pointers.items():
            wrapped = pointer % layouts.FRAME_COUNT_MODULUS
            records["recorder"][name][:, column] = np.where(filled > 0, wrapped, layouts.NO_FRAME)
    return _records(ticks, layouts.HK_SLOW, records)


def _frames_filled(
    ticks: IntArray, *, own: np.dtype[np.void], channels: Mapping[int, Sequence[PacketRecord]], zone_length: int
) -> dict[int, IntArray]:
    """Frames of each channel that packets produced before each time have filled; own ones are on channel 0."""
    octets = {layouts.HOUSEKEEPING_CHANNEL: np.arange(len(ticks)) * own.itemsize}
    for vcid, records in channels.items():
        ordered = sorted(records, key=lambda record: record.ticks)
        when = np.array([record.ticks for record in ordered], dtype=np.int64)
        produced = np.cumsum([0, *(_length(record) for record in ordered)])[np.searchsorted(when, ticks)]
        octets[vcid] = octets.get(vcid, 0) + produced
    return {vcid: count // zone_length for vcid, count in octets.items()}


def telemetry(
    *,
    housekeeping_time: FloatArray,
    slow_housekeeping_time: FloatArray | None = None,
    navigation: Sequence[PacketRecord] = (),
    events: Sequence[CarrierObservation] = (),
    imagery: Sequence[PacketRecord] = (),
    zone_length: int = 884,
    clock_partition: int = 0,
) -> dict[int, list[bytes]]:
    """Everything one spacecraft sends, by virtual channel.

    Channel 0 carries housekeeping, 2 navigation and occultation, 4 the imager, 6 the event table.

    Parameters
    ----------
    housekeeping_time : FloatArray
        GPS time of each HK_FAST packet, shape (time,) [s].
    slow_housekeeping_time : FloatArray, optional
        GPS time of each HK_SLOW packet, of which there are none where left out, shape (slow time,) [s].
    navigation : sequence of PacketRecord
        From `navigation_records`.
    events : sequence of CarrierObservation
        Occultation events.
    imagery : sequence of PacketRecord
        From `line_records` and `ancillary_records`.
    zone_length : int
        Octets of packets in a frame [1].
    clock_partition : int
        Clock partition of all packets; sequence counts and counters of production begin with it [1].

    Returns
    -------
    dict of int to list of bytes
        Space packets in time order.
    """
    slow_time = np.zeros(0) if slow_housekeeping_time is None else slow_housekeeping_time
    carried = [record for event in events for record in event_records(event)]
    table = [record for record in carried if record.apid == layouts.RO_EVT]
    channels = {
        layouts.OCCULTATION_CHANNEL: [*navigation, *(record for record in carried if record.apid != layouts.RO_EVT)],
        layouts.IMAGER_CHANNEL: list(imagery),
        layouts.TABLE_CHANNEL: table,
    }
    housekeeping = _housekeeping(housekeeping_time, slow_time, channels, zone_length)
    channels = {layouts.HOUSEKEEPING_CHANNEL: housekeeping, **channels}
    return {
        vcid: space_packets([_in_partition(record, clock_partition) for record in records])
        for vcid, records in channels.items()
        if records
    }


def _housekeeping(
    time: FloatArray, slow_time: FloatArray, channels: Mapping[int, Sequence[PacketRecord]], zone_length: int
) -> list[PacketRecord]:
    """HK_FAST and HK_SLOW packets. Each count the others: for the first, those of the second need only be as long."""
    own = layouts.HOUSEKEEPING_CHANNEL
    blank = slow_housekeeping_records(slow_time, channels={}, zone_length=zone_length)
    fast = housekeeping_records(time, channels={own: blank, **channels}, zone_length=zone_length)
    slow = slow_housekeeping_records(slow_time, channels={own: fast, **channels}, zone_length=zone_length)
    return [*fast, *slow]


def _in_partition(record: PacketRecord, partition: int) -> PacketRecord:
    if partition == 0:
        return record
    at = _PARTITION_PLACE
    return record._replace(data=record.data[:at] + bytes([partition]) + record.data[at + 1 :])


def _length(record: PacketRecord) -> int:
    return space_packet.HEADER + len(record.data) + 2


def _blank(apid: int, time: FloatArray) -> tuple[IntArray, Records]:
    """Records of zeros with their secondary header."""
    ticks = time_code.ticks_from_seconds(time)
    records = np.zeros(len(ticks), dtype=layouts.LAYOUTS[apid])
    records["time"] = time_code.octets_from_integers(ticks, width=7)
    records["icd_version"] = layouts.ICD_VERSION
    return ticks, records


def _integers(values: FloatArray, unit: float) -> IntArray:
    return np.rint(np.asarray(values, dtype=np.float64) / unit).astype(np.int64)


def _records(ticks: IntArray, apid: int, records: Records) -> list[PacketRecord]:
    data = slice(space_packet.HEADER, -2)
    return [
        PacketRecord(tick, apid, record.tobytes()[data]) for tick, record in zip(ticks.tolist(), records, strict=True)
    ]
