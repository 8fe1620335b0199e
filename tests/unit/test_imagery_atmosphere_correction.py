"""The atmosphere between top and ground: exact inverse, Monte Carlo transport as judge, aerosol from dark forest."""

import dataclasses

import numba
import numpy as np
import pytest

from processors.imagery import atmosphere_correction as atmosphere
from processors.quality import BadInputError

HAZE = atmosphere.Atmosphere(aerosol=0.3)
BANDS = ("blue", "green", "red", "nir", "swir1")
NADIR = atmosphere.Geometry(35.0, 5.0, 60.0)


@numba.njit(cache=True)
def transported(photons, molecules, aerosol, albedo, g, sun, view, azimuth, rng):
    """Photons that leave a layer above and below, and what a sensor sees; sun below 0 stands for diffuse light."""
    up = down = seen = 0.0
    side = np.sqrt(1 - view * view)
    vx, vy = side * np.cos(azimuth), side * np.sin(azimuth)
    for _ in range(photons):
        steep = sun if sun > 0 else np.sqrt(rng.random())
        x, y, z = -np.sqrt(1 - steep * steep), 0.0, -steep
        depth, weight = 0.0, 1.0
        while True:
            depth += z * np.log(1 - rng.random())
            if depth < 0:
                up += weight
                break
            if depth > molecules + aerosol:
                down += weight
                break
            molecule = rng.random() * (molecules + aerosol) < molecules
            weight *= 1.0 if molecule else albedo
            c = x * vx + y * vy + z * view
            phase = 0.75 * (1 + c * c) if molecule else (1 - g * g) / (1 + g * g - 2 * g * c) ** 1.5
            seen += weight * phase / (4 * view) * np.exp(-depth / view)
            u = rng.random()
            if molecule:
                a = 4 * u - 2
                b = np.sqrt(a * a + 1)
                c = np.cbrt(a + b) + np.cbrt(a - b)
            else:
                q = (1 - g * g) / (1 - g + 2 * g * u)
                c = (1 + g * g - q * q) / (2 * g)
            turn = 2 * np.pi * rng.random()
            s, d = np.sqrt(max(0.0, 1 - c * c)), np.sqrt(max(1 - z * z, 1e-12))
            cosine, sine = np.cos(turn), np.sin(turn)
            x, y, z = (
                s * (x * z * cosine - y * sine) / d + x * c,
                s * (y * z * cosine + x * sine) / d + y * c,
                -s * cosine * d + z * c,
            )
    return up / photons, down / photons, seen / photons


@pytest.mark.parametrize("band", ["blue", "nir"])
@pytest.mark.parametrize("aerosol", [0.0, 0.2, 0.5])
@pytest.mark.parametrize(("sun", "view", "azimuth"), [(30, 5, 60), (60, 5, 60), (60, 40, 0), (60, 40, 180)])
def test_coefficients_agree_with_monte_carlo_transport(band, aerosol, sun, view, azimuth):
    state = atmosphere.Atmosphere(aerosol=aerosol)
    optics = atmosphere.BANDS[band]
    ours = atmosphere.coefficients(optics, state, atmosphere.Geometry(sun, view, azimuth), 0.0)
    layer = (
        float(atmosphere.rayleigh_optical_depth(optics.wavelength, 101325.0)),
        aerosol * (optics.wavelength / 0.55) ** -state.angstrom,
        state.single_scattering_albedo,
        state.asymmetry,
    )
    rng = np.random.default_rng(1)
    down_sun, down_view = np.cos(np.radians([sun, view]))
    forward = transported(30000, *layer, down_sun, down_view, np.radians(azimuth), rng)
    backward = transported(30000, *layer, down_view, 0.7, 0.0, rng)
    diffuse = transported(30000, *layer, -1.0, 0.7, 0.0, rng)
    assert float(ours.path) == pytest.approx(forward[2], rel=0.25 if azimuth == 180 else 0.10)
    assert float(ours.transmittance) == pytest.approx(forward[1] * backward[1], abs=0.027)
    assert float(ours.spherical_albedo) == pytest.approx(diffuse[0], abs=0.008)


