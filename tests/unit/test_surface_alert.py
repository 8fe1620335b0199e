"""Alerts: only what the lower limit of an interval holds is told, each change once, in records as CAP 1.2 has them."""

import datetime as dt
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
import shapely

from infra import alert_thresholds
from processors.quality import BadInputError
from products import alert

RULE = alert.Rule(
    product="flood-extent",
    measure="class_area_km2",
    classes=(2,),
    levels={"Minor": 0.2, "Moderate": 1.0, "Severe": 5.0},
    event_en="Flood",
    event_zh="洪水",
    category="Geo",
)
PLACE = alert.Place("500112", "Yubei & <others>", "渝北区", shapely.Point(106.6, 29.7).buffer(0.2, quad_segs=64))
NOW = dt.datetime(2026, 7, 15, 14, 0, 7, 999, tzinfo=dt.timezone(dt.timedelta(hours=8)))


def found(value, low=None, high=None, excluded=0.1):
    low, high = value if low is None else low, value if high is None else high
    return alert.Finding(PLACE, value, low, high, excluded)


def sent(finding, previous=None, *, at=NOW, item="item-1", sender="eo@cq.example"):
    return alert.follow(RULE, finding, previous=previous, sender=sender, sent=at, onset=NOW, item_id=item)


def before(told):
    return alert.Previous(told.identifier, alert.cap_time(told.sent), told.sender, told.severity)


# Section 3.2 of CAP 1.2: elements in order, least and most often; enumerations; forms of time and polygon.
MANY = 99
ALERT = {
    "identifier": (1, 1),
    "sender": (1, 1),
    "sent": (1, 1),
    "status": (1, 1),
    "msgType": (1, 1),
    "source": (0, 1),
    "scope": (1, 1),
    "restriction": (0, 1),
    "addresses": (0, 1),
    "code": (0, MANY),
    "note": (0, 1),
    "references": (0, 1),
    "incidents": (0, 1),
    "info": (0, MANY),
}
INFO = {
    "language": (0, 1),
    "category": (1, MANY),
    "event": (1, 1),
    "responseType": (0, MANY),
    "urgency": (1, 1),
    "severity": (1, 1),
    "certainty": (1, 1),
    "audience": (0, 1),
    "eventCode": (0, MANY),
    "effective": (0, 1),
    "onset": (0, 1),
    "expires": (0, 1),
    "senderName": (0, 1),
    "headline": (0, 1),
    "description": (0, 1),
    "instruction": (0, 1),
    "web": (0, 1),
    "contact": (0, 1),
    "parameter": (0, MANY),
    "resource": (0, MANY),
    "area": (0, MANY),
}
AREA = {
    "areaDesc": (1, 1),
    "polygon": (0, MANY),
    "circle": (0, MANY),
    "geocode": (0, MANY),
    "altitude": (0, 1),
    "ceiling": (0, 1),
}
PAIR = {"valueName": (1, 1), "value": (1, 1)}
SHAPES = {"alert": ALERT, "info": INFO, "area": AREA, "parameter": PAIR, "geocode": PAIR}
WORDS = {
    "status": "Actual Exercise System Test Draft",
    "msgType": "Alert Update Cancel Ack Error",
    "scope": "Public Restricted Private",
    "category": "Geo Met Safety Security Rescue Fire Health Env Transport Infra CBRNE Other",
    "responseType": "Shelter Evacuate Prepare Execute Avoid Monitor Assess AllClear None",
    "urgency": "Immediate Expected Future Past Unknown",
    "severity": "Extreme Severe Moderate Minor Unknown",
    "certainty": "Observed Likely Possible Unlikely Unknown",
}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d$")
NUMBER = r"-?\d+(\.\d+)?"


def parsed(record):
    return ElementTree.fromstring(record)  # noqa: S314 (our own record)


def faults(record):
    """What a record has that CAP 1.2 does not allow."""
    root = parsed(record)
    wrong = [] if root.tag == f"{{{alert.NAMESPACE}}}alert" else ["root"]
    for element in root.iter():
        name = element.tag.split("}")[1]
        if name in SHAPES:
            wrong += _misplaced([child.tag.split("}")[1] for child in element], SHAPES[name])
        wrong += _malformed(name, (element.text or "").strip())
    scope = root.findtext(f"{{{alert.NAMESPACE}}}scope")
    if scope == "Restricted" and root.find(f"{{{alert.NAMESPACE}}}restriction") is None:
        wrong.append("restriction")
    return wrong


def _misplaced(children, shape):
    places = [list(shape).index(child) if child in shape else -1 for child in children]
    wrong = ["order"] if places != sorted(places) or -1 in places else []
    return wrong + [name for name, (least, most) in shape.items() if not least <= children.count(name) <= most]


def _malformed(name, text):
    bad = name in WORDS and text not in WORDS[name].split()
    bad |= name in {"sent", "effective", "onset", "expires"} and not TIME.match(text)
    bad |= name in {"identifier", "sender"} and bool(re.search(r"[\s,<&]", text) or not text)
    if name == "polygon":
        points = text.split(" ")
        bad |= len(points) < 4 or points[0] != points[-1]
        bad |= not all(re.fullmatch(f"{NUMBER},{NUMBER}", point) for point in points)
    if name == "references":
        bad |= not all(re.fullmatch(r"[^\s,]+,[^\s,]+,[^\s,]+", part) for part in text.split())
    return [name] if bad else []


