"""Physical and geodetic constants, each with its source; nothing re-declares them.

Sources: SI Brochure (2019) for exact values, NIMA TR8350.2 (WGS 84), IS-GPS-200, ICAO/US Standard Atmosphere 1976.
"""

SPEED_OF_LIGHT = 299_792_458.0
"""Speed of light in vacuum [m s-1], exact (SI)."""

BOLTZMANN = 1.380_649e-23
"""Boltzmann constant [J K-1], exact (SI)."""

PLANCK = 6.626_070_15e-34
"""Planck constant [J s], exact (SI)."""

MOLAR_GAS = 8.314_462_618_153_24
"""Molar gas constant [J mol-1 K-1], exact (SI)."""

MOLAR_MASS_DRY_AIR = 28.9644e-3
"""Molar mass of dry air [kg mol-1], US Standard Atmosphere 1976."""

GAS_CONSTANT_DRY_AIR = MOLAR_GAS / MOLAR_MASS_DRY_AIR
"""Specific gas constant of dry air [J kg-1 K-1]."""

REFRACTIVITY_DRY = 0.776
"""Dry refractivity coefficient k1 [K Pa-1]: N = k1 p / T, Smith and Weintraub (1953), used by CDAAC and ROPP."""

EARTH_GM = 3.986_004_418e14
"""Geocentric gravitational constant with atmosphere [m3 s-2], WGS 84."""

EARTH_ROTATION_RATE = 7.292_115_146_7e-5
"""Rotation rate of the Earth [rad s-1], IS-GPS-200."""

EARTH_J2 = 1.082_629_821e-3
"""Second zonal harmonic of the Earth [1], WGS 84."""

WGS84_SEMI_MAJOR = 6_378_137.0
"""Semi-major axis of the WGS 84 ellipsoid [m]."""

WGS84_FLATTENING = 1.0 / 298.257_223_563
"""Flattening of the WGS 84 ellipsoid [1]."""

WGS84_SEMI_MINOR = WGS84_SEMI_MAJOR * (1.0 - WGS84_FLATTENING)
"""Semi-minor axis of the WGS 84 ellipsoid [m]."""

WGS84_ECCENTRICITY_SQUARED = WGS84_FLATTENING * (2.0 - WGS84_FLATTENING)
"""First eccentricity squared of the WGS 84 ellipsoid [1]."""

GRAVITY_EQUATOR = 9.780_325_335_9
"""Normal gravity at the equator [m s-2], WGS 84."""

GRAVITY_POLE = 9.832_184_937_8
"""Normal gravity at the poles [m s-2], WGS 84."""

STANDARD_GRAVITY = 9.806_65
"""Gravity that defines the geopotential metre [m s-2], WMO."""

GPS_L1 = 1_575.42e6
"""Carrier frequency of GPS L1 [Hz], IS-GPS-200."""

GPS_L2 = 1_227.60e6
"""Carrier frequency of GPS L2 [Hz], IS-GPS-200."""

GPS_L5 = 1_176.45e6
"""Carrier frequency of GPS L5 [Hz], IS-GPS-705; also Galileo E5a and BeiDou B2a."""

GALILEO_E5B = 1_207.14e6
"""Carrier frequency of Galileo E5b [Hz], Galileo OS SIS ICD 2.1, table 2; also BeiDou B2I and B2b."""

GALILEO_E5 = 1_191.795e6
"""Carrier frequency of Galileo E5 (AltBOC) [Hz], Galileo OS SIS ICD 2.1, table 2; also BeiDou B2."""

GALILEO_E6 = 1_278.75e6
"""Carrier frequency of Galileo E6 [Hz], Galileo OS SIS ICD 2.1, table 2; also QZSS L6."""

BEIDOU_B1I = 1_561.098e6
"""Carrier frequency of BeiDou B1I [Hz], BDS-SIS-ICD-B1I-3.0, section 4.2.1."""

BEIDOU_B3I = 1_268.52e6
"""Carrier frequency of BeiDou B3I [Hz], BDS-SIS-ICD-B3I-1.0, section 4.2.1."""

GLONASS_L1 = 1_602.0e6
"""Carrier frequency of GLONASS L1 FDMA, channel 0 [Hz], GLONASS ICD L1, L2 5.1, section 3.3.1.1."""

GLONASS_L1_STEP = 0.5625e6
"""Spacing of the channels of GLONASS L1 [Hz], GLONASS ICD L1, L2 5.1, section 3.3.1.1."""

GLONASS_L2 = 1_246.0e6
"""Carrier frequency of GLONASS L2 FDMA, channel 0 [Hz], GLONASS ICD L1, L2 5.1, section 3.3.1.1."""

GLONASS_L2_STEP = 0.4375e6
"""Spacing of the channels of GLONASS L2 [Hz], GLONASS ICD L1, L2 5.1, section 3.3.1.1."""

GLONASS_L3 = 1_202.025e6
"""Carrier frequency of GLONASS L3 CDMA [Hz], GLONASS ICD CDMA L3 1.0."""

IONOSPHERIC_REFRACTION = 40.308_2
"""First-order ionospheric refraction [m3 s-2]: n - 1 = -K n_e / f2, from the CODATA electron constants."""
