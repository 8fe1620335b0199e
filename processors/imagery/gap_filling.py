"""Fill cloudy and lost pixels from time, radar, terrain and external scenes, with a calibrated uncertainty.

Every date is filled on its own. Its missing pixels are grouped by what is known of them: the observed dates before and
after, the external scenes that see them, the bands that survived. For each group a regression (`regression`) learns
the departure from the linear interpolation in time on the pixels observed at that date, and nearby residuals correct
the prediction. The gap pattern itself, moved to another place of the scene, decides by hold-out whether the regression
or plain interpolation is used, and gives the one-sigma uncertainty as a function of the distance to the nearest
observed pixel. A date without enough observed pixels is interpolated only and flagged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import ndimage, spatial

from processors.arrays import BoolArray, FloatArray, IntArray
from processors.imagery import grid, qa, regression, temporal_interpolation

MASKED_CLASSES = (1, 2, 3)
"""Classes of the cloud mask that hide the ground: thin cloud, cloud, shadow."""


@dataclass(frozen=True)
class GapFillingParameters:
    """Choices of the gap filling.

    Parameters
    ----------
    relation : regression.RegressionParameters
        Size and stiffness of the regression.
    stiff_relation : regression.RegressionParameters
        The same for a stiffer one, which does better where the gap is unlike what is observed.
    neighbor_dates : int
        Dates used as features on either side of the gap [1].
    filter_size : int
        Side of the radar speckle filter [pixel].
    minimum_training : int
        Training pixels below which no regression is tried [1].
    minimum_group : int
        Missing pixels below which a group is merged with simpler ones [1].
    maximum_groups : int
        Groups of one date at most [1].
    holdout_shifts : int
        Positions to which the gap pattern is moved for the hold-out [1].
    holdout_pixels : int
        Hold-out pixels evaluated at most per position [1].
    neighbors : int
        Observed pixels whose residuals correct a prediction [1].
    correlation_length : float
        Distance over which residuals resemble each other [pixel].
    nugget : float
        Weight of the assumption of no residual [1].
    reach : float
        Distance to the nearest observed pixel beyond which a spatial prediction is flagged [pixel].
    range_margin : float
        Part of the trained feature range tolerated before a prediction is flagged [1].
    minimum_observed : float
        Observed part of a date below which it counts as insufficient [1].
    repeatability_sigma : float
        Relative calibration differences from date to date [1].
    calibration_sigma : float
        Relative uncertainty of the absolute scale [1]: part of the sigma of a single date; dates of a series are told
        against each other, and the scale that all of them share is stated as an attribute only.
    noise_sigma : float
        Noise of an observed reflectance where the image does not tell [1].
    """

    relation: regression.RegressionParameters = field(default_factory=regression.RegressionParameters)
    stiff_relation: regression.RegressionParameters = field(
        default_factory=lambda: regression.RegressionParameters(components=10, landmarks=0, linear_penalty=0.3)
    )
    neighbor_dates: int = 2
    filter_size: int = 5
    minimum_training: int = 200
    minimum_group: int = 40
    maximum_groups: int = 12
    holdout_shifts: int = 2
    holdout_pixels: int = 3000
    neighbors: int = 12
    correlation_length: float = 2.0
    nugget: float = 0.5
    reach: float = 20.0
    range_margin: float = 0.1
    minimum_observed: float = 0.02
    repeatability_sigma: float = 0.01
    calibration_sigma: float = 0.03
    noise_sigma: float = 0.002


class HoldOut(NamedTuple):
    """Outcome of the hold-out of one group."""

    date: int
    """Index of the date."""
    pixels: int
    """Missing pixels of the group [1]."""
    interpolation_rmse: float
    """Error of the interpolation in time, NaN where there is none [1]."""
    regression_rmse: float
    """Error of the regression [1]."""
    chosen: str
    """Method used for the group."""
    ndvi_interpolation_rmse: float = np.nan
    """Error of the vegetation index of the interpolation, NaN without red and nir [1]."""
    ndvi_regression_rmse: float = np.nan
    """The same of the regression [1]."""


class Filled(NamedTuple):
    """A filled stack and how well its methods did."""

    stack: xr.Dataset
    """`reflectance`, `reflectance_sigma`, `qa`, `source`, `observed`."""
    holdouts: tuple[HoldOut, ...]
    """Scores in the order of dates and groups."""
    offset: FloatArray
    """Days from the date to the nearest one at which the pixel was observed, NaN where there is none (time, y, x)."""


class _Series(NamedTuple):
    values: FloatArray
    """Reflectance (time, band, pixel), NaN where missing."""
    complete: BoolArray
    """All bands observed (time, pixel)."""
    wanted: BoolArray
    """Inside the footprint (time, pixel)."""
    days: FloatArray
    radar: FloatArray
    """Filtered backscatter (time, layer, pixel) [dB]; no layers where there is none."""
    terrain: FloatArray
    """Elevation and slope (layer, pixel)."""
    external: tuple[FloatArray, ...]
    """External reflectance (band, pixel) of each scene."""
    noise: FloatArray
    """Noise of an observed value (band) [1]."""
    misplacement: float
    """Co-registration error of a date against the others [pixel]."""
    vegetation: tuple[int, int] | None
    """Indices of red and nir."""
    shape: tuple[int, int]


class _Group(NamedTuple):
    date: int
    previous: int
    """Index of the nearest observed date before, -1 where there is none."""
    following: int
    """Index of the nearest observed date after, -1 where there is none."""
    external: tuple[int, ...]
    """Indices of the external scenes that see the pixels."""
    known: tuple[int, ...]
    """Indices of the bands that are observed."""
    pixels: IntArray


class _Estimate(NamedTuple):
    values: FloatArray
    """Prediction (pixel, band) [1]."""
    sigma: FloatArray
    """One-sigma uncertainty (pixel, band) [1]."""
    source: qa.Source
    extrapolated: BoolArray
    held_out: bool
    """Whether sigma is of differences to noisy observations."""


def fill(
    stack: xr.Dataset,
    mask: xr.DataArray,
    *,
    auxiliary: Sequence[xr.Dataset] = (),
    parameters: GapFillingParameters | None = None,
) -> Filled:
    """Fill the masked and missing pixels of a scene stack.

    Parameters
    ----------
    stack : xr.Dataset
        Scene stack; an optional boolean `footprint` (time, y, x) bounds where values are wanted, an optional `qa`
        carries bits that are kept.
    mask : xr.DataArray
        Classes of the cloud mask (time, y, x); thin cloud, cloud and shadow are replaced.
    auxiliary : Sequence[xr.Dataset]
        External scenes of one date each on the same grid.
    parameters : GapFillingParameters, optional
        Choices of the method.

    Returns
    -------
    Filled
        The stack with `reflectance`, `reflectance_sigma` [1], `qa`, `source` and `observed`, and the hold-out scores.
    """
    chosen = parameters or GapFillingParameters()
    series = _series(stack, mask, auxiliary, chosen)
    writer = _Writer(series, chosen)
    holdouts: list[HoldOut] = []
    for date in range(series.values.shape[0]):
        holdouts += _fill_date(series, date, writer, chosen)
    return Filled(writer.stack(stack, mask), tuple(holdouts), writer.offset.reshape(-1, *series.shape))


def _series(
    stack: xr.Dataset, mask: xr.DataArray, auxiliary: Sequence[xr.Dataset], parameters: GapFillingParameters
) -> _Series:
    ordered = stack["reflectance"].transpose("time", "band", "y", "x")
    dates, bands, rows, columns = ordered.shape
    values = ordered.values.astype(np.float64).reshape(dates, bands, -1)
    hidden = np.isin(mask.transpose("time", "y", "x").values, MASKED_CLASSES).reshape(dates, -1)
    values = np.where(hidden[:, None], np.nan, values)
    footprint = np.ones((dates, rows * columns), dtype=bool)
    if "footprint" in stack:
        footprint = stack["footprint"].transpose("time", "y", "x").values.reshape(dates, -1).astype(bool)
    times = stack["time"].values.astype("datetime64[s]").astype(np.int64)
    return _Series(
        values,
        np.asarray(np.isfinite(values).all(axis=1)),
        footprint,
        (times - times[0]) / 86_400.0,
        _radar_layers(stack, parameters.filter_size),
        _terrain_layers(stack),
        tuple(_external_layers(scene) for scene in auxiliary),
        _noise(values.reshape(ordered.shape), default=parameters.noise_sigma),
        float(stack.attrs.get("coregistration_rmse", 0.0)),
        _vegetation([str(name) for name in stack["band"].values]),
        (rows, columns),
    )


def _vegetation(bands: list[str]) -> tuple[int, int] | None:
    return (bands.index("red"), bands.index("nir")) if {"red", "nir"} <= set(bands) else None


_LAPLACIAN = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
_GAUSSIAN_MEDIAN = 0.6745
_NOISE_PIXELS = 400


def _noise(values: FloatArray, *, default: float) -> FloatArray:
    """Noise (band) of the quietest date, from the difference of two Laplacians (Immerkaer 1996), by the median."""
    found = np.full(values.shape[:2], np.nan)
    for place in np.ndindex(*found.shape):
        image = ndimage.convolve(values[place], _LAPLACIAN, mode="constant", cval=np.nan)
        known = np.abs(image[np.isfinite(image)])
        if known.size >= _NOISE_PIXELS:
            found[place] = np.median(known) / _GAUSSIAN_MEDIAN / 6.0
    least = np.where(np.isfinite(found), found, np.inf).min(axis=0)
    return np.where(np.isfinite(least), least, default)


def _radar_layers(stack: xr.Dataset, size: int) -> FloatArray:
    """Speckle-filtered backscatter and the ratio of the polarizations [dB]."""
    if "backscatter" not in stack:
        return np.empty((stack.sizes["time"], 0, stack.sizes["y"] * stack.sizes["x"]))
    power = 10.0 ** (stack["backscatter"].transpose("time", "polarization", "y", "x").values.astype(np.float64) / 10.0)
    valid = np.isfinite(power)
    box = (1, 1, size, size)
    total = ndimage.uniform_filter(np.where(valid, power, 0.0), box)
    weight = ndimage.uniform_filter(valid.astype(np.float64), box)
    mean = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0.01)
    decibel = 10.0 * np.log10(np.maximum(mean, 1e-6))
    layers = decibel if decibel.shape[1] < 2 else np.concatenate([decibel, decibel[:, :1] - decibel[:, 1:2]], axis=1)
    flat = layers.reshape(*layers.shape[:2], -1)
    usable = np.isfinite(flat).all(axis=(1, 2))
    return np.where(usable[:, None, None], flat, np.nan)


def _terrain_layers(stack: xr.Dataset) -> FloatArray:
    names = [name for name in ("elevation", "slope") if name in stack and bool(np.isfinite(stack[name]).all())]
    layers = [stack[name].transpose("y", "x").values.astype(np.float64).ravel() for name in names]
    return np.array(layers).reshape(len(layers), stack.sizes["y"] * stack.sizes["x"])


def _external_layers(scene: xr.Dataset) -> FloatArray:
    array = scene["reflectance"].isel(time=0).transpose("band", "y", "x").values.astype(np.float64)
    return array.reshape(array.shape[0], -1)


_LEAST_SHARE = 0.3


class _Writer:
    """Collects the filled values of all dates beside the observed ones."""

    def __init__(self, series: _Series, parameters: GapFillingParameters) -> None:
        self._series = series
        self._parameters = parameters
        self.values = series.values.copy()
        self._single = series.values.shape[0] == 1
        self._relative = parameters.calibration_sigma if self._single else parameters.repeatability_sigma
        self.sigma = self._radiometric(series.values)
        observed = np.where(np.isfinite(series.values), series.values, 0.0)
        self._lowest = np.minimum(observed.min(axis=(0, 2)), 0.0)  # negative only where observations are as well
        self.source = np.where(series.complete, qa.Source.OBSERVED, qa.Source.NONE).astype(np.uint8)
        self.bits = np.zeros(self.source.shape, dtype=np.uint16)
        self.offset = np.where(series.complete, 0.0, np.nan)

    def write(self, group: _Group, estimate: _Estimate) -> None:
        """Put an estimate where the bands of the group's pixels are missing."""
        date, pixels = group.date, group.pixels
        missing = ~np.isfinite(self._series.values[date][:, pixels])
        scale = self._relative * np.abs(estimate.values.T)
        spread = self._true(estimate.sigma.T) if estimate.held_out else estimate.sigma.T
        # Differences of dates hold those of their calibration already; the scale of a single date is in none.
        spread = np.hypot(spread, scale) if self._single else np.maximum(spread, scale)
        total = np.hypot(spread, self._misplaced(date)[:, pixels])
        values = np.maximum(estimate.values, self._lowest).T
        self.values[date][:, pixels] = np.where(missing, values, self.values[date][:, pixels])
        self.sigma[date][:, pixels] = np.where(missing, total, self.sigma[date][:, pixels])
        usable = np.isfinite(self.values[date][:, pixels]).all(axis=0)
        self.source[date, pixels] = np.where(usable, np.uint8(estimate.source), np.uint8(qa.Source.NONE))
        filled = np.where(usable, np.uint16(qa.QaBit.FILLED), np.uint16(0))
        beyond = np.where(usable & estimate.extrapolated, np.uint16(qa.QaBit.EXTRAPOLATED), np.uint16(0))
        self.bits[date, pixels] |= filled | beyond
        steps = [
            self._series.days[other] - self._series.days[date]
            for other in (group.previous, group.following)
            if other >= 0
        ]
        self.offset[date, pixels] = min(steps, key=abs) if steps else np.nan

    def _radiometric(self, values: FloatArray) -> FloatArray:
        """Uncertainty of an observed value, part of which every difference of dates holds (..., band, pixel)."""
        noise = self._series.noise[:, None]
        return np.asarray(np.hypot(noise, self._relative * np.abs(values)))

    def _true(self, sigma: FloatArray) -> FloatArray:
        """Uncertainty of the value itself (band, pixel), given that of its difference to a noisy observation."""
        variance = sigma**2 - self._series.noise[:, None] ** 2
        return np.sqrt(np.maximum(variance, (_LEAST_SHARE * sigma) ** 2))

    def _misplaced(self, date: int) -> FloatArray:
        """What the stated co-registration error changes: error in pixels times slope, over the nearest dates."""
        if self._series.misplacement <= 0:
            return np.zeros(self._series.values.shape[1:])
        shape = self._series.shape
        seen = np.flatnonzero(np.isfinite(self._series.values).any(axis=(1, 2)))
        if seen.size == 0:
            return np.zeros(self._series.values.shape[1:])
        nearest = seen[np.abs(self._series.days[seen] - self._series.days[date]).argmin()]
        image = self._series.values[nearest].reshape(-1, *shape)
        slopes = np.stack([np.gradient(image, axis=axis) for axis in (1, 2) if image.shape[axis] > 1])
        steep = np.sqrt(np.nanmean(slopes**2, axis=(0, 2, 3)))  # one figure a band: the slope under a cloud is unknown
        return np.broadcast_to((self._series.misplacement * steep)[:, None], self._series.values.shape[1:])

    def flag_insufficient(self, date: int) -> None:
        """Mark every pixel of a date that was hardly observed."""
        self.bits[date] |= np.where(self._series.wanted[date], np.uint16(qa.QaBit.INSUFFICIENT), np.uint16(0))

    def stack(self, stack: xr.Dataset, mask: xr.DataArray) -> xr.Dataset:
        """Labeled result on the grid of the input."""
        rows, columns = self._series.shape
        dates = self.values.shape[0]
        image, flags = (dates, -1, rows, columns), (dates, rows, columns)
        axes = ("time", "band", "y", "x")
        kept = [name for name in ("backscatter", "elevation", "slope") if name in stack]
        result = stack[kept].copy()
        attributes = {"units": "1", "long_name": "reflectance"}
        result["reflectance"] = (axes, self.values.astype(np.float32).reshape(image), attributes)
        sigma_attributes = {"units": "1", "long_name": "one-sigma uncertainty of the reflectance"}
        if not self._single:
            sigma_attributes["calibration_sigma"] = f"{self._parameters.calibration_sigma:g}"
            sigma_attributes["comment"] = "without calibration_sigma, the relative uncertainty of the scale dates share"
        result["reflectance_sigma"] = (axes, self.sigma.astype(np.float32).reshape(image), sigma_attributes)
        result["qa"] = (("time", "y", "x"), self._bits(stack, mask).reshape(flags), qa.qa_attributes())
        result["source"] = (("time", "y", "x"), self.source.reshape(flags), qa.source_attributes())
        observed = (self.source == qa.Source.OBSERVED).reshape(flags)
        result["observed"] = (("time", "y", "x"), observed, {"long_name": "all bands observed"})
        located = result.assign_coords(time=stack["time"], band=stack["band"])
        return grid.assign(located, grid.geobox_of(stack))

    def _bits(self, stack: xr.Dataset, mask: xr.DataArray) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]":
        classes = mask.transpose("time", "y", "x").values.reshape(self.bits.shape)
        bits = self.bits.copy()
        if "qa" in stack:
            bits |= stack["qa"].transpose("time", "y", "x").values.reshape(bits.shape).astype(np.uint16)
            bits &= ~np.uint16(qa.QaBit.NODATA)
        bits |= np.where(np.isin(classes, (1, 2)), np.uint16(qa.QaBit.CLOUD), np.uint16(0))
        bits |= np.where(classes == 3, np.uint16(qa.QaBit.SHADOW), np.uint16(0))
        bits |= np.where(np.isfinite(self.values).all(axis=1), np.uint16(0), np.uint16(qa.QaBit.NODATA))
        return bits


