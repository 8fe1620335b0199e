"""Numbers of the imagery code that come from a document, held against that document by what they do."""

import math

import numpy as np
import pytest
import xarray as xr

from processors.imagery import (
    _compositing_kernels,
    atmosphere_correction,
    external_scene,
    grid,
    landsat,
    modis_viirs,
    qa,
    radiometry,
    rational_polynomial,
    sentinel1,
    sentinel2,
    sharpening_blur,
    solar_geometry,
    surface_reflectance,
)
from processors.quality import BadInputError
from processors.simulation import imagery_landscape


def mtl(spacecraft, sensor, bands):
    """MTL of an older file: radiance only, sun in the zenith at one astronomical unit, radiance of a number 1."""
    groups = {
        "PRODUCT_METADATA": {
            "SPACECRAFT_ID": spacecraft,
            "SENSOR_ID": sensor,
            "DATE_ACQUIRED": "2009-07-01",
            "SCENE_CENTER_TIME": "03:00:00Z",
            **{f"FILE_NAME_BAND_{band}": f"B{band}.TIF" for band in bands},
        },
        "IMAGE_ATTRIBUTES": {"SUN_ELEVATION": "90.0", "SUN_AZIMUTH": "120.0", "EARTH_SUN_DISTANCE": "1.0"},
        "METADATA_FILE_INFO": {"LANDSAT_SCENE_ID": "LT51270392009182XXX00"},
        "MIN_MAX_PIXEL_VALUE": {
            f"QUANTIZE_CAL_{end}_BAND_{b}": n for b in bands for end, n in (("MIN", "1"), ("MAX", "255"))
        },
        "RADIOMETRIC_RESCALING": {
            f"RADIANCE_{kind}_BAND_{b}": n for b in bands for kind, n in (("MULT", "1.0"), ("ADD", "0.0"))
        },
    }
    lines = [
        line
        for name, group in groups.items()
        for line in (f"GROUP = {name}", *(f"{key} = {value}" for key, value in group.items()), f"END_GROUP = {name}")
    ]
    return "\n".join(["GROUP = L1_METADATA_FILE", *lines, "END_GROUP = L1_METADATA_FILE", "END"]).encode()


CHANDER = {
    ("LANDSAT_4", "TM", (671.62, 1284.30)): {"1": 1983, "2": 1795, "3": 1539, "4": 1028, "5": 219.8, "7": 83.49},
    ("LANDSAT_5", "TM", (607.76, 1260.56)): {"1": 1983, "2": 1796, "3": 1536, "4": 1031, "5": 220.0, "7": 83.44},
    ("LANDSAT_7", "ETM", (666.09, 1282.71)): {
        "1": 1997,
        "2": 1812,
        "3": 1533,
        "4": 1039,
        "5": 230.8,
        "7": 84.90,
        "8": 1362,
    },
}
"""Chander, Markham and Helder (2009), Remote Sens. Environ. 113, 893, tables 3 to 5 and 7."""


@pytest.mark.parametrize(("mission", "irradiance"), CHANDER.items(), ids=[key[0] for key in CHANDER])
def test_older_landsat_counts_by_the_irradiances_and_thermal_constants_of_chander(mission, irradiance):
    spacecraft, sensor, (k1, k2) = mission
    thermal = "6_VCID_1" if spacecraft == "LANDSAT_7" else "6"
    names = [f"B{band}.TIF" for band in (*irradiance, thermal)]
    scene = landsat.metadata_from_mtl(mtl(spacecraft, sensor, (*irradiance, thermal)), names=names)
    found = {layer.location: layer.decoding for layer in scene.layers}
    for band, value in irradiance.items():
        assert found[f"B{band}.TIF"].scale == pytest.approx(math.pi / value, rel=1e-12)
    radiance = k1 / (math.exp(k2 / 300.0) - 1.0)
    warm = found[f"B{thermal}.TIF"]._replace(scale=radiance / 100.0)
    assert warm.values(np.array([100]))[0] == pytest.approx(300.0, abs=1e-3)


