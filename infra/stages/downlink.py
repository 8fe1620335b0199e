"""Stage of the downlink: a recording to packets, its completeness account and level-0 records."""

import json
from collections.abc import Iterator
from typing import Any

import xarray as xr

from infra import archive, granule_format
from infra.stages import links
from infra.stages.execution import Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from processors import quality
from processors.ccsds import link as spacelink
from processors.level0 import downlink, imager, layouts, navigation, occultation

OWN_LINK = "terralimb"
FIRST_SPACECRAFT = 76


def ingest(unit: Unit, workspace: Workspace) -> UnitResult:
    """Decode one landed recording; what our own instruments sent becomes level-0 records too.

    The pass is known by its content: the same recording under another key gives the same granules.
    """
    (landed,) = unit.granules
    name = _link_name(landed.key)
    body = workspace.read(landed)
    decoded = downlink.decode([body], link=spacelink.link_from_mapping(links.definition(name)))
    _require_frames(decoded.completeness, name)
    group = archive.identity("pass", name, archive.short(landed.sha256))
    granules = [_completeness(group, decoded.completeness), *_packets(group, decoded)]
    troubles = _cut(decoded.completeness)
    if name == OWN_LINK:
        level0 = _Level0(group)
        level0.add_all(decoded)
        granules += level0.granules
        troubles += level0.troubles
    return UnitResult(tuple(granules), report=_report(decoded.completeness), partial="; ".join(troubles) or None)


def _require_frames(account: dict[str, Any], name: str) -> None:
    frames = account["frames"]
    if frames["received"] and not frames["accepted"]:
        found = ", ".join(f"{count} {kind}" for kind, count in frames.items() if count and kind != "received")
        raise quality.BadInputError("link_mismatch", f"no frame of the recording is of link {name}: {found}")


def _cut(account: dict[str, Any]) -> list[str]:
    octets = account["bytes"]
    left = {name: octets[name] for name in ("junk", "tail") if octets[name]}
    if not left:
        return []
    named = " and ".join(f"{count} octets of {name}" for name, count in left.items())
    return [f"used as far as it goes: {named} are no whole frame (a recording cut in mid-frame, or noise around it)"]


def _link_name(key: str) -> str:
    parts = archive.landing_parts(key)
    if len(parts) != 2 or parts[1] not in links.names():
        raise quality.BadInputError(
            "unknown_link",
            f"{key} does not say its link: land it as downlink/<station>/<link>/<file>, "
            f"link one of {', '.join(sorted(links.names()))}",
        )
    return parts[1]


def _report(account: dict[str, Any]) -> dict[str, Any]:
    channels, packets = account["virtual_channels"], account["packets"]
    return {
        "frames": account["frames"]["accepted"],
        "missing_frames": sum(row["missing"] for row in channels),
        "packets": sum(row["count"] for row in packets),
        "missing_packets": sum(row["missing"] for row in packets),
        "rejected_frames": sum(account["frames"][name] for name in ("uncorrectable", "check_failed", "invalid")),
        "foreign_frames": account["frames"]["foreign"],
    }


def _completeness(group: str, account: dict[str, Any]) -> NewGranule:
    text = json.dumps(account, indent=2, sort_keys=True).encode()
    return NewGranule("completeness", group, group, text, ".json", "application/json", _report(account))


def _packets(group: str, decoded: downlink.Downlink) -> Iterator[NewGranule]:
    for channel, packets in sorted(decoded.packets.items()):
        identity = archive.identity(group, str(channel.scid), str(channel.vcid), str(channel.apid))
        attributes = {"scid": channel.scid, "vcid": channel.vcid, "apid": channel.apid}
        yield NewGranule("packets", identity, group, packets, ".bin", "application/octet-stream", attributes)


class _Level0:
    """Level-0 records of one pass, spacecraft by spacecraft; what one instrument's packets lack costs no other."""

    def __init__(self, group: str) -> None:
        self.granules: list[NewGranule] = []
        self.troubles: list[str] = []
        self._group = group

    def add_all(self, decoded: downlink.Downlink) -> None:
        for scid in sorted({channel.scid for channel in decoded.packets}):
            streams: dict[int, bytes] = {}
            for channel, packets in sorted(decoded.packets.items()):
                if channel.scid == scid:
                    streams[channel.apid] = streams.get(channel.apid, b"") + packets
            for add in (self._add_navigation, self._add_events, self._add_strip):
                try:
                    add(scid, streams)
                except quality.BadInputError as error:
                    self.troubles.append(f"spacecraft {scid}: {error}")

    def _add_navigation(self, scid: int, streams: dict[int, bytes]) -> None:
        if layouts.GN_PVT in streams:
            self._add("navigation", scid, "orbit", navigation.ephemeris_from_packets(streams[layouts.GN_PVT]))

    def _add_events(self, scid: int, streams: dict[int, bytes]) -> None:
        apids = (layouts.RO_CL_FORE, layouts.RO_CL_AFT, layouts.RO_EVT)
        soundings = b"".join(streams.get(apid, b"") for apid in apids)
        for event in occultation.events_from_packets(soundings) if soundings else ():
            named = event.assign_attrs(receiver=receiver_name(scid))
            self._add("level0_occultation", scid, f"event{event.attrs['event_id']}", named)

    def _add_strip(self, scid: int, streams: dict[int, bytes]) -> None:
        lines = {apid: streams[apid] for apid in layouts.IM_LINE if apid in streams}
        if lines:
            strip = imager.strip_from_packets(lines, streams.get(layouts.IM_ANC, b""))
            self._add("level0_strip", scid, "strip", strip)

    def _add(self, kind: str, scid: int, name: str, dataset: xr.Dataset) -> None:
        identity = archive.identity(self._group, str(scid), name)
        body = granule_format.encode(dataset)
        attributes = {"scid": scid}
        self.granules.append(
            NewGranule(kind, identity, self._group, body, ".nc", granule_format.MEDIA_TYPE, attributes)
        )


def receiver_name(scid: int) -> str:
    """Name of one of our spacecraft: identifier 76 is TL01, 77 is TL02 and so on."""
    return f"TL{scid - FIRST_SPACECRAFT + 1:02d}"
