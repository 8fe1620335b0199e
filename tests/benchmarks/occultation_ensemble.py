"""Error of the retrieval over many simulated occultations against the bars it is held to: run by `make soak`.

Every event goes through wave optics, ionosphere and receiver noise to a level-1B file, and from that file to the
published profile. The profile is compared with the truth at equal impact parameter and equal altitude.

Of every event: the mean of the relative differences by layer (dry temperature: of the differences), above the duct
where there is one. Of all events: the scatter of refractivity by level, the reduced chi-square by layer, that is the
mean over levels and events of ((value - truth) / uncertainty)**2, and the share of events that reach the surface, or
the duct's top.
"""

import argparse
import itertools
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
import xarray as xr

from infra import granule_format
from infra.stages import occultation
from processors.arrays import BoolArray, FloatArray
from processors.quality import BadInputError
from processors.simulation import climates, wave_occultation
from products import schema

PERCENT = 100.0


@dataclass(frozen=True)
class Bar:
    """Limit of the mean difference of one event in a layer.

    Attributes
    ----------
    quantity : str
        `bending_angle` (by impact height), `refractivity` or `dry_temperature` (by altitude).
    low, high : float
        Layer [km].
    limit, above_duct : float
        Limit of the mean without and with a duct in the event [%], of dry temperature [K].
    """

    quantity: str
    low: float
    high: float
    limit: float
    above_duct: float

    def __str__(self) -> str:
        return f"{self.quantity.replace('_', ' ')} {self.low:.0f}-{self.high:.0f} km"

    def of(self, errors: "EventErrors") -> float:
        """Limit for an event."""
        return self.above_duct if errors.duct_top > 0.0 else self.limit


BARS = (
    Bar("bending_angle", 3, 8, 0.3, 1.0),
    Bar("bending_angle", 8, 20, 0.03, 0.03),
    Bar("bending_angle", 20, 35, 0.06, 0.06),
    Bar("bending_angle", 35, 50, 0.25, 0.25),
    Bar("refractivity", 3, 8, 0.5, 0.5),
    Bar("refractivity", 8, 20, 0.05, 0.05),
    Bar("refractivity", 20, 35, 0.1, 0.1),
    Bar("refractivity", 35, 50, 0.6, 0.6),
    Bar("dry_temperature", 8, 25, 0.2, 0.2),
    Bar("dry_temperature", 25, 35, 0.7, 0.7),
)
CHI_SQUARE_QUANTITIES = ("bending_angle", "refractivity")
CHI_SQUARE_EDGES = np.arange(5.0, 50.1, 5.0)
"""Edges of the layers of the chi-square [km]."""
CHI_SQUARE = (0.8, 1.2)
SCATTER_ALTITUDES = np.arange(8e3, 25.1e3, 250.0)
"""Altitudes at which the scatter of refractivity is judged [m]."""
SCATTER = 0.3
"""Limit of the standard deviation of refractivity on each of them [%]."""
REACH = 500.0
"""Distance from surface or duct within which a profile must end [m]."""
REACHING = 0.9
"""Share of the events that must."""
BEYOND = 0.02
"""Share of the events times bars that may be beyond: three standard deviations of noise happen."""


