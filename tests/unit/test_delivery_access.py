"""Commands of access: a key is shown once, refusals are one sentence, and a changed record ends with status 1."""

import json
from pathlib import Path

import pytest
import typer
from typer import testing

from infra import database, settings, signing
from infra.cli import access
from infra.delivery import audit, identity


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    chosen = settings.Settings(home=tmp_path)
    monkeypatch.setattr(settings, "current", lambda: chosen)
    # The migrations have a test of their own and take a second.
    monkeypatch.setattr(database, "upgrade", lambda url: identity.metadata.create_all(database.engine(url)))
    return tmp_path


def run(*words: str) -> testing.Result:
    return testing.CliRunner().invoke(access.app, list(words))


def test_every_command_explains_itself() -> None:
    listed = run("--help").output
    for command in typer.main.get_command(access.app).commands:  # type: ignore[attr-defined]
        assert command in listed
        assert run(command, "--help").exit_code == 0
    assert "create-key" in listed


def test_a_key_is_shown_once_works_and_is_taken_back(home: Path) -> None:
    made = run("create-key", "--agency", "cq-water", "--sector", "emergency", "--district", "500112", "--json")
    key = json.loads(made.stdout)["key"]
    listed = run("list-keys", "--json").stdout
    assert key.split("_")[2] not in listed
    (known,) = json.loads(listed)["api_keys"]
    assert (known["agency"], known["districts"], known["state"]) == ("cq-water", ["500112"], "valid")
    assert run("revoke-key", known["key_id"]).exit_code == 0
    assert json.loads(run("list-keys", "--json").stdout)["api_keys"][0]["state"] == "revoked"
    again = run("revoke-key", known["key_id"])
    assert again.exit_code == 1
    assert known["key_id"] in str(again.exception)
    assert [line.entry.event for line in audit.lines(home / "audit")] == ["key_create", "key_revoke"]
    assert key.split("_")[2].encode() not in b"".join(path.read_bytes() for path in (home / "audit").iterdir())


def test_the_key_alone_is_on_standard_output(home: Path) -> None:
    made = run("create-key", "--agency", "cq-water", "--sector", "weather", "--all-districts")
    assert made.stdout.startswith("tl_")
    assert made.stdout.count("\n") == 1
    assert "once" in made.stderr
    assert "weather" in run("list-keys").stdout
    assert (home / "audit").is_dir()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "words",
    [
        ("--agency", "a", "--sector", "unknown", "--all-districts"),
        ("--agency", "two words", "--sector", "weather", "--all-districts"),
        ("--agency", "a", "--sector", "weather", "--district", "*"),
        ("--agency", "a", "--sector", "weather", "--scope", "all", "--all-districts"),
        ("--agency", "a", "--all-districts"),
    ],
)
def test_keys_that_could_mean_something_else_are_a_fault_of_usage(words: tuple[str, ...]) -> None:
    assert run("create-key", *words).exit_code == 2


def test_a_key_for_all_districts_is_made_only_where_that_is_said(home: Path) -> None:
    of = ("create-key", "--agency", "cq-water", "--sector", "weather")
    for words in (of, (*of, "--district", "500112", "--all-districts")):
        made = run(*words)
        assert made.exit_code == 2
        assert "--all-districts" in made.stderr
        assert not list(home.iterdir())
    assert run(*of, "--all-districts").exit_code == 0
    (known,) = json.loads(run("list-keys", "--json").stdout)["api_keys"]
    assert known["districts"] is None


def test_signing_goes_on_with_another_key(home: Path) -> None:
    old = signing.ensure(home)
    assert run("rotate-signing-key", "--reason", "yearly").exit_code == 0
    revoked = run("rotate-signing-key", "--reason", "stolen", "--revoke", old.id)
    assert revoked.exit_code == 0
    keys = signing.public_keys(home)
    assert [key.state for key in keys] == ["revoked", "active"]
    assert keys[1].public_key in revoked.stderr
    assert keys[1].id in run("list-keys").stdout
    assert run("rotate-signing-key", "--reason", "x", "--revoke", "unknown").exit_code == 1


def test_a_record_that_holds_is_sealed_and_one_that_was_changed_is_named(home: Path) -> None:
    for agency in ("a", "b"):
        run("create-key", "--agency", agency, "--sector", "weather", "--all-districts")
    assert "not sealed" in run("verify-audit").stderr
    sealed = json.loads(run("verify-audit", "--seal", "--json").stdout)
    assert (sealed["status"], sealed["lines"], sealed["sealed"]) == ("ok", 2, 2)
    (day,) = (home / "audit").glob("*.jsonl")
    day.write_bytes(day.read_bytes().splitlines(keepends=True)[0])
    broken = run("verify-audit", "--json")
    assert broken.exit_code == 1
    assert json.loads(broken.stdout)["status"] == "broken"
    assert f"{day.name}, line 2" in str(broken.exception)


def test_heads_of_a_revoked_key_are_told_of(home: Path) -> None:
    run("create-key", "--agency", "a", "--sector", "weather", "--all-districts")
    run("verify-audit", "--seal")
    run("rotate-signing-key", "--reason", "stolen", "--revoke", signing.ensure(home).id)
    assert "1 heads are of a revoked key" in run("verify-audit").stderr
