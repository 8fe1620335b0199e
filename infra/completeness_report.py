"""The completeness report: what the ledger's facts come to for a time, a satellite or a link, as plain values."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from infra import completeness_ledger
from infra.completeness_ledger import Channel, Reception, Request, Selection, WindowState
from infra.stages import level0, links
from processors import timescales
from processors.level0 import completeness, completeness_state

LOST = ("uncorrectable", "check_failed", "invalid")
SUMMED = ("duplicates", "conflicts", "check_failed", "incomplete_units")
SHORT = 12


def build(
    book: completeness_ledger.CompletenessLedger,
    *,
    now: dt.datetime,
    selection: Selection | None = None,
    every_request: bool = False,
) -> dict[str, Any]:
    """Make the report.

    Parameters
    ----------
    book : CompletenessLedger
        The facts.
    now : datetime.datetime
        Time the states are those of, aware.
    selection : Selection, optional
        What the report is about.
    every_request : bool
        Also the requests that have come to an end.

    Returns
    -------
    dict
        Plain values ready for JSON; `terralimb downlink report --help` says what the keys are.
    """
    chosen = selection or Selection()
    receptions, states = book.receptions(chosen), book.states(now, chosen)
    requests = book.requests(chosen, pending=not every_request)
    held = completeness_ledger.held_of(receptions, chosen.scid)
    return {
        "since": _iso(chosen.since),
        "until": _iso(chosen.until),
        "satellite": chosen.scid,
        "link": chosen.link,
        "totals": _totals(receptions),
        "receptions": [_reception(reception) for reception in receptions],
        "channels": [_channel(channel, intervals) for channel, intervals in held.items()],
        "packets": _packets(states),
        "windows": [_window(entry) for entry in states],
        "states": {name: sum(entry.state == name for entry in states) for name in completeness_state.STATES},
        "requests": [_request(request) for request in requests],
        "gate": _gate(receptions, states),
    }


def satellite_name(link: str, scid: int) -> str:
    """Name of a spacecraft for people: one of our own by its name, others by their number."""
    return level0.receiver_name(scid) if link == level0.OWN_LINK else str(scid)


def satellite_from_name(name: str) -> tuple[str | None, int]:
    """Link, where the name tells it, and identifier of a spacecraft.

    Parameters
    ----------
    name : str
        A number, or the name of one of our own such as TL01.

    Returns
    -------
    link : str or None
        Our own link for one of our own.
    scid : int
        Identifier [1].

    Raises
    ------
    ValueError
        It is neither.
    """
    if name.isdecimal():
        return None, int(name)
    ours = {satellite_name(level0.OWN_LINK, scid): scid for scid in links.definition(level0.OWN_LINK)["spacecraft"]}
    if name.upper() not in ours:
        raise ValueError(f"{name!r} is neither a spacecraft identifier nor one of {min(ours)} to {max(ours)}")
    return level0.OWN_LINK, ours[name.upper()]


def _iso(instant: dt.datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(dt.UTC).isoformat(timespec="seconds")


def _utc(time: float | None) -> str | None:
    if time is None:
        return None
    return str(np.datetime_as_string(timescales.utc_from_gps(time).astype("datetime64[s]"))) + "Z"


def _percent(held: int, expected: int) -> float | None:
    """Part held, rounded down: what is not whole never reads as 100."""
    return None if expected == 0 else held * 10_000 // expected / 100


def _balance(held: int, missing: int) -> dict[str, Any]:
    return {"expected": held + missing, "held": held, "missing": missing, "percent": _percent(held, held + missing)}


def _lost(account: Mapping[str, Any]) -> int:
    return sum(int(account.get("frames", {}).get(name, 0)) for name in LOST)


def _latency(reception: Reception) -> float | None:
    """From the last on-board time to the ledger [s]."""
    if reception.last_time is None:
        return None
    told = np.datetime64(dt.datetime.fromisoformat(reception.recorded_at).replace(tzinfo=None), "ns")
    return round(float(timescales.gps_from_utc(told)) - reception.last_time, 3)


def _totals(receptions: list[Reception]) -> dict[str, Any]:
    frames: dict[str, int] = {}
    for reception in receptions:
        for name, count in reception.account.get("frames", {}).items():
            frames[name] = frames.get(name, 0) + int(count)
    latencies = [latency for reception in receptions if (latency := _latency(reception)) is not None]
    median, late = np.percentile(latencies, [50, 95]).tolist() if latencies else (None, None)
    return {
        "receptions": len(receptions),
        "seen_again": sum(reception.sightings - 1 for reception in receptions),
        "octets": sum(reception.size for reception in receptions),
        "frames": frames,
        "lost": sum(_lost(reception.account) for reception in receptions),
        "latency": {"median": median, "percentile_95": late},
    }


def _reception(reception: Reception) -> dict[str, Any]:
    account = reception.account
    return {
        "recording": reception.recording,
        "key": reception.key,
        "link": reception.link,
        "station": reception.station,
        "size": reception.size,
        "sightings": reception.sightings,
        "first_time": _utc(reception.first_time),
        "last_time": _utc(reception.last_time),
        "recorded_at": reception.recorded_at,
        "latency": _latency(reception),
        "software": reception.software,
        "bytes": dict(account.get("bytes", {})),
        "frames": dict(account.get("frames", {})),
        "corrected_symbols": int(account.get("corrected_symbols", 0)),
        "synchronization": dict(account.get("synchronization", {})),
        "lost": _lost(account),
    }


def _channel(channel: Channel, held: np.ndarray[Any, Any]) -> dict[str, Any]:
    gaps = completeness.gaps(held)
    return {
        **channel._asdict(),
        "satellite": satellite_name(channel.link, channel.scid),
        **_balance(completeness.size(held), completeness.size(gaps)),
        "gaps": gaps.tolist(),
    }


def _packets(states: Iterable[WindowState]) -> list[dict[str, Any]]:
    """Application processes over all windows."""
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for window, _ in states:
        for row in window.account.get("packets", ()):
            if row.get("idle"):
                continue
            key = (window.link, window.scid, int(row["apid"]))
            sums = found.setdefault(key, {"held": 0, "missing": 0, "produced": None, **dict.fromkeys(SUMMED, 0)})
            expected = completeness_state.expectation_of_packets(row)
            sums["held"] += expected.held
            sums["missing"] += expected.missing
            if row.get("expected_produced") is not None:
                sums["produced"] = (sums["produced"] or 0) + int(row["expected_produced"])
            for name in SUMMED:
                sums[name] += int(row.get(name) or 0)
    return [
        {
            "link": link,
            "satellite": satellite_name(link, scid),
            "scid": scid,
            "apid": apid,
            **_balance(sums["held"], sums["missing"]),
            "expected_produced": sums["produced"],
            **{name: sums[name] for name in SUMMED},
        }
        for (link, scid, apid), sums in sorted(found.items())
    ]


def _window(entry: WindowState) -> dict[str, Any]:
    window, account = entry.window, entry.window.account
    packets = completeness_state.expectation(account)
    frames = completeness_state.missing_frames(account)
    return {
        "link": window.link,
        "satellite": satellite_name(window.link, window.scid),
        "scid": window.scid,
        "window": window.window,
        "start": _utc(window.start),
        "stop": _utc(window.stop),
        "recorded_at": window.recorded_at,
        "state": entry.state,
        **_balance(packets.held, packets.missing),
        "missing_frames": sum(completeness.size(gaps) for gaps in frames.values()),
        "unexplained": account.get("unexplained"),
    }


def _request(request: Request) -> dict[str, Any]:
    return {
        "id": request.id,
        **request.channel._asdict(),
        "satellite": satellite_name(request.channel.link, request.channel.scid),
        "first": request.first,
        "last": request.last,
        "frames": request.last - request.first + 1,
        "state": request.state,
        "at": request.at,
        "since": request.since,
        "expires_at": request.expires_at,
        "reason": request.reason,
    }


def _gate(receptions: Iterable[Reception], states: Iterable[WindowState]) -> dict[str, Any]:
    recordings = {
        f"recording {reception.recording[:SHORT]} of {reception.link} at {reception.station}": reception.account
        for reception in receptions
    }
    windows = {
        f"window {window.window} of {satellite_name(window.link, window.scid)} on {window.link}": window.account
        for window, _ in states
    }
    violations = completeness_state.gate(recordings, windows)
    unexplained = sum(int(account.get("unexplained") or 0) for account in windows.values())
    return {"released": not violations, "unexplained": unexplained, "violations": violations}
