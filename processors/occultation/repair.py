"""Faults of level-1 files: mended where the content leaves no doubt, refused by name where it does.

Every repair leaves a finding in the record, so the profile can carry a flag.
"""

import bisect
from typing import NamedTuple

import numpy as np

from processors import constants
from processors.arrays import FloatArray, IntArray
from processors.geodesy import ellipsoid, frames
from processors.occultation import frame_check, record, signals
from processors.orbit import interpolation
from processors.quality import BadInputError

RADII = {"receiver": (6.5e6, 1.2e7), "transmitter": (1.8e7, 4.5e7)}
"""Distances from the geocentre at which the ends can be [m]."""
FASTEST_IN_KILOMETRES = 20.0
"""Speed under which velocities of satellites are in kilometres per second [m s-1]."""
IRREGULAR = 0.05
"""Share of the samples with wrong time tags beyond which the record is refused [1]."""
SAME_TIME = 0.25
"""Part of the sampling interval by which tags or positions may differ and be the same [1]."""
FAR_TIME = 1800.0
"""Distance from the usual time beyond which a tag is wrong, whatever its order [s]."""
ORBIT_MISSING = 0.2
"""Share of missing positions beyond which an orbit is refused [1]."""
ORBIT_MISFIT = 0.5
"""Misfit of the polynomial through positions beyond which they are no orbit [m]."""
VELOCITY_NOISE = 2.0e-3
"""Difference from the rates of a fit beyond which velocities of a file are not kept [m s-1]."""
DEGREES = {"receiver": 9, "transmitter": 7}
SURFACE_REFRACTIVITY, SCALE_HEIGHT = 300.0e-6, 7.2e3
"""Exponential atmosphere that predicts excess phases: refractivity at the ground [1] and scale height [m]."""
WEIGHABLE = 30.0
"""Excess phase from which its unit can be judged [m]."""
PLAUSIBLE = (0.25, 3.0)
"""Excess phase over that of the exponential atmosphere [1]: 0.9 to 1.3 for real ones."""
IONOSPHERE_ONLY = 60.0e3
"""Straight-line height above which phases vary by the ionosphere alone [m]."""
LEAST_DISPERSION = 0.1
"""Variation of the phases up there from which their order shows [m]."""


class Sight(NamedTuple):
    """Line between the ends.

    Attributes
    ----------
    height : FloatArray
        Straight-line height over the ellipsoid [m], shape (n,).
    expected : FloatArray
        Excess phase in an exponential atmosphere [m], shape (n,).
    """

    height: FloatArray
    expected: FloatArray


class Ends(NamedTuple):
    """Earth-fixed orbits of both ends.

    Attributes
    ----------
    receiver, transmitter : frames.State
        Positions [m] and rates [m s-1].
    """

    receiver: frames.State
    transmitter: frames.State


def without_infinities(rows: record.PhaseRecord) -> record.PhaseRecord:
    """Infinite values are missing values.

    Parameters
    ----------
    rows : record.PhaseRecord
        What the file holds.

    Returns
    -------
    record.PhaseRecord
        NaN in their place.
    """

    def finite(values: FloatArray) -> FloatArray:
        return np.where(np.isfinite(values), values, np.nan)

    def orbit(whole: record.Orbit) -> record.Orbit:
        return whole._replace(position=finite(whole.position))

    return rows._replace(
        excess_phase=finite(rows.excess_phase),
        snr=finite(rows.snr),
        receiver=orbit(rows.receiver),
        transmitter=orbit(rows.transmitter),
    )


def in_metres(rows: record.PhaseRecord) -> record.PhaseRecord:
    """Bring orbits in kilometres to metres: their distance from the geocentre leaves no doubt.

    Parameters
    ----------
    rows : record.PhaseRecord
        What the file holds.

    Returns
    -------
    record.PhaseRecord
        Orbits in metres, with the finding units_converted where they were not.

    Raises
    ------
    BadInputError
        `orbit_implausible` where one end is in kilometres and the other is not.
    """
    short = {end: _in_kilometres(getattr(rows, end), end) for end in RADII}
    if not any(short.values()):
        return rows
    if not all(short.values()):
        end = next(end for end, found in short.items() if found)
        other = next(end for end, found in short.items() if not found)
        raise BadInputError(
            "orbit_implausible",
            f"{end}_position looks like kilometres (median distance from the geocentre"
            f" {_distance(getattr(rows, end)):.6g}), {other}_position does not ({_distance(getattr(rows, other)):.6g})",
        )
    return rows._replace(receiver=_enlarged(rows.receiver), transmitter=_enlarged(rows.transmitter)).found(
        "units_converted"
    )


