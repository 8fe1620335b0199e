"""Shadows of clouds: ground darker than its color lets expect, where a cloud stands between it and the sun.

Ground in shadow keeps its color and loses brightness, so its brightness is compared with that of clear ground of the
same color and of the surroundings. Every cloud is projected along the sun for a range of heights (Zhu and Woodcock
2012, section 3.3); on terrain each ground pixel looks up its own cloud. The heights of the clouds of one scene agree.
The ground found that way teaches how dark the shadows of this scene are, and darkness and projection together decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from processors.arrays import BoolArray, FloatArray, IntArray
from processors.imagery import _cloud_kernels, terrain_shading
from processors.imagery.cloud_object import Objects

_Layer: TypeAlias = npt.NDArray[np.float32]

_COLOR_CELL, _CELL_BLUR = 0.125, 1.0
"""Smallest step of the logarithm of a band ratio, and how far cells share: skylight colors shadows a little."""


@dataclass(frozen=True)
class ShadowParameters:
    """Choices of the search for shadows.

    Parameters
    ----------
    lowest, highest : float
        Heights at which a cloud is sought [m].
    heights : int
        Largest number of heights tried [1].
    agreement : float
        Largest departure from the height of the scene, relative [1].
    surroundings : float
        Width of the surroundings of a pixel [m].
    least : float
        Mean darkness below a cloud, in standard deviations of clear ground, that is believed [1].
    least_share : float
        Ground below the clouds relative to all, at least, where the direction of the sun is not known [1].
    least_fall : float
        Logarithm by which ground below the clouds is at least darker than other ground of its color [1].
    correlation : float
        Correlation of projected cloud and darkness from which even faint shadows are believed; half of it for
        shadows of twice the least darkness [1].
    turns : int
        Turned suns that tell how well objects and dark ground agree by chance [1].
    contrast : int
        Width of the surroundings against which ground must be dark for that [pixel].
    singled_out, sure : float
        Agreement that is believed, relative to that by chance [1] and on top of it [natural logarithm of odds].
    fall : float
        Logarithm by which shadow is darker than light where no cloud of the scene explains it [1].
    separation : float
        Distance of the two modes in standard deviations (Ashman et al. 1994) for that [1].
    rounds : int
        Rounds of learning how dark the shadows of the scene are [1].
    inside, beside, beyond : float
        Probability of shadow where a cloud is projected, where none is, and at least where the sun stands beyond the
        scene; there it is as probable as cloud in the scene [1].
    tolerance : float
        Uncertainty of the projection [pixel].
    directions : int
        Directions tried where the sun is not known [1].
    terrain_light : float
        Sunlight relative to flat ground below which terrain is too dark to show a shadow [1].
    """

    lowest: float = 200.0
    highest: float = 12_000.0
    heights: int = 300
    agreement: float = 0.3
    surroundings: float = 1500.0
    least: float = 0.35
    least_share: float = 0.01
    least_fall: float = 0.1
    correlation: float = 0.2
    turns: int = 5
    contrast: int = 41
    singled_out: float = 1.25
    sure: float = 3.0
    fall: float = 0.5
    separation: float = 2.0
    rounds: int = 3
    inside: float = 0.9
    beside: float = 0.01
    beyond: float = 0.1
    tolerance: float = 1.0
    directions: int = 48
    terrain_light: float = 0.2


class Ground(NamedTuple):
    """What the ground tells of shadows."""

    darkness: _Layer
    """Standard deviations below what clear ground of that color and place shows (y, x) [1]."""
    features: _Layer
    """Layers from which shadow is told (feature, y, x)."""
    depth: _Layer
    """Logarithm of the brightness relative to clear ground of that color (y, x) [1]."""
    open_ground: BoolArray
    """Pixels that may show a shadow (y, x)."""


class Match(NamedTuple):
    """Heights of the clouds."""

    shifts: FloatArray
    """Candidates: height [m], rows and columns per meter (candidate, 3)."""
    chosen: IntArray
    """Candidate of every object, -1 for none."""
    evidence: FloatArray
    """Of the shadow for the object being a cloud, natural logarithm of odds [1]."""
    candidate: int
    """Candidate of the scene; -1 without any shadow."""
    score: float
    """Mean darkness at that candidate in standard deviations [1]."""


def ground(
    bands: Mapping[str, _Layer],
    path: Mapping[str, float],
    clear: BoolArray,
    *,
    water: BoolArray,
    light: _Layer | None,
    width: int,
    parameters: ShadowParameters,
) -> Ground:
    """Darkness of the ground relative to clear ground of the same color and of the surroundings.

    Parameters
    ----------
    bands : Mapping[str, array]
        Reflectance by band (y, x) [1].
    path : Mapping[str, float]
        Reflectance of the air by band [1].
    clear : array
        Pixels that are no cloud and no snow (y, x).
    water : array
        Water, whose infrared is dark in any light (y, x).
    light : array, optional
        Sunlight on the terrain relative to flat ground (y, x) [1].
    width : int
        Width of the surroundings [pixel].
    parameters : ShadowParameters
        Choices.

    Returns
    -------
    Ground
        Darkness and features.
    """
    seen = clear if light is None else clear & (light > parameters.terrain_light)
    logs = {name: np.log(np.maximum(layer - path[name], 2e-3), dtype=np.float32) for name, layer in bands.items()}
    names = [name for name in ("green", "red", "nir", "swir1") if name in logs]
    brightness = np.mean(np.stack([logs[name] for name in names]), axis=0, dtype=np.float32)
    second = logs["swir1"] - logs["nir"] if "swir1" in logs else logs["green"] - logs["red"]
    # the infrared of water is dark in any light and mostly noise
    brightness = np.where(water, 0.5 * (logs["green"] + logs["red"]), brightness)
    second = np.where(water, logs["green"] - logs["red"], second)
    infrared = logs["nir"]
    if light is not None:
        brightness = brightness - _terrain_part(brightness, light, seen & ~water)
        infrared = infrared - _terrain_part(infrared, light, seen & ~water)
    color = brightness - _expected(brightness, (logs["nir"] - logs["red"], second), seen & ~water)
    if (seen & water).any():
        color = np.where(
            water, brightness - _expected(brightness, (logs["nir"] - logs["red"], second), seen & water), color
        )
    local = color - _local(color, seen, width)
    infrared = np.where(water, local, infrared - _local(infrared, seen & ~water, width))
    smooth = [_smoothed(layer, seen) for layer in (color, local, infrared)]
    features = np.stack([_standard(layer, seen) for layer in smooth])
    return Ground(-np.mean(features, axis=0), features, smooth[0], seen)


def _terrain_part(brightness: _Layer, light: _Layer, seen: BoolArray) -> _Layer:
    """Brightness that goes with the sunlight on the terrain, its strength from the scene itself."""
    lit = np.log(np.maximum(light, 0.0) + 0.15).astype(np.float32) - np.float32(np.log(1.15))
    if seen.sum() < 100:
        return lit
    x, y = lit[seen].astype(np.float64), brightness[seen].astype(np.float64)
    variance = float(np.var(x))
    slope = float(np.mean((x - x.mean()) * (y - y.mean()))) / variance if variance > 1e-5 else 0.0
    return np.asarray(np.clip(slope, 0.0, 1.5) * lit, dtype=np.float32)


def _expected(brightness: _Layer, colors: tuple[_Layer, _Layer], seen: BoolArray) -> _Layer:
    """Median brightness of clear ground of the same color."""
    cells = (24, 16)
    if not seen.any():
        return np.zeros_like(brightness)
    rank = np.zeros(brightness.shape, dtype=np.int32)
    for layer, count in zip(colors, cells, strict=True):
        low, high = np.percentile(layer[seen], (1.0, 99.0))
        width = max(float(high - low) / count, _COLOR_CELL)
        place = np.clip((layer - 0.5 * (low + high)) / width + 0.5 * count, 0, count - 1)
        rank = rank * count + np.nan_to_num(place).astype(np.int32)
    flat, values = rank[seen], brightness[seen]
    order = np.lexsort((values, flat))
    counts = np.bincount(flat, minlength=cells[0] * cells[1])
    first_of = np.concatenate([[0], np.cumsum(counts)[:-1]])
    middle = np.minimum(first_of + (counts * 0.55).astype(np.int64), values.size - 1)
    table = np.where(counts > 0, values[order][middle], 0.0).reshape(cells)
    weight = ndimage.gaussian_filter(counts.reshape(cells).astype(np.float64), _CELL_BLUR)
    smooth = ndimage.gaussian_filter(table * counts.reshape(cells), _CELL_BLUR) / np.maximum(weight, 1e-9)
    return np.asarray(smooth.ravel()[rank], dtype=np.float32)


def _local(layer: _Layer, seen: BoolArray, width: int) -> _Layer:
    total = ndimage.uniform_filter(np.where(seen, layer, 0.0).astype(np.float32), width)
    weight = ndimage.uniform_filter(seen.astype(np.float32), width)
    whole = float(np.mean(layer[seen])) if seen.any() else 0.0
    return np.asarray((total + 0.05 * whole) / (weight + 0.05), dtype=np.float32)


def _smoothed(layer: _Layer, seen: BoolArray) -> _Layer:
    weight = ndimage.gaussian_filter(seen.astype(np.float32), 0.8)
    total = ndimage.gaussian_filter(np.where(seen, layer, 0.0).astype(np.float32), 0.8)
    return np.asarray(np.where(seen, total / np.maximum(weight, 1e-3), 0.0), dtype=np.float32)


def _standard(layer: _Layer, seen: BoolArray) -> _Layer:
    """In standard deviations of clear ground, the dark tail not counted."""
    if not seen.any():
        return np.zeros_like(layer)
    middle, upper = np.percentile(layer[seen], (55.0, 90.0))
    deviation = max(float(upper - middle) / 1.15, 0.02)
    return np.asarray(np.where(seen, np.clip((layer - middle) / deviation, -6.0, 6.0), 0.0), dtype=np.float32)


def candidates(
    sun: terrain_shading.Sun | None,
    steps: tuple[float, float],
    shape: tuple[int, int],
    *,
    parameters: ShadowParameters,
) -> FloatArray:
    """Heights and directions in which shadows are sought.

    Parameters
    ----------
    sun : Sun, optional
        Position of the sun; without it all directions are candidates and heights stand for lengths.
    steps : tuple[float, float]
        Northing of one row and easting of one column, signed [m].
    shape : tuple[int, int]
        Rows and columns of the scene.
    parameters : ShadowParameters
        Choices.

    Returns
    -------
    array
        Height [m], rows and columns per meter (candidate, 3).
    """
    pixel = float(np.sqrt(abs(steps[0] * steps[1])))
    reach = float(np.hypot(*shape)) * pixel
    if sun is None:
        azimuths = np.arange(parameters.directions) * (360.0 / parameters.directions)
        length = np.geomspace(3.0 * pixel, min(reach / 2, parameters.highest), 30)
        return np.concatenate([_shifts(length, azimuth, 1.0, steps) for azimuth in azimuths])
    slant = 1.0 / np.tan(np.radians(sun.elevation))
    lowest, highest = parameters.lowest, min(parameters.highest, reach / max(slant, 1e-3))
    step = 1.5 * pixel / max(slant, 1e-3)
    heights = np.arange(lowest, max(highest, lowest + 2.0 * step), step)
    if heights.size > parameters.heights:
        heights = np.geomspace(lowest, highest, parameters.heights)
    return _shifts(heights, sun.azimuth, slant, steps)


def _shifts(heights: FloatArray, azimuth: float, slant: float, steps: tuple[float, float]) -> FloatArray:
    rows = -np.cos(np.radians(azimuth)) * slant / steps[0]
    columns = -np.sin(np.radians(azimuth)) * slant / steps[1]
    return np.column_stack([heights, np.full_like(heights, rows), np.full_like(heights, columns)])


def match(
    objects: Objects, seen: Ground, shifts: FloatArray, *, terrain: _Layer | None, parameters: ShadowParameters
) -> Match:
    """Height of every object from the darkness where its shadow would fall.

    Parameters
    ----------
    objects : Objects
        Bright objects.
    seen : Ground
        Darkness of the ground.
    shifts : array
        Candidates: height [m], rows and columns per meter [pixel m-1] (candidate, 3).
    terrain : array, optional
        Height of the ground above its mean (y, x) [m].
    parameters : ShadowParameters
        Choices.

    Returns
    -------
    Match
        Candidate and evidence of every object.
    """
    count = objects.pixels.size
    none = Match(shifts, np.full(count, -1), np.zeros(count), -1, 0.0)
    rows, columns, start, stride = _points(objects)
    if rows.size == 0 or not seen.open_ground.any():
        return none
    z = np.zeros((1, 1), dtype=np.float32) if terrain is None else terrain
    q = np.clip(seen.darkness, -1.5, 2.5)
    q = np.where(seen.open_ground, q - np.float32(np.mean(q[seen.open_ground])), 0.0).astype(np.float32)
    dark, number = _cloud_kernels.match(rows, columns, start, q, seen.open_ground, z, shifts)
    clouds = np.minimum(np.exp(np.minimum(objects.evidence[1:], 2.0)), 1.0) * stride
    total, weight = clouds @ dark, clouds @ number
    # the correlation of projection and darkness, up to a factor: not the mean, which few pixels reach by chance
    scene = total / np.sqrt(np.maximum(weight, 0.02 * weight.max() + 1.0))
    best = int(scene.argmax())
    mean, enough = _means(dark, number, np.diff(start))
    pixels = np.minimum(objects.pixels[1:, None], 400.0)
    one_way = bool(np.ptp(shifts[:, 1:], axis=0).max() < 1e-12)
    flat, below = q[seen.open_ground], _Below(q, seen, z, shifts)
    score, fall = below.look(objects, clouds, best)
    if fall < parameters.least_fall or not _believed(score, float(weight[best]), flat, one_way, parameters):
        chance = 1.0 / (1.0 + np.exp(-np.clip(objects.evidence[1:], -3.0, 1.5)))
        best, cast = _singled_out(objects, below, chance, parameters) if one_way else (-1, chance)
        if best < 0:
            return none
        score, fall = below.look(objects, clouds * cast, best)
        if fall < 0.5 * parameters.least_fall or score < parameters.least:
            return none
    chosen, evidence = _own(mean, enough, pixels, shifts, best, parameters)
    return Match(shifts, np.concatenate([[-1], chosen]), np.concatenate([[0.0], evidence]), best, score)


class _Below(NamedTuple):
    """What lies below the objects for every candidate."""

    darkness: _Layer
    seen: Ground
    terrain: _Layer
    shifts: FloatArray

    def look(self, objects: Objects, weights: FloatArray, candidate: int) -> tuple[float, float]:
        """Mean darkness below the objects, and by how much it is darker there than elsewhere [logarithm]."""
        rows, columns, start, _ = _points(objects)
        place, ground = self.shifts[[candidate]], (self.seen.open_ground, self.terrain)
        dark, number = _cloud_kernels.match(rows, columns, start, self.darkness, *ground, place)
        deep, _ = _cloud_kernels.match(rows, columns, start, self.seen.depth, *ground, place)
        weight = max(float(weights @ number[:, 0]), 1.0)
        usual = float(np.mean(self.seen.depth[self.seen.open_ground]))
        return float(weights @ dark[:, 0]) / weight, usual - float(weights @ deep[:, 0]) / weight


def _means(dark: FloatArray, number: IntArray, pixels: IntArray) -> tuple[FloatArray, BoolArray]:
    """Mean darkness below every object for every candidate, and whether enough of it is seen."""
    enough = number >= np.maximum(0.25 * pixels[:, None], 2.0)
    return np.where(enough, dark / np.maximum(number, 1), 0.0), enough


def _strength(mean: FloatArray, pixels: FloatArray, parameters: ShadowParameters) -> FloatArray:
    """Evidence of the darkness below an object."""
    return 3.0 * (mean - parameters.least) * np.minimum(np.sqrt(pixels) / 4.0, 2.0)


def _singled_out(
    objects: Objects, below: _Below, chance: FloatArray, parameters: ShadowParameters
) -> tuple[int, FloatArray]:
    """Candidate at which some of the objects cast shadows, and which of them; -1 if other directions do as well.

    Roofs among the objects say nothing, clouds agree on a height; ground that is dark by chance is so in any
    direction, so turned suns tell how much agreement chance brings.
    """
    rows, columns, start, _ = _points(objects, most=200)
    pixels = np.minimum(objects.pixels[1:, None], 400.0)
    # a dark field is as dark beside the shadow
    usual = _local(below.darkness, below.seen.open_ground, parameters.contrast)
    darkness = np.where(below.seen.open_ground, below.darkness - usual, 0.0).astype(np.float32)
    agreements = []
    for turn in np.radians(np.arange(parameters.turns + 1) * (360.0 / (parameters.turns + 1))):
        turned = below.shifts.copy()
        turned[:, 1] = np.cos(turn) * below.shifts[:, 1] - np.sin(turn) * below.shifts[:, 2]
        turned[:, 2] = np.sin(turn) * below.shifts[:, 1] + np.cos(turn) * below.shifts[:, 2]
        dark, number = _cloud_kernels.match(
            rows, columns, start, darkness, below.seen.open_ground, below.terrain, turned
        )
        mean, enough = _means(dark, number, np.diff(start))
        odds = np.where(enough, np.exp(_strength(mean, pixels, parameters)), 1.0)
        agreements.append(np.log1p(chance[:, None] * (odds - 1.0)))
    total = [agreement.sum(axis=0) for agreement in agreements]
    best = int(total[0].argmax())
    by_chance = max(float(other.max()) for other in total[1:])
    if total[0][best] < parameters.singled_out * by_chance + parameters.sure:
        return -1, chance
    return best, (agreements[0][:, best] > 0.0).astype(np.float64)


def _believed(score: float, weight: float, darkness: _Layer, known_sun: bool, parameters: ShadowParameters) -> bool:
    """Whether the projection of the clouds and the darkness of the ground belong together."""
    outside = max(darkness.size - weight, 1.0)
    correlation = score * np.sqrt(weight / outside) / max(float(np.std(darkness)), 1e-6)
    sure = correlation >= parameters.correlation
    if not known_sun:
        return bool(sure and weight >= parameters.least_share * darkness.size)
    likely = correlation >= 0.5 * parameters.correlation and score >= 2.0 * parameters.least
    return bool(score >= parameters.least and (sure or likely))


def _points(objects: Objects, most: int = 1500) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Pixels of every object in order of objects, evenly thinned where there are many."""
    flat = objects.labels.ravel()
    where = np.flatnonzero(flat)
    where = where[np.argsort(flat[where], kind="stable")]
    owner = flat[where]
    counts = np.bincount(owner, minlength=objects.pixels.size)[1:]
    first = np.concatenate([[0], np.cumsum(counts)])
    stride = np.maximum(counts // most, 1)
    kept = (np.arange(where.size) - first[owner - 1]) % stride[owner - 1] == 0
    where, owner = where[kept], owner[kept]
    left = np.bincount(owner, minlength=objects.pixels.size)[1:]
    rows, columns = np.divmod(where, objects.labels.shape[1])
    start = np.concatenate([[0], np.cumsum(left)]).astype(np.int64)
    return rows.astype(np.int64), columns.astype(np.int64), start, stride.astype(np.float64)


def _own(
    mean: FloatArray, enough: BoolArray, pixels: FloatArray, shifts: FloatArray, best: int, parameters: ShadowParameters
) -> tuple[IntArray, FloatArray]:
    """Candidate of each object near that of the scene, and what its darkness says."""
    height, direction = shifts[:, 0], shifts[:, 1:]
    same = (np.abs(direction - direction[best]) < 1e-9 + 1e-6 * np.abs(direction[best])).all(axis=1)
    departure = np.abs(np.log(height / height[best]))
    near = same & (departure <= np.log1p(parameters.agreement))
    sure = mean * np.sqrt(pixels) / 3.0 - 0.5 * (departure / (0.5 * parameters.agreement)) ** 2
    ranked = np.where(near & enough, sure, -np.inf)
    chosen = ranked.argmax(axis=1)
    chosen = np.where(np.isfinite(ranked.max(axis=1)), chosen, best)
    verifiable = enough[np.arange(chosen.size), chosen]
    dark = mean[np.arange(chosen.size), chosen]
    strength = _strength(dark, pixels[:, 0], parameters)
    return chosen.astype(np.int64), np.where(verifiable, np.clip(strength, -4.0, 4.0), 0.0)


def shadow(
    objects: Objects, found: Match, seen: Ground, *, terrain: _Layer | None, parameters: ShadowParameters
) -> _Layer:
    """Probability of shadow from the projection of the clouds and the darkness of the ground.

    Parameters
    ----------
    objects : Objects
        Clouds only.
    found : Match
        Their heights.
    seen : Ground
        Darkness of the ground.
    terrain : array, optional
        Height of the ground above its mean (y, x) [m].
    parameters : ShadowParameters
        Choices.

    Returns
    -------
    array
        Probability (y, x) [1]; where the ground is too dark or too near a cloud to tell, that of the projection.
    """
    cover = float(np.clip(np.mean(objects.labels > 0), parameters.beyond, 0.5))
    used = np.unique(found.chosen[1:][found.chosen[1:] >= 0])
    if found.candidate >= 0 and used.size:
        hit, prior = _projected(objects, found, used, terrain, cover, parameters)
        unseen = np.where(hit, prior, 0.0)
    else:
        hit = _dark(seen, parameters) if cover > parameters.beyond else np.zeros(objects.labels.shape, dtype=bool)
        prior = np.full(objects.labels.shape, cover)
        unseen = np.zeros(objects.labels.shape)
    if not hit.any():
        return np.zeros(objects.labels.shape, dtype=np.float32)
    chance = hit.astype(np.float32)
    for _ in range(parameters.rounds):
        odds = _learned(seen, chance > 0.5, chance < 0.2) + np.log(prior / (1.0 - prior))
        chance = (1.0 / (1.0 + np.exp(-np.clip(odds, -30.0, 30.0)))).astype(np.float32)
    return np.where(seen.open_ground, chance, unseen).astype(np.float32)


def _projected(
    objects: Objects,
    found: Match,
    used: IntArray,
    terrain: _Layer | None,
    cover: float,
    parameters: ShadowParameters,
) -> tuple[BoolArray, FloatArray]:
    """Ground below the clouds along the sun, and the probability of shadow before looking."""
    place = np.full(found.shifts.shape[0] + 1, -1, dtype=np.int64)
    place[used] = np.arange(used.size)
    z = np.zeros((1, 1), dtype=np.float32) if terrain is None else terrain
    hit, _ = _cloud_kernels.project(objects.labels, place[found.chosen], z, found.shifts[used])
    _, beyond = _cloud_kernels.project(objects.labels, place[found.chosen], z, found.shifts[[found.candidate]])
    blurred = ndimage.gaussian_filter(hit.astype(np.float32), parameters.tolerance)
    prior = parameters.beside + (parameters.inside - parameters.beside) * blurred.astype(np.float64)
    return np.asarray(hit, dtype=bool), np.where(beyond, np.maximum(prior, cover), prior)


def _dark(seen: Ground, parameters: ShadowParameters) -> BoolArray:
    """Ground of the darker of two modes, if there are two as far apart as light and shadow; none otherwise."""
    depth = seen.depth[seen.open_ground]
    nothing = np.zeros(seen.depth.shape, dtype=bool)
    if depth.size < 100:
        return nothing
    split = float(np.median(depth)) - 0.5 * parameters.fall
    for _ in range(20):
        dark = depth < split
        if dark.sum() < 20 or (~dark).sum() < 20:
            return nothing
        low, high = float(depth[dark].mean()), float(depth[~dark].mean())
        split = 0.5 * (low + high)
    spread = np.hypot(depth[dark].std(), depth[~dark].std())
    if high - low < parameters.fall or np.sqrt(2.0) * (high - low) < parameters.separation * spread:
        return nothing
    return (seen.depth < split) & seen.open_ground


def _learned(seen: Ground, shaded_ground: BoolArray, clear_ground: BoolArray) -> _Layer:
    """Evidence of the features for shadow: linear discriminant between ground in shadow and in the sun."""
    inside, rest = shaded_ground & seen.open_ground, clear_ground & seen.open_ground
    if inside.sum() < 20 or rest.sum() < 20:
        return np.asarray(seen.darkness - 1.0, dtype=np.float32)
    shaded = _typical(seen.features[:, inside])
    clear = _typical(seen.features[:, rest])
    spread = 0.5 * (shaded[1] + clear[1]) + 0.05 * np.eye(shaded[0].size)
    direction = np.linalg.solve(spread, shaded[0] - clear[0])
    offset = float(direction @ (shaded[0] + clear[0]) / 2.0)
    evidence = np.tensordot(direction, seen.features, axes=1) - offset
    return np.clip(evidence, -4.0, 4.0).astype(np.float32)


def _typical(features: npt.NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
    """Mean and covariance."""
    values = features.astype(np.float64)
    return np.median(values, axis=1), np.atleast_2d(np.cov(values))
