"""Slopes lose the light of their lie and keep their ground."""

import numpy as np
import pytest

from processors.imagery import topographic_correction as topography
from processors.quality import BadInputError

RESOLUTION = (30.0, 30.0)
SUN = {"sun_zenith": np.array(45.0), "sun_azimuth": np.array(140.0)}


def hills(size=120, *, height=300.0):
    y, x = np.mgrid[:size, :size] * 30.0
    return height * np.sin(x / 500.0) * np.cos(y / 420.0) + 0.4 * height * np.sin((x + 1.3 * y) / 310.0)


def normal_of(elevation):
    """Normals by central differences, apart from the code under test; rows run south."""
    north, east = np.gradient(elevation, 30.0)
    normal = np.stack([-east, north, np.ones_like(east)])
    return normal / np.linalg.norm(normal, axis=0)


def sunlight():
    zenith, azimuth = np.radians(45.0), np.radians(140.0)
    return np.array([np.sin(zenith) * np.sin(azimuth), np.sin(zenith) * np.cos(azimuth), np.cos(zenith)])


def lit_scene(rng, *, sky=0.25, law="scs+c"):
    """Even ground with noise: trees or soil under sun and sky, or a Minnaert surface, over what level ground shows."""
    elevation = hills()
    normal = normal_of(elevation)
    cosine = np.maximum(np.einsum("cyx,c->yx", normal, sunlight()), 0.0)
    ground = 0.2 * rng.normal(1.0, 0.05, elevation.shape)
    level = np.cos(np.radians(45.0))
    share = {
        "scs+c": (cosine + sky) / (normal[2] * level + sky),
        "c": (cosine + sky) / (level + sky),
        "minnaert": (cosine * normal[2] / level) ** 0.6 / normal[2],
    }[law]
    return elevation, ground, (ground * share)[None].astype(np.float32)


def test_flat_ground_meets_the_sun_at_its_zenith_angle():
    light = topography.illumination(np.full((5, 6), 212.0), resolution=RESOLUTION, **SUN)
    np.testing.assert_allclose(light.cosine, np.cos(np.radians(45.0)), rtol=1e-6)
    np.testing.assert_allclose(light.slope_cosine, 1.0)


@pytest.mark.parametrize(("aspect", "sign"), [(140.0, 1.0), (320.0, -1.0)])
def test_slope_toward_the_sun_gains_its_angle(aspect, sign):
    """A plane of 20 degree that falls toward the sun's azimuth meets it at 25 degree, on pixels that are not square."""
    down = np.radians(aspect)
    y, x = np.mgrid[:6, :7]
    east, north = x * 30.0, -y * 20.0
    plane = 1000.0 - np.tan(np.radians(20.0)) * (east * np.sin(down) + north * np.cos(down))
    light = topography.illumination(plane, resolution=(30.0, 20.0), **SUN)
    np.testing.assert_allclose(np.degrees(np.arccos(light.cosine)), 45.0 - sign * 20.0, atol=1e-4)
    np.testing.assert_allclose(np.degrees(np.arccos(light.slope_cosine)), 20.0, atol=1e-4)


def test_incidence_agrees_with_vector_algebra():
    light = topography.illumination(hills(), resolution=RESOLUTION, **SUN)
    cosine = np.einsum("cyx,c->yx", normal_of(hills()), sunlight())
    assert np.abs(light.cosine - cosine)[1:-1, 1:-1].max() < 0.02


@pytest.mark.parametrize("method", ["scs+c", "c", "minnaert"])
def test_correlation_with_illumination_vanishes_and_the_ground_stays(method):
    elevation, ground, seen = lit_scene(np.random.default_rng(1), law=method)
    parameters = topography.TopographyParameters(method=method)
    light = topography.illumination(elevation, resolution=RESOLUTION, **SUN)
    usable = np.ones(elevation.shape, dtype=bool)
    fits = topography.fit(seen, light, usable=usable, parameters=parameters)
    result = topography.apply(seen, np.full_like(seen, 0.002), light, fits, parameters=parameters)
    lit = ~result.excluded
    steep = lit & (light.slope_cosine < np.cos(np.radians(5.0)))
    assert topography.dependence(seen[0], light, steep) > 0.9
    assert abs(topography.dependence(result.reflectance[0], light, steep)) < 0.1
    before = np.sqrt(np.mean((seen[0] - ground)[lit] ** 2))
    after = np.sqrt(np.mean((result.reflectance[0] - ground)[lit] ** 2))
    assert after < 0.35 * before
    assert result.excluded.any()
    assert np.isnan(result.reflectance[0][result.excluded]).all()


def test_the_share_of_the_sky_is_the_constant_of_scs_c():
    elevation, _, seen = lit_scene(np.random.default_rng(2), sky=0.4)
    light = topography.illumination(elevation, resolution=RESOLUTION, **SUN)
    ((found,),) = [fits.values() for fits in topography.fit(seen, light, usable=np.ones(elevation.shape, dtype=bool))]
    assert found.constant == pytest.approx(0.4, abs=0.03)
    assert found.sigma < 0.03