def _distance(orbit: record.Orbit) -> float:
    """Median distance from the geocentre, in the unit of the file."""
    radius = np.linalg.norm(orbit.position, axis=1)
    known = radius[np.isfinite(radius)]
    return float(np.median(known)) if known.size else np.nan


def _in_kilometres(orbit: record.Orbit, end: str) -> bool:
    low, high = RADII[end]
    return low < 1e3 * _distance(orbit) < high


def _enlarged(orbit: record.Orbit) -> record.Orbit:
    """Orbit in metres of one in kilometres; velocities only if they are in kilometres too."""
    velocity = orbit.velocity
    if velocity is not None and np.nanmedian(np.linalg.norm(velocity, axis=1)) < FASTEST_IN_KILOMETRES:
        velocity = velocity * 1e3
    return orbit._replace(position=orbit.position * 1e3, velocity=velocity, residual=orbit.residual * 1e3)


def in_order_of_time(rows: record.PhaseRecord) -> record.PhaseRecord:
    """Drop or sort samples whose time tags repeat or run backward.

    The longest run of increasing tags is kept. A sample outside it is put where its tag says if the receiver was there
    at that time, and dropped otherwise.

    Parameters
    ----------
    rows : record.PhaseRecord
        What the file holds.

    Returns
    -------
    record.PhaseRecord
        Increasing times, with the findings time_tags_dropped and time_sorted.

    Raises
    ------
    BadInputError
        `time_irregular` where more than one tag in twenty is wrong.
    """
    usual = np.median(rows.time[np.isfinite(rows.time)]) if np.isfinite(rows.time).any() else np.nan
    tagged = np.flatnonzero(np.abs(rows.time - usual) < FAR_TIME)
    kept = tagged[_longest_increasing(rows.time[tagged])]
    wrong = np.setdiff1d(np.arange(rows.time.size), kept)
    if wrong.size == 0:
        return rows
    if tagged.size < 2:
        return _taken(rows, kept)
    if wrong.size > IRREGULAR * rows.time.size:
        raise BadInputError(
            "time_irregular",
            f"time: {wrong.size} of {rows.time.size} tags are missing, repeat or run backward; the sample times do not"
            " increase",
        )
    moved = _belonging(rows, kept=kept, wrong=wrong)
    order = np.concatenate([kept, moved])
    order = order[np.argsort(rows.time[order])]
    sorted_rows = _taken(rows, order)
    dropped = wrong.size - moved.size
    if moved.size:
        sorted_rows = sorted_rows.found("time_sorted", int(moved.size))
    return sorted_rows.found("time_tags_dropped", dropped) if dropped else sorted_rows


def _longest_increasing(time: FloatArray) -> IntArray:
    """Indices of the longest strictly increasing subsequence (patience sorting, Fredman 1975)."""
    if time.size and (np.diff(time) > 0.0).all():
        return np.arange(time.size)
    smallest: list[float] = []
    ends: list[int] = []
    before = np.full(time.size, -1, dtype=np.int64)
    for index, value in enumerate(time.tolist()):
        place = bisect.bisect_left(smallest, value)
        before[index] = ends[place - 1] if place else -1
        smallest[place : place + 1] = [value]
        ends[place : place + 1] = [index]
    chain = []
    index = ends[-1] if ends else -1
    while index >= 0:
        chain.append(index)
        index = int(before[index])
    return np.array(chain[::-1], dtype=np.int64)


def _belonging(rows: record.PhaseRecord, *, kept: IntArray, wrong: IntArray) -> IntArray:
    """Samples out of order that the receiver did take at the time of their tag."""
    time, position = rows.time[kept], rows.receiver.position[kept]
    candidates = wrong[np.isfinite(rows.time[wrong])]
    known = np.isfinite(position).all(axis=1)
    step = float(np.median(np.diff(time)))
    if candidates.size == 0 or np.count_nonzero(known) < 50:
        return candidates[:0]
    degree = interpolation.arc_degree(float(time[-1] - time[0]), highest=DEGREES["receiver"])
    tags = rows.time[candidates]
    there = interpolation.polynomial_arc(position, time=time, degree=degree, at=tags)
    away = np.linalg.norm(rows.receiver.position[candidates] - there.value, axis=1)
    near = away < SAME_TIME * step * np.linalg.norm(there.rate, axis=1)
    after = np.clip(np.searchsorted(time, tags), 1, time.size - 1)
    lonely = np.minimum(np.abs(time[after] - tags), np.abs(tags - time[after - 1])) > SAME_TIME * step
    _, first = np.unique(tags, return_index=True)
    return np.asarray(candidates[near & lonely & np.isin(np.arange(tags.size), first)], dtype=np.int64)


