"""What lies within a district, judged by the parts of its code and not by its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.delivery import entitlement

#: Digits of province, prefecture, county, township and village.
PARTS = (2, 2, 2, 3, 3)


def parts_of(code: str) -> list[int]:
    """Numbers of the parts a code has."""
    found, at = [], 0
    for width in PARTS:
        if at < len(code):
            found.append(int(code[at : at + width]))
        at += width
    return found


def within(code: str, district: str) -> bool:
    """Whether a code lies in a district: equal as far as the district says anything."""
    said = parts_of(district)
    while said and said[-1] == 0:
        said.pop()
    return len(parts_of(code)) >= len(said) and parts_of(code)[: len(said)] == said


@st.composite
def codes(draw: st.DrawFn) -> str:
    """Codes that often end in zeros and often share a beginning."""
    few = [st.sampled_from(numbers) for numbers in ([50], [0, 1, 2, 10], [0, 1, 12, 20], [0, 1, 100, 101, 10])]
    few.append(st.sampled_from([0, 1, 100, 200, 215]))
    length = draw(st.sampled_from([3, 4, 5]))
    return "".join(f"{draw(few[at]):0{PARTS[at]}d}" for at in range(length))


def seen(code: str, district: str) -> bool:
    principal = entitlement.Principal(
        agency="a", sectors=frozenset({"emergency"}), districts=frozenset({district}), scopes=frozenset(), key_id="k"
    )
    return entitlement.permits(principal, sector="emergency", admin_codes=[code])


@given(codes(), codes())
def test_a_key_of_a_district_sees_what_lies_in_it_and_nothing_else(code: str, district: str) -> None:
    assert seen(code, district) == within(code, district)


@pytest.mark.parametrize(
    ("district", "neighbour"),
    [
        ("500112100", "500112150"),
        ("500112100000", "500112101"),
        ("500112200", "500112215"),
        ("500112100200", "500112100215"),
        ("500112", "500113"),
    ],
)
def test_a_town_does_not_see_the_next(district: str, neighbour: str) -> None:
    assert not seen(neighbour, district)
    assert seen(district, district)


@pytest.mark.parametrize("district", ["500000", "500112", "500112000", "500112000000", "500112100", "500112100000"])
def test_what_stands_above_sees_what_is_below(district: str) -> None:
    assert seen("500112100200", district)
