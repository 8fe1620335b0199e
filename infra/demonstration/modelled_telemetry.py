"""Telemetry of a pass of any length: orbit, occultations, housekeeping and imagery of one of our spacecraft."""

import numpy as np

from infra.demonstration import modelled_input
from processors import timescales
from processors.imagery import line_packet
from processors.simulation import occultation, packets, scenes

SCENE_LINES = 300
"""Lines of the modelled scene; longer imagery sees it again and again, forth and back."""


def telemetry(seed: int, *, minutes: float, zone_length: int) -> tuple[dict[int, list[bytes]], str]:
    """Packets of everything modelled, by virtual channel, and the orbits of the GNSS satellites."""
    start = float(timescales.gps_from_utc(modelled_input.START))
    sounded = occultation.simulate_occultations(start_gps=start, count=max(round(minutes), 1), seed=seed)
    orbit = sounded.receiver_orbit
    stop = max(float(orbit.time[-1]), start + 60.0 * minutes)
    beat = np.arange(min(float(orbit.time[0]), start), stop + 1.0) + 0.5
    sent = packets.telemetry(
        housekeeping_time=beat,
        slow_housekeeping_time=beat[::10],
        navigation=packets.navigation_records(
            orbit.time, position=orbit.position, velocity=orbit.velocity, clock_bias=orbit.clock_bias
        ),
        events=sounded.events,
        imagery=_imagery(seed, start, minutes),
        zone_length=zone_length,
    )
    return sent, sounded.sp3


def _imagery(seed: int, start: float, minutes: float) -> list[packets.PacketRecord]:
    """Packets of lines: one scene, seen forth and back."""
    lines = round(60.0 * minutes / scenes.LINE_PERIOD)
    size = min(lines, SCENE_LINES)
    strip = scenes.simulate_strip(seed=seed, lines=size, center=modelled_input.CENTER, time=modelled_input.START).strip
    records: list[packets.PacketRecord] = []
    for first in range(0, lines, size):
        seen = strip.isel(line=slice(None, None, 1 if first // size % 2 == 0 else -1)).isel(line=slice(lines - first))
        number = np.arange(first, first + seen.sizes["line"], dtype=np.float64)
        time = start + number * scenes.LINE_PERIOD
        records += packets.line_records(
            seen["counts"].to_numpy(),
            line_time=time,
            first_line=first,
            gain=line_packet.per_band(strip, "gain").tolist(),
            integration_time=line_packet.per_band(strip, "integration_time").tolist(),
        )
        records += packets.ancillary_records(
            time,
            first_line=first,
            edge_longitude=seen["edge_longitude"].to_numpy(),
            edge_latitude=seen["edge_latitude"].to_numpy(),
        )
    return records
