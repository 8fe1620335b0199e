"""Stage of level 0: the packets of all virtual channels of a window to one packet sequence, its account and records."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from infra import archive, completeness_ledger, granule_format
from infra.stages import downlink, links
from infra.stages.execution import NotApplicableError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from processors import quality
from processors.arrays import BoolArray, FloatArray
from processors.ccsds import link as spacelink
from processors.level0 import (
    completeness,
    data_window,
    housekeeping,
    imager,
    layouts,
    navigation,
    occultation,
    packet_account,
    packet_merge,
)

STRIP_EDGE = 1.5
"""Of the lines and ancillary packets around a strip, what is read to locate its ends [s]: one packet comes a second."""
OWN_LINK = "terralimb"
FIRST_SPACECRAFT = 76
STRIP_LENGTH = 60.0
"""Imager lines of so much on-board time make one strip [s]: where strips begin does not depend on what was received."""


def assemble(unit: Unit, workspace: Workspace) -> UnitResult:
    """Make the packet store of one spacecraft and window, its completeness account, and the instruments' records."""
    about = unit.granules[0].attributes
    link = spacelink.link_from_mapping(links.definition(str(about["link"])))
    window = None if str(about["window"]).startswith("pass-") else data_window.window_named(str(about["window"]))
    held = [downlink.packets_from_granule(workspace.read(granule)) for granule in unit.granules]
    vcids = [int(granule.attributes["vcid"]) for granule in unit.granules]
    channels = [
        packet_merge.ChannelPackets(vcid, part.packets, part.breaks) for vcid, part in zip(vcids, held, strict=True)
    ]
    merged = packet_merge.merge(channels, packet_time=link.packet_time)
    inside = {
        apid: _inside(_filed_time(packets, merged, channels, held), window) for apid, packets in merged.packets.items()
    }
    if not any(rows.any() for rows in inside.values()):
        raise NotApplicableError("the window holds margins of its neighbours only")
    produced = _produced(merged) if link.name == OWN_LINK else None
    account = _account(unit, merged, window, produced)
    made = [*_packets(unit.group, int(about["scid"]), merged, inside), _completeness(unit.group, account)]
    troubles: list[str] = []
    if link.name == OWN_LINK and window is not None:
        records = _Records(unit.group, int(about["scid"]), merged, window)
        records.add_all()
        made += records.granules
        troubles = records.troubles
    workspace.completeness.record_window(
        completeness_ledger.Window(
            link=link.name,
            scid=int(about["scid"]),
            window=str(about["window"]),
            start=None if window is None else window.start,
            stop=None if window is None else window.stop,
            inputs_sha256=unit.inputs_sha256,
            account={**account, "virtual_channels": _virtual_channels(unit)},
            recorder=housekeeping.oldest_recorded(merged.content(layouts.HK_SLOW)) if produced is not None else {},
        )
    )
    report = {"packets": sum(row["count"] for row in account["packets"]), "unexplained": account["unexplained"]}
    return UnitResult(tuple(made), report=report, partial="; ".join(troubles) or None)


def _filed_time(
    packets: packet_merge.ApidPackets,
    merged: packet_merge.MergedPackets,
    channels: list[packet_merge.ChannelPackets],
    held: list[downlink.GranulePackets],
) -> FloatArray:
    """Time each packet was filed under in its channel: its own, or that of those around it."""
    time = np.full(packets.row.size, np.nan)
    for number, channel in enumerate(merged.channels):
        source = next(part for part, given in zip(held, channels, strict=True) if given is channel)
        mine = packets.channel == number
        time[mine] = source.time[packets.row[mine]]
    return time


def _inside(time: FloatArray, window: data_window.Window | None) -> BoolArray:
    if window is None:
        return np.ones(time.size, dtype=np.bool_)
    inside: BoolArray = (time >= window.start) & (time < window.stop)
    return inside


def _produced(merged: packet_merge.MergedPackets) -> xr.Dataset | None:
    packets = merged.content(layouts.HK_FAST)
    return housekeeping.produced_counters(packets) if packets else None


def _account(
    unit: Unit, merged: packet_merge.MergedPackets, window: data_window.Window | None, produced: xr.Dataset | None
) -> dict[str, Any]:
    rows = packet_account.account(merged, produced, within=None if window is None else (window.start, window.stop))
    zones = [granule.attributes["zones"] for granule in unit.granules if "zones" in granule.attributes]
    return {
        "packets": [dataclasses.asdict(row) for row in rows],
        "packets_dropped": {"check_failed": sum(zone["check_failed"] for zone in zones)},
        "zone_bytes": {name: sum(zone[name] for zone in zones) for name in ("in", "packets", "dropped")},
        "unexplained": sum(row.unexplained for row in rows),
    }


def _virtual_channels(unit: Unit) -> list[dict[str, Any]]:
    """Frames of each channel that the window read, its margins among them; no part of the product for that reason."""
    rows = []
    for granule in unit.granules:
        for epoch, intervals in enumerate(granule.attributes.get("held", [])):
            held = completeness.intervals_from_rows(intervals)
            gaps = completeness.gaps(held)
            rows.append(
                {
                    "vcid": granule.attributes["vcid"],
                    "epoch": epoch,
                    "frames": completeness.size(held),
                    "missing": completeness.size(gaps),
                    "conflicts": granule.attributes["conflicts"],
                    "gaps": gaps.tolist(),
                }
            )
    return rows