def test_new_updated_and_cancelled_records_are_valid_cap():
    first = sent(found(2.0))
    second = sent(found(9.0), before(first), item="item-2")
    last = sent(found(0.01), before(second), item="item-3")
    assert [part.message for part in (first, second, last)] == ["Alert", "Update", "Cancel"]
    for part in (first, second, last):
        assert faults(alert.record(part)) == []
    assert f"{first.sender},{first.identifier},{alert.cap_time(first.sent)}".encode() in alert.record(second)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"-00:00</sent>", b"Z</sent>", "sent"),
        (b"<status>Actual", b"<status>Real", "status"),
        (b"<scope>Restricted</scope>", b"", "scope"),
        (b"<urgency>Immediate</urgency>", b"", "urgency"),
        (b"<language>zh-CN</language>", b"<language>zh-CN</language><language>en</language>", "language"),
        (b"<polygon>", b"<polygon>0,0 ", "polygon"),
        (b"<sender>eo@cq.example", b"<sender>eo at, cq", "sender"),
    ],
)
def test_the_check_of_cap_sees_planted_faults(old, new, fault):
    record = alert.record(sent(found(2.0)))
    assert old in record
    assert fault in faults(record.replace(old, new, 1))


def test_the_polygon_is_latitude_first_holds_the_place_and_has_few_points():
    root = parsed(alert.record(sent(found(2.0))))
    text = root.find(f".//{{{alert.NAMESPACE}}}polygon").text
    points = [tuple(float(number) for number in point.split(",")) for point in text.split()]
    drawn = shapely.Polygon([(longitude, latitude) for latitude, longitude in points])
    assert len(points) <= 61
    assert shapely.intersection(drawn, PLACE.outline).area > 0.98 * PLACE.outline.area


def test_names_that_xml_cannot_hold_leave_a_record_that_reads():
    odd = found(2.0)._replace(place=PLACE._replace(name_en="a\x00b\x1b & <c>", name_zh="\ufffe渝北]]>"))
    root = parsed(alert.record(sent(odd)))
    told = [part.text for part in root.iter(f"{{{alert.NAMESPACE}}}areaDesc")]
    assert told == [" 渝北]]>", "a b  & <c>"]


def test_without_a_sender_it_is_an_exercise():
    told = sent(found(2.0), sender=None)
    assert (told.status, told.sender) == ("Exercise", alert.PLACEHOLDER_SENDER)
    assert faults(alert.record(told)) == []


def test_noise_does_not_alert_for_its_lower_limit_counts():
    assert sent(found(30.0, low=0.1, high=60.0)) is None
    assert sent(found(30.0, low=0.3, high=60.0)).severity == "Minor"
    assert sent(found(30.0, low=0.3, high=60.0)).certainty == "Possible"
    assert sent(found(2.0, low=1.9, high=2.1)).certainty == "Likely"


@pytest.mark.parametrize(
    ("value", "level"), [(0.199, None), (0.2, "Minor"), (0.999, "Minor"), (1.0, "Moderate"), (5.0, "Severe")]
)
def test_a_level_holds_from_its_threshold(value, level):
    assert alert.severity_of(RULE, value) == level


def test_the_same_again_says_nothing_and_is_told_the_same_whoever_asks():
    first = sent(found(2.0))
    assert sent(found(2.1), before(first), item="item-2") is None
    assert sent(found(2.0)).identifier == first.identifier
    assert sent(found(2.0), item="item-9").identifier != first.identifier


def test_an_alert_that_ran_out_is_told_anew_and_not_cancelled():
    first = sent(found(2.0))
    later = NOW + dt.timedelta(hours=RULE.valid_hours)
    assert sent(found(2.0), before(first), at=later, item="item-2").message == "Alert"
    assert sent(found(0.0), before(first), at=later, item="item-2") is None
    assert sent(found(2.0), before(first), at=later - dt.timedelta(seconds=8), item="item-2") is None


def test_a_product_built_again_never_refers_to_itself():
    first = sent(found(2.0))
    again = sent(found(9.0), before(first))
    back = sent(found(2.0), before(again))
    assert len({part.identifier for part in (first, again, back)}) == 3


@pytest.mark.parametrize(
    "unsure",
    [
        found(0.0, excluded=0.6),
        found(0.17),
        found(0.1, low=0.0, high=0.3),
        found(float("nan")),
    ],
)
def test_too_little_seen_or_too_near_the_threshold_cancels_nothing(unsure):
    first = sent(found(2.0))
    assert sent(unsure, before(first), item="item-2") is None


def zone(code="500112", **more):
    item = {"value": 2, "area_m2": 3e6, "area_95_m2": [2e6, 4e6], "share": 0.3, "share_95": [0.2, 0.4]}
    return {"code": code, "excluded_share": 0.2, "classes": [item], **more}


