"""Stages of an emergency: what a landed scene covers, and the products of an area somebody asked for, at once.

A request names a box, a time from which on scenes count, and products. It stays in force until its end, so a scene
that lands an hour later is answered as the ones already there. Whatever is made goes the common way of the packages;
only the order differs: these stages run in a pool of their own with priority, on the scene itself, without waiting
for other sources.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infra import archive, ledger
from infra.imagery import scene_reading
from infra.stages import alerting, emergency_flood, landed_scenes, sector_packages, static_layers
from infra.stages.execution import NotApplicableError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from processors import quality
from processors.imagery import grid
from products.sectors import definition, registry

REQUEST = "emergency_request"
FACTS = "scene_facts"
GROUP_PREFIX = "emergency-"
SHORT_NAMES = {
    "flood": "flood-extent",
    "water": "open-water-extent",
    "fire": "active-fire",
    "burn": "burn-severity",
    "landslide": "landslide-candidates",
    "ship": "ship-detection",
    "segments": "exposed-segments",
}
DEFAULT_PRODUCTS = ("flood", "fire")
FLOOD_CODES = ("flood-extent", "exposed-segments")
"""Products that a radar scene of any size gives by way of its flood."""
THERMAL_CODES = ("active-fire",)
"""Products that a scene of brightness temperatures alone can give."""
EARLIER_SCENES = 2
"""Scenes before the one in question that are read with it, nearest first [1]."""
EARLIER_DAYS = 400.0
"""How far back an earlier scene may lie [d]."""
LARGEST_SERIES = 400_000_000
"""Values of a series that is held in memory [1]."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What somebody asked for.

    Parameters
    ----------
    bbox : tuple of float
        West, south, east, north [degree].
    since : str
        Scenes observed from then on count, ISO 8601 UTC.
    until : str or None
        Scenes observed later do not, ISO 8601 UTC.
    products : tuple of str
        Product codes.
    """

    bbox: tuple[float, float, float, float]
    since: str
    until: str | None
    products: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Name of the request, the same for the same wish."""
        return GROUP_PREFIX + hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[: archive.SHORT]


def request(
    *, bbox: Sequence[float], since: str, until: str | None = None, products: Iterable[str] = DEFAULT_PRODUCTS
) -> Request:
    """Request from what a person wrote.

    Parameters
    ----------
    bbox : sequence of float
        West, south, east, north [degree].
    since, until : str
        ISO 8601; without a zone it is UTC.
    products : iterable of str
        Short names (`flood`, `fire`, ...) or product codes.

    Returns
    -------
    Request
        The request.

    Raises
    ------
    ValueError
        A box, time or product that cannot be meant.
    """
    edges = tuple(float(edge) for edge in bbox)
    if len(edges) != len("WSEN") or not (-180 <= edges[0] < edges[2] <= 180 and -90 <= edges[1] < edges[3] <= 90):
        raise ValueError(f"{','.join(map(str, bbox))}: a box is west,south,east,north in degrees, as 106,29,107,30")
    codes = tuple(dict.fromkeys(SHORT_NAMES.get(name, name) for name in products))
    known = {product.code for product in registry.definitions()}
    unknown = [code for code in codes if code not in known]
    if unknown or not codes:
        raise ValueError(
            f"no product {', '.join(unknown) or 'named'}; there are {', '.join(SHORT_NAMES)} and the codes of "
            "`terralimb product list`"
        )
    start, end = _instant(since), None if until is None else _instant(until)
    if end is not None and end < start:
        raise ValueError(f"the request ends ({end}) before it begins ({start})")
    return Request(bbox=(edges[0], edges[1], edges[2], edges[3]), since=start, until=end, products=codes)


def _instant(text: str) -> str:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time; write it as 2026-07-15 or 2026-07-15T06:00") from error
    moment = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    return moment.isoformat(timespec="seconds")


def register(wanted: Request, workspace: Workspace) -> str:
    """Enter a request into the ledger; the same wish again changes nothing.

    Returns
    -------
    str
        Its identity, the group of everything made for it.
    """
    body = json.dumps(asdict(wanted), indent=1).encode()
    made = NewGranule(
        kind=REQUEST,
        id=wanted.identity,
        group=wanted.identity,
        body=body,
        suffix=".json",
        media_type="application/json",
        attributes=asdict(wanted),
    )
    workspace.ledger.register(workspace.write([made]))
    return wanted.identity


def survey(unit: Unit, workspace: Workspace) -> UnitResult:
    """Note what a landed scene covers: box, time, bands; so that nobody need open it to know whether it matters."""
    (landed,) = unit.granules
    name = archive.landing_name(landed.key)
    if Path(name).suffix == ".nc":
        raise NotApplicableError(f"{name} is a series of dates, which the routine chain reads")
    facts = _facts(landed_scenes.fetched(landed, workspace), landed)
    identity = archive.identity("scene", archive.short(landed.sha256))
    made = NewGranule(
        kind=FACTS,
        id=identity,
        group=identity,
        body=json.dumps(facts, indent=1).encode(),
        suffix=".json",
        media_type="application/json",
        attributes=facts,
    )
    return UnitResult((made,), report=facts)


