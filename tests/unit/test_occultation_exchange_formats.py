"""Profiles in BUFR, AWS and ROPP layout: read back by readers not ours, every value is the dataset's or missing."""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import netCDF4
import numpy as np
import pytest
import scipy.io
import xarray as xr

from infra import eccodes_library
from products import aws, bufr, occultation_exchange, profile, ropp, schema

eccodes = eccodes_library.load()

RADIUS, UNDULATION = 6_364_738.7, -30.2
IMPACT_HEIGHTS = np.concatenate(
    [np.arange(3_000.0, 10_000.0, 50.0), np.arange(10_000.0, 60_000.0, 100.0), np.arange(60_000.0, 150_001.0, 500.0)]
)
LEVELS = IMPACT_HEIGHTS.size
ENCODERS = {"bufr": bufr.encode, "aws": aws.encode, "ropp": ropp.encode}
AWS_VARIABLES = {
    "refTime": ("f8", (), "GPS seconds"),
    "refLongitude": ("f4", (), "degrees east"),
    "refLatitude": ("f4", (), "degrees north"),
    "equatorialRadius": ("f8", (), "m"),
    "polarRadius": ("f8", (), "m"),
    "setting": ("i1", (), "none"),
    "undulation": ("f8", (), "m"),
    "centerOfCurvature": ("f8", ("xyz",), "m"),
    "radiusOfCurvature": ("f8", (), "m"),
    "impactParameter": ("f8", ("impact",), "m"),
    "carrierFrequency": ("f8", ("signal",), "Hz"),
    "rawBendingAngle": ("f8", ("impact", "signal"), "radians"),
    "bendingAngle": ("f8", ("impact",), "radians"),
    "optimizedBendingAngle": ("f8", ("impact",), "radians"),
    "altitude": ("f4", ("level",), "m"),
    "longitude": ("f4", ("level",), "degrees east"),
    "latitude": ("f4", ("level",), "degrees north"),
    "orientation": ("f4", ("level",), "degrees"),
    "geopotential": ("f8", ("level",), "J/kg"),
    "refractivity": ("f8", ("level",), "N-units"),
    "dryPressure": ("f8", ("level",), "Pa"),
    "superRefractionAltitude": ("f8", (), "m"),
}
AWS_ATTRIBUTES = {
    *(
        "file_type",
        "AWSversion",
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "doy",
        "mission",
        "leo",
        "occGnss",
    ),
    *("processing_center", "processing_center_version", "processing_center_path", "data_use_license"),
    *("optimization_references", "ionospheric_references", "references"),
}
QUALITY_BITS = {
    "high_noise": {1, 5},
    "bending_bias": {1, 5},
    "low_top": {1, 5},
    "shallow": set(),
    "second_signal_lost_high": {1, 5},
    "no_second_signal": {1, 5},
    "background_unfitted": {1, 6, 14},
    "temperature_implausible": {1, 6},
    "super_refraction": {6},
    "data_gaps": {4},
    "refractivity_implausible": {1, 6},
    "signal_strength_missing": {4},
    "geometric_optics_only": {5},
    "frame_converted": set(),
    "time_tags_repaired": set(),
    "cycle_slips_repaired": {4},
    "signals_swapped": {4},
    "units_converted": set(),
}


def published(values: dict[str, Any]) -> xr.Dataset:
    """A product dataset of these values with the attributes of the table of published variables."""
    rows = schema.table(profile.PRODUCT)
    variables = {
        name: xr.Variable(rows[name].dims, np.asarray(value, dtype=rows[name].dtype), rows[name].attributes())
        for name, value in values.items()
    }
    return xr.Dataset(variables)


