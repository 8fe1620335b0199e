"""Kernels hold the same laws as plain Python: what only compiles, or only works compiled, is noticed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.chain
# One run for all of them: most of its time is that of the imports.
IMAGERY = {
    "test_imagery_kernels.py": "imagery_kernels",
    "test_imagery_raster_file.py": "survive and int16 or clipped or beyond_the_raster",
    "test_imagery_compositing.py": "geometric_median or medoid or order or decides or best_pixel or deviations",
    "test_imagery_coregistration.py": "leaves_every_value or parabola or spread_nor_bleed or on_the_blocks",
    "test_imagery_radar_features.py": "no_speckle or gaps or halo",
    "test_downlink_line_compression.py": "any_whole_number_of_blocks and (16 or 48) or impossible or broken",
}
IMAGERY_CHOSEN = " or ".join(f"({Path(name).stem} and ({chosen}))" for name, chosen in IMAGERY.items())


@pytest.mark.parametrize(
    ("tests", "chosen"),
    [
        ("test_downlink_coding.py", ""),
        ("test_downlink_faults.py", "slip or octet_is_put_together or pointer or identical"),
        ("test_occultation_inversion.py", ""),
        pytest.param(" ".join(IMAGERY), IMAGERY_CHOSEN, id="imagery"),
    ],
)
def test_kernels_pass_their_tests_uncompiled(tests: str, chosen: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "PYTEST"))}
    files = [f"tests/unit/{name}" for name in tests.split()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", chosen]
    made = subprocess.run(
        command, cwd=REPOSITORY, env={**kept, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout[-3000:]
    assert " passed" in made.stdout
