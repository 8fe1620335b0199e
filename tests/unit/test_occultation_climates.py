"""The atmospheres of the forward model: laws of air at rest, bending against a closed form, ducts."""

import numpy as np
import pytest
from scipy.integrate import cumulative_simpson
from scipy.interpolate import CubicSpline
from scipy.special import k0e

from processors import constants
from processors.geodesy import gravity
from processors.simulation import atmosphere, climates

RADIUS = 6_370_000.0
SUMMER_2025 = 1_437_000_000.0


def exponential_air(surface: float, scale: float) -> climates.LayeredAir:
    """Air with ln n = surface exp(-(n r - R)/scale), whose bending is a Bessel function."""
    refractional = RADIUS + np.linspace(0.0, 152_000.0, 40_000)
    log_index = surface * np.exp(-(refractional - RADIUS) / scale)
    log_refractivity = CubicSpline(refractional * np.exp(-log_index) - RADIUS, np.log(1e6 * np.expm1(log_index)))
    return climates.LayeredAir(climates.GRID, np.exp(log_refractivity(climates.GRID)))


@pytest.mark.parametrize(("surface", "scale"), [(3e-4, 7_000.0), (2.2e-4, 6_000.0)])
def test_bending_meets_the_closed_form_of_an_exponential_atmosphere(surface: float, scale: float) -> None:
    air = exponential_air(surface, scale)
    levels = RADIUS + np.linspace(3_000.0, 60_000.0, 200)
    expected = 2.0 * levels * surface * np.exp(-(levels - RADIUS) / scale) / scale * k0e(levels / scale)
    found = air.bending(levels, surface_radius=RADIUS).bending_angle
    np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize("climate", climates.CLIMATES)
