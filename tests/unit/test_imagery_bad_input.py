"""Input nobody should give: the commands refuse it in one sentence that names the file, or flag what they make."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner, Result

from infra.cli import app, imagery
from infra.imagery import height_file, raster_file, reprojection, spatiotemporal, target_grid
from processors.imagery import compositing, resampling
from processors.quality import BadInputError

UTM = rasterio.Affine(30.0, 0.0, 600_000.0, 0.0, -30.0, 3_280_000.0)
BANDS = ("blue", "green", "red", "nir")


def written(path: Path, numbers: np.ndarray, **changes: Any) -> Path:
    scales, offsets = changes.pop("scales", None), changes.pop("offsets", None)
    names = changes.pop("names", BANDS[: len(numbers)])
    count, rows, columns = numbers.shape
    profile = {
        "driver": "GTiff", "dtype": numbers.dtype.name, "count": count, "height": rows, "width": columns,
        "crs": "EPSG:32648", "transform": UTM, "photometric": "MINISBLACK", **changes,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(numbers)
        raster.scales, raster.offsets = scales or (1.0,) * count, offsets or (0.0,) * count
        for number, name in enumerate(names, 1):
            raster.set_band_description(number, name)
    return path


def land(count: int = 4, size: int = 16) -> np.ndarray:
    return np.random.default_rng(3).uniform(0.05, 0.3, (count, size, size)).astype(np.float32)


def called(*words: object) -> Result:
    return CliRunner().invoke(app, ["imagery", *(str(word) for word in words)])


def refused(result: Result, name: str, cause: str) -> str:
    """The sentence of a refusal, which is the same on standard output and for the person."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, BadInputError)
    document = json.loads(result.stdout)
    assert document == {"status": "refused", "cause": cause, "reason": str(result.exception)}
    assert name in document["reason"]
    assert "\n" not in document["reason"]
    return str(document["reason"])


def truncated(path: Path) -> Path:
    whole = written(path.with_name("whole.tif"), land(size=64))
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


