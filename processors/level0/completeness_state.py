"""What the account of a window amounts to: its state, and whether the accounts allow a release.

Everything here follows from facts, so that the same facts give the same answer whenever and wherever it is asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from processors.arrays import IntArray
from processors.level0 import completeness

Account = Mapping[str, Any]
State = Literal["open", "provisional", "complete", "closed_with_gaps"]
STATES: tuple[State, ...] = ("open", "provisional", "complete", "closed_with_gaps")
FATES = ("accepted", "uncorrectable", "check_failed", "foreign", "invalid", "duplicate", "conflict")
"""Each received frame has one of these; corrected and idle ones are accepted frames counted a second time."""


class Expectation(NamedTuple):
    """Packets or frames that should be there, and those that are.

    held, missing : integers, together what was expected [1];
    surplus : held beyond what the spacecraft says it produced [1];
    proven : whether the spacecraft said how many it produced.
    """

    held: int
    missing: int
    surplus: int = 0
    proven: bool = False

    @property
    def expected(self) -> int:
        """What should be there [1]."""
        return self.held + self.missing


def expectation_of_packets(row: Account) -> Expectation:
    """What one application process should have, by the worse of two expectations.

    The sequence counters tell of losses between two packets, the counters of packets produced on board also of those
    at the ends and of whole turns of the sequence counter.

    Parameters
    ----------
    row : mapping
        `count`, `missing` and, where the spacecraft says what it produced, `expected_produced` [1]; these cover
        the `held_in_bracket` packets held where the spacecraft's counters do not reach over all of them [1].

    Returns
    -------
    Expectation
        Packets [1].
    """
    count, missing = int(row["count"]), int(row.get("missing", 0))
    produced = row.get("expected_produced")
    if produced is None:
        return Expectation(count, missing)
    covered = row.get("held_in_bracket")
    short = int(produced) - (count if covered is None else int(covered))
    return Expectation(count, max(missing, short), surplus=max(-short, 0), proven=True)


def expectation(account: Account) -> Expectation:
    """What all application processes of a window should have; idle packets do not count.

    Parameters
    ----------
    account : mapping
        Account of the window with its `packets`.

    Returns
    -------
    Expectation
        Packets [1]; proven where the spacecraft speaks of at least one application process.
    """
    rows = [expectation_of_packets(row) for row in account.get("packets", ()) if not row.get("idle")]
    return Expectation(
        sum(row.held for row in rows),
        sum(row.missing for row in rows),
        sum(row.surplus for row in rows),
        any(row.proven for row in rows),
    )


def missing_frames(account: Account) -> dict[tuple[int, int], IntArray]:
    """Frame counters a window lacks.

    Parameters
    ----------
    account : mapping
        Account of the window; idle channels do not count.

    Returns
    -------
    dict
        Intervals of shape (interval, 2) [1] by virtual channel and epoch of its counter.
    """
    found: dict[tuple[int, int], IntArray] = {}
    for row in account.get("virtual_channels", ()):
        if not row.get("idle") and row.get("gaps"):
            key = (int(row["vcid"]), int(row.get("epoch", 0)))
            held = found.get(key, completeness.intervals_from_rows([]))
            found[key] = completeness.union(held, completeness.intervals_from_rows(row["gaps"]))
    return found


def lacks(account: Account) -> bool:
    """Tell whether anything is missing or unproven: frames, packets, parts of units, or the expectations disagree.

    Parameters
    ----------
    account : mapping
        Account of the window.

    Returns
    -------
    bool
        False where nothing is missing by any expectation there is.
    """
    packets = expectation(account)
    frames = sum(int(row.get("missing", 0)) for row in account.get("virtual_channels", ()) if not row.get("idle"))
    units = sum(int(row.get("incomplete_units", 0)) for row in account.get("packets", ()))
    return bool(frames or packets.missing or packets.surplus or units)


def awaited(account: Account, requests: Mapping[tuple[int, int], IntArray]) -> bool:
    """Tell whether something that is missing has been requested.

    Parameters
    ----------
    account : mapping
        Account of the window.
    requests : mapping
        Requested frame counters that are still awaited, intervals of shape (interval, 2) [1], by virtual channel and
        epoch of its counter.

    Returns
    -------
    bool
        True where a request asks for frames the window lacks; where the account misses packets and does not say
        which frames they came in, true with any request.
    """
    if not lacks(account) or not requests:
        return False
    missing = missing_frames(account)
    if not missing:
        return True
    none = completeness.intervals_from_rows([])
    return any(len(completeness.intersection(gaps, requests.get(key, none))) > 0 for key, gaps in missing.items())


def state(account: Account | None, *, arriving: bool, overdue: bool, pending: bool) -> State:
    """State of a window.

    =================  ===============================================================================================
    open               there is no evaluation, or data is still arriving and the deadline not reached
    complete           nothing is missing, and the spacecraft's own counters agree or the deadline is reached
    provisional        not provably complete and the deadline not reached, or something missing is still awaited
    closed_with_gaps   the deadline is reached, nothing is awaited and something is missing, or the spacecraft's
                       counters contradict what is held
    =================  ===============================================================================================

    The first line that holds decides. Without counters of what was produced on board nobody can tell before the
    deadline whether the ends of a window are whole, so it stays provisional until then.

    As data only arrives, deadlines only pass and requests only come to an end (those made after the deadline do not
    count), a window moves down this table, open, provisional, then one of the final two, and back only where it should:
    late data turns closed_with_gaps into complete. An evaluation that misses what none before knew of, because late
    data shows where the counters really stood, takes a completeness back: the facts have the last word.

    Parameters
    ----------
    account : mapping or None
        Newest account of the window; None where there is none.
    arriving : bool
        Whether nothing of a later on-board time has been received yet.
    overdue : bool
        Whether the deadline is reached.
    pending : bool
        Whether something missing is awaited by a request made before the deadline.

    Returns
    -------
    str
        open, provisional, complete or closed_with_gaps.
    """
    if account is None or (arriving and not overdue):
        return "open"
    if not lacks(account) and (overdue or expectation(account).proven):
        return "complete"
    return "provisional" if pending or not overdue else "closed_with_gaps"


def gate(receptions: Mapping[str, Account], windows: Mapping[str, Account]) -> list[str]:
    """What stands against a release.

    Every octet, frame and octet of a packet zone must have become something, and whatever is missing must have a
    reason.

    Parameters
    ----------
    receptions : mapping
        Accounts of recordings by a name for people.
    windows : mapping
        Accounts of windows by a name for people.

    Returns
    -------
    list of str
        One sentence for each violation, with where and by how much; empty where everything may be released.
    """
    found = [sentence for name, account in receptions.items() for sentence in _reception_violations(name, account)]
    return found + [sentence for name, account in windows.items() for sentence in _window_violations(name, account)]


def _reception_violations(name: str, account: Account) -> Iterable[str]:
    for part in ("bytes", "frames"):
        if part not in account:
            yield f"{name}: the account says nothing of its {part}"
    if "bytes" in account:
        octets = account["bytes"]
        yield from _unbalanced(name, "octets", octets["in"], octets, ("frames", "junk", "tail"))
    if "frames" in account:
        frames = account["frames"]
        yield from _unbalanced(name, "frames", frames["received"], frames, FATES)
    yield from _unbalanced_zone(name, account)


def _window_violations(name: str, account: Account) -> Iterable[str]:
    yield from _unbalanced_zone(name, account)
    if "unexplained" not in account:
        yield f"{name}: the account does not say how much is unexplained"
    elif account["unexplained"]:
        yield f"{name}: {account['unexplained']} packets are missing without a known reason"


def _unbalanced_zone(name: str, account: Account) -> Iterable[str]:
    zone = account.get("zone_bytes")
    if zone is not None:
        yield from _unbalanced(
            name, "octets of packet zones", zone["in"], zone, [part for part in zone if part != "in"]
        )


def _unbalanced(name: str, what: str, total: int, parts: Account, names: Sequence[str]) -> Iterable[str]:
    """Sentence where the parts do not add up to the total; a part that is not told is none."""
    found = sum(int(parts.get(part, 0)) for part in names)
    if found != total:
        sense = f"{total - found} have no fate" if found < total else f"{found - total} are counted twice"
        yield f"{name}: {total} {what} came in, {', '.join(names)} add up to {found}: {sense}"


def requests_by_channel(rows: Iterable[tuple[int, int, int, int]]) -> dict[tuple[int, int], IntArray]:
    """Intervals of requests gathered by channel.

    Parameters
    ----------
    rows : iterable of tuple of int
        Virtual channel, epoch, first and last counter of each request [1].

    Returns
    -------
    dict
        Intervals of shape (interval, 2) [1] by virtual channel and epoch.
    """
    gathered: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for vcid, epoch, first, last in rows:
        gathered.setdefault((vcid, epoch), []).append((first, last))
    return {key: completeness.intervals_from_rows(np.array(some)) for key, some in gathered.items()}