@dataclass(frozen=True)
class EventErrors:
    """How far one retrieved event is from the truth.

    Attributes
    ----------
    occultation_id, climate, system : str
        Which event.
    setting : bool
        Whether the ray sank.
    duct_top : float
        Top of the highest duct [m]; 0 where there is none.
    refusal : str
        Why there is no profile; empty where there is one.
    lowest_altitude : float
        Lowest altitude retrieved from the observation [m].
    means : tuple of float
        Mean difference for each of `BARS` [%], of dry temperature [K].
    squares : dict
        Sums of the squared normalised differences by quantity of the chi-square [1], shape (layer,).
    levels : dict
        Numbers of levels in these sums [1], shape (layer,).
    refractivity : FloatArray
        Relative difference of refractivity on `SCATTER_ALTITUDES` [%].
    quality_flags : tuple of str
        Flags of the profile.
    """

    occultation_id: str
    climate: str
    system: str
    setting: bool
    duct_top: float
    refusal: str
    lowest_altitude: float
    means: tuple[float, ...]
    squares: dict[str, FloatArray]
    levels: dict[str, FloatArray]
    refractivity: FloatArray
    quality_flags: tuple[str, ...]

    def beyond(self) -> list[str]:
        """Every bar this event does not keep, with what it has instead; a layer without a level keeps none."""
        if self.refusal:
            return [f"refused: {self.refusal}"] * len(BARS)
        return [
            f"{bar} {mean:+.3f} (limit {bar.of(self):g})"
            for bar, mean in zip(BARS, self.means, strict=True)
            if not abs(mean) <= bar.of(self)
        ]

    def reaches(self) -> bool:
        """Whether the profile ends close to the surface or to the duct's top."""
        return self.lowest_altitude - self.duct_top <= REACH


@dataclass(frozen=True)
class Differences:
    """Differences of one quantity from the truth, on the observed levels.

    Attributes
    ----------
    height : FloatArray
        Impact height or altitude [m].
    relative : FloatArray
        Relative difference [%], of dry temperature the difference [K].
    normalised : FloatArray
        Difference by uncertainty [1].
    """

    height: FloatArray
    relative: FloatArray
    normalised: FloatArray

    def mean(self, low: float, high: float) -> float:
        """Mean in a layer of kilometres; NaN where it holds no level."""
        inside = self._inside(low, high)
        return float(self.relative[inside].mean()) if inside.any() else float("nan")

    def squares(self) -> tuple[FloatArray, FloatArray]:
        """Sums of the squared normalised differences in the layers of the chi-square, and their numbers."""
        layers = [self._inside(low, high) for low, high in itertools.pairwise(CHI_SQUARE_EDGES)]
        return (
            np.array([np.sum(self.normalised[inside] ** 2) for inside in layers]),
            np.array([np.count_nonzero(inside) for inside in layers], dtype=np.float64),
        )

    def _inside(self, low: float, high: float) -> BoolArray:
        inside = (self.height >= low * 1e3) & (self.height < high * 1e3) & np.isfinite(self.relative)
        return np.asarray(inside)


def duct_top(truth: xr.Dataset) -> float:
    """Altitude of the top of the highest duct [m]; 0 where there is none."""
    return float(np.max(np.atleast_1d(truth.attrs["duct_tops"]), initial=0.0))


def bending_differences(profile: xr.Dataset, truth: xr.Dataset) -> Differences:
    """Differences of the bending angle at equal impact parameter, above the duct.

    Between two levels of the truth one of which no ray reaches there is no truth.
    """
    known = np.isfinite(truth["bending_angle"].to_numpy())
    known &= truth["tangent_altitude"].to_numpy() > duct_top(truth)
    at, level = truth["impact_parameter"].to_numpy(), profile["impact_parameter"].to_numpy()
    logarithm = np.log(np.where(known, truth["bending_angle"].to_numpy(), np.nan))
    true = np.exp(np.interp(level, at, logarithm, left=np.nan, right=np.nan))
    height = profile["impact_height"].to_numpy()
    return _differences(profile, "bending_angle", true=true, height=height, observed=np.isfinite(true))


def height_differences(profile: xr.Dataset, truth: xr.Dataset, quantity: str) -> Differences:
    """Differences of refractivity or dry temperature at equal altitude, above the duct, where it was observed."""
    altitude = profile["altitude"].to_numpy()
    known = np.log(truth[quantity].to_numpy())
    true = np.exp(np.interp(altitude, truth["altitude"].to_numpy(), known, left=np.nan, right=np.nan))
    observed = (altitude > duct_top(truth)) & (profile["observation_weight"].to_numpy() > 0.0)
    return _differences(profile, quantity, true=true, height=altitude, observed=observed)


