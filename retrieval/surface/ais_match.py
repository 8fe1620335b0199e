"""Ships seen by radar joined with the positions ships report: matched, dark and silent ones."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize

from processors.imagery import ais_positions

MATCHED, SILENT, UNSEARCHED, SMALL = range(4)
STATUSES = ("matched", "silent", "unsearched", "small")

Doubles = npt.NDArray[np.float64]
_METER_PER_DEGREE = 111_195.0
_FORBIDDEN = 1e6


@dataclass(frozen=True, kw_only=True)
class AisMatchParameters:
    """When a ship seen and a ship reported are the same.

    Parameters
    ----------
    longest_reckoning : float
        Longest time a position is carried on from one report [s].
    longest_gap : float
        Longest time between two reports that are interpolated [s].
    antenna_sigma : float
        Uncertainty of a report, the place of the antenna on the ship included [m].
    drift_share : float
        Uncertainty of the way made since the nearest report, in that way [1].
    turning : float
        Uncertainty that grows with the square of the time [m/s2].
    radar_sigma : float
        Uncertainty of the place of a ship on the image [m].
    range_over_speed : float
        Distance of the radar over its speed, which shifts moving ships along the orbit [s].
    gate : float
        Largest distance in standard deviations [1].
    largest_distance : float
        Largest distance at all [m].
    least_length : float
        Reported ships shorter than this may be missed [m].
    """

    longest_reckoning: float = 600.0
    longest_gap: float = 3600.0
    antenna_sigma: float = 25.0
    drift_share: float = 0.1
    turning: float = 0.001
    radar_sigma: float = 20.0
    range_over_speed: float = 120.0
    gate: float = 3.0
    largest_distance: float = 1500.0
    least_length: float = 25.0


class Reported(NamedTuple):
    """Where reported ships were at the time of the image, one array element each.

    Attributes
    ----------
    mmsi : numpy.ndarray
        Identity.
    latitude, longitude : numpy.ndarray
        Position [degree].
    sigma : numpy.ndarray
        Its standard uncertainty [m].
    speed, course : numpy.ndarray
        Over ground [m/s], [degree]; NaN where unknown.
    length : numpy.ndarray
        Length [m], NaN where unknown.
    too_old : int
        Ships without a report near enough in time [1].
    """

    mmsi: npt.NDArray[np.int64]
    latitude: Doubles
    longitude: Doubles
    sigma: Doubles
    speed: Doubles
    course: Doubles
    length: Doubles
    too_old: int


class Look(NamedTuple):
    """How the radar looks.

    Attributes
    ----------
    flight : float
        Direction of flight from north [degree]; the radar looks to its right.
    incidence : float
        Angle of incidence [degree].
    """

    flight: float
    incidence: float


class Joined(NamedTuple):
    """Pairs of ships.

    Attributes
    ----------
    reported : numpy.ndarray
        Position in the reported ships of every ship seen, -1 for a dark one.
    seen : numpy.ndarray
        Position in the ships seen of every ship reported, -1 for none.
    distance : numpy.ndarray
        Distance of every ship seen from its report [m], NaN for a dark one.
    status : numpy.ndarray
        Number in `STATUSES` of every ship reported.
    """

    reported: npt.NDArray[np.intp]
    seen: npt.NDArray[np.intp]
    distance: Doubles
    status: npt.NDArray[np.int64]


def at_time(positions: ais_positions.AisPositions, time: float, *, parameters: AisMatchParameters) -> Reported:
    """Where ships were at a time.

    Parameters
    ----------
    positions : AisPositions
        Reports.
    time : float
        Time of the image [s since 1970].
    parameters : AisMatchParameters
        Choices.

    Returns
    -------
    Reported
        Interpolated between two reports, or carried on from one by course and speed.
    """
    rows = []
    ships = np.unique(positions.mmsi)
    for ship in ships:
        mine = np.flatnonzero(positions.mmsi == ship)
        row = _placed(positions, mine, time, parameters)
        if row is not None:
            rows.append((float(ship), *row))
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 7).T
    latitude, longitude, sigma, speed, course, length = table[1:]
    too_old = len(ships) - len(rows)
    return Reported(table[0].astype(np.int64), latitude, longitude, sigma, speed, course, length, too_old)


def _placed(
    positions: ais_positions.AisPositions, mine: npt.NDArray[np.intp], time: float, parameters: AisMatchParameters
) -> tuple[float, ...] | None:
    times = positions.time[mine]
    after = int(np.searchsorted(times, time))
    lengths = positions.length[mine][np.isfinite(positions.length[mine])]
    length = float(np.median(lengths)) if lengths.size else float("nan")
    if 0 < after < len(mine) and times[after] - times[after - 1] <= parameters.longest_gap:
        one, other = mine[after - 1], mine[after]
        share = (time - times[after - 1]) / max(times[after] - times[after - 1], 1e-9)
        apart = (positions.longitude[other] - positions.longitude[one] + 180.0) % 360.0 - 180.0
        north = positions.latitude[other] - positions.latitude[one]
        latitude, longitude = positions.latitude[one] + share * north, positions.longitude[one] + share * apart
        east = apart * np.cos(np.radians(latitude))
        gap = times[after] - times[after - 1]
        speed = float(np.hypot(north, east)) * _METER_PER_DEGREE / max(gap, 1e-9)
        course = float(np.degrees(np.arctan2(east, north)) % 360.0) if speed > 0 else positions.course[one]
        # A way between two known places strays most in the middle.
        sigma = _spread(speed, gap * share * (1.0 - share), parameters)
        return latitude, longitude, sigma, speed, course, length
    nearest = int(np.argmin(np.abs(times - time)))
    late = time - times[nearest]
    if abs(late) > parameters.longest_reckoning:
        return None
    at = mine[nearest]
    speed, course = positions.speed[at], positions.course[at]
    way = speed * late if np.isfinite(speed) and np.isfinite(course) else 0.0
    turned = np.radians(course) if np.isfinite(course) else 0.0
    latitude = positions.latitude[at] + way * np.cos(turned) / _METER_PER_DEGREE
    stretch = _METER_PER_DEGREE * np.cos(np.radians(positions.latitude[at]))
    longitude = positions.longitude[at] + way * np.sin(turned) / stretch
    known = speed if np.isfinite(speed) else 5.0
    return latitude, longitude, _spread(known, abs(late), parameters), speed, course, length


def _spread(speed: float, seconds: float, parameters: AisMatchParameters) -> float:
    turning = parameters.turning * seconds**2 if speed > 0 else 0.0
    return float(np.linalg.norm([parameters.antenna_sigma, parameters.drift_share * speed * seconds, turning]))


def join(
    latitude: Doubles,
    longitude: Doubles,
    length: Doubles,
    length_sigma: Doubles,
    reported: Reported,
    *,
    searched: npt.NDArray[np.bool_],
    parameters: AisMatchParameters,
    look: Look | None = None,
) -> Joined:
    """Pair ships seen with ships reported, each at most once, so that all distances together are least.

    Parameters
    ----------
    latitude, longitude : numpy.ndarray
        Ships seen (ship) [degree].
    length, length_sigma : numpy.ndarray
        Their length and its uncertainty (ship) [m].
    reported : Reported
        Ships reported.
    searched : numpy.ndarray
        Whether ships were looked for where each reported ship was (reported).
    parameters : AisMatchParameters
        Choices.
    look : Look, optional
        How the radar looks: the shift of moving ships along the orbit is then taken off, else it widens the gate.

    Returns
    -------
    Joined
        The pairs.
    """
    north, east, sigma = _displaced(reported, look, parameters)
    apart_north = (latitude[:, None] - reported.latitude[None]) * _METER_PER_DEGREE - north[None]
    turned = (longitude[:, None] - reported.longitude[None] + 180.0) % 360.0 - 180.0
    apart_east = turned * _METER_PER_DEGREE * np.cos(np.radians(reported.latitude))[None] - east[None]
    distance = np.hypot(apart_north, apart_east)
    spread = np.hypot(sigma, parameters.radar_sigma)[None]
    mismatch = (length[:, None] - reported.length[None]) / np.hypot(length_sigma, 10.0)[:, None]
    cost = (distance / spread) ** 2 + np.minimum(np.nan_to_num(mismatch) ** 2, 9.0) / 2 + 2 * np.log(spread)
    allowed = (distance <= parameters.gate * spread) & (distance <= parameters.largest_distance)
    one, other = optimize.linear_sum_assignment(np.where(allowed, cost, _FORBIDDEN))
    good = allowed[one, other]
    one, other = one[good], other[good]
    to_reported = np.full(latitude.size, -1, dtype=np.intp)
    to_seen = np.full(reported.mmsi.size, -1, dtype=np.intp)
    to_reported[one], to_seen[other] = other, one
    apart = np.full(latitude.size, np.nan)
    apart[one] = distance[one, other]
    status = np.where(to_seen >= 0, MATCHED, np.where(searched, SILENT, UNSEARCHED))
    status[(status == SILENT) & (reported.length < parameters.least_length)] = SMALL
    return Joined(to_reported, to_seen, apart, status.astype(np.int64))


def _displaced(
    reported: Reported, look: Look | None, parameters: AisMatchParameters
) -> tuple[Doubles, Doubles, Doubles]:
    """Shift of a moving ship on the image to north and east, and uncertainty of the place [m].

    A ship that moves away from the radar is imaged behind its place along the orbit by range times radial speed over
    the speed of the radar (Raney 1971, doi 10.1109/TAES.1971.310292).
    """
    speed = np.nan_to_num(reported.speed)
    if look is None:
        shift = parameters.range_over_speed * speed * np.sin(np.radians(40.0)) / np.sqrt(3.0)
        none = np.zeros_like(speed)
        return none, none, np.hypot(reported.sigma, shift)
    flight = np.radians(look.flight)
    away = np.cos(np.radians(np.nan_to_num(reported.course)) - flight - np.pi / 2)
    shift = -parameters.range_over_speed * speed * away * np.sin(np.radians(look.incidence))
    return shift * np.cos(flight), shift * np.sin(flight), np.hypot(reported.sigma, 0.1 * np.abs(shift))
