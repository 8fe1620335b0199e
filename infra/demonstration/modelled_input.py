"""The input of the demonstration where no data are at hand: made by the project's own forward models, from a seed.

One pass of our own constellation (occultations, orbit and an imager strip, with frames lost and symbols damaged on the
way down), the GNSS orbits of that time, a coarse scene of another mission for the strip, and a year of optical and
radar views of a small area.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

from infra import archive, granule_format
from infra.demonstration.input import LandedFile
from infra.stages import links
from processors import timescales
from processors.ccsds import link as spacelink
from processors.imagery import external_scene, grid, line_packet
from processors.simulation import downlink, occultation, packets, scene_series, scenes

START = np.datetime64("2024-05-15T03:20:00", "ns")
SPACECRAFT = 76
OCCULTATIONS = 3
LINES = 160
CENTER = (106.5, 29.5)
SERIES_PIXELS = 96
SERIES_RESOLUTION = 80.0
IMAGER, SOUNDER = 4, 2
LOST_FRAMES = (*((IMAGER, counter) for counter in (*range(400, 406), 1500, 1501, 2222)), (SOUNDER, 60), (SOUNDER, 170))
# Sixteen wrong symbols are just what the code corrects, seventeen just what it does not.
SYMBOL_ERRORS = {(IMAGER, 900): (16, 16, 16, 16), (IMAGER, 901): (0, 17, 0, 0), (SOUNDER, 20): (3, 0, 7, 16)}


class ModelledPass(NamedTuple):
    """A pass as CADUs, the GNSS orbits that go with it, and its truth."""

    cadus: bytes
    sp3: str
    truth: dict[str, Any]
    strip: scenes.SimulatedStrip


def modelled_pass(seed: int) -> ModelledPass:
    """Model one pass of our own constellation."""
    start = float(timescales.gps_from_utc(START))
    sounded = occultation.simulate_occultations(start_gps=start, count=OCCULTATIONS, seed=seed)
    orbit = sounded.receiver_orbit
    strip = scenes.simulate_strip(seed=seed, lines=LINES, center=CENTER, time=START)
    sent = packets.telemetry(
        housekeeping_time=orbit.time[::10],
        navigation=packets.navigation_records(
            orbit.time, position=orbit.position, velocity=orbit.velocity, clock_bias=orbit.clock_bias
        ),
        events=sounded.events,
        imagery=_imagery(strip),
    )
    link = spacelink.link_from_mapping(links.definition("terralimb"))
    assembled = downlink.assemble_pass(
        sent, link=link, spacecraft=SPACECRAFT, lost_frames=LOST_FRAMES, symbol_errors=SYMBOL_ERRORS, seed=seed
    )
    return ModelledPass(assembled.cadus, sounded.sp3, assembled.truth, strip)


def _imagery(strip: scenes.SimulatedStrip) -> list[packets.PacketRecord]:
    level0 = strip.strip
    time = level0["line_time"].to_numpy()
    lines = packets.line_records(
        level0["counts"].to_numpy(),
        line_time=time,
        gain=line_packet.per_band(level0, "gain").tolist(),
        integration_time=line_packet.per_band(level0, "integration_time").tolist(),
    )
    ancillary = packets.ancillary_records(
        time,
        edge_longitude=level0["edge_longitude"].to_numpy(),
        edge_latitude=level0["edge_latitude"].to_numpy(),
        interval=1,
    )
    return [*lines, *ancillary]


def files(seed: int) -> Iterator[LandedFile]:
    """All files of the modelled input with their landing keys."""
    modelled = modelled_pass(seed)
    day = np.datetime_as_string(START, unit="D").replace("-", "")
    yield _landed("landed_auxiliary", "gnss-orbits", f"sim{day}.sp3", body=modelled.sp3.encode())
    yield _landed("landed_downlink", "chongqing", "terralimb", f"c001-{day}.cadu", body=modelled.cadus)
    coarse = granule_format.encode(external_scene.pack(_coarse_scene(modelled.strip, seed)))
    yield _landed("landed_scene", "coarse", "chongqing", f"coarse-{day}.nc", body=coarse)
    series = granule_format.encode(external_scene.pack(_series(modelled.strip.landscape, seed)))
    yield _landed("landed_scene", "modelled", "yuzhong", f"series-{day[:4]}.nc", body=series)


def _landed(kind: str, *parts: str, body: bytes) -> LandedFile:
    return LandedFile(archive.landing_key(kind, *parts), body)


def _coarse_scene(strip: scenes.SimulatedStrip, seed: int) -> Any:
    x, y = _projected(strip.longitude, strip.latitude)
    bounds = (x.min(), y.min(), x.max(), y.max())
    return scenes.simulate_external_scene(strip.landscape, seed=seed, time=strip.time, bounds=bounds, area="chongqing")


def _projected(longitude: Any, latitude: Any) -> tuple[Any, Any]:
    import pyproj

    transformer = pyproj.Transformer.from_crs("EPSG:4326", scenes.CRS, always_xy=True)
    return transformer.transform(longitude, latitude)


def _series(landscape: scenes.Landscape, seed: int) -> Any:
    months = [np.datetime64(f"2024-{month:02d}-15T03:20:00", "ns") for month in range(1, 13)]
    return scene_series.simulate_series(
        landscape, seed=seed, geobox=_series_grid(landscape), times=months, missing=(1,)
    ).stack


def _series_grid(landscape: scenes.Landscape) -> GeoBox:
    """Grid beside the river, so that the area holds open water."""
    x, _ = _projected(*CENTER)
    amplitude, wavelength, phase, northing = landscape.river
    y = northing + amplitude * np.sin(2.0 * np.pi * x / wavelength + phase)
    half = SERIES_PIXELS * SERIES_RESOLUTION / 2.0
    bounds = BoundingBox(x - half, y - half, x + half, y + half, scenes.CRS)
    return grid.covering(bounds, crs=scenes.CRS, resolution=SERIES_RESOLUTION)
