"""The random questions of `tests/chain/test_delivery_fuzz.py`, thousands for every operation (`make soak`)."""

import os
import random
from collections.abc import Iterator

import pytest

from tests.chain import delivery_fuzz_questions as questions
from tests.chain import delivery_fuzzing as fuzzing

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:BBOX crossing the Antimeridian line:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*GeometryCollection:UserWarning"),
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

EXAMPLES = int(os.environ.get("TERRALIMB_FUZZ_EXAMPLES", "2000"))
#: Longest for one operation or one topic, whatever was reached by then [s].
SECONDS = 25.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fuzzing.Service]:
    with fuzzing.serving(tmp_path_factory.mktemp("fuzzed")) as running:
        yield running


@pytest.fixture(scope="module")
def seed() -> int:
    """Another one every time; a failure names it."""
    chosen = random.SystemRandom().randrange(2**32)
    print(f"seed {chosen}")  # noqa: T201
    return chosen


def test_every_operation_described_is_reached_and_answers_as_described(service: fuzzing.Service, seed: int) -> None:
    fuzzing.fuzz_all(service, examples=EXAMPLES, seed=seed, seconds=SECONDS)


@pytest.mark.parametrize("topic", sorted(questions.TOPICS))
def test_questions_made_to_hurt_break_nothing(service: fuzzing.Service, topic: str, seed: int) -> None:
    seen = questions.hurt(service, topic, examples=EXAMPLES, seed=seed, seconds=SECONDS)
    # Where all are refused, what lies behind the first check was not met.
    assert min(seen - {0, 100}) < 400 <= max(seen)