def _facts(file: Path, landed: ledger.Granule) -> dict[str, Any]:
    with scene_reading.open_scene(file) as scene:
        if np.isnat(scene.time):
            raise quality.BadInputError("time_missing", f"{file.name} does not say when it was taken")
        box = scene.geobox
        return {
            "key": landed.key,
            "sha256": landed.sha256,
            "bbox": [round(edge, 6) for edge in grid.geographic_bounds(box)],
            "time": f"{np.datetime_as_string(scene.time, unit='s')}+00:00",
            "sensor": scene.metadata.sensor,
            "bands": list(scene.bands),
            "polarizations": list(scene.polarizations),
            "channels": list(scene.channels),
            "shape": [int(size) for size in box.shape],
        }


def wanted(unit: Unit, book: ledger.Ledger) -> list[str]:
    """Products that requests in force want of a surveyed scene, as `<request>.<product>`."""
    facts = unit.granules[0].attributes
    requests = [_request_of(granule) for granule in book.granules([REQUEST])]
    return [
        f"{asked.identity}.{code}"
        for asked in requests
        if _concerns(asked, facts)
        for code in asked.products
        if _can_give(facts, registry.definition_of(code))
    ]


def _request_of(granule: ledger.Granule) -> Request:
    said = granule.attributes
    west, south, east, north = said["bbox"]
    return Request(
        bbox=(west, south, east, north), since=said["since"], until=said["until"], products=tuple(said["products"])
    )


def _concerns(asked: Request, facts: dict[str, Any]) -> bool:
    west, south, east, north = facts["bbox"]
    apart = asked.bbox[0] >= east or asked.bbox[2] <= west or asked.bbox[1] >= north or asked.bbox[3] <= south
    late = asked.until is not None and facts["time"] > asked.until
    return not apart and not late and facts["time"] >= asked.since


def _can_give(facts: dict[str, Any], product: definition.ProductDefinition) -> bool:
    if facts.get("channels") and not facts["bands"]:
        return product.code in THERMAL_CODES
    if facts["polarizations"]:
        return "backscatter" in product.required_layers or not product.required_bands
    return "backscatter" not in product.required_layers and set(product.required_bands) <= set(facts["bands"])


def respond(unit: Unit, workspace: Workspace) -> UnitResult:
    """Make one product of one scene for one request, with the alerts it gives rise to."""
    (facts,) = unit.granules
    identity, _, code = str(unit.variant).partition(".")
    asked = _request_of(workspace.ledger.granules([REQUEST], ids=[identity])[0])
    product = sector_packages.definition_in_force(code)
    scenes = [*_earlier(facts, asked, workspace), facts]
    radar = bool(facts.attributes["polarizations"])
    try:
        if code in FLOOD_CODES and radar:
            made = emergency_flood.build(scenes, asked.bbox, product, workspace, group=identity)
        else:
            made = sector_packages.build(_series(scenes, asked, product, workspace), product, workspace, group=identity)
    except sector_packages.NothingUsableError as error:
        return UnitResult(partial=str(error), report={"cause": "no_usable_pixel", "request": asdict(asked)})
    alerts = alerting.alerts_of(made, workspace, group=identity, any_age=True)
    report = {**made.report, "alerts": [alert.id for alert in alerts.granules], "request": asdict(asked)}
    return UnitResult((made.granule, *alerts.granules), report=report, partial=made.partial or alerts.trouble)


def _earlier(facts: ledger.Granule, asked: Request, workspace: Workspace) -> list[ledger.Granule]:
    """Scenes of the same sensor over the same place before the event, oldest first.

    Scenes since the event began are no reference: on the second day of a flood the first would make it usual water.
    """
    now = dt.datetime.fromisoformat(facts.attributes["time"])
    found = [
        (now - dt.datetime.fromisoformat(other.attributes["time"]), other)
        for other in workspace.ledger.granules([FACTS])
        if other.attributes["time"] < asked.since and _same_view(facts.attributes, other.attributes)
    ]
    near = sorted((age, other.id, other) for age, other in found if dt.timedelta() < age < _patience())
    return [other for _age, _id, other in reversed(near[:EARLIER_SCENES])]


def _patience() -> dt.timedelta:
    return dt.timedelta(days=EARLIER_DAYS)


def _same_view(first: dict[str, Any], second: dict[str, Any]) -> bool:
    alike = first["polarizations"] == second["polarizations"] and first["sensor"] == second["sensor"]
    west, south, east, north = first["bbox"]
    left, bottom, right, top = second["bbox"]
    return bool(alike and left < east and right > west and bottom < north and top > south)


def _series(
    scenes: Sequence[ledger.Granule], asked: Request, product: definition.ProductDefinition, workspace: Workspace
) -> Any:
    """The scenes as one masked series on the grid of the newest, cut to the box, with the layers that stand still."""
    opened = [scene_reading.open_scene(path) for path in landed_scenes.files(scenes, workspace)]
    try:
        target = landed_scenes.window(opened[-1], asked.bbox)
        layers = len(opened[-1].bands or opened[-1].polarizations) + len(opened[-1].channels)
        while len(opened) > 1 and target.shape[0] * target.shape[1] * layers * len(opened) > LARGEST_SERIES:
            opened.pop(0).close()
        series = landed_scenes.observed(opened, geobox=target, area=asked.identity)
    finally:
        for scene in opened:
            scene.close()
    used = scenes[-series.sizes["time"] :]
    inputs = [{"id": facts.attributes["key"], "sha256": facts.attributes["sha256"]} for facts in used]
    return static_layers.joined(series.assign_attrs(inputs=json.dumps(inputs)), workspace)
