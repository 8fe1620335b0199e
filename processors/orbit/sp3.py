"""Precise orbits and clocks in the SP3-c and SP3-d formats (Hilla, NGS 2010 and 2016)."""

import datetime
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.arrays import FloatArray
from processors.orbit import interpolation
from processors.quality import BadInputError

GPS_EPOCH = datetime.datetime(1980, 1, 6)  # noqa: DTZ001  (the GPS scale has no zone)
UNKNOWN_CLOCK_US = 999_999.0
KILOMETRE = 1_000.0
MICROSECOND = 1e-6


@dataclass(frozen=True)
class Sp3Orbits:
    """Table of satellite positions and clocks at regular epochs.

    Attributes
    ----------
    time : FloatArray
        Epochs [s since 1980-01-06, GPS], shape (n,).
    satellites : tuple[str, ...]
        RINEX 3 names, such as G05.
    position : FloatArray
        Earth-fixed positions of the centres of mass [m], shape (n, satellites, 3); NaN where unknown.
    clock : FloatArray
        Satellite clock minus GPS time without the periodic relativistic term [s], shape (n, satellites); NaN where
        unknown.
    """

    time: FloatArray
    satellites: tuple[str, ...]
    position: FloatArray
    clock: FloatArray

    @property
    def step(self) -> float:
        """Spacing of the epochs.

        Returns
        -------
        float
            Spacing [s].
        """
        return float(np.median(np.diff(self.time)))


class SatelliteState(NamedTuple):
    """State of one satellite at requested times.

    Attributes
    ----------
    position : FloatArray
        Earth-fixed position [m], shape (n, 3).
    velocity : FloatArray
        Rate of the Earth-fixed position [m s-1], shape (n, 3).
    clock : FloatArray
        Clock minus GPS time without the periodic relativistic term [s], shape (n,).
    """

    position: FloatArray
    velocity: FloatArray
    clock: FloatArray


def parse(text: str) -> Sp3Orbits:
    """Read the text of an SP3-c or SP3-d file.

    Parameters
    ----------
    text : str
        Whole file.

    Returns
    -------
    Sp3Orbits
        Positions and clocks by epoch and satellite.

    Raises
    ------
    BadInputError
        `not_sp3`, `sp3_truncated`, `sp3_time_system` or `sp3_irregular`.
    """
    # Some archives hold files with an empty first line.
    lines = text.strip().splitlines()
    _require_header(lines)
    epochs: list[float] = []
    rows: list[tuple[int, str, tuple[float, float, float, float]]] = []
    for line in lines:
        if line.startswith("* "):
            epochs.append(_epoch(line))
        elif line.startswith("P") and epochs:
            rows.append((len(epochs) - 1, line[1:4].replace(" ", "0"), _position_and_clock(line)))
    return _tabulated(epochs, rows, declared=int(lines[0][32:39]))


def _require_header(lines: list[str]) -> None:
    """Refuse text that is no complete SP3 file in GPS time."""
    if not lines or lines[0][:2] not in {"#c", "#d"}:
        raise BadInputError("not_sp3", "the text is no SP3-c or SP3-d file: it does not begin with #c or #d")
    if not any(line.startswith("EOF") for line in lines[-3:]):
        raise BadInputError("sp3_truncated", "the SP3 file has no EOF record: it is truncated")
    system = next((line[9:12] for line in lines if line.startswith("%c")), "")
    if system not in {"GPS", "ccc", "GAL", "IRN", "QZS"}:
        raise BadInputError("sp3_time_system", f"the SP3 file keeps {system!r} time; only GPS time is supported")


def _epoch(line: str) -> float:
    """GPS seconds of an epoch record."""
    try:
        year, month, day, hour, minute = (int(field) for field in line[3:20].split())
        seconds = float(line[20:31])
    except ValueError as error:
        raise BadInputError("not_sp3", f"the SP3 epoch record {line.rstrip()!r} cannot be read") from error
    whole = datetime.datetime(year, month, day, hour, minute) - GPS_EPOCH  # noqa: DTZ001
    return whole.total_seconds() + seconds


def _position_and_clock(line: str) -> tuple[float, float, float, float]:
    """Position [m] and clock [s] of a position record; unknown values are NaN (format: 0 and 999999.999999)."""
    try:
        x, y, z = (float(line[start : start + 14]) * KILOMETRE for start in (4, 18, 32))
        clock = float(line[46:60].strip() or UNKNOWN_CLOCK_US)
    except ValueError as error:
        raise BadInputError("not_sp3", f"the SP3 position record {line.rstrip()!r} cannot be read") from error
    if x == y == z == 0.0:
        x = y = z = np.nan
    return x, y, z, np.nan if clock >= UNKNOWN_CLOCK_US else clock * MICROSECOND


def _tabulated(
    epochs: list[float], rows: list[tuple[int, str, tuple[float, float, float, float]]], *, declared: int
) -> Sp3Orbits:
    """Arrange position records by epoch and satellite."""
    if len(epochs) < declared:
        raise BadInputError("sp3_truncated", f"the SP3 file declares {declared} epochs and holds {len(epochs)}")
    time = np.array(epochs)
    if time.size < 2 or np.ptp(np.diff(time)) > 1e-6:
        raise BadInputError("sp3_irregular", "the SP3 epochs are not regular")
    satellites = tuple(sorted({satellite for _, satellite, _ in rows}))
    column = {satellite: index for index, satellite in enumerate(satellites)}
    table = np.full((time.size, len(satellites), 4), np.nan)
    for epoch, satellite, values in rows:
        table[epoch, column[satellite]] = values
    return Sp3Orbits(time, satellites, table[..., :3], table[..., 3])