@pytest.fixture
def product() -> xr.Dataset:
    """Exponential atmosphere over the date line: the second signal is lost below 10 km, the record ends at 80 km."""
    impact_height = IMPACT_HEIGHTS
    bending = 0.021 * np.exp(-(impact_height - 3_000.0) / 7_000.0)
    impact = RADIUS + UNDULATION + impact_height
    altitude = impact_height.copy()
    for _ in range(30):
        refractivity = 300.0 * np.exp(-altitude / 7_500.0)
        altitude = impact / (1.0 + 1e-6 * refractivity) - RADIUS - UNDULATION
    gone = impact_height > 80_000.0
    longitude = (179.9 + 0.3 * impact_height / 90e3 + 180.0) % 360.0 - 180.0
    dataset = published(
        {
            "impact_parameter": impact,
            "bending_angle_l1": np.where(gone, np.nan, bending + 4e-6),
            "bending_angle_l2": np.where(gone | (impact_height < 10_000.0), np.nan, bending + 7e-6),
            "bending_angle": np.where(gone, np.nan, bending),
            "bending_angle_uncertainty": np.where(gone, np.nan, 1e-6 + 0.01 * bending),
            "bending_angle_optimized": bending,
            "observation_weight": np.where(gone, 0.0, np.exp(-impact_height / 50e3)),
            "height": altitude,
            "altitude": altitude,
            "geopotential_height": altitude * 6.3e6 / (6.3e6 + altitude),
            "latitude": -35.0 + impact_height / 90e3,
            "longitude": longitude,
            "refractivity": refractivity,
            "refractivity_uncertainty": 0.002 + 0.003 * refractivity,
            "refractivity_flag": np.zeros(LEVELS),
            "dry_pressure": 100_000.0 * np.exp(-altitude / 7_500.0),
            "dry_temperature": 256.0 + 0.0 * altitude,
            "dry_temperature_uncertainty": 0.5 + 0.0 * altitude,
            "radius_of_curvature": RADIUS,
            "center_of_curvature": [-10_628.151, 12_936.633, 62_803.273],
            "undulation": UNDULATION,
            "reference_time": 536_544_045.7271,
            "reference_latitude": -34.123_456,
            "reference_longitude": -179.987_654,
            "azimuth": 32.4907,
            "setting": 1,
            "quality_flag": 0,
            "super_refraction_altitude": np.nan,
        }
    )
    dataset.attrs = {
        "id": "g02-c001-201701010000",
        "transmitter": "G02",
        "receiver": "c001",
        "mission": "cosmic-1",
        "institution": "terralimb",
        "license": "open",
        "references": "documentation",
        "product_version": "1.0",
        "processing_software": "terralimb 1.2.3",
        "bending_method": "geometric optics",
        "first_signal_frequency": 1_575.42e6,
        "second_signal_frequency": 1_227.60e6,
        "time_coverage_start": "2017-01-01T00:00:00Z",
    }
    return dataset


class Message:
    """What eccodes reads in a message, missing values as NaN."""

    def __init__(self, content: bytes) -> None:
        self.handle = eccodes.codes_new_from_message(content)
        eccodes.codes_set(self.handle, "unpack", 1)

    def all(self, key: str) -> np.ndarray:
        values = np.atleast_1d(eccodes.codes_get_array(self.handle, key)).astype(np.float64)
        return np.where(
            (values == eccodes.CODES_MISSING_DOUBLE) | (values == eccodes.CODES_MISSING_LONG), np.nan, values
        )

    def one(self, key: str) -> float:
        return float(self.all(f"#1#{key}")[0])

    def elements(self) -> list[tuple[str, int, int, int]]:
        """Descriptor, scale, reference and width of every element in its order."""
        iterator, found = eccodes.codes_bufr_keys_iterator_new(self.handle), []
        while eccodes.codes_bufr_keys_iterator_next(iterator):
            key = eccodes.codes_bufr_keys_iterator_get_name(iterator)
            if key.startswith("#") and "->" not in key:
                parts = ("scale", "reference", "width")
                code = eccodes.codes_get(self.handle, f"{key}->code", str)
                found.append((code, *(eccodes.codes_get(self.handle, f"{key}->{part}") for part in parts)))
        eccodes.codes_bufr_keys_iterator_delete(iterator)
        return found

    def __del__(self) -> None:
        eccodes.codes_release(self.handle)


class Bending(NamedTuple):
    frequency: np.ndarray
    impact: np.ndarray
    angle: np.ndarray
    sigma: np.ndarray


def bending(message: Message) -> Bending:
    """Rows of signals by level."""
    rows = int(message.one("delayedDescriptorReplicationFactor"))
    pairs = message.all("bendingAngle").reshape(-1, rows, 2)
    return Bending(
        message.all("meanFrequency").reshape(-1, rows),
        message.all("impactParameter").reshape(-1, rows),
        pairs[..., 0],
        pairs[..., 1],
    )


def assert_within(found: np.ndarray, expected: np.ndarray, quantum: float) -> None:
    """Equal within half a quantum, and missing together."""
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    known = np.isfinite(expected)
    assert known.any()
    assert np.abs(found - expected)[known].max() <= 0.5 * quantum * (1.0 + 1e-6)


