"""A day of profiles in one file: nothing lost, nothing added, the same bytes whoever makes it and when."""

import datetime as dt
import io
import time
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from compliance_checker.runner import CheckSuite
from scipy.io import netcdf_file
from typer.testing import CliRunner

from infra import cli
from processors import quality
from products import profile_aggregate
from products.profile_aggregate import Source
from tests.unit.occultation_day_profiles import profile_file

MIDNIGHT = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
WAIVED = {
    "standard_name": "the CF table has no name for refractivity, bending angle and what belongs to them",
    "date_": "a file is a pure function of its inputs: no wall-clock",
    "_url": "the operator's address is not known to the product",
    "_email": "the operator's address is not known to the product",
    "contributor_": "contributors are the institution already named",
    "_vocabulary": "platform, instrument and keywords are free text",
    "metadata_link": "the catalogue item points to the file, not the file to the catalogue",
    "geospatial_lat_resolution": "profiles are not on a grid",
    "geospatial_lon_resolution": "profiles are not on a grid",
}
GRIDS = ["check_grid_coordinates", "check_reduced_horizontal_grid"]
DIMENSIONS = {"impact": "n_impact_levels", "height": "n_height_levels", "sounding": "n_sounding_samples"}


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    """Profiles of one day that differ in levels; one lacks optional variables."""
    shapes = [(9, 7), (12, 5), (4, 11), (10, 10)]
    made = [profile_file(seed, levels=shape, place=(20.0, 106.0)) for seed, shape in enumerate(shapes)]
    lacking = ("sounding_time", "sounding_height", "slant_electron_content", "phase_noise_l2", "wave_optics_weight")
    return [*made, profile_file(9, levels=(6, 6), without=lacking)]


@pytest.fixture(scope="module")
def sources(files: list[bytes]) -> list[Source]:
    return [Source(content, f"occultation-profile-{number}", number + 1) for number, content in enumerate(files)]


@pytest.fixture(scope="module")
def encoded(sources: list[Source]) -> bytes:
    return profile_aggregate.encode(profile_aggregate.aggregate(sources))


@pytest.fixture
def path(encoded: bytes, tmp_path: Path) -> Path:
    (tmp_path / "day.nc").write_bytes(encoded)
    return tmp_path / "day.nc"


def raw(content: bytes) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, tuple[str, ...]], dict[str, Any]]:
    """Variables, dimensions and attributes of a profile's file by another reader than ours."""
    with netcdf_file(io.BytesIO(content), mmap=False) as opened:
        values = {name: np.array(variable.data) for name, variable in opened.variables.items()}
        dimensions = {name: variable.dimensions for name, variable in opened.variables.items()}
        return values, dimensions, dict(opened._attributes)


def test_the_same_profiles_give_the_same_bytes_whatever_their_order_and_the_clock(
    sources: list[Source], encoded: bytes
) -> None:
    time.sleep(1.1)  # HDF5 keeps times in seconds
    assert profile_aggregate.encode(profile_aggregate.aggregate(sources[::-1])) == encoded
    assert profile_aggregate.encode(profile_aggregate.aggregate([*sources[2:], *sources])) == encoded
    assert profile_aggregate.encode(profile_aggregate.aggregate(sources[1:])) != encoded


def test_every_value_of_every_profile_is_found_bit_for_bit_and_the_rest_is_fill(files: list[bytes], path: Path) -> None:
    compared = 0
    with netCDF4.Dataset(path) as day:
        day.set_auto_mask(False)
        names = list(day["occultation_id"][:])
        for content in files:
            values, dimensions, attributes = raw(content)
            index = names.index(attributes["occultation_id"].decode())
            for name, expected in values.items():
                held = day["time" if name == "reference_time" else name][index]
                own = tuple(slice(length) for length in expected.shape)
                assert same_bits(np.asarray(held)[own], expected), name
                compared += expected.size
                beyond = np.ones(np.shape(held), bool)
                beyond[own] = False
                assert is_fill(np.asarray(held)[beyond], day, name)
            for dimension, count in DIMENSIONS.items():
                lengths = {values[name].shape[0] for name, dims in dimensions.items() if dims == (dimension,)}
                assert int(day[count][index]) == max(lengths, default=0)
            missing = set(day.variables) & {"slant_electron_content", "phase_noise_l2"} - set(values)
            assert all(is_fill(np.asarray(day[name][index]), day, name) for name in missing)
    assert compared > 1500