def test_bending_does_not_change_with_the_order_of_the_quadrature(
    climate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    air = climates.column(climate, seed=3, latitude=30.0)
    levels = air.impact_levels(surface_radius=RADIUS)[40:-1:25]
    coarse = air.bending(levels, surface_radius=RADIUS).bending_angle
    nodes, weights = np.polynomial.legendre.leggauss(9)
    monkeypatch.setattr(climates, "NODES", nodes)
    monkeypatch.setattr(climates, "WEIGHTS", weights)
    monkeypatch.setattr(climates, "NEAR_PANELS", 64)
    fine = air.bending(levels, surface_radius=RADIUS).bending_angle
    assert np.isfinite(fine).all()
    np.testing.assert_allclose(coarse, fine, rtol=2e-5)


@pytest.mark.parametrize("climate", climates.CLIMATES)
def test_pressure_falls_by_the_weight_of_moist_air(climate: str) -> None:
    air = climates.column(climate, seed=5, latitude=40.0)
    low = air.altitude < 12e3
    share = air.vapour_pressure / air.pressure
    density = air.pressure * (1.0 - (1.0 - climates.EPSILON) * share)
    density = density / (constants.GAS_CONSTANT_DRY_AIR * air.temperature)
    weight = density * gravity.at_altitude(40.0, air.altitude)
    lost = cumulative_simpson(weight[low], x=air.altitude[low], initial=0.0)
    np.testing.assert_allclose(air.pressure[0] - air.pressure[low], lost, rtol=1e-5, atol=0.05)


@pytest.mark.parametrize("climate", climates.CLIMATES)
def test_gradient_is_the_derivative_and_temperatures_are_those_of_air(climate: str) -> None:
    air = climates.column(climate, seed=11, latitude=-30.0)
    altitude = np.linspace(20.0, 90_000.0, 3_000)
    change = (air.refractivity(altitude + 0.05) - air.refractivity(altitude - 0.05)) / 0.1
    np.testing.assert_allclose(air.gradient(altitude), change, rtol=1e-4, atol=1e-9)
    below = air.altitude < 90e3
    assert air.temperature[below].min() > 150.0
    assert air.temperature[below].max() < 315.0
    relative = air.vapour_pressure / climates.saturation_pressure(air.temperature)
    assert relative[air.altitude < 8e3].max() < 1.05


def test_dry_temperature_is_the_temperature_where_air_is_dry_and_colder_where_it_is_moist() -> None:
    air = climates.column("tropical", seed=2, latitude=5.0)
    dry = air.dry_state(air.altitude)
    high = (air.altitude > 25e3) & (air.altitude < 75e3)
    np.testing.assert_allclose(dry.temperature[high], air.temperature[high], atol=0.02)
    # Five millionths of stratospheric vapour weigh 1e-4 of the refractivity.
    np.testing.assert_allclose(dry.pressure[high], air.pressure[high], rtol=2e-4)
    ground = air.altitude < 2e3
    assert (air.temperature[ground] - dry.temperature[ground]).min() > 10.0


def test_dry_pressure_of_a_purely_dry_isothermal_column_is_its_pressure() -> None:
    nothing = np.zeros_like(climates.GRID)
    air = climates.Column(
        climates.GRID,
        temperature=nothing + 240.0,
        vapour_pressure=nothing,
        surface_pressure=1e5,
        latitude=0.0,
    )
    geopotential = gravity.geopotential_height(0.0, air.altitude) * constants.STANDARD_GRAVITY
    np.testing.assert_allclose(
        air.pressure, 1e5 * np.exp(-geopotential / (constants.GAS_CONSTANT_DRY_AIR * 240.0)), rtol=1e-6
    )
    np.testing.assert_allclose(air.dry_state(air.altitude).pressure, air.pressure, rtol=1e-6)


def test_refractivity_of_moist_air_is_that_of_three_terms() -> None:
    found = climates.refractivity(np.array([1e5]), temperature=np.array([290.0]), vapour_pressure=np.array([1_500.0]))
    assert found[0] == pytest.approx(77.6 * 985.0 / 290.0 + 72.0 * 15.0 / 290.0 + 3.75e5 * 15.0 / 290.0**2, rel=1e-9)


def test_duct_tops_are_where_the_refractional_radius_is_least_and_no_ray_turns_below_them() -> None:
    standard = atmosphere.ExponentialAtmosphere(surface=330.0, scale_height=7_500.0)
    drop = 20.0 * (1.0 - np.tanh((climates.GRID - 1_500.0) / 40.0))
    air = climates.LayeredAir(climates.GRID, standard.refractivity(climates.GRID) + drop)
    (top,) = air.duct_tops(surface_radius=RADIUS)
    fine = np.arange(1_000.0, 2_000.0, 0.5)
    refractional = (RADIUS + fine) * (1.0 + 1e-6 * air.refractivity(fine))
    upper = fine > 1_500.0
    assert top == pytest.approx(fine[upper][np.argmin(refractional[upper])], abs=1.5)
    least = refractional[upper].min()
    bend = air.bending(np.array([least - 5.0, least + 5.0]), surface_radius=RADIUS)
    base = fine[np.flatnonzero(refractional[~upper] <= least)[-1]]
    assert bend.tangent_altitude[0] < base
    assert bend.tangent_altitude[1] > top
    assert np.all(np.diff(air.impact_levels(surface_radius=RADIUS)) > 0.0)


def test_without_a_duct_there_is_no_top() -> None:
    air = exponential_air(3e-4, 7_000.0)
    assert air.duct_tops(surface_radius=RADIUS).size == 0


def test_marine_inversions_reach_from_near_critical_to_ducting() -> None:
    airs = [climates.column("subtropical", seed=seed, latitude=25.0) for seed in range(12)]
    altitude = np.arange(900.0, 2_400.0, 2.0)
    steepest = np.array([-1e3 * air.gradient(altitude).min() for air in airs])
    assert steepest.min() > 80.0
    assert steepest.max() < 260.0
    ducts = sum(air.duct_tops(surface_radius=RADIUS).size > 0 for air in airs)
    assert 2 <= ducts <= 10


def test_seeds_make_columns() -> None:
    one, again, other = (climates.column("polar", seed=seed, latitude=70.0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.temperature, again.temperature)
    assert np.abs(one.temperature - other.temperature).max() > 1.0


@pytest.mark.parametrize(
    ("latitude", "time", "expected"),
    [
        (0.0, SUMMER_2025, "tropical"),
        (-25.0, SUMMER_2025, "subtropical"),
        (45.0, SUMMER_2025, "midlatitude-summer"),
        (-45.0, SUMMER_2025, "midlatitude-winter"),
        (45.0, SUMMER_2025 + 182 * 86_400.0, "midlatitude-winter"),
        (-45.0, SUMMER_2025 + 182 * 86_400.0, "midlatitude-summer"),
        (-75.0, SUMMER_2025, "polar"),
    ],
)
def test_climate_follows_latitude_and_season(latitude: float, time: float, expected: str) -> None:
    assert climates.climate_at(latitude, time) == expected


def test_a_sounding_keeps_its_levels_and_is_continued_by_the_climate() -> None:
    altitude = np.arange(20.0, 25_000.0, 400.0)
    temperature = 290.0 - 6.0e-3 * np.minimum(altitude, 12e3) + 2.0 * np.sin(altitude / 900.0)
    sounding = climates.Sounding(
        pressure=101_000.0 * np.exp(-altitude / 7_400.0),
        altitude=altitude,
        temperature=temperature,
        dewpoint=np.where(altitude < 10e3, temperature - 8.0, np.nan),
        latitude=40.0,
        longitude=10.0,
        time=SUMMER_2025,
    )
    air = climates.column_from_sounding(sounding, climate="midlatitude-summer", seed=1)
    np.testing.assert_allclose(np.interp(altitude, air.altitude, air.temperature), temperature, atol=0.05)
    moist = altitude < 9e3
    np.testing.assert_allclose(
        np.interp(altitude, air.altitude, air.vapour_pressure)[moist],
        climates.saturation_pressure(temperature[moist] - 8.0),
        rtol=0.02,
        atol=1.0,
    )
    assert np.abs(np.diff(air.temperature)[air.altitude[1:] < 80e3]).max() < 4.0
    climate = climates.column("midlatitude-summer", seed=1, latitude=40.0)
    high = (air.altitude > 60e3) & (air.altitude < 100e3)
    np.testing.assert_allclose(air.temperature[high], climate.temperature[high], atol=1.0)
