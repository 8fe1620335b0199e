"""Thermal radiation of the simulators: Planck's law, its band averages and their inverse."""

import math

import numpy as np
import pytest
from scipy import integrate

from processors.simulation import planck


@pytest.mark.parametrize("heat", [250.0, 300.0, 1000.0])
def test_radiance_over_all_wavelengths_is_the_law_of_stefan_and_boltzmann(heat: float) -> None:
    total, _ = integrate.quad(
        lambda log: math.exp(log) * float(planck.spectral_radiance(math.exp(log), heat)), -4, 9, limit=200
    )

    assert math.pi * total == pytest.approx(planck.STEFAN_BOLTZMANN * heat**4, rel=1e-5)


@pytest.mark.parametrize("heat", [250.0, 1000.0])
def test_radiance_is_largest_where_wien_says(heat: float) -> None:
    length = np.linspace(1.0, 20.0, 20001)

    assert length[np.argmax(planck.spectral_radiance(length, heat))] == pytest.approx(2897.772 / heat, rel=1e-3)


@pytest.mark.parametrize("band", list(planck.BANDS))
def test_brightness_temperature_gives_back_the_temperature(band: str) -> None:
    heat = np.array([208.0, 273.15, 300.0, 367.0, 634.0, 1300.0])

    np.testing.assert_allclose(planck.brightness_temperature(planck.band_radiance(heat, band), band), heat, rtol=1e-6)


def test_a_narrow_band_has_the_radiance_of_its_middle() -> None:
    near, middle = planck.band_radiance(320.0, "modis_21"), planck.spectral_radiance(3.959, 320.0)

    assert float(near) == pytest.approx(float(middle), rel=2e-3)


def test_the_table_between_its_nodes_is_the_integral_itself() -> None:
    heat = np.array([283.217, 305.911, 877.7])
    band = planck.BANDS["viirs_i4"]

    np.testing.assert_allclose(planck.band_radiance(heat, "viirs_i4"), planck._averaged(band, heat), rtol=1e-5)


def test_what_is_colder_than_anything_stays_a_number() -> None:
    assert planck.brightness_temperature([-1.0, 0.0], "viirs_i4").tolist() == pytest.approx([120.0, 120.0])


def test_the_step_of_radiance_is_its_slope() -> None:
    above, below = planck.band_radiance([301.0, 299.0], "viirs_i5")

    assert planck.radiance_step(300.0, "viirs_i5") == pytest.approx(float(above - below) / 2.0, rel=1e-3)


def test_the_sun_above_the_air_weighs_what_tables_say() -> None:
    # Published values: 1.36 kW m-2 in all, about 1550 and 10 W m-2 um-1 in red light and at 4 um.
    total = planck.SUN_SOLID_ANGLE * planck.STEFAN_BOLTZMANN * planck.SUN_TEMPERATURE**4 / math.pi

    assert total == pytest.approx(1361.0, rel=0.005)
    assert planck.sun_irradiance("red") == pytest.approx(1550.0, rel=0.05)
    assert planck.sun_irradiance("modis_21") == pytest.approx(9.5, rel=0.1)
