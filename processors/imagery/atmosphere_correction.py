"""Surface reflectance from reflectance at the top of the atmosphere, over a Lambertian ground.

    rho_toa = Tg (rho_a + T rho_s / (1 - S rho_s)),   rho_s = y / (T + S y),   y = rho_toa / Tg - rho_a

(Vermote et al. 1997, equation 1), with Tg gas transmission, rho_a path reflectance, T transmittance down and up, direct
and diffuse, and S spherical albedo of the scattering. Their analytic forms:

* Rayleigh optical depth of Bodhaine et al. (1999, equation 30), proportional to the pressure at the elevation;
* aerosol of Henyey and Greenstein, its forward peak taken off by delta scaling (Joseph et al. 1976);
* path reflectance of single scattering by the exact phase function, plus the higher orders of Sobolev (1975) times 1.4,
  as his phase function of two terms has too little of the second order;
* transmittance of two streams and the spherical albedo that belongs to it (both as in 6S for molecules);
* absorption by aerosol as extinction, by ozone, water vapor and the mixed gases as exp(-a (m u)**n) (Rahman and Dedieu
  1994, SMAC), the mixed gases at sea level.

Held against Monte Carlo transport up to an aerosol optical depth of 0.5 and a sun zenith angle of 60 degree:
transmittance to 0.025, spherical albedo to 0.003, path reflectance to 8 % near nadir and 25 % toward the sun's opposite
at a view zenith angle of 40 degree, where second scattering by aerosol is forward. The uncertainty holds a share of the
path reflectance for that.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from processors.arrays import AnyFloat, BoolArray, FloatArray
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]

_HIGHER_ORDERS = 1.4


@dataclass(frozen=True)
class BandOptics:
    """Gases and wavelength of a band.

    Parameters
    ----------
    wavelength : float
        Center [um].
    ozone : float
        Absorption per air mass and centimeter of ozone at standard conditions [cm-1].
    water, water_exponent : float
        Coefficient and exponent of exp(-a (m u)**n), u in g cm-2 [1].
    other, other_exponent : float
        The same of carbon dioxide, methane and nitrous oxide, exp(-a m**n) [1].
    """

    wavelength: float
    ozone: float = 0.0
    water: float = 0.0
    water_exponent: float = 1.0
    other: float = 0.0
    other_exponent: float = 1.0


BANDS: Mapping[str, BandOptics] = {
    "blue": BandOptics(0.4924, ozone=0.0273),
    "green": BandOptics(0.5598, ozone=0.0987, water=0.000757, water_exponent=0.902),
    "red": BandOptics(0.6646, ozone=0.0500, water=0.003462, water_exponent=0.769),
    "nir": BandOptics(0.8328, water=0.028164, water_exponent=0.586),
    "swir1": BandOptics(1.6137, water=0.000631, water_exponent=0.950, other=0.0201, other_exponent=0.767),
    "swir2": BandOptics(2.2024, water=0.017563, water_exponent=0.659, other=0.0226, other_exponent=0.821),
}
"""Bands 2, 3, 4, 8, 11 and 12 of Sentinel-2A, and others of such width as those of our imager: coefficients of SMAC,
fitted to 6S; several mixed gases are one power law through their sum at air masses of 2 and 4."""

OLI_BANDS: Mapping[str, BandOptics] = {
    "blue": BandOptics(0.4826, ozone=0.0178),
    "green": BandOptics(0.5613, ozone=0.0970, water=0.001948, water_exponent=0.775),
    "red": BandOptics(0.6546, ozone=0.0611, water=0.004042, water_exponent=0.774),
    "nir": BandOptics(0.8646, water=0.000729, water_exponent=0.893),
    "swir1": BandOptics(1.6090, water=0.000673, water_exponent=0.940, other=0.0205, other_exponent=0.713),
    "swir2": BandOptics(2.2010, water=0.017753, water_exponent=0.651, other=0.0257, other_exponent=0.737),
}
"""Bands of Landsat 8 and 9: coefficients of LaSRC (Vermote et al. 2016), fitted to 6S. The near infrared is narrow and
leaves out the water vapor at 0.82 um, which takes 7 % of the wide bands."""


def optics_of(sensor: str) -> Mapping[str, BandOptics]:
    """Optical properties of the bands of a sensor.

    Parameters
    ----------
    sensor : str
        Sensor as scenes name it, such as "landsat-8 oli_tirs"; may be empty.

    Returns
    -------
    Mapping
        `OLI_BANDS` for OLI, `BANDS` for all others.
    """
    return OLI_BANDS if re.search(r"\boli", sensor.lower()) else BANDS


@dataclass(frozen=True)
class Atmosphere:
    """State of the atmosphere over a scene.

    Parameters
    ----------
    aerosol : float
        Optical depth of aerosol at 0.55 um, at the reference elevation [1].
    aerosol_sigma : float
        Standard uncertainty of that [1].
    angstrom : float
        Angstrom exponent [1].
    single_scattering_albedo : float
        Scattered part of the aerosol's extinction [1].
    asymmetry : float
        Mean cosine of its scattering angle [1].
    water_vapor : float
        Column of water vapor [g cm-2].
    ozone : float
        Column of ozone [cm].
    gas_uncertainty : float
        Relative standard uncertainty of the absorption by gases [1].
    path_uncertainty : float
        Relative standard uncertainty of the path reflectance by the model [1].
    reference_elevation : float
        Elevation at which the aerosol is stated [m].
    aerosol_scale_height : float
        Height over which aerosol falls by e [m].
    """

    aerosol: float = 0.15
    aerosol_sigma: float = 0.10
    angstrom: float = 1.3
    single_scattering_albedo: float = 0.93
    asymmetry: float = 0.66
    water_vapor: float = 2.5
    ozone: float = 0.30
    gas_uncertainty: float = 0.25
    path_uncertainty: float = 0.06
    reference_elevation: float = 0.0
    aerosol_scale_height: float = 2000.0


@dataclass(frozen=True)
class DarkTargetParameters:
    """Aerosol from dense dark vegetation, whose red and blue follow from the short-wave infrared.

    Parameters
    ----------
    minimum_ndvi : float
        Vegetation index at the top of the atmosphere from which vegetation is dense [1].
    infrared_limits : tuple of float
        Reflectance at 1.6 um between which it is dark: water is below, crops and soil are above [1].
    red_of_infrared : float
        Red over 1.6 um at the surface, our estimate for dark forest: Kaufman et al. (1997) give half of 2.1 um, about
        half of 1.6 um there. An error of 0.05 is one of 0.05 of optical depth [1].
    blue_of_red : float
        Blue over red at the surface: a quarter and half of 2.1 um (Kaufman et al. 1997) [1].
    minimum_pixels : int
        Pixels of dark vegetation that are needed [1].
    largest : float
        Largest optical depth considered [1].
    """

    minimum_ndvi: float = 0.55
    infrared_limits: tuple[float, float] = (0.05, 0.18)
    red_of_infrared: float = 0.25
    blue_of_red: float = 0.50
    minimum_pixels: int = 100
    largest: float = 2.0


class Geometry(NamedTuple):
    """Directions as seen from the ground, broadcast against the pixels.

    Attributes
    ----------
    sun_zenith, view_zenith : FloatArray
        Zenith angles [degree].
    relative_azimuth : FloatArray
        Azimuth of the sensor minus azimuth of the sun, 0 where the sensor stands before the sun [degree].
    """

    sun_zenith: AnyFloat
    view_zenith: AnyFloat
    relative_azimuth: AnyFloat


class Coefficients(NamedTuple):
    """What the atmosphere does to one band.

    Attributes
    ----------
    gas : FloatArray
        Transmission of the gases, down and up [1].
    path : FloatArray
        Reflectance of the atmosphere over black ground [1].
    transmittance : FloatArray
        Scattering transmittance down times up [1].
    spherical_albedo : FloatArray
        Reflectance of the atmosphere for diffuse light from below [1].
    """

    gas: FloatArray
    path: FloatArray
    transmittance: FloatArray
    spherical_albedo: FloatArray


class Corrected(NamedTuple):
    """Surface reflectance.

    Attributes
    ----------
    reflectance : Float32Array
        Reflectance (band, y, x) [1], NaN where unknown.
    sigma : Float32Array
        Standard uncertainty: input, aerosol and gases (band, y, x) [1].
    """

    reflectance: Float32Array
    sigma: Float32Array


class AerosolEstimate(NamedTuple):
    """Aerosol of a scene.

    Attributes
    ----------
    atmosphere : Atmosphere
        The state with the aerosol found, or the one given where none could be.
    pixels : int
        Pixels of dark vegetation used [1].
    method : str
        "dark vegetation", "darkest pixels" (bound by them) or "given".
    """

    atmosphere: Atmosphere
    pixels: int
    method: str


def rayleigh_optical_depth(wavelength: float, pressure: AnyFloat) -> FloatArray:
    """Optical depth of molecules (Bodhaine et al. 1999, equation 30, for 360 ppm of carbon dioxide).

    The equation is fitted to 0.25 to 0.85 um; at 2.2 um it is 4 % above Hansen and Travis (1974), of a depth of 0.0004.

    Parameters
    ----------
    wavelength : float
        Wavelength [um].
    pressure : AnyFloat
        Pressure at the ground [Pa].

    Returns
    -------
    FloatArray
        Optical depth [1].
    """
    square = wavelength**2
    above = 1.0455996 - 341.29061 / square - 0.90230850 * square
    below = 1.0 + 0.0027059889 / square - 85.968563 * square
    return np.asarray(0.0021520 * above / below * np.asarray(pressure, dtype=np.float64) / 101325.0)


def pressure_at(elevation: AnyFloat) -> FloatArray:
    """Pressure of the standard atmosphere (ICAO, troposphere).

    Parameters
    ----------
    elevation : AnyFloat
        Elevation above mean sea level [m].

    Returns
    -------
    FloatArray
        Pressure [Pa].
    """
    return np.asarray(101325.0 * (1.0 - 2.25577e-5 * np.asarray(elevation, dtype=np.float64)) ** 5.25588)


def coefficients(band: BandOptics, atmosphere: Atmosphere, geometry: Geometry, elevation: AnyFloat) -> Coefficients:
    """What the atmosphere does to one band.

    Parameters
    ----------
    band : BandOptics
        The band.
    atmosphere : Atmosphere
        State of the atmosphere.
    geometry : Geometry
        Directions of sun and sensor.
    elevation : AnyFloat
        Elevation of the ground above mean sea level, broadcast against the geometry [m].

    Returns
    -------
    Coefficients
        Coefficients in the shape of geometry and elevation.
    """
    sun, view = (np.cos(np.radians(np.asarray(angle, dtype=np.float64))) for angle in geometry[:2])
    height = np.asarray(elevation, dtype=np.float64)
    molecules = rayleigh_optical_depth(band.wavelength, pressure_at(height))
    thinning = np.exp(-(height - atmosphere.reference_elevation) / atmosphere.aerosol_scale_height)
    aerosol = atmosphere.aerosol * (band.wavelength / 0.55) ** -atmosphere.angstrom * thinning
    scattering = atmosphere.single_scattering_albedo * aerosol
    absorption = aerosol - scattering
    forward = atmosphere.asymmetry**2
    depth = molecules + (1.0 - forward) * scattering
    asymmetry = scattering * (atmosphere.asymmetry - forward) / depth
    cosine = -sun * view - np.sqrt((1.0 - sun**2) * (1.0 - view**2)) * np.cos(np.radians(geometry.relative_azimuth))
    phase = (molecules * _rayleigh_phase(cosine) + scattering * _aerosol_phase(cosine, atmosphere.asymmetry)) / depth
    air_mass = 1.0 / sun + 1.0 / view
    path = _path(depth, asymmetry, phase, sun, view) * np.exp(-0.5 * absorption * air_mass)
    down, up = (_transmittance(depth, asymmetry, cosine) * np.exp(-absorption / cosine) for cosine in (sun, view))
    gas = np.broadcast_to(gas_transmission(band, atmosphere, air_mass), path.shape)
    return Coefficients(gas, path, down * up, _spherical_albedo(depth, asymmetry) * np.exp(-1.6 * absorption))


def gas_transmission(band: BandOptics, atmosphere: Atmosphere, air_mass: AnyFloat) -> FloatArray:
    """Transmission of ozone, water vapor and the mixed gases, down and up.

    Parameters
    ----------
    band : BandOptics
        The band.
    atmosphere : Atmosphere
        Columns of ozone and water vapor.
    air_mass : AnyFloat
        Sum of the air masses down and up [1].

    Returns
    -------
    FloatArray
        Transmission [1].
    """
    path = np.asarray(air_mass, dtype=np.float64)
    water = band.water * (path * atmosphere.water_vapor) ** band.water_exponent
    other = band.other * path**band.other_exponent
    return np.asarray(np.exp(-path * band.ozone * atmosphere.ozone - water - other))


def _rayleigh_phase(cosine: FloatArray) -> FloatArray:
    return np.asarray(0.75 * (1.0 + cosine**2))


def _aerosol_phase(cosine: FloatArray, asymmetry: float) -> FloatArray:
    """Henyey and Greenstein (1941)."""
    return np.asarray((1.0 - asymmetry**2) / (1.0 + asymmetry**2 - 2.0 * asymmetry * cosine) ** 1.5)


def _path(depth: FloatArray, asymmetry: FloatArray, phase: FloatArray, sun: FloatArray, view: FloatArray) -> FloatArray:
    """Reflectance of a conservative layer: single scattering, and the higher orders of Sobolev (1975), raised."""
    moment = 3.0 * asymmetry
    single = (1.0 - np.exp(-depth * (1.0 / sun + 1.0 / view))) / (4.0 * (sun + view))
    escape = [1.0 + 1.5 * c + (1.0 - 1.5 * c) * np.exp(-depth / c) for c in (sun, view)]
    multiple = 1.0 - escape[0] * escape[1] / (4.0 + (3.0 - moment) * depth)
    multiple += ((3.0 + moment) * sun * view - 2.0 * (sun + view)) * single
    return np.asarray(phase * single + _HIGHER_ORDERS * multiple)


def _transmittance(depth: FloatArray, asymmetry: FloatArray, cosine: FloatArray) -> FloatArray:
    """Direct and diffuse transmittance of a conservative layer, two streams."""
    above = 2.0 / 3.0 + cosine + (2.0 / 3.0 - cosine) * np.exp(-depth / cosine)
    return np.asarray(above / (4.0 / 3.0 + (1.0 - asymmetry) * depth))


def _spherical_albedo(depth: FloatArray, asymmetry: FloatArray) -> FloatArray:
    """One less the transmittance for diffuse light, the integral of 2 mu T(mu)."""
    through = 4.0 / 3.0 + 4.0 / 3.0 * special.expn(3, depth) - 2.0 * special.expn(4, depth)
    return np.asarray(1.0 - through / (4.0 / 3.0 + (1.0 - asymmetry) * depth))


def top_from_surface(surface: AnyFloat, atmosphere: Coefficients) -> FloatArray:
    """Forward model: reflectance at the top of the atmosphere.

    Parameters
    ----------
    surface : AnyFloat
        Reflectance of the ground [1].
    atmosphere : Coefficients
        Coefficients of the band.

    Returns
    -------
    FloatArray
        Reflectance at the top of the atmosphere [1].
    """
    coupled = atmosphere.transmittance * surface / (1.0 - atmosphere.spherical_albedo * surface)
    return np.asarray(atmosphere.gas * (atmosphere.path + coupled))


def surface_from_top(reflectance: AnyFloat, atmosphere: Coefficients) -> FloatArray:
    """Inverse of `top_from_surface`.

    Parameters
    ----------
    reflectance : AnyFloat
        Reflectance at the top of the atmosphere [1].
    atmosphere : Coefficients
        Coefficients of the band.

    Returns
    -------
    FloatArray
        Reflectance of the ground [1]; negative values of noise or of too much aerosol are kept.
    """
    excess = reflectance / atmosphere.gas - atmosphere.path
    return np.asarray(excess / (atmosphere.transmittance + atmosphere.spherical_albedo * excess))


def correct(
    reflectance: Float32Array,
    sigma: Float32Array,
    *,
    bands: Sequence[str],
    atmosphere: Atmosphere,
    geometry: Geometry,
    elevation: AnyFloat,
    optics: Mapping[str, BandOptics] = BANDS,
) -> Corrected:
    """Surface reflectance of a scene, pixel by pixel.

    Parameters
    ----------
    reflectance, sigma : Float32Array
        Reflectance at the top of the atmosphere and its standard uncertainty (band, y, x) [1].
    bands : sequence of str
        Names of the bands.
    atmosphere : Atmosphere
        State of the atmosphere.
    geometry : Geometry
        Directions of sun and sensor, each (y, x) or one value.
    elevation : AnyFloat
        Elevation above mean sea level (y, x) or one value [m]; pixels where it is unknown are unknown.
    optics : mapping
        Properties of the bands.

    Returns
    -------
    Corrected
        Reflectance and standard uncertainty.

    Raises
    ------
    BadInputError
        `band_missing` where the properties of a band are unknown, `geometry_invalid` where angles or elevations are
        beyond what the model knows.
    """
    _check(bands, geometry, elevation, optics)
    step = max(atmosphere.aerosol_sigma, 1e-3)
    hazier = replace(atmosphere, aerosol=atmosphere.aerosol + step)
    values, deviations = np.empty_like(reflectance), np.empty_like(reflectance)
    for number, name in enumerate(bands):
        here, there = (coefficients(optics[name], state, geometry, elevation) for state in (atmosphere, hazier))
        top = reflectance[number].astype(np.float64)
        surface = surface_from_top(top, here)
        by_aerosol = (surface_from_top(top, there) - surface) * (atmosphere.aerosol_sigma / step)
        excess = top / here.gas - here.path
        slope = here.transmittance / (here.transmittance + here.spherical_albedo * excess) ** 2 / here.gas
        by_path = slope * here.gas * here.path * atmosphere.path_uncertainty
        by_gas = slope * top * np.log(here.gas) * atmosphere.gas_uncertainty
        values[number] = surface
        deviations[number] = np.sqrt((slope * sigma[number]) ** 2 + by_aerosol**2 + by_gas**2 + by_path**2)
    return Corrected(values, deviations)


def _check(bands: Sequence[str], geometry: Geometry, elevation: AnyFloat, optics: Mapping[str, BandOptics]) -> None:
    unknown = [name for name in bands if name not in optics]
    if unknown:
        raise BadInputError("band_missing", f"no optical properties of the bands {', '.join(unknown)}")
    steepest = [float(np.nanmax(angle)) for angle in geometry[:2]]
    if steepest[0] > 80.0 or steepest[1] > 70.0:
        raise BadInputError("geometry_invalid", "sun or view zenith angle beyond 80 or 70 degree")
    known = np.isfinite(elevation)
    if not np.any(known) or np.any(known & ((elevation < -500.0) | (elevation > 9000.0))):
        raise BadInputError("geometry_invalid", "elevations of the ground are unknown or not on earth")


def estimate_aerosol(
    reflectance: Float32Array,
    *,
    bands: Sequence[str],
    atmosphere: Atmosphere,
    geometry: Geometry,
    elevation: AnyFloat,
    usable: BoolArray,
    parameters: DarkTargetParameters | None = None,
    optics: Mapping[str, BandOptics] = BANDS,
) -> AerosolEstimate:
    """Aerosol optical depth of a scene from its dense dark vegetation (after Kaufman et al. 1997).

    The depth at which blue and red of that vegetation are, in the median, what its reflectance at 1.6 um says. It is
    lowered where the darkest pixels of the scene would become negative.

    Parameters
    ----------
    reflectance : Float32Array
        Reflectance at the top of the atmosphere (band, y, x) [1].
    bands : sequence of str
        Names of the bands; blue, red, nir and swir1 are needed.
    atmosphere : Atmosphere
        Everything but the aerosol; its aerosol where none can be found.
    geometry : Geometry
        Directions of sun and sensor, each (y, x) or one value.
    elevation : AnyFloat
        Elevation above mean sea level (y, x) or one value [m].
    usable : BoolArray
        Pixels without cloud, shadow, saturation or unknown value (y, x).
    parameters : DarkTargetParameters, optional
        The dark target.
    optics : mapping
        Properties of the bands.

    Returns
    -------
    AerosolEstimate
        The state of the atmosphere and how it was found. Its standard uncertainty is 0.05 + 0.15 of the depth (Remer et
        al. 2005, over land).
    """
    chosen = parameters or DarkTargetParameters()
    if not {"blue", "red", "nir", "swir1"} <= set(bands):
        return AerosolEstimate(atmosphere, 0, "given")
    dark = usable & _dark_vegetation(reflectance, bands, chosen)
    count = int(dark.sum())
    if count < chosen.minimum_pixels:
        return AerosolEstimate(atmosphere, count, "given")
    target = _Pixels.chosen(reflectance, dark, geometry, elevation, bands, optics)
    depth = _zero_crossing(
        lambda aerosol: target.mismatch(replace(atmosphere, aerosol=aerosol), chosen), chosen.largest
    )
    darkest = _Pixels.chosen(reflectance, usable, geometry, elevation, bands, optics)
    bound = _zero_crossing(lambda aerosol: darkest.lowest(replace(atmosphere, aerosol=aerosol)), chosen.largest)
    found = min(depth, bound)
    state = replace(atmosphere, aerosol=found, aerosol_sigma=0.05 + 0.15 * found)
    return AerosolEstimate(state, count, "dark vegetation" if depth <= bound else "darkest pixels")


def _dark_vegetation(reflectance: Float32Array, bands: Sequence[str], parameters: DarkTargetParameters) -> BoolArray:
    red, nir, infrared = (reflectance[list(bands).index(name)] for name in ("red", "nir", "swir1"))
    low, high = parameters.infrared_limits
    with np.errstate(invalid="ignore", divide="ignore"):
        dense = (nir - red) > parameters.minimum_ndvi * (nir + red)
        return np.asarray(dense & (infrared > low) & (infrared < high), dtype=np.bool_)


class _Pixels(NamedTuple):
    """At most some thousand pixels of a scene, one value each."""

    reflectance: Mapping[str, FloatArray]
    geometry: Geometry
    elevation: FloatArray
    optics: Mapping[str, BandOptics]

    @classmethod
    def chosen(
        cls,
        reflectance: Float32Array,
        where: BoolArray,
        geometry: Geometry,
        elevation: AnyFloat,
        bands: Sequence[str],
        optics: Mapping[str, BandOptics],
    ) -> "_Pixels":
        index = np.flatnonzero(where)
        index = index[:: max(index.size // 4000, 1)]
        picked = [np.broadcast_to(np.asarray(layer), where.shape).ravel()[index] for layer in (*geometry, elevation)]
        layers = {name: reflectance[number].ravel()[index].astype(np.float64) for number, name in enumerate(bands)}
        return cls(layers, Geometry(*picked[:3]), picked[3], optics)

    def surface(self, band: str, atmosphere: Atmosphere) -> FloatArray:
        state = coefficients(self.optics[band], atmosphere, self.geometry, self.elevation)
        return surface_from_top(self.reflectance[band], state)

    def mismatch(self, atmosphere: Atmosphere, parameters: DarkTargetParameters) -> float:
        red = parameters.red_of_infrared * self.surface("swir1", atmosphere)
        excess = self.surface("red", atmosphere) - red
        excess = excess + self.surface("blue", atmosphere) - parameters.blue_of_red * red
        return float(np.nanmedian(excess))

    def lowest(self, atmosphere: Atmosphere) -> float:
        """Reflectance that one pixel in a thousand falls short of, in the darkest band; noise makes that none."""
        return min(float(np.nanpercentile(self.surface(name, atmosphere), 0.1)) for name in ("blue", "red")) + 0.005


def _zero_crossing(function: Callable[[float], float], largest: float) -> float:
    """Where a falling function of the optical depth is zero, within its limits."""
    low, high = 0.0, largest
    if function(low) <= 0:
        return low
    if function(high) >= 0:
        return high
    while high - low > 1e-4:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return 0.5 * (low + high)