def _taken(rows: record.PhaseRecord, index: IntArray) -> record.PhaseRecord:
    """Some samples of a record, in the order of the index."""

    def orbit(whole: record.Orbit) -> record.Orbit:
        velocity = None if whole.velocity is None else whole.velocity[index]
        return whole._replace(position=whole.position[index], velocity=velocity)

    return rows._replace(
        time=rows.time[index],
        excess_phase=rows.excess_phase[:, index],
        snr=rows.snr[:, index],
        receiver=orbit(rows.receiver),
        transmitter=orbit(rows.transmitter),
    )


def settle_orbits(rows: record.PhaseRecord) -> tuple[record.PhaseRecord, Ends]:
    """Earth-fixed orbits of both ends, whatever frame the file is in.

    Parameters
    ----------
    rows : record.PhaseRecord
        Samples in order of time, orbits in metres.

    Returns
    -------
    rows : record.PhaseRecord
        The record with the findings frame_converted, velocities_fitted and orbit_samples_filled.
    ends : Ends
        Orbits of both ends.

    Raises
    ------
    BadInputError
        `orbit_implausible` where positions are missing or no smooth orbit, `frame_inconsistent` where the two ends are
        in different frames.
    """
    for end in RADII:
        rows = _require_positions(rows, end)
    frame = _common_frame(rows)
    if frame != rows.receiver.frame:
        rows = rows.found("frame_converted")
    rows, receiver = _settled(rows, "receiver", frame)
    rows, transmitter = _settled(rows, "transmitter", frame)
    return rows, Ends(receiver, transmitter)


def _require_positions(rows: record.PhaseRecord, end: str) -> record.PhaseRecord:
    """Refuse an orbit with too many holes, or none at all; count the holes the fit will fill."""
    position = getattr(rows, end).position
    usual, (low, high) = _distance(getattr(rows, end)), RADII[end]
    if not (np.isnan(usual) or low < usual < high):
        raise BadInputError(
            "orbit_implausible",
            f"{end}_position has a median distance of {usual:.4g} m from the geocentre, outside {low:.4g} to"
            f" {high:.4g} m",
        )
    missing = int(np.count_nonzero(~np.isfinite(position).all(axis=1)))
    if missing > ORBIT_MISSING * rows.time.size:
        raise BadInputError("orbit_implausible", f"{end}_position has {missing} missing positions of {rows.time.size}")
    return rows.found("orbit_samples_filled", missing) if missing else rows


def _common_frame(rows: record.PhaseRecord) -> str:
    """Frame of both ends, by gravity where it decides and as declared where it does not."""
    verdicts = {end: frame_check.judge(getattr(rows, end).position, time=rows.time) for end in RADII}
    found = {
        end: verdict.frame if verdict.frame != frame_check.UNDECIDED else getattr(rows, end).frame
        for end, verdict in verdicts.items()
    }
    if found["receiver"] == found["transmitter"]:
        return found["receiver"]
    end = next((end for end in RADII if found[end] != getattr(rows, end).frame), "receiver")
    verdict = verdicts[end]
    raise BadInputError(
        "frame_inconsistent",
        f"receiver_position is {found['receiver']} and transmitter_position {found['transmitter']}: taken as"
        f" earth_fixed, {end}_position misses gravity by {verdict.earth_fixed:.2g} m s-2, taken as inertial by"
        f" {verdict.inertial:.2g} m s-2",
    )