def test_quality_bits_of_landsat_collection_2_and_classes_of_sentinel_2():
    """LSDS-1619, table 6-3; Sentinel-2 Products Specification Document, scene classification."""
    bits = [int(b) for b in landsat.qa_bits(np.array([1 << k for k in range(16)], dtype=np.uint16))]
    cloud, shadow, nothing = qa.QaBit.CLOUD, qa.QaBit.SHADOW, 0
    assert bits == [qa.QaBit.NODATA, cloud, cloud, cloud, shadow] + [nothing] * 11
    classes = [int(b) for b in sentinel2.qa_bits(np.arange(12))]
    assert classes == [qa.QaBit.NODATA, qa.QaBit.SATURATED, nothing, shadow, *[nothing] * 4, *[cloud] * 3, nothing]


def test_identifiers_of_sentinel_2_bands_put_8a_after_8():
    assert list(sentinel2.NAMES)[7:10] == ["B08", "B8A", "B09"]
    assert len(sentinel2.NAMES) == 13


def test_the_sinusoidal_grid_has_tiles_of_ten_degrees_on_the_sphere_of_modis():
    radius = float(modis_viirs.sinusoidal().split("+R=")[1].split()[0])
    assert math.pi * radius / 18.0 == pytest.approx(1111950.5197, abs=1e-3)


def test_radar_rasters_are_named_as_their_guides_say():
    hyp3 = sentinel1.convention("S1A_IW_20180128T161201_DVP_RTC30_G_gpuned_FD6A_VV.tif", {})
    assert (hyp3.coefficient, hyp3.unit, hyp3.polarization) == ("gamma0", "power", "vv")
    other = sentinel1.convention("S1A_IW_20180128T161201_DVR_RTC10_G_sdwfcm_FD6A_VH.tif", {})
    assert (other.coefficient, other.unit, other.polarization) == ("sigma0", "decibel", "vh")


@pytest.mark.parametrize("level", [0.0, 2e-8, 1.0])
def test_noise_that_an_old_processor_left_uncalibrated_is_refused(level):
    gain = (
        b"<c><calibrationVector><line>0</line><pixel>0 9</pixel><sigmaNought>500 400</sigmaNought>"
        b"</calibrationVector></c>"
    )

    def noise(value):
        vector = f"<noiseVector><line>0</line><pixel>0 9</pixel><noiseLut>{value} {value}</noiseLut></noiseVector>"
        return f"<n>{vector}</n>".encode()

    with pytest.raises(BadInputError, match="noise left in") as refusal:
        sentinel1.calibration_from_xml(gain, noise(level), coefficient="sigma0", name="S1A")
    assert refusal.value.cause == "noise_uncalibrated"
    # -33 dB, a quiet beam; and nothing is asked of scenes whose noise is left in
    assert sentinel1.calibration_from_xml(gain, noise(80.0), coefficient="sigma0", name="S1A").range_noise is not None
    assert sentinel1.calibration_from_xml(gain, None, coefficient="sigma0", name="S1A").range_noise is None


def test_a_divisor_stated_as_the_scale_of_a_raster_is_refused():
    with pytest.raises(BadInputError) as refusal:
        external_scene._integer_scale(10000.0, None, source="MOD13.tif")
    assert refusal.value.cause == "scale_implausible"
    assert external_scene._integer_scale(1e-4, None, source="MOD09.tif") == 1e-4


def test_terms_of_rpc00b_stand_in_their_order():
    """STDI-0002, appendix E: 1 L P H LP LH PH L2 P2 H2 PLH L3 LP2 LH2 L2P P3 PH2 L2H P2H H3."""
    p, length, h = 2.0, 3.0, 5.0
    written = [1, 3, 2, 5, 6, 15, 10, 9, 4, 25, 30, 27, 12, 75, 18, 8, 50, 45, 20, 125]
    assert list(rational_polynomial._terms(p, length, h)) == written