def _fill_date(series: _Series, date: int, writer: _Writer, parameters: GapFillingParameters) -> list[HoldOut]:
    wanted = series.wanted[date]
    observed = (series.complete[date] & wanted).sum() / max(int(wanted.sum()), 1)
    if observed < parameters.minimum_observed:
        writer.flag_insufficient(date)
    holdouts = []
    for group in _groups(series, date, parameters):
        candidate, holdout = (
            _regressed(series, group, parameters) if observed >= parameters.minimum_observed else (None, None)
        )
        estimate = candidate or _interpolated(series, group)
        if estimate is not None:
            writer.write(group, estimate)
        if holdout is not None:
            holdouts.append(holdout)
    return holdouts


def _groups(series: _Series, date: int, parameters: GapFillingParameters) -> Iterator[_Group]:
    """Missing pixels by what is known of them; rare combinations forget the surviving bands."""
    missing = np.flatnonzero(series.wanted[date] & ~series.complete[date])
    if missing.size == 0:
        return
    signature = _signature(series, date, missing)
    bands = series.values.shape[1]
    codes, inverse, counts = np.unique(signature, axis=1, return_inverse=True, return_counts=True)
    inverse = inverse.ravel()
    common = np.argsort(-counts, kind="stable")[: parameters.maximum_groups]
    rare = ~np.isin(np.arange(counts.size), common[counts[common] >= parameters.minimum_group])
    codes[2 : 2 + bands, rare] = 0
    merged, index = np.unique(codes, axis=1, return_inverse=True)
    membership = index.ravel()[inverse]
    for position in range(merged.shape[1]):
        code = merged[:, position]
        known = tuple(int(band) for band in np.flatnonzero(code[2 : 2 + bands]))
        external = tuple(int(scene) for scene in np.flatnonzero(code[2 + bands :]))
        members = missing[membership == position]
        yield _Group(date, int(code[0]), int(code[1]), external, known, members)


