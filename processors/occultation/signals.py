"""Carriers of the navigation satellites: which frequency belongs to which constellation, and what RINEX calls it.

Band digits are those of RINEX 3.04, section 5.1; frequencies those of the interface documents named in
`processors.constants`.
"""

from typing import NamedTuple

import numpy as np

from processors import constants
from processors.arrays import FloatArray
from processors.quality import BadInputError

SYSTEMS = {"G": "GPS", "R": "GLONASS", "E": "Galileo", "C": "BeiDou", "J": "QZSS"}
TOLERANCE = 1.0e5
"""Distance to a carrier within which a frequency is that carrier [Hz]: under half the spacing of GLONASS channels."""
GLONASS_CHANNELS = range(-7, 7)
UPPER_BAND = 1.5e9
"""Frequency that parts the upper from the lower band of navigation signals [Hz]."""
SEMI_MAJOR = {"G": (26.56e6,), "R": (25.51e6,), "E": (29.60e6, 27.98e6), "C": (27.91e6, 42.16e6), "J": (42.16e6,)}
"""Semi-major axes of the constellations [m]: 27.98 Mm is that of E14 and E18, 42.16 Mm that of one turn per day."""


class Carrier(NamedTuple):
    """One carrier of one constellation.

    Attributes
    ----------
    system : str
        RINEX letter of the constellation.
    band : str
        RINEX band digit.
    name : str
        Name in the interface document.
    frequency : float
        Frequency [Hz]; that of channel 0 for GLONASS FDMA.
    step : float
        Spacing of the channels [Hz]; 0 where all satellites share the frequency.
    """

    system: str
    band: str
    name: str
    frequency: float
    step: float = 0.0

    def matches(self, frequency: float) -> bool:
        """Whether a frequency is this carrier, in any of its channels.

        Parameters
        ----------
        frequency : float
            Frequency [Hz].

        Returns
        -------
        bool
            True within the tolerance.
        """
        channels = GLONASS_CHANNELS if self.step else range(1)
        return any(abs(frequency - self.frequency - self.step * channel) < TOLERANCE for channel in channels)


CARRIERS = (
    Carrier("G", "1", "L1", constants.GPS_L1),
    Carrier("G", "2", "L2", constants.GPS_L2),
    Carrier("G", "5", "L5", constants.GPS_L5),
    Carrier("R", "1", "L1", constants.GLONASS_L1, constants.GLONASS_L1_STEP),
    Carrier("R", "2", "L2", constants.GLONASS_L2, constants.GLONASS_L2_STEP),
    Carrier("R", "3", "L3", constants.GLONASS_L3),
    Carrier("E", "1", "E1", constants.GPS_L1),
    Carrier("E", "5", "E5a", constants.GPS_L5),
    Carrier("E", "7", "E5b", constants.GALILEO_E5B),
    Carrier("E", "8", "E5", constants.GALILEO_E5),
    Carrier("E", "6", "E6", constants.GALILEO_E6),
    Carrier("C", "1", "B1C", constants.GPS_L1),
    Carrier("C", "2", "B1I", constants.BEIDOU_B1I),
    Carrier("C", "5", "B2a", constants.GPS_L5),
    Carrier("C", "7", "B2I", constants.GALILEO_E5B),
    Carrier("C", "8", "B2", constants.GALILEO_E5),
    Carrier("C", "6", "B3I", constants.BEIDOU_B3I),
    Carrier("J", "1", "L1", constants.GPS_L1),
    Carrier("J", "2", "L2", constants.GPS_L2),
    Carrier("J", "5", "L5", constants.GPS_L5),
    Carrier("J", "6", "L6", constants.GALILEO_E6),
)


def carrier_of(frequency: float, system: str) -> Carrier | None:
    """Carrier of a constellation that has a frequency.

    Parameters
    ----------
    frequency : float
        Frequency [Hz].
    system : str
        RINEX letter of the constellation.

    Returns
    -------
    Carrier or None
        None where the constellation does not send there.
    """
    return next((row for row in CARRIERS if row.system == system and row.matches(frequency)), None)