def test_inverse_of_the_forward_model_is_exact():
    surface = np.linspace(-0.01, 0.9, 40)
    for name in BANDS:
        state = atmosphere.coefficients(atmosphere.BANDS[name], HAZE, NADIR, 300.0)
        top = atmosphere.top_from_surface(surface, state)
        np.testing.assert_allclose(atmosphere.surface_from_top(top, state), surface, atol=1e-12)


def test_rayleigh_depth_is_that_of_the_published_table():
    """Bodhaine et al. (1999), table 3: 0.55 um 0.097 at sea level; proportional to pressure."""
    assert float(atmosphere.rayleigh_optical_depth(0.55, 101325.0)) == pytest.approx(0.0972, abs=3e-4)
    assert float(atmosphere.rayleigh_optical_depth(0.40, 101325.0)) == pytest.approx(0.3602, abs=2e-3)
    half = atmosphere.rayleigh_optical_depth(0.55, 50662.5)
    assert float(half) == pytest.approx(0.0486, abs=2e-4)


def test_pressure_is_that_of_the_standard_atmosphere():
    np.testing.assert_allclose(
        atmosphere.pressure_at(np.array([0.0, 1000.0, 5000.0])), [101325, 89874, 54020], rtol=1e-3
    )


def test_without_atmosphere_top_and_ground_are_equal():
    vacuum = atmosphere.Coefficients(*(np.asarray(value) for value in (1.0, 0.0, 1.0, 0.0)))
    assert float(atmosphere.surface_from_top(np.array(0.37), vacuum)) == pytest.approx(0.37)


def scene(rng, state, *, elevation=400.0, shape=(60, 70), forest=0.4):
    """Forest, fields and water under an atmosphere, by the forward model; dark-target relations hold with scatter."""
    kind = rng.random(shape)
    infrared = np.where(kind < forest, rng.uniform(0.08, 0.16, shape), rng.uniform(0.2, 0.35, shape))
    red = np.where(kind < forest, 0.25 * infrared * rng.normal(1, 0.05, shape), rng.uniform(0.06, 0.2, shape))
    blue = 0.5 * red * rng.normal(1, 0.05, shape)
    nir = np.where(kind < forest, rng.uniform(0.25, 0.4, shape), red * 1.5)
    surface = np.stack([blue, red + 0.01, red, nir, infrared])
    layers = [
        atmosphere.top_from_surface(
            layer, atmosphere.coefficients(atmosphere.BANDS[name], state, NADIR, np.full(shape, elevation))
        )
        for name, layer in zip(BANDS, surface, strict=True)
    ]
    return surface, np.stack(layers).astype(np.float32)


@pytest.mark.parametrize("aerosol", [0.05, 0.25, 0.8])
def test_aerosol_is_found_from_dark_forest_and_the_ground_returns(aerosol):
    rng = np.random.default_rng(5)
    surface, top = scene(rng, atmosphere.Atmosphere(aerosol=aerosol))
    usable = np.ones(top.shape[1:], dtype=bool)
    options = {"bands": BANDS, "geometry": NADIR, "elevation": 400.0}
    found = atmosphere.estimate_aerosol(top, atmosphere=atmosphere.Atmosphere(), usable=usable, **options)
    assert found.method == "dark vegetation"
    assert found.atmosphere.aerosol == pytest.approx(aerosol, abs=0.02)
    result = atmosphere.correct(top, np.full_like(top, 0.002), atmosphere=found.atmosphere, **options)
    assert np.abs(result.reflectance - surface).max() < 0.01
    assert np.abs(result.reflectance - surface).mean() < 0.003


def test_aerosol_is_bound_by_the_darkest_pixels():
    rng = np.random.default_rng(6)
    surface, top = scene(rng, atmosphere.Atmosphere(aerosol=0.05))
    # forest brighter than the rule says would ask for more haze than the shadows allow
    top[0] += np.where(surface[4] < 0.17, 0.05, 0.0).astype(np.float32)
    usable = np.ones(top.shape[1:], dtype=bool)
    found = atmosphere.estimate_aerosol(
        top, bands=BANDS, atmosphere=HAZE, geometry=NADIR, elevation=400.0, usable=usable
    )
    assert found.method == "darkest pixels"
    assert found.atmosphere.aerosol < 0.5  # the forest alone would say 0.8


