"""Alerts as CAP 1.2 records: when a product passes a threshold, who is told what, in Chinese and English.

The thresholds are compared with the lower limit of the 95 % interval, so that noise does not alert. Of the same
product and place a later alert updates the earlier one when it grew by a level or shrank clearly below the threshold
of its own, cancels it when it fell clearly below the lowest threshold, and says nothing otherwise; where too little
was seen nothing is cancelled.

Source: OASIS, Common Alerting Protocol Version 1.2, 1 July 2010, section 3.2.
"""

import datetime as dt
import hashlib
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import shapely

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
Severity = Literal["Minor", "Moderate", "Severe", "Extreme"]
Message = Literal["Alert", "Update", "Cancel"]
SEVERITIES: tuple[Severity, ...] = ("Minor", "Moderate", "Severe", "Extreme")
PLACEHOLDER_SENDER = "unconfigured.invalid"
_MOST_POINTS = 60
# What XML 1.0 cannot hold even escaped (production 2), as names of places read from files may have it.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIGITS = 4
_SEVERITY_ZH: Mapping[str, str] = MappingProxyType(
    {"Minor": "一般", "Moderate": "较重", "Severe": "严重", "Extreme": "特别严重"}
)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a product alerts.

    Parameters
    ----------
    product : str
        Product code.
    measure : str
        ``class_area_km2``, ``class_share``, ``objects`` or ``exposed_assets``.
    classes : tuple of int
        Classes whose areas count, of a measure of classes.
    table : str
        Table whose objects count, of a measure of objects.
    levels : Mapping
        Least value of each severity.
    event_en, event_zh : str
        What happens.
    category : str
        Category of CAP: ``Geo``, ``Met``, ``Safety``, ``Fire``, ``Env``, ``Transport``, ``Infra``.
    valid_hours : float
        How long an alert holds without another [h].
    """

    product: str
    measure: str
    levels: Mapping[Severity, float]
    event_en: str
    event_zh: str
    category: str
    classes: tuple[int, ...] = ()
    table: str = ""
    valid_hours: float = 24.0


@dataclass(frozen=True, kw_only=True)
class AlertParameters:
    """How alerts follow each other.

    Parameters
    ----------
    hysteresis : float
        Share of the lowest threshold below which an alert is cancelled [1].
    leave : float
        Share of a threshold below which the severity of an alert in force falls again [1].
    most_excluded : float
        Share of the area without value from which nothing is cancelled [1].
    likely : float
        Share of the value its lower limit must reach for the certainty to be likely [1].
    """

    hysteresis: float = 0.8
    leave: float = 0.9
    most_excluded: float = 0.5
    likely: float = 0.5


class Place(NamedTuple):
    """Where an alert holds."""

    code: str
    """Division code of GB/T 2260, or the name of the area."""
    name_en: str
    """English name."""
    name_zh: str
    """Chinese name."""
    outline: Any
    """Polygon in WGS 84 [degree]."""


class Finding(NamedTuple):
    """What a rule finds in a product."""

    place: Place
    """Where."""
    value: float
    """Value of the measure."""
    low: float
    """Its lower limit of 95 %."""
    high: float
    """Its upper limit of 95 %."""
    excluded: float
    """Share of the place without value [1]."""


class Previous(NamedTuple):
    """The alert in force of a product and place."""

    identifier: str
    """Its identifier."""
    sent: str
    """When it was sent, as it stands in it."""
    sender: str
    """Its sender."""
    severity: str
    """Its severity."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One record.

    Parameters
    ----------
    identifier : str
        Identity, of letters, digits, hyphens.
    sender : str
        Who sends it.
    sent : dt.datetime
        When.
    status : str
        ``Actual`` or ``Exercise``.
    message : str
        ``Alert``, ``Update`` or ``Cancel``.
    references : Previous or None
        The alert it updates or cancels.
    rule : Rule
        Why.
    finding : Finding
        What was found where.
    severity : str
        How severe.
    certainty : str
        ``Observed``, ``Likely`` or ``Possible``.
    onset : dt.datetime
        When it was seen.
    item_id : str
        Product it rests on.
    """

    identifier: str
    sender: str
    sent: dt.datetime
    status: Literal["Actual", "Exercise"]
    message: Message
    references: Previous | None
    rule: Rule
    finding: Finding
    severity: Severity
    certainty: str
    onset: dt.datetime
    item_id: str


def findings(
    rule: Rule, summary: Mapping[str, Any], *, places: Mapping[str, Place], tables: Mapping[str, Sequence[Any]]
) -> list[Finding]:
    """What a rule measures in a product, by district, or in the whole where there are no districts.

    Parameters
    ----------
    rule : Rule
        The rule.
    summary : Mapping
        Result of `statistics.summarize`.
    places : Mapping
        Place by code; the whole has the code "".
    tables : Mapping
        States of the assets of every exposure table by the code of the place, as `<table>@<code>`.

    Returns
    -------
    list of Finding
        One per place.
    """
    zones = summary["districts"] or [summary["area"]]
    found = []
    for zone in zones:
        place = places.get(zone["code"])
        measured = _measured(rule, zone, tables)
        if place is not None and measured is not None:
            found.append(Finding(place, *measured, float(zone["excluded_share"])))
    return found


def _measured(
    rule: Rule, zone: Mapping[str, Any], tables: Mapping[str, Sequence[Any]]
) -> tuple[float, float, float] | None:
    """Value and limits of a measure in a zone; None where the product has no such thing."""
    if rule.measure == "objects":
        count = zone.get("objects", {}).get(rule.table)
        return None if count is None else (float(count), float(count), float(count))
    if rule.measure == "exposed_assets":
        states = tables.get(f"{rule.table}@{zone['code']}")
        if states is None:
            return None
        count = float(sum(state == "exposed" for state in states))
        return count, count, count
    chosen = [item for item in zone.get("classes", ()) if item["value"] in rule.classes]
    if not chosen or any(item["share_95"][0] is None for item in chosen):
        return None
    if rule.measure == "class_share":
        value, low, high = (sum(part) for part in zip(*((i["share"], *i["share_95"]) for i in chosen), strict=True))
    else:
        areas = [(item["area_m2"], *item["area_95_m2"]) for item in chosen]
        value, low, high = (sum(part) / 1e6 for part in zip(*areas, strict=True))
    return float(value), float(low), float(high)


def follow(
    rule: Rule,
    finding: Finding,
    *,
    previous: Previous | None,
    sender: str | None,
    sent: dt.datetime,
    onset: dt.datetime,
    item_id: str,
    parameters: AlertParameters | None = None,
) -> Alert | None:
    """The alert a finding gives rise to, given the one in force; None where there is nothing to say.

    Parameters
    ----------
    rule : Rule
        The rule.
    finding : Finding
        What it found.
    previous : Previous, optional
        Alert in force of this rule and place.
    sender : str, optional
        Who sends; without one it is an exercise.
    sent, onset : dt.datetime
        When it is sent, and when the hazard was seen.
    item_id : str
        Product it rests on.
    parameters : AlertParameters, optional
        Hysteresis.

    Returns
    -------
    Alert or None
        New, update or cancellation.
    """
    chosen = parameters or AlertParameters()
    if previous is not None and _expired(rule, previous, sent):
        # What has run out is not in force: what goes on is told anew, and what ended needs no cancellation.
        previous = None
    severity = _held(rule, finding.low, previous, chosen)
    if severity is None:
        message, severity = _cancelling(rule, finding, previous, chosen), _severity(previous)
    else:
        message = "Alert" if previous is None else "Update" if previous.severity != severity else None
    if message is None or severity is None:
        return None
    # With the alert before it: a product built again may change what it said, and no record may refer to itself.
    before = "" if previous is None else previous.identifier
    digest = hashlib.sha256(
        "|".join(
            (item_id, rule.product, rule.measure, rule.table, finding.place.code, message, severity, before)
        ).encode()
    )
    certainty = "Likely" if finding.low >= chosen.likely * finding.value else "Possible"
    return Alert(
        identifier=f"terralimb-{rule.product}-{digest.hexdigest()[:16]}",
        sender=sender or PLACEHOLDER_SENDER,
        sent=sent,
        status="Actual" if sender else "Exercise",
        message=message,
        references=previous,
        rule=rule,
        finding=finding,
        severity=severity,
        certainty=certainty,
        onset=onset,
        item_id=item_id,
    )


def severity_of(rule: Rule, value: float) -> Severity | None:
    """Highest severity whose threshold a value reaches; None below the lowest.

    Parameters
    ----------
    rule : Rule
        The rule.
    value : float
        Lower limit of the measure, in its unit.

    Returns
    -------
    str or None
        Severity of CAP.
    """
    reached = [level for level in SEVERITIES if level in rule.levels and value >= rule.levels[level]]
    return reached[-1] if reached else None


def _held(rule: Rule, value: float, previous: Previous | None, parameters: AlertParameters) -> Severity | None:
    """Severity a value has, given the alert in force: a threshold passed once is left only clearly below it."""
    reached, before = severity_of(rule, value), _severity(previous)
    if before is None:
        return reached
    within = SEVERITIES[: SEVERITIES.index(before) + 1]
    kept = [level for level in within if level in rule.levels and value >= parameters.leave * rule.levels[level]]
    found = [level for level in (reached, *kept) if level is not None]
    return max(found, key=SEVERITIES.index, default=None)


def _expired(rule: Rule, previous: Previous, sent: dt.datetime) -> bool:
    return sent >= dt.datetime.fromisoformat(previous.sent) + dt.timedelta(hours=rule.valid_hours)


def _severity(previous: Previous | None) -> Severity | None:
    return None if previous is None else next(level for level in SEVERITIES if level == previous.severity)


def _cancelling(rule: Rule, finding: Finding, previous: Previous | None, parameters: AlertParameters) -> Message | None:
    lowest = min(rule.levels.values())
    seen = finding.excluded <= parameters.most_excluded
    # Both: where the interval still holds the threshold, what was seen does not say that it is over.
    over = finding.value < parameters.hysteresis * lowest and finding.high < lowest
    return "Cancel" if previous is not None and seen and over else None


def record(alert: Alert) -> bytes:
    """CAP 1.2 record.

    Parameters
    ----------
    alert : Alert
        The alert.

    Returns
    -------
    bytes
        XML in UTF-8.
    """
    root = ElementTree.Element("alert", {"xmlns": NAMESPACE})
    _add(root, "identifier", alert.identifier)
    _add(root, "sender", alert.sender)
    _add(root, "sent", cap_time(alert.sent))
    _add(root, "status", alert.status)
    _add(root, "msgType", alert.message)
    _add(root, "source", "terralimb")
    _add(root, "scope", "Restricted")
    _add(root, "restriction", "Agencies entitled to the product it rests on")
    if alert.status == "Exercise":
        _add(root, "note", "No sender is configured: an exercise, not to be acted on.")
    if alert.references is not None:
        before = alert.references
        _add(root, "references", f"{before.sender},{before.identifier},{before.sent}")
    for language in ("zh-CN", "en-US"):
        _info(root, alert, language)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _add(parent: ElementTree.Element, name: str, text: str) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, name)
    child.text = _UNPRINTABLE.sub(" ", text)
    return child


def _info(root: ElementTree.Element, alert: Alert, language: str) -> None:
    rule, chinese = alert.rule, language == "zh-CN"
    info = ElementTree.SubElement(root, "info")
    _add(info, "language", language)
    _add(info, "category", rule.category)
    _add(info, "event", rule.event_zh if chinese else rule.event_en)
    _add(info, "responseType", "AllClear" if alert.message == "Cancel" else "Assess")
    _add(info, "urgency", "Past" if alert.message == "Cancel" else "Immediate")
    _add(info, "severity", alert.severity)
    _add(info, "certainty", alert.certainty)
    _add(info, "effective", cap_time(alert.sent))
    _add(info, "onset", cap_time(alert.onset))
    _add(info, "expires", cap_time(alert.sent + dt.timedelta(hours=rule.valid_hours)))
    _add(info, "senderName", "terralimb")
    _add(info, "headline", headline(alert, language))
    _add(info, "description", description(alert, language))
    _add(info, "instruction", _INSTRUCTION[language])
    for name, value in (("product", rule.product), ("item", alert.item_id), ("measure", rule.measure)):
        parameter = ElementTree.SubElement(info, "parameter")
        _add(parameter, "valueName", name)
        _add(parameter, "value", value)
    area = ElementTree.SubElement(info, "area")
    place = alert.finding.place
    _add(area, "areaDesc", place.name_zh if chinese else place.name_en)
    _add(area, "polygon", _polygon(place.outline))
    if place.code.isdigit():
        geocode = ElementTree.SubElement(area, "geocode")
        _add(geocode, "valueName", "GB/T 2260")
        _add(geocode, "value", place.code)


_INSTRUCTION: Mapping[str, str] = MappingProxyType(
    {
        "zh-CN": "请有关单位结合现场情况核实后处置。本信息由卫星资料自动生成,未经人工核实。",
        "en-US": "To be checked against the situation on site before acting. Made automatically from satellite data.",
    }
)


def headline(alert: Alert, language: str) -> str:
    """Headline of an alert.

    Parameters
    ----------
    alert : Alert
        The alert.
    language : str
        ``zh-CN`` or ``en-US``.

    Returns
    -------
    str
        One line.
    """
    place = alert.finding.place
    if language == "zh-CN":
        verb = {"Alert": "", "Update": "(更新)", "Cancel": "(解除)"}[alert.message]
        return f"{place.name_zh}{alert.rule.event_zh}{_SEVERITY_ZH[alert.severity]}提示{verb}"
    verb = {"Alert": "", "Update": " (update)", "Cancel": " (cancelled)"}[alert.message]
    return f"{alert.rule.event_en}, {alert.severity.lower()}: {place.name_en}{verb}"


def description(alert: Alert, language: str) -> str:
    """What was found, with its interval.

    Parameters
    ----------
    alert : Alert
        The alert.
    language : str
        ``zh-CN`` or ``en-US``.

    Returns
    -------
    str
        Two sentences.
    """
    finding, unit = alert.finding, _UNITS[alert.rule.measure]
    value, low, high = (f"{100 * number:.1f}" if unit[2] else f"{number:.3g}" for number in finding[1:4])
    seen, blind = alert.onset.strftime("%Y-%m-%d %H:%M UTC"), f"{100 * finding.excluded:.0f} %"
    if language == "zh-CN":
        return f"{seen} 观测:{value} {unit[1]}(95% 区间 {low} 至 {high})。区域内 {blind} 无数值。"
    return f"Seen {seen}: {value} {unit[0]} (95 % interval {low} to {high}). No value on {blind} of the area."


_UNITS: Mapping[str, tuple[str, str, bool]] = MappingProxyType(
    {
        "class_area_km2": ("km2", "平方千米", False),
        "class_share": ("% of the area", "%", True),
        "objects": ("objects", "处", False),
        "exposed_assets": ("exposed assets", "处受影响设施", False),
    }
)


def document(alert: Alert) -> bytes:
    """The same for programs that read JSON.

    Parameters
    ----------
    alert : Alert
        The alert.

    Returns
    -------
    bytes
        JSON in UTF-8.
    """
    finding = alert.finding
    told = {
        "identifier": alert.identifier,
        "sender": alert.sender,
        "sent": cap_time(alert.sent),
        "status": alert.status,
        "msgType": alert.message,
        "references": None if alert.references is None else alert.references.identifier,
        "product": alert.rule.product,
        "item": alert.item_id,
        "event_en": alert.rule.event_en,
        "event_zh": alert.rule.event_zh,
        "severity": alert.severity,
        "certainty": alert.certainty,
        "onset": cap_time(alert.onset),
        "expires": cap_time(alert.sent + dt.timedelta(hours=alert.rule.valid_hours)),
        "measure": alert.rule.measure,
        "value": finding.value,
        "value_95": [finding.low, finding.high],
        "excluded_share": finding.excluded,
        "area": {"code": finding.place.code, "name_en": finding.place.name_en, "name_zh": finding.place.name_zh},
        "headline_en": headline(alert, "en-US"),
        "headline_zh": headline(alert, "zh-CN"),
    }
    return json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def cap_time(moment: dt.datetime) -> str:
    """Time as CAP writes it: whole seconds and a numeric offset, universal time as -00:00.

    Parameters
    ----------
    moment : dt.datetime
        Time with its zone.

    Returns
    -------
    str
        Such as 2026-07-15T06:00:00-00:00.
    """
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S-00:00")


def _polygon(outline: Any) -> str:
    """Closed ring of few points, latitude before longitude."""
    hull = shapely.convex_hull(outline)
    tolerance = 1e-4
    while len(hull.exterior.coords) > _MOST_POINTS:
        hull, tolerance = shapely.convex_hull(hull.simplify(tolerance)), tolerance * 2
    return " ".join(f"{y:.{_DIGITS}f},{x:.{_DIGITS}f}" for x, y in hull.exterior.coords)