def _completeness(group: str, account: dict[str, Any]) -> NewGranule:
    """What the packets came to; which frames of the margins were read depends on the recordings, so it stays out."""
    stated = {name: account[name] for name in ("packets", "unexplained")}
    text = json.dumps(stated, indent=2, sort_keys=True).encode()
    attributes = {
        "packets": sum(row["count"] for row in account["packets"]),
        "missing_packets": sum(row["missing"] for row in account["packets"]),
        "unexplained": account["unexplained"],
    }
    return NewGranule("completeness", group, group, text, ".json", "application/json", attributes)


def _packets(
    group: str, scid: int, merged: packet_merge.MergedPackets, inside: dict[int, BoolArray]
) -> Iterator[NewGranule]:
    for apid in sorted(merged.packets):
        content = merged.content(apid, inside[apid])
        if content:
            identity = archive.identity(group, str(apid))
            yield NewGranule(
                "packets", identity, group, content, ".bin", "application/octet-stream", {"scid": scid, "apid": apid}
            )


class _Records:
    """Level-0 records of one spacecraft and window; what one instrument's packets lack costs no other."""

    def __init__(self, group: str, scid: int, merged: packet_merge.MergedPackets, window: data_window.Window) -> None:
        self.granules: list[NewGranule] = []
        self.troubles: list[str] = []
        self._group = group
        self._scid = scid
        self._merged = merged
        self._window = window
        self._uncorrelated = navigation.uncorrelated_partitions(merged.content(layouts.GN_PVT))

    def add_all(self) -> None:
        """Make the records of every instrument."""
        for add in (self._add_navigation, self._add_events, self._add_strips):
            self._attempt(add)

    def _attempt(self, add: Callable[[], None]) -> None:
        try:
            add()
        except quality.BadInputError as error:
            self.troubles.append(f"spacecraft {self._scid}: {error}")

    def _content(self, *apids: int) -> bytes:
        return b"".join(self._merged.content(apid) for apid in apids)

    def _add_navigation(self) -> None:
        packets = self._content(layouts.GN_PVT)
        if packets:
            self._add("navigation", "orbit", navigation.ephemeris_from_packets(packets), grouped=True)

    def _add_events(self) -> None:
        soundings = self._content(layouts.RO_CL_FORE, layouts.RO_CL_AFT, layouts.RO_EVT)
        events = occultation.events_from_packets(soundings, uncorrelated=self._uncorrelated) if soundings else ()
        for event in events:
            if self._window.start <= occultation.start_time(event) < self._window.stop:
                named = event.assign_attrs(receiver=receiver_name(self._scid))
                self._add("level0_occultation", f"event{event.attrs['event_id']}", named)

    def _add_strips(self) -> None:
        """Strips of lines, by slots of on-board time."""
        merged = self._merged.packets
        times = [merged[apid].time for apid in layouts.IM_LINE if apid in merged]
        slots = [np.floor((time[_inside(time, self._window)] - self._window.start) / STRIP_LENGTH) for time in times]
        for slot in np.unique(np.concatenate(slots)).tolist() if slots else []:
            begin = self._window.start + slot * STRIP_LENGTH
            self._attempt(functools.partial(self._add_strip, data_window.Window(begin, begin + STRIP_LENGTH)))

    def _add_strip(self, slot: data_window.Window) -> None:
        """Make the strip of a slot; what lies just beyond it locates its first and last lines."""
        lines = {apid: self._selected(apid, slot) for apid in layouts.IM_LINE if apid in self._merged.packets}
        strip = imager.strip_from_packets(lines, self._selected(layouts.IM_ANC, slot), uncorrelated=self._uncorrelated)
        time = strip["line_time"].to_numpy()
        strip = strip.isel(line=(time >= slot.start) & (time < slot.stop))
        strip.attrs["complete"] = int(strip["line_valid"].to_numpy().all())
        self._add("level0_strip", f"strip-{slot.name}", strip)

    def _selected(self, apid: int, slot: data_window.Window) -> bytes:
        if apid not in self._merged.packets:
            return b""
        time = self._merged.packets[apid].time
        return self._merged.content(apid, (time >= slot.start - STRIP_EDGE) & (time < slot.stop + STRIP_EDGE))

    def _add(self, kind: str, name: str, dataset: xr.Dataset, *, grouped: bool = False) -> None:
        """Identities hold no window where a record might turn out to begin in another one."""
        identity = archive.identity(self._group if grouped else receiver_name(self._scid), name)
        body = granule_format.encode(dataset)
        attributes = {"scid": self._scid}
        self.granules.append(
            NewGranule(kind, identity, self._group, body, ".nc", granule_format.MEDIA_TYPE, attributes)
        )


def receiver_name(scid: int) -> str:
    """Name of one of our spacecraft: identifier 76 is TL01, 77 is TL02 and so on."""
    return f"TL{scid - FIRST_SPACECRAFT + 1:02d}"
