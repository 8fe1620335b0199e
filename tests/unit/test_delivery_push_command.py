"""Commands of push: nobody hears of every district unless that was said."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import testing

from infra import database, settings
from infra.cli import push


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TERRALIMB_HOME", str(tmp_path))
    settings.current.cache_clear()
    database.upgrade(f"sqlite:///{tmp_path / 'terralimb.sqlite'}")
    yield tmp_path
    settings.current.cache_clear()


@pytest.mark.parametrize("limits", [[], ["--all-districts", "--district", "500112"]])
def test_a_webhook_without_a_word_about_districts_is_refused(home: Path, limits: list[str]) -> None:
    given = ["add-webhook", "--agency", "a", "--sector", "emergency", "--url", "http://127.0.0.1:9/in", *limits]
    refused = testing.CliRunner().invoke(push.app, given)
    assert refused.exit_code == 2
    assert "--all-districts" in refused.output
    assert not (home / "webhooks").exists()


@pytest.mark.parametrize("limits", [["--all-districts"], ["--district", "500112"]])
def test_a_webhook_is_made_with_the_limits_that_were_said(home: Path, limits: list[str]) -> None:
    given = ["add-webhook", "--agency", "a", "--sector", "emergency", "--url", "http://127.0.0.1:9/in", *limits]
    made = testing.CliRunner().invoke(push.app, given)
    assert made.exit_code == 0, made.output
    listed = testing.CliRunner().invoke(push.app, ["list", "--json"])
    assert ("500112" in listed.output) == ("--district" in limits)