def _settled(rows: record.PhaseRecord, end: str, frame: str) -> tuple[record.PhaseRecord, frames.State]:
    """Earth-fixed state of one end."""
    orbit: record.Orbit = getattr(rows, end)
    position = orbit.position
    if frame == frame_check.INERTIAL:
        position = frames.earth_fixed_from_equinox(position, time=rows.time)
    degree = interpolation.arc_degree(float(rows.time[-1] - rows.time[0]), highest=DEGREES[end])
    arc = interpolation.smooth(position, time=rows.time, degree=degree)
    residual = max(arc.residual, orbit.residual)
    if not residual < ORBIT_MISFIT:
        raise BadInputError(
            "orbit_implausible", f"{end}_position is no smooth orbit: it misses a polynomial by {residual:.3g} m"
        )
    kind = frame_check.UNDECIDED
    if orbit.velocity is not None:
        kind = frame_check.velocity_frame(orbit.velocity, fitted=arc.state)
    given = _given(orbit, fitted=arc.state)
    if rows.keeps_velocity and frame == kind == frame_check.EARTH_FIXED and given is not None:
        return rows, given
    rows = rows._replace(attributes={**rows.attributes, f"{end}_orbit_residual": residual})
    if rows.keeps_velocity and kind == frame_check.INERTIAL:
        rows = rows.found("frame_converted")
    return rows.found("velocities_fitted"), arc.state


def _given(orbit: record.Orbit, *, fitted: frames.State) -> frames.State | None:
    """State as the file has it, where it is complete and its velocities are no noisier than a fit."""
    if orbit.velocity is None or not (np.isfinite(orbit.position).all() and np.isfinite(orbit.velocity).all()):
        return None
    noise = float(np.sqrt(np.mean((orbit.velocity - fitted.velocity) ** 2, axis=0)).max())
    return frames.State(orbit.position, orbit.velocity) if noise < VELOCITY_NOISE else None


def sight(ends: Ends) -> Sight:
    """Straight-line heights and the excess phase an exponential atmosphere would give there.

    With bending alpha(h) = sqrt(2 pi R / H) N exp(-h / H), the ray of height h is seen at the straight-line height
    h - D alpha and its excess phase is H alpha + D alpha2 / 2: the integral of alpha over the straight-line height.

    Parameters
    ----------
    ends : Ends
        Orbits of both ends.

    Returns
    -------
    Sight
        Heights [m] and excess phases [m]; NaN below the ray that touches the ground.
    """
    receiver, transmitter = ends.receiver.position, ends.transmitter.position
    nearest = ellipsoid.tangent_point(transmitter, receiver)
    height = ellipsoid.from_ecef(nearest).height
    near, far = (np.linalg.norm(end - nearest, axis=1) for end in (receiver, transmitter))
    distance = float(np.median(near * far / (near + far)))
    ray = np.linspace(150.0e3, 0.0, 1501)
    curve = np.sqrt(2.0 * np.pi * constants.WGS84_SEMI_MAJOR / SCALE_HEIGHT)
    bending = curve * SURFACE_REFRACTIVITY * np.exp(-ray / SCALE_HEIGHT)
    line, phase = ray - distance * bending, SCALE_HEIGHT * bending + 0.5 * distance * bending**2
    return Sight(height, np.interp(height, line[::-1], phase[::-1], left=np.nan, right=0.0))


def require_phase_unit(rows: record.PhaseRecord, *, seen: Sight) -> None:
    """Refuse excess phases that are not in metres, by what geometry and any atmosphere allow.

    Parameters
    ----------
    rows : record.PhaseRecord
        Samples in order of time.
    seen : Sight
        Heights and expected phases.

    Raises
    ------
    BadInputError
        `phase_units` naming the likely unit, `phase_sign`, or `phase_implausible`.
    """
    first = _ratio(rows.excess_phase[0], seen)
    second = _ratio(rows.excess_phase[1], seen)
    for name, ratio, frequency in zip(("first", "second"), (first, second), rows.carrier_frequency, strict=True):
        if np.isnan(ratio) or PLAUSIBLE[0] < ratio < PLAUSIBLE[1]:
            continue
        unit = _unit(ratio, wavelength=constants.SPEED_OF_LIGHT / float(frequency))
        size = f"excess_phase of the {name} signal is {ratio:.3g} times what geometry and atmosphere give in metres"
        if unit:
            raise BadInputError("phase_units", f"{size}: it looks like {unit}")
        if -PLAUSIBLE[1] < ratio < -PLAUSIBLE[0]:
            raise BadInputError("phase_sign", f"{size}: its sign is that of an advance, not of a delay")
        # A weak second signal is often lost where phases are large; the retrieval judges it sample by sample.
        if name == "first":
            raise BadInputError("phase_implausible", f"{size}")