def chosen(product: xr.Dataset, message: Message) -> np.ndarray:
    """Indices of the levels in a message, each one a level of the product."""
    impact = product["impact_parameter"].to_numpy()
    indices = np.abs(impact[:, np.newaxis] - bending(message).impact[:, 0]).argmin(axis=0)
    assert np.unique(indices).size == indices.size
    return indices


def test_the_sequence_table_is_what_eccodes_expands_310026_to(product: xr.Dataset) -> None:
    with_meteorology = meteorological(product)
    expected = Message(bufr.encode(with_meteorology, bulletin=bufr.Bulletin(most_levels=2))).elements()
    codes = {"bending": 2, "signal": 3, "refractivity": 2, "meteorology": 2}
    factors = {16: "031002", 8: "031001"}

    def flattened(entries: Any) -> list[tuple[str, int, int, int]]:
        rows: list[tuple[str, int, int, int]] = []
        for entry in entries:
            if isinstance(entry, bufr._Group):
                rows += [(factors[entry.width], 0, 0, entry.width), *flattened(entry.of) * codes[entry.name]]
            else:
                rows.append((entry.descriptor, entry.scale, entry.reference, entry.width))
        return rows

    assert flattened(bufr._sequence().elements) == expected
    assert len(expected) > 100


def meteorological(product: xr.Dataset) -> xr.Dataset:
    """The product with a variational retrieval below 40 km."""
    altitude = product["altitude"].to_numpy()
    low = altitude < 40_000.0
    values = {
        "pressure": 101_300.0 * np.exp(-altitude / 7_000.0),
        "temperature": 290.04 - 0.002 * altitude,
        "specific_humidity": 0.012_34 * np.exp(-altitude / 2_000.0),
    }
    errors = {"pressure": 55.0, "temperature": 1.27, "specific_humidity": 0.000_52}
    made = {name: ("height", np.where(low, value, np.nan)) for name, value in values.items()}
    made |= {f"{name}_uncertainty": ("height", np.where(low, error, np.nan)) for name, error in errors.items()}
    return product.assign(made)


def test_bufr_holds_each_bending_angle_within_half_a_quantum(product: xr.Dataset) -> None:
    message = Message(bufr.encode(product))
    found, at = bending(message), chosen(product, message)
    np.testing.assert_array_equal(found.frequency, np.tile([16e8, 12e8, 0.0], (at.size, 1)))
    names = ("bending_angle_l1", "bending_angle_l2", "bending_angle")
    expected = np.stack([product[name].to_numpy()[at] for name in names], axis=-1)
    assert_within(found.angle, expected, 1e-8)
    assert np.isnan(found.angle[:, 1]).any()
    assert_within(found.impact, np.repeat(product["impact_parameter"].to_numpy()[at, np.newaxis], 3, axis=1), 0.1)
    assert_within(found.sigma[:, 2], product["bending_angle_uncertainty"].to_numpy()[at], 1e-8)
    assert np.isnan(found.sigma[:, :2]).all()
    assert_within(message.all("latitude")[1:], product["latitude"].to_numpy()[at], 1e-5)
    assert_within(message.all("longitude")[1:], product["longitude"].to_numpy()[at], 1e-5)


def test_bufr_holds_each_refractivity_within_half_a_quantum(product: xr.Dataset) -> None:
    message = Message(bufr.encode(product))
    pairs = message.all("atmosphericRefractivity").reshape(-1, 2)
    at = np.abs(product["refractivity"].to_numpy()[:, np.newaxis] - pairs[:, 0]).argmin(axis=0)
    assert_within(message.all("height"), product["altitude"].to_numpy()[at], 1.0)
    assert_within(pairs[:, 0], product["refractivity"].to_numpy()[at], 1e-3)
    assert_within(pairs[:, 1], product["refractivity_uncertainty"].to_numpy()[at], 1e-3)
    confidence = message.all("percentConfidence")[1 + at.size : 1 + 2 * at.size]
    assert_within(confidence, 100.0 * product["observation_weight"].to_numpy()[at], 1.0)


