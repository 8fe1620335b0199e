"""The linters are alive: each complains about a file with a planted fault."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

FAULTY = '''"""Module with faults."""

import os


def doubled(value: float) -> str:
    """
    Twice a value.

    Parameters
    ----------
    value: float
        The space before the colon is missing.
    """
    print(value)
    return 2 * value
'''


@pytest.mark.parametrize(
    ("command", "complaints"),
    [
        (["ruff", "check", "--no-cache", "--config", "pyproject.toml"], ["F401", "T201"]),
        (["mypy", "--no-incremental", "--config-file", "pyproject.toml", "--cache-dir=/dev/null"], ["return-value"]),
        (["numpydoc", "lint"], ["PR10"]),
    ],
    ids=["ruff", "mypy", "numpydoc"],
)
def test_linter_complains_about_a_planted_fault(tmp_path: Path, command: list[str], complaints: list[str]) -> None:
    faulty = tmp_path / "faulty.py"
    faulty.write_text(FAULTY)
    program, *arguments = command
    made = subprocess.run(
        [str(BIN / program), *arguments, str(faulty)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert made.returncode != 0
    for complaint in complaints:
        assert complaint in made.stdout + made.stderr
