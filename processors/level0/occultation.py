"""Carrier phase and signal strength of occultation events, from RO_CL and RO_EVT packets."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import xarray as xr

from processors import constants, quality
from processors.arrays import FloatArray, IntArray
from processors.ccsds import time_code
from processors.level0 import layouts, navigation, packet_merge

Records = np.ndarray[tuple[int], np.dtype[np.void]]


class _Description(NamedTuple):
    system: bytes
    prn: int
    signals: tuple[int, ...]
    setting: int


def events_from_packets(stream: bytes, *, uncorrelated: Collection[int] = ()) -> list[xr.Dataset]:
    """Occultation events, one dataset per event identifier.

    The carrier phase is (reference phase + NCO phase + atan2(Q, I) / 2 pi) c / f: it grows with the distance between
    transmitter and receiver. A sample with I = Q = 0 is no measurement: its phase is NaN, its signal strength 0.

    Parameters
    ----------
    stream : bytes
        Space packets back to back (RO_CL fore and aft, and RO_EVT where there are any); those of other application
        processes are left alone.
    uncorrelated : collection of int
        Clock partitions that are not GPS time, as `navigation.uncorrelated_partitions` returns them [1].

    Returns
    -------
    list of xr.Dataset
        By event identifier: `time` [s, GPS], `carrier_phase`(signal, time) [m], `snr`(signal, time) [V/V in 1 Hz],
        `carrier_frequency`(signal) [Hz]; attributes event_id, transmitter, setting, signals, antenna, start_time
        [s, GPS], received_packets, produced_packets (-1 where the event table entry is missing), missing_packets,
        complete (1 where the table entry says that no closed-loop packet is missing) and time_correlated (0 where the
        clock was set within the event, free running or not GPS time). Seconds whose packet was lost are absent from
        `time`; an event of which only the table entry arrived has no samples. Samples follow one another by clock
        partition, then time: a jump of the clock drops none of them, and shows as a jump of `time`.

    Raises
    ------
    BadInputError
        The packets contradict each other or the interface.
    """
    apids = (layouts.RO_CL_FORE, layouts.RO_CL_AFT)
    carriers = {apid: layouts.records_from_packets(stream, apid=apid) for apid in apids}
    entries = layouts.records_from_packets(stream, apid=layouts.RO_EVT)
    identifiers = sorted(
        set(np.concatenate([entries["event_id"], *(r["event_id"] for r in carriers.values())]).tolist())
    )
    events = []
    for identifier in identifiers:
        packets = {apid: records[records["event_id"] == identifier] for apid, records in carriers.items()}
        heard = [apid for apid, records in packets.items() if records.size]
        if len(heard) > 1:
            raise quality.BadInputError("event_inconsistent", f"event {identifier} comes from both antennas")
        table = entries[entries["event_id"] == identifier]
        carried = np.concatenate(list(packets.values()))
        correlated = navigation.time_correlated(carried if carried.size else table, uncorrelated=uncorrelated)
        event = _event(identifier, carried, table)
        events.append(event.assign_attrs(time_correlated=correlated))
    return events


def start_time(event: xr.Dataset) -> float:
    """Time an event began, by its table entry where it arrived, else that of the first sample held.

    Parameters
    ----------
    event : xr.Dataset
        Event as `events_from_packets` returns it.

    Returns
    -------
    float
        GPS time [s].
    """
    return float(event.attrs["start_time"])


def _event(identifier: int, packets: Records, table: Records) -> xr.Dataset:
    packets = _ordered(packets)
    ticks = time_code.ticks_from_cuc(packets["time"])
    described = [*_description(packets), *_description(table)]
    link = described[0]
    if len(set(described)) > 1:
        raise quality.BadInputError("event_inconsistent", f"packets of event {identifier} describe different links")
    signals = [_signal(int(number)) for number in link.signals]
    frequency = np.array([signal.frequency for signal in signals])
    used = np.arange(layouts.SAMPLES) < packets["sample_count"][:, np.newaxis]
    time = _sample_time(packets, ticks)[used]
    phase, snr = _observables(packets, frequency)
    produced = int(table["closed_loop_packets"][-1]) if table.size else -1
    expected = produced if table.size else _expected(packets, ticks)
    return xr.Dataset(
        {
            "carrier_phase": (("signal", "time"), phase[:, used], {"units": "m"}),
            "snr": (("signal", "time"), snr[:, used], {"units": "V/V", "bandwidth": "1 Hz"}),
            "carrier_frequency": ("signal", frequency, {"units": "Hz"}),
        },
        coords={
            "time": ("time", time, {"units": "s", "long_name": "GPS time"}),
            "signal": [signal.name for signal in signals],
        },
        attrs={
            "event_id": identifier,
            "transmitter": f"{link.system.decode()}{link.prn:02d}",
            "setting": link.setting,
            "start_time": _start(table, ticks),
            "signals": [signal.name for signal in signals],
            "antenna": "aft" if link.setting else "fore",
            "received_packets": packets.size,
            "produced_packets": produced,
            "missing_packets": max(expected - packets.size, 0),
            "complete": int(0 <= produced <= packets.size),
        },
    )


def _start(table: Records, ticks: IntArray) -> float:
    first = table["start_time"][-1] if table.size else ticks[0]
    return float(time_code.seconds_from_ticks(first))


def _ordered(packets: Records) -> Records:
    """Packets by clock partition and time, each once."""
    partition = packet_merge.unwrapped_partitions(packets["clock_partition"].astype(np.int64))
    ticks = time_code.ticks_from_cuc(packets["time"])
    order = np.lexsort((ticks, partition))
    again = (np.diff(ticks[order]) == 0) & (np.diff(partition[order]) == 0)
    ordered: Records = packets[order[np.r_[True, ~again][: order.size]]]
    return ordered


def _description(records: Records) -> list[_Description]:
    """Transmitter, signals and direction of each record, comparable between packet types."""
    return [
        _Description(
            record["system"], int(record["prn"]), tuple(record["signal"]), int(record["flags"] & layouts.SETTING_FLAG)
        )
        for record in records
    ]


def _signal(number: int) -> layouts.Signal:
    if number not in layouts.CARRIERS:
        raise quality.BadInputError("signal_unknown", f"signal {number} is not in the interface")
    return layouts.CARRIERS[number]


def _sample_time(packets: Records, ticks: IntArray) -> FloatArray:
    """GPS time of every sample, shape (packet, sample) [s].

    The receiver samples at whole microseconds: counting those leaves one rounding, the last, and so no jitter, of which
    0.2 us would be more than a millimetre of carrier phase.
    """
    fraction = (ticks % time_code.CUC_FRACTION) / time_code.CUC_FRACTION
    begin = ticks // time_code.CUC_FRACTION * layouts.MICROSECONDS + np.rint(fraction * layouts.MICROSECONDS).astype(
        int
    )
    period = packets["sample_period"].astype(np.int64) * layouts.SAMPLE_PERIOD_MICROSECONDS
    return np.asarray(
        (begin[:, np.newaxis] + np.arange(layouts.SAMPLES) * period[:, np.newaxis]) / layouts.MICROSECONDS
    )


def _observables(packets: Records, frequency: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Carrier phase [m] and signal to noise ratio [V/V], each of shape (signal, packet, sample)."""
    samples = np.moveaxis(packets["samples"], -1, 0)
    in_phase, quadrature = samples["in_phase"].astype(np.float64), samples["quadrature"].astype(np.float64)
    nco = time_code.integers_from_octets(samples["nco_phase"], signed=True) * layouts.PHASE_UNIT
    reference = packets["reference_phase"].T[:, :, np.newaxis]
    cycles = reference + nco + np.arctan2(quadrature, in_phase) / (2.0 * np.pi)
    amplitude = np.hypot(in_phase, quadrature)
    wavelength = (constants.SPEED_OF_LIGHT / frequency)[:, np.newaxis, np.newaxis]
    snr = amplitude * (packets["snr_scale"] * layouts.SNR_UNIT)[:, np.newaxis]
    return np.where(amplitude > 0, cycles * wavelength, np.nan), snr


def _expected(packets: Records, ticks: IntArray) -> int:
    """Packets between the first and the last, by their times: what is left where the table entry is lost."""
    if packets.size == 0:
        return 0
    period = int(packets["sample_period"][0]) * layouts.SAMPLE_PERIOD_MICROSECONDS / layouts.MICROSECONDS
    spans = [ticks[packets["clock_partition"] == octet] for octet in np.unique(packets["clock_partition"])]
    elapsed = [float(span[-1] - span[0]) / time_code.CUC_FRACTION for span in spans]
    return sum(round(seconds / (period * layouts.SAMPLES)) + 1 for seconds in elapsed)