SMAC = {
    "blue": {"o3": (0.027266, 0.995324)},
    "green": {"h2o": (0.000757, 0.901893), "o3": (0.098738, 0.998703)},
    "red": {"h2o": (0.003462, 0.768631), "o3": (0.049992, 0.998946)},
    "nir": {"h2o": (0.028164, 0.585874)},
    "swir1": {"h2o": (0.000631, 0.949862), "co2": (0.016262, 0.738485), "ch4": (0.003887, 0.871517)},
    "swir2": {
        "h2o": (0.017563, 0.659149),
        "co2": (0.000137, 0.945566),
        "ch4": (0.020708, 0.807874),
        "n2o": (0.001723, 0.943806),
    },
}
"""Absorption of Sentinel-2A bands 2, 3, 4, 8, 11, 12: -ln T = a (m u)**n: SMAC (Rahman, Dedieu 1994) fitted to 6S."""

LASRC = {
    "blue": {"o3": (0.0177861, 1)},
    "green": {"h2o": (0.00194772, 0.775024), "o3": (0.0969872, 1)},
    "red": {"h2o": (0.00404159, 0.774482), "o3": (0.0611428, 1)},
    "nir": {"h2o": (0.000729136, 0.893085)},
    "swir1": {"h2o": (0.00067324, 0.939669), "mixed": (0.0205425, math.exp(-0.326577 - 0.0117192))},
    "swir2": {"h2o": (0.0177533, 0.65094), "mixed": (0.0256526, math.exp(-0.243961 - 0.0616101))},
}
"""The same of OLI at sea level: LaSRC (Vermote et al. 2016, Remote Sens. Environ. 185, 46)."""


@pytest.mark.parametrize(
    ("sensor", "published"), [("sentinel-2a msi", SMAC), ("landsat-9 oli_tirs", LASRC)], ids=["msi", "oli"]
)
@pytest.mark.parametrize("air_mass", [2.0, 2.6, 4.0])
@pytest.mark.parametrize("column", [0.5, 2.5, 5.0])
def test_gases_absorb_as_published_for_the_sensor(sensor, published, air_mass, column):
    state = atmosphere_correction.Atmosphere(water_vapor=column, ozone=0.3)
    for band, gases in published.items():
        ours = atmosphere_correction.gas_transmission(atmosphere_correction.optics_of(sensor)[band], state, air_mass)
        amount = {"h2o": column, "o3": 0.3}
        depth = sum(a * (air_mass * amount.get(gas, 1.0)) ** n for gas, (a, n) in gases.items())
        assert float(ours) == pytest.approx(math.exp(-depth), abs=1.5e-3), band


@pytest.mark.parametrize(
    ("band", "depth"),
    [("blue", 0.16933), ("green", 0.09070), ("red", 0.04827), ("nir", 0.01563), ("swir1", 0.00129), ("swir2", 0.00037)],
)
def test_molecules_scatter_as_6s_says_for_oli(band, depth):
    wavelength = atmosphere_correction.OLI_BANDS[band].wavelength
    assert float(atmosphere_correction.rayleigh_optical_depth(wavelength, 101325.0)) == pytest.approx(depth, rel=0.035)


def test_blue_is_half_of_red_over_dark_vegetation():
    """Kaufman et al. (1997), IEEE Trans. Geosci. Remote Sens. 35, 1286: a quarter and half of 2.1 um."""
    assert atmosphere_correction.DarkTargetParameters().blue_of_red == 0.25 / 0.5