def _differences(
    profile: xr.Dataset, quantity: str, *, true: FloatArray, height: FloatArray, observed: BoolArray
) -> Differences:
    wrong = profile[quantity].to_numpy() - true
    shown = wrong if quantity == "dry_temperature" else PERCENT * wrong / true
    uncertainty = profile[f"{quantity}_uncertainty"].to_numpy()
    return Differences(height, np.where(observed, shown, np.nan), wrong / uncertainty)


def compared(made: occultation.Profile, case: wave_occultation.Case, truth: xr.Dataset) -> EventErrors:
    """Errors of a retrieved profile."""
    found = {"bending_angle": bending_differences(made.dataset, truth)}
    found |= {name: height_differences(made.dataset, truth, name) for name in ("refractivity", "dry_temperature")}
    sums = {name: found[name].squares() for name in CHI_SQUARE_QUANTITIES}
    refractivity = found["refractivity"]
    usable = np.isfinite(refractivity.relative)
    return EventErrors(
        occultation_id=made.occultation_id,
        climate=case.climate,
        system=case.system,
        setting=case.setting,
        duct_top=duct_top(truth),
        refusal="",
        lowest_altitude=float(made.dataset["lowest_altitude"]),
        means=tuple(found[bar.quantity].mean(bar.low, bar.high) for bar in BARS),
        squares={name: pair[0] for name, pair in sums.items()},
        levels={name: pair[1] for name, pair in sums.items()},
        refractivity=np.interp(
            SCATTER_ALTITUDES, refractivity.height[usable], refractivity.relative[usable], left=np.nan, right=np.nan
        ),
        quality_flags=tuple(made.quality_flags),
    )


def refused(case: wave_occultation.Case, event: wave_occultation.SimulatedEvent, reason: str) -> EventErrors:
    """What is left of an event that was not retrieved: it is beyond every bar."""
    none = np.zeros(CHI_SQUARE_EDGES.size - 1)
    return EventErrors(
        occultation_id=event.level1b.attrs["occultation_id"],
        climate=case.climate,
        system=case.system,
        setting=case.setting,
        duct_top=duct_top(event.truth),
        refusal=reason,
        lowest_altitude=float("inf"),
        means=(float("nan"),) * len(BARS),
        squares=dict.fromkeys(CHI_SQUARE_QUANTITIES, none),
        levels=dict.fromkeys(CHI_SQUARE_QUANTITIES, none),
        refractivity=np.full(SCATTER_ALTITUDES.size, np.nan),
        quality_flags=(),
    )


def evaluated(case: wave_occultation.Case, event: wave_occultation.SimulatedEvent) -> EventErrors:
    """Retrieve an event from its level-1B file and compare it with its truth."""
    name = event.level1b.attrs["occultation_id"]
    try:
        made = occultation.profile_from_file(granule_format.encode(event.level1b), name=f"{name}.nc")
    except (BadInputError, schema.SchemaError) as error:
        return refused(case, event, str(error))
    return compared(made, case, event.truth)


def run_case(case: wave_occultation.Case, *, noise_free: bool = False) -> EventErrors:
    """Simulate, retrieve and compare one event on one core."""
    parameters = wave_occultation.EventParameters()
    if noise_free:
        parameters = wave_occultation.EventParameters(noise=0.0, clock=0.0, loss=False)
    with threadpoolctl.threadpool_limits(1):
        return evaluated(case, case.simulate(parameters))


