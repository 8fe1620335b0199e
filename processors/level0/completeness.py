"""Interval algebra of counters: what was held, what is missing.

A set of integers is an array of shape (interval, 2) whose rows [first, last] include both ends, ascend, and neither
overlap nor touch.
"""

import numpy as np
import numpy.typing as npt

from processors.arrays import IntArray


def intervals_from_counters(counters: IntArray) -> IntArray:
    """Set of the given integers.

    Parameters
    ----------
    counters : IntArray
        Integers in any order, repeats allowed, shape (n,) [1].

    Returns
    -------
    IntArray
        Intervals, shape (interval, 2) [1].
    """
    held = np.unique(counters).astype(np.int64)
    if held.size == 0:
        return np.zeros((0, 2), dtype=np.int64)
    breaks = np.flatnonzero(np.diff(held) > 1)
    return np.stack((held[np.r_[0, breaks + 1]], held[np.r_[breaks, held.size - 1]]), axis=1)


def size(intervals: IntArray) -> int:
    """Count of integers in a set.

    Parameters
    ----------
    intervals : IntArray
        Intervals, shape (interval, 2) [1].

    Returns
    -------
    int
        Integers [1].
    """
    return int(np.sum(intervals[:, 1] - intervals[:, 0] + 1))


def union(first: IntArray, second: IntArray) -> IntArray:
    """Integers in either set.

    Parameters
    ----------
    first, second : IntArray
        Intervals, shape (interval, 2) [1].

    Returns
    -------
    IntArray
        Intervals, shape (interval, 2) [1].
    """
    rows = np.concatenate((first, second))
    if len(rows) == 0:
        return rows
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    reach = np.maximum.accumulate(rows[:, 1])
    opens = np.r_[True, rows[1:, 0] > reach[:-1] + 1]
    closes = np.r_[opens[1:], True]
    return np.stack((rows[opens, 0], reach[closes]), axis=1)


def gaps(intervals: IntArray) -> IntArray:
    """Integers missing between the first and the last of a set.

    Parameters
    ----------
    intervals : IntArray
        Intervals, shape (interval, 2) [1].

    Returns
    -------
    IntArray
        Intervals, shape (interval, 2) [1].
    """
    return np.stack((intervals[:-1, 1] + 1, intervals[1:, 0] - 1), axis=1)


def difference(first: IntArray, second: IntArray) -> IntArray:
    """Integers in the first set and not in the second.

    Parameters
    ----------
    first, second : IntArray
        Intervals, shape (interval, 2) [1].

    Returns
    -------
    IntArray
        Intervals, shape (interval, 2) [1].
    """
    if len(first) == 0:
        return first
    below = min(first[0, 0], second[0, 0] if len(second) else first[0, 0]) - 2
    above = max(first[-1, 1], second[-1, 1] if len(second) else first[-1, 1]) + 2
    guard = np.array([[below, below], [above, above]])
    outside = gaps(union(second, guard))
    return intersection(first, outside)


def intersection(first: IntArray, second: IntArray) -> IntArray:
    """Integers in both sets.

    Parameters
    ----------
    first, second : IntArray
        Intervals, shape (interval, 2) [1].

    Returns
    -------
    IntArray
        Intervals, shape (interval, 2) [1].
    """
    begin = np.searchsorted(second[:, 1], first[:, 0], side="left")
    end = np.searchsorted(second[:, 0], first[:, 1], side="right")
    count = np.maximum(end - begin, 0)
    mine = np.repeat(np.arange(len(first)), count)
    theirs = np.repeat(begin, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    low = np.maximum(first[mine, 0], second[theirs, 0])
    return np.stack((low, np.minimum(first[mine, 1], second[theirs, 1])), axis=1)


def intervals_from_rows(rows: npt.ArrayLike) -> IntArray:
    """Set of the integers in any of the given intervals.

    Parameters
    ----------
    rows : array_like
        Pairs of a first and a last integer [1], in any order, overlaps and none at all allowed.

    Returns
    -------
    IntArray
        Intervals, shape (interval, 2) [1].
    """
    pairs = np.asarray(rows, dtype=np.int64).reshape(-1, 2)
    return union(pairs, pairs[:0])
