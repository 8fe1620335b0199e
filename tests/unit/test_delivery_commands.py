"""Commands of catalogue and delivery: what cannot be meant is wrong usage, and the answer names what could be."""

import contextlib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer import testing

from infra import cli, database, settings
from infra.cli import catalogue_care
from infra.delivery import withdrawal


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TERRALIMB_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "500")
    settings.current.cache_clear()
    database.upgrade(f"sqlite:///{tmp_path / 'terralimb.sqlite'}")
    yield tmp_path
    settings.current.cache_clear()


def said(*words: str) -> Any:
    return testing.CliRunner().invoke(cli.app, list(words))


@pytest.mark.parametrize(
    ("option", "known"), [("--sector", ("ecology", "weather")), ("--product", ("flood-extent", "occultation-profile"))]
)
def test_a_search_for_what_there_cannot_be_is_wrong_usage_and_names_what_there_is(
    home: Path, option: str, known: tuple[str, ...]
) -> None:
    refused = said("catalogue", "search", option, "nope")
    assert refused.exit_code == 2
    assert all(name in refused.output for name in ("'nope'", *known))
    for name in known:
        found = said("catalogue", "search", option, name, "--json")
        assert (found.exit_code, '"features": []' in found.output) == (0, True)


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 501])
def test_a_reason_that_is_none_is_wrong_usage_before_anything_is_started(
    home: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(catalogue_care, "attached", lambda: pytest.fail("the stores were started"))
    refused = said("catalogue", "withdraw", "a", "--reason", reason)
    assert refused.exit_code == 2
    assert "one line" in refused.output


@pytest.mark.parametrize(("reason", "told"), [("cloud", "r1 is withdrawn"), ("other", "the first reason stands")])
def test_who_withdraws_again_is_told_that_the_first_reason_stands(
    home: Path, monkeypatch: pytest.MonkeyPatch, reason: str, told: str
) -> None:
    here = types.SimpleNamespace(settings=settings.current(), store=None, catalog=None)
    monkeypatch.setattr(catalogue_care, "attached", lambda: contextlib.nullcontext(here))
    document = {"revision": 1, "reason": "cloud", "recipients": []}
    monkeypatch.setattr(withdrawal, "withdraw", lambda *_given, **_named: (home / "a.json", document))
    done = said("catalogue", "withdraw", "a", "--reason", f" {reason} ")
    assert done.exit_code == 0
    assert told.replace("r1", "revision 1") in done.output
    assert "cloud" in done.output


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"keys": []}', "\udcff"])
def test_a_list_of_trusted_keys_that_is_none_is_named(home: Path, content: str) -> None:
    path = home / "trusted.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    refused = said("fetch", "a", "--out", str(home), "--trust", str(path))
    assert refused.exit_code == 2
    assert f"{path} holds no list of signing keys" in refused.output