def holding(octets: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(octets)
        return path

    return make


def raster(numbers: np.ndarray | None = None, **changes: Any) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        return written(path, land() if numbers is None else numbers, **changes)

    return make


BROKEN = {
    "empty": (holding(b""), "unreadable"),
    "text": (holding(b"hello"), "unreadable"),
    "half": (truncated, None),
    "south_up": (raster(transform=rasterio.Affine(30.0, 0.0, 6e5, 0.0, 30.0, 3.2e6)), "grid_flipped"),
    "rotated": (raster(transform=UTM @ rasterio.Affine.rotation(10)), "grid_irregular"),
    "no_pixel_size": (raster(transform=rasterio.Affine(1e-12, 0.0, 6e5, 0.0, -1e-12, 3.2e6)), "grid_irregular"),
    "degrees_beyond_the_globe": (raster(crs="EPSG:4326"), "axes_swapped"),
    "local": (raster(crs='LOCAL_CS["somewhere",UNIT["metre",1]]'), "crs_missing"),
    "complex": (raster(land().astype(np.complex64)), "mixed_types"),
    "scale_of_zero": (raster(scales=(0.0,) * 4), "scale_invalid"),
    "scale_of_nan": (raster(scales=(float("nan"),) * 4), "scale_invalid"),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("command", ["reproject", "cloud-mask"])
def test_a_broken_raster_is_refused_by_name_and_leaves_nothing(tmp_path, fault, command):
    make, cause = BROKEN[fault]
    source, out = make(tmp_path / f"{fault}.tif"), tmp_path / "made" / "o.tif"
    words = {
        "reproject": ("--source", source, "--resolution", 60),
        "cloud-mask": ("--scene", source, "--bands", "blue=1,green=2,red=3,nir=4"),
    }[command]
    result = called(command, *words, "--out", out, "--json")
    refused(result, source.name, cause or json.loads(result.stdout)["cause"])
    assert not out.exists()
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_infinite_and_absurd_values_are_no_data(tmp_path):
    values = land()
    values[0, 0, :4] = np.inf, -np.inf, -3.4e38, 1e31
    path = written(tmp_path / "a.tif", values)
    with raster_file.open_raster(path) as opened:
        read = opened.read()
    assert np.isnan(read[0, 0, :4]).all()
    assert np.isfinite(read).sum() == read.size - 4


def test_transparency_is_no_band_unless_it_holds_values(tmp_path):
    numbers = (land(4) * 1000).astype(np.uint16)
    told = {"photometric": "RGB", "alpha": "YES", "names": BANDS[:3]}
    numbers[3] = np.where(np.indices((16, 16))[0] < 4, 0, 65535)
    with raster_file.open_raster(written(tmp_path / "a.tif", numbers, **told)) as opened:
        assert (opened.count, opened.descriptions, len(opened.encoding.scales)) == (3, BANDS[:3], 3)
        assert np.isnan(opened.read()[:, :4]).all()
    numbers[3] = numbers[2]
    with raster_file.open_raster(written(tmp_path / "b.tif", numbers, **told)) as opened:
        assert opened.count == 4
        assert np.isfinite(opened.read()).all()


def test_octets_without_a_scale_are_no_reflectance(tmp_path):
    source = written(tmp_path / "octets.tif", (land() * 255).astype(np.uint8))
    words = ("cloud-mask", "--scene", source, "--bands", "blue=1,green=2,red=3,nir=4", "--out", tmp_path / "o.tif")
    refused(called(*words, "--json"), "octets.tif", "scale_missing")
    assert not (tmp_path / "o.tif").exists()


def test_dates_of_different_offsets_are_mixed_only_where_all_state_them(tmp_path):
    numbers = np.round(land() * 10_000).astype(np.int16)
    plain = written(tmp_path / "s_20240101.tif", numbers)
    moved = written(tmp_path / "s_20240201.tif", numbers + 1000, scales=(1e-4,) * 4, offsets=(-0.1,) * 4)
    words = ("composite", "--scenes", plain, moved, "--out", tmp_path / "o.tif", "--json")
    assert "s_20240201.tif" in refused(called(*words), "s_20240101.tif", "mixed_input")
    written(plain, numbers, scales=(1e-4,) * 4)
    assert called(*words).exit_code == 0
    with rasterio.open(tmp_path / "o.tif") as made:
        values = made.read([1, 2, 3, 4]) * np.array(made.scales[:4])[:, None, None] + made.offsets[0]
    assert np.abs(values - numbers * 1e-4).max() < 1.5e-4


PAN = rasterio.Affine(7.5, 0.0, 600_000.0, 0.0, -7.5, 3_280_000.0)


def pair(tmp_path: Path) -> tuple[Path, Path]:
    ms = written(tmp_path / "ms.tif", land())
    return ms, written(tmp_path / "pan.tif", land(1, 64), transform=PAN, names=("pan",))


def test_inputs_are_never_overwritten_not_even_through_a_link_or_by_a_file_beside(tmp_path):
    ms, pan = pair(tmp_path)
    link = tmp_path / "link.tif"
    link.symlink_to(pan)
    before = ms.read_bytes(), pan.read_bytes()
    for words in (
        ("pansharpen", "--ms", ms, "--pan", pan, "--out", ms),
        ("pansharpen", "--ms", ms, "--pan", pan, "--out", link),
        ("pansharpen", "--ms", ms, "--pan", pan, "--out", tmp_path / "o.tif", "--report", pan),
        ("reproject", "--source", ms, "--like", pan, "--out", pan),
        ("coregister", "--reference", pan, "--target", pan, "--out", pan),
        ("convert", ms, "--bands", "red=3", "--out", ms),
    ):
        refused(called(*words, "--json"), words[words.index("--out") + 1].name if "--report" not in words else pan.name,
                "output_is_input")  # fmt: skip
    beside = written(tmp_path / "o_qa.tif", land())
    refused(called("composite", "--scenes", beside, "--out", tmp_path / "o.tif", "--json"), "o_qa.tif",
            "output_is_input")  # fmt: skip
    masked = written(tmp_path / "s_mask.tif", land(1))
    scene = written(tmp_path / "s.tif", land())
    refused(called("composite", "--scenes", scene, "--out", masked, "--json"), masked.name, "output_is_input")
    assert (ms.read_bytes(), pan.read_bytes()) == before


def test_results_are_not_written_where_a_series_links_to(tmp_path):
    (tmp_path / "in").mkdir()
    file = written(tmp_path / "out" / "s_20240101.tif", land())
    (tmp_path / "in" / "s_20240101.tif").symlink_to(file)
    before = file.read_bytes()
    words = ("fill-gaps", "--series", tmp_path / "in", "--out", tmp_path / "out", "--json")
    refused(called(*words), "out", "output_is_input")
    assert file.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named_before_the_work_begins(tmp_path):
    ms, pan = pair(tmp_path)
    file = tmp_path / "file"
    file.write_text("x")
    for words in (("--out", file / "o.tif"), ("--out", tmp_path / "o.tif", "--report", file / "r.json")):
        refused(called("pansharpen", "--ms", ms, "--pan", pan, *words, "--json"), str(file), "unwritable")
    assert not (tmp_path / "o.tif").exists()
    encoding = raster_file.Encoding("float32", (1.0,), (0.0,), None)
    writer = raster_file.RasterWriter(
        file / "o.tif", shape=(2, 2), transform=UTM, crs=None, encoding=encoding, descriptions=["a"]
    )
    with pytest.raises(BadInputError, match=r"o\.tif cannot be written"), writer:
        pass


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("reproject", ("--resolution", "nan")),
        ("reproject", ("--resolution", "-4")),
        ("reproject", ("--resolution", "1e-7")),
        ("reproject", ("--resolution", "1e9")),
        ("reproject", ("--crs", "EPSG:4326", "--resolution", "4")),
        ("reproject", ("--crs", "EPSG:4545")),
        ("reproject", ("--crs", "EPSG:99999", "--resolution", "4")),
        ("reproject", ("--crs", "EPSG:4545", "--resolution", "4", "--like", "SOURCE")),
        ("reproject", ("--shift", "nan", "0")),
        ("reproject", ("--method", "guess")),
        ("composite", ("--date", "2024-13-01")),
        ("composite", ("--method", "guess")),
        ("cloud-mask", ("--bands", "blue=1,green=2,red=3,nir=3")),
        ("cloud-mask", ("--bands", "blue=1,blue=2,green=2,red=3,nir=4")),
        ("cloud-mask", ("--bands", "blue=²,green=2,red=3,nir=4")),
        ("prepare", ("--sun-azimuth", "140", "--sun-elevation", "40")),
        ("simulate", ("--kind", "guess")),
        ("reproject", ("--report", "r.html")),
        ("reproject", ("--report", "o.tif")),
    ],
)
def test_a_wrong_option_is_a_usage_error(tmp_path, command, words):
    source, out = written(tmp_path / "a.tif", land()), tmp_path / "o.tif"
    given = [{"SOURCE": source, "o.tif": out, "r.html": tmp_path / "r.html"}.get(word, word) for word in words]
    read = {
        "composite": ("--scenes", source), "reproject": ("--source", source), "cloud-mask": ("--scene", source),
        "prepare": ("--ms", source, "--pan", source), "simulate": (),
    }[command]  # fmt: skip
    result = called(command, *read, "--out", out, *given)
    assert result.exit_code == 2, (result.output, result.exception)
    assert not out.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--bbox", "1,2,nan,4", "--since", "2024-01-01", "--until", "2024-02-01"),
        ("--bbox", "106,29,107,30", "--since", "January", "--until", "2024-02-01"),
        ("--bbox", "106,29,107,30", "--since", "2024-02-01", "--until", "2024-01-01"),
    ],
)
def test_a_search_without_sense_is_a_usage_error(words):
    assert called("search", "--api", "http://127.0.0.1:1", "--collection", "c", *words).exit_code == 2


