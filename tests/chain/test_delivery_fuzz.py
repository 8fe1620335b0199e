"""Whatever the service is asked, by whomever: it never fails, and answers as it describes itself."""

from collections.abc import Iterator

import pytest

from tests.chain import delivery_fuzz_questions as questions
from tests.chain import delivery_fuzzing as fuzzing

pytestmark = [
    pytest.mark.chain,
    pytest.mark.filterwarnings("ignore::UserWarning:geojson_pydantic"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

EXAMPLES = 25
SEED = 20_260_701


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fuzzing.Service]:
    with fuzzing.serving(tmp_path_factory.mktemp("fuzzed")) as running:
        yield running


def test_every_operation_described_is_reached_and_answers_as_described(service: fuzzing.Service) -> None:
    fuzzing.fuzz_all(service, examples=EXAMPLES, seed=SEED)


@pytest.mark.parametrize("topic", sorted(questions.TOPICS))
def test_questions_made_to_hurt_are_refused_and_break_nothing(service: fuzzing.Service, topic: str) -> None:
    questions.hurt(service, topic, examples=EXAMPLES, seed=SEED)