def same_bits(held: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> bool:
    return held.tobytes() == expected.astype(expected.dtype.newbyteorder("=")).tobytes()


def is_fill(values: np.ndarray[Any, Any], day: netCDF4.Dataset, name: str) -> bool:
    if not values.size:
        return True
    fill = day[name].getncattr("_FillValue")
    return bool(np.isnan(values).all() and np.isnan(fill)) if values.dtype.kind == "f" else bool((values == fill).all())


def test_every_attribute_of_every_profile_is_kept_once_for_all_or_for_each(files: list[bytes], path: Path) -> None:
    with xr.open_dataset(path) as day:
        names = day["occultation_id"].to_numpy().tolist()
        for content in files:
            attributes = raw(content)[2]
            index = names.index(attributes["occultation_id"].decode())
            for name in set(attributes) - profile_aggregate.REMADE:
                value = attributes[name].decode() if isinstance(attributes[name], bytes) else attributes[name]
                found = day[name].to_numpy()[index] if name in day else day.attrs[name]
                assert np.array_equal(found, value), name
        assert "receiver_orbit_residual" in day
        assert "mission" in day  # though all agree
        assert "program" in day.attrs


def test_each_profile_names_the_file_it_came_from(sources: list[Source], path: Path) -> None:
    import hashlib

    with xr.open_dataset(path) as day:
        columns = [day[name].to_numpy().tolist() for name in ("source_item", "source_revision", "source_sha256")]
    expected = {(one.item, one.revision, hashlib.sha256(one.content).hexdigest()) for one in sources}
    assert set(zip(*columns, strict=True)) == expected


def test_one_line_of_xarray_opens_it_with_times_in_order_and_profiles_to_choose(path: Path) -> None:
    day = xr.open_dataset(path)
    assert day["time"].dtype == np.dtype("datetime64[ns]")
    assert (np.diff(day["time"].to_numpy()) >= np.timedelta64(0)).all()
    by_time = day.swap_dims({"profile": "time"})
    assert by_time.sel(time=by_time["time"][2])["quality_flag"] == day["quality_flag"][2]
    by_name = day.swap_dims({"profile": "occultation_id"})
    name = str(day["occultation_id"][3].item())
    assert by_name.sel(occultation_id=name).equals(by_name.isel(occultation_id=3))
    assert day.isel(profile=1)["altitude"].dims == ("height_level",)
    assert day["quality_flag"].dtype == np.int32
    day.close()


def test_profiles_are_chunked_by_rows_with_all_their_levels_and_compressed(
    sources: list[Source], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert profile_aggregate.ROWS_PER_CHUNK == 64
    with netCDF4.Dataset(path) as day:
        assert day["bending_angle"].chunking() == [5, 12]
    monkeypatch.setattr(profile_aggregate, "ROWS_PER_CHUNK", 2)
    (tmp_path / "many.nc").write_bytes(profile_aggregate.encode(profile_aggregate.aggregate(sources)))
    with netCDF4.Dataset(tmp_path / "many.nc") as day:
        assert day["refractivity"].chunking() == [2, 11]
        assert day["refractivity"].filters()["zlib"]


def test_a_profile_taken_out_again_passes_the_table_it_was_published_by(path: Path) -> None:
    with profile_aggregate.decode(path) as day:
        profile_aggregate.check(day)
        assert "phase_noise_l2" not in profile_aggregate.profile_at(day, names(day).index("G10-fy-3e-9"))
        broken = day.load().copy(deep=True)
    broken["refractivity"][2, 1] = 4000.0
    with pytest.raises(profile_aggregate.schema.SchemaError, match="refractivity: 1 values outside"):
        profile_aggregate.check(broken)


def names(day: xr.Dataset) -> list[str]:
    return [str(name) for name in day["occultation_id"].to_numpy()]


def test_a_profile_belongs_to_the_day_of_its_reference_time() -> None:
    before, after = (profile_file(seed, at=MIDNIGHT + dt.timedelta(seconds=s)) for seed, s in ((1, -0.01), (2, 0.0)))
    days = [profile_aggregate.aggregate([Source(content)]).attrs["id"] for content in (before, after)]
    assert days == ["occultation-day-20260301", "occultation-day-20260302"]
    with pytest.raises(quality.BadInputError, match="of 2026-03-01, 2026-03-02: give those of one UTC day"):
        profile_aggregate.aggregate([Source(before), Source(after)])


def test_what_is_no_day_is_refused_in_words() -> None:
    with pytest.raises(quality.BadInputError, match="no profile to make a day of"):
        profile_aggregate.aggregate([])
    with pytest.raises(quality.BadInputError, match="item-7 is no profile"):
        profile_aggregate.aggregate([Source(b"<html>not found</html>", "item-7", 1)])
    twice = [Source(profile_file(1)), Source(profile_file(1, levels=(5, 5)))]
    with pytest.raises(quality.BadInputError, match="two different files are of occultation G02-fy-3e-1"):
        profile_aggregate.aggregate(twice)


@pytest.mark.parametrize(
    ("east", "expected"), [((170.0, -175.0), (170.0, -175.0)), ((10.0, 106.0), (10.0, 106.0)), ((7.0, 7.0), (7.0, 7.0))]
)
def test_the_box_is_the_narrow_one_across_the_date_line(
    east: tuple[float, float], expected: tuple[float, float]
) -> None:
    day = profile_aggregate.aggregate([Source(profile_file(seed, place=(5.0, x))) for seed, x in enumerate(east)])
    # The tangent points of these profiles lie anywhere: where they are unknown the reference points alone count.
    unknown = {name: day[name] * np.nan for name in ("latitude", "longitude")}
    assert profile_aggregate.box(day.assign_coords(unknown)) == (expected[0], 5.0, expected[1], 5.0)


def complaints(path: Path, suite_name: str, *, only: list[str] | None = None) -> list[str]:
    """Failed checks of one suite, by message; what concerns grids is left out, it takes two thirds of the time."""
    CheckSuite.load_all_available_checkers()
    suite = CheckSuite()
    opened = suite.load_dataset(str(path))
    pending = list(suite.run_all(opened, [suite_name], only, None if only else GRIDS)[suite_name][0])
    opened.close()
    found = []
    while pending:
        result = pending.pop()
        pending.extend(result.children)
        failed = result.value is False or (isinstance(result.value, tuple) and result.value[0] != result.value[1])
        found.extend(f"{result.name}: {message}" for message in result.msgs if failed)
    return found


@pytest.mark.filterwarnings("ignore")
def test_outside_checker_finds_no_fault_in_cf_and_only_waived_ones_in_acdd(path: Path) -> None:
    assert complaints(path, "cf:1.11") == []
    assert [line for line in complaints(path, "acdd:1.3") if not any(name in line for name in WAIVED)] == []
    with netCDF4.Dataset(path, "a") as day:
        day["dry_pressure"].units = "hectopascalles"
    assert any("hectopascalles" in line for line in complaints(path, "cf:1.11", only=["check_units"]))


def test_the_command_makes_the_day_of_the_files_it_is_given(files: list[bytes], encoded: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    for number, content in enumerate([*files, profile_file(77, at=MIDNIGHT)]):
        (folder / f"{number}.nc").write_bytes(content)
    (folder / "notes.txt").write_text("no profile")
    arguments = ["occultation", "aggregate", str(folder), "--out", str(tmp_path / "day.nc")]
    several = CliRunner().invoke(cli.app, arguments)
    assert isinstance(several.exception, quality.BadInputError)
    assert not (tmp_path / "day.nc").exists()
    told = CliRunner().invoke(cli.app, [*arguments, "--day", "2026-03-01"])
    assert told.exit_code == 0, told.output
    said = " ".join(told.output.split())
    assert "5 profiles in" in said
    assert "1 are of other days" in said
    alone = profile_aggregate.encode(profile_aggregate.aggregate([Source(content) for content in files]))
    assert (tmp_path / "day.nc").read_bytes() == alone != encoded
