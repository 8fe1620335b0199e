"""The command of an emergency: what it asks, what it tells, and by what status it ends."""

import contextlib
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from infra import cli, emergency_run
from infra.embedded import installation

BASE = ["emergency", "run", "--bbox", "106.0,29.4,106.2,29.7", "--since", "2026-07-10"]
FLOOD, FIRE = "flood-extent", "active-fire"


def answer(product=FLOOD, state="done", *, item="flood-1", reason=None, alerts=("a", "b")) -> emergency_run.Answer:
    return emergency_run.Answer("scenes/operator/emergency/abc-scene.tif", product, state, reason, item, alerts, 12.4)


@pytest.fixture
def run(monkeypatch):
    """Run the command with a reply given; what it landed and asked is kept."""
    kept = SimpleNamespace(asked=[], landed=[])

    @contextlib.contextmanager
    def attached(_chosen, *, announce):
        announce("begins")
        yield SimpleNamespace()

    def told(reply, *extra):
        def answered(asked, _here, announce):
            kept.asked.append(asked)
            announce("publishing")
            return reply

        monkeypatch.setattr(installation, "attached", attached)
        monkeypatch.setattr(emergency_run, "answer", answered)
        monkeypatch.setattr(emergency_run, "land", lambda files, _here: kept.landed.extend(files))
        return CliRunner().invoke(cli.app, [*BASE, *extra])

    return SimpleNamespace(told=told, kept=kept)


def reply(*answers, unreadable=(), missing=()) -> emergency_run.Reply:
    return emergency_run.Reply("emergency-1", tuple(answers), tuple(unreadable), tuple(missing), 20.0)


def test_a_table_tells_item_alerts_and_time(run):
    done = run.told(reply(answer()), "--product", "flood")
    assert done.exit_code == 0
    row = next(line for line in done.stdout.splitlines() if line.strip().startswith(FLOOD))
    assert row.split() == [FLOOD, "abc-scene.tif", "done", "flood-1", "2", "12"]
    assert "request emergency-1, 20 s" in done.stdout
    assert (run.kept.asked[0].products, run.kept.landed) == ((FLOOD,), [])


@pytest.mark.parametrize(
    ("given", "extra", "status"),
    [
        (reply(answer(), missing=(FIRE,)), (), 0),
        (reply(answer(), missing=(FIRE,)), ("--product", "flood,fire"), 1),
        (reply(answer(), answer(FIRE, "failed", item=None, reason="broke")), (), 1),
        (reply(answer(), unreadable=(("b.tif", "cut short"),)), (), 1),
        (reply(answer(state="partial", reason="no alerts were judged")), ("--product", "flood"), 0),
        (reply(answer(state="not_applicable", item=None, reason="lies outside"), missing=(FLOOD,)), (), 1),
        (reply(missing=(FLOOD, FIRE)), (), 1),
    ],
)
def test_the_status_is_zero_only_where_what_was_asked_is_there(run, given, extra, status):
    assert run.told(given, *extra).exit_code == status


def test_what_is_missing_unread_or_refused_is_told_with_its_reason(run):
    given = reply(
        answer(),
        answer(FIRE, "not_applicable", item=None, reason="needs t4", alerts=()),
        unreadable=(("b.tif", "cut short"),),
        missing=(FIRE,),
    )
    done = run.told(given)
    assert "no scene gave active-fire" in done.stdout
    assert "needs t4" in done.stdout
    assert "b.tif was not read: cut short" in done.stderr
    nothing = run.told(reply(missing=(FLOOD,)))
    assert "no landed scene covers the area" in nothing.stderr
    assert nothing.stdout == ""


def test_json_holds_everything_and_nothing_else_is_printed(run):
    done = run.told(reply(answer(), missing=(FIRE,)), "--json")
    document = json.loads(done.stdout)
    assert document["succeeded"] is False
    assert document["answers"][0]["item"] == "flood-1"
    assert document["missing"] == [FIRE]


def test_scenes_are_landed_before_the_question_and_must_be_there(run, tmp_path):
    scene = tmp_path / "a.tif"
    scene.write_bytes(b"x")
    assert run.told(reply(answer()), "--land", str(scene), "--product", "flood").exit_code == 0
    assert run.kept.landed == [scene]
    assert run.told(reply(answer()), "--land", str(tmp_path / "none.tif")).exit_code == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--bbox", "a,b,c,d"), "west,south,east,north"),
        (("--bbox", "106,29,107"), "west,south,east,north"),
        (("--product", "storm"), "no product storm"),
        (("--until", "2026-07-01"), "before it begins"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_starts(run, wrong, words):
    done = run.told(reply(answer()), *wrong)
    assert done.exit_code == 2
    assert words in " ".join(done.output.replace("│", " ").split())
    assert run.kept.asked == []
