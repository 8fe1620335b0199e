"""Kernels hold the same laws as plain Python: what only compiles, or only works compiled, is noticed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.chain


@pytest.mark.parametrize(
    ("tests", "chosen"),
    [
        ("test_downlink_coding.py", ""),
        ("test_downlink_faults.py", "slip or octet_is_put_together or pointer or identical"),
        ("test_occultation_inversion.py", ""),
    ],
)
def test_kernels_pass_their_tests_uncompiled(tests: str, chosen: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "PYTEST"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/unit/{tests}", "-k", chosen]
    made = subprocess.run(
        command, cwd=REPOSITORY, env={**kept, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout[-3000:]
    assert " passed" in made.stdout
