"""What a folder lands as: by its layout, by the rules for the collection of real data, and nothing dropped unnamed."""

from pathlib import Path

import pytest

from infra import archive
from infra.demonstration import input as landed_input


def lay_out(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_a_folder_laid_out_like_the_landing_bucket_lands_as_it_is(tmp_path: Path) -> None:
    names = [
        "auxiliary/gnss-orbits/igs.sp3",
        "downlink/kashi/terralimb/pass.cadu",
        "occultations/cdaac/phase.nc",
        "scenes/openeo/yuzhong/scene.nc",
    ]
    lay_out(tmp_path, *names)
    assert [file.key for file in landed_input.from_folder(tmp_path)] == names


def test_the_collection_of_real_data_lands_by_its_rules(tmp_path: Path) -> None:
    lay_out(tmp_path, "downlink/snpp/x.dat", "imagery/worldcereal/a.nc", "imagery/worldcereal/a_classification.nc")
    keys = [file.key for file in landed_input.from_folder(tmp_path)]
    assert keys == ["downlink/svalbard/suomi-npp/x.dat", "scenes/openeo/worldcereal/a.nc"]


def test_files_that_are_no_input_are_named(tmp_path: Path) -> None:
    lay_out(tmp_path, "downlink/kashi/terralimb/pass.cadu", "downlink/kashi/unknown-link/pass.cadu", "README.md")
    assert landed_input.left_alone(tmp_path) == ["README.md", "downlink/kashi/unknown-link/pass.cadu"]


def test_a_folder_with_no_input_is_refused_with_the_layout(tmp_path: Path) -> None:
    lay_out(tmp_path, "README.md")
    with pytest.raises(landed_input.NoInputError, match=r"downlink/<station>/<link>/"):
        list(landed_input.from_folder(tmp_path))


def test_another_content_under_the_same_name_lands_beside_the_first() -> None:
    first, second = (archive.landing_version("scenes/a/b/c.nc", body) for body in (b"1", b"2"))
    assert first != second
    assert archive.landing_name(first) == archive.landing_name(second) == "c.nc"
    assert archive.landing_parts(first) == ["a", "b"]
    assert archive.landing_mark(first) in first