@pytest.mark.parametrize(("azimuth", "elevation"), [(140, 0), (140, -5), (140, 95), (400, 40), ("nan", 40)])
def test_a_sun_that_cannot_be_is_refused(tmp_path, azimuth, elevation):
    source = written(tmp_path / "a.tif", land())
    words = ("--scene", source, "--bands", "blue=1,green=2,red=3,nir=4", "--out", tmp_path / "o.tif", "--json")
    result = called("cloud-mask", *words, "--sun-azimuth", azimuth, "--sun-elevation", elevation)
    refused(result, "a.tif", "sun_angle")
    assert not (tmp_path / "o.tif").exists()


def test_a_refusal_takes_the_place_of_an_earlier_report(tmp_path):
    ms, _ = pair(tmp_path)
    report = tmp_path / "r.json"
    report.write_text('{"status": "ok"}')
    words = ("pansharpen", "--ms", ms, "--pan", ms, "--out", tmp_path / "o.tif", "--report", report, "--json")
    refused(called(*words), "ms.tif", "band_count")
    assert json.loads(report.read_text())["status"] == "refused"


def test_whatever_goes_wrong_becomes_a_sentence_that_names_the_file(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise IndexError("one\ntwo")

    monkeypatch.setattr(reprojection, "run", fail)
    source = written(tmp_path / "a.tif", land())
    words = ("reproject", "--source", source, "--resolution", 60, "--out", tmp_path / "o.tif", "--json")
    assert refused(called(*words), "a.tif", "failed") == "a.tif: one two"


def test_a_panchromatic_raster_of_one_value_sharpens_nothing(tmp_path):
    ms, pan = pair(tmp_path)
    written(pan, np.full((1, 64, 64), 0.2, dtype=np.float32), transform=PAN, names=("pan",))
    out = tmp_path / "o.tif"
    refused(called("pansharpen", "--ms", ms, "--pan", pan, "--out", out, "--json"), "pan.tif", "no_detail")
    assert not out.exists()


def test_coordinates_in_the_wrong_order_are_warned_of(tmp_path):
    turned = rasterio.Affine(30.0, 0.0, 3_280_000.0, 0.0, -30.0, 600_000.0)
    with raster_file.open_raster(written(tmp_path / "turned.tif", land(), transform=turned)) as opened:
        assert any("turned.tif" in text and "swapped" in text for text in opened.warnings)


def test_a_system_that_is_not_defined_there_is_refused(tmp_path):
    path = written(tmp_path / "a.tif", land())
    with pytest.raises(ValueError, match="--crs nowhere"):
        target_grid.around(target_grid.of(path), crs="nowhere", resolution=10.0)


def test_the_choices_of_the_options_are_those_of_the_methods():
    assert {choice.value for choice in imagery.Merging} == set(compositing.METHODS)
    assert {choice.value for choice in imagery.Resampling} == set(resampling.METHODS)


def test_numbers_that_are_no_heights_are_no_heights(tmp_path):
    scene = written(tmp_path / "a.tif", land(size=32))
    heights = np.linspace(200.0, 260.0, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
    heights[:, :20] = -32768.0
    dem = written(tmp_path / "dem.tif", heights, names=("height",))
    words = ("--scene", scene, "--bands", "blue=1,green=2,red=3,nir=4", "--dem", dem, "--out", tmp_path / "o.tif")
    result = called("cloud-mask", *words, "--sun-azimuth", 140, "--sun-elevation", 40, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["status"]) == (0, "flagged")
    assert any("dem.tif" in text and "no heights" in text for text in document["warnings"])
    left, share = height_file.plausible(heights[0])
    assert np.isnan(left[:21]).all()
    assert np.isfinite(left[21:]).all()
    assert share == pytest.approx(21 / 32)
    assert height_file.plausible(left)[1] == 0.0


def test_pairs_of_two_dates_are_doubted(tmp_path):
    first, second = (written(tmp_path / name, land()) for name in ("f_20250601.tif", "c_20250901.tif"))
    assert spatiotemporal._date_doubts((first,), (first,)) == []
    (text,) = spatiotemporal._date_doubts((first,), (second,))
    assert "f_20250601.tif" in text
    assert "2025-09-01" in text


@pytest.mark.parametrize(
    ("option", "octets"),
    [("--rpc", b"\x80\x81"), ("--reconstruction", b"{"), ("--interior", b": : ["), ("--rpc", b"hello")],
)
def test_a_camera_file_that_cannot_be_read_is_named(tmp_path, option, octets):
    image, dem = written(tmp_path / "image.tif", land()), written(tmp_path / "dem.tif", land(1), names=("height",))
    camera, table = tmp_path / "camera.txt", tmp_path / "table.txt"
    camera.write_bytes(octets)
    table.write_text("image,1,2,3,0,0,0\n")
    more = ("--exterior", table) if option == "--interior" else ()
    words = ("--image", image, "--dem", dem, option, camera, *more, "--out", tmp_path / "o.tif", "--json")
    result = called("orthorectify", *words)
    refused(result, "camera.txt", json.loads(result.stdout)["cause"])
    assert not (tmp_path / "o.tif").exists()


def test_the_help_shows_every_unit():
    for command in ("cloud-mask", "reproject", "orthorectify", "prepare", "search"):
        text = called(command, "--help").stdout
        assert " ." not in text.replace(" ...", ""), command
