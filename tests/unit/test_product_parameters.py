"""Values of the operator over those of the code: nested, by name or in order, of the same kind, else refused."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from infra import product_parameters, settings
from processors.quality import BadInputError
from products import provenance
from products.sectors import definition, registry

CODE = "open-water-extent"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    """Nested values."""

    limit: float = 0.5
    rounds: int = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    """Values of every kind a parameter has."""

    inner: Inner = dataclasses.field(default_factory=Inner)
    range: tuple[float, int] = (0.1, 2)
    weights: Mapping[int, float] = dataclasses.field(default_factory=lambda: MappingProxyType({1: 0.2, 2: 0.8}))
    plain: Mapping[str, Inner] = dataclasses.field(default_factory=lambda: {"a": Inner(), "b": Inner(limit=0.7)})
    named: str = "otsu"


PRODUCT = dataclasses.replace(registry.definition_of(CODE), parameters=Outer())


def written(folder: Path, values: object) -> Path:
    path = folder / "products.yaml"
    path.write_text(yaml.safe_dump({"version": "1", "products": {CODE: values}}), encoding="utf-8")
    return path


def overridden(folder: Path, values: object) -> Any:
    return product_parameters.overridden(PRODUCT, written(folder, values)).parameters


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"inner": {"limit": 1}}, Outer(inner=Inner(limit=1.0))),
        ({"range": [1, 7]}, Outer(range=(1.0, 7))),
        ({"weights": {1: 0.3}}, Outer(weights=MappingProxyType({1: 0.3, 2: 0.8}))),
        ({"weights": {"2": 1}}, Outer(weights=MappingProxyType({1: 0.2, 2: 1.0}))),
        ({"plain": {"b": {"rounds": 9}}}, Outer(plain={"a": Inner(), "b": Inner(limit=0.7, rounds=9)})),
        ({"named": "fixed"}, Outer(named="fixed")),
    ],
)
def test_only_what_is_given_changes_and_keeps_its_kind(tmp_path: Path, values, wanted):
    found = overridden(tmp_path, values)
    assert found == wanted
    assert type(found.weights) is MappingProxyType
    assert [type(value) for value in found.range] == [float, int]
    assert Outer() == PRODUCT.parameters


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"inner": {"limt": 1.0}}, "inner has no parameter limt"),
        ({"inner": 0.5}, "inner: names and values"),
        ({"inner": {"rounds": 2.5}}, "inner.rounds"),
        ({"inner": {"limit": False}}, "inner.limit"),
        ({"range": [1.0]}, "range: 2 values"),
        ({"range": 1.0}, "range: 2 values"),
        ({"range": [1.0, "two"]}, "range"),
        ({"weights": {3: 0.1}}, "weights: only 1, 2"),
        ({"weights": [0.2, 0.8]}, "weights: only 1, 2"),
        ({"weights": {1: "much"}}, r"weights\.1"),
        ({"plain": {"a": {"limit": None}}}, r"plain\.a\.limit"),
        ({"named": 1}, "named"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_file_and_place(tmp_path: Path, values, place):
    with pytest.raises(BadInputError, match=place) as caught:
        overridden(tmp_path, values)
    assert caught.value.cause == "parameters_invalid"
    assert f"{tmp_path / 'products.yaml'}: products.{CODE}" in str(caught.value)


def test_what_is_printed_reads_back_with_the_same_values_and_hash(tmp_path: Path):
    changed = dataclasses.replace(PRODUCT, parameters=overridden(tmp_path, {"range": [0.4, 5], "weights": {2: 0.1}}))
    text = product_parameters.as_yaml(changed)
    (tmp_path / "printed.yaml").write_text(text, encoding="utf-8")
    again = product_parameters.overridden(PRODUCT, tmp_path / "printed.yaml")
    assert again.parameters == changed.parameters
    assert yaml.safe_load(text)["version"] == provenance.parameters_hash(again.parameters)
    assert provenance.parameters_hash(again.parameters) != provenance.parameters_hash(PRODUCT.parameters)


def test_a_file_written_anew_is_read_anew_and_the_setting_names_it(tmp_path: Path, monkeypatch):
    product = registry.definition_of(CODE)
    path = written(tmp_path, {"water_rules": {"threshold": 0.25}})
    here = settings.current()
    monkeypatch.setattr(settings, "current", lambda: here.model_copy(update={"product_parameters": path}))
    assert product_parameters.in_force(product).parameters.water_rules.threshold == 0.25
    monkeypatch.setattr(settings, "current", lambda: here.model_copy(update={"product_parameters": None}))
    assert product_parameters.in_force(product) is product


def test_a_file_that_is_not_there_or_names_nothing_changes_nothing_silently(tmp_path: Path):
    with pytest.raises(BadInputError, match="cannot be read"):
        product_parameters.overridden(PRODUCT, tmp_path / "none.yaml")
    empty = tmp_path / "empty.yaml"
    empty.write_text("version: '1'\nproducts:\n", encoding="utf-8")
    unchanged: definition.ProductDefinition = product_parameters.overridden(PRODUCT, empty)
    assert unchanged is PRODUCT


def test_the_version_of_the_file_is_known_where_it_changes_anything(tmp_path: Path):
    path = tmp_path / "products.yaml"
    path.write_text(
        yaml.safe_dump({"version": "2026-07 reservoir", "products": {CODE: {"named": "fixed"}}}), encoding="utf-8"
    )
    assert product_parameters.overridden(PRODUCT, path).parameters_version == "2026-07 reservoir"
    assert PRODUCT.parameters_version == ""
    other = registry.definition_of("flood-extent")
    assert product_parameters.overridden(other, path).parameters_version == ""
    path.write_text("version: ''\nproducts:\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="version is empty"):
        product_parameters.overridden(PRODUCT, path)