def _signature(series: _Series, date: int, pixels: IntArray) -> IntArray:
    others = series.complete[:, pixels].copy()
    others[date] = False
    before, after = temporal_interpolation.brackets(others, series.days, target=series.days[date])
    known = np.isfinite(series.values[date][:, pixels]).astype(np.int64)
    seen = [np.isfinite(layers[:, pixels]).all(axis=0).astype(np.int64) for layers in series.external]
    return np.vstack([before, after, known, *seen]).astype(np.int64)


def _interpolated(series: _Series, group: _Group) -> _Estimate | None:
    """Interpolation in time with the spread of a Brownian bridge; None where there is no other date."""
    if group.previous < 0 and group.following < 0:
        return None
    pixels = group.pixels
    others = series.complete[:, pixels].copy()
    others[group.date] = False
    sigma = temporal_interpolation.bridge_sigma(
        series.values[:, :, pixels],
        others,
        series.days,
        before=float(series.days[group.previous]) if group.previous >= 0 else None,
        after=float(series.days[group.following]) if group.following >= 0 else None,
        target=float(series.days[group.date]),
    )
    source, one_sided = _interpolation_source(group)
    beyond = np.full(pixels.size, one_sided)
    return _Estimate(_base(series, group, pixels), sigma.T, source, beyond, held_out=False)


