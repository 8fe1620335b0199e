"""Every kernel module stands under the import contract that keeps labels out of kernels."""

import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_kernel_module_is_under_the_contract() -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (held,) = [set(contract["source_modules"]) for contract in contracts if contract["id"] == "kernels"]
    found = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for package in ("processors", "retrieval", "products", "infra")
        for path in (REPOSITORY / package).rglob("_*kernels.py")
    }
    assert found
    assert held == found
