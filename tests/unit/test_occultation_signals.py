"""Carriers of the constellations: RINEX codes, names and frequencies belong together, and a wrong pair is named."""

import numpy as np
import pytest

from processors import constants
from processors.occultation import signals
from processors.quality import BadInputError

# Observation codes of RINEX 3.04, tables 4 to 9, with the frequencies printed there [MHz].
RINEX = [
    ("G", "L1C", 1575.42, "L1"),
    ("G", "L2W", 1227.60, "L2"),
    ("G", "L5Q", 1176.45, "L5"),
    ("E", "L1B", 1575.42, "E1"),
    ("E", "L5Q", 1176.45, "E5a"),
    ("E", "L7Q", 1207.140, "E5b"),
    ("E", "L8Q", 1191.795, "E5"),
    ("E", "L6C", 1278.75, "E6"),
    ("C", "L2I", 1561.098, "B1I"),
    ("C", "L1P", 1575.42, "B1C"),
    ("C", "L5P", 1176.45, "B2a"),
    ("C", "L7I", 1207.14, "B2I"),
    ("C", "L8D", 1191.795, "B2"),
    ("C", "L6I", 1268.52, "B3I"),
    ("R", "L3I", 1202.025, "L3"),
    ("J", "L1C", 1575.42, "L1"),
    ("J", "L2L", 1227.60, "L2"),
    ("J", "L5Q", 1176.45, "L5"),
    ("J", "L6L", 1278.75, "L6"),
]


@pytest.mark.parametrize(("system", "code", "megahertz", "name"), RINEX)
def test_a_code_has_the_frequency_rinex_gives_it_and_back(system: str, code: str, megahertz: float, name: str) -> None:
    frequency = signals.frequency_of(code, system=system)
    assert frequency == pytest.approx(megahertz * 1e6, abs=1.0)
    assert signals.name_of(frequency, system) == name


@pytest.mark.parametrize("channel", range(-7, 7))
def test_every_glonass_channel_has_its_own_frequencies(channel: int) -> None:
    first = signals.frequency_of("L1C", system="R", channel=channel)
    second = signals.frequency_of("L2P", system="R", channel=channel)
    # Both carriers stand as 9 to 7 (GLONASS ICD L1, L2, section 3.3.1.1).
    assert first / second == pytest.approx(9.0 / 7.0, rel=1e-12)
    assert signals.name_of(first, "R") == f"L1 k={channel:+d}"
    assert signals.usual_partner(first, "R") == second
    signals.require_pair(np.array([first, second]), transmitter="R07")


def test_channels_beyond_the_plan_and_gaps_between_carriers_are_nobodys() -> None:
    for channel in (-9, 8):
        assert signals.name_of(constants.GLONASS_L1 + channel * constants.GLONASS_L1_STEP, "R") == "unknown"
    assert signals.name_of(1.4e9, "G") == "unknown"
    assert np.isnan(signals.frequency_of("L1C", system="R"))
    assert np.isnan(signals.frequency_of("L9X", system="G"))


PAIRS = [
    ("G02", constants.GPS_L1, constants.GPS_L2),
    ("G02", constants.GPS_L1, constants.GPS_L5),
    ("C20", constants.BEIDOU_B1I, constants.BEIDOU_B3I),
    ("C20", constants.GPS_L1, constants.GPS_L5),
    ("C20", constants.BEIDOU_B1I, constants.GALILEO_E5B),
    ("E11", constants.GPS_L1, constants.GALILEO_E5B),
    ("J01", constants.GPS_L1, constants.GPS_L2),
]


@pytest.mark.parametrize(("transmitter", "first", "second"), PAIRS)
def test_pairs_of_the_constellation_pass(transmitter: str, first: float, second: float) -> None:
    signals.require_pair(np.array([first, second]), transmitter=transmitter)
    assert signals.usual_partner(first, transmitter[0]) < signals.UPPER_BAND


STRANGERS = [
    ("G02", constants.BEIDOU_B1I, constants.BEIDOU_B3I, "BeiDou"),
    ("E11", constants.GPS_L1, constants.GPS_L2, "GPS or QZSS"),
    ("R05", constants.GPS_L1, constants.GPS_L5, "GPS or Galileo or BeiDou or QZSS"),
    ("C20", constants.GLONASS_L1, constants.GLONASS_L2, "GLONASS"),
    ("G02", 1.5e9, 1.3e9, "no constellation"),
]


@pytest.mark.parametrize(("transmitter", "first", "second", "owner"), STRANGERS)
def test_a_pair_of_another_constellation_is_refused_by_its_name(
    transmitter: str, first: float, second: float, owner: str
) -> None:
    with pytest.raises(BadInputError, match=f"looks like {owner}\\)") as refused:
        signals.require_pair(np.array([first, second]), transmitter=transmitter)
    assert refused.value.cause == "frequency_implausible"


def test_orbits_belong_to_constellations_and_odd_ones_to_nobody() -> None:
    for transmitter, semi_major in (("G02", 26.56e6), ("E14", 27.98e6), ("C06", 42.16e6), ("R01", 25.51e6)):
        signals.require_orbit(semi_major, transmitter=transmitter)
    signals.require_orbit(24.0e6, transmitter="G02")
    with pytest.raises(BadInputError, match="Galileo") as refused:
        signals.require_orbit(29.6e6, transmitter="C20")
    assert refused.value.cause == "constellation_implausible"
