"""The state of a window follows from facts and only moves forward; the gate lets nothing pass that has no fate."""

import itertools
from typing import Any

import numpy as np
import pytest

from processors.level0 import completeness, completeness_state

OCTETS = {"in": 110, "frames": 100, "junk": 7, "tail": 3}
FRAMES = {
    "received": 28,
    "accepted": 1,
    "uncorrectable": 2,
    "check_failed": 3,
    "foreign": 4,
    "invalid": 5,
    "duplicate": 6,
    "conflict": 7,
    "corrected": 1,
    "idle": 1,
}
ZONE = {"in": 50, "packets": 30, "idle": 10, "dropped": 6, "unsynchronised": 4}
RANK = {"open": 0, "provisional": 1, "closed_with_gaps": 2, "complete": 3}


def packets(count: int = 10, missing: int = 0, **more: Any) -> dict[str, Any]:
    return {"apid": 48, "count": count, "missing": missing, **more}


def account(*rows: dict[str, Any], gaps: list[list[int]] | None = None, **more: Any) -> dict[str, Any]:
    missing = sum(last - first + 1 for first, last in gaps or [])
    channel = {"scid": 76, "vcid": 2, "frames": 9, "missing": missing, "gaps": gaps or []}
    return {"virtual_channels": [channel], "packets": list(rows), "zone_bytes": ZONE, "unexplained": 0, **more}


def state(
    found: dict[str, Any] | None, *, arriving: bool = False, overdue: bool = False, pending: bool = False
) -> completeness_state.State:
    return completeness_state.state(found, arriving=arriving, overdue=overdue, pending=pending)


@pytest.mark.parametrize(
    ("row", "held", "missing", "surplus"),
    [
        (packets(10, 2), 10, 2, 0),
        (packets(10, 2, expected_produced=None), 10, 2, 0),
        (packets(10, 2, expected_produced=12), 10, 2, 0),
        (packets(10, 0, expected_produced=13), 10, 3, 0),
        (packets(10, 2, expected_produced=11), 10, 2, 0),
        (packets(10, 0, expected_produced=9), 10, 0, 1),
        (packets(10, 1, expected_produced=8, held_in_bracket=6), 10, 2, 0),
        (packets(0, 0, expected_produced=5), 0, 5, 0),
    ],
)
def test_what_is_missing_is_the_worse_of_two_expectations(
    row: dict[str, Any], held: int, missing: int, surplus: int
) -> None:
    found = completeness_state.expectation_of_packets(row)
    assert (found.held, found.missing, found.surplus) == (held, missing, surplus)
    assert found.expected == held + missing


def test_a_turn_of_the_sequence_counter_is_seen_by_the_counters_on_board() -> None:
    turn = account(packets(100, 0, expected_produced=100 + 16_384))
    assert completeness_state.expectation(turn).missing == 16_384
    assert state(turn, overdue=True) == "closed_with_gaps"


def test_idle_packets_and_idle_channels_are_not_expected() -> None:
    found = account(packets(10), packets(5, 7, idle=True))
    found["virtual_channels"].append({"vcid": 63, "frames": 1, "missing": 4, "gaps": [[1, 4]], "idle": True})
    assert completeness_state.expectation(found).missing == 0
    assert completeness_state.missing_frames(found) == {}
    assert not completeness_state.lacks(found)


@pytest.mark.parametrize(
    "short",
    [
        account(packets(10, 1)),
        account(packets(10), gaps=[[3, 3]]),
        account(packets(10, expected_produced=11)),
        account(packets(10, expected_produced=9)),
        account(packets(10, incomplete_units=1)),
    ],
)
def test_whatever_is_missing_keeps_a_window_from_being_complete(short: dict[str, Any]) -> None:
    assert state(short) == "provisional"
    assert state(short, overdue=True, pending=True) == "provisional"
    assert state(short, overdue=True) == "closed_with_gaps"


def test_a_window_is_open_until_it_is_evaluated_and_nothing_of_it_can_arrive_in_order() -> None:
    assert state(None) == "open"
    assert state(None, overdue=True) == "open"
    whole = account(packets(10, expected_produced=10))
    assert state(whole, arriving=True) == "open"
    assert state(whole, arriving=True, overdue=True) == "complete"
    assert state(account(packets(9, 1)), arriving=True, overdue=True) == "closed_with_gaps"
    assert state(whole) == "complete"


def test_completeness_is_proven_by_both_expectations_or_by_the_deadline() -> None:
    one, both = account(packets(10)), account(packets(10, expected_produced=10), packets(3))
    assert state(one) == "provisional"
    assert state(one, overdue=True) == "complete"
    assert state(both) == "complete"


def test_late_data_turns_closed_with_gaps_into_complete() -> None:
    assert state(account(packets(9, 1), gaps=[[3, 3]]), overdue=True) == "closed_with_gaps"
    assert state(account(packets(10)), overdue=True) == "complete"


