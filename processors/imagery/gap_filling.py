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
    spread : regression.RegressionParameters
        The same for the size of the errors.
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
    calibration_sigma : float
        Relative calibration uncertainty [1].
    noise_sigma : float
        Noise of an observed reflectance [1].
    """

    relation: regression.RegressionParameters = field(default_factory=regression.RegressionParameters)
    spread: regression.RegressionParameters = field(
        default_factory=lambda: regression.RegressionParameters(
            components=8, landmarks=60, sharpness=1.0, radial_penalty=0.03
        )
    )
    neighbor_dates: int = 5
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


class Filled(NamedTuple):
    """A filled stack and how well its methods did."""

    stack: xr.Dataset
    """`reflectance`, `reflectance_sigma`, `qa`, `source`, `observed`."""
    holdouts: tuple[HoldOut, ...]
    """Scores in the order of dates and groups."""


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
    return Filled(writer.stack(stack, mask), tuple(holdouts))


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
        (rows, columns),
    )


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


class _Writer:
    """Collects the filled values of all dates beside the observed ones."""

    def __init__(self, series: _Series, parameters: GapFillingParameters) -> None:
        self._series = series
        self._parameters = parameters
        self.values = series.values.copy()
        noise, calibration = parameters.noise_sigma, parameters.calibration_sigma
        self.sigma = np.hypot(noise, calibration * np.abs(series.values))
        self.source = np.where(series.complete, qa.Source.OBSERVED, qa.Source.NONE).astype(np.uint8)
        self.bits = np.zeros(self.source.shape, dtype=np.uint16)

    def write(self, group: _Group, estimate: _Estimate) -> None:
        """Put an estimate where the bands of the group's pixels are missing."""
        date, pixels = group.date, group.pixels
        missing = ~np.isfinite(self._series.values[date][:, pixels])
        total = np.hypot(estimate.sigma, self._parameters.calibration_sigma * np.abs(estimate.values)).T
        self.values[date][:, pixels] = np.where(missing, estimate.values.T, self.values[date][:, pixels])
        self.sigma[date][:, pixels] = np.where(missing, total, self.sigma[date][:, pixels])
        usable = np.isfinite(self.values[date][:, pixels]).all(axis=0)
        self.source[date, pixels] = np.where(usable, np.uint8(estimate.source), np.uint8(qa.Source.NONE))
        filled = np.where(usable, np.uint16(qa.QaBit.FILLED), np.uint16(0))
        beyond = np.where(usable & estimate.extrapolated, np.uint16(qa.QaBit.EXTRAPOLATED), np.uint16(0))
        self.bits[date, pixels] |= filled | beyond

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
        values = np.clip(self.values, 0.0, None)
        attributes = {"units": "1", "long_name": "reflectance"}
        result["reflectance"] = (axes, values.astype(np.float32).reshape(image), attributes)
        sigma_attributes = {"units": "1", "long_name": "one-sigma uncertainty of the reflectance"}
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
        estimate = candidate or _interpolated(series, group, parameters)
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


def _interpolated(series: _Series, group: _Group, _: GapFillingParameters) -> _Estimate | None:
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
    return _Estimate(_base(series, group, pixels), sigma.T, source, np.full(pixels.size, one_sided))


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


def _training(series: _Series, group: _Group, minimum: int) -> BoolArray:
    """Pixels observed at the date that are known in the same way as the group's."""
    usable = series.complete[group.date] & series.wanted[group.date]
    for scene in group.external:
        usable &= np.isfinite(series.external[scene]).all(axis=0)
    ends = [date for date in (group.previous, group.following) if date >= 0]
    strict = usable & series.complete[ends].all(axis=0)
    if strict.sum() >= minimum or not ends:
        return np.asarray(strict)
    dates = _context(series, group, series.days.size)
    return np.asarray(usable & series.complete[dates].any(axis=0))


