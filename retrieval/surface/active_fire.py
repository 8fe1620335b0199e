"""Active fires from brightness temperature near 4 and 11 um.

A pixel burns where it is hotter near 4 um than its surroundings by the measures of the contextual algorithms for VIIRS
375 m (Schroeder et al. 2014, Remote Sens. Environ. 143, 85-96) and MODIS 1 km (Giglio et al. 2003, Remote Sens.
Environ. 87, 273-282; Giglio, Schroeder and Justice 2016, Remote Sens. Environ. 178, 31-41), and where what it emits in
excess can be nothing but fire:

    F = dL4 - kappa max(dL11, 0) - R,   R = gain * min(d rho) * E4 cos(zenith) / pi.

dL is radiance above the median of the surroundings. Ground, roofs and panels that the sun heats rise in both bands in
the ratio kappa of Planck's law, whatever part of the pixel they fill; whatever mirrors or scatters the sun (glint,
metal, glass, cloud) is as bright in red and near infrared. A fire leaves most of its excess, and its significance is
judged against the spread of L4 - kappa L11 around it. A fire that falls between pixels is found in the sum of four.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from processors.arrays import BoolArray, ByteArray, FloatArray
from retrieval.surface import _active_fire_kernels, fire_power

NO_FIRE = 0
FIRE = 1
STATIC_SOURCE = 2
NO_DATA = 255

LOW, NOMINAL, HIGH = 1, 2, 3

CAUSES = MappingProxyType(
    {
        1: "fire_contextual",
        2: "fire_absolute",
        3: "fire_saturated",
        4: "fire_between_pixels",
        10: "glint",
        11: "reflection",
        12: "hot_surface",
        13: "too_few_background_pixels",
    }
)
"""What was decided about a conspicuous pixel."""

FIRST_REJECTION = 10
"""Causes from this one on are no fires."""
REACH = 3
"""Pixels around a fire whose excess may belong to it [pixel]."""

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ContextualTests:
    """Thresholds of a contextual algorithm.

    Parameters
    ----------
    day_candidate, night_candidate : tuple of float
        Least temperature near 4 um and least difference to 11 um of a candidate without reflectance by day [K].
    day_absolute, night_absolute : float
        Temperature near 4 um that needs no context [K].
    day_hot, night_hot : tuple of float
        Temperature and difference from which a pixel is kept out of every background [K].
    difference_spreads : tuple of float
        Mean absolute deviations the difference must exceed by day and by night [1].
    difference_margin : tuple of float
        Kelvins the difference must exceed by day and by night [K].
    warm_spreads : tuple of float
        Mean absolute deviations the temperature near 4 um must exceed by day and by night [1].
    red_weight : float
        How far excess in red alone counts as sunlight near 4 um: smoke does to a pixel of a kilometer what a roof does,
        and a fire that matters outshines smoke in a smaller one [1].
    cool_margin : float
        How far the temperature near 11 um may lie below the background by day [K].
    expected : bool
        Whether pixels by day are also held against what their own reflectance and temperature near 11 um let expect:
        in a pixel of a kilometer a fire raises the temperature by less than grounds of many kinds differ.
    least_power : float
        Radiative power a fire must have [MW].
    shared_power : float
        Radiative power that four pixels together must have [MW].
    """

    day_candidate: tuple[float, float]
    night_candidate: tuple[float, float]
    day_absolute: float
    night_absolute: float
    day_hot: tuple[float, float]
    night_hot: tuple[float, float]
    difference_spreads: tuple[float, float]
    difference_margin: tuple[float, float]
    warm_spreads: tuple[float, float]
    least_power: float
    shared_power: float
    red_weight: float
    cool_margin: float = 4.0
    expected: bool = False


VIIRS_TESTS = ContextualTests(
    day_candidate=(325.0, 25.0),
    night_candidate=(295.0, 10.0),
    day_absolute=366.0,
    night_absolute=320.0,
    day_hot=(335.0, 30.0),
    night_hot=(300.0, 10.0),
    difference_spreads=(2.0, 3.0),
    difference_margin=(10.0, 9.0),
    warm_spreads=(3.5, 3.0),
    least_power=0.5,
    shared_power=4.0,
    red_weight=1.0,
)
"""Tests for pixels of some 375 m."""
MODIS_TESTS = ContextualTests(
    day_candidate=(310.0, 10.0),
    night_candidate=(305.0, 10.0),
    day_absolute=360.0,
    night_absolute=320.0,
    day_hot=(325.0, 20.0),
    night_hot=(310.0, 10.0),
    difference_spreads=(3.5, 3.5),
    difference_margin=(6.0, 6.0),
    warm_spreads=(3.0, 3.0),
    least_power=2.0,
    shared_power=6.0,
    red_weight=0.0,
    expected=True,
)
"""Tests for pixels of some 1 km."""


@dataclass(frozen=True, kw_only=True)
class ActiveFireParameters:
    """Thresholds of the detection.

    Parameters
    ----------
    tests : ContextualTests or None
        Thresholds of the contextual tests; None takes those of the sensor.
    day_zenith : float
        Zenith angle of the sun below which it is day [degree].
    window_halves : tuple of int
        Half widths of the growing background window [pixel].
    least_share : float
        Share of usable pixels a window needs [1].
    least_count : int
        Number of usable pixels a window needs [1].
    gate_half : int
        Half width of the square whose mean tells which pixels are looked at [pixel].
    gate_step : float
        Kelvins above that mean from which a pixel is looked at [K].
    outlier_step : float
        Kelvins above that mean from which a pixel is kept out of every background [K].
    hot_limit : float
        Temperature of the hottest ground, roof or panel [K].
    reflection_gain : float
        Reflectance near 4 um of what is bright, as a multiple of that in red and near infrared [1].
    unseen_reflectance : float
        Excess of reflectance near 4 um assumed by day where no reflectance is measured [1].
    least_share_of_excess : float
        Share of the excess radiance a fire must explain [1].
    clear_share_of_excess : float
        Share from which neither glint nor water raises a doubt [1].
    significance : float
        Standard deviations of the background the fire radiance must exceed [1].
    shared_significance : float
        The same for the sum of four pixels [1].
    noise : float
        Least standard deviation of the background near 4 um [K].
    saturation_margin : float
        Kelvins below saturation from which a band is taken as saturated [K].
    folded_depth : float
        Kelvins below the background at which a temperature near 4 um over ground warm near 11 um is folded [K].
    folded_warmth : float
        Kelvins above the background near 11 um that folding needs [K].
    water_nir : float
        Near infrared reflectance below which a pixel without mask may be water [1].
    coast_reflectance : float
        Reflectance of water and shore without glint [1].
    line_share : float
        Share of the excess radiance such a pixel must have from fire [1].
    glint_angles : tuple of float
        Angles to the mirror direction: always doubted; doubted when bright; doubted beside water [degree].
    glint_reflectance : tuple of float
        Red and near infrared reflectance of a bright pixel [1].
    cloud_temperature : tuple of float
        Temperature near 11 um of cloud where no mask is given: any (winter nights in the mountains are clear and
        colder than the 265 K of the papers); bright; very bright [K].
    cloud_brightness : tuple of float
        Sum of red and near infrared reflectance of bright and of very bright cloud [1].
    dark_step : float
        Excess of red reflectance up to which a pixel cooler than its surroundings is shaded or high, not cloud [1].
    outshining_share : float
        Share of the excess near 4 um that sunlight, were the pixel cloud as bright as it is in red, must leave to one
        that is cooler and brighter than its surroundings [1].
    slope_limits : tuple of float
        Least and largest slope of the background's radiance near 4 um with that near 11 um, as multiples of that of
        Planck's law [1].
    line_significance : float
        Standard deviations above that line at which a pixel needs no other contextual test [1].
    line_power : float
        Power such a pixel needs, as a multiple of the least [1].
    expected_count : int
        Usable pixels needed to tell what a pixel lets expect [1].
    expected_outlier : float
        Standard deviations from which a pixel of the background is left out of that [1].
    expected_significance : float
        Standard deviations above expectation at which a pixel needs no other contextual test [1].
    usual_significance : float
        Standard deviations above expectation below which a pixel is as its looks let expect [1].
    usual_doubt : float
        Standard deviation with the doubt of the fit, as a multiple of that without, up to which that is known [1].
    expected_power : float
        Power such a pixel needs, as a multiple of the least [1].
    expected_warmth : float
        Standard deviations above expectation near 11 um beyond which warmth counts as that of the hottest surface [1].
    expected_veil : float
        Reflectance near 4 um of thin cloud beside a mask, as a share of that otherwise assumed of what is bright [1].
    expected_share : float
        Share of the excess over the background that such a pixel must have from fire, were all its warmth that of the
        hottest surface and all its red that of bare ground [1].
    warm_steps : tuple of float
        Kelvins above the background near 11 um between which a brighter pixel is taken from smoke to bare ground [K].
    usual_temperature : float
        Temperature of a fire for what it adds near 11 um [K].
    high_significance : float
        Standard deviations of a detection of high confidence [1].
    low_excess : float
        Kelvins above the background near 4 um below which confidence is low [K].
    """

    tests: ContextualTests | None = None
    day_zenith: float = 85.0
    window_halves: tuple[int, ...] = (5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    least_share: float = 0.25
    least_count: int = 10
    gate_half: int = 10
    gate_step: float = 3.0
    outlier_step: float = 10.0
    hot_limit: float = 360.0
    reflection_gain: float = 1.3
    unseen_reflectance: float = 0.1
    least_share_of_excess: float = 0.3
    clear_share_of_excess: float = 0.8
    significance: float = 3.0
    shared_significance: float = 5.0
    noise: float = 0.3
    saturation_margin: float = 0.6
    folded_depth: float = 10.0
    folded_warmth: float = 5.0
    water_nir: float = 0.1
    coast_reflectance: float = 0.05
    line_share: float = 0.4
    glint_angles: tuple[float, float, float] = (2.0, 8.0, 12.0)
    glint_reflectance: tuple[float, float] = (0.1, 0.2)
    cloud_temperature: tuple[float, float, float] = (255.0, 285.0, 295.0)
    cloud_brightness: tuple[float, float] = (0.7, 0.9)
    dark_step: float = 0.02
    outshining_share: float = 0.6
    slope_limits: tuple[float, float] = (0.5, 3.0)
    line_significance: float = 5.0
    line_power: float = 2.0
    expected_count: int = 60
    expected_outlier: float = 4.0
    expected_significance: float = 7.0
    usual_significance: float = 4.0
    usual_doubt: float = 1.5
    expected_power: float = 2.0
    expected_veil: float = 0.4
    expected_share: float = 0.2
    expected_warmth: float = 0.0
    warm_steps: tuple[float, float] = (3.0, 8.0)
    usual_temperature: float = 900.0
    high_significance: float = 10.0
    low_excess: float = 8.0


HALO = 34
"""Pixels around a block that its result depends on: windows, gate, sums of four and neighbors [pixel]."""


class ThermalScene(NamedTuple):
    """What is measured, all of one shape."""

    t4: Float32Array
    """Brightness temperature near 4 um (y, x) [K], NaN without data."""
    t11: Float32Array
    """Brightness temperature near 11 um (y, x) [K]."""
    sun_zenith: Float32Array
    """Zenith angle of the sun (y, x) [degree]."""
    power: Float32Array | None = None
    """Brightness temperature of a band near 4 um that saturates later (y, x) [K]."""
    red: Float32Array | None = None
    """Reflectance (y, x) [1]."""
    nir: Float32Array | None = None
    """Reflectance (y, x) [1]."""
    swir2: Float32Array | None = None
    """Reflectance near 2.2 um (y, x) [1]."""
    glint_angle: Float32Array | None = None
    """Angle between view and mirror direction of the sun (y, x) [degree]."""
    water: BoolArray | None = None
    """Where there is water (y, x)."""
    cloud: BoolArray | None = None
    """Where there is cloud (y, x)."""


class FireField(NamedTuple):
    """What a scene shows, (y, x) throughout."""

    classes: ByteArray
    """0 no fire, 1 fire, 255 no data or not to be judged [1]."""
    confidence: ByteArray
    """1 low, 2 nominal, 3 high, 0 where there is no fire [1]."""
    cause: ByteArray
    """Key of `CAUSES`, 0 where nothing is conspicuous [1]."""
    excess: Float32Array
    """Radiance near 4 um above the background, at fires and around them [W m-2 sr-1 um-1], NaN elsewhere."""
    excess_sigma: Float32Array
    """Its standard deviation [W m-2 sr-1 um-1]."""
    power_excess: Float32Array
    """The same in the band for power [W m-2 sr-1 um-1], NaN without that band."""
    power_sigma: Float32Array
    """Its standard deviation [W m-2 sr-1 um-1]."""
    saturated: BoolArray
    """Fires whose radiance near 4 um is only a lower limit."""


class _Context(NamedTuple):
    """Candidates, one a row, and what surrounds them."""

    points: npt.NDArray[np.int64]
    table: FloatArray
    day: BoolArray
    excess4: FloatArray
    warmed: FloatArray
    reflected: FloatArray
    fire: FloatArray
    sigma: FloatArray
    above: FloatArray
    surplus: FloatArray
    surplus_sigma: FloatArray
    surplus_spread: FloatArray
    unexpected: BoolArray


_LAYERS = ("t4", "t11", "difference", "l4", "l11", "fire", "power", "red", "nir", "swir2")
_L4, _L11, _POWER = _LAYERS.index("l4"), _LAYERS.index("l11"), _LAYERS.index("power")
_LINES = {"l4": 2 + 2 * len(_LAYERS), "power": 4 + 2 * len(_LAYERS)}


def glint_angle(*, sun_zenith: FloatArray, view_zenith: FloatArray, relative_azimuth: FloatArray) -> FloatArray:
    """Angle between the direction to the sensor and the mirror direction of the sun (Giglio et al. 2003, equation 10).

    Parameters
    ----------
    sun_zenith, view_zenith : FloatArray
        Zenith angles [degree].
    relative_azimuth : FloatArray
        Azimuth of the sun less azimuth of the sensor, both seen from the ground [degree].

    Returns
    -------
    FloatArray
        Angle [degree].
    """
    sun, view, apart = (np.radians(angle) for angle in (sun_zenith, view_zenith, relative_azimuth))
    cosine = np.cos(view) * np.cos(sun) - np.sin(view) * np.sin(sun) * np.cos(apart)
    angle: FloatArray = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return angle


def detect(
    scene: ThermalScene,
    *,
    sensor: fire_power.FireSensor,
    pixel_area: float,
    parameters: ActiveFireParameters | None = None,
) -> FireField:
    """Find the pixels that burn.

    Parameters
    ----------
    scene : ThermalScene
        Brightness temperatures [K] and what else is measured.
    sensor : FireSensor
        Bands of the sensor.
    pixel_area : float
        Ground area of a pixel [m2].
    parameters : ActiveFireParameters, optional
        Thresholds.

    Returns
    -------
    FireField
        Classes, confidence and excess radiance. A block padded with `HALO` pixels gives what the whole scene gives.

    Raises
    ------
    ValueError
        Where the layers differ in shape or the pixel has no area.
    """
    chosen = parameters or ActiveFireParameters()
    _check(scene, pixel_area)
    tests = chosen.tests or (MODIS_TESTS if sensor.kilometer else VIIRS_TESTS)
    coefficient = fire_power.power_coefficient(sensor.t4.wavelength)
    factor = fire_power.megawatts_per_radiance(pixel_area, coefficient=coefficient)
    detection = _Detection(scene, sensor, chosen, tests, factor)
    return detection.field()


def _check(scene: ThermalScene, pixel_area: float) -> None:
    shapes = {name: layer.shape for name, layer in scene._asdict().items() if layer is not None}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"layers of different shape: {shapes}")
    if not pixel_area > 0.0:
        raise ValueError(f"a pixel of {pixel_area} m2")


class _Detection:
    """One scene on its way from temperatures to fires."""

    def __init__(
        self,
        scene: ThermalScene,
        sensor: fire_power.FireSensor,
        parameters: ActiveFireParameters,
        tests: ContextualTests,
        factor: float,
    ) -> None:
        self.scene, self.sensor, self.parameters, self.tests, self.factor = scene, sensor, parameters, tests, factor
        self.day = np.asarray(scene.sun_zenith) < parameters.day_zenith
        self.t4, self.saturated = self._unsaturated()
        self.t11 = np.asarray(scene.t11, dtype=np.float32)
        self.known = np.isfinite(self.t4) & np.isfinite(self.t11) & np.isfinite(scene.sun_zenith)
        self.water = self._water()
        self.cloud = self._cloud()
        self.mean4, self.mean_difference, self.hot = self._gates()
        self._unfold()
        self.layers = self._stack()

    def _unsaturated(self) -> tuple[Float32Array, BoolArray]:
        """Temperature near 4 um, where it is missing from the other band, and where it is only a lower limit."""
        t4 = np.array(self.scene.t4, dtype=np.float32)
        limit = self.sensor.t4.saturation - self.parameters.saturation_margin
        saturated = t4 >= limit
        if self.scene.power is not None:
            lost = np.isnan(t4) & (self.scene.power > limit)
            t4[lost] = self.sensor.t4.saturation
            saturated |= lost
        return t4, saturated

    def _water(self) -> BoolArray:
        """Water as given, else by day what is darker in near infrared than in red, and dark."""
        if self.scene.water is not None:
            return self.scene.water
        if self.scene.red is None or self.scene.nir is None:
            return np.zeros(self.t4.shape, dtype=bool)
        dark: BoolArray = self.day & (self.scene.nir < self.scene.red) & (self.scene.nir < self.parameters.water_nir)
        return dark

    def _cloud(self) -> BoolArray:
        if self.scene.cloud is not None:
            return self.scene.cloud
        any_cloud, bright_cloud, brightest_cloud = self.parameters.cloud_temperature
        cloud: BoolArray = (self.t11 < any_cloud) & (self.t4 < brightest_cloud)
        if self.scene.red is not None and self.scene.nir is not None:
            brightness = self.scene.red + self.scene.nir
            bright, brightest = self.parameters.cloud_brightness
            cloud |= self.day & (brightness > bright) & (self.t11 < bright_cloud)
            cloud |= self.day & (brightness > brightest) & (self.t11 < brightest_cloud)
        return cloud

    def _gates(self) -> tuple[Float32Array, Float32Array, BoolArray]:
        """Means of the neighborhood, and pixels too hot to be anyone's background."""
        difference = self.t4 - self.t11
        warm = np.where(self.day, self.tests.day_hot[0], self.tests.night_hot[0])
        apart = np.where(self.day, self.tests.day_hot[1], self.tests.night_hot[1])
        hot = ((self.t4 > warm) & (difference > apart)) | self.saturated
        clear = self.known & ~hot & ~self.cloud
        mean4 = _active_fire_kernels.box_sums(_milli(self.t4, clear), clear, self.parameters.gate_half) / 1e3
        apart_mean = _active_fire_kernels.box_sums(_milli(difference, clear), clear, self.parameters.gate_half) / 1e3
        step = self.parameters.outlier_step
        with np.errstate(invalid="ignore"):
            hot |= (self.t4 - mean4 > step) & (difference - apart_mean > step)
        return mean4.astype(np.float32), apart_mean.astype(np.float32), hot

    def _unfold(self) -> None:
        """Take radiance so high that it came out low as saturated: cold near 4 um on a place warm near 11 um."""
        below, warmer = self.parameters.folded_depth, self.parameters.folded_warmth
        with np.errstate(invalid="ignore"):
            folded = (self.t4 - self.mean4 < -below) & (self.t11 - (self.mean4 - self.mean_difference) > warmer)
        self.t4[folded] = self.sensor.t4.saturation
        self.saturated |= folded
        self.hot |= folded

    def _stack(self) -> Float32Array:
        t4, t11 = self.t4, self.t11
        l4 = fire_power.radiance(t4.astype(np.float64), wavelength=self.sensor.t4.wavelength)
        l11 = fire_power.radiance(t11.astype(np.float64), wavelength=self.sensor.t11.wavelength)
        layers = np.full((len(_LAYERS), *t4.shape), np.nan, dtype=np.float32)
        layers[:5] = t4, t11, t4 - t11, l4, l11
        layers[5] = l4 - self._planck_ratio(np.array(300.0)) * l11
        if self.scene.power is not None and self.sensor.power is not None:
            warmth = self.scene.power.astype(np.float64)
            layers[6] = fire_power.radiance(warmth, wavelength=self.sensor.power.wavelength)
        for number, layer in enumerate((self.scene.red, self.scene.nir, self.scene.swir2), 7):
            if layer is not None:
                layers[number] = layer
        return layers

    def _planck_ratio(self, ground: FloatArray) -> FloatArray:
        """Radiance near 4 um per radiance near 11 um that the hottest surface adds to ground of a temperature."""
        limit = np.array(self.parameters.hot_limit)
        rise4, rise11 = (
            fire_power.radiance(limit, wavelength=band.wavelength)
            - fire_power.radiance(np.minimum(ground, limit - 20.0), wavelength=band.wavelength)
            for band in (self.sensor.t4, self.sensor.t11)
        )
        ratio: FloatArray = rise4 / rise11
        return ratio

    def field(self) -> FireField:
        """Fires of the scene."""
        context = self._context()
        cause = np.zeros(self.t4.shape, dtype=np.uint8)
        confidence = np.zeros(self.t4.shape, dtype=np.uint8)
        cause[tuple(context.points.T)] = self._decided(context)
        self._add_shared(context, cause)
        burning = (cause > 0) & (cause < FIRST_REJECTION)
        confidence[tuple(context.points.T)] = self._confidence(context, cause[tuple(context.points.T)])
        classes = np.where(self.known & ~self.cloud, NO_FIRE, NO_DATA).astype(np.uint8)
        classes[cause == 13] = NO_DATA
        classes[burning] = FIRE
        confidence[~burning] = 0
        return FireField(classes, confidence, cause, *self._excess(context, burning), self.saturated & burning)

    def _context(self) -> _Context:
        step = self.parameters.gate_step
        with np.errstate(invalid="ignore"):
            warmer, apart = self.t4 - self.mean4, self.t4 - self.t11 - self.mean_difference
            # On high or shaded ground a fire stands out in the difference before it does near 4 um.
            risen = (apart > step) & ((warmer > step) | ((warmer > 0.0) & (apart > 2.0 * step)))
        seen = self.known & (~self.cloud | self.saturated)
        points = np.argwhere(seen & (risen | self.saturated | (self.hot & ~np.isfinite(self.mean4))))
        usable = self.known & ~self.cloud & ~self.hot & ~self.water
        table = self._table(points, usable)
        at = tuple(points.T)
        layer = {name: self.layers[number][at].astype(np.float64) for number, name in enumerate(_LAYERS)}
        middle = {name: table[:, 2 + 2 * number] for number, name in enumerate(_LAYERS)}
        excess4, excess11 = layer["l4"] - middle["l4"], layer["l11"] - middle["l11"]
        reflected = self._reflected(layer, middle, at)
        warmed = self._planck_ratio(middle["t11"]) * excess11
        fire = excess4 - np.maximum(warmed, 0.0) - reflected
        above = self._above(table, at, "l4") / self._sigma(table, "l4")
        surplus, surplus_sigma, surplus_spread, unexplained = self._surplus(points, usable, layer, middle, at)
        with np.errstate(invalid="ignore"):
            unexpected = surplus > self.parameters.expected_significance * surplus_sigma
            unexpected &= unexplained * self.factor > self.parameters.expected_power * self.tests.least_power
            unexpected &= unexplained > self.parameters.line_share * surplus
            # Cloud is darker near 11 um without being much brighter near 4 um.
            unexpected &= excess4 > 0.0
            veiled = self._reflected(layer, middle, at, veil=self.parameters.expected_veil)
            unexpected &= excess4 - np.maximum(warmed, 0.0) - veiled > self.parameters.expected_share * excess4
        return _Context(
            points, table, self.day[at], excess4, warmed, reflected, fire, self._sigma(table, "fire"), above,
            surplus, surplus_sigma, surplus_spread, unexpected,
        )  # fmt: skip

    def _surplus(
        self,
        points: npt.NDArray[np.int64],
        usable: BoolArray,
        layer: Mapping[str, FloatArray],
        middle: Mapping[str, FloatArray],
        at: tuple[npt.NDArray[np.int64], ...],
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Radiance by day above what grounds of the same looks and temperature send, and what fire must explain of it.

        What is warmer near 11 um than its looks let expect counts as the hottest surface, what is brighter than its
        surroundings in all bands as a mirror. Between the two come the standard deviation with the doubt of the fit at
        this place, and that of the grounds around.
        """
        chosen, nothing = self.parameters, np.full(len(points), np.nan)
        measured = (self.scene.red, self.scene.nir, self.scene.swir2)
        looks = [number for number, one in enumerate(measured, 7) if one is not None]
        if not self.tests.expected or not looks:
            return nothing, nothing, nothing, nothing
        halves = np.asarray(chosen.window_halves, dtype=np.int64)
        (surplus, sigma, spread, slope), (warmth, _, usual, _) = (
            _active_fire_kernels.regressions(
                points,
                self.layers,
                usable,
                halves,
                chosen.expected_count,
                response,
                np.array(factors),
                chosen.expected_outlier,
            ).T
            for response, factors in ((_L4, [_L11, *looks]), (_L11, looks))
        )
        hottest = np.maximum(self._planck_ratio(middle["t11"]) - slope, 0.0)
        warmed = hottest * np.maximum(warmth - chosen.expected_warmth * usual, 0.0)
        ground = np.stack([middle["t4"], middle["t4"] + chosen.noise])
        noise = np.diff(fire_power.radiance(ground, wavelength=self.sensor.t4.wavelength), axis=0)[0]
        seen = np.where(self.day[at], surplus, np.nan)
        unexplained = seen - warmed - self._reflected(layer, middle, at, bare=False, veil=chosen.expected_veil)
        return seen, np.hypot(sigma, noise), np.hypot(spread, noise), unexplained

    def _table(self, points: npt.NDArray[np.int64], usable: BoolArray) -> FloatArray:
        """Background of every candidate: of dry ground, where there is too little of it of everything clear."""
        chosen = self.parameters
        halves = np.asarray(chosen.window_halves, dtype=np.int64)
        line = np.array([_L4, _POWER], dtype=np.int64), _L11, self._slope_limits()
        table: FloatArray = _active_fire_kernels.backgrounds(
            points, self.layers, usable, halves, chosen.least_share, chosen.least_count, *line
        )
        poor = table[:, 0] == 0.0
        if poor.any():
            wider = self.known & ~self.cloud & ~self.hot
            table[poor] = _active_fire_kernels.backgrounds(
                points[poor], self.layers, wider, halves, chosen.least_share, chosen.least_count, *line
            )
        return table

    def _slope_limits(self) -> FloatArray:
        """Least and largest slope of radiance near 4 um with that near 11 um, over ground warm here and cool there."""
        ground = np.array([299.5, 300.5])
        bands = (self.sensor.t4, self.sensor.power or self.sensor.t4)
        rise11 = float(np.diff(fire_power.radiance(ground, wavelength=self.sensor.t11.wavelength))[0])
        rises = [float(np.diff(fire_power.radiance(ground, wavelength=band.wavelength))[0]) for band in bands]
        return np.array([[rise / rise11 * limit for limit in self.parameters.slope_limits] for rise in rises])

    def _sigma(self, table: FloatArray, name: str) -> FloatArray:
        """Standard deviation of the background from its mean absolute deviation, and the noise."""
        spread = table[:, _LINES[name] + 1 if name in _LINES else 3 + 2 * _LAYERS.index(name)]
        band = self.sensor.t4 if name != "power" or self.sensor.power is None else self.sensor.power
        ground = table[:, 2 + 2 * _LAYERS.index("t4")]
        noise = fire_power.radiance(ground + self.parameters.noise, wavelength=band.wavelength)
        noise -= fire_power.radiance(ground, wavelength=band.wavelength)
        return np.hypot(spread * math.sqrt(math.pi / 2.0), noise)

    def _above(self, table: FloatArray, at: tuple[npt.NDArray[np.int64], ...] | BoolArray, name: str) -> FloatArray:
        """Radiance above what ground as warm near 11 um emits and reflects; what fire adds there is allowed for."""
        number, line = _LAYERS.index(name), _LINES[name]
        band = self.sensor.power if name == "power" and self.sensor.power is not None else self.sensor.t4
        usual = np.array(self.parameters.usual_temperature)
        own = fire_power.radiance(usual, wavelength=self.sensor.t11.wavelength) / fire_power.radiance(
            usual, wavelength=band.wavelength
        )
        slope = table[:, line]
        excess = self.layers[number][at] - table[:, 2 + 2 * number]
        warmth = self.layers[_L11][at] - table[:, 2 + 2 * _L11]
        above: FloatArray = (excess - slope * warmth) / (1.0 - slope * float(own))
        return above

    def _reflected(
        self,
        layer: Mapping[str, FloatArray],
        middle: Mapping[str, FloatArray],
        at: tuple[npt.NDArray[np.int64], ...],
        *,
        bare: bool = True,
        veil: float = 1.0,
    ) -> FloatArray:
        """Sunlight near 4 um that the pixel sends back beyond its background, with or without that of bare ground."""
        brighter = np.stack([layer[name] - middle[name] for name in ("red", "nir", "swir2")])
        measured = np.isfinite(brighter).any(axis=0)
        least = np.min(np.where(np.isfinite(brighter), brighter, np.inf), axis=0)
        # Bare ground is brighter in red though not in near infrared, and warm; smoke is brighter in red and not warm.
        cool, warm = self.parameters.warm_steps
        warmer = np.nan_to_num(np.clip((layer["t11"] - middle["t11"] - cool) / (warm - cool), 0.0, 1.0))
        weight = np.maximum(warmer, self.tests.red_weight) if bare else 0.0
        least += weight * np.maximum(np.nan_to_num(brighter[0]) - least, 0.0)
        # Thin cloud is bright in red and near 2.2 um, though no brighter in near infrared than the plants it hides;
        # smoke is dark near 2.2 um, and a fire that shines there shines by far more near 4 um.
        veiled = ndimage.binary_dilation(self.cloud, structure=np.ones((3, 3)), iterations=2)[at]
        with np.errstate(invalid="ignore"):
            veiled |= middle["t11"] - layer["t11"] > cool
        least = np.where(veiled, np.fmax(least, veil * np.minimum(brighter[0], brighter[2])), least)
        # On and beside water the pixel may be darker than the ground around it but for the glint.
        lit = np.fmin(layer["red"], layer["nir"]) - self.parameters.coast_reflectance
        least = np.where(self._beside_water(np.stack(at, axis=1)) & np.isfinite(lit), np.fmax(least, lit), least)
        share = np.where(
            measured, self.parameters.reflection_gain * np.maximum(least, 0.0), self.parameters.unseen_reflectance
        )
        return np.where(self.day[at], share * self._sunlight(at), 0.0)

    def _sunlight(self, at: tuple[npt.NDArray[np.int64], ...]) -> FloatArray:
        """Radiance near 4 um of a white plane under the sun [W m-2 sr-1 um-1]."""
        cosine = np.maximum(np.cos(np.radians(self.scene.sun_zenith[at].astype(np.float64))), 0.0)
        lit: FloatArray = fire_power.solar_irradiance(self.sensor.t4.wavelength) / math.pi * cosine
        return lit

    def _decided(self, context: _Context) -> ByteArray:
        """Cause of every candidate."""
        at = tuple(context.points.T)
        poor = ~(context.table[:, 0] > 0.0)
        contextual, absolute, saturated = self._conspicuous(context)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(context.excess4 > 0.0, context.fire / context.excess4, -1.0)
            strong = (context.fire > self.parameters.significance * context.sigma) & (
                context.fire * self.factor > self.tests.least_power
            )
            clear = (context.above > self.parameters.line_significance) & ~self.cloud[at] & ~self._blind(context)
            clear &= context.fire * self.factor > self.parameters.line_power * self.tests.least_power
            clear &= share > self.parameters.line_share
            clear &= self._uncloudy(context)
            # What grounds of the same looks send too is no fire, if there are such grounds.
            usual = context.surplus < self.parameters.usual_significance * context.surplus_sigma
            usual &= context.surplus_sigma < self.parameters.usual_doubt * context.surplus_spread
        unexpected = context.unexpected & self._uncloudy(context) & ~self.cloud[at]
        mirrored = context.reflected > (1.0 - self.parameters.least_share_of_excess) * context.excess4
        explained = ~(share >= self.parameters.least_share_of_excess) & ~saturated
        glint = self._glint(context, share)
        anything = contextual | absolute | saturated | clear | unexpected
        unjudged = poor & ~(absolute | saturated)
        cause = np.select(
            [
                unjudged & self.hot[at],
                unjudged | ~anything,
                glint,
                unexpected & ~(absolute | saturated),
                mirrored,
                explained & (context.reflected > 0.5 * (context.excess4 - context.fire)),
                (explained & ~poor) | (usual & ~(absolute | saturated)),
                saturated,
                absolute & (strong | poor),
                (contextual & strong) | clear,
            ],
            [13, 0, 10, 1, 11, 11, 12, 3, 2, 1],
            default=0,
        )
        return cause.astype(np.uint8)

    def _conspicuous(self, context: _Context) -> tuple[BoolArray, BoolArray, BoolArray]:
        """Candidates by the contextual tests, by absolute temperature, and by saturation."""
        at = tuple(context.points.T)
        t4, day = self.t4[at], context.day
        column = {name: context.table[:, 2 + 2 * number] for number, name in enumerate(_LAYERS)}
        spread = {name: context.table[:, 3 + 2 * number] for number, name in enumerate(_LAYERS)}
        tests = self.tests

        def by(pair: tuple[float, float]) -> FloatArray:
            return np.where(day, pair[0], pair[1])

        difference = t4 - self.t11[at]
        with np.errstate(invalid="ignore"):
            contextual = difference > column["difference"] + np.maximum(
                by(tests.difference_spreads) * spread["difference"], by(tests.difference_margin)
            )
            contextual &= t4 > column["t4"] + by(tests.warm_spreads) * spread["t4"]
            contextual &= self._uncloudy(context)
            contextual &= ~self._blind(context) | (
                (t4 > tests.day_candidate[0]) & (difference > tests.day_candidate[1])
            )
        absolute = t4 > np.where(day, tests.day_absolute, tests.night_absolute)
        return contextual & ~self.cloud[at], absolute & ~self.cloud[at], self.saturated[at]

    def _uncloudy(self, context: _Context) -> BoolArray:
        """Candidates that are no edge of a cloud by day: about as warm near 11 um as the ground, or as dark in red.

        Cloud sends back less of the sun near 4 um than in red: what rises by far more is none either.
        """
        at = tuple(context.points.T)
        red = _LAYERS.index("red")
        with np.errstate(invalid="ignore"):
            warm = self.t11[at] > context.table[:, 4] + context.table[:, 5] - self.tests.cool_margin
            brighter = self.layers[red][at] - context.table[:, 2 + 2 * red]
            dark = brighter < self.parameters.dark_step
            lit = self.parameters.reflection_gain * brighter * self._sunlight(at)
            outshines = lit < (1.0 - self.parameters.outshining_share) * context.excess4
        uncloudy: BoolArray = ~context.day | warm | dark | outshines
        return uncloudy

    def _blind(self, context: _Context) -> BoolArray:
        """Candidates by day of which no reflectance is measured."""
        measured = np.isfinite(self.layers[7:][(slice(None), *tuple(context.points.T))]).any(axis=0)
        blind: BoolArray = context.day & ~measured
        return blind

    def _glint(self, context: _Context, share: FloatArray) -> BoolArray:
        """Candidates near the mirror direction of the sun whose excess the sun may explain."""
        if self.scene.glint_angle is None:
            return np.zeros(len(context.points), dtype=bool)
        at = tuple(context.points.T)
        angle = self.scene.glint_angle[at]
        red, nir = self.layers[7][at], self.layers[8][at]
        certain, bright, coastal = self.parameters.glint_angles
        bright_red, bright_nir = self.parameters.glint_reflectance
        unseen = ~np.isfinite(red) & ~np.isfinite(nir)
        doubt = angle < certain
        doubt |= (angle < bright) & (unseen | ((red > bright_red) & (nir > bright_nir)))
        doubt |= (angle < coastal) & self._beside_water(context.points)
        # Where red and near infrared show no sunlight beyond the surroundings there is no glint, whatever the angle.
        lit = context.reflected > (1.0 - self.parameters.clear_share_of_excess) * context.excess4
        weak = ~(share >= self.parameters.clear_share_of_excess)
        glint: BoolArray = doubt & context.day & (unseen | (weak & lit))
        return glint

    def _beside_water(self, points: npt.NDArray[np.int64]) -> BoolArray:
        wet = np.zeros(len(points), dtype=bool)
        rows, columns = self.water.shape
        for row in (-1, 0, 1):
            for column in (-1, 0, 1):
                wet |= self.water[
                    np.clip(points[:, 0] + row, 0, rows - 1), np.clip(points[:, 1] + column, 0, columns - 1)
                ]
        return wet

    def _add_shared(self, context: _Context, cause: ByteArray) -> None:
        """Fires between pixels: the brightest of four that are conspicuous together."""
        at = tuple(context.points.T)
        beside = ndimage.binary_dilation((cause > 0) & (cause < FIRST_REJECTION), structure=np.ones((3, 3)))
        open_to = (cause[at] == 0) & ~self.cloud[at] & ~self.water[at] & ~beside[at] & np.isfinite(context.fire)
        parts = (context.excess4, context.reflected, context.warmed, context.sigma**2)
        # Noise near 11 um would weigh on each of the four if each were cut off at zero for itself.
        excess, reflected, warmed, variance = (
            _sum_of_four(self._placed(context, np.where(open_to, part, 0.0))) for part in parts
        )
        four = excess - reflected - np.maximum(warmed, 0.0)
        together = (four * self.factor > self.tests.shared_power) & (
            four > self.parameters.shared_significance * np.sqrt(variance)
        )
        together &= four > self.parameters.least_share_of_excess * excess
        together &= self._surplus_of_four(context, open_to)
        strength = self._placed(context, np.where(open_to, context.excess4, -np.inf))
        for row, column in np.argwhere(together):
            block = strength[row : row + 2, column : column + 2]
            brightest = np.unravel_index(int(np.argmax(block)), block.shape)
            cause[row + brightest[0], column + brightest[1]] = 4

    def _surplus_of_four(self, context: _Context, open_to: BoolArray) -> BoolArray:
        """Whether four pixels are brighter together than their looks let expect; True where that is not known."""
        judged = open_to & np.isfinite(context.surplus)
        parts = (context.surplus, context.surplus_sigma**2, np.ones(len(judged)))
        surplus, variance, number = (_sum_of_four(self._placed(context, np.where(judged, part, 0.0))) for part in parts)
        power = surplus * self.factor > self.tests.shared_power
        significant = surplus > self.parameters.shared_significance * np.sqrt(variance)
        return np.asarray((power & significant) | (number == 0.0))

    def _placed(self, context: _Context, values: FloatArray) -> FloatArray:
        """Values of the candidates as a layer, zero elsewhere."""
        layer = np.zeros(self.t4.shape, dtype=np.float64)
        layer[tuple(context.points.T)] = values
        return layer

    def _confidence(self, context: _Context, cause: ByteArray) -> ByteArray:
        at = tuple(context.points.T)
        with np.errstate(invalid="ignore", divide="ignore"):
            strength = context.fire / context.sigma
            share = context.fire / context.excess4
            risen = self.t4[at] - context.table[:, 2]
        high = (strength > self.parameters.high_significance) & (share > self.parameters.clear_share_of_excess)
        high &= (cause == 2) | (cause == 3) | (context.fire * self.factor > 10 * self.tests.least_power)
        low = (cause == 4) | (risen < self.parameters.low_excess) | self.water[at] | self.cloud[at]
        low |= ~(context.table[:, 0] > 0.0)
        result = np.select([cause == 3, low, high], [HIGH, LOW, HIGH], default=NOMINAL)
        return result.astype(np.uint8)

    def _excess(
        self, context: _Context, burning: BoolArray
    ) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
        """Radiance above the background of the nearest fire, and its standard deviation, in both bands."""
        own = burning[tuple(context.points.T)]
        points, table = context.points[own], context.table[own]
        owner = _active_fire_kernels.surroundings(points, burning, REACH)
        near = (owner >= 0) & self.known & ~self.cloud
        near |= burning
        owners = owner[near]
        found = []
        alone = ~(table[owners, 0] > 0.0)
        for name in ("l4", "power"):
            excess, sigma = (np.full(self.t4.shape, np.nan, dtype=np.float32) for _ in range(2))
            above = self._above(table[owners], near, name)
            # The line of dry ground says nothing of water, which is cool by day without being dark near 4 um.
            number = _LAYERS.index(name)
            plain = self.layers[number][near] - table[owners, 2 + 2 * number]
            ground = self._own_ground(near, name)
            usual = np.where((self.water & ~burning)[near], np.fmin(above, plain), above)
            excess[near] = np.where(alone, self.layers[number][near] - ground, usual)
            sigma[near] = np.where(alone, ground, self._sigma(table, name)[owners])
            found += [excess, sigma]
        return found[0], found[1], found[2], found[3]

    def _own_ground(self, near: BoolArray, name: str) -> FloatArray:
        """Radiance of ground as warm as the pixel is near 11 um: for fires of whose surroundings nothing is seen."""
        band = self.sensor.power if name == "power" and self.sensor.power is not None else self.sensor.t4
        emitted = fire_power.radiance(self.t11[near].astype(np.float64), wavelength=band.wavelength)
        lit = np.where(self.day[near], self.parameters.unseen_reflectance * self._sunlight(np.nonzero(near)), 0.0)
        ground: FloatArray = emitted + lit
        return ground


def _sum_of_four(layer: FloatArray) -> FloatArray:
    """Sum of every pixel with those to the right, below and between."""
    total: FloatArray = layer[:-1, :-1] + layer[1:, :-1] + layer[:-1, 1:] + layer[1:, 1:]
    return total


def _milli(temperature: Float32Array, known: BoolArray) -> npt.NDArray[np.int32]:
    """Temperatures in thousandths of a kelvin, whose sums are exact."""
    return np.where(known, np.rint(temperature * np.float32(1e3)), 0.0).astype(np.int32)
