"""The command line as people meet it: help that teaches, one sentence per error, exit status 0, 1 or 2."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import database, settings

pytestmark = pytest.mark.chain

COMMAND = Path(sys.executable).with_name("terralimb")
REPOSITORY = Path(__file__).resolve().parents[2]
LINK = REPOSITORY / "infra" / "parameters" / "links" / "suomi-npp.yaml"


def terralimb(*words: str | Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "100", "TERRALIMB_HOME": str(home or "/nonexistent/home")}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    command = [str(COMMAND), *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "taught"),
    [
        ([], "demo"),
        (["demo"], "--no-airflow"),
        (["downlink", "decode"], "--link"),
        (["downlink", "simulate"], "--seed"),
        (["occultation", "retrieve"], "report.json"),
        (["occultation", "map"], "tangent point"),
        (["occultation", "penetration"], "--json"),
        (["catalogue", "search"], "--bbox"),
        (["product", "list"], "--json"),
    ],
)
def test_every_command_explains_itself(words: list[str], taught: str) -> None:
    made = terralimb(*words, "--help")
    assert made.returncode == 0
    assert taught in made.stdout


@pytest.mark.parametrize(
    "words", [["nothing"], ["demo", "--data", "/does/not/exist"], ["downlink", "decode"], ["demo", "--seed", "x"]]
)
def test_wrong_usage_is_status_two(words: list[str]) -> None:
    assert terralimb(*words).returncode == 2


def test_a_text_file_named_as_recording_is_refused_in_one_sentence_that_names_it(tmp_path: Path) -> None:
    letter = tmp_path / "letter.dat"
    letter.write_text("dear reader, this is no recording\n" * 200)
    made = terralimb("downlink", "decode", letter, "--link", LINK, "--out", tmp_path / "out")
    assert made.returncode == 1
    assert str(letter) in made.stderr
    assert len(made.stderr.strip().splitlines()) == 1
    assert "Traceback" not in made.stderr


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    (tmp_path / "empty.dat").write_bytes(b"")
    made = terralimb("--debug", "downlink", "decode", tmp_path / "empty.dat", "--link", LINK, "--out", tmp_path / "out")
    assert made.returncode == 1
    assert "Traceback" in made.stderr


def test_a_broken_link_definition_is_wrong_usage(tmp_path: Path) -> None:
    recording, link = tmp_path / "pass.dat", tmp_path / "link.yaml"
    recording.write_bytes(b"x")
    link.write_text("just words")
    assert terralimb("downlink", "decode", recording, "--link", link, "--out", tmp_path / "out").returncode == 2


@pytest.mark.oracle
def test_decode_writes_packets_and_account_where_the_interface_says(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    recording = shared_data("downlink/snpp") / "snpp_synchronized_cadus.dat"
    made = terralimb("downlink", "decode", recording, "--link", LINK, "--out", tmp_path, "--json")
    assert made.returncode == 0, made.stderr
    account = json.loads((tmp_path / "completeness.json").read_text())
    assert account == json.loads(made.stdout)
    assert account["virtual_channels"][0]["gaps"] == [[9842882, 9842882]]
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.bin")}
    assert written == {"packets/157/16/802.bin", "packets/157/16/803.bin"}


@pytest.mark.oracle
def test_a_batch_of_occultations_says_what_became_of_each(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    good = shared_data("occultation/cosmic1_phase_to_profile") / "ropp_pp_wopt_tool.nc"
    cut, wrong = tmp_path / "cut.nc", shared_data("occultation/cosmic1_atmprf")
    cut.write_bytes(good.read_bytes()[:5000])
    other = next(path for path in wrong.iterdir() if path.name.startswith("ionPrf"))
    made = terralimb("occultation", "retrieve", good, cut, other, "--out", tmp_path / "out")
    assert made.returncode == 1, made.stderr
    rows = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["status"] for row in rows] == ["flagged", "rejected", "rejected"]
    assert rows[0]["quality_flags"] == ["super_refraction"]
    assert Path(rows[0]["output"]).exists()
    assert [row["output"] for row in rows[1:]] == [None, None]
    assert all(row["reason"] for row in rows[1:])


@pytest.mark.oracle
def test_retrieved_profiles_are_drawn_and_other_files_named(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    real = shared_data("occultation/cosmic1_phase_to_profile") / "ropp_pp_wopt_tool.nc"
    profiles, picture = tmp_path / "profiles", tmp_path / "picture.png"
    made = terralimb("occultation", "retrieve", real, "--out", profiles, "--plots", "--json", "--workers", "1")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["inputs"] == 1
    (profile,), (drawn,) = profiles.glob("*.nc"), profiles.glob("*.png")
    for words in (["plot", profile], ["map", profiles], ["penetration", profiles, "--json"]):
        told = terralimb("occultation", *words, "--out", picture)
        assert told.returncode == 0, told.stderr
        assert picture.read_bytes().startswith(b"\x89PNG")
        if words[0] == "plot":
            assert picture.read_bytes() == drawn.read_bytes()
    figures = json.loads(told.stdout)
    assert figures["profiles"] == 1
    # The picture and the report beside the profile are no profiles, and said to have been passed over.
    assert figures["skipped"] == 2
    for command in ("plot", "map", "penetration"):
        refused = terralimb("occultation", command, real, "--out", picture)
        assert refused.returncode == 1
        assert str(real) in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1


def test_searching_an_empty_catalogue_finds_nothing_and_is_no_error(tmp_path: Path) -> None:
    database.upgrade(settings.Settings(home=tmp_path).resolved_database_url())
    made = terralimb("catalogue", "search", "--sector", "ecology", "--bbox", "106,29,107,30", "--json", home=tmp_path)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout) == {"type": "FeatureCollection", "features": []}


@pytest.mark.parametrize("bbox", ["1,2,3", "a,b,c,d"])
def test_a_box_that_is_none_is_wrong_usage(tmp_path: Path, bbox: str) -> None:
    database.upgrade(settings.Settings(home=tmp_path).resolved_database_url())
    assert terralimb("catalogue", "search", "--bbox", bbox, home=tmp_path).returncode == 2


def test_the_product_list_names_every_sector() -> None:
    rows = json.loads(terralimb("product", "list", "--json").stdout)
    sectors = {"natural-resources", "rural-revitalization", "ecology", "transport", "emergency"}
    assert {row["sector"] for row in rows} == sectors
    assert all(row["title_en"] and row["title_zh"] for row in rows)


def test_the_doctor_finds_nothing_missing_where_the_tests_run(tmp_path: Path) -> None:
    made = terralimb("doctor", home=tmp_path / "not" / "there" / "yet")
    assert made.returncode == 0, made.stdout
    assert "ok" in made.stdout


def test_the_doctor_names_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    made = terralimb("doctor", home=file / "home")
    assert made.returncode == 1
    assert str(file) in made.stdout.replace("\n", "")


def test_a_command_that_validates_nothing_starts_without_the_validators() -> None:
    told = "import sys, infra.cli; print('jsonschema' in sys.modules, 'products.stac' in sys.modules)"
    made = subprocess.run([sys.executable, "-c", told], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert made.stdout.split() == ["False", "True"]
