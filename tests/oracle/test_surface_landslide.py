"""Simulated slopes with truth: most slides are among the few places that a reviewer of 100 km2 looks at."""

from typing import Any

import numpy as np
import pytest

from processors.simulation import slope_scene
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


def test_slides_beyond_the_reviews_of_a_small_scene_are_found_when_the_review_grows() -> None:
    found, seen = reviewed(
        7303, ("green", "red", "nir", "swir1"), shape=(600, 600), slides=14, season=(0.3, 0.05), clear_cuts=8, clouds=6
    )
    assert seen >= 9
    assert found >= BAR * seen
