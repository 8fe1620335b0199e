"""Simulated slopes with truth: most slides are among the few places that a reviewer of 100 km2 looks at."""

from typing import Any

import numpy as np
import pytest

from processors.simulation import landslide_scene, slope_scene
from retrieval.surface import landslide

pytestmark = pytest.mark.oracle

REVIEWED = 10.0
"""Candidates reviewed on 100 km2."""
BAR = 0.8


def reviewed(seed: int, bands: tuple[str, ...], **options: Any) -> tuple[int, int]:
    """Slides found by the reviewed candidates, and slides that can be seen, of a scene."""
    scene = slope_scene.simulate_slope_scene(seed, **options)
    dates = [{name: image[scene.bands.index(name)] for name in bands} for image in (scene.before, scene.after)]
    masked = np.isnan(scene.before[0]) | np.isnan(scene.after[0])
    size = scene.pixel_size
    found = landslide.detect(
        dates[0],
        dates[1],
        pixel_size=(size, size),
        surroundings=landslide.Surroundings(scene.elevation, masked=masked),
    )
    seen = [number for number, slide in enumerate(scene.slides, start=1) if slide.seen >= 0.5 and slide.area >= 900.0]
    budget = REVIEWED * scene.labels.size * size**2 / 1e8
    # More slides than reviews cannot all be found: the review grows by their number.
    budget += len(seen) if len(seen) > budget else 0
    looked_at = (found.labels > 0) & (found.labels <= budget)
    return sum(bool(looked_at[scene.labels == number].any()) for number in seen), len(seen)


def test_most_slides_are_found_within_ten_reviews_of_100_km2() -> None:
    usual = reviewed(7301, ("green", "red", "nir", "swir1", "swir2"), slides=9)
    autumn = reviewed(
        7302,
        ("red", "nir"),
        slides=9,
        season=(0.05, 0.35),
        sun_elevation=(62.0, 40.0),
        height_pixel=30.0,
        height_error=3.0,
    )
    assert usual[1] + autumn[1] >= 12
    assert usual[0] >= BAR * usual[1]
    assert autumn[0] >= BAR * autumn[1]


def among_farmland(seed: int, **options: Any) -> tuple[int, int, int]:
    """Slides found before wrong candidates exceed the reviews, slides, and slides among the first reviews.

    No mask holds the fields of the scene.
    """
    scene = landslide_scene.simulate_landslide_scene(seed, **options)
    names = ("green", "red", "nir", "swir1", "swir2")
    dates = [{name: image[scene.bands.index(name)] for name in names} for image in (scene.before, scene.after)]
    size = scene.pixel_size
    found = landslide.detect(
        dates[0], dates[1], pixel_size=(size, size), surroundings=landslide.Surroundings(scene.dem)
    )
    true = np.unique(found.labels[scene.slide_number > 0])
    right = np.isin(np.arange(1, len(found.candidates) + 1), true)
    budget = REVIEWED * scene.slide.size * size**2 / 1e8
    looked_at = (found.labels > 0) & (found.labels <= (np.cumsum(~right) <= budget).sum())
    numbers = np.where(scene.slide, scene.slide_number, 0)
    seen = [slide.number for slide in scene.slides if slide.area >= 900.0]
    hits = sum(bool(looked_at[numbers == number].any()) for number in seen)
    return hits, len(seen), int(right[: int(budget)].sum())


def test_most_slides_among_farmland_are_found_with_ten_wrong_reviews_of_100_km2() -> None:
    found, seen, right = among_farmland(7402, slides=20)
    assert seen >= 16
    assert found >= BAR * seen
    assert right >= BAR * REVIEWED


def test_slides_beyond_the_reviews_of_a_small_scene_are_found_when_the_review_grows() -> None:
    found, seen = reviewed(
        7303, ("green", "red", "nir", "swir1"), shape=(600, 600), slides=14, season=(0.3, 0.05), clear_cuts=8, clouds=6
    )
    assert seen >= 9
    assert found >= BAR * seen
