"""Real pairs of images months apart: a known shift added to one is found again, wrong places are refused."""

import bz2
import gzip
import lzma
import struct

import numpy as np
import pytest
import rasterio
import rasterio.errors
import xarray as xr
from scipy import ndimage

from processors.imagery import coregistration
from processors.imagery.coregistration import CoregistrationParameters

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")]

SHIFTS = ((0.3, -0.7), (-5.4, 3.8))


def largest_vector(octets: bytes) -> np.ndarray:
    """First vector of 90,000 doubles of an R data file (R Internals, section 1.8: XDR, big endian)."""
    for unpack in (gzip.decompress, bz2.decompress, lzma.decompress):
        try:
            octets = unpack(octets)
            break
        except (OSError, lzma.LZMAError):
            continue
    count = 300 * 300
    start = octets.index(struct.pack(">i", count)) + 4
    return np.frombuffer(octets, ">f8", count, start).reshape(300, 300).astype(np.float32)


def moved(image: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    return ndimage.shift(image, shift[::-1], order=3, mode="constant", cval=np.nan)


def found(reference: np.ndarray, target: np.ndarray) -> coregistration.Coregistration:
    return coregistration.estimate_arrays(reference, target, parameters=CoregistrationParameters())


@pytest.fixture(scope="module")
def pairs(shared_data) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    landsat = shared_data("imagery/cran_landsat")
    images = {
        f"landsat {band}": tuple(
            largest_vector((landsat / f"{month}{band}.rda").read_bytes()) for month in ("july", "nov")
        )
        for band in (1, 3, 5, 7)
    }
    thematic = shared_data("imagery/rstoolbox")
    bands = []
    for band in (5, 7):
        with rasterio.open(thematic / f"LT52240631988227CUB02_B{band}.TIF") as dataset:
            bands.append(dataset.read(1).astype(np.float32))
    images["two bands"] = tuple(bands)
    with xr.open_dataset(shared_data("imagery/worldcereal") / "worldcereal_preprocessed_inputs.nc") as dataset:
        months = dataset["S2-L2A-B08"].values.astype(np.float32)
        images["months"] = months[5], months[8]
    return images


@pytest.mark.parametrize("name", ["landsat 1", "landsat 3", "landsat 5", "landsat 7", "two bands", "months"])
def test_known_shift_of_a_real_pair_is_recovered_to_a_tenth_pixel(name, pairs):
    """The pair may have a shift of its own: the difference of the two results counts."""
    reference, target = pairs[name]
    own = found(reference, target)
    assert own.status == "ok"
    for shift in SHIFTS:
        result = found(reference, moved(target, shift))
        assert result.status == "ok"
        assert result.shift_x - own.shift_x == pytest.approx(shift[0], abs=0.1)
        assert result.shift_y - own.shift_y == pytest.approx(shift[1], abs=0.1)


def test_opposite_order_gives_the_opposite_shift(pairs):
    reference, target = pairs["landsat 5"]
    there, back = found(reference, target), found(target, reference)
    assert there.shift_x == pytest.approx(-back.shift_x, abs=0.1)
    assert there.shift_y == pytest.approx(-back.shift_y, abs=0.1)


def test_different_places_and_mirrored_scenes_are_refused(pairs):
    landsat, thematic = pairs["landsat 5"], pairs["two bands"]
    wrong = [
        (landsat[0][:150, :150], landsat[1][150:, 150:]),
        (landsat[0][:150, 150:], landsat[1][150:, :150]),
        (landsat[0][:280, :280], thematic[0][:280, :280]),
        (landsat[0], landsat[1][:, ::-1]),
        (thematic[0], thematic[1][::-1]),
    ]
    assert [found(*pair).status for pair in wrong] == ["refused"] * len(wrong)