def run(
    series: Sequence[wave_occultation.Case],
    *,
    workers: int,
    noise_free: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> "Ensemble":
    """Errors of a series of events, in its order."""
    errors = []
    for found in _each(partial(run_case, noise_free=noise_free), series, workers=workers):
        errors.append(found)
        progress(len(errors))
    return Ensemble(errors)


def _each(
    one: Callable[[wave_occultation.Case], EventErrors], series: Sequence[wave_occultation.Case], *, workers: int
) -> Iterator[EventErrors]:
    if workers == 1:
        yield from map(one, series)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(one, series)


def balanced_cases(*, seed: int) -> list[wave_occultation.Case]:
    """Ten events: of each climate two, one setting and one rising, one of each system."""
    number = len(climates.CLIMATES)
    series = wave_occultation.cases(4 * number, seed=seed)
    turns = [((0, 3), (1, 2))[place % 2] for place in range(number)]
    return [series[turn * number + place] for place, pair in enumerate(turns) for turn in pair]


@dataclass(frozen=True)
class Ensemble:
    """Errors of many events, and what they say together."""

    events: Sequence[EventErrors]

    def beyond(self) -> int:
        """Number of events times bars that are not kept."""
        return sum(len(event.beyond()) for event in self.events)

    def allowed(self) -> int:
        """How many of them may be."""
        return int(BEYOND * len(self.events) * len(BARS))

    def scatter(self) -> FloatArray:
        """Standard deviation of refractivity on `SCATTER_ALTITUDES` [%], about the mean of the events."""
        return np.asarray(np.nanstd(np.stack([event.refractivity for event in self.events]), axis=0, ddof=1))

    def chi_square(self, quantity: str) -> FloatArray:
        """Reduced chi-square by layer [1]."""
        squares = np.sum([event.squares[quantity] for event in self.events], axis=0)
        levels = np.sum([event.levels[quantity] for event in self.events], axis=0)
        return np.asarray(squares / levels)

    def chi_square_error(self, quantity: str) -> FloatArray:
        """Standard error of the reduced chi-square by layer, from the scatter of the events [1]."""
        value = self.chi_square(quantity)
        residual = np.stack([event.squares[quantity] - value * event.levels[quantity] for event in self.events])
        levels = np.sum([event.levels[quantity] for event in self.events], axis=0)
        return np.asarray(np.sqrt(np.sum(residual**2, axis=0)) / levels)

    def pooled_chi_square(self, quantity: str) -> float:
        """Reduced chi-square of all layers together [1]."""
        squares = sum(float(event.squares[quantity].sum()) for event in self.events)
        return squares / sum(float(event.levels[quantity].sum()) for event in self.events)

    def reaching(self) -> float:
        """Share of the events that end close to surface or duct."""
        return float(np.mean([event.reaches() for event in self.events]))

    def complaints(self, *, noisy: bool = True) -> list[str]:
        """Every bar of the ensemble that is not kept; without noise the uncertainty has nothing to match."""
        found = []
        if self.beyond() > self.allowed():
            found.append(f"{self.beyond()} events x bars beyond, {self.allowed()} allowed")
        worst = float(np.max(self.scatter()))
        if not worst <= SCATTER:
            found.append(f"standard deviation of refractivity {worst:.3f} % (limit {SCATTER:g})")
        for quantity in CHI_SQUARE_QUANTITIES if noisy else ():
            found += [
                f"chi-square of {quantity.replace('_', ' ')} {low:.0f}-{low + 5.0:.0f} km is {value:.2f}"
                for low, value in zip(CHI_SQUARE_EDGES, self.chi_square(quantity), strict=False)
                if not CHI_SQUARE[0] <= value <= CHI_SQUARE[1]
            ]
        if self.reaching() < REACHING:
            found.append(f"{self.reaching():.0%} of the events end close to surface or duct (at least {REACHING:.0%})")
        return found

    def of_climate(self, climate: str) -> "Ensemble":
        """The events of one climate."""
        return Ensemble([event for event in self.events if event.climate == climate])


def table(ensemble: Ensemble) -> list[str]:
    """Lines that show the ensemble: by climate and over all, and every event beyond a bar."""
    names = [name for name in climates.CLIMATES if ensemble.of_climate(name).events]
    columns = {name: ensemble.of_climate(name) for name in names} | {"all": ensemble}
    lines = [f"{'events':28}{'limit':>14}" + "".join(f"{name:>21}" for name in columns)]
    lines.append(f"{'':42}" + "".join(f"{len(part.events):>21}" for part in columns.values()))
    lines += [_bar_line(number, bar, columns.values()) for number, bar in enumerate(BARS)]
    lines.append("root mean square of the events' means, % or K; mean of them; number beyond the limit\n")
    for quantity in CHI_SQUARE_QUANTITIES:
        lines.append(f"{f'chi-square {quantity}':28}{'0.8 to 1.2':>14}" + "".join(f"{name:>21}" for name in columns))
        values = [(part.chi_square(quantity), part.chi_square_error(quantity)) for part in columns.values()]
        for layer, low in enumerate(CHI_SQUARE_EDGES[:-1]):
            label = f"  {low:.0f}-{low + 5.0:.0f} km"
            cells = [f"{value[layer]:.2f} +-{error[layer]:5.2f}" for value, error in values]
            lines.append(f"{label:42}" + "".join(f"{cell:>21}" for cell in cells))
    lines += ["", _share_line(columns.values()), _scatter_line(columns.values()), ""]
    lines += [f"beyond: {_name(event)}: {text}" for event in ensemble.events for text in dict.fromkeys(event.beyond())]
    lines += [
        f"high: {_name(event)}: ends at {event.lowest_altitude:.0f} m"
        for event in ensemble.events
        if not event.reaches()
    ]
    lines.append(f"{ensemble.beyond()} of {len(ensemble.events) * len(BARS)} events x bars beyond")
    return lines


def _bar_line(number: int, bar: Bar, parts: Any) -> str:
    limit = f"{bar.limit:g}" if bar.limit == bar.above_duct else f"{bar.limit:g} ({bar.above_duct:g} duct)"
    return f"{bar!s:28}{limit:>14}" + "".join(f"{_spread(part, number):>21}" for part in parts)


def _spread(part: Ensemble, number: int) -> str:
    means = np.array([event.means[number] for event in part.events])
    beyond = sum(not abs(event.means[number]) <= BARS[number].of(event) for event in part.events)
    known = means[np.isfinite(means)]
    if not known.size:
        return f"- / {beyond}"
    return f"{np.sqrt(np.mean(known**2)):.4f} {known.mean():+.4f} {beyond:3d}"


def _share_line(parts: Any) -> str:
    label = f"{'within 500 m of surface/duct':28}{'90 %':>14}"
    return label + "".join(f"{part.reaching():>21.0%}" for part in parts)


def _scatter_line(parts: Any) -> str:
    label = f"{'worst std of N 8-25 km, %':28}{SCATTER:>14g}"
    return label + "".join(
        f"{np.max(part.scatter()):>21.3f}" if len(part.events) > 1 else f"{'-':>21}" for part in parts
    )


def _name(event: EventErrors) -> str:
    side = "setting" if event.setting else "rising"
    duct = f", duct top {event.duct_top:.0f} m" if event.duct_top else ""
    return f"{event.occultation_id} ({event.climate}, {side}, {event.system}{duct})"


def as_json(ensemble: Ensemble) -> str:
    """The ensemble with every event, for comparison between versions; what is missing is null."""
    figures = {
        "events": [asdict(event) for event in ensemble.events],
        "bars": [asdict(bar) for bar in BARS],
        "chi_square": {name: ensemble.chi_square(name) for name in CHI_SQUARE_QUANTITIES},
        "scatter": ensemble.scatter(),
        "reaching": ensemble.reaching(),
        "beyond": ensemble.beyond(),
        "complaints": ensemble.complaints(),
    }
    return json.dumps(_plain(figures), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _counter(total: int) -> Callable[[int], None]:
    def told(number: int) -> None:
        if number % 10 == 0 or number == total:
            sys.stderr.write(f"{number} of {total}\n")

    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100, help="number of events")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same events")
    parser.add_argument("--noise-free", action="store_true", help="no thermal noise, clock residuals or signal loss")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    series = wave_occultation.cases(arguments.events, seed=arguments.seed)
    ensemble = run(
        series, workers=arguments.workers, noise_free=arguments.noise_free, progress=_counter(arguments.events)
    )
    sys.stdout.write("\n".join(table(ensemble)) + "\n")
    if arguments.json:
        arguments.json.write_text(as_json(ensemble))
    complaints = ensemble.complaints(noisy=not arguments.noise_free)
    for text in complaints:
        sys.stdout.write(f"NOT KEPT: {text}\n")
    sys.stdout.write(f"bars of the ensemble {'NOT KEPT' if complaints else 'kept'}\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