def test_findings_are_those_of_the_districts_else_of_the_whole():
    places = {"500112": PLACE, "": PLACE._replace(code="")}
    (one,) = alert.findings(RULE, {"districts": [zone(), zone("500113")], "area": zone("")}, places=places, tables={})
    assert one[1:] == (3.0, 2.0, 4.0, 0.2)
    (whole,) = alert.findings(RULE, {"districts": [], "area": zone("")}, places=places, tables={})
    assert whole.place.code == ""


def rule(**change):
    return alert.Rule(**{**{name: getattr(RULE, name) for name in RULE.__dataclass_fields__}, **change})


@pytest.mark.parametrize(
    ("change", "more", "tables", "wanted"),
    [
        ({"measure": "class_share"}, {}, {}, (0.3, 0.2, 0.4)),
        ({"measure": "objects", "table": "fires"}, {"objects": {"fires": 4}}, {}, (4, 4, 4)),
        ({"measure": "objects", "table": "fires"}, {}, {}, None),
        (
            {"measure": "exposed_assets", "table": "a"},
            {},
            {"a@500112": ["exposed", "near", "not_assessed", "exposed"]},
            (2, 2, 2),
        ),
        ({"measure": "exposed_assets", "table": "a"}, {}, {}, None),
        ({"classes": (7,)}, {}, {}, None),
        ({}, {"classes": [{**zone()["classes"][0], "share_95": [None, None]}]}, {}, None),
    ],
)
def test_each_measure_is_taken_from_where_it_stands(change, more, tables, wanted):
    summary = {"districts": [zone(**more)], "area": None}
    made = alert.findings(rule(**change), summary, places={"500112": PLACE}, tables=tables)
    assert [part[1:4] for part in made] == ([] if wanted is None else [wanted])


def test_the_json_twin_says_what_the_record_says():
    told = sent(found(2.0, 1.5, 2.5))
    twin = json.loads(alert.document(told))
    root = parsed(alert.record(told))
    headlines = [part.text for part in root.iter(f"{{{alert.NAMESPACE}}}headline")]
    assert headlines == [twin["headline_zh"], twin["headline_en"]]
    assert (twin["value"], twin["value_95"], twin["area"]["code"]) == (2.0, [1.5, 2.5], "500112")
    assert "2 km2 (95 % interval 1.5 to 2.5)" in alert.description(told, "en-US")


def test_the_thresholds_shipped_are_read():
    assert {part.product for part in alert_thresholds.read(alert_thresholds.SHIPPED)} >= {"flood-extent", "active-fire"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("product: flood-extent", "product: flood"),
        ("measure: class_area_km2", "measure: class_area"),
        ("classes: [2]", "classes: [99]"),
        ("table: exposed_assets", "valid_hours: 24"),
        ("category: Geo", "category: Geology"),
        ("Minor: 0.2", "Minor: 3.0"),
        ("Minor: 0.2", "Minor: 0"),
        ("Minor: 0.2", "Small: 0.2"),
        ("event_en:", "event:"),
        ('version: "2"', "edition: 2"),
        ("rules:", "rules: {"),
    ],
)
def test_thresholds_nobody_knows_are_refused(tmp_path, old, new):
    shipped = alert_thresholds.SHIPPED.read_text(encoding="utf-8")
    assert old in shipped
    file = tmp_path / "alerts.yaml"
    file.write_text(shipped.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadInputError) as caught:
        alert_thresholds.read(file)
    assert caught.value.cause == "thresholds_invalid"
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message", "level"),
    [
        (4.51, None, None),
        (4.49, "Update", "Moderate"),
        (0.91, "Update", "Moderate"),
        (0.89, "Update", "Minor"),
        (5.0, None, None),
    ],
)
def test_a_severity_in_force_is_left_only_clearly_below_its_threshold(value, message, level):
    first = sent(found(5.1))
    told = sent(found(value), before(first), item="item-2")
    assert (None if told is None else told.message, None if told is None else told.severity) == (message, level)
    # A first alert knows no such thing.
    assert sent(found(value)).severity == alert.severity_of(RULE, value)


def test_a_value_about_a_threshold_alerts_once_and_up_at_once():
    first = sent(found(0.95))
    assert first.severity == "Minor"
    second = sent(found(1.0), before(first), item="item-2")
    assert (second.message, second.severity) == ("Update", "Moderate")
    for number, value in enumerate((0.97, 1.02, 0.93, 1.01)):
        assert sent(found(value), before(second), item=f"item-{number + 3}") is None
    sharp = alert.AlertParameters(leave=1.0)
    fell = alert.follow(
        RULE, found(0.97), previous=before(second), sender="eo@cq.example", sent=NOW, onset=NOW, item_id="item-9",
        parameters=sharp,
    )  # fmt: skip
    assert (fell.message, fell.severity) == ("Update", "Minor")


def test_an_alert_that_ran_out_holds_no_severity():
    first = sent(found(5.1))
    later = NOW + dt.timedelta(hours=RULE.valid_hours)
    told = sent(found(4.9), before(first), at=later, item="item-2")
    assert (told.message, told.severity) == ("Alert", "Moderate")