def test_bufr_states_geometry_and_time(product: xr.Dataset) -> None:
    message = Message(bufr.encode(product))
    x, y, z = product["center_of_curvature"].to_numpy()
    expected = {
        "latitude": (-34.123_456, 1e-5),
        "longitude": (-179.987_654, 1e-5),
        "earthLocalRadiusOfCurvature": (RADIUS, 0.1),
        "geoidUndulation": (UNDULATION, 0.01),
        "bearingOrAzimuth": (32.4907, 0.01),
        "timeIncrement": (45.7271, 1e-3),
        "#3#DistanceFromEarthCentreInDirectionOf0DegreesLongitude": (x, 0.01),
        "#3#DistanceFromEarthCentreInDirection90DegreesEast": (y, 0.01),
        "#3#DistanceFromEarthCentreInDirectionOfNorthPole": (z, 0.01),
    }
    for key, (value, quantum) in expected.items():
        found = message.all(key if key.startswith("#") else f"#1#{key}")
        assert_within(found, np.array([value]), quantum)
    assert [message.one(key) for key in ("year", "month", "day", "hour", "minute", "second")] == [2017, 1, 1, 0, 0, 0]
    assert message.one("timeSignificance") == 17
    assert message.one("productTypeForRetrievedAtmosphericGases") == 3
    assert message.one("softwareIdentification") == 1023
    for key in ("absolutePlatformVelocityFirstComponent", "DistanceFromEarthCentreInDirectionOfNorthPole"):
        assert np.isnan(message.all(f"#1#{key}"))
        assert np.isnan(message.all(f"#2#{key}"))
    keys = ("edition", "dataCategory", "internationalDataSubCategory", "unexpandedDescriptors", "typicalYear")
    assert [eccodes.codes_get(message.handle, key) for key in keys] == [4, 3, 50, 310_026, 2017]


def test_bufr_holds_the_variational_retrieval_where_it_ran(product: xr.Dataset) -> None:
    message = Message(bufr.encode(meteorological(product)))
    # what follows the last level is the surface: its height, pressure and error
    height = message.all("geopotentialHeight")[:-1]
    made = meteorological(product).isel(
        height=np.abs(product["geopotential_height"].to_numpy()[:, np.newaxis] - height).argmin(axis=0)
    )
    assert_within(height, made["geopotential_height"].to_numpy(), 1.0)
    for key, name, quantum, after in (
        ("nonCoordinatePressure", "pressure", 10.0, 2),
        ("airTemperature", "temperature", 0.1, 0),
        ("specificHumidity", "specific_humidity", 1e-5, 0),
    ):
        values = message.all(key)
        pairs = values[: values.size - after].reshape(-1, 2)
        assert_within(pairs[:, 0], made[name].to_numpy(), quantum)
        assert_within(pairs[:, 1], made[f"{name}_uncertainty"].to_numpy(), quantum)
        assert np.isnan(values[values.size - after :]).all()
    assert Message(bufr.encode(product)).all("extendedDelayedDescriptorReplicationFactor")[2] == 0


def test_bufr_levels_are_levels_of_the_product_and_closest_where_the_products_are(product: xr.Dataset) -> None:
    message = Message(bufr.encode(product))
    at = chosen(product, message)
    impact = product["impact_parameter"].to_numpy()
    height = impact[at] - RADIUS - UNDULATION
    assert at.size == 300
    assert at[0] == 0
    assert height[-1] == pytest.approx(60_000.0, abs=1e-6)
    steps = np.diff(at)
    assert set(steps) == {2, 3}
    # no long run of wide steps: counted evenly
    assert np.abs(at - np.linspace(0, at[-1], at.size)).max() <= 0.5
    assert np.diff(height[height <= 10_000.0]).max() <= 150.0 + 1e-6
    assert np.diff(height[height > 10_000.0]).min() >= 200.0 - 1e-6
    few = Message(bufr.encode(product.isel(impact=slice(250), height=slice(250))))
    np.testing.assert_array_equal(chosen(product, few), np.arange(250))


@pytest.mark.parametrize(
    ("name", "value", "field", "key"),
    [
        ("bending_angle", 0.083, "bending_angle", "bendingAngle"),
        ("bending_angle", -0.00101, "bending_angle", "bendingAngle"),
        ("bending_angle_uncertainty", 0.0095, "bending_angle_uncertainty", "bendingAngle"),
        ("refractivity", 525.0, "refractivity", "atmosphericRefractivity"),
        ("refractivity_uncertainty", 16.384, "refractivity_uncertainty", "atmosphericRefractivity"),
    ],
)
def test_what_an_element_cannot_hold_is_missing_and_reported(
    product: xr.Dataset, name: str, value: float, field: str, key: str
) -> None:
    clean, content = bufr.encoded(product), product.copy(deep=True)
    content[name][0] = value
    spoilt = bufr.encoded(content)
    assert clean.outside == {}
    assert spoilt.outside == {field: 1}
    lost = np.isnan(Message(spoilt.content).all(key)).sum() - np.isnan(Message(clean.content).all(key)).sum()
    assert lost == 1