@pytest.mark.parametrize("what", ["bands", "vegetation"])
def test_without_dark_vegetation_the_given_aerosol_stays_and_says_so(what):
    rng = np.random.default_rng(7)
    _, top = scene(rng, HAZE, forest=0.0 if what == "vegetation" else 0.5)
    count = 4 if what == "bands" else 5
    found = atmosphere.estimate_aerosol(
        top[:count],
        bands=BANDS[:count],
        atmosphere=HAZE,
        geometry=NADIR,
        elevation=400.0,
        usable=np.ones(top.shape[1:], dtype=bool),
    )
    assert (found.method, found.atmosphere) == ("given", HAZE)


def test_clear_and_opaque_skies_end_at_the_limits():
    rng = np.random.default_rng(8)
    _, top = scene(rng, atmosphere.Atmosphere(aerosol=0.0))
    usable = np.ones(top.shape[1:], dtype=bool)
    options = {"bands": BANDS, "atmosphere": HAZE, "geometry": NADIR, "elevation": 400.0, "usable": usable}
    dark = top.copy()
    dark[[0, 2]] -= 0.02
    assert atmosphere.estimate_aerosol(dark, **options).atmosphere.aerosol == 0.0
    bright = top.copy()
    bright[[0, 2]] += 0.4
    bright[3] += 1.6
    assert atmosphere.estimate_aerosol(bright, **options).atmosphere.aerosol == 2.0


def test_uncertainty_covers_what_a_wrong_aerosol_does():
    rng = np.random.default_rng(9)
    misses = []
    for _ in range(60):
        true = atmosphere.Atmosphere(aerosol=max(rng.normal(0.4, 0.1), 0.0))
        surface, top = scene(rng, true, shape=(4, 4))
        noisy = (top + rng.normal(0, 0.004, top.shape)).astype(np.float32)
        assumed = dataclasses.replace(true, aerosol=0.4, aerosol_sigma=0.1, path_uncertainty=0.0, gas_uncertainty=0.0)
        result = atmosphere.correct(
            noisy, np.full_like(top, 0.004), bands=BANDS, atmosphere=assumed, geometry=NADIR, elevation=400.0
        )
        misses.append((result.reflectance - surface) / result.sigma)
    share = np.mean(np.abs(np.stack(misses)) < 1)
    assert 0.6 < share < 0.76


def test_blocks_give_what_the_whole_gives():
    rng = np.random.default_rng(10)
    _, top = scene(rng, HAZE)
    elevation = rng.uniform(200, 900, top.shape[1:])
    sigma = np.full_like(top, 0.003)

    def part(rows):
        return atmosphere.correct(
            top[:, rows], sigma[:, rows], bands=BANDS, atmosphere=HAZE, geometry=NADIR, elevation=elevation[rows]
        ).reflectance

    whole = part(slice(None))
    np.testing.assert_array_equal(whole, np.concatenate([part(slice(0, 17)), part(slice(17, None))], axis=1))


def test_unknown_elevation_or_reflectance_stays_unknown():
    _, top = scene(np.random.default_rng(11), HAZE, shape=(3, 3))
    top[:, 0, 0] = np.nan
    elevation = np.full((3, 3), 300.0)
    elevation[2, 2] = np.nan
    result = atmosphere.correct(
        top, np.full_like(top, 0.01), bands=BANDS, atmosphere=HAZE, geometry=NADIR, elevation=elevation
    )
    assert np.isnan(result.reflectance[0]).sum() == 2
    np.testing.assert_array_equal(np.isnan(result.sigma), np.isnan(result.reflectance))


@pytest.mark.parametrize(
    ("bands", "geometry", "elevation", "cause"),
    [
        (("purple",), NADIR, 0.0, "band_missing"),
        (("blue",), atmosphere.Geometry(81.0, 0.0, 0.0), 0.0, "geometry_invalid"),
        (("blue",), atmosphere.Geometry(30.0, 71.0, 0.0), 0.0, "geometry_invalid"),
        (("blue",), NADIR, np.nan, "geometry_invalid"),
        (("blue",), NADIR, 32767.0, "geometry_invalid"),
    ],
)
def test_what_the_model_does_not_know_is_refused(bands, geometry, elevation, cause):
    top = np.full((1, 2, 2), 0.1, dtype=np.float32)
    with pytest.raises(BadInputError) as refusal:
        atmosphere.correct(top, top, bands=bands, atmosphere=HAZE, geometry=geometry, elevation=elevation)
    assert refusal.value.cause == cause
