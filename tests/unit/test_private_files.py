"""What this installation keeps on the machine is for its owner only, unless the owner said otherwise."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra import database, private_files, signing
from infra.delivery import audit


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _generous_surroundings() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("first", ["database", "keys", "record", "folder"])
def test_whatever_makes_the_home_makes_it_for_its_owner_only(tmp_path: Path, first: str) -> None:
    home = tmp_path / "above" / "home"
    if first == "database":
        database.upgrade(f"sqlite:///{home / 'terralimb.sqlite'}")
    elif first == "keys":
        signing.ensure(home)
    elif first == "record":
        audit.AuditLog(home / "audit").record(audit.Entry(event="feed", decision="allowed"))
    else:
        private_files.make_folder(home)
    assert mode(home) == 0o700
    assert mode(home.parent) == 0o755


def test_a_home_that_is_there_keeps_its_mode_and_the_database_in_it_is_private_all_the_same(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    url = f"sqlite:///{home / 'terralimb.sqlite'}"
    database.upgrade(url)
    assert mode(home) == 0o755
    with database.engine(url).begin() as connection:
        connection.execute(sa.text("CREATE TABLE more (a)"))
        found = {path.name: mode(path) for path in home.iterdir()}
    assert found == dict.fromkeys(("terralimb.sqlite", "terralimb.sqlite-wal", "terralimb.sqlite-shm"), 0o600)


def test_a_database_that_was_opened_to_a_group_stays_so_and_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "terralimb.sqlite"
    database.upgrade(f"sqlite:///{path}")
    path.chmod(0o640)
    before = path.read_bytes()
    database.upgrade(f"sqlite:///{path}")
    assert mode(path) == 0o640
    assert path.read_bytes()[:100] == before[:100]


def test_a_database_in_memory_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database.upgrade("sqlite:///:memory:")
    assert list(tmp_path.iterdir()) == []


def test_a_private_file_is_written_whole_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "withdrawals" / "a.json"
    for text in ("first", "洪水"):
        private_files.write(path, text)
        assert (path.read_text(encoding="utf-8"), mode(path)) == (text, 0o600)
    assert [one.name for one in path.parent.iterdir()] == ["a.json"]
