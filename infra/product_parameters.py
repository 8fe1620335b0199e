"""Parameters of the products in force: those of the code, or what the operator wrote over them, with a version.

The file is named by the setting `product_parameters`. It holds a version and, by product code, the values that differ:

    version: "2026-07 reservoir"
    products:
      flood-extent:
        threshold: 0.6

Every value must be of the kind the code has; the hash of all values in force goes into the provenance of the product,
and so does the version of the file where it changes anything.
"""

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from infra import settings
from processors import quality
from products import provenance
from products.sectors import definition, registry


def in_force(product: definition.ProductDefinition) -> definition.ProductDefinition:
    """Definition of a product with the parameters of this installation.

    Parameters
    ----------
    product : ProductDefinition
        The product as the code has it.

    Returns
    -------
    ProductDefinition
        The same with the operator's values.

    Raises
    ------
    BadInputError
        What `overridden` refuses.
    """
    path = settings.current().product_parameters
    return product if path is None else overridden(product, path)


def overridden(product: definition.ProductDefinition, path: Path) -> definition.ProductDefinition:
    """Definition of a product with the values a file gives it.

    Parameters
    ----------
    product : ProductDefinition
        The product as the code has it.
    path : Path
        YAML file.

    Returns
    -------
    ProductDefinition
        The same where the file does not name it.

    Raises
    ------
    BadInputError
        `parameters_invalid` for an unreadable file, an unknown product or name, or a value of another kind.
    """
    version, products = _products(path, path.stat().st_mtime_ns if path.exists() else 0)
    given = products.get(product.code)
    if not given:
        return product
    place = f"{path}: products.{product.code}"
    parameters = _replaced(product.parameters, given, place)
    return dataclasses.replace(product, parameters=parameters, parameters_version=version)


def as_yaml(product: definition.ProductDefinition) -> str:
    """Parameters of a product as people edit them, with their hash.

    Parameters
    ----------
    product : ProductDefinition
        The product.

    Returns
    -------
    str
        YAML that `overridden` reads back.
    """
    values = provenance.plain(product.parameters)
    document = {"version": provenance.parameters_hash(product.parameters), "products": {product.code: values}}
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)


@lru_cache(maxsize=8)
def _products(path: Path, _changed: int) -> tuple[str, Mapping[str, Any]]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise quality.BadInputError("parameters_invalid", f"{path} cannot be read: {error}") from error
    if not isinstance(loaded, dict) or set(loaded) != {"version", "products"}:
        raise quality.BadInputError("parameters_invalid", f"{path}: the keys version and products are wanted")
    products = loaded["products"] or {}
    known = {product.code for product in registry.definitions()}
    if not isinstance(products, dict) or not set(products) <= known:
        unknown = ", ".join(sorted(str(code) for code in set(products) - known))
        raise quality.BadInputError("parameters_invalid", f"{path}: no product {unknown}; `terralimb product list`")
    version = str(loaded["version"] or "").strip()
    if not version:
        raise quality.BadInputError("parameters_invalid", f"{path}: the version is empty")
    return version, products


def _replaced(parameters: Any, given: Any, place: str) -> Any:
    """Frozen dataclass with other values, those of nested ones alike."""
    if not isinstance(given, dict):
        raise quality.BadInputError("parameters_invalid", f"{place}: names and values are wanted, not {given!r}")
    names = {field.name for field in dataclasses.fields(parameters)}
    unknown = sorted(str(name) for name in set(given) - names)
    if unknown:
        raise quality.BadInputError(
            "parameters_invalid", f"{place} has no parameter {', '.join(unknown)}; there are {', '.join(sorted(names))}"
        )
    changed = {name: _value(getattr(parameters, name), value, f"{place}.{name}") for name, value in given.items()}
    return dataclasses.replace(parameters, **changed)


def _value(present: Any, given: Any, place: str) -> Any:
    """A value as the parameter holds it, refused where it is of another kind."""
    if dataclasses.is_dataclass(present):
        return _replaced(present, given, place)
    if isinstance(present, Mapping):
        return _mapping(present, given, place)
    if isinstance(present, tuple):
        return _sequence(present, given, place)
    number = isinstance(present, float) and isinstance(given, int | float) and not isinstance(given, bool)
    if not number and type(given) is not type(present):
        raise quality.BadInputError("parameters_invalid", f"{place}: {present!r} cannot become {given!r}")
    return float(given) if number else given


def _sequence(present: tuple[Any, ...], given: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(given, list) or len(given) != len(present):
        raise quality.BadInputError("parameters_invalid", f"{place}: {len(present)} values are wanted, not {given!r}")
    return tuple(_value(old, new, place) for old, new in zip(present, given, strict=True))


def _mapping(present: Mapping[Any, Any], given: Any, place: str) -> Mapping[Any, Any]:
    names = {str(name): name for name in present}
    if not isinstance(given, dict) or not {str(name) for name in given} <= set(names):
        raise quality.BadInputError("parameters_invalid", f"{place}: only {', '.join(names)} can be given")
    changed = {
        names[str(name)]: _value(present[names[str(name)]], value, f"{place}.{name}") for name, value in given.items()
    }
    merged = {**present, **changed}
    return MappingProxyType(merged) if isinstance(present, MappingProxyType) else merged