def test_as_facts_only_accumulate_a_window_never_moves_back() -> None:
    """Data arrives, the deadline passes, requests end: every order of these, from every number of missing packets."""
    for missing, produced in itertools.product((0, 1, 2), (None, 12)):
        for order in itertools.permutations(("arrived", "overdue", "ended", "evaluated", "filled")):
            happened: set[str] = set()
            ranks = []
            for event in ("", *order):
                happened.add(event)
                left = 0 if "filled" in happened else missing
                found = account(packets(12 - left, left, expected_produced=produced))
                ranks.append(
                    RANK[
                        state(
                            found if "evaluated" in happened else None,
                            arriving="arrived" not in happened,
                            overdue="overdue" in happened,
                            pending="ended" not in happened and left > 0,
                        )
                    ]
                )
            assert ranks == sorted(ranks), (missing, produced, order)
            assert ranks[-1] == RANK["complete"]


def test_a_request_is_awaited_by_the_windows_whose_frames_it_asks_for() -> None:
    asked = completeness_state.requests_by_channel([(2, 0, 100, 120), (2, 0, 5, 8), (3, 0, 1, 1)])
    assert asked[(2, 0)].tolist() == [[5, 8], [100, 120]]
    assert completeness_state.awaited(account(packets(1, 1), gaps=[[8, 9]]), asked)
    assert not completeness_state.awaited(account(packets(1, 1), gaps=[[9, 99]]), asked)
    assert not completeness_state.awaited(account(packets(1)), asked)


def test_where_an_account_does_not_say_which_frames_are_missing_any_request_is_awaited() -> None:
    silent = {"packets": [packets(1, 1)], "unexplained": 0}
    asked = completeness_state.requests_by_channel([(2, 0, 1, 1)])
    assert completeness_state.awaited(silent, asked)
    assert not completeness_state.awaited(silent, {})


def test_frames_of_another_epoch_are_other_frames() -> None:
    found = account(packets(1, 1), gaps=[[5, 5]])
    asked = completeness_state.requests_by_channel([(2, 1, 5, 5)])
    assert not completeness_state.awaited(found, asked)
    found["virtual_channels"][0]["epoch"] = 1
    assert completeness_state.awaited(found, asked)


def test_accounts_that_balance_pass_the_gate() -> None:
    good = {"bytes": OCTETS, "frames": FRAMES, "zone_bytes": {"in": 5, "packets": 4, "dropped": 1}}
    assert completeness_state.gate({"recording a": good}, {"window b": account(packets(9, 1))}) == []
    assert completeness_state.gate({}, {}) == []


@pytest.mark.parametrize("name", ["in", "frames", "junk", "tail"])
@pytest.mark.parametrize("step", [-1, 1])
def test_one_octet_without_fate_stops_a_release(name: str, step: int) -> None:
    octets = {**OCTETS, name: OCTETS[name] + step}
    (sentence,) = completeness_state.gate({"recording a": {"bytes": octets, "frames": FRAMES}}, {})
    assert sentence.startswith("recording a: ")
    lost = (name == "in") == (step == 1)
    assert sentence.endswith("1 have no fate" if lost else "1 are counted twice")


@pytest.mark.parametrize("name", ["received", *completeness_state.FATES])
def test_one_frame_without_fate_stops_a_release(name: str) -> None:
    frames = {**FRAMES, name: FRAMES[name] + 1}
    (sentence,) = completeness_state.gate({"recording a": {"bytes": OCTETS, "frames": frames}}, {})
    assert "frames came in" in sentence


@pytest.mark.parametrize("name", ["corrected", "idle"])
def test_what_accepted_frames_are_counted_for_again_is_no_fate(name: str) -> None:
    frames = {**FRAMES, name: 1000}
    assert completeness_state.gate({"a": {"bytes": OCTETS, "frames": frames}}, {}) == []


@pytest.mark.parametrize("name", sorted(ZONE))
def test_one_octet_of_a_packet_zone_without_fate_stops_a_release(name: str) -> None:
    zone = {**ZONE, name: ZONE[name] + 1}
    (sentence,) = completeness_state.gate({}, {"window b": account(packets(), zone_bytes=zone)})
    assert sentence.startswith("window b: ")
    assert "octets of packet zones" in sentence


def test_an_unexplained_loss_stops_a_release_and_is_named_with_its_size() -> None:
    (sentence,) = completeness_state.gate({}, {"window b": account(packets(9, 3), unexplained=3)})
    assert sentence == "window b: 3 packets are missing without a known reason"


def test_an_account_that_says_nothing_is_no_proof() -> None:
    assert len(completeness_state.gate({"recording a": {}}, {"window b": {}})) == 3


def test_intervals_in_any_order_are_the_set_of_their_integers() -> None:
    random = np.random.default_rng(5)
    for _ in range(50):
        first = random.integers(0, 60, size=random.integers(0, 12))
        rows = np.stack((first, first + random.integers(0, 6, size=first.size)), axis=1)
        integers = {value for low, high in rows.tolist() for value in range(low, high + 1)}
        found = completeness.intervals_from_rows(rows)
        assert [value for low, high in found.tolist() for value in range(low, high + 1)] == sorted(integers)
        assert np.all(found[1:, 0] > found[:-1, 1] + 1)