@pytest.mark.parametrize(("value", "held"), [(-0.001, True), (0.082_886_06, True), (0.082_886_07, False)])
def test_the_range_of_the_bending_angle_ends_where_all_bits_would_be_set(
    product: xr.Dataset, value: float, held: bool
) -> None:
    product["bending_angle"][0] = value
    message = bufr.encoded(product)
    assert (message.outside == {}) is held
    assert np.isfinite(bending(Message(message.content)).angle[0, 2]) == held


@pytest.mark.parametrize(
    ("receiver", "mission", "satellite", "instrument"),
    [
        ("c001", "cosmic-1", 740, 102),
        ("C006", "cosmic-1", 745, 102),
        ("cosmic1c3", "cosmic1", 742, 102),
        ("c2e1", "cosmic-2", 750, 104),
        ("cosmic2e6", "cosmic2", 755, 104),
        ("metb", "metop", 3, 202),
        ("metopc", "metop", 5, 202),
        ("fy3e", "fengyun-3", 524, 965),
        ("spireS100", "spire", 269, np.nan),
        ("tl01", "terralimb", np.nan, np.nan),
    ],
)
def test_satellites_carry_their_wmo_identifiers_and_unknown_ones_none(
    product: xr.Dataset, receiver: str, mission: str, satellite: float, instrument: float
) -> None:
    message = Message(bufr.encode(product.assign_attrs(receiver=receiver, mission=mission)))
    np.testing.assert_equal(message.one("satelliteIdentifier"), satellite)
    np.testing.assert_equal(message.one("satelliteInstruments"), instrument)


@pytest.mark.parametrize(
    ("transmitter", "group", "number"),
    [("G32", 401, 32), ("R07", 402, 7), ("E11", 403, 11), ("C59", 404, 59), ("J02", 405, 2), ("I03", np.nan, 3)],
)
def test_transmitters_carry_their_system_and_number(
    product: xr.Dataset, transmitter: str, group: float, number: float
) -> None:
    message = Message(bufr.encode(product.assign_attrs(transmitter=transmitter)))
    np.testing.assert_equal(message.one("satelliteClassification"), group)
    assert message.one("platformTransmitterIdNumber") == number


def test_the_originator_is_missing_unless_stated(product: xr.Dataset) -> None:
    silent = Message(bufr.encode(product))
    assert np.isnan(silent.one("centre"))
    assert eccodes.codes_get(silent.handle, "bufrHeaderCentre") == 65_535
    stated = Message(bufr.encode(product, bulletin=bufr.Bulletin(centre=38, subcentre=7)))
    assert stated.one("centre") == 38
    assert [eccodes.codes_get(stated.handle, f"bufrHeader{part}") for part in ("Centre", "SubCentre")] == [38, 7]


def raised(product: xr.Dataset, names: list[str]) -> xr.Dataset:
    """The product with these quality flags."""
    attributes = product["quality_flag"].attrs
    masks = dict(zip(str(attributes["flag_meanings"]).split(), np.atleast_1d(attributes["flag_masks"]), strict=True))
    flag = product["quality_flag"].copy(data=np.array(sum(int(masks[name]) for name in names), dtype=np.int32))
    return product.assign(quality_flag=flag)


def bits_of(product: xr.Dataset) -> tuple[set[int], set[int]]:
    """Bits of the flag table in the BUFR message and in ROPP's product confidence data."""
    flags = int(Message(bufr.encode(product)).one("radioOccultationDataQualityFlags"))
    with opened(ropp.encode(product)) as file:
        confidence = int(file["pcd"][0])
    return {bit for bit in range(1, 17) if flags >> (16 - bit) & 1}, {
        bit + 1 for bit in range(16) if confidence >> bit & 1
    }


@pytest.mark.parametrize("name", QUALITY_BITS)
def test_each_quality_flag_raises_its_bits_in_bufr_and_in_ropp(product: xr.Dataset, name: str) -> None:
    assert bits_of(raised(product, [name])) == (QUALITY_BITS[name], QUALITY_BITS[name])


def test_every_published_quality_flag_has_a_row_in_the_mapping() -> None:
    meanings = schema.table(profile.PRODUCT)["quality_flag"].further["flag_meanings"]
    assert set(str(meanings).split()) <= set(occultation_exchange._table()["quality"])