class _Predictor:
    """A regression fitted on a set of training pixels, with the residuals of the nearest ones."""

    def __init__(self, series: _Series, group: _Group, training: BoolArray, parameters: GapFillingParameters) -> None:
        self._series, self._group, self._parameters = series, group, parameters
        self._members = np.flatnonzero(training)
        self._tree = spatial.cKDTree(self._position(self._members), balanced_tree=False, compact_nodes=False)
        sample = self._members[:: max(1, self._members.size // parameters.relation.training_samples)]
        features, weights = self._features(sample)
        departures = self._truth(sample) - _base(series, group, sample)
        self._model = regression.fit(features, departures, column_weights=weights, parameters=parameters.relation)
        truth = self._truth(sample)
        self._limits = np.quantile(truth, 0.002, axis=0) * 0.9, np.quantile(truth, 0.998, axis=0) * 1.1

    def predict(self, pixels: IntArray) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Values (pixel, band), distance to the nearest training pixel [pixel], whether out of range."""
        features, _ = self._features(pixels)
        raw = _base(self._series, self._group, pixels) + regression.predict(self._model, features)
        correction, distance = self._residual(pixels)
        beyond = regression.outside(self._model, features, margin=self._parameters.range_margin) > 0
        return np.clip(raw, *self._limits) + correction, distance, beyond

    def _residual(self, pixels: IntArray) -> tuple[FloatArray, FloatArray]:
        count = min(self._parameters.neighbors, self._members.size)
        distance, index = self._tree.query(self._position(pixels), k=np.arange(1, count + 1))
        used, inverse = np.unique(index, return_inverse=True)
        neighbors = self._members[used]
        features, _ = self._features(neighbors)
        estimate = _base(self._series, self._group, neighbors) + regression.predict(self._model, features)
        residual = self._truth(neighbors) - np.clip(estimate, *self._limits)
        weight = np.exp(-distance / self._parameters.correlation_length)
        total = np.einsum("pn,pnb->pb", weight, residual[inverse.reshape(index.shape)])
        return total / (weight.sum(axis=1) + self._parameters.nugget)[:, None], distance[:, 0]

    def _features(self, pixels: IntArray) -> tuple[FloatArray, FloatArray]:
        return _features(self._series, self._group, pixels, self._parameters.neighbor_dates)

    def _truth(self, pixels: IntArray) -> FloatArray:
        return np.asarray(self._series.values[self._group.date][:, pixels].T)

    def _position(self, pixels: IntArray) -> FloatArray:
        return np.column_stack(np.divmod(pixels, self._series.shape[1])).astype(np.float64)


class _Errors(NamedTuple):
    regression: FloatArray
    """Prediction minus observation (pixel, band) [1]."""
    interpolation: FloatArray
    """The same for the interpolation in time, NaN where there is none [1]."""
    distance: FloatArray
    """Distance to the nearest training pixel [pixel]."""
    pixels: IntArray
    """The hold-out pixels."""


def _regressed(
    series: _Series, group: _Group, parameters: GapFillingParameters
) -> tuple[_Estimate | None, HoldOut | None]:
    """Regression or interpolation, whichever the hold-out prefers; None where no hold-out is possible."""
    parameters = _economical(parameters, group.pixels.size)
    training = _training(series, group, parameters.minimum_training)
    errors = _hold_out(series, group, training, parameters)
    if errors is None:
        return None, None
    wanted = [band for band in range(series.values.shape[1]) if band not in group.known]
    squares = [np.mean(kind[:, wanted] ** 2, axis=0) for kind in (errors.interpolation, errors.regression)]
    interpolates = bool(np.mean(np.log(squares[1] / squares[0])) >= 0)
    estimate = (_by_interpolation if interpolates else _by_regression)(series, group, training, errors, parameters)
    rmse = [float(np.sqrt(square.mean())) for square in squares]
    holdout = HoldOut(group.date, group.pixels.size, rmse[0], rmse[1], estimate.source.name.lower())
    return estimate, holdout


def _economical(parameters: GapFillingParameters, pixels: int) -> GapFillingParameters:
    """No more regression than the number of pixels to fill is worth."""
    full = parameters.relation
    relation = replace(
        full,
        landmarks=int(np.clip(pixels, min(80, full.landmarks), full.landmarks)),
        training_samples=int(np.clip(10 * pixels, min(1500, full.training_samples), full.training_samples)),
    )
    return replace(parameters, relation=relation, holdout_pixels=min(parameters.holdout_pixels, max(800, 5 * pixels)))


def _by_regression(
    series: _Series, group: _Group, training: BoolArray, errors: _Errors, parameters: GapFillingParameters
) -> _Estimate:
    values, distance, beyond = _Predictor(series, group, training, parameters).predict(group.pixels)
    sigma = _local_sigma(series, group, errors, distance, parameters)
    dates = group.previous >= 0 or group.following >= 0
    source = qa.Source.TEMPORAL_REGRESSION if dates or series.radar.shape[1] else qa.Source.SPATIAL_NEIGHBORS
    if group.external:
        source = qa.Source.EXTERNAL_REGRESSION
    blind = (source == qa.Source.SPATIAL_NEIGHBORS) & (distance > parameters.reach)
    return _Estimate(values, sigma, source, beyond | blind)


_FOLDS = 20


def _local_sigma(
    series: _Series, group: _Group, errors: _Errors, distance: FloatArray, parameters: GapFillingParameters
) -> FloatArray:
    """Uncertainty from hold-out errors of pixels with like features at like distance.

    A regression of the logarithm of the error size gives the relative level; errors normalized by the level learned
    from the other half of the hold-out give, by distance, the factor that makes it a one-sigma.
    """
    count = parameters.neighbor_dates
    features, weights = _features(series, group, errors.pixels, count)
    sizes = np.log(np.maximum(np.abs(errors.regression), 1e-4))

    def level(learned: BoolArray, at: FloatArray) -> FloatArray:
        model = regression.fit(features[learned], sizes[learned], column_weights=weights, parameters=parameters.spread)
        return np.exp(regression.predict(model, at))

    fold = np.arange(errors.distance.size) * _FOLDS // errors.distance.size % 2 == 0
    crossed = np.where(fold[:, None], level(~fold, features), level(fold, features))
    wanted = level(np.ones_like(fold), _features(series, group, group.pixels, count)[0])
    return wanted * sigma_by_distance(errors.regression / crossed, errors.distance, at=distance)


def _by_interpolation(
    series: _Series, group: _Group, _training: BoolArray, errors: _Errors, _: GapFillingParameters
) -> _Estimate:
    values = _base(series, group, group.pixels)
    spread = robust_sigma(errors.interpolation)
    source, one_sided = _interpolation_source(group)
    sigma = np.broadcast_to(spread, values.shape)
    return _Estimate(values, sigma, source, np.full(group.pixels.size, one_sided))


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
    return _Errors(*(np.concatenate(field) for field in zip(*parts, strict=True))) if parts else None


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
) -> _Errors:
    pixels = np.flatnonzero(held)
    pixels = pixels[:: max(1, pixels.size // parameters.holdout_pixels)]
    truth = series.values[group.date][:, pixels].T
    values, distance, _ = _Predictor(series, group, training, parameters).predict(pixels)
    alone = group.previous < 0 and group.following < 0
    interpolated = np.full(truth.shape, np.nan) if alone else _base(series, group, pixels)
    return _Errors(values - truth, interpolated - truth, distance, pixels)


_DISTANCE_EDGES = (1.5, 3.0, 6.0, 12.0)


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