def name_of(frequency: float, system: str) -> str:
    """Name of a signal, such as L1 or B2a.

    Parameters
    ----------
    frequency : float
        Frequency [Hz].
    system : str
        RINEX letter of the constellation.

    Returns
    -------
    str
        Name in the interface document; GLONASS FDMA with its channel, such as `L1 k=-7`; `unknown` where the
        constellation does not send there.
    """
    carrier = carrier_of(frequency, system)
    if carrier is None:
        return "unknown"
    if carrier.step:
        return f"{carrier.name} k={round((frequency - carrier.frequency) / carrier.step):+d}"
    return carrier.name


def frequency_of(code: str, *, system: str, channel: int | None = None) -> float:
    """Frequency of a RINEX 3 observation code.

    Parameters
    ----------
    code : str
        Observation code such as L1C or 2W: its first digit is the band.
    system : str
        RINEX letter of the constellation.
    channel : int or None
        Channel of a GLONASS satellite.

    Returns
    -------
    float
        Frequency [Hz]; NaN where the code, or the channel of a GLONASS satellite, is not known.
    """
    band = next((letter for letter in code if letter.isdigit()), "")
    carrier = next((row for row in CARRIERS if row.system == system and row.band == band), None)
    if carrier is None or (carrier.step and channel is None):
        return np.nan
    return carrier.frequency + carrier.step * (channel or 0)


def usual_partner(frequency: float, system: str) -> float:
    """Frequency of the second signal a constellation sends beside a first one.

    Parameters
    ----------
    frequency : float
        Frequency of the signal that is there [Hz].
    system : str
        RINEX letter of the constellation.

    Returns
    -------
    float
        Frequency of the partner in the other band [Hz].
    """
    if system == "R":
        channel = round((frequency - constants.GLONASS_L1) / constants.GLONASS_L1_STEP)
        return constants.GLONASS_L2 + constants.GLONASS_L2_STEP * channel
    upper = frequency > UPPER_BAND
    rows = (row for row in CARRIERS if row.system == system and (row.frequency > UPPER_BAND) != upper)
    return next(row.frequency for row in rows)


def require_pair(frequency: FloatArray, *, transmitter: str) -> None:
    """Refuse a pair of frequencies the transmitter's constellation does not send.

    Parameters
    ----------
    frequency : FloatArray
        Frequencies [Hz], shape (2,).
    transmitter : str
        RINEX 3 name, such as G02.

    Raises
    ------
    BadInputError
        `frequency_implausible`, naming the constellations that send such a pair.
    """
    system = transmitter[:1]
    if system not in SYSTEMS:
        raise BadInputError(
            "constellation_unknown",
            f"the transmitter {transmitter!r} is of no constellation known ({', '.join(SYSTEMS)})",
        )
    if all(carrier_of(float(value), system) for value in frequency) and frequency[0] != frequency[1]:
        return
    senders = [name for letter, name in SYSTEMS.items() if all(carrier_of(float(value), letter) for value in frequency)]
    pair = " and ".join(f"{value / 1e6:.3f}" for value in frequency)
    raise BadInputError(
        "frequency_implausible",
        f"carrier_frequency of {transmitter} is {pair} MHz, no pair of {SYSTEMS[system]}"
        f" (it looks like {' or '.join(senders) if senders else 'no constellation'})",
    )


def require_orbit(semi_major: float, *, transmitter: str) -> None:
    """Refuse a transmitter that flies where another constellation does.

    Parameters
    ----------
    semi_major : float
        Semi-major axis of its orbit [m].
    transmitter : str
        RINEX 3 name.

    Raises
    ------
    BadInputError
        `constellation_implausible`, naming the constellation that flies there.
    """

    def near(system: str, tolerance: float) -> bool:
        return any(abs(semi_major / axis - 1.0) < tolerance for axis in SEMI_MAJOR[system])

    owners = [name for letter, name in SYSTEMS.items() if near(letter, 0.006)]
    if owners and not near(transmitter[:1], 0.02):
        raise BadInputError(
            "constellation_implausible",
            f"transmitter_position of {transmitter} is on an orbit of semi-major axis {semi_major / 1e3:.0f} km,"
            f" that of {' or '.join(owners)} and not of {SYSTEMS[transmitter[:1]]}",
        )