def test_rising_and_offline_have_bits_and_an_unknown_flag_makes_the_profile_non_nominal(product: xr.Dataset) -> None:
    rising = product.assign(setting=product["setting"].copy(data=np.array(0, dtype=np.int16)))
    assert bits_of(product) == (set(), set())
    assert bits_of(rising) == ({3}, {3})
    assert occultation_exchange.quality_bits(rising, offline=True) == {2, 3}
    unknown = raised(product, ["shallow"])
    unknown["quality_flag"].attrs["flag_meanings"] = (
        unknown["quality_flag"].attrs["flag_meanings"].replace("shallow", "x")
    )
    assert bits_of(unknown) == ({1}, {1})


@pytest.mark.parametrize(("names", "percent"), [([], 100), (["data_gaps"], 50), (["data_gaps", "high_noise"], 0)])
def test_confidence_follows_the_flags(product: xr.Dataset, names: list[str], percent: int) -> None:
    content = raised(product, names)
    assert Message(bufr.encode(content)).one("percentConfidence") == percent
    with opened(ropp.encode(content)) as file:
        assert float(file["overall_qual"][0]) == percent


def test_a_duct_has_its_altitude_and_takes_the_confidence_from_all_the_product_marks_under_it(
    product: xr.Dataset,
) -> None:
    top, duct = float(product["altitude"][20]), raised(product, ["super_refraction"]).copy(deep=True)
    marked = np.arange(LEVELS) < 20
    duct["super_refraction_altitude"][...] = top
    duct["refractivity_flag"][marked] = 1
    with opened(aws.encode(duct)) as file:
        assert float(file["superRefractionAltitude"][:]) == top
    with opened(aws.encode(product)) as file:
        assert float(file["superRefractionAltitude"][:]) == -1000.0
    for content, doubtful in ((duct, marked), (product, np.zeros(LEVELS, dtype=bool))):
        with opened(ropp.encode(content)) as file:
            trusted = np.asarray(file["refrac_qual"][0]) > 0.0
        # above 80 km the observation has no weight either
        np.testing.assert_array_equal(trusted[:600], ~doubtful[:600])
    assert Message(bufr.encode(duct)).all("percentConfidence")[1 + 300] == 0.0


def entered(product: xr.Dataset) -> xr.Dataset:
    """The product as it is where the chain began with a bending angle another centre had merged up to 60 km."""
    lost = {name: product[name] * np.nan for name in ("bending_angle_l1", "bending_angle_l2")}
    weight = product["observation_weight"].copy(data=np.where(IMPACT_HEIGHTS > 60_000.0, 0.0, np.nan))
    made = product.assign(lost | {"observation_weight": weight})
    return made.assign_attrs(bending_method="bending angle as given by Another Centre")


def test_a_profile_that_entered_at_the_bending_angle_has_one_row_a_level(product: xr.Dataset) -> None:
    found = bending(Message(bufr.encode(entered(product))))
    assert found.angle.shape == (300, 1)
    assert (found.frequency == 0.0).all()


def test_the_weight_another_centre_does_not_state_leaves_the_confidence_open_unless_there_is_none(
    product: xr.Dataset,
) -> None:
    doubtful = raised(entered(product), ["high_noise"])
    stated = product["altitude"].to_numpy() > 60_000.0
    for content, below in ((entered(product), np.nan), (doubtful, 0.0)):
        trust = np.where(stated, 0.0, below)
        with opened(ropp.encode(content)) as file:
            for name in ("bangle_opt_qual", "refrac_qual"):
                np.testing.assert_array_equal(np.ma.filled(np.ma.masked_less(file[name][0], -1.0), np.nan), trust)
        sent = Message(bufr.encode(content)).all("percentConfidence")[1 + 300 :]
        np.testing.assert_array_equal(sent[:300], np.full(300, below))


def test_aws_names_the_centre_whose_methods_made_a_bending_angle(product: xr.Dataset) -> None:
    merged_by_us = entered(product).assign(observation_weight=product["observation_weight"])
    names = ("optimization_references", "ionospheric_references")
    told = {}
    for kind, content in (("ours", product), ("theirs", entered(product)), ("half", merged_by_us)):
        with opened(aws.encode(content)) as file:
            told[kind] = [file.getncattr(name) == "as given by Another Centre" for name in names]
    assert told == {"ours": [False, False], "theirs": [True, True], "half": [False, True]}


