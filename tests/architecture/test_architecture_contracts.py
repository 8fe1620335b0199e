"""The import contracts hold, and each was seen to fire: faults are planted in a copy of the packages."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("processors", "retrieval", "products", "infra")

# contract -> (module the fault goes into, the fault)
PLANTED = {
    "Imports point upstream, toward the antenna": ("processors/constants.py", "import products.schema"),
    "The domain knows no platform": ("products/schema.py", "import boto3"),
    "Airflow only in dags": ("infra/archive.py", "import airflow"),
    "Retrieval does no input or output": ("retrieval/occultation/abel.py", "import pathlib"),
    "Kernels see no labels": ("processors/ccsds/_kernels.py", "import xarray"),
    "Instruments do not know each other (processors)": (
        "processors/occultation/level1b.py",
        "import processors.imagery.grid",
    ),
    "Instruments do not know each other (retrieval)": (
        "retrieval/surface/water.py",
        "import retrieval.occultation.abel",
    ),
    "Encoders are independent": ("products/cog.py", "import products.stac"),
    "No cycles among the rooms": ("infra/stages/chain.py", "import infra.cli"),
}


def lint_imports(folder: Path) -> str:
    """Output of import-linter run in `folder`."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", "pyproject.toml", "--no-cache"]
    environment = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def report_on_planted_faults(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("planted")
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    for place, fault in PLANTED.values():
        path = folder / place
        path.write_text(f"{path.read_text()}\n{fault}\n")
    return lint_imports(folder)


@pytest.mark.parametrize("contract", PLANTED)
def test_each_contract_breaks_on_a_planted_fault(report_on_planted_faults: str, contract: str) -> None:
    assert f"{contract} BROKEN" in report_on_planted_faults


def test_every_contract_of_the_configuration_has_a_planted_fault() -> None:
    import tomllib

    configured = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in configured} == set(PLANTED)
