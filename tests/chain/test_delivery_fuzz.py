"""Whatever the service is asked, by whomever: it never fails, and answers as it describes itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from schemathesis.core.failures import FailureGroup

from infra.delivery import feed, health
from tests.chain import delivery_fuzz_questions as questions
from tests.chain import delivery_fuzzing as fuzzing

pytestmark = [
    pytest.mark.chain,
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

SEED = 20_260_701


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fuzzing.Service]:
    with fuzzing.serving(tmp_path_factory.mktemp("fuzzed")) as running:
        yield running


def test_every_operation_described_is_reached_and_answers_as_described(service: fuzzing.Service) -> None:
    fuzzing.fuzz_all(service, examples=20, seed=SEED)


@pytest.mark.parametrize("topic", sorted(questions.TOPICS))
def test_questions_made_to_hurt_break_nothing(service: fuzzing.Service, topic: str) -> None:
    seen = questions.hurt(service, topic, examples=40, seed=SEED)
    # Where all are refused, what lies behind the first check was not met.
    assert min(seen - {0, 100}) < 400 <= max(seen)


def test_a_failure_at_a_rare_question_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = feed.Feed.newest

    def frail(self: feed.Feed, principal: Any, request: feed.FeedRequest, address: Any) -> Any:
        if request.adcode is not None and request.sector is not None:
            raise RuntimeError("planted")
        return sound(self, principal, request, address)

    monkeypatch.setattr(feed.Feed, "newest", frail)
    with fuzzing.serving(tmp_path) as running, pytest.raises(AssertionError, match=r"(?s)500: .*planted"):
        fuzzing.fuzz(running, _operation(running, "GET /feed.atom"), examples=200, seed=SEED)


def test_an_answer_other_than_described_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "report", lambda *_given, **_more: {"status": "splendid"})
    with fuzzing.serving(tmp_path) as running, pytest.raises(FailureGroup, match="distinct failure"):
        fuzzing.fuzz(running, _operation(running, "GET /health"), examples=5, seed=SEED)


def _operation(service: fuzzing.Service, label: str) -> Any:
    found = [result.ok() for result in fuzzing.description(service).get_all_operations()]
    return next(operation for operation in found if operation.label == label)