def test_more_levels_than_the_count_can_say_are_refused(product: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = bufr._sequence()
    narrow = tuple(
        entry._replace(width=8) if isinstance(entry, bufr._Group) and entry.name == "bending" else entry
        for entry in sequence.elements
    )
    monkeypatch.setattr(bufr, "_sequence", lambda: sequence._replace(elements=narrow))
    with pytest.raises(ValueError, match="bending do not fit in 8 bits"):
        bufr.encode(product)


def test_a_second_reader_finds_the_same_message(product: xr.Dataset) -> None:
    decoder = pytest.importorskip("pybufrkit.decoder")
    message = decoder.Decoder().process(bufr.encode(product))
    values = [value for value in message.template_data.value.decoded_values_all_subsets[0] if value is not None]
    ours = Message(bufr.encode(product))
    numbers = np.array([float(value) for value in values])
    impact = ours.all("impactParameter").reshape(-1, 3)[:, 0]
    np.testing.assert_allclose(np.unique(numbers[(numbers > 6.36e6) & (numbers < 6.5e6)])[1:], impact, atol=1e-6)
    angles = ours.all("bendingAngle")
    assert np.isin(np.round(angles[np.isfinite(angles)], 8), np.round(numbers, 8)).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_the_same_profile_gives_the_same_bytes_and_another_gives_others(product: xr.Dataset, name: str) -> None:
    encode: Callable[[xr.Dataset], bytes] = ENCODERS[name]
    reordered = product[sorted(product.variables, reverse=True)]
    assert encode(product) == encode(reordered.copy(deep=True))
    changed = product.copy(deep=True)
    changed["bending_angle"][0] = changed["bending_angle"][0] + 1e-6
    assert encode(product) != encode(changed)


def opened(content: bytes) -> netCDF4.Dataset:
    return netCDF4.Dataset("profile.nc", memory=content)


def test_aws_layout_is_that_of_the_description_v1_1(product: xr.Dataset) -> None:
    with opened(aws.encode(product)) as file:
        found = {name: (v.dtype.str[1:], v.dimensions, v.units) for name, v in file.variables.items()}
        assert file.data_model == "NETCDF4"
        assert found == AWS_VARIABLES
        assert set(file.ncattrs()) == AWS_ATTRIBUTES
        assert {name: len(size) for name, size in file.dimensions.items()} == {
            "xyz": 3,
            "signal": 2,
            "impact": LEVELS,
            "level": LEVELS,
        }
        assert file["setting"]._FillValue == -128
        assert file["centerOfCurvature"].reference_frame == "ECEF"
        assert all("_FillValue" not in v.ncattrs() for name, v in file.variables.items() if name != "setting")


def test_aws_values_are_in_its_units(product: xr.Dataset) -> None:
    product["geopotential_height"][50] = 10_000.0
    with opened(aws.encode(product)) as file:
        # 2017-01-01T00:00:00 UTC is 1 167 264 018 s of GPS time, 18 leap seconds after 1930 weeks
        assert float(file["refTime"][:]) == pytest.approx(1_167_264_018 + 45.7271, abs=1e-4)
        assert float(file["geopotential"][50]) == pytest.approx(98_066.5, abs=1e-6)
        assert float(file["polarRadius"][:]) == pytest.approx(6_356_752.3142, abs=1e-4)
        np.testing.assert_array_equal(file["dryPressure"][:], product["dry_pressure"])
        np.testing.assert_array_equal(file["refractivity"][:], product["refractivity"])
        np.testing.assert_array_equal(file["carrierFrequency"][:], [1_575.42e6, 1_227.60e6])
        assert (np.diff(file["impactParameter"][:]) > 0.0).all()
        assert aws.encoded(product).outside == {}
        assert [int(file.getncattr(name)) for name in ("year", "doy", "hour", "minute")] == [2017, 1, 0, 0]
        assert float(file.second) == pytest.approx(45.7271, abs=1e-4)
        assert [file.mission, file.leo, file.occGnss, int(file["setting"][:])] == ["cosmic1", "cosmic1c1", "G02", 1]


def test_missing_stays_missing_in_aws_as_the_default_fill(product: xr.Dataset) -> None:
    with opened(aws.encode(product)) as file:
        for index, name in enumerate(("bending_angle_l1", "bending_angle_l2")):
            column = file["rawBendingAngle"][:, index]
            np.testing.assert_array_equal(np.ma.getmaskarray(column), np.isnan(product[name]))
            np.testing.assert_array_equal(column.compressed(), product[name].dropna("impact"))
        assert np.ma.getmaskarray(file["orientation"][:]).all()
        file.set_auto_mask(False)
        assert file["bendingAngle"][-1] == netCDF4.default_fillvals["f8"]


def test_ropp_values_are_in_its_units_and_undefined_where_missing(product: xr.Dataset) -> None:
    with scipy.io.netcdf_file(io.BytesIO(ropp.encode(product)), "r", mmap=False) as file:
        assert file.version_byte == 1
        for name, ours in (
            ("impact", "impact_parameter"),
            ("bangle", "bending_angle"),
            ("bangle_L1", "bending_angle_l1"),
            ("bangle_L2", "bending_angle_l2"),
            ("bangle_opt", "bending_angle_optimized"),
            ("bangle_sigma", "bending_angle_uncertainty"),
            ("refrac", "refractivity"),
            ("refrac_sigma", "refractivity_uncertainty"),
            ("dry_temp", "dry_temperature"),
        ):
            expected = np.where(np.isnan(product[ours]), -99_999_000.0, product[ours])
            np.testing.assert_array_equal(file.variables[name][0], expected)
        for name, ours, length in (
            ("alt_refrac", "altitude", 0.004),
            ("geop_refrac", "geopotential_height", 0.004),
            ("lat_tp", "latitude", 1e-5),
            ("lon_tp", "longitude", 1e-5),
            ("r_coc", "center_of_curvature", 0.003),
        ):
            np.testing.assert_allclose(file.variables[name][0], product[ours], atol=length)
        texts = {
            n: bytes(file.variables[n][0]).rstrip(b"\0").decode() for n in ("occ_id", "gns_id", "leo_id", "stn_id")
        }
        assert texts == {
            "occ_id": "OC_20170101000000_C001_G002_TERR",
            "gns_id": "G002",
            "leo_id": "C001",
            "stn_id": "",
        }
        assert [float(file.variables[n][0]) for n in ("start_time", "time")] == [536_544_000.0, 536_544_045.7271]
        assert float(file.variables["time_offset"][0]) == pytest.approx(45.7271, abs=1e-5)


def test_what_lies_outside_a_valid_range_of_ropp_is_undefined_and_reported(product: xr.Dataset) -> None:
    assert ropp.encoded(product).outside == {}
    product["dry_temperature"][800:] = 120.0
    product["bending_angle"][0] = 0.11
    spoilt = ropp.encoded(product)
    assert spoilt.outside == {"dry_temp": LEVELS - 800, "bangle": 1}
    with opened(spoilt.content) as file:
        file.set_auto_mask(False)
        assert file["bangle"][0, 0] == -99_999_000.0
        assert (file["dry_temp"][0, 800:] == -99_999_000.0).all()
        assert (file["dry_temp"][0, :800] == 256.0).all()


def test_a_level_higher_than_ropp_goes_is_left_out_whole_and_reported(product: xr.Dataset) -> None:
    product["altitude"][-2:] = [150_000.0, 150_000.1]
    spoilt = ropp.encoded(product)
    assert spoilt.outside == {"alt_refrac": 1}
    with opened(spoilt.content) as file:
        assert len(file.dimensions["dim_lev1b"]) == LEVELS
        np.testing.assert_array_equal(file["refrac"][0], product["refractivity"][:-1])
        assert file["alt_refrac"][0, -1] == 150_000.0


def test_places_between_levels_cross_the_date_line_the_short_way_and_end_with_the_levels() -> None:
    impact, longitude = np.array([0.0, 100.0, 200.0, 300.0]), np.array([179.8, 180.0, -179.8, np.nan])
    found = occultation_exchange.at(np.array([50.0, 150.0, 200.4, 201.0]), impact, longitude, period=360.0)
    np.testing.assert_allclose(found, [179.9, -179.9, -179.8, np.nan], atol=1e-9)
    backward = occultation_exchange.at(np.array([150.0]), impact[2::-1], longitude[2::-1], period=360.0)
    np.testing.assert_allclose(backward, [-179.9], atol=1e-9)


def test_a_profile_without_observation_or_place_is_a_message_without_levels(product: xr.Dataset) -> None:
    names = ("bending_angle_l1", "bending_angle_l2", "bending_angle", "latitude", "longitude")
    empty = product.assign({name: product[name] * np.nan for name in names})
    message = Message(bufr.encode(empty))
    np.testing.assert_array_equal(message.all("extendedDelayedDescriptorReplicationFactor"), [0, 0, 0])
    with opened(ropp.encode(empty)) as file:
        file.set_auto_mask(False)
        assert (file["lat_tp"][:] == np.float32(-99_999_000.0)).all()


def test_software_without_a_version_has_no_number(product: xr.Dataset) -> None:
    message = Message(bufr.encode(product.assign_attrs(processing_software="terralimb")))
    assert np.isnan(message.one("softwareIdentification"))