def test_each_kind_of_ground_has_its_own_constant():
    elevation = hills()
    strata = (np.arange(elevation.shape[1])[None, :] // 30 % 2 * np.ones_like(elevation)).astype(np.int64)
    rng = np.random.default_rng(3)
    seen = np.where(strata == 1, lit_scene(rng, sky=0.2)[2][0], lit_scene(rng, sky=0.8)[2][0])[None]
    light = topography.illumination(elevation, resolution=RESOLUTION, **SUN)
    (fits,) = topography.fit(seen, light, usable=np.ones(elevation.shape, dtype=bool), strata=strata)
    assert fits[1].constant == pytest.approx(0.2, abs=0.05)
    assert fits[0].constant == pytest.approx(0.8, abs=0.12)
    result = topography.apply(seen, seen * 0, light, fits=[fits], strata=strata)
    for kind in (0, 1):
        assert abs(topography.dependence(result.reflectance[0], light, (strata == kind) & ~result.excluded)) < 0.15


@pytest.mark.parametrize("why", ["few", "no dependence", "flat"])
def test_without_a_sure_fit_the_reflectance_stays(why):
    rng = np.random.default_rng(4)
    elevation = np.zeros((40, 40)) if why == "flat" else hills(40)
    seen = rng.uniform(0.1, 0.3, (1, *elevation.shape)).astype(np.float32)
    usable = np.zeros(elevation.shape, dtype=bool) if why == "few" else np.ones(elevation.shape, dtype=bool)
    light = topography.illumination(elevation, resolution=RESOLUTION, **SUN)
    fits = topography.fit(seen, light, usable=usable)
    assert np.isnan(fits[0][0].constant)
    result = topography.apply(seen, np.full_like(seen, 0.01), light, fits)
    np.testing.assert_array_equal(result.reflectance[0][~result.excluded], seen[0][~result.excluded])
    np.testing.assert_allclose(result.sigma[0][~result.excluded], 0.01)


def test_incidence_that_never_varies_fits_nothing():
    y, x = np.mgrid[:30, :30]
    light = topography.illumination(10.0 * x + 0.0 * y, resolution=RESOLUTION, **SUN)
    seen = np.random.default_rng(5).uniform(0.1, 0.3, (1, 30, 30)).astype(np.float32)
    assert np.isnan(topography.fit(seen, light, usable=np.ones((30, 30), dtype=bool))[0][0].constant)


def test_uncertainty_grows_with_the_factor_and_with_the_doubt_of_the_constant():
    elevation, _, seen = lit_scene(np.random.default_rng(6))
    light = topography.illumination(elevation, resolution=RESOLUTION, **SUN)
    sure = [{0: topography.Fit(0.25, 0.0, 999)}]
    doubtful = [{0: topography.Fit(0.25, 0.1, 999)}]
    sigma = np.full_like(seen, 0.003)
    one, two = (topography.apply(seen, sigma, light, fits) for fits in (sure, doubtful))
    lit = ~one.excluded
    np.testing.assert_allclose(one.sigma[0][lit], (one.reflectance / seen * 0.003)[0][lit], rtol=1e-4)
    higher = topography.apply(seen, sigma, light, [{0: topography.Fit(0.26, 0.0, 999)}])
    change = np.abs(higher.reflectance - one.reflectance)[0][lit] * 10.0
    np.testing.assert_allclose(np.sqrt(two.sigma**2 - one.sigma**2)[0][lit], change, atol=2e-3)


def test_blocks_give_what_the_whole_gives():
    elevation, _, seen = lit_scene(np.random.default_rng(7))
    light = topography.illumination(elevation, resolution=RESOLUTION, **SUN)
    fits = topography.fit(seen, light, usable=np.ones(elevation.shape, dtype=bool))
    whole = topography.apply(seen, seen, light, fits).reflectance
    block = topography.illumination(elevation[29:81], resolution=RESOLUTION, **SUN)
    part = topography.apply(seen[:, 29:81], seen[:, 29:81], block, fits).reflectance
    np.testing.assert_array_equal(whole[:, 30:80], part[:, 1:-1])


def test_voids_of_the_elevation_stay_unknown():
    elevation, _, seen = lit_scene(np.random.default_rng(8))
    elevation[50:53, 60] = np.nan
    light = topography.illumination(elevation, resolution=RESOLUTION, **SUN)
    assert np.isnan(light.cosine[49:54, 59:62]).sum() >= 12
    fits = topography.fit(seen, light, usable=np.ones(elevation.shape, dtype=bool))
    result = topography.apply(seen, seen, light, fits)
    assert np.isnan(result.reflectance[0, 51, 60])
    assert not result.excluded[51, 60]
    with pytest.raises(BadInputError) as refusal:
        topography.illumination(elevation * np.nan, resolution=RESOLUTION, **SUN)
    assert refusal.value.cause == "dem_missing"


def test_dependence_of_nothing_is_unknown():
    light = topography.illumination(hills(20), resolution=RESOLUTION, **SUN)
    even = np.full((20, 20), 0.2, dtype=np.float32)
    assert np.isnan(topography.dependence(even, light, np.ones((20, 20), dtype=bool)))
    assert np.isnan(topography.dependence(even, light, np.zeros((20, 20), dtype=bool)))


@pytest.mark.parametrize(("sky", "constant"), [(0.0, 0.0), (200.0, topography._LARGEST)])
def test_constants_end_where_there_is_no_sky_or_nothing_but_sky(sky, constant):
    rng = np.random.default_rng(9)
    incidence = rng.uniform(0.3, 0.9, 500)
    level = np.full(500, 0.7)
    value = 0.2 * (incidence + sky) / (level + sky)
    if sky == 0.0:
        value = value * incidence  # steeper than the sun alone would make it
    assert topography._independent(value, incidence, level) == constant
