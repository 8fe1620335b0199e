"""Multivariate change: blind to gain and offset, silent without change, right about what changed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from scipy import ndimage
from typer.testing import CliRunner

from infra import cli
from infra.surface import change as file_change
from processors.quality import BadInputError
from retrieval.surface import multivariate_change

BANDS, SIZE = 4, 200


class Pair(NamedTuple):
    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    changed: npt.NDArray[np.bool_]


def pair(seed: int, *, share: float, gain: float = 1.2, offset: float = 0.02) -> Pair:
    """Patchwork of covers of which some change to another cover; the second date has its own gain and offset."""
    random = np.random.default_rng(seed)
    covers = np.kron(random.integers(0, 6, (20, 20)), np.ones((10, 10), dtype=int))
    spectra = random.uniform(0.03, 0.4, (6, BANDS))
    texture = 1 + 0.1 * ndimage.gaussian_filter(random.normal(size=(SIZE, SIZE)), 2)
    changed = np.zeros((SIZE, SIZE), dtype=bool)
    while changed.mean() < share:
        top, left = random.integers(0, SIZE - 20, 2)
        changed[top : top + random.integers(6, 20), left : left + random.integers(6, 20)] = True
    later = np.where(changed, (covers + 1) % 6, covers)
    before, after = (np.moveaxis(spectra[part], -1, 0) * texture for part in (covers, later))
    noise = random.normal(0, 0.005, (2, BANDS, SIZE, SIZE))
    after = after * gain + offset
    return Pair((before + noise[0]).astype(np.float32), (after + noise[1]).astype(np.float32), changed)


def pixels(layers: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return layers.reshape(layers.shape[0], -1).T.astype(np.float64)


def mapped(of: Pair) -> multivariate_change.Change:
    alteration = multivariate_change.fit(pixels(of.before), pixels(of.after))
    sizes = multivariate_change.chi_square(pixels(of.before), pixels(of.after), alteration)
    null = multivariate_change.unchanged(sizes, bands=BANDS)
    return multivariate_change.classify(of.before, of.after, alteration=alteration, null=null)


def agreement(found: npt.NDArray[np.uint8], truth: npt.NDArray[np.bool_]) -> float:
    return float(((found == 1) & truth).sum() / ((found == 1) | truth).sum())


@pytest.mark.parametrize("share", [0.03, 0.3])
def test_what_changed_is_found_whatever_the_gain_of_the_second_date(share: float) -> None:
    scene = pair(3, share=share)
    found = mapped(scene)
    assert agreement(found.changed, scene.changed) > 0.95
    assert np.mean((found.probability - scene.changed) ** 2) < 0.01


def test_a_scene_without_change_is_left_alone() -> None:
    found = mapped(pair(4, share=0.0))
    assert (found.changed == 1).mean() < 1e-3


def test_gain_and_offset_do_not_move_the_variates() -> None:
    one, other = pair(5, share=0.1, gain=1.0, offset=0.0), pair(5, share=0.1, gain=1.7, offset=-0.01)
    fits = [multivariate_change.fit(pixels(scene.before), pixels(scene.after)) for scene in (one, other)]
    # Noise is not scaled with the gain here, so the correlations may differ by its small share.
    assert np.allclose(fits[0].correlation, fits[1].correlation, atol=0.02)


def test_canonical_variates_of_the_unchanged_have_unit_variance_on_both_dates() -> None:
    scene = pair(6, share=0.0)
    found = multivariate_change.fit(
        pixels(scene.before),
        pixels(scene.after),
        parameters=multivariate_change.ChangeParameters(iterations=0),
    )
    first = (pixels(scene.before) - found.before_mean) @ found.before_weights
    second = (pixels(scene.after) - found.after_mean) @ found.after_weights
    assert np.allclose(first.var(axis=0), 1.0, rtol=1e-3)
    assert np.allclose(second.var(axis=0), 1.0, rtol=1e-3)
    crossed = (first.T @ second) / first.shape[0]
    assert np.allclose(np.diag(crossed), found.correlation, atol=2e-3)
    assert np.abs(crossed - np.diag(np.diag(crossed))).max() < 1e-2


def test_no_data_on_either_date_stays_no_data() -> None:
    scene = pair(7, share=0.1)
    scene.before[0, :20, :20] = np.nan
    scene.after[2, 50:60, 50:60] = np.nan
    keep = np.isfinite(scene.before).all(axis=0) & np.isfinite(scene.after).all(axis=0)
    old, new = (np.moveaxis(part, 0, -1)[keep].astype(np.float64) for part in (scene.before, scene.after))
    alteration = multivariate_change.fit(old, new)
    null = multivariate_change.unchanged(multivariate_change.chi_square(old, new, alteration), bands=BANDS)
    found = multivariate_change.classify(scene.before, scene.after, alteration=alteration, null=null)
    assert ((found.changed == 255) == ~keep).all()
    assert (np.isnan(found.probability) == ~keep).all()


def test_too_few_pixels_and_constant_bands_are_refused() -> None:
    few = np.random.default_rng(1).normal(size=(40, 3))
    with pytest.raises(BadInputError, match="40 pixels"):
        multivariate_change.fit(few, few)
    flat = np.random.default_rng(1).normal(size=(1000, 3))
    flat[:, 1] = 0.5
    with pytest.raises(BadInputError, match="same value"):
        multivariate_change.fit(flat, flat + 0.1)
    with pytest.raises(ValueError, match="shape"):
        multivariate_change.fit(flat, flat[:, :2])


def written(path: Path, layers: npt.NDArray[np.float32], *, size: float = 10.0, west: float = 500_000.0) -> Path:
    count, rows, columns = layers.shape
    transform = Affine(size, 0.0, west, 0.0, -size, 3_300_000.0)
    profile = {"driver": "GTiff", "height": rows, "width": columns, "count": count, "dtype": "float32"}
    with rasterio.open(path, "w", **profile, crs="EPSG:32648", transform=transform, nodata=float("nan")) as file:
        file.write(layers)
    return path


def test_the_file_holds_what_the_arrays_hold(tmp_path: Path) -> None:
    scene = pair(8, share=0.1)
    before, after = written(tmp_path / "a.tif", scene.before), written(tmp_path / "b.tif", scene.after)
    report = file_change.run(before, after, tmp_path / "c.tif")
    with rasterio.open(tmp_path / "c.tif") as made:
        classes, probability = made.read()
        assert made.nodata == 255
        assert made.descriptions == ("changed", "probability_of_change")
    whole = mapped(scene)
    assert (classes == whole.changed).all()
    assert np.allclose(probability, whole.probability)
    assert report["changed_share"] == pytest.approx((whole.changed == 1).mean())


def test_another_grid_is_brought_onto_the_first_and_what_it_lacks_is_no_data(tmp_path: Path) -> None:
    scene = pair(9, share=0.1)
    before = written(tmp_path / "a.tif", scene.before)
    shifted = written(tmp_path / "b.tif", scene.after[:, :, 40:], west=500_400.0)
    report = file_change.run(before, shifted, tmp_path / "c.tif")
    with rasterio.open(tmp_path / "c.tif") as made:
        classes = made.read(1)
    assert (classes[:, :40] == 255).all()
    assert agreement(classes[:, 45:], scene.changed[:, 45:]) > 0.9
    assert report["no_data_share"] == pytest.approx(0.2, abs=0.01)


def test_command_refuses_bands_that_are_not_there(tmp_path: Path) -> None:
    scene = pair(10, share=0.1)
    before, after = written(tmp_path / "a.tif", scene.before), written(tmp_path / "b.tif", scene.after[:3])
    arguments = ["surface", "change", "--before", str(before), "--after", str(after), "--out", str(tmp_path / "c.tif")]
    refused = CliRunner().invoke(cli.app, arguments)
    assert isinstance(refused.exception, BadInputError)
    assert "4 bands" in str(refused.exception)
    assert "3: state which" in str(refused.exception)
    beyond = CliRunner().invoke(cli.app, [*arguments, "--bands", "1,4"])
    assert "has no band 4" in str(beyond.exception)
    assert CliRunner().invoke(cli.app, [*arguments, "--bands", "1,x"]).exit_code == 2
    done = CliRunner().invoke(cli.app, [*arguments, "--bands", "1,2,3", "--json"])
    assert done.exit_code == 0, done.output
    assert '"status": "ok"' in done.output
