"""Reading radiosonde messages: every level arrives in SI, bad ascents are told, bad files are refused."""

import numpy as np
import pytest

from infra import eccodes_library, radiosonde
from processors import constants, timescales
from processors.geodesy import gravity
from processors.quality import BadInputError
from processors.simulation import climates

eccodes = eccodes_library.load()

LEVELS = 30
GEOPOTENTIAL_HEIGHT = np.round(np.linspace(120.0, 20_000.0, LEVELS))
PRESSURE = np.round(100_500.0 * np.exp(-(GEOPOTENTIAL_HEIGHT - 120.0) / 7_300.0), -1)
TEMPERATURE = np.round(289.0 - 6.2e-3 * np.minimum(GEOPOTENTIAL_HEIGHT, 11_500.0), 1)
DEWPOINT = TEMPERATURE - 6.0


def message(
    *,
    pressure: np.ndarray = PRESSURE,
    height: np.ndarray = GEOPOTENTIAL_HEIGHT,
    dewpoint: np.ndarray = DEWPOINT,
    latitude: float = 52.21,
    subsets: int = 1,
) -> bytes:
    """One TEMP message in BUFR; NaN becomes a missing value."""
    handle = eccodes.codes_bufr_new_from_samples("BUFR4")
    count = pressure.size
    try:
        eccodes.codes_set_array(handle, "inputExtendedDelayedDescriptorReplicationFactor", [count] * subsets)
        eccodes.codes_set_array(handle, "inputDelayedDescriptorReplicationFactor", [1] * subsets)
        eccodes.codes_set(handle, "numberOfSubsets", subsets)
        eccodes.codes_set(handle, "masterTablesVersionNumber", 32)
        eccodes.codes_set(handle, "unexpandedDescriptors", 309052)
        for key, value in {
            "year": 2025,
            "month": 7,
            "day": 14,
            "hour": 11,
            "minute": 30,
            "latitude": latitude,
            "longitude": 14.12,
            "heightOfBarometerAboveMeanSeaLevel": 120.0,
        }.items():
            for subset in range(1, subsets + 1) if np.isfinite(value) else ():
                eccodes.codes_set(handle, f"#{subset}#{key}", value)
        columns = {
            # Each subset ends in a wind shear level, which has a pressure of its own.
            "pressure": np.append(pressure, np.nan),
            "nonCoordinateGeopotentialHeight": height,
            "airTemperature": TEMPERATURE[:count],
            "dewpointTemperature": dewpoint[:count],
        }
        for key, values in columns.items():
            for level, value in enumerate(np.tile(values, subsets), start=1):
                if np.isfinite(value):
                    eccodes.codes_set(handle, f"#{level}#{key}", float(value))
        eccodes.codes_set(handle, "pack", 1)
        return bytes(eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)


def test_every_level_arrives_in_si_with_place_and_time() -> None:
    found = radiosonde.read(message(), name="temp.bufr")
    (sounding,) = found.soundings
    assert found.rejected == []
    np.testing.assert_allclose(sounding.pressure, PRESSURE)
    np.testing.assert_allclose(sounding.temperature, TEMPERATURE, atol=0.06)
    np.testing.assert_allclose(sounding.dewpoint, DEWPOINT, atol=0.06)
    np.testing.assert_allclose(
        gravity.geopotential_height(52.21, sounding.altitude), GEOPOTENTIAL_HEIGHT, rtol=0, atol=0.6
    )
    assert sounding.latitude == pytest.approx(52.21)
    assert sounding.longitude == pytest.approx(14.12)
    assert sounding.time == float(timescales.gps_from_utc(np.datetime64("2025-07-14T11:30:00", "ns")))


def test_missing_heights_follow_from_the_weight_of_the_air_between_reported_ones() -> None:
    holes = GEOPOTENTIAL_HEIGHT.copy()
    holes[1:-1:3] = np.nan
    (whole,) = radiosonde.read(message(), name="whole").soundings
    (mended,) = radiosonde.read(message(height=holes), name="holes").soundings
    np.testing.assert_allclose(mended.altitude, whole.altitude, atol=25.0)
    nothing = np.full(LEVELS, np.nan)
    (computed,) = radiosonde.read(message(height=nothing), name="none").soundings
    scale = constants.GAS_CONSTANT_DRY_AIR / constants.STANDARD_GRAVITY
    share = climates.saturation_pressure(DEWPOINT) / PRESSURE
    virtual = TEMPERATURE / (1.0 - (1.0 - climates.EPSILON) * share)
    thickness = scale * 0.5 * (virtual[0] + virtual[1]) * np.log(PRESSURE[0] / PRESSURE[1])
    found = gravity.geopotential_height(52.21, computed.altitude)
    assert found[0] == pytest.approx(120.0, abs=0.01)
    assert found[1] - found[0] == pytest.approx(thickness, rel=1e-3)


def test_subsets_of_one_message_are_ascents_of_their_own() -> None:
    found = radiosonde.read(message(subsets=3), name="three")
    assert found.rejected == []
    assert len(found.soundings) == 3
    for sounding in found.soundings:
        np.testing.assert_allclose(sounding.pressure, PRESSURE)


def test_levels_without_humidity_stay_and_say_so() -> None:
    dry = DEWPOINT.copy()
    dry[20:] = np.nan
    (sounding,) = radiosonde.read(message(dewpoint=dry), name="dry").soundings
    assert np.isnan(sounding.dewpoint[20:]).all()
    assert np.isfinite(sounding.dewpoint[:20]).all()
    air = climates.column_from_sounding(sounding, climate="midlatitude-summer", seed=1)
    assert np.isfinite(air.refractivity(air.altitude)).all()


def test_messages_in_a_row_are_all_read_and_the_unusable_one_is_told() -> None:
    body = message() + message(latitude=np.nan) + message(pressure=PRESSURE[:5], height=GEOPOTENTIAL_HEIGHT[:5])
    found = radiosonde.read(body + message(), name="four")
    assert len(found.soundings) == 2
    assert len(found.rejected) == 2
    assert "ascent 2" in found.rejected[0]
    assert "position" in found.rejected[0]
    assert "ascent 3" in found.rejected[1]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "empty"),
        (b"GRIB" + bytes(200), "not_bufr"),
        (message()[:300], "no_sounding"),
        (message(pressure=PRESSURE[:4], height=GEOPOTENTIAL_HEIGHT[:4]), "no_sounding"),
    ],
)
def test_files_without_an_ascent_are_refused_with_the_cause(body: bytes, cause: str) -> None:
    with pytest.raises(BadInputError, match=r"bad\.bufr") as caught:
        radiosonde.read(body, name="bad.bufr")
    assert caught.value.cause == cause
