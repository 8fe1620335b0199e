"""Ships on water in radar backscatter, by a constant false-alarm rate inside the mask of water.

Power over the mean of the surrounding water, itself without targets, is compared with the tail of a K distribution
fitted to the scene (Crisp 2004, The state of the art in ship detection in synthetic aperture radar imagery, DSTO-RR-
0272). What hangs together is one object; bridges, returns of the banks, islets and azimuth ambiguities are told apart
by their shape and place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from processors.quality import BadInputError
from retrieval.surface import _cfar_kernels, clutter, river_channel

OUTSIDE, SEARCHED, SHIP, NO_DATA = 0, 1, 2, 255
UNDER_WAY, MOORED = 0, 1
SETTINGS = ("free", "moored")
REASONS = ("bridge", "too_large", "islet", "static", "ambiguity", "few_pixels")

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
_ALL_AROUND = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, kw_only=True)
class ShipParameters:
    """How ships are told from water and from other bright things.

    Parameters
    ----------
    rate : float
        False-alarm rate of a pixel [1].
    firm_rate : float
        Rate that several pixels of an object stay below [1].
    firm_area : float
        Area of these pixels [m2].
    fewest_firm : int
        Fewest of them [1].
    sharp : float
        Resolution, in pixels, from which a single pixel is no object [1].
    grow_rate : float
        Rate below which neighbors belong to an object [1].
    lone_rate : float
        Rate below which fewer pixels are an object too [1].
    censor_rate : float
        Rate below which pixels are no background [1].
    rounds : int
        How often background is found anew without targets [1].
    quantile : float
        Upper quantile the clutter is fitted at [1].
    guard : float
        Half the inner window [m].
    mean_half : float
        Half the size of the windows whose means tell faint ships [m].
    mean_rate : float
        Their false-alarm rate [1].
    halves : tuple of float
        Halves of the outer windows, tried in order [m].
    least_halves : tuple of int
        Least of guard and outer windows [pixel].
    least_background : int
        Fewest pixels of background [1].
    bright : float
        Multiple of the median of the water that is no background at first [1].
    wide, medium : float
        Half-widths of water from which two pixels and one at the bank are not searched [pixel].
    local : float
        Distance within which the half-width of the water is looked for [m].
    longest, widest : float
        Largest ship [m].
    bridge_margin : float
        Distance from a known bridge that is not searched [m].
    berth_margin : float
        Distance from a berth within which a ship is moored [m].
    link : int
        Gaps up to twice this are closed when bridges are looked for [pixel].
    beyond : float
        How far beyond an object its surroundings are looked at [pixel].
    mast : float
        Length in widths from which an object may be a bridge [1].
    islet_ratio : float
        Brightness, in that of the land, up to which a dry patch is an islet [1].
    islet_slenderness : float
        Length in widths up to which it is [1].
    islet_share : float
        Share of an object that lies on such a patch [1].
    islet_rest : int
        Pixels of the patch beside the object from which they are looked at [1].
    islet_contrast : float
        Their median over the water from which they are land [1].
    islet_quantile : float
        Quantile of the land up to whose brightness a dry patch of any shape is an islet [1].
    islet_width : float
        Width in lengths, resolution taken off, from which a dry patch is an islet [1].
    islet_odds : float
        Islets as bright expected, per object as bright, from which objects on dry patches are islets [1].
    islet_margin : float
        Distance from an islet that is not searched [pixel].
    witnesses : int
        Ships that stand in the mask as water from which on dry patches like them are islets [1].
    witness_pixels : int
        Pixels from which such a ship speaks for patches brighter than itself [1].
    witness_share : float
        Share of the brightness of a patch from which it speaks for this patch [1].
    static_share : float
        Share of an object on what is always there from which it is that [1].
    static_margin : float
        Uncertainty of the place of what is always there [pixel].
    static_water : float
        Usual probability of water up to which something is always there [1].
    static_contrast : float
        Brightness over the water around, on earlier dates, from which something is always there [1].
    opposite : float
        Distance between both banks, in that of the object to either, from which they are opposite [1].
    opposite_share : float
        Share of its mean brightness that an object has all the way from bank to bank where it is a bridge [1].
    row_length : float
        Length from which a moored object is a row of ships [m].
    outline_share : float
        Share of the peak above water that still belongs to the outline [1].
    blur : tuple of float
        What an outline is too long by: in pixels, in excess of the resolution over a pixel, and at most in pixels [1].
    ambiguity_ratio : float
        How much brighter the source of an azimuth ambiguity is [1].
    ambiguity_tolerance : float
        Uncertainty of its place [m].
    length_share : float
        Relative standard uncertainty of lengths [1].
    length_resolution : float
        Standard uncertainty of lengths in resolution cells [1].
    window : int
        Edge of the windows the number of looks is found in [pixel].
    looks_quantile : float
        Quantile over these windows [1].
    channel : ChannelParameters
        Part size of distances.
    """

    rate: float = 1e-6
    firm_rate: float = 1e-4
    firm_area: float = 250.0
    fewest_firm: int = 2
    sharp: float = 1.15
    grow_rate: float = 1e-3
    lone_rate: float = 1e-9
    censor_rate: float = 1e-4
    rounds: int = 3
    quantile: float = 0.997
    guard: float = 55.0
    mean_half: float = 15.0
    mean_rate: float = 1e-7
    halves: tuple[float, ...] = (205.0, 410.0, 820.0)
    least_halves: tuple[int, int] = (2, 6)
    least_background: int = 80
    bright: float = 8.0
    wide: float = 3.5
    medium: float = 2.5
    local: float = 200.0
    longest: float = 450.0
    widest: float = 90.0
    bridge_margin: float = 50.0
    berth_margin: float = 50.0
    link: int = 2
    beyond: float = 3.0
    mast: float = 2.0
    islet_ratio: float = 2.0
    islet_slenderness: float = 2.0
    islet_share: float = 0.5
    islet_rest: int = 4
    islet_contrast: float = 2.2
    islet_quantile: float = 0.75
    islet_width: float = 0.35
    islet_odds: float = 0.3
    islet_margin: float = 2.0
    witnesses: int = 2
    witness_pixels: int = 8
    witness_share: float = 0.5
    static_share: float = 0.5
    static_margin: float = 1.0
    static_water: float = 0.25
    static_contrast: float = 3.3
    opposite: float = 0.85
    opposite_share: float = 0.3
    row_length: float = 150.0
    outline_share: float = 0.08
    blur: tuple[float, float, float] = (0.6, 1.3, 1.8)
    ambiguity_ratio: float = 30.0
    ambiguity_tolerance: float = 60.0
    length_share: float = 0.05
    length_resolution: float = 0.35
    window: int = 11
    looks_quantile: float = 0.75
    channel: river_channel.ChannelParameters = field(default_factory=lambda: river_channel.ChannelParameters(widest=64))


class Ambiguity(NamedTuple):
    """Where an azimuth ambiguity lies.

    Attributes
    ----------
    shift : float
        Distance from its source, either way [m].
    azimuth : float
        Direction of flight from grid north [degree].
    """

    shift: float
    azimuth: float


class Place(NamedTuple):
    """What is known of the place, each (y, x) or None.

    Attributes
    ----------
    bridges : numpy.ndarray or None
        Decks.
    berths : numpy.ndarray or None
        Berths and quays.
    hidden : numpy.ndarray or None
        Layover and radar shadow.
    static : numpy.ndarray or None
        What is always there, as `static_targets` finds it or a list knows it: islets, rocks, piers, platforms.
    """

    bridges: Booleans | None = None
    berths: Booleans | None = None
    hidden: Booleans | None = None
    static: Booleans | None = None


class Ships(NamedTuple):
    """Ships found, one array element each.

    Attributes
    ----------
    row, column : numpy.ndarray
        Center; 0 is the center of the first pixel [pixel].
    length, length_sigma, width : numpy.ndarray
        Size without the resolution of the image, and its standard uncertainty [m].
    heading : numpy.ndarray
        Direction of the long axis from grid north, 0 to 180: bow and stern look alike [degree].
    contrast_db : numpy.ndarray
        Brightest pixel over the water around [dB].
    confidence : numpy.ndarray
        Probability that it is no false alarm of the water [1].
    setting : numpy.ndarray
        Number in `SETTINGS`.
    ships : numpy.ndarray
        Ships of a moored row told apart; 1 for others [1].
    pixels : numpy.ndarray
        Pixels [1].
    """

    row: Doubles
    column: Doubles
    length: Doubles
    length_sigma: Doubles
    width: Doubles
    heading: Doubles
    contrast_db: Doubles
    confidence: Doubles
    setting: npt.NDArray[np.int64]
    ships: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.int64]


class ShipMap(NamedTuple):
    """Ships of a scene.

    Attributes
    ----------
    ships : Ships
        What was found.
    classes : numpy.ndarray
        0 not searched, 1 searched, 2 ship, 255 no data (y, x).
    looks, texture : float
        Fitted to the water [1].
    factor : float
        Multiple of the water around from which a pixel may be a ship [1].
    resolution : float
        Found from the likeness of neighbors, or given [m].
    searched_area : float
        Water searched [km2].
    expected_false_alarms : float
        Pixels of water expected above the factor by chance [1].
    rejected : dict
        Objects that are none, by reason.
    unsearched : dict
        Water that was not searched, by reason [pixel].
    """

    ships: Ships
    classes: npt.NDArray[np.uint8]
    looks: float
    texture: float
    factor: float
    resolution: float
    searched_area: float
    expected_false_alarms: float
    rejected: dict[str, int]
    unsearched: dict[str, int]


class _Water(NamedTuple):
    """Where ships are looked for."""

    open: Booleans
    patches: Booleans
    """Dry patches as large as a ship, filled."""
    distance: Singles
    depth: npt.NDArray[np.uint8]
    """Pixels at the bank that are not searched."""
    searched: Booleans
    grown: Booleans
    """Where objects may reach."""
    valid: Booleans


class _Coarse(NamedTuple):
    """Where means over the size of a ship stand out."""

    bright: Booleans
    half: int
    """Half the edge of the windows [pixel]."""


class _Box(NamedTuple):
    """Oriented box of an object."""

    center: Doubles
    """Row and column [pixel]."""
    along: Doubles
    """Long axis (2) south and east [1]."""
    length: float
    """Along, resolution not taken off [m]."""
    width: float
    """Across [m]."""


class _Scene(NamedTuple):
    """What telling ships apart needs."""

    water: _Water
    contrast: Singles
    brightness: Singles
    size: tuple[float, float]
    resolution: float
    model: clutter.Clutter
    berths: Booleans | None
    static: Booleans | None
    coarse: _Coarse | None
    parameters: ShipParameters

    @property
    def pixel(self) -> float:
        """Size of a pixel [m]."""
        return float(np.sqrt(self.size[0] * self.size[1]))


def detect(
    power: Mapping[str, Singles],
    water: Booleans,
    *,
    pixel_size: tuple[float, float],
    parameters: ShipParameters,
    place: Place | None = None,
    looks: float | None = None,
    resolution: float | None = None,
    ambiguity: Ambiguity | None = None,
) -> ShipMap:
    """Find ships.

    Parameters
    ----------
    power : Mapping
        Backscatter in linear units (y, x) by polarization, NaN without data.
    water : numpy.ndarray
        Water (y, x).
    pixel_size : tuple of float
        Height and width of a pixel [m].
    parameters : ShipParameters
        Choices.
    place : Place, optional
        Bridges, berths, layover and shadow.
    looks : float, optional
        Equivalent number of looks; default found in the scene [1].
    resolution : float, optional
        Resolution of the image; default found in the scene [m].
    ambiguity : Ambiguity, optional
        Where azimuth ambiguities lie.

    Returns
    -------
    ShipMap
        The ships.

    Raises
    ------
    BadInputError
        `no_data` without backscatter, `no_water` where no water can be searched.
    """
    known = place or Place()
    seen = _valid(power)
    where = _water(water, seen, known, pixel_size, parameters)
    if not where.searched.any():
        raise BadInputError(
            "no_water", "no water wide enough to look for ships in: is the mask of water the right one?"
        )
    contrast, model, background = _contrast(power, where, pixel_size, looks, parameters)
    where = where._replace(searched=where.searched & np.isfinite(contrast))
    if not where.searched.any():
        raise BadInputError("no_water", "nowhere enough water around to compare a ship with")
    fine = resolution or _resolution(contrast, where.searched, pixel_size)
    brightness = np.maximum.reduce([np.nan_to_num(band) for band in power.values()])
    pixel = float(np.sqrt(pixel_size[0] * pixel_size[1]))
    coarse = _coarse(contrast, background, where, pixel, clutter.factor(parameters.rate, model), parameters)
    static = None if known.static is None else _near(known.static, parameters.static_margin)
    scene = _Scene(where, contrast, brightness, pixel_size, fine, model, known.berths, static, coarse, parameters)
    labels, objects, rejected = _objects(scene, ambiguity)
    islets = _islets(labels, objects, scene, sure=rejected["islet"])
    if islets.any():
        where = _without(where, islets, parameters)
        scene = scene._replace(water=where)
        labels, objects, others = _objects(scene, ambiguity)
        rejected = others | {"islet": rejected["islet"] + others["islet"]}
    rates = (parameters.rate, int(where.searched.sum()))
    classes = _classes(labels, objects, where, seen)
    return ShipMap(
        ships=_table(objects, scene),
        classes=classes,
        looks=model.looks,
        texture=model.shape,
        factor=clutter.factor(parameters.rate, model),
        resolution=fine,
        searched_area=rates[1] * pixel_size[0] * pixel_size[1] / 1e6,
        expected_false_alarms=rates[0] * rates[1],
        rejected=rejected,
        unsearched=_unsearched(water, where, seen, known),
    )


def _valid(power: Mapping[str, Singles]) -> Booleans:
    valid = np.logical_and.reduce([np.isfinite(band) & (band > 0) for band in power.values()])
    if not valid.any():
        raise BadInputError("no_data", "the radar has no backscatter in all the polarizations named")
    return np.asarray(valid)


def _water(
    water: Booleans, seen: Booleans, place: Place, size: tuple[float, float], parameters: ShipParameters
) -> _Water:
    pixel = float(np.sqrt(size[0] * size[1]))
    patches = _ship_like(~water & seen, pixel, parameters)
    whole = water | patches
    valid = seen if place.hidden is None else seen & ~place.hidden
    distance = river_channel.distances(whole, parameters=parameters.channel)
    half = ndimage.maximum_filter(distance, size=2 * int(np.ceil(parameters.local / pixel)) + 1)
    depth = np.where(half >= parameters.wide, 2, 1).astype(np.uint8)
    depth[half < parameters.medium] = 0
    usable = whole & valid
    if place.bridges is not None:
        usable &= ~_near(place.bridges, parameters.bridge_margin / pixel)
    searched = usable & (distance > depth) & (half > 1.0)
    grown = usable & (distance > np.minimum(depth, 1))
    return _Water(whole, patches, distance, depth, searched, grown, valid)


def _without(where: _Water, islets: Booleans, parameters: ShipParameters) -> _Water:
    """The water without islets and what lies close to them."""
    far = ~_near(islets, parameters.islet_margin)
    return where._replace(
        open=where.open & ~islets,
        patches=where.patches & ~islets,
        searched=where.searched & far,
        grown=where.grown & ~_near(islets, 1.0),
    )


def _islets(
    labels: npt.NDArray[np.int32],
    objects: Mapping[int, tuple[Doubles, "_Box", bool]],
    scene: "_Scene",
    *,
    sure: int,
) -> Booleans:
    """Dry patches that are land: always there, or left out by a mask that leaves no ships like them out.

    A mask made from the same image leaves ships out as dry patches, one made otherwise leaves out islets. Ships that
    stand in water of the mask tell which of the two it is.
    """
    parameters, patches = scene.parameters, scene.water.patches
    numbered, count = ndimage.label(patches, structure=_ALL_AROUND)
    if not count:
        return np.zeros_like(patches)
    every = np.arange(1, count + 1)
    land = np.zeros(count + 1, dtype=bool)
    if scene.static is not None:
        land[1:] = ndimage.mean(scene.static, numbered, every) >= parameters.static_share
    for likely in _expected_land([pixels for pixels, _, _ in objects.values()], scene, sure):
        land[np.unique(numbered[likely[:, 0], likely[:, 1]])] = True
    beside = _near(patches, 1.0)
    excess = np.maximum(np.nan_to_num(scene.contrast) - 1.0, 0.0)
    dry = scene.brightness[~scene.water.open & scene.water.valid]
    level = float(np.median(dry)) if dry.size else 0.0
    witnesses, obvious = [], 0
    for pixels, _, _ in objects.values():
        at = pixels[:, 0].astype(int), pixels[:, 1].astype(int)
        if not beside[at].any():
            witnesses.append(float(excess[at].sum()))
            obvious += int((scene.brightness[at] > level).sum() >= parameters.witness_pixels)
    sums = ndimage.sum_labels(excess, numbered, every)
    like = (np.array(witnesses)[None, :] >= parameters.witness_share * sums[:, None]).sum(axis=1)
    land[1:] |= np.maximum(like, obvious) >= parameters.witnesses
    land[0] = False
    return np.asarray(land[numbered])


def _expected_land(found: list[Doubles], scene: "_Scene", sure: int) -> list[npt.NDArray[np.intp]]:
    """Objects on dry patches that as many islets as there are make likely to be bright islets.

    Of `sure` islets some are as bright as the brightest land: so many are expected, against the objects as bright.
    """
    parameters, water = scene.parameters, scene.water
    kept = [pixels.astype(np.intp) for pixels in found]
    kept = [at for at in kept if water.patches[at[:, 0], at[:, 1]].mean() >= parameters.islet_share]
    dry = ~water.open & water.valid
    if not kept or not sure or not dry.any():
        return []
    edges = [int(np.clip(round(len(at) ** 0.5), 1, parameters.window)) for at in kept]
    means = {edge: _window_means(scene.brightness, dry, edge) for edge in set(edges)}
    shares = np.array(
        [
            float((means[edge] >= scene.brightness[at[:, 0], at[:, 1]].mean()).mean())
            for at, edge in zip(kept, edges, strict=True)
        ]
    )
    expected = sure * shares / np.maximum(1.0 - shares, 1e-3)
    rivals = (shares[None, :] <= shares[:, None]).sum(axis=1)
    return [at for at, odds in zip(kept, expected / rivals, strict=True) if odds > parameters.islet_odds]


def _window_means(brightness: Singles, dry: Booleans, edge: int) -> Singles:
    """Means of windows that hold nothing but land."""
    whole = ndimage.uniform_filter(dry.astype(np.float32), edge) > 0.999
    means = ndimage.uniform_filter(np.where(dry, brightness, np.float32(0.0)), edge)[whole]
    return np.asarray(means if means.size else brightness[dry], dtype=np.float32)


def _near(places: Booleans, distance: float) -> Booleans:
    """Pixels within a distance of places [pixel]."""
    if not places.any():
        return np.zeros_like(places)
    reach = int(np.ceil(distance))
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    near: Booleans = ndimage.binary_dilation(places, structure=y**2 + x**2 <= distance**2)
    return near


def _ship_like(dry: Booleans, pixel: float, parameters: ShipParameters) -> Booleans:
    """Dry patches inside water no larger than a ship: the mask of water may have left the ships out."""
    labels, count = ndimage.label(dry, structure=_ALL_AROUND)
    areas = np.bincount(labels.ravel(), minlength=count + 1) * pixel**2
    chosen = np.zeros(count + 1, dtype=bool)
    edges = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        if areas[number] > parameters.longest * parameters.widest:
            continue
        spans = [(part.stop - part.start) * pixel for part in place]
        chosen[number] = float(np.hypot(*spans)) <= parameters.longest + 2 * pixel
    chosen[edges] = False
    chosen[0] = False
    return np.asarray(chosen[labels])


def _contrast(
    power: Mapping[str, Singles],
    where: _Water,
    size: tuple[float, float],
    looks: float | None,
    parameters: ShipParameters,
) -> tuple[Singles, clutter.Clutter, Booleans]:
    """Power over the mean of the water around, mean of the polarizations; what the water is like; where it is bare."""
    pixel = float(np.sqrt(size[0] * size[1]))
    usable, background = _background(power, where, parameters)
    wanted = where.searched | where.grown
    for _ in range(parameters.rounds):
        contrast = _ratio(power, background, wanted, pixel, parameters)
        water = contrast[where.searched & background & np.isfinite(contrast)].astype(np.float64)
        if water.size < parameters.least_background:
            return np.full_like(contrast, np.nan), clutter.Clutter(looks or 1.0, 1.0), background
        number = looks or _looks(contrast, background & where.searched, parameters)
        model = clutter.fit(
            water, looks=number, quantile=parameters.quantile, looks_known=looks is not None, rate=parameters.rate
        )
        bright = np.asarray(contrast > clutter.factor(parameters.censor_rate, model))
        background = usable & ~_near(bright, 1.0)
    return contrast, model, background


def _coarse(
    contrast: Singles, background: Booleans, where: _Water, pixel: float, most: float, parameters: ShipParameters
) -> _Coarse | None:
    """Means over the size of a ship, which tell faint ships from speckle; None where pixels are as large."""
    half = int(parameters.mean_half // pixel)
    if half < 1:
        return None
    edge = 2 * half + 1
    # A window that reaches the bank is bright by the bank.
    whole = ndimage.minimum_filter(where.searched & ~where.patches & np.isfinite(contrast), edge)
    # One bright pixel is no ship: it counts no more than what a pixel alone would need.
    clipped = np.minimum(np.nan_to_num(contrast), np.float32(most))
    means = np.where(whole, ndimage.uniform_filter(clipped, edge), np.float32(0.0))
    bare = whole & ndimage.minimum_filter(background, edge)
    values = means[bare].astype(np.float64)
    if values.size < parameters.least_background:
        return None
    looks = float(np.clip(values.mean() ** 2 / values.var(), 0.8, 200.0))
    model = clutter.fit(values, looks=looks, quantile=parameters.quantile, rate=parameters.rate)
    factor = clutter.factor(parameters.mean_rate, model)
    return _Coarse(whole & (means > factor), half)


def _background(power: Mapping[str, Singles], where: _Water, parameters: ShipParameters) -> tuple[Booleans, Booleans]:
    """Water that may be background, and what of it is not bright."""
    usable = where.valid & where.open & (where.distance > 1) & ~where.patches
    background = usable.copy()
    if usable.any():
        for band in power.values():
            background &= ~_near(usable & (band > parameters.bright * float(np.median(band[usable]))), 1.0)
    return usable, background


def _ratio(
    power: Mapping[str, Singles], background: Booleans, wanted: Booleans, pixel: float, parameters: ShipParameters
) -> Singles:
    """Power over the mean of the background around, mean of the polarizations."""
    guard = max(round(parameters.guard / pixel), parameters.least_halves[0])
    halves = np.array([max(round(half / pixel), parameters.least_halves[1]) for half in parameters.halves])
    ratios = [
        band / _cfar_kernels.ring_mean(
            np.nan_to_num(band), background, wanted, guard, halves.astype(np.int64), parameters.least_background
        )
        for band in power.values()
    ]  # fmt: skip
    return np.asarray(np.mean(ratios, axis=0, dtype=np.float32))


def static_targets(
    dates: Sequence[Mapping[str, Singles]],
    water: Booleans,
    *,
    pixel_size: tuple[float, float],
    parameters: ShipParameters,
) -> Booleans:
    """What stands out from the water on earlier dates: islets, rocks, piers, platforms.

    A ship that lay there on the only earlier date is taken for one of them; with two dates or more what lay there on
    fewer than half of them is not.

    Parameters
    ----------
    dates : sequence of Mapping
        Backscatter in linear units (y, x) by polarization of every earlier date, NaN without data.
    water : numpy.ndarray
        Water (y, x).
    pixel_size : tuple of float
        Height and width of a pixel [m].
    parameters : ShipParameters
        Choices.

    Returns
    -------
    numpy.ndarray
        Whether something is always there (y, x); not where no date has data.
    """
    seen_by_date = []
    for power in dates:
        seen = np.logical_and.reduce([np.isfinite(band) & (band > 0) for band in power.values()])
        where = _water(water, seen, Place(), pixel_size, parameters)
        _, background = _background(power, where, parameters)
        pixel = float(np.sqrt(pixel_size[0] * pixel_size[1]))
        contrast = _ratio(power, background, where.open & seen, pixel, parameters)
        seen_by_date.append(np.where(seen, contrast, np.float32(np.nan)))
    stack = np.stack(seen_by_date)
    known = np.isfinite(stack)
    bright = np.where(known, stack, np.float32(0.0)) > parameters.static_contrast
    static = (bright.sum(axis=0) * 2 > known.sum(axis=0)) & known.any(axis=0)
    # Speckle of single pixels is nothing that stands there.
    return np.asarray(static & (ndimage.uniform_filter(static.astype(np.float32), 3) > 1.5 / 9.0))


def _looks(contrast: Singles, water: Booleans, parameters: ShipParameters) -> float:
    """Equivalent number of looks in the more uniform windows."""
    edge = parameters.window
    values = np.where(water, np.nan_to_num(contrast), 0.0).astype(np.float64)
    share = ndimage.uniform_filter(water.astype(np.float64), edge, mode="constant")
    full = (share > 0.99)[edge // 2 :: edge, edge // 2 :: edge]
    if full.sum() < 8:
        kept = contrast[water & np.isfinite(contrast)]
        return float(np.clip(kept.mean() ** 2 / kept.var(), 0.8, 200.0))
    mean = ndimage.uniform_filter(values, edge)[edge // 2 :: edge, edge // 2 :: edge][full]
    square = ndimage.uniform_filter(values**2, edge)[edge // 2 :: edge, edge // 2 :: edge][full]
    found = mean**2 / np.maximum(square - mean**2, 1e-9)
    return float(np.clip(np.quantile(found, parameters.looks_quantile), 0.8, 200.0))


def _resolution(contrast: Singles, searched: Booleans, size: tuple[float, float]) -> float:
    """Resolution from the likeness of neighbors: independent pixels are as wide as they are apart [m]."""
    pixel = float(np.sqrt(size[0] * size[1]))
    values = np.where(searched, np.minimum(contrast, 4.0), np.nan)
    likeness = [_likeness(values, apart) for apart in (1, 2)]
    # What two pixels apart still have in common is the texture of the water, not the point spread of the radar.
    own = (likeness[0] - likeness[1]) / max(1.0 - likeness[1], 0.05)
    return pixel / (1.0 - float(np.clip(own, 0.0, 0.6)))


def _likeness(values: Singles, apart: int) -> float:
    """Correlation of pixels some pixels apart, 0 where there are too few."""
    found = []
    for axis in (0, 1):
        turned = values if axis == 0 else values.T
        one, other = turned[apart:], turned[:-apart]
        both = np.isfinite(one) & np.isfinite(other)
        if both.sum() > 100:
            found.append(float(np.corrcoef(one[both], other[both])[0, 1]))
    return float(np.mean(found)) if found else 0.0


def _objects(
    scene: _Scene, ambiguity: Ambiguity | None
) -> tuple[npt.NDArray[np.int32], dict[int, tuple[Doubles, _Box, bool]], dict[str, int]]:
    """Labels, ships among them (pixels, box, whether moored), and how many are none by reason."""
    parameters, contrast = scene.parameters, np.nan_to_num(scene.contrast)
    limits = {
        name: clutter.factor(rate, scene.model)
        for name, rate in (
            ("seed", parameters.rate), ("firm", parameters.firm_rate),
            ("grow", parameters.grow_rate), ("lone", parameters.lone_rate),
        )
    }  # fmt: skip
    bright = scene.water.grown & (contrast > limits["grow"])
    sharp = scene.water.searched & (contrast > limits["seed"])
    faint = _faint(sharp, scene)
    labels, count = ndimage.label(bright | faint, structure=_ALL_AROUND)
    seeds = np.zeros(count + 1, dtype=bool)
    seeds[labels[sharp | faint]] = True
    seeds[0] = False
    decks = _decks(labels, seeds, scene)
    rejected = dict.fromkeys(REASONS, 0)
    objects = {}
    fewest = max(int(np.ceil(parameters.firm_area / scene.pixel**2)), parameters.fewest_firm)
    # Nothing is sharper than the radar sees.
    least = 2 if scene.resolution > parameters.sharp * scene.pixel else 1
    places = ndimage.find_objects(labels)
    for number in np.flatnonzero(seeds):
        corner = np.array([part.start for part in places[number - 1]])
        pixels = np.argwhere(labels[places[number - 1]] == number) + corner
        values = contrast[pixels[:, 0], pixels[:, 1]]
        lone = values.max() > limits["lone"] and len(pixels) >= least
        wide = faint[pixels[:, 0], pixels[:, 1]].any() and (values > limits["grow"]).sum() >= fewest
        if (values > limits["firm"]).sum() < fewest and not lone and not wide:
            rejected["few_pixels"] += 1
            continue
        box = _box(_outline(pixels, values, limits["grow"], parameters), scene.size)
        reason = "bridge" if number in decks else _reason(pixels, box, scene, ambiguity)
        if reason:
            rejected[reason] += 1
        else:
            objects[int(number)] = (pixels.astype(np.float64), box, _is_moored(pixels, scene))
    return labels, objects, rejected


def _faint(sharp: Booleans, scene: _Scene) -> Booleans:
    """Pixels that only the mean over the size of a ship tells from water."""
    if scene.coarse is None:
        return np.zeros_like(sharp)
    clear = ndimage.minimum_filter(scene.water.searched, 2 * scene.coarse.half + 1)
    return np.asarray(scene.coarse.bright & clear & ~_near(sharp, 1.5 * scene.coarse.half + 1.0))


def _outline(
    pixels: npt.NDArray[np.intp], values: Singles, grow: float, parameters: ShipParameters
) -> npt.NDArray[np.intp]:
    """Pixels that are not mere glare of the brightest."""
    level = max(grow, 1.0 + parameters.outline_share * (float(values.max()) - 1.0))
    return pixels[values >= level]


def _box(pixels: npt.NDArray[np.intp], size: tuple[float, float]) -> _Box:
    """Box along the axis of largest extent."""
    places = pixels * np.array(size)
    middle = places.mean(axis=0)
    if len(pixels) > 1:
        _, axes = np.linalg.eigh(np.cov((places - middle).T))
        along = axes[:, -1]
    else:
        along = np.array([1.0, 0.0])
    across = np.array([-along[1], along[0]])
    spans = [(places - middle) @ axis for axis in (along, across)]
    center = middle + sum(
        axis * (span.max() + span.min()) / 2 for axis, span in zip((along, across), spans, strict=True)
    )
    pixel = float(np.sqrt(size[0] * size[1]))
    length, width = (float(span.max() - span.min()) + pixel for span in spans)
    return _Box(center / np.array(size), along, length, width)


def _decks(labels: npt.NDArray[np.int32], seeds: Booleans, scene: _Scene) -> set[int]:
    """Objects that reach from bank to bank, alone or linked across small gaps."""
    alone = labels * seeds[labels]
    decks = _across(alone, labels, seeds, scene)
    # Whole decks are taken out before pieces are linked, else a ship beside one would be linked to it.
    left = seeds.copy()
    left[list(decks)] = False
    reach = scene.parameters.link
    kept = left[labels]
    linked, _ = ndimage.label(ndimage.binary_dilation(kept, structure=_ALL_AROUND, iterations=reach), _ALL_AROUND)
    return decks | _across(linked * kept, labels, left, scene)


def _across(groups: npt.NDArray[np.int32], labels: npt.NDArray[np.int32], seeds: Booleans, scene: _Scene) -> set[int]:
    """Objects of the groups that reach from bank to bank."""
    decks: set[int] = set()
    for number, place in enumerate(ndimage.find_objects(groups), 1):
        if place is None:
            continue
        inside = groups[place] == number
        pixels = np.argwhere(inside) + np.array([part.start for part in place])
        box = _box(pixels, scene.size)
        if box.length >= scene.parameters.mast * box.width and _spans(box, scene):
            decks |= {int(label) for label in np.unique(labels[place][inside]) if seeds[label]}
    return decks


def _spans(box: _Box, scene: _Scene) -> bool:
    """Whether land lies beyond both ends and water on both sides."""
    size = np.array(scene.size)
    across = np.array([-box.along[1], box.along[0]])

    def dry(axis: Doubles, half: float) -> list[bool]:
        beyond = []
        for sign in (-1.0, 1.0):
            steps = half + np.arange(0.5, scene.parameters.beyond + scene.water.depth.max() + 1, 0.5) * scene.pixel
            places = box.center[:, None] + sign * axis[:, None] * steps / size[:, None]
            inside = (places > -0.5).all(axis=0) & (places < np.array(scene.water.open.shape)[:, None] - 0.5).all(
                axis=0
            )
            rows, columns = np.rint(places[:, inside]).astype(int)
            beyond.append(bool((~scene.water.open[rows, columns]).any()))
        return beyond

    return all(dry(box.along, box.length / 2)) and not any(dry(across, box.width / 2))


def _reason(pixels: npt.NDArray[np.intp], box: _Box, scene: _Scene, ambiguity: Ambiguity | None) -> str | None:
    """Why an object is no ship; None for a ship."""
    parameters = scene.parameters
    slack = 2 * scene.resolution
    if box.length > parameters.longest + slack or box.width > parameters.widest + slack:
        return "too_large"
    if scene.static is not None and scene.static[pixels[:, 0], pixels[:, 1]].mean() >= parameters.static_share:
        return "static"
    if _is_islet(pixels, box, scene):
        return "islet"
    if _joins_banks(pixels, scene):
        return "bridge"
    if ambiguity is not None and _is_ambiguity(pixels, box, scene, ambiguity):
        return "ambiguity"
    return None


def _is_islet(pixels: npt.NDArray[np.intp], box: _Box, scene: _Scene) -> bool:
    """Whether an object is a dry patch no brighter than land: stout, or bright only in a small part of it."""
    parameters = scene.parameters
    at = pixels[:, 0], pixels[:, 1]
    if scene.water.patches[at].mean() < parameters.islet_share:
        return False
    land = scene.brightness[~scene.water.open & scene.water.valid]
    own = float(scene.brightness[at].mean())
    dim = land.size > 0 and own < parameters.islet_ratio * np.median(land)
    stout = box.length < parameters.islet_slenderness * box.width
    # No ship of a size that counts is darker than most of the land.
    dark = land.size > 0 and own < np.quantile(land, parameters.islet_quantile)
    around = tuple(slice(max(axis.min() - parameters.link, 0), axis.max() + parameters.link + 1) for axis in at)
    rest = scene.water.patches[around].copy()
    rest[at[0] - around[0].start, at[1] - around[1].start] = False
    beside = scene.contrast[around][rest & np.isfinite(scene.contrast[around])]
    # Around a ship that the mask left out lies water; the rest of an islet is land.
    land_beside = beside.size >= parameters.islet_rest and np.median(beside) > parameters.islet_contrast
    broad = box.width > parameters.islet_width * box.length + 2.0 * scene.resolution
    return any((dim and stout, dark, broad, land_beside))


def _joins_banks(pixels: npt.NDArray[np.intp], scene: _Scene) -> bool:
    """Whether an object is about as bright all the way from bank to bank: a bridge as wide as the water is."""
    reach = int(scene.water.depth[pixels[:, 0], pixels[:, 1]].max()) + 2
    corner = np.maximum(pixels.min(axis=0) - reach, 0)
    around = tuple(slice(low, high) for low, high in zip(corner, pixels.max(axis=0) + reach + 1, strict=True))
    banks, count = ndimage.label(~scene.water.open[around] & scene.water.valid[around], structure=_ALL_AROUND)
    if count < 2:
        return False
    sizes = np.bincount(banks.ravel())
    sizes[0] = 0
    sides = np.argsort(sizes)[-2:]
    middle = tuple(np.rint(pixels.mean(axis=0) - corner).astype(int))
    away, nearest = zip(
        *(ndimage.distance_transform_edt(banks != side, return_indices=True) for side in sides), strict=True
    )
    line = (nearest[1] - nearest[0])[(slice(None), *middle)].astype(np.float64)
    # Land on the same side twice, as a bank and an islet before it, is no crossing.
    if np.hypot(*line) < scene.parameters.opposite * (away[0][middle] + away[1][middle]):
        return False
    flow = np.array([-line[1], line[0]]) / max(float(np.hypot(*line)), 1.0)
    along = np.tensordot(flow, np.indices(banks.shape) - np.array(middle)[:, None, None], axes=1)
    span = float(np.ptp((pixels - corner - np.array(middle)) @ flow))
    strip = scene.water.open[around] & (np.abs(along) <= max(span / 4, 1.0))
    share = away[0][strip] / (away[0][strip] + away[1][strip])
    steps = np.floor(share * max(round(float(np.hypot(*line))) - 1, 1)).astype(int)
    count_of = np.bincount(steps)
    profile = np.bincount(steps, weights=scene.brightness[around][strip])[count_of > 0] / count_of[count_of > 0]
    return bool(profile.min() >= scene.parameters.opposite_share * profile.mean())


def _is_ambiguity(pixels: npt.NDArray[np.intp], box: _Box, scene: _Scene, ambiguity: Ambiguity) -> bool:
    """Whether something much brighter lies where the source would."""
    parameters = scene.parameters
    own = float(scene.brightness[pixels[:, 0], pixels[:, 1]].max())
    azimuth = np.radians(ambiguity.azimuth)
    step = np.array([-np.cos(azimuth), np.sin(azimuth)]) * ambiguity.shift / np.array(scene.size)
    reach = np.ceil(parameters.ambiguity_tolerance / np.array(scene.size)).astype(int)
    for sign in (-1, 1):
        row, column = np.rint(box.center + sign * step).astype(int)
        window = scene.brightness[
            max(row - reach[0], 0) : max(row + reach[0] + 1, 0),
            max(column - reach[1], 0) : max(column + reach[1] + 1, 0),
        ]
        if window.size and float(window.max()) > parameters.ambiguity_ratio * own:
            return True
    return False


def _is_moored(pixels: npt.NDArray[np.intp], scene: _Scene) -> bool:
    at = pixels[:, 0], pixels[:, 1]
    if scene.berths is not None:
        reach = int(np.ceil(scene.parameters.berth_margin / scene.pixel))
        (top, left), (bottom, right) = np.maximum(pixels.min(axis=0) - reach, 0), pixels.max(axis=0) + reach + 1
        window = scene.berths[top:bottom, left:right]
        if window.any():
            return True
    # In narrow water every ship is near a bank, and nearness says nothing.
    return bool((scene.water.depth[at] >= 2).all() and (scene.water.distance[at] <= 2.5).any())


def _classes(
    labels: npt.NDArray[np.int32], objects: Mapping[int, object], where: _Water, seen: Booleans
) -> npt.NDArray[np.uint8]:
    classes = np.where(where.searched, SEARCHED, np.where(seen, OUTSIDE, NO_DATA)).astype(np.uint8)
    ship = np.zeros(int(labels.max()) + 1, dtype=bool)
    ship[list(objects)] = True
    classes[ship[labels]] = SHIP
    return classes


def _table(objects: Mapping[int, tuple[Doubles, _Box, bool]], scene: _Scene) -> Ships:
    rows = [_ship(pixels, box, scene, moored=moored) for pixels, box, moored in objects.values()]
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), 11).T
    return Ships(*columns[:8], *(column.astype(np.int64) for column in columns[8:]))


def _ship(pixels: Doubles, box: _Box, scene: _Scene, *, moored: bool) -> tuple[float, ...]:
    parameters = scene.parameters
    at = pixels[:, 0].astype(int), pixels[:, 1].astype(int)
    peak = float(scene.contrast[at].max())
    spread = parameters.blur[0] * scene.pixel + parameters.blur[1] * (scene.resolution - scene.pixel)
    blur = min(spread, parameters.blur[2] * scene.pixel)
    length = max(box.length - blur, scene.pixel)
    sigma = float(np.hypot(parameters.length_resolution * scene.resolution, parameters.length_share * length))
    chance = clutter.exceedance(peak, scene.model) * float(scene.water.searched.sum())
    heading = float(np.degrees(np.arctan2(box.along[1], -box.along[0])) % 180.0)
    return (
        float(box.center[0]), float(box.center[1]), length, sigma, max(box.width - blur, scene.pixel / 2), heading,
        10.0 * float(np.log10(peak)), 1.0 / (1.0 + chance), MOORED if moored else UNDER_WAY,
        _peaks(at, scene) if moored and box.length > parameters.row_length else 1, len(pixels),
    )  # fmt: skip


def _peaks(at: tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]], scene: _Scene) -> int:
    """Peaks two resolution cells apart or more."""
    reach = max(int(np.ceil(2 * scene.resolution / scene.pixel)), 1)
    top, left = (int(axis.min()) for axis in at)
    window = np.zeros((int(np.ptp(at[0])) + 1, int(np.ptp(at[1])) + 1))
    window[at[0] - top, at[1] - left] = scene.contrast[at]
    return int(((ndimage.maximum_filter(window, 2 * reach + 1) == window) & (window > 0)).sum())


def _unsearched(water: Booleans, where: _Water, seen: Booleans, place: Place) -> dict[str, int]:
    left = water & ~where.searched
    hidden = left & seen & ~where.valid
    bank = left & where.valid & (where.distance <= where.depth)
    return {
        "no_data": int((left & ~seen).sum()),
        "layover_or_shadow": int(hidden.sum()),
        "bank": int(bank.sum()),
        "bridge_or_too_narrow": int((left & where.valid & ~bank).sum()),
    }