def _interpolation_source(group: _Group) -> tuple[qa.Source, bool]:
    one_sided = group.previous < 0 or group.following < 0
    return (qa.Source.NEAREST_DATE if one_sided else qa.Source.TEMPORAL_INTERPOLATION), one_sided


def _context(series: _Series, group: _Group, count: int) -> IntArray:
    """Dates that the group's pixels may use: those up to the previous and from the following observed date."""
    seen = np.flatnonzero(series.complete.any(axis=1))
    early = seen[seen <= group.previous][-count:] if group.previous >= 0 else seen[:0]
    late = seen[seen >= group.following][:count] if group.following >= 0 else seen[:0]
    return np.concatenate([early, late])


def _base(series: _Series, group: _Group, pixels: IntArray) -> FloatArray:
    """Interpolation between the group's dates (pixel, band); zero where the group has none."""
    dates = _context(series, group, series.days.size)
    if dates.size == 0:
        return np.zeros((pixels.size, series.values.shape[1]))
    values, observed = series.values[dates][:, :, pixels], series.complete[dates][:, pixels]
    target = float(series.days[group.date])
    return temporal_interpolation.interpolate(values, observed, series.days[dates], target=target).T


def _blocks(series: _Series, group: _Group, pixels: IntArray, count: int) -> list[FloatArray]:
    """Feature blocks (layer, pixel): the series around the gap, radar, terrain, external scenes, surviving bands."""
    dates = _context(series, group, count)
    values, observed = series.values[dates][:, :, pixels], series.complete[dates][:, pixels]
    days = series.days[dates]
    optical = [temporal_interpolation.interpolate(values, observed, days, target=float(day)) for day in days]
    external = [series.external[scene][:, pixels] for scene in group.external]
    known = series.values[group.date][list(group.known)][:, pixels]
    return [
        *_joined(optical),
        *_joined(_radar_blocks(series, group, dates, pixels)),
        series.terrain[:, pixels],
        *external,
        known,
    ]


