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


def ingest(unit: Unit, workspace: Workspace) -> UnitResult:
    """Decode one landed recording; what our own instruments sent becomes level-0 records too.

    The pass is known by its content: the same recording under another key gives the same granules.
    """
    (landed,) = unit.granules
    name = _link_name(landed.key)
    body = workspace.read(landed)
    decoded = downlink.decode([body], link=spacelink.link_from_mapping(links.definition(name)))
    group = archive.identity("pass", name, archive.short(landed.sha256))
    granules = [_completeness(group, decoded.completeness), *_packets(group, decoded)]
    if name == OWN_LINK:
        granules += list(_level0(group, decoded))
    return UnitResult(tuple(granules), report=_report(decoded.completeness), partial=_cut(decoded.completeness))


def _cut(account: dict[str, Any]) -> str | None:
    octets = account["bytes"]
    left = {name: octets[name] for name in ("junk", "tail") if octets[name]}
    if not left:
        return None
    named = " and ".join(f"{count} octets of {name}" for name, count in left.items())
    return f"used as far as it goes: {named} are no whole frame (a recording cut in mid-frame, or noise around it)"


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


def _level0(group: str, decoded: downlink.Downlink) -> Iterator[NewGranule]:
    streams = {channel.apid: packets for channel, packets in decoded.packets.items()}
    if layouts.GN_PVT in streams:
        yield _dataset("navigation", group, group, navigation.ephemeris_from_packets(streams[layouts.GN_PVT]))
    soundings = b"".join(streams.get(apid, b"") for apid in (layouts.RO_CL_FORE, layouts.RO_CL_AFT, layouts.RO_EVT))
    for event in occultation.events_from_packets(soundings) if soundings else ():
        yield _dataset("level0_occultation", archive.identity(group, f"event{event.attrs['event_id']}"), group, event)
    lines = {apid: streams[apid] for apid in layouts.IM_LINE if apid in streams}
    if lines and layouts.IM_ANC in streams:
        yield _dataset("level0_strip", group, group, imager.strip_from_packets(lines, streams[layouts.IM_ANC]))


def _dataset(kind: str, identity: str, group: str, dataset: xr.Dataset) -> NewGranule:
    return NewGranule(kind, identity, group, granule_format.encode(dataset), ".nc", granule_format.MEDIA_TYPE)