def test_the_sensor_of_a_scene_chooses_how_its_bands_absorb():
    box = grid.covering((600_000, 3_200_000, 600_200, 3_200_200), crs="EPSG:32648", resolution=100)
    layer = ("time", "band", "y", "x"), np.full((1, 1, 2, 2), 0.3, dtype=np.float32)
    scene = grid.assign(
        xr.Dataset(
            {
                "reflectance": layer,
                "reflectance_sigma": layer,
                "qa": (("time", "y", "x"), np.zeros((1, 2, 2), dtype=np.uint16)),
            },
            coords={"time": [np.datetime64("2024-06-05T03:20:00", "ns")], "band": ["nir"]},
            attrs={"radiometric_level": "toa_reflectance"},
        ),
        box,
    )
    options = {
        "elevation": np.full((2, 2), 300.0),
        "view": surface_reflectance.View(np.array(0.0), np.array(0.0)),
        "atmosphere": atmosphere_correction.Atmosphere(aerosol=0.0),
    }
    wide, narrow = (
        surface_reflectance.surface_scene(scene.assign_attrs(sensor=sensor), **options)["reflectance"].values.mean()
        for sensor in ("sentinel-2b msi", "landsat-8 oli_tirs")
    )
    assert 1.06 < wide / narrow < 1.09


def test_sharpening_knows_the_gains_of_the_toolbox():
    """Vivone et al. (2015, 2021), function MTF; four bands of eight are 2, 3, 5 and 7."""
    toolbox = {
        "quickbird": (0.34, 0.32, 0.30, 0.22),
        "ikonos": (0.26, 0.28, 0.29, 0.28),
        "geoeye-1": (0.23,) * 4,
        "worldview-2": (0.35,) * 7 + (0.27,),
        "worldview-3": (0.325, 0.355, 0.360, 0.350, 0.365, 0.360, 0.335, 0.315),
    }
    assert toolbox == sharpening_blur.SENSOR_GAINS
    for sensor, gains in toolbox.items():
        assert sharpening_blur.published(sensor, len(gains)) == gains
    assert sharpening_blur.published("worldview-3", 4) == (0.355, 0.360, 0.365, 0.335)
    assert sharpening_blur.published("quickbird", 3) == pytest.approx((0.295,) * 3)


def test_deviations_of_a_composite_are_those_of_roberts():
    """Roberts et al. (2018), IGARSS: medians of Euclidean, cosine and Bray-Curtis distance to the geometric median."""
    looks = np.array([[0.1, 0.2], [0.3, 0.1], [0.2, 0.2]])
    center = np.array([0.2, 0.1])
    found = np.empty(3)
    _compositing_kernels.deviations(looks, center, np.empty(3), found)
    lengths = np.linalg.norm(looks, axis=1) * np.linalg.norm(center)
    expected = (
        np.linalg.norm(looks - center, axis=1),
        1.0 - looks @ center / lengths,
        np.abs(looks - center).sum(axis=1) / np.abs(looks + center).sum(axis=1),
    )
    np.testing.assert_allclose(found, [np.median(distance) for distance in expected], rtol=1e-12)


def test_the_sun_stands_where_meeus_puts_it():
    """Meeus (1998), Astronomical Algorithms, example 25.a: declination -7.78507 degree, distance 0.99766 au."""
    sun = solar_geometry.sun_position(np.datetime64("1992-10-13T00:00:00", "ns"), np.zeros(1), np.array([90.0]))
    assert sun.zenith[0] - 90.0 == pytest.approx(7.78507, abs=0.01)
    assert sun.distance == pytest.approx(0.99766, abs=1e-4)


def test_our_imager_sees_the_sun_as_sentinel_2a_does():
    """SOLAR_IRRADIANCE of bands 2, 3, 4, 8 and 11 in its product metadata."""
    stated = (1959.66, 1823.24, 1512.06, 1041.63, 245.59)
    assert radiometry.RadiometricCalibration().solar_irradiance == pytest.approx(stated, abs=0.5)


def test_simulated_floods_are_as_turbid_as_their_docstring_says():
    """Dogliotti et al. (2015), Remote Sens. Environ. 156, 157: T = A rho / (1 - rho / C) at 645 and 859 nm."""
    water = dict(zip(imagery_landscape.BANDS, imagery_landscape._COVERED[imagery_landscape.TURBID_WATER], strict=True))
    for band, a, c, turbidity in (("red", 228.1, 0.1641, 140.0), ("nir", 3078.9, 0.2112, 260.0)):
        assert a * water[band] / (1.0 - water[band] / c) == pytest.approx(turbidity, rel=0.05)