def merge(first: Sp3Orbits, second: Sp3Orbits) -> Sp3Orbits:
    """Join two consecutive tables of the same spacing; where both hold an epoch the first is kept.

    Parameters
    ----------
    first, second : Sp3Orbits
        Tables, the second one later.

    Returns
    -------
    Sp3Orbits
        One table of the satellites known to both.

    Raises
    ------
    BadInputError
        `sp3_irregular` where the tables do not join on one regular grid.
    """
    satellites = tuple(sorted(set(first.satellites) & set(second.satellites)))
    fresh = second.time > first.time[-1] + 1e-6
    time = np.concatenate([first.time, second.time[fresh]])
    if np.ptp(np.diff(time)) > 1e-6:
        raise BadInputError("sp3_irregular", "the two SP3 tables do not join on one regular grid of epochs")
    rows = [[table.satellites.index(name) for name in satellites] for table in (first, second)]
    position = np.concatenate([first.position[:, rows[0]], second.position[fresh][:, rows[1]]])
    clock = np.concatenate([first.clock[:, rows[0]], second.clock[fresh][:, rows[1]]])
    return Sp3Orbits(time, satellites, position, clock)


def state(orbits: Sp3Orbits, satellite: str, *, time: FloatArray) -> SatelliteState:
    """Position, velocity and clock of one satellite.

    Positions by the polynomial of `interpolation.interpolate`; clocks linearly, because a clock is no smooth function.

    Parameters
    ----------
    orbits : Sp3Orbits
        Table.
    satellite : str
        RINEX 3 name.
    time : FloatArray
        Requested times [s since 1980-01-06, GPS], shape (n,).

    Returns
    -------
    SatelliteState
        State at the requested times.

    Raises
    ------
    BadInputError
        `orbit_missing` where the table does not cover the satellite or the times.
    """
    if satellite not in orbits.satellites:
        raise BadInputError("orbit_missing", f"the precise orbits hold no satellite {satellite}")
    column = orbits.satellites.index(satellite)
    found = interpolation.interpolate(
        orbits.position[:, column], start=float(orbits.time[0]), step=orbits.step, time=time
    )
    clock = np.interp(time, orbits.time, orbits.clock[:, column], left=np.nan, right=np.nan)
    if not (np.isfinite(found.value).all() and np.isfinite(clock).all()):
        raise BadInputError(
            "orbit_missing", f"the precise orbits or clocks of {satellite} do not cover the requested times"
        )
    return SatelliteState(found.value, found.rate, clock)


def format_sp3(orbits: Sp3Orbits, *, agency: str = "SIM") -> str:
    """Text of an SP3-d file.

    Parameters
    ----------
    orbits : Sp3Orbits
        Table to write, rounded to the millimetre and the picosecond of the format.
    agency : str
        Three letters for the header.

    Returns
    -------
    str
        Whole file, readable by `parse`.
    """
    week, second_of_week = divmod(float(orbits.time[0]), 604_800.0)
    days = orbits.time[0] / 86_400.0
    head = [
        f"#dP{_calendar(float(orbits.time[0]))} {orbits.time.size:7d} ORBIT WGS84 FIT {agency:>4}",
        f"## {int(week):4d} {second_of_week:15.8f} {orbits.step:14.8f} {44_244 + int(days):5d} {days % 1:.13f}",
        *_satellite_list(orbits.satellites),
        "%c M  cc GPS ccc cccc cccc cccc cccc ccccc ccccc ccccc ccccc",
        "%c cc cc ccc ccc cccc cccc cccc cccc ccccc ccccc ccccc ccccc",
        "%f  1.2500000  1.025000000  0.00000000000  0.000000000000000",
        "%f  0.0000000  0.000000000  0.00000000000  0.000000000000000",
        "%i    0    0    0    0      0      0      0      0         0",
        "%i    0    0    0    0      0      0      0      0         0",
        "/* simulated orbits",
    ]
    body: list[str] = []
    for index, epoch in enumerate(orbits.time):
        body.append(f"*  {_calendar(float(epoch))}")
        body.extend(_record(orbits, index, column) for column in range(len(orbits.satellites)))
    return "\n".join([*head, *body, "EOF", ""])


def _calendar(gps: float) -> str:
    """Date fields of an epoch record."""
    whole = GPS_EPOCH + datetime.timedelta(seconds=int(gps // 60) * 60)
    return f"{whole.year:4d} {whole.month:2d} {whole.day:2d} {whole.hour:2d} {whole.minute:2d} {gps % 60:11.8f}"


def _satellite_list(satellites: tuple[str, ...]) -> list[str]:
    """Header lines that name the satellites, 17 to a line, and their (unknown) accuracies."""
    padded = [*satellites, *["  0"] * (85 - len(satellites))]
    names = ["".join(padded[start : start + 17]) for start in range(0, 85, 17)]
    first = [f"+  {len(satellites):3d}   {names[0]}", *[f"+        {row}" for row in names[1:]]]
    return [*first, *["++       " + "  0" * 17] * 5]


def _record(orbits: Sp3Orbits, index: int, column: int) -> str:
    """Position record of one satellite at one epoch."""
    x, y, z = np.nan_to_num(orbits.position[index, column] / KILOMETRE, nan=0.0)
    clock = orbits.clock[index, column] / MICROSECOND
    shown = 999_999.999_999 if np.isnan(clock) else clock
    return f"P{orbits.satellites[column]}{x:14.6f}{y:14.6f}{z:14.6f}{shown:14.6f}"
