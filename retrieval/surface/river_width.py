"""Width of rivers with its uncertainty, on transects across their centerlines.

Transects stand on a smoothed centerline, as in RivWidth (Pavelsky and Smith 2008, doi 10.1109/LGRS.2007.908305). Both
banks are found to a fraction of a pixel where the share of water, averaged along the river, falls through one half,
and the centerline is drawn again midway between them. Width is the length of water, bank width all between the banks.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from processors.quality import BadInputError
from retrieval.surface import _river_kernels, river_centerline, river_channel

OK, BRIDGE, INCOMPLETE, JUNCTION, END, NARROW, LAKE = range(7)
FLAGS = ("ok", "bridge", "incomplete", "junction", "end", "narrow", "lake")
"""Names of the flags; only `ok` and `lake` have a width."""
DRY, RIVER, OTHER_WATER, NO_DATA = 0, 1, 2, 255

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
_HALF = 0.5
SOFT = 2.0
"""Length over which the share falls at a sharp bank, between pixel centers and averaged [pixel]."""
_MEDIAN_TO_SIGMA = 1.4826
_LEFT_OVER = 35 / 18


@dataclass(frozen=True, kw_only=True)
class RiverWidthParameters:
    """How rivers are found and measured.

    Parameters
    ----------
    channel : ChannelParameters
        What counts as a channel.
    centerline : CenterlineParameters
        How lines are drawn.
    least_width : float
        Narrowest river that is measured [pixel].
    least_elongation : float
        Length of a river in its widths; shorter water is a lake [1].
    least_elongation_cut : float
        The same of water that two edges of the scene cut [1].
    least_length : float
        Shortest river [pixel].
    lake_ratio : float
        Width in median widths of the line from which water is marked a lake [1].
    spacing : float
        Distance of transects where none is asked for [pixel].
    window : float
        Standard deviation of the window that smooths a centerline, in widths [1].
    window_limits : tuple of float
        Least and largest of it [pixel].
    rounds : int
        How often the centerline is drawn anew between the banks [1].
    along : float
        Length along the river over which a profile is averaged, in widths [1].
    along_limits : tuple of float
        Least and largest of it [pixel].
    profiles : int
        Profiles averaged [1].
    step : float
        Distance of samples across [pixel].
    flank : float
        How far on both sides of a bank the share of water is weighed [pixel].
    reach_ratio : float
        How far banks are looked for, in distances from the bank [1].
    reach_margin : float
        The same, added [pixel].
    junction_ratio : float
        Distance from a junction within which there is no width, in distances from the bank [1].
    end_ratio : float
        The same of the free end of a river [1].
    harmonics : int
        Harmonics of the error of rounding that are followed [1].
    slope_spread : float
        Standard uncertainty of the slope of a bank against the grid [1].
    least_edges : int
        Banks along the grid from which the values of mixed pixels are taken; with fewer all banks count [1].
    edge_floor : float
        Least standard uncertainty of a bank [pixel].
    soft_edge : float
        Standard uncertainty of a bank, in lengths over which the share falls beyond one pixel [1].
    direction_share : float
        Standard uncertainty from the direction of the transect, in widths [1].
    scatter_window : int
        Independent transects from which scatter is estimated [1].
    scatter_slack : float
        Scatter in variances of rounding beyond which it tells of something else [1].
    """

    channel: river_channel.ChannelParameters = field(default_factory=river_channel.ChannelParameters)
    centerline: river_centerline.CenterlineParameters = field(default_factory=river_centerline.CenterlineParameters)
    least_width: float = 3.0
    least_elongation: float = 5.0
    least_elongation_cut: float = 1.2
    least_length: float = 20.0
    lake_ratio: float = 4.0
    spacing: float = 3.0
    window: float = 0.35
    window_limits: tuple[float, float] = (3.0, 40.0)
    rounds: int = 2
    along: float = 0.6
    along_limits: tuple[float, float] = (3.0, 9.0)
    profiles: int = 9
    step: float = 0.25
    flank: float = 1.5
    reach_ratio: float = 3.0
    reach_margin: float = 8.0
    junction_ratio: float = 1.5
    end_ratio: float = 1.5
    harmonics: int = 12
    slope_spread: float = 0.01
    least_edges: int = 30
    edge_floor: float = 0.01
    soft_edge: float = 0.05
    direction_share: float = 0.0012
    scatter_window: int = 21
    scatter_slack: float = 1.3


class CrossSections(NamedTuple):
    """Transects of a scene, one array element each, in order along every centerline.

    Attributes
    ----------
    line : numpy.ndarray
        Number of the centerline from 0 [1].
    row, column : numpy.ndarray
        Where it stands; 0 is the center of the first pixel [pixel].
    left, right : numpy.ndarray
        Row and column of the left and right bank looking along the line (section, 2) [pixel], NaN where unknown.
    distance : numpy.ndarray
        Distance along the line [m].
    direction : numpy.ndarray
        Azimuth of the line from grid north, clockwise [degree].
    width, sigma : numpy.ndarray
        Length of water and its standard uncertainty [m], NaN where it was not measured.
    bank_width : numpy.ndarray
        Distance of the banks [m], NaN where it was not measured.
    channels : numpy.ndarray
        Channels the water lies in [1].
    flag : numpy.ndarray
        Number in `FLAGS`.
    """

    line: npt.NDArray[np.int64]
    row: Doubles
    column: Doubles
    left: Doubles
    right: Doubles
    distance: Doubles
    direction: Doubles
    width: Doubles
    sigma: Doubles
    bank_width: Doubles
    channels: npt.NDArray[np.int64]
    flag: npt.NDArray[np.int64]


class RiverMap(NamedTuple):
    """Rivers of a scene.

    Attributes
    ----------
    sections : CrossSections
        Transects.
    centerlines : list of numpy.ndarray
        Row and column of every centerline (point, 2) [pixel].
    classes : numpy.ndarray
        0 dry, 1 river, 2 other water, 255 no data (y, x).
    binary : bool
        Whether the map of water held 0 and 1 alone.
    least_width : float
        Narrowest river that is measured [m].
    pixel : float
        Usual size of a pixel [m].
    counts : dict
        Rivers, other waters, islands, small holes filled, bridges, sections by flag.
    """

    sections: CrossSections
    centerlines: list[Doubles]
    classes: npt.NDArray[np.uint8]
    binary: bool
    least_width: float
    pixel: float
    counts: dict[str, int]


class _Scene(NamedTuple):
    """What measuring needs."""

    found: river_channel.Channels
    size: Doubles
    """Height and width of the pixels of every row (y, 2) [m]."""
    binary: bool


class _Measured(NamedTuple):
    """A centerline one pixel apart with what was measured there."""

    places: Doubles
    tangent: Doubles
    """Along the line (point, 2), row and column [pixel per m]."""
    across: Doubles
    """To its right (point, 2), row and column [pixel per m]."""
    pixel: Doubles
    """Size of a pixel (point) [m]."""
    half: Doubles
    """Half the length averaged over (point) [m]."""
    table: Doubles
    """What the kernel gives (point, 8)."""


def measure(
    water: Singles,
    *,
    pixel_size: tuple[float | Doubles, float | Doubles],
    parameters: RiverWidthParameters,
    channels: Booleans | None = None,
    bridges: Booleans | None = None,
    spacing: float | None = None,
) -> RiverMap:
    """Measure the rivers of a map of water.

    Parameters
    ----------
    water : numpy.ndarray
        Probability or share of water (y, x) [1], NaN without data; 0 and 1 in a binary mask.
    pixel_size : tuple
        Height and width of a pixel, or of those of every row (y) [m].
    parameters : RiverWidthParameters
        Choices.
    channels : numpy.ndarray, optional
        Where rivers are known to flow (y, x): water that does not touch them is other water.
    bridges : numpy.ndarray, optional
        Decks of known bridges (y, x).
    spacing : float, optional
        Distance of transects along the river [m].

    Returns
    -------
    RiverMap
        Rivers, their transects and the classes.

    Raises
    ------
    BadInputError
        `no_data` where no pixel is known, `value_implausible` for values outside 0 to 1.
    """
    _check(water)
    known = np.isfinite(water)
    binary = bool(((water == 0.0) | (water == 1.0) | ~known).all())
    size = np.stack([np.broadcast_to(np.asarray(part, dtype=np.float64), water.shape[:1]) for part in pixel_size], 1)
    found = river_channel.find(water, parameters=parameters.channel, bridges=bridges)
    scene = _Scene(found, size, binary)
    lines, flows, waters = _rivers(scene, channels, parameters)
    sections = [_sections(line, scene, parameters, spacing=spacing) for line in lines]
    kept = [(places, section) for places, section in sections if section is not None]
    table = _joined([section for _, section in kept])
    table = table._replace(line=np.repeat(np.arange(len(kept)), [len(section.row) for _, section in kept]))
    classes = _classes(found, flows, known)
    counts = _counts(found, waters, table, len(kept))
    pixel = float(np.sqrt(np.median(size[:, 0]) * np.median(size[:, 1])))
    least = parameters.least_width * pixel
    return RiverMap(table, [section[0] for section in kept], classes, binary, least, pixel, counts)


def _check(water: Singles) -> None:
    if not np.isfinite(water).any():
        raise BadInputError("no_data", "the map of water has no pixel with data")
    if float(np.nanmin(water)) < 0.0 or float(np.nanmax(water)) > 1.0:
        raise BadInputError("value_implausible", "a share or probability of water lies from 0 to 1")


def _rivers(
    scene: _Scene, channels: Booleans | None, parameters: RiverWidthParameters
) -> tuple[list[river_centerline.Line], Booleans, tuple[int, int]]:
    """Lines of the waters that are rivers, where those flow, and how many waters there are and rivers among them."""
    labels, count = ndimage.label(scene.found.distance > 0, structure=np.ones((3, 3), dtype=bool))
    areas = _river_kernels.sizes(labels, count + 1)
    large = areas >= parameters.channel.least_area
    large[0] = False
    wide = _river_kernels.picked(labels, large)
    drawn = river_centerline.draw(wide, scene.found.distance, parameters=parameters.centerline)
    at = [labels[tuple(line.places[len(line.places) // 2].astype(int))] for line in drawn]
    lengths = np.zeros(count + 1)
    np.maximum.at(lengths, at, [_length(line.places) for line in drawn])
    long = _is_long(labels, areas, drawn, np.array(at, dtype=np.intp), lengths, parameters)
    if channels is not None:
        long = _river_kernels.touched(labels, np.ascontiguousarray(channels), count + 1) & large
    long[0] = False
    lines = [line for line, label in zip(drawn, at, strict=True) if long[label]]
    return lines, _river_kernels.picked(labels, long), (count, int(long.sum()))


def _length(places: Doubles) -> float:
    steps = np.diff(places, axis=0)
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())


def _is_long(
    labels: npt.NDArray[np.int32],
    areas: npt.NDArray[np.int64],
    drawn: list[river_centerline.Line],
    at: npt.NDArray[np.intp],
    lengths: Doubles,
    parameters: RiverWidthParameters,
) -> Booleans:
    """Whether water is much longer than wide; beyond the edge of the scene it may be longer."""
    long = np.zeros(lengths.size, dtype=bool)
    total = np.zeros(lengths.size)
    np.add.at(total, at, [_length(line.places) for line in drawn])
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    edges = np.sum([np.isin(np.arange(lengths.size), side) for side in sides], axis=0)
    for label in np.unique(at):
        width = areas[label] / max(total[label], 1.0)
        least = parameters.least_elongation_cut if edges[label] >= 2 else parameters.least_elongation
        long[label] = lengths[label] >= max(least * width, parameters.least_length)
    return long


def _sections(
    line: river_centerline.Line,
    scene: _Scene,
    parameters: RiverWidthParameters,
    *,
    spacing: float | None,
) -> tuple[Doubles, CrossSections | None]:
    """Centerline and transects of a line."""
    measured = _centered(line, scene, parameters)
    if measured is None:
        return line.places, None
    flags = _flags(measured, line, scene, parameters)
    table = measured.table
    width = np.where(flags == OK, table[:, 2], np.nan)
    narrow = width < parameters.least_width * measured.pixel
    flags[narrow] = NARROW
    width[narrow] = np.nan
    if np.isfinite(width).any():
        flags[width > parameters.lake_ratio * np.nanmedian(width)] = LAKE
    sigma = _sigma(measured, width, scene, parameters)
    along = _along(measured.places, scene.size)
    chosen = _spaced(along, spacing or parameters.spacing * float(np.median(measured.pixel)))
    found = np.isfinite(width)
    banks = [measured.places + np.where(found, table[:, side], np.nan)[:, None] * measured.across for side in (0, 1)]
    height_width = scene.size[_rows(measured.places, scene.size)]
    east, south = measured.tangent[:, 1] * height_width[:, 1], measured.tangent[:, 0] * height_width[:, 0]
    whole = CrossSections(
        line=np.zeros(len(along), dtype=np.int64),
        row=measured.places[:, 0],
        column=measured.places[:, 1],
        left=banks[0],
        right=banks[1],
        distance=along,
        direction=np.degrees(np.arctan2(east, -south)) % 360.0,
        width=width,
        sigma=sigma,
        bank_width=np.where(found, table[:, 1] - table[:, 0], np.nan),
        channels=np.where(found, np.nan_to_num(table[:, 3]), 0).astype(np.int64),
        flag=flags,
    )
    return measured.places, _taken(whole, chosen)


def _taken(sections: CrossSections, chosen: npt.NDArray[np.intp]) -> CrossSections:
    columns: dict[str, Any] = {name: column[chosen] for name, column in sections._asdict().items()}
    return CrossSections(**columns)


def _rows(places: Doubles, size: Doubles) -> npt.NDArray[np.intp]:
    return np.clip(np.rint(places[:, 0]).astype(np.intp), 0, len(size) - 1)


def _along(places: Doubles, size: Doubles) -> Doubles:
    """Distance along a line [m]."""
    steps = np.diff(places, axis=0) * size[_rows(places, size)][1:]
    return np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])


def _spaced(along: Doubles, spacing: float) -> npt.NDArray[np.intp]:
    wanted = np.arange(0.0, along[-1] + spacing / 2, spacing)
    return np.unique(np.clip(np.searchsorted(along, wanted), 0, len(along) - 1))


def _centered(line: river_centerline.Line, scene: _Scene, parameters: RiverWidthParameters) -> _Measured | None:
    """The line drawn midway between the banks, with the banks."""
    if len(line.places) < parameters.least_length / 2:
        return None
    places = _resampled(line.places)
    distance = scene.found.distance
    away = float(np.median(ndimage.map_coordinates(distance, places.T, order=1, mode="nearest")))
    window = float(np.clip(parameters.window * 2 * away, *parameters.window_limits))
    places = _resampled(_smoothed(places, window))
    for _ in range(parameters.rounds):
        measured = _measured(places, scene, parameters, whole=False)
        usable = (measured.table[:, 4] == 0) & (_near_junction(measured, line, parameters) == 0)
        if not usable.any():
            break
        aside = np.where(usable, (measured.table[:, 0] + measured.table[:, 1]) / 2, 0.0)
        index = np.arange(len(places))
        aside = np.interp(index, index[usable], aside[usable])
        places = _resampled(_smoothed(places + aside[:, None] * measured.across, window))
    return _measured(places, scene, parameters, whole=True)


def _resampled(places: Doubles) -> Doubles:
    """Points about one pixel apart."""
    steps = np.diff(places, axis=0)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
    kept = np.concatenate([[True], np.diff(along) > 0])
    wanted = np.linspace(0.0, along[-1], max(int(np.ceil(along[-1])) + 1, 2))
    return np.stack([np.interp(wanted, along[kept], places[kept, axis]) for axis in (0, 1)], axis=1)


def _smoothed(places: Doubles, window: float) -> Doubles:
    """Line smoothed by a Gaussian, turned about its ends so that they stay."""
    margin = min(int(4 * window), len(places) - 1)
    head = 2 * places[0] - places[margin:0:-1]
    tail = 2 * places[-1] - places[-2 : -margin - 2 : -1]
    smooth = ndimage.gaussian_filter1d(np.concatenate([head, places, tail]), window, axis=0, mode="nearest")
    return np.asarray(smooth[margin : margin + len(places)])


def _measured(places: Doubles, scene: _Scene, parameters: RiverWidthParameters, *, whole: bool) -> _Measured:
    size = scene.size[_rows(places, scene.size)]
    pixel = np.sqrt(size[:, 0] * size[:, 1])
    metric = np.gradient(places, axis=0) * size
    metric /= np.maximum(np.hypot(metric[:, 0], metric[:, 1]), 1e-12)[:, None]
    tangent = metric / size
    # To the right of (south, east) lies (east, -south) turned: rows grow southward.
    across = np.stack([metric[:, 1], -metric[:, 0]], axis=1) / size
    away = ndimage.map_coordinates(scene.found.distance, places.T, order=1, mode="nearest")
    half = np.clip(parameters.along * 2 * away, *parameters.along_limits) / 2 * pixel
    step = parameters.step * pixel
    reach = np.ceil((parameters.reach_ratio * away + parameters.reach_margin) / parameters.step).astype(np.int64)
    table = _river_kernels.measure(
        scene.found.water,
        scene.found.state,
        np.concatenate([places, tangent, across], axis=1),
        step,
        reach,
        half,
        away.astype(np.float64),
        parameters.profiles,
        parameters.flank / parameters.step,
        whole,
    )
    return _Measured(places, tangent, across, pixel, half, table)


def _near_junction(measured: _Measured, line: river_centerline.Line, parameters: RiverWidthParameters) -> Booleans:
    near = np.zeros(len(measured.places), dtype=bool)
    for row, column, away in line.junctions:
        apart = np.hypot(measured.places[:, 0] - row, measured.places[:, 1] - column)
        near |= apart < parameters.junction_ratio * away + measured.half / measured.pixel
    return near


def _flags(
    measured: _Measured, line: river_centerline.Line, scene: _Scene, parameters: RiverWidthParameters
) -> npt.NDArray[np.int64]:
    state, marked = measured.table[:, 4], measured.table[:, 7]
    flags = np.full(len(state), OK, dtype=np.int64)
    along = np.arange(len(state), dtype=np.float64)
    for free, apart, at in ((line.start_free, along, 0), (line.end_free, along[::-1], -1)):
        if free:
            place = tuple(measured.places[[at]].T)
            away = float(ndimage.map_coordinates(scene.found.distance, place, order=1, mode="nearest")[0])
            flags[apart <= parameters.end_ratio * max(away, 1.0) + measured.half / measured.pixel] = END
    flags[_near_junction(measured, line, parameters)] = JUNCTION
    flags[state == 1] = JUNCTION
    flags[marked > 0] = BRIDGE
    flags[(state >= 2) & (flags != BRIDGE)] = INCOMPLETE
    return flags


def _sigma(measured: _Measured, width: Doubles, scene: _Scene, parameters: RiverWidthParameters) -> Doubles:
    """Standard uncertainty of the width [m].

    From where a bank lies within a pixel, how it runs across pixels, scatter between neighboring transects beyond
    that, change of width within the length averaged over, and direction of the transect.
    """
    table, pixel = measured.table, measured.pixel
    edges = np.stack([_rounding(measured, side, scene, parameters) for side in (0, 1)])
    if not scene.binary:
        soft = 1.0 / (table[:, 5:7].T * pixel)
        edges += (parameters.soft_edge * np.maximum(np.nan_to_num(soft) - SOFT, 0.0)) ** 2
    # Every channel has two banks; those of islands run on the whole like the others.
    rounding = np.maximum(np.nan_to_num(table[:, 3]), 1.0) * edges.sum(axis=0) * pixel**2
    lag = np.ceil(2 * measured.half / pixel).astype(int) + 1
    scatter = _scatter(width, lag, parameters) ** 2
    usual = _windowed(np.where(np.isfinite(width), rounding, np.nan), lag, parameters)
    beyond = np.fmax(scatter - parameters.scatter_slack * usual, 0.0)
    beyond = np.where(np.isfinite(beyond), beyond, 0.0)
    turned = (parameters.direction_share * width) ** 2
    sigma = np.sqrt(rounding + beyond + turned + _bent(width, measured, rounding) ** 2)
    return np.where(np.isfinite(width), sigma, np.nan)


def _rounding(measured: _Measured, side: int, scene: _Scene, parameters: RiverWidthParameters) -> Doubles:
    """Variance of a bank for where it lies within pixels [pixel2].

    Along a straight bank of slope s the error of a pixel is a sawtooth of the place of the bank within it, of variance
    1/12 and harmonics m of shares 6 / (pi m)^2. Averaged over n columns, with pixels joined linearly, harmonic m keeps
    sinc^2(n f) sinc^4(f), where f is the distance of m s from a whole number: rational slopes keep some of it.
    """
    slope, cosine = _slope(measured, side)
    # Profiles at both ends of the length count like the others: each stands for its share of it.
    counted = parameters.profiles / (parameters.profiles - 1)
    columns = 2 * measured.half / measured.pixel * cosine * counted
    kept = np.zeros(len(slope))
    spread = parameters.slope_spread * np.array([-1.0, 0.0, 1.0])
    order = np.arange(1, parameters.harmonics + 1)[:, None]
    for apart in spread:
        phase = order * (slope + apart)
        phase -= np.rint(phase)
        kept += (6 / (np.pi * order) ** 2 * np.sinc(columns * phase) ** 2 * np.sinc(phase) ** 4).sum(axis=0)
    # Harmonics beyond them come with any phase.
    kept = kept / len(spread) + 6 / np.pi**2 / (parameters.harmonics + 0.5) / np.maximum(columns, 1.0)
    reach = float(np.median(measured.half / measured.pixel))
    kept = ndimage.gaussian_filter1d(kept * cosine**2, reach / np.sqrt(3.0), mode="nearest")
    return np.asarray(_mixed(measured, scene, parameters) * kept + parameters.edge_floor**2)


def _slope(measured: _Measured, side: int) -> tuple[Doubles, Doubles]:
    """Slope of a bank against the nearer axis of the grid, and cosine of its angle."""
    offset = measured.table[:, side]
    known = np.isfinite(offset) & (measured.table[:, 4] == 0)
    index = np.arange(len(offset))
    offset = np.interp(index, index[known], offset[known]) if known.any() else np.zeros(len(offset))
    bank = measured.places + offset[:, None] * measured.across
    reach = max(float(np.median(measured.half / measured.pixel)), 1.0)
    way = np.abs(ndimage.gaussian_filter1d(bank, reach, axis=0, order=1, mode="nearest"))
    # At the very ends the filter sees a line that stands still.
    way = np.where(way.max(axis=1, keepdims=True) > 0, way, np.abs(measured.tangent * measured.pixel[:, None]))
    least, most = way.min(axis=1), np.maximum(way.max(axis=1), 1e-12)
    return least / most, most / np.hypot(least, most)


def _mixed(measured: _Measured, scene: _Scene, parameters: RiverWidthParameters) -> float:
    """Variance of a bank along the grid, from what pixels that banks cross say [pixel2].

    A bank lies anywhere in its pixel with the same chance, so the values of such pixels, put in order, should grow
    evenly from 0 to 1; how far they do not is the error: 1/12 where they are rounded, 0 where they are shares.
    """
    if scene.binary:
        return 1 / 12
    found = scene.found
    values, aligned = [], []
    for side in (0, 1):
        bank = measured.places + measured.table[:, [side]] * measured.across
        known = np.isfinite(bank).all(axis=1) & (measured.table[:, 4] == 0)
        at = np.clip(np.rint(bank[known]).astype(np.intp), 0, np.array(found.water.shape) - 1)
        filled = found.state[at[:, 0], at[:, 1]] & (river_channel.HOLE | river_channel.FILLED)
        values.append(np.where(filled, 1.0, found.water[at[:, 0], at[:, 1]]))
        aligned.append(_slope(measured, side)[0][known] < 1 / 3)
    seen, along = np.concatenate(values), np.concatenate(aligned)
    if along.sum() >= parameters.least_edges:
        seen = seen[along]
    seen = np.sort(seen[np.isfinite(seen)])
    if not seen.size:
        return 1 / 12
    return float(np.mean((seen - (np.arange(seen.size) + 0.5) / seen.size) ** 2))


def _bent(width: Doubles, measured: _Measured, rounding: Doubles) -> Doubles:
    """Error for averaging along a river whose width changes, as beside the tips of islands [m]."""
    apart = np.maximum(np.rint(measured.half / measured.pixel).astype(int), 1)
    index = np.arange(len(width))
    before, after = np.maximum(index - apart, 0), np.minimum(index + apart, len(width) - 1)
    # The mean over 2 h of a curve is off by h^2 / 6 times its second derivative; three widths have errors of their own.
    curve = np.nan_to_num(width[before] + width[after] - 2 * width) / 6
    return np.asarray(np.sqrt(np.maximum(curve**2 - rounding / 4, 0.0)))


def _windowed(values: Doubles, lag: npt.NDArray[np.int_], parameters: RiverWidthParameters) -> Doubles:
    """Mean of values over the window of the scatter."""
    window = max(parameters.scatter_window * int(np.median(lag)), 1) if len(lag) else 1
    known = np.isfinite(values)
    share = ndimage.uniform_filter1d(known.astype(np.float64), window, mode="nearest")
    total = ndimage.uniform_filter1d(np.where(known, values, 0.0), window, mode="nearest")
    return np.asarray(total / np.maximum(share, 1e-12))


def _scatter(width: Doubles, lag: npt.NDArray[np.int_], parameters: RiverWidthParameters) -> Doubles:
    """Standard deviation between independent neighbors, slow change left out; NaN where there are too few."""
    index = np.arange(len(width))
    whole = (index - 2 * lag >= 0) & (index + 2 * lag < len(width))
    at, apart = index[whole], lag[whole]
    near, far = width[at - apart] + width[at + apart], width[at - 2 * apart] + width[at + 2 * apart]
    curve = np.full(len(width), np.nan)
    # A cubic through four independent neighbors: what is left has 35/18 times the variance of one transect.
    curve[whole] = width[whole] - (4 * near - far) / 6
    window = parameters.scatter_window * int(np.median(lag)) if len(lag) else 1
    out = np.full(len(width), np.nan)
    for start in range(0, len(width), max(window // 4, 1)):
        part = slice(start, start + max(window // 4, 1))
        near = np.abs(curve[max(start - window // 2, 0) : start + window // 2])
        if np.isfinite(near).sum() >= window // 4:
            out[part] = _MEDIAN_TO_SIGMA * float(np.nanmedian(near)) / np.sqrt(_LEFT_OVER)
    return out


def _joined(parts: list[CrossSections]) -> CrossSections:
    if not parts:
        none, whole = np.zeros(0), np.zeros(0, dtype=np.int64)
        pairs = np.zeros((0, 2))
        return CrossSections(whole, none, none, pairs, pairs, none, none, none, none, none, whole, whole)
    return CrossSections(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _classes(found: river_channel.Channels, flows: Booleans, known: Booleans) -> npt.NDArray[np.uint8]:
    wet = (found.water >= _HALF) | (found.state & river_channel.HOLE > 0)
    classes = np.full(wet.shape, DRY, dtype=np.uint8)
    classes[wet] = OTHER_WATER
    classes[wet & flows] = RIVER
    classes[~known] = NO_DATA
    return classes


def _counts(found: river_channel.Channels, waters: tuple[int, int], table: CrossSections, lines: int) -> dict[str, int]:
    counts = {
        "rivers": waters[1],
        "centerlines": lines,
        "other_waters": waters[0] - waters[1],
        "islands": found.islands,
        "small_holes_filled": found.small_holes,
        "gaps_bridged": found.bridges,
    }
    return counts | {f"sections_{name}": int((table.flag == number).sum()) for number, name in enumerate(FLAGS)}
