"""Thresholds of alerts: the shipped ones hold together, the operator's take their place, others are refused."""

from pathlib import Path

import pytest
import yaml

from infra import alert_thresholds, settings
from processors.quality import BadInputError
from products import alert
from products.sectors import registry

RULE = {
    "product": "flood-extent",
    "measure": "class_area_km2",
    "classes": [2],
    "levels": {"Minor": 0.2, "Severe": 5},
    "event_en": "Flood",
    "event_zh": "洪水",
    "category": "Geo",
}


def written(folder: Path, **changes: object) -> Path:
    rule = {name: value for name, value in {**RULE, **changes}.items() if value is not None}
    path = folder / "alerts.yaml"
    path.write_text(yaml.safe_dump({"version": "1", "rules": [RULE, rule]}, allow_unicode=True), encoding="utf-8")
    return path


def test_every_shipped_rule_rises_and_speaks_of_what_its_product_has():
    for rule in alert_thresholds.read(alert_thresholds.SHIPPED):
        product = registry.definition_of(rule.product)
        steps = [rule.levels[level] for level in alert.SEVERITIES if level in rule.levels]
        assert steps == sorted(steps)
        assert min(steps) > 0
        assert set(rule.classes) <= {item.value for item in product.classes}
        assert any("\u4e00" <= character <= "\u9fff" for character in rule.event_zh)


def test_the_operators_file_takes_the_place_of_the_shipped_one(tmp_path: Path, monkeypatch):
    here = settings.current()
    path = written(tmp_path)
    monkeypatch.setattr(settings, "current", lambda: here.model_copy(update={"alert_thresholds": path}))
    found = alert_thresholds.in_force()
    assert [(rule.product, rule.classes, dict(rule.levels)) for rule in found] == [
        ("flood-extent", (2,), {"Minor": 0.2, "Severe": 5})
    ] * 2
    monkeypatch.setattr(settings, "current", lambda: here.model_copy(update={"alert_thresholds": None}))
    assert alert_thresholds.in_force() == alert_thresholds.read(alert_thresholds.SHIPPED)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"event_en": None}, "event_en"),
        ({"sound": "loud"}, "sound"),
        ({"product": "nothing"}, "no product nothing"),
        ({"measure": "weight"}, "no measure weight"),
        ({"category": "Other"}, "no category Other"),
        ({"levels": []}, "levels rise"),
        ({"levels": {}}, "levels rise"),
        ({"levels": {"Minor": 2.0, "Severe": 1.0}}, "levels rise"),
        ({"levels": {"Minor": "some"}}, "levels rise"),
        ({"levels": {"Minor": -1.0}}, "levels rise"),
        ({"levels": {"Minor": 1.0, "Awful": 2.0}}, "levels rise"),
        ({"classes": None}, "classes of flood-extent"),
        ({"classes": [77]}, "classes of flood-extent"),
        ({"measure": "objects", "classes": None}, "needs a table"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_by_its_number(tmp_path: Path, changes, said):
    path = written(tmp_path, **changes)
    with pytest.raises(BadInputError, match=said) as caught:
        alert_thresholds.read(path)
    assert caught.value.cause == "thresholds_invalid"
    assert f"{path}: rule 2" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [b"rules: [", b"- a", b"version: '1'\nrules: {}\n", b"rules: []\n", b"\xff\xfe", b"version: '1'\nrules: [a]"],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text):
    (tmp_path / "a.yaml").write_bytes(text)
    with pytest.raises(BadInputError, match=r"a\.yaml"):
        alert_thresholds.read(tmp_path / "a.yaml")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(BadInputError, match="cannot be read"):
        alert_thresholds.read(tmp_path / "none.yaml")


def test_the_share_below_which_a_severity_is_left_is_read_or_that_of_the_code(tmp_path: Path):
    path = written(tmp_path)
    assert alert_thresholds.parameters(path) == alert.AlertParameters()
    text = path.read_text(encoding="utf-8")
    other = tmp_path / "other.yaml"
    other.write_text(f"leave_share: 0.7\n{text}", encoding="utf-8")
    assert alert_thresholds.parameters(other).leave == 0.7
    assert alert_thresholds.read(other) == alert_thresholds.read(path)
    for wrong in ("0", "1.2", "true", "much"):
        other = tmp_path / f"{wrong}.yaml"
        other.write_text(f"leave_share: {wrong}\n{text}", encoding="utf-8")
        with pytest.raises(BadInputError, match="leave_share") as caught:
            alert_thresholds.parameters(other)
        assert caught.value.cause == "thresholds_invalid"


def test_the_shipped_share_is_in_force(monkeypatch):
    here = settings.current()
    monkeypatch.setattr(settings, "current", lambda: here.model_copy(update={"alert_thresholds": None}))
    assert alert_thresholds.parameters_in_force().leave == 0.9
