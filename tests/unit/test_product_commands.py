"""Commands and parameters of the products: explained, filtered, overridden by kind, refused by name."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from infra import product_parameters
from infra.cli import app
from processors.quality import BadInputError
from products import provenance
from products.sectors import definition, registry

CODE = "open-water-extent"


def told(*words: str):
    return CliRunner().invoke(app, ["product", *words])


def written(folder: Path, values: object, *, code: str = CODE) -> Path:
    path = folder / "products.yaml"
    path.write_text(yaml.safe_dump({"version": "2026-07", "products": {code: values}}), encoding="utf-8")
    return path


def test_the_list_of_one_sector_holds_it_alone():
    rows = json.loads(told("list", "--sector", "transport", "--json").stdout)
    assert rows
    assert {row["sector"] for row in rows} == {"transport"}
    assert CODE in told("list", "--sector", "transport").stdout
    assert told("list", "--sector", "nowhere").exit_code == 2


@pytest.mark.parametrize("code", [product.code for product in registry.definitions()])
def test_every_product_is_explained(code):
    row = json.loads(told("show", code, "--json").stdout)
    product = registry.definition_of(code)
    assert row["parameters_sha256"] == provenance.parameters_hash(product.parameters)
    assert row["validity"] == product.validity
    shown = told("show", code)
    assert shown.exit_code == 0
    assert product.title_zh in shown.stdout


@pytest.mark.parametrize("code", [product.code for product in registry.definitions()])
def test_printed_parameters_read_back_as_they_were(code, tmp_path: Path):
    (tmp_path / "p.yaml").write_text(told("parameters", code).stdout, encoding="utf-8")
    product = registry.definition_of(code)
    again = product_parameters.overridden(product, tmp_path / "p.yaml")
    assert provenance.parameters_hash(again.parameters) == provenance.parameters_hash(product.parameters)


def test_an_unknown_product_is_refused_with_those_there_are():
    for command in ("show", "parameters"):
        assert told(command, "nothing").exit_code == 2


def test_values_of_the_operator_change_the_parameters_and_their_hash(tmp_path: Path):
    product = registry.definition_of(CODE)
    changed = product_parameters.overridden(product, written(tmp_path, {"water_rules": {"threshold": 1}}))
    assert changed.parameters.water_rules.threshold == 1.0
    assert isinstance(changed.parameters.water_rules.threshold, float)
    assert changed.parameters.minimum_share == product.parameters.minimum_share
    assert provenance.parameters_hash(changed.parameters) != provenance.parameters_hash(product.parameters)
    other: definition.ProductDefinition = registry.definition_of("land-cover")
    assert product_parameters.overridden(other, tmp_path / "products.yaml") is other


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"water_rules": {"treshold": 0.6}}, "treshold"),
        ({"minimum_share": "half"}, "minimum_share"),
        ({"minimum_share": True}, "minimum_share"),
        (["minimum_share"], CODE),
    ],
)
def test_what_no_parameter_can_be_is_refused_with_file_and_key(tmp_path: Path, values, named):
    with pytest.raises(BadInputError, match=named) as caught:
        product_parameters.overridden(registry.definition_of(CODE), written(tmp_path, values))
    assert "products.yaml" in str(caught.value)


def test_a_file_of_another_shape_is_refused(tmp_path: Path):
    for text in ("- a", "version: 1", "version: 1\nproducts: {nothing: {}}", "a: ["):
        (tmp_path / "p.yaml").write_text(text)
        with pytest.raises(BadInputError, match=r"p\.yaml"):
            product_parameters.overridden(registry.definition_of(CODE), tmp_path / "p.yaml")
        (tmp_path / "p.yaml").unlink()
