"""Forward model of ships on a river or a lake as radar sees them, with exact truth.

Clutter is K distributed: gamma texture times gamma speckle (Jakeman and Pusey 1976; Oliver and Quegan 2004, section 5).
A ship is a handful of scatterers on its deck, each drawn by the response of the system to a point, with side lobes. A
moving ship stands where its radial velocity puts it: displaced in azimuth by range over platform speed times radial
velocity (Raney 1971). What is bright repeats, weak, at the azimuth ambiguities. Nothing here uses the processing it is
meant to test.

The cross section of a ship, 30 dBm2 at 40 m of length and growing with its power 2.1, is our estimate for C band, as
are the levels of bridges, buoys and banks.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import affine
import numpy as np
from odc.geo.geobox import GeoBox
from scipy import ndimage, spatial, special

from processors.arrays import BoolArray, FloatArray
from processors.simulation import imagery_landscape, radar_water_scene, river_scene
from processors.simulation.imagery_landscape import Raster

POLARIZATIONS = ("vv", "vh")
CROSS_SECTION = 1000.0
"""Mean radar cross section of a ship of 40 m, copolar [m2]."""
RANGE_OVER_SPEED = 113.0
"""Slant range over the speed of the platform: azimuth displacement of one meter per second towards the radar [s]."""
_POWER = 2.1
_CROSS = np.array([1.0, 10.0**-0.7])
_RESPONSE = 12
_BRIDGE_BRIGHT = 0.7
_MOORED_SPACING = 1.15


@dataclass(frozen=True, kw_only=True)
class ShipOptions:
    """What the scene holds.

    Parameters
    ----------
    water : str
        "river", "lake" or "open" (water from edge to edge).
    river_width : float
        Mean width of the river [m].
    angle : float
        Direction of the river, from the columns towards the rows [degree].
    ships : int
        Ships apart from each other [1].
    shortest, longest : float
        Their lengths, drawn evenly in the logarithm [m].
    moored_rows : int
        Rows of ships side by side at the bank [1].
    bridges, buoys : int
        Their numbers [1].
    moving : bool
        Ships move, so that their images are displaced.
    ais_share : float
        Share of ships that report themselves [1].
    ais_outside, ais_ghosts : int
        Reports from beyond the image, and of boats the radar cannot see [1].
    looks : float
        Number of looks [1].
    texture : float
        Shape of the texture of the water; infinite for none [1].
    texture_length : float
        Standard deviation of the filter that makes the texture of neighbors alike [pixel].
    speckle_correlation : float
        The same for speckle [pixel].
    water_backscatter : tuple of float
        Mean backscatter of the water, vv and vh [dB].
    gusts : float
        Standard deviation of the water's slow changes by gusts and streaks [dB].
    noise_floor : float
        Noise-equivalent backscatter [dB].
    resolution : float
        Width of the response of the system [m].
    incidence_angle, look_azimuth : float
        Angle of incidence, and azimuth into which the radar looks [degree].
    ambiguity_shift : float
        Way of the azimuth ambiguities [m].
    ambiguity_ratio : float
        Their level [dB].
    cliffs : float
        Share of the banks that is steep and lies over the water [1].
    rain : bool
        Put a bright rain cell with a dark rim on the water.
    """

    water: str = "river"
    river_width: float = 900.0
    angle: float = 35.0
    ships: int = 24
    shortest: float = 10.0
    longest: float = 200.0
    moored_rows: int = 2
    bridges: int = 2
    buoys: int = 6
    moving: bool = True
    ais_share: float = 0.7
    ais_outside: int = 3
    ais_ghosts: int = 1
    looks: float = 4.9
    texture: float = 8.0
    texture_length: float = 0.7
    speckle_correlation: float = 0.45
    water_backscatter: tuple[float, float] = (-18.0, -27.0)
    gusts: float = 1.2
    noise_floor: float = -25.0
    resolution: float = 21.0
    incidence_angle: float = 38.0
    look_azimuth: float = 100.0
    ambiguity_shift: float = 3000.0
    ambiguity_ratio: float = -26.0
    cliffs: float = 0.2
    rain: bool = False


class Ship(NamedTuple):
    """A ship and where its image lies; positions are whole numbers in the middle of pixels."""

    row: float
    """True place [pixel]."""
    column: float
    """True place [pixel]."""
    image_row: float
    """Place in the image [pixel]."""
    image_column: float
    """Place in the image [pixel]."""
    x: float
    """Easting of the true place [m]."""
    y: float
    """Northing of the true place [m]."""
    image_x: float
    """Easting of the image [m]."""
    image_y: float
    """Northing of the image [m]."""
    length: float
    """Length [m]."""
    width: float
    """Width [m]."""
    heading: float
    """Course, clockwise from north [degree]."""
    speed: float
    """Speed over ground [m s-1]."""
    cross_section: float
    """Radar cross section, copolar [m2]."""
    azimuth_displacement: float
    """Way of the image along the flight of the radar [m]."""
    moored: bool
    """One of a row at the bank."""
    searchable: bool
    """Its image lies on open water, three pixels from land and bridges."""
    mmsi: int
    """Number it reports under, 0 for none."""


class Report(NamedTuple):
    """A position that a ship reports."""

    mmsi: int
    """Number of the ship."""
    x: float
    """Easting when it reported [m]."""
    y: float
    """Northing when it reported [m]."""
    time_offset: float
    """Time of the report after that of the image [s]."""
    speed: float
    """Speed over ground [m s-1]."""
    course: float
    """Course, clockwise from north [degree]."""
    length: float
    """Length [m]."""
    kind: str
    """"ship", "outside" (beyond the image) or "ghost" (too small to be seen)."""


class Bridge(NamedTuple):
    """A bridge from bank to bank."""

    line: FloatArray
    """Row and column of the two ends (2, 2) [pixel]."""
    x: FloatArray
    """Easting of the ends (2) [m]."""
    y: FloatArray
    """Northing of the ends (2) [m]."""
    width: float
    """Width [m]."""


class ShipScene(NamedTuple):
    """What the radar delivers, and the truth."""

    vv: Raster
    """Backscatter, linear (y, x) [1]."""
    vh: Raster
    """The same, cross-polarized (y, x) [1]."""
    water: BoolArray
    """At least half of the pixel is water, bridges not taken out (y, x)."""
    fraction: Raster
    """Share of water (y, x) [1]."""
    ships: tuple[Ship, ...]
    """All ships."""
    buoys: FloatArray
    """Row and column of buoys (buoy, 2) [pixel]."""
    bridges: tuple[Bridge, ...]
    """All bridges."""
    ais: tuple[Report, ...]
    """All reports."""
    searched_area: float
    """Area of water pixels [km2]."""
    clutter: Raster
    """Mean backscatter of water without texture (2, y, x) [1]."""
    grid: GeoBox
    """Where it lies."""
    options: ShipOptions
    """What was asked for."""


class _Stage(NamedTuple):
    """Where everything happens."""

    shape: tuple[int, int]
    pixel_size: float
    fraction: Raster
    shore: Raster
    """Distance to land, negative on land [pixel]."""
    course: FloatArray
    """Center line: row, column, forward row, forward column, half width (point, 5) [pixel]."""
    away: FloatArray
    flight: FloatArray


def simulate_ship_scene(
    seed: int, *, shape: tuple[int, int] = (500, 500), pixel_size: float = 10.0, **options: Any
) -> ShipScene:
    """Put ships on water and look at it.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    **options : Any
        Of ShipOptions.

    Returns
    -------
    ShipScene
        The same for the same arguments.

    Raises
    ------
    ValueError
        Unknown water, or fewer than 64 pixels on a side.
    """
    asked = ShipOptions(**options)
    if asked.water not in ("river", "lake", "open") or min(shape) < 64:
        raise ValueError(f"no ships on {asked.water!r} water in {shape} pixels")
    stage = _set(seed, shape, pixel_size, asked)
    bridges = _bridges(np.random.default_rng([seed, 71]), stage, asked)
    blocked = _blocked(stage, bridges)
    rng = np.random.default_rng([seed, 72])
    made = _moored(rng, stage, blocked, asked) + _free(rng, stage, blocked, asked)
    ships = tuple(_with_number(rng, ship, number, asked) for number, ship in enumerate(made))
    buoys = _buoys(np.random.default_rng([seed, 73]), stage, blocked, asked)
    clutter = _clutter(seed, stage, asked)
    targets = _targets(np.random.default_rng([seed, 74]), stage, ships, buoys, bridges, asked)
    image = _image(seed, stage, clutter, targets, asked)
    wet = stage.fraction >= 0.5
    return ShipScene(
        vv=image[0],
        vh=image[1],
        water=wet,
        fraction=stage.fraction,
        ships=ships,
        buoys=buoys,
        bridges=bridges,
        ais=_reports(np.random.default_rng([seed, 75]), stage, ships, asked),
        searched_area=float(wet.sum()) * pixel_size**2 * 1e-6,
        clutter=clutter,
        grid=GeoBox(
            shape,
            affine.Affine(pixel_size, 0.0, river_scene.CORNER[0], 0.0, -pixel_size, river_scene.CORNER[1]),
            river_scene.CRS,
        ),
        options=asked,
    )


def _set(seed: int, shape: tuple[int, int], pixel_size: float, asked: ShipOptions) -> _Stage:
    azimuth = math.radians(asked.look_azimuth)
    away = np.array([-math.cos(azimuth), math.sin(azimuth)])
    # A radar that looks right flies a quarter turn to the left of where it looks.
    flight = np.array([-away[1], away[0]])
    if asked.water == "river":
        river = river_scene.simulate_river_scene(
            seed,
            shape=shape,
            pixel_size=pixel_size,
            width=asked.river_width,
            angle=asked.angle,
            bend=25.0,
            wavelength=9.0,
        )
        reach = river.reaches[0]
        tangent = np.radians(reach.tangent)
        line = np.column_stack([reach.path, -np.sin(tangent), np.cos(tangent), 0.5 * reach.width / pixel_size])
        fraction = river.fraction
    else:
        fraction = _still(seed, shape, asked)
        turn = math.radians(asked.angle)
        s = np.arange(-0.7 * max(shape), 0.7 * max(shape), 0.1)
        forward = np.array([math.sin(turn), math.cos(turn)])
        line = np.column_stack(
            [
                0.5 * np.array(shape) + s[:, None] * forward,
                np.tile(forward, (s.size, 1)),
                np.full(s.size, 0.3 * min(shape)),
            ]
        )
    wet = fraction >= 0.5
    inside = ((line[:, :2] > 0.0) & (line[:, :2] < np.array(shape) - 1.0)).all(axis=1)
    shore = ndimage.distance_transform_edt(np.pad(wet, 1, mode="edge"))[1:-1, 1:-1]
    shore = np.where(wet, np.minimum(shore, 1e3), -ndimage.distance_transform_edt(~wet))
    return _Stage(shape, pixel_size, fraction, shore.astype(np.float32), line[inside], away, flight)


def _still(seed: int, shape: tuple[int, int], asked: ShipOptions) -> Raster:
    if asked.water == "open":
        return np.ones(shape, dtype=np.float32)
    rng = np.random.default_rng([seed, 70])
    rows, columns = np.indices(shape)
    away = np.hypot((rows - 0.5 * shape[0]) / (0.36 * shape[0]), (columns - 0.5 * shape[1]) / (0.42 * shape[1]))
    away = away + 0.1 * imagery_landscape.fractal_field(rng, shape, exponent=4.0, longest=0.3 * max(shape))
    return np.asarray(np.clip((1.0 - away) * 0.4 * min(shape) + 0.5, 0.0, 1.0), dtype=np.float32)


def _bridges(rng: np.random.Generator, stage: _Stage, asked: ShipOptions) -> tuple[Bridge, ...]:
    if asked.water != "river" or len(stage.course) < 1000:
        return ()
    made = []
    for number in range(asked.bridges):
        place = int(len(stage.course) * (number + rng.uniform(0.3, 0.7)) / asked.bridges)
        row, column, down, right, half = stage.course[place]
        skew = rng.uniform(-0.2, 0.2)
        across = np.array([right, -down]) * math.cos(skew) + np.array([down, right]) * math.sin(skew)
        reach = (half + 3.0) / math.cos(skew)
        line = np.array([row, column]) + np.array([[-reach], [reach]]) * across
        x, y = _map(stage, line[:, 0], line[:, 1])
        made.append(Bridge(line, np.asarray(x), np.asarray(y), float(rng.uniform(15.0, 32.0))))
    return tuple(made)


def _map(stage: _Stage, row: Any, column: Any) -> tuple[Any, Any]:
    x = river_scene.CORNER[0] + (column + 0.5) * stage.pixel_size
    return x, river_scene.CORNER[1] - (row + 0.5) * stage.pixel_size


def _blocked(stage: _Stage, bridges: tuple[Bridge, ...]) -> Raster:
    """Distance to land and bridges, bounces included, zero on them [pixel]."""
    free = stage.shore > 0.0
    for bridge in bridges:
        spots = _along(bridge.line, 0.5)
        for bounce in (0.0, 1.0, 2.0):
            cells = np.rint(spots + bounce * 1.6 * stage.away).astype(np.int64)
            cells = cells[((cells >= 0) & (cells < np.array(stage.shape))).all(axis=1)]
            free[cells[:, 0], cells[:, 1]] = False
    if free.all():
        return np.full(stage.shape, np.float32(1e3))
    return np.asarray(ndimage.distance_transform_edt(free), dtype=np.float32)


def _along(line: FloatArray, step: float) -> FloatArray:
    length = float(np.hypot(*(line[1] - line[0])))
    return np.asarray(line[0] + np.linspace(0.0, 1.0, max(int(length / step), 2))[:, None] * (line[1] - line[0]))


def _ship(
    rng: np.random.Generator,
    stage: _Stage,
    blocked: Raster,
    asked: ShipOptions,
    place: FloatArray,
    heading: float,
    length: float,
    speed: float,
    *,
    moored: bool,
) -> Ship:
    """A ship; heading from the columns towards the rows [rad]."""
    forward = np.array([math.sin(heading), math.cos(heading)])
    towards = -speed * float(forward @ stage.away) * math.sin(math.radians(asked.incidence_angle))
    shift = towards * RANGE_OVER_SPEED
    seen = place + shift / stage.pixel_size * stage.flight
    x, y = _map(stage, place[0], place[1])
    image_x, image_y = _map(stage, seen[0], seen[1])
    spread = 10.0 ** (0.1 * rng.normal(0.0, 2.0))
    cell = np.rint(seen).astype(int)
    within = bool((cell >= 3).all() and (cell < np.array(stage.shape) - 3).all())
    return Ship(
        row=float(place[0]),
        column=float(place[1]),
        image_row=float(seen[0]),
        image_column=float(seen[1]),
        x=float(x),
        y=float(y),
        image_x=float(image_x),
        image_y=float(image_y),
        length=length,
        width=length / float(np.clip(rng.normal(5.5, 0.7), 4.0, 8.0)),
        heading=math.degrees(math.atan2(forward[1], -forward[0])) % 360.0,
        speed=speed,
        cross_section=CROSS_SECTION * (length / 40.0) ** _POWER * spread,
        azimuth_displacement=shift,
        moored=moored,
        searchable=within and bool(blocked[tuple(cell)] > 3.0),
        mmsi=0,
    )


def _free(rng: np.random.Generator, stage: _Stage, blocked: Raster, asked: ShipOptions) -> list[Ship]:
    """Ships apart from each other, mostly along the river."""
    tree = spatial.cKDTree(stage.course[:, :2])
    rows, columns = np.nonzero(blocked > 4.0)
    ships: list[Ship] = []
    for _ in range(40 * asked.ships):
        if len(ships) == asked.ships or not rows.size:
            break
        pick = int(rng.integers(rows.size))
        place = np.array([rows[pick], columns[pick]]) + rng.uniform(-0.5, 0.5, 2)
        down, right = stage.course[int(tree.query(place)[1]), 2:4]
        heading = math.atan2(down, right) + rng.normal(0.0, 0.12) + math.pi * int(rng.integers(2))
        if rng.uniform() < 0.15:
            heading = float(rng.uniform(0.0, 2.0 * math.pi))
        length = float(np.exp(rng.uniform(math.log(asked.shortest), math.log(asked.longest))))
        speed = float(rng.uniform(0.5, 4.0)) if asked.moving and rng.uniform() < 0.7 else 0.0
        ship = _ship(rng, stage, blocked, asked, place, heading, length, speed, moored=False)
        room = 2.0 + 0.5 * length / stage.pixel_size
        apart = all(
            math.hypot(ship.image_row - other.image_row, ship.image_column - other.image_column)
            > room + 0.5 * other.length / stage.pixel_size + 3.0
            for other in ships
        )
        if apart:
            ships.append(ship)
    return ships


def _moored(rng: np.random.Generator, stage: _Stage, blocked: Raster, asked: ShipOptions) -> list[Ship]:
    """Rows of ships side by side, the innermost at the bank."""
    if asked.water != "river" or len(stage.course) < 400:
        return []
    ships = []
    for _ in range(asked.moored_rows):
        row, column, down, right, half = stage.course[int(rng.integers(150, len(stage.course) - 150))]
        side = -1.0 if rng.uniform() < 0.5 else 1.0
        across = side * np.array([right, -down])
        length = float(rng.uniform(45.0, 110.0))
        beam = length / 5.5 / stage.pixel_size
        for number in range(int(rng.integers(3, 7))):
            inward = half - (number + 0.6) * beam * _MOORED_SPACING - 0.5
            place = np.array([row, column]) + across * inward
            heading = math.atan2(down, right) + rng.normal(0.0, 0.02)
            ships.append(_ship(rng, stage, blocked, asked, place, heading, length, 0.0, moored=True))
    return ships


def _with_number(rng: np.random.Generator, ship: Ship, number: int, asked: ShipOptions) -> Ship:
    reports = rng.uniform() < asked.ais_share and ship.length >= 15.0
    return ship._replace(mmsi=413_000_000 + number + 1) if reports else ship


def _reports(
    rng: np.random.Generator, stage: _Stage, ships: tuple[Ship, ...], asked: ShipOptions
) -> tuple[Report, ...]:
    reports = []
    for ship in ships:
        if ship.mmsi:
            later = float(rng.uniform(-300.0, 300.0))
            way, course = ship.speed * later, math.radians(ship.heading)
            x, y = ship.x + way * math.sin(course), ship.y + way * math.cos(course)
            x, y = x + rng.normal(0.0, 5.0), y + rng.normal(0.0, 5.0)
            reports.append(Report(ship.mmsi, x, y, later, ship.speed, ship.heading, ship.length, "ship"))
    span = max(stage.shape) * stage.pixel_size
    for number in range(asked.ais_outside):
        x, y = _map(stage, -rng.uniform(50.0, 300.0), rng.uniform(0.0, stage.shape[1]))
        reports.append(Report(413_900_001 + number, x, y + 0.02 * span, 0.0, 2.0, 90.0, 80.0, "outside"))
    rows, columns = np.nonzero(stage.shore > 8.0)
    for number in range(asked.ais_ghosts if rows.size else 0):
        pick = int(rng.integers(rows.size))
        x, y = _map(stage, rows[pick], columns[pick])
        reports.append(Report(413_950_001 + number, float(x), float(y), 0.0, 0.0, 0.0, 60.0, "ghost"))
    return tuple(reports)


def _buoys(rng: np.random.Generator, stage: _Stage, blocked: Raster, asked: ShipOptions) -> FloatArray:
    rows, columns = np.nonzero((blocked > 3.0) & (blocked < 15.0))
    if not rows.size:
        rows, columns = np.nonzero(blocked > 3.0)
    pick = rng.integers(max(rows.size, 1), size=asked.buoys if rows.size else 0)
    return np.stack([rows[pick], columns[pick]], axis=1) + rng.uniform(-0.5, 0.5, (pick.size, 2))


def _clutter(seed: int, stage: _Stage, asked: ShipOptions) -> Raster:
    """Mean backscatter of the water with gusts, streaks and rain."""
    rng = np.random.default_rng([seed, 76])
    gust = imagery_landscape.fractal_field(rng, stage.shape, exponent=3.4, longest=120.0)
    rows, columns = np.indices(stage.shape)
    turn = rng.uniform(0.0, math.pi)
    streak = np.sin(
        2.0 * math.pi * (rows * math.sin(turn) + columns * math.cos(turn)) / rng.uniform(20.0, 60.0) + 2.0 * gust
    )
    change = asked.gusts * (0.9 * gust + 0.6 * streak)
    if asked.rain:
        middle = rng.uniform(0.3, 0.7, 2) * np.array(stage.shape)
        away = np.hypot(rows - middle[0], columns - middle[1]) / (0.12 * min(stage.shape))
        change = change + 6.0 * np.exp(-(away**2)) - 3.0 * np.exp(-((away - 1.6) ** 2) / 0.1)
    level = np.array(asked.water_backscatter)[:, None, None] + np.array([1.0, 0.5])[:, None, None] * change
    return np.asarray(10.0 ** (0.1 * level), dtype=np.float32)


def _response(stage: _Stage, offsets: FloatArray, resolution: float) -> FloatArray:
    """Response of the system to a point, in one direction: tapered, side lobes at -25 dB, of unit area."""
    u = 1.13 * offsets * stage.pixel_size / resolution
    amplitude = np.sinc(u) + 0.2143 * (np.sinc(u - 1.0) + np.sinc(u + 1.0))
    energy = (1.0 + 2.0 * 0.2143**2) / 1.13 * resolution / stage.pixel_size
    return np.asarray(amplitude**2 / energy)


def _draw(image: FloatArray, stage: _Stage, place: FloatArray, area: float, resolution: float) -> None:
    """Add a point of some cross section to the image of backscatter."""
    middle = np.rint(place).astype(int)
    reach = math.ceil(_RESPONSE * resolution / 21.0 * 10.0 / stage.pixel_size) + 1
    low = np.maximum(middle - reach, 0)
    high = np.minimum(middle + reach + 1, np.array(stage.shape))
    if (high <= low).any():
        return
    rows = np.arange(low[0], high[0])[:, None] - place[0]
    columns = np.arange(low[1], high[1])[None, :] - place[1]
    along = rows * stage.away[0] + columns * stage.away[1]
    across = rows * stage.flight[0] + columns * stage.flight[1]
    spread = _response(stage, along, resolution) * _response(stage, across, resolution)
    image[low[0] : high[0], low[1] : high[1]] += area / stage.pixel_size**2 * spread


def _targets(
    rng: np.random.Generator,
    stage: _Stage,
    ships: tuple[Ship, ...],
    buoys: FloatArray,
    bridges: tuple[Bridge, ...],
    asked: ShipOptions,
) -> FloatArray:
    """Backscatter of everything built, copolar [1]."""
    image = np.zeros(stage.shape)
    for ship in ships:
        heading = math.radians(ship.heading)
        forward = np.array([-math.cos(heading), math.sin(heading)])
        aside = np.array([forward[1], -forward[0]])
        count = max(int(ship.length / 6.0), 3)
        share = 0.4 / count + 0.6 * rng.dirichlet(np.full(count, 0.7))
        u = (np.arange(count) + 0.5) / count - 0.5 + rng.uniform(-0.3, 0.3, count) / count
        v = rng.uniform(-0.5, 0.5, count)
        for part, ahead, beside in zip(share, u * ship.length, v * ship.width, strict=True):
            place = np.array([ship.image_row, ship.image_column])
            place = place + (forward * ahead + aside * beside) / stage.pixel_size
            _draw(image, stage, place, ship.cross_section * part, asked.resolution)
    for buoy in buoys:
        _draw(image, stage, buoy, float(rng.uniform(5.0, 40.0)), asked.resolution)
    for bridge in bridges:
        _draw_bridge(rng, image, stage, bridge, asked)
    return image


def _draw_bridge(
    rng: np.random.Generator, image: FloatArray, stage: _Stage, bridge: Bridge, asked: ShipOptions
) -> None:
    """The deck, and its bounces off the water, farther and weaker."""
    for bounce, level in ((0.0, 1.0), (1.0, 0.45), (2.0, 0.12)):
        for spot in _along(bridge.line, 0.6):
            power = _BRIDGE_BRIGHT * level * bridge.width * 0.6 * stage.pixel_size * rng.gamma(2.0, 0.5)
            _draw(image, stage, spot + bounce * 1.6 * stage.away, power, asked.resolution)


def _land(rng: np.random.Generator, stage: _Stage, asked: ShipOptions) -> Raster:
    """Backscatter of the land: fields, towns of bright points, steep banks over the water (2, y, x) [1]."""
    texture = rng.standard_gamma(6.0, stage.shape) / 6.0
    broad = imagery_landscape.fractal_field(rng, stage.shape, exponent=3.0, longest=40.0)
    town = imagery_landscape.fractal_field(rng, stage.shape, exponent=3.6, longest=90.0) > 1.0
    bright = np.where(town, rng.standard_gamma(0.4, stage.shape) * 1.2 + 0.05, 10.0 ** (-1.05 + 0.12 * broad) * texture)
    layers = np.stack([bright, np.where(town, 0.16, 0.21) * bright])
    return np.asarray(layers, dtype=np.float32)


def _cliffs(rng: np.random.Generator, stage: _Stage, asked: ShipOptions) -> Raster:
    """Banks that face the radar lie over the water before them [1]."""
    if asked.cliffs <= 0.0 or not (stage.shore < 0.0).any():
        return np.zeros(stage.shape, dtype=np.float32)
    down, right = np.gradient(ndimage.gaussian_filter(stage.shore, 3.0))
    facing = -(down * stage.away[0] + right * stage.away[1]) > 0.5
    steep = imagery_landscape.fractal_field(rng, stage.shape, exponent=4.0, longest=100.0)
    steep = steep > special.ndtri(1.0 - asked.cliffs)
    near = (stage.shore > -4.0) & (stage.shore < 2.2)
    return np.asarray(np.where(facing & steep & near, 0.5, 0.0), dtype=np.float32)


def _image(seed: int, stage: _Stage, clutter: Raster, targets: FloatArray, asked: ShipOptions) -> Raster:
    rng = np.random.default_rng([seed, 77])
    land, cliffs = _land(rng, stage, asked), _cliffs(rng, stage, asked)
    built = np.where(stage.fraction < 0.5, land[0] * (land[0] > 0.5), 0.0) + targets + cliffs
    ghost = np.zeros(stage.shape)
    way = asked.ambiguity_shift / stage.pixel_size * stage.flight
    for side in (-1.0, 1.0):
        ghost += ndimage.shift(ndimage.gaussian_filter(built, 1.0), side * way, order=1, mode="constant")
    ghost *= 10.0 ** (0.1 * asked.ambiguity_ratio)
    noise = 10.0 ** (0.1 * asked.noise_floor)
    texture = np.ones(stage.shape, dtype=np.float32)
    if math.isfinite(asked.texture):
        texture = radar_water_scene.gamma_speckle(
            rng, stage.shape, looks=asked.texture, correlation=asked.texture_length
        )
    layers = []
    for index in range(2):
        mean = stage.fraction * clutter[index] * texture + (1.0 - stage.fraction) * land[index]
        mean = mean + _CROSS[index] * (targets + cliffs + ghost) + noise
        speckle = radar_water_scene.gamma_speckle(
            rng, stage.shape, looks=asked.looks, correlation=asked.speckle_correlation
        )
        layers.append(np.asarray(mean * speckle, dtype=np.float32))
    return np.stack(layers)
