"""The command that simulates: files in place, the same for the same seed however many processes work."""

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from infra import granule_format
from infra.cli import occultation_simulate
from processors.occultation import level1b

pytestmark = pytest.mark.chain


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(occultation_simulate.simulate)
    return app


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.nc"))}


def test_the_same_seed_makes_the_same_files_with_any_number_of_processes(command: typer.Typer, tmp_path: Path) -> None:
    arguments = ["--cases", "2", "--seed", "5", "--rate", "20"]
    for folder, workers in (("one", "1"), ("two", "2")):
        result = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / folder), "--workers", workers])
        assert result.exit_code == 0, result.output
        assert "2 of 2" in result.output
        assert "2 occultations in" in result.output
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert len(one) == 4
    assert one == two
    for name, body in one.items():
        dataset = granule_format.decode(body, name=name, decode_times=False)
        if name.startswith("truth/"):
            assert Path(name).stem == dataset.attrs["occultation_id"]
            assert np.all(np.diff(dataset["altitude"]) > 0.0)
        else:
            level1b.require(dataset)


def test_a_climate_that_does_not_exist_is_refused_by_name(command: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--out", str(tmp_path), "--climate", "lunar"])
    assert result.exit_code == 2
    assert "lunar" in result.output
    assert not list(tmp_path.rglob("*.nc"))