def _joined(blocks: list[FloatArray]) -> list[FloatArray]:
    return [np.concatenate(blocks)] if blocks else []


def _radar_blocks(series: _Series, group: _Group, dates: IntArray, pixels: IntArray) -> list[FloatArray]:
    if series.radar.shape[1] == 0:
        return []
    first, last = min([group.date, *dates]), max([group.date, *dates])
    usable = np.asarray(np.isfinite(series.radar).all(axis=(1, 2)))
    return [series.radar[date][:, pixels] for date in range(first, last + 1) if usable[date]]


def _features(series: _Series, group: _Group, pixels: IntArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Features (pixel, feature) and the weight of each: every block counts the same whatever its length."""
    blocks = [block for block in _blocks(series, group, pixels, count) if block.shape[0]]
    weights = [np.full(block.shape[0], block.shape[0] ** -0.5) for block in blocks]
    if not blocks:
        return np.empty((pixels.size, 0)), np.empty(0)
    return np.concatenate(blocks).T, np.concatenate(weights)


def _training(series: _Series, group: _Group, parameters: GapFillingParameters) -> BoolArray:
    """Pixels observed at the date that are known in the same way as the group's."""
    usable = series.complete[group.date] & series.wanted[group.date]
    for scene in group.external:
        usable &= np.isfinite(series.external[scene]).all(axis=0)
    ends = [date for date in (group.previous, group.following) if date >= 0]
    strict = usable & series.complete[ends].all(axis=0)
    if strict.sum() >= parameters.minimum_training or not ends:
        return np.asarray(strict)
    # Seen at one of the dates that become features: elsewhere there would be none.
    dates = _context(series, group, parameters.neighbor_dates)
    return np.asarray(usable & series.complete[dates].any(axis=0))


class _Prediction(NamedTuple):
    base: FloatArray
    """Interpolation in time, or zero (pixel, band) [1]."""
    candidates: FloatArray
    """Estimates of the stiff and the pliant regression with neighbors' residuals (candidate, pixel, band) [1]."""
    distance: FloatArray
    """Distance to the nearest training pixel [pixel]."""
    beyond: FloatArray
    """Excess over the trained range of the features (pixel) [1]."""


class _Predictor:
    """Regressions fitted on a set of training pixels, with the residuals of the nearest ones."""

    def __init__(self, series: _Series, group: _Group, training: BoolArray, parameters: GapFillingParameters) -> None:
        self._series, self._group, self._parameters = series, group, parameters
        self._members = np.flatnonzero(training)
        self._tree = spatial.cKDTree(self._position(self._members), balanced_tree=False, compact_nodes=False)
        sample = self._members[:: max(1, self._members.size // parameters.relation.training_samples)]
        features, weights = self._features(sample)
        departures = self._truth(sample) - _base(series, group, sample)
        self._models = [
            regression.fit(features, departures, column_weights=weights, parameters=choice)
            for choice in (parameters.stiff_relation, parameters.relation)
        ]
        truth = self._truth(sample)
        self._limits = np.quantile(truth, 0.002, axis=0) * 0.9, np.quantile(truth, 0.998, axis=0) * 1.1

    def predict(self, pixels: IntArray) -> _Prediction:
        """Candidate values at pixels of the group."""
        base, raw, features = self._raw(pixels)
        correction, distance = self._residual(pixels)
        beyond = regression.outside(self._models[0], features, margin=self._parameters.range_margin)
        return _Prediction(base, np.clip(raw, *self._limits) + correction, distance, beyond)

    def _raw(self, pixels: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        features, _ = self._features(pixels)
        base = _base(self._series, self._group, pixels)
        return base, np.stack([base + regression.predict(model, features) for model in self._models]), features

    def _residual(self, pixels: IntArray) -> tuple[FloatArray, FloatArray]:
        count = min(self._parameters.neighbors, self._members.size)
        distance, index = self._tree.query(self._position(pixels), k=np.arange(1, count + 1))
        used, inverse = np.unique(index, return_inverse=True)
        neighbors = self._members[used]
        residual = self._truth(neighbors) - np.clip(self._raw(neighbors)[1], *self._limits)
        weight = np.exp(-distance / self._parameters.correlation_length)
        total = np.einsum("pn,cpnb->cpb", weight, residual[:, inverse.reshape(index.shape)])
        return total / (weight.sum(axis=1) + self._parameters.nugget)[:, None], distance[:, 0]

    def _features(self, pixels: IntArray) -> tuple[FloatArray, FloatArray]:
        return _features(self._series, self._group, pixels, self._parameters.neighbor_dates)

    def _truth(self, pixels: IntArray) -> FloatArray:
        return np.asarray(self._series.values[self._group.date][:, pixels].T)

    def _position(self, pixels: IntArray) -> FloatArray:
        return np.column_stack(np.divmod(pixels, self._series.shape[1])).astype(np.float64)


class _Errors(NamedTuple):
    truth: FloatArray
    """Observed values of the hold-out pixels (pixel, band) [1]."""
    prediction: _Prediction
    """What they would have been filled with."""
    pixels: IntArray
    """The hold-out pixels."""
    trial: IntArray
    """Number of the position of the gap pattern (pixel)."""


def _regressed(
    series: _Series, group: _Group, parameters: GapFillingParameters
) -> tuple[_Estimate | None, HoldOut | None]:
    """Mixture of the regressions and the interpolation that the hold-out prefers; None where there is no hold-out."""
    parameters = _economical(parameters, group.pixels.size)
    training = _training(series, group, parameters)
    errors = _hold_out(series, group, training, parameters)
    if errors is None:
        return None, None
    wanted = [band for band in range(series.values.shape[1]) if band not in group.known]
    alone = group.previous < 0 and group.following < 0
    mixture = _mixture(errors, wanted, alone=alone)
    prediction = _Predictor(series, group, training, parameters).predict(group.pixels)
    estimate = _mixed(series, group, prediction, errors, mixture, parameters)
    interpolation = errors.prediction.base - errors.truth
    regressed = _blend(errors.prediction, mixture) - errors.truth
    scores = [float(np.sqrt(np.mean(kind[:, wanted] ** 2))) for kind in (interpolation, regressed)]
    name = estimate.source.name.lower()
    indices = _index_rmse(errors.truth, [errors.prediction.base, regressed + errors.truth], series.vegetation)
    blank = (np.nan, np.nan)
    before, after = blank if alone else (scores[0], indices[0]), (scores[1], indices[1])
    return estimate, HoldOut(group.date, group.pixels.size, before[0], after[0], name, before[1], after[1])


def _index_rmse(truth: FloatArray, estimates: list[FloatArray], bands: tuple[int, int] | None) -> list[float]:
    """Error of the vegetation index of each estimate (pixel, band)."""
    if bands is None:
        return [np.nan] * len(estimates)
    wanted = _normalized_difference(truth, bands)
    errors = [_normalized_difference(one, bands) - wanted for one in estimates]
    known = [error[np.isfinite(error)] for error in errors]
    return [float(np.sqrt(np.mean(error**2))) if error.size else np.nan for error in known]


def _normalized_difference(values: FloatArray, bands: tuple[int, int]) -> FloatArray:
    red, nir = (values[:, band] for band in bands)
    total = nir + red
    return np.asarray((nir - red) / np.where(np.abs(total) > 1e-3, total, np.nan))


def _blend(prediction: _Prediction, mixture: FloatArray) -> FloatArray:
    """Interpolation plus the weighted departures of the candidates from it (pixel, band)."""
    departures = prediction.candidates - prediction.base
    return np.asarray(prediction.base + np.einsum("c,cpb->pb", mixture, departures))


_AMOUNTS = (0.0, 0.5, 1.0)
_SHARES = (0.5, 0.75, 1.0)


def _mixture(errors: _Errors, bands: list[int], *, alone: bool) -> FloatArray:
    """Weights of the candidates with the smallest hold-out error; all of it theirs where nothing else is known.

    The mean over bands of the logarithm of the mean squared error decides, so that every band counts the same.
    """
    parts = [errors.prediction.base - errors.truth, *(errors.prediction.candidates - errors.prediction.base)]
    stacked = np.stack(parts)[..., bands]
    gram = np.einsum("ipb,jpb->bij", stacked, stacked)
    amounts = (1.0,) if alone else _AMOUNTS
    trials = [np.array([1.0, amount * (1 - pliant), amount * pliant]) for amount in amounts for pliant in _SHARES]
    costs = [np.log(np.maximum(np.einsum("i,bij,j->b", trial, gram, trial), 1e-20)).mean() for trial in trials]
    return trials[int(np.argmin(costs))][1:]


def _economical(parameters: GapFillingParameters, pixels: int) -> GapFillingParameters:
    """No more regression than the number of pixels to fill is worth."""
    full = parameters.relation
    relation = replace(
        full,
        landmarks=int(np.clip(pixels, min(80, full.landmarks), full.landmarks)),
        training_samples=int(np.clip(10 * pixels, min(1500, full.training_samples), full.training_samples)),
    )
    return replace(parameters, relation=relation, holdout_pixels=min(parameters.holdout_pixels, max(800, 5 * pixels)))


def _mixed(
    series: _Series,
    group: _Group,
    prediction: _Prediction,
    errors: _Errors,
    mixture: FloatArray,
    parameters: GapFillingParameters,
) -> _Estimate:
    values = _blend(prediction, mixture)
    sigma = _local_sigma(errors, prediction, mixture)
    if not mixture.any():
        source, one_sided = _interpolation_source(group)
        return _Estimate(values, sigma, source, np.full(group.pixels.size, one_sided), held_out=True)
    dates = group.previous >= 0 or group.following >= 0
    source = qa.Source.TEMPORAL_REGRESSION if dates or series.radar.shape[1] else qa.Source.SPATIAL_NEIGHBORS
    if group.external:
        source = qa.Source.EXTERNAL_REGRESSION
    blind = (source == qa.Source.SPATIAL_NEIGHBORS) & (prediction.distance > parameters.reach)
    return _Estimate(values, sigma, source, (prediction.beyond > 0) | blind, held_out=True)


def _local_sigma(errors: _Errors, prediction: _Prediction, mixture: FloatArray) -> FloatArray:
    """Uncertainty (pixel, band) from the hold-out errors of pixels about which the methods agree as well.

    A regression of the logarithm of the error size on the spread of the methods, the departure from the
    interpolation, the distance and the level of the value gives the relative size; errors normalized by the size
    learned at the other positions of the gap pattern give, by distance, the factor that makes it a one-sigma.
    """
    misses = _blend(errors.prediction, mixture) - errors.truth
    trials = np.unique(errors.trial)
    fold = errors.trial if trials.size > 1 else np.arange(errors.trial.size) * 2 // errors.trial.size
    sigma = np.empty(prediction.base.shape)
    for band in range(misses.shape[1]):
        known, wanted = (_signs(part, mixture, band) for part in (errors.prediction, prediction))
        size = np.log(np.maximum(np.abs(misses[:, band]), 1e-4))
        crossed = np.empty(size.shape)
        for part in np.unique(fold):
            crossed[fold == part] = _level(known[fold != part], size[fold != part], known[fold == part])
        factor = sigma_by_distance(
            (misses[:, band] / crossed)[:, None], errors.prediction.distance, at=prediction.distance
        )
        sigma[:, band] = _level(known, size, wanted) * factor[:, 0]
    # The hold-out keeps to the observed side: it sees less variety than a gap whose inside is far from it.
    remote = np.clip((prediction.distance - _DISTANCE_EDGES[1]) / _DISTANCE_EDGES[-1], 0.0, 1.0)
    return sigma * (1.0 + _REMOTE_EXCESS * remote)[:, None]


def _signs(prediction: _Prediction, mixture: FloatArray, band: int) -> FloatArray:
    """What tells how large the error of a band may be (pixel, sign)."""
    base, (stiff, pliant) = prediction.base[:, band], prediction.candidates[:, :, band]
    value = _blend(prediction, mixture)[:, band]
    everywhere = np.abs(prediction.candidates[1] - prediction.candidates[0]).mean(axis=1)
    return np.column_stack(
        [
            np.log(np.abs(pliant - stiff) + 0.003),
            np.log(everywhere + 0.003),
            np.log(np.abs((stiff + pliant) / 2 - base) + 0.003),
            np.log1p(prediction.distance),
            np.log(np.maximum(value, 0.0) + 0.02),
        ]
    )


def _level(signs: FloatArray, size: FloatArray, at: FloatArray) -> FloatArray:
    """Ridge regression of the logarithm of the error size."""
    center, scale = signs.mean(axis=0), signs.std(axis=0) + 1e-6
    design = (signs - center) / scale
    normal = design.T @ design + 0.02 * design.shape[0] * np.eye(design.shape[1])
    slope = np.linalg.solve(normal, design.T @ (size - size.mean()))
    position = np.clip((at - center) / scale, -3.0, 3.0)
    return np.asarray(np.exp(size.mean() + position @ slope))


_SHIFTS = ((1 / 2, 1 / 2), (1 / 3, 1 / 4), (0.0, 1 / 2), (1 / 2, 0.0), (1 / 4, 2 / 3))


def _hold_out(series: _Series, group: _Group, training: BoolArray, parameters: GapFillingParameters) -> _Errors | None:
    """Errors at observed pixels under the gap pattern moved elsewhere."""
    gap = series.wanted[group.date] & ~series.complete[group.date]
    own = np.zeros(gap.size, dtype=bool)
    own[group.pixels] = True
    trials = []
    for number, shift in enumerate(_SHIFTS):
        hidden = _thinned(training & _moved(gap, shift, series.shape), training, number % 2)
        held = hidden & _moved(own, shift, series.shape)
        trials.append((hidden if held.sum() < parameters.minimum_group else held, training & ~hidden))
    trials = [trial for trial in trials if _enough(trial, parameters)]
    trials.sort(key=lambda trial: -min(int(trial[0].sum()), int(trial[1].sum())))
    parts = [_errors(series, group, *trial, parameters) for trial in trials[: parameters.holdout_shifts]]
    return _joined_errors(parts) if parts else None


def _joined_errors(parts: list[tuple[FloatArray, _Prediction, IntArray]]) -> _Errors:
    truth, predictions, pixels = (list(field) for field in zip(*parts, strict=True))
    base, candidates, distance, beyond = (list(field) for field in zip(*predictions, strict=True))
    prediction = _Prediction(
        np.concatenate(base), np.concatenate(candidates, axis=1), np.concatenate(distance), np.concatenate(beyond)
    )
    trial = np.repeat(np.arange(len(parts)), [part.size for part in pixels])
    return _Errors(np.concatenate(truth), prediction, np.concatenate(pixels), trial)


def _enough(trial: tuple[BoolArray, BoolArray], parameters: GapFillingParameters) -> bool:
    return bool(trial[0].sum() >= 20 and trial[1].sum() >= parameters.minimum_training // 2)


def _thinned(hidden: BoolArray, training: BoolArray, half: int) -> BoolArray:
    """Only one half of a large pattern, so that what is left to train on resembles the real case."""
    if hidden.sum() <= 0.4 * training.sum():
        return hidden
    middle = np.median(np.flatnonzero(hidden))
    return np.asarray(hidden & ((np.arange(hidden.size) < middle) == (half == 0)))


def _moved(mask: BoolArray, shift: tuple[float, float], shape: tuple[int, int]) -> BoolArray:
    steps = tuple(int(part * size) for part, size in zip(shift, shape, strict=True))
    return np.roll(mask.reshape(shape), steps, axis=(0, 1)).ravel()


def _errors(
    series: _Series, group: _Group, held: BoolArray, training: BoolArray, parameters: GapFillingParameters
) -> tuple[FloatArray, _Prediction, IntArray]:
    pixels = np.flatnonzero(held)
    pixels = pixels[:: max(1, pixels.size // parameters.holdout_pixels)]
    truth = series.values[group.date][:, pixels].T
    return truth, _Predictor(series, group, training, parameters).predict(pixels), pixels


_DISTANCE_EDGES = (1.5, 3.0, 6.0, 12.0)
_REMOTE_EXCESS = 0.08


def sigma_by_distance(errors: FloatArray, distance: FloatArray, *, at: FloatArray) -> FloatArray:
    """One-sigma uncertainty from hold-out errors at about the same distance to observed pixels.

    Parameters
    ----------
    errors : FloatArray
        Hold-out errors (sample, band), any unit.
    distance : FloatArray
        Their distance to the nearest observed pixel [pixel].
    at : FloatArray
        Distances wanted [pixel].

    Returns
    -------
    FloatArray
        Uncertainty in the unit of the errors (len(at), band).
    """
    sample, wanted = np.digitize(distance, _DISTANCE_EDGES), np.digitize(at, _DISTANCE_EDGES)
    overall = robust_sigma(errors)
    table = np.array(
        [
            robust_sigma(errors[sample == zone]) if (sample == zone).sum() >= 50 else overall
            for zone in range(len(_DISTANCE_EDGES) + 1)
        ]
    )
    return table[wanted]


def robust_sigma(errors: FloatArray) -> FloatArray:
    """One-sigma level that serves both 68 % and 95 % coverage of heavy-tailed errors.

    Parameters
    ----------
    errors : FloatArray
        Errors (sample, band), any unit.

    Returns
    -------
    FloatArray
        Geometric mean of the 68.27 % quantile and half the 95.45 % quantile of the absolute errors (band).
    """
    inner, outer = np.quantile(np.abs(errors), (0.6827, 0.9545), axis=0)
    return np.asarray(np.sqrt(inner * outer / 2.0), dtype=np.float64)
