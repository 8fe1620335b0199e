"""IGS final orbits: reading, interpolation and writing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from processors import constants
from processors.geodesy import frames
from processors.orbit import sp3
from processors.quality import BadInputError

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def folder(shared_data: Callable[[str], Path]) -> Path:
    return shared_data("occultation/gnss_orbits")


@pytest.fixture(scope="module")
def two_days(folder: Path) -> sp3.Sp3Orbits:
    first, second = (sp3.parse((folder / name).read_text()) for name in ("igs15904.sp3", "igs15905.sp3"))
    return sp3.merge(first, second)


def test_first_epoch_is_read_to_the_millimetre(folder: Path) -> None:
    orbits = sp3.parse((folder / "igs15904.sp3").read_text())
    column = orbits.satellites.index("G02")
    assert orbits.time[0] == 1590 * 604_800 + 345_600
    assert orbits.step == 900.0
    assert orbits.position.shape == (96, 32, 3)
    np.testing.assert_allclose(
        orbits.position[0, column], [-14_889_160.729, -5_131_952.946, -21_416_801.336], atol=1e-6
    )
    assert orbits.clock[0, column] == pytest.approx(269.108429e-6, abs=1e-15)
    assert np.isnan(orbits.clock[0, orbits.satellites.index("G01")])


def test_sp3c_of_another_year_is_read(folder: Path) -> None:
    orbits = sp3.parse((folder / "igs19362.sp3c").read_text())
    assert orbits.time[0] == 1936 * 604_800 + 172_800
    radius = np.linalg.norm(orbits.position, axis=2)
    assert ((radius > 2.5e7) & (radius < 2.8e7))[np.isfinite(radius)].all()


def test_every_second_epoch_predicts_the_others_to_two_decimetres(two_days: sp3.Sp3Orbits) -> None:
    sparse = sp3.Sp3Orbits(two_days.time[::2], two_days.satellites, two_days.position[::2], two_days.clock[::2])
    usable = [name for index, name in enumerate(two_days.satellites) if np.isfinite(two_days.clock[:, index]).all()]
    assert len(usable) > 25
    for name in usable:
        found = sp3.state(sparse, name, time=two_days.time[11:-11:2]).position
        expected = two_days.position[11:-11:2, two_days.satellites.index(name)]
        assert np.linalg.norm(found - expected, axis=1).max() < 0.2


def test_interpolated_orbits_obey_gravity(two_days: sp3.Sp3Orbits) -> None:
    time = two_days.time[90] + np.arange(-600.0, 601.0, 60.0)
    found = sp3.state(two_days, "G05", time=time)
    inertial = frames.inertial_from_earth_fixed(
        frames.State(found.position, found.velocity), time=time, epoch=float(time[0])
    )
    acceleration = np.gradient(inertial.velocity, 60.0, axis=0, edge_order=2)[2:-2]
    position = inertial.position[2:-2]
    radius = np.linalg.norm(position, axis=1)[:, None]
    ratio = 5.0 * (position[:, 2:] / radius) ** 2
    oblateness = 1.5 * constants.EARTH_J2 * (constants.WGS84_SEMI_MAJOR / radius) ** 2
    factor = 1.0 - oblateness * np.hstack([ratio - 1.0, ratio - 1.0, ratio - 3.0])
    expected = -constants.EARTH_GM * position / radius**3 * factor
    np.testing.assert_allclose(acceleration, expected, atol=1.5e-5)


def test_writing_and_reading_keeps_every_digit(folder: Path) -> None:
    orbits = sp3.parse((folder / "igs15904.sp3").read_text())
    again = sp3.parse(sp3.format_sp3(orbits))
    assert again.satellites == orbits.satellites
    np.testing.assert_array_equal(again.time, orbits.time)
    np.testing.assert_allclose(again.position, orbits.position, atol=1e-6)
    np.testing.assert_allclose(again.clock, orbits.clock, atol=1e-15)


def test_a_satellite_without_clock_is_an_orbit_missing(two_days: sp3.Sp3Orbits) -> None:
    with pytest.raises(BadInputError, match="G01") as refused:
        sp3.state(two_days, "G01", time=two_days.time[20:22] + 10.0)
    assert refused.value.cause == "orbit_missing"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda text: text[: len(text) // 2], "sp3_truncated"),
        (lambda text: text.replace("EOF", ""), "sp3_truncated"),
        (lambda text: "x" + text, "not_sp3"),
        (lambda text: "", "not_sp3"),
        (lambda text: text.replace("cc GPS ccc", "cc UTC ccc"), "sp3_time_system"),
        (lambda text: text.replace("*  2010  7  1  0 15", "*  2010  7  1  0 16"), "sp3_irregular"),
        (lambda text: text.replace("PG02 -14889.160729", "PG02 -14889.x60729"), "not_sp3"),
    ],
)
def test_damaged_files_are_refused_with_their_cause(folder: Path, change: Callable[[str], str], cause: str) -> None:
    with pytest.raises(BadInputError) as refused:
        sp3.parse(change((folder / "igs15904.sp3").read_text()))
    assert refused.value.cause == cause