def _ratio(phase: FloatArray, seen: Sight) -> float:
    """Median of observed over expected growth of the phase; NaN where nothing can be weighed."""
    known = np.isfinite(phase)
    weighed = known & (seen.expected > WEIGHABLE)
    if np.count_nonzero(weighed) < 20:
        return np.nan
    top = known & (seen.height > seen.height[known].max() - 2e3)
    growth = phase - np.median(phase[top]) + np.nan_to_num(np.median(seen.expected[top]))
    return float(np.median(growth[weighed] / seen.expected[weighed]))


def _unit(ratio: float, *, wavelength: float) -> str:
    """Name of the unit that explains a ratio."""
    units = {"cycles": 1.0 / wavelength, "kilometres": 1e-3, "millimetres": 1e3, "radians": 2.0 * np.pi / wavelength}
    return next((name for name, factor in units.items() if 0.65 < ratio / factor < 1.55), "")


def signals_in_order(rows: record.PhaseRecord, *, seen: Sight) -> record.PhaseRecord:
    """Put phases to the frequencies they belong to, by the dispersion of the ionosphere.

    Above the atmosphere both phases vary by -K TEC / f2, so the one of the lower frequency varies more.

    Parameters
    ----------
    rows : record.PhaseRecord
        Samples in order of time.
    seen : Sight
        Heights and expected phases.

    Returns
    -------
    record.PhaseRecord
        The record, with the finding signals_swapped where phases and frequencies were crossed; the upper band comes
        first then.
    """
    frequency = rows.carrier_frequency
    crossed = _crossed(rows, seen)
    if crossed is None:
        crossed = rows.upper_first and bool(frequency[0] < frequency[1])
    if crossed:
        rows = rows._replace(carrier_frequency=frequency[::-1]).found("signals_swapped")
    if (crossed or rows.upper_first) and rows.carrier_frequency[0] < rows.carrier_frequency[1]:
        rows = _rows_exchanged(rows, seen)
    return rows


def _crossed(rows: record.PhaseRecord, seen: Sight) -> bool | None:
    """Whether the phases vary against their frequencies; None where the ionosphere is too quiet to tell."""
    above = (seen.height > IONOSPHERE_ONLY) & np.isfinite(rows.excess_phase).all(axis=0)
    if np.count_nonzero(above) < 200:
        return None
    first, second = rows.excess_phase[:, above] - seen.expected[above]
    spread = first.std(), second.std()
    if min(spread) < LEAST_DISPERSION or np.corrcoef(first, second)[0, 1] < 0.97:
        return None
    expected = 2.0 * float(np.log(rows.carrier_frequency[0] / rows.carrier_frequency[1]))
    likeness = float(np.log(spread[1] / spread[0])) / expected
    if abs(likeness) < 0.5 or abs(likeness) > 1.6:
        return None
    return likeness < 0.0


def _rows_exchanged(rows: record.PhaseRecord, seen: Sight) -> record.PhaseRecord:
    """First signal second and second first; strengths stay where the upper one is the stronger already."""
    top = seen.height > np.nanmax(seen.height) - 20e3
    strength = np.nanmedian(np.nan_to_num(rows.snr[:, top]), axis=1)
    snr = rows.snr if strength[0] > strength[1] else rows.snr[::-1]
    return rows._replace(excess_phase=rows.excess_phase[::-1], snr=snr, carrier_frequency=rows.carrier_frequency[::-1])


def note_missing(rows: record.PhaseRecord) -> record.PhaseRecord:
    """Count the samples in which the first signal has no phase.

    Parameters
    ----------
    rows : record.PhaseRecord
        Samples in order of time.

    Returns
    -------
    record.PhaseRecord
        The record, with the finding samples_missing.
    """
    missing = int(np.count_nonzero(~np.isfinite(rows.excess_phase[0])))
    return rows.found("samples_missing", missing) if missing else rows


def require_constellation(rows: record.PhaseRecord, *, ends: Ends) -> None:
    """Refuse frequencies and orbits that are not of the transmitter's constellation.

    Parameters
    ----------
    rows : record.PhaseRecord
        Samples in order of time.
    ends : Ends
        Orbits of both ends.

    Raises
    ------
    BadInputError
        `frequency_implausible`, `constellation_implausible` or `constellation_unknown`.
    """
    transmitter = str(rows.attributes["transmitter"])
    signals.require_pair(rows.carrier_frequency, transmitter=transmitter)
    signals.require_orbit(frame_check.semi_major(ends.transmitter), transmitter=transmitter)
