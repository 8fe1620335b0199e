"""Interval algebra against plain sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from processors.level0 import completeness

numbers = st.sets(st.integers(-30, 60), max_size=40)


def intervals(members):
    return completeness.intervals_from_counters(np.array(sorted(members), dtype=np.int64))


def members(rows):
    return {i for first, last in rows.tolist() for i in range(first, last + 1)}


def is_normal(rows):
    return bool(np.all(rows[:, 0] <= rows[:, 1]) and np.all(rows[1:, 0] > rows[:-1, 1] + 1))


@given(numbers)
def test_intervals_hold_their_counters_and_no_others(held):
    rows = intervals(held)
    assert members(rows) == held
    assert is_normal(rows)
    assert completeness.size(rows) == len(held)


@given(numbers)
def test_gaps_are_what_is_missing_between_first_and_last(held):
    span = set(range(min(held), max(held) + 1)) if held else set()
    assert members(completeness.gaps(intervals(held))) == span - held


@given(numbers, numbers)
def test_union_intersection_and_difference_are_those_of_sets(a, b):
    for algebra, expected in (
        (completeness.union, a | b),
        (completeness.intersection, a & b),
        (completeness.difference, a - b),
    ):
        rows = algebra(intervals(a), intervals(b))
        assert members(rows) == expected
        assert is_normal(rows)
