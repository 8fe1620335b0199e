"""The table of published variables, and the check of a dataset against it."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import xarray as xr
import yaml

TABLE = "variables.yaml"


class SchemaError(Exception):
    """A dataset that breaks the table of published variables.

    Parameters
    ----------
    variable : str
        Variable concerned.
    reason : str
        What is wrong with it.
    """

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"{variable}: {reason}")
        self.variable = variable
        self.reason = reason

    def __reduce__(self) -> tuple[type["SchemaError"], tuple[str, str]]:
        """Carried between processes with both of its parts."""
        return type(self), (self.variable, self.reason)


@dataclass(frozen=True)
class PublishedVariable:
    """One row of the table.

    Attributes
    ----------
    name : str
        Name in the file.
    units : str
        Units, UDUNITS.
    long_name : str
        What it is.
    dims : tuple[str, ...]
        Dimensions.
    dtype : str
        Type of the numbers.
    lowest, highest : float
        Valid range in the units of the variable [1].
    missing : bool
        Whether values may be missing.
    content : str
        ACDD coverage_content_type.
    standard_name : str or None
        CF standard name.
    optional : bool
        Whether the variable may be absent.
    further : Mapping
        Further CF attributes.
    """

    name: str
    units: str
    long_name: str
    dims: tuple[str, ...]
    dtype: str
    lowest: float
    highest: float
    missing: bool
    content: str
    standard_name: str | None = None
    optional: bool = False
    further: Mapping[str, Any] = field(default_factory=dict)

    def attributes(self) -> dict[str, Any]:
        """CF and ACDD attributes of the variable in the file.

        Returns
        -------
        dict[str, Any]
            Attributes by name.
        """
        dtype = np.dtype(self.dtype)
        attributes: dict[str, Any] = {"long_name": self.long_name, "units": self.units}
        if self.standard_name:
            attributes["standard_name"] = self.standard_name
        for name, value in self.further.items():
            attributes[name] = np.array(value, dtype=dtype) if isinstance(value, list) else value
        if not {"flag_values", "flag_masks"} & set(self.further):
            attributes["valid_range"] = np.array([self.lowest, self.highest], dtype=dtype)
        attributes["coverage_content_type"] = self.content
        return attributes


@functools.cache
def table(product: str) -> Mapping[str, PublishedVariable]:
    """Published variables of a product.

    Parameters
    ----------
    product : str
        Name of the product in the table.

    Returns
    -------
    Mapping[str, PublishedVariable]
        Variables by name, in the order of the table.

    Raises
    ------
    KeyError
        Where the table has no such product.
    """
    text = resources.files("products").joinpath(TABLE).read_text(encoding="utf-8")
    rows = yaml.safe_load(text)[product]["variables"]
    return {name: _row(name, row) for name, row in rows.items()}


def _row(name: str, row: Mapping[str, Any]) -> PublishedVariable:
    """One row of the table."""
    lowest, highest = (float(limit) for limit in row["range"])
    return PublishedVariable(
        name=name,
        units=str(row["units"]),
        long_name=str(row["long_name"]),
        dims=tuple(row["dims"]),
        dtype=str(row["dtype"]),
        lowest=lowest,
        highest=highest,
        missing=bool(row["missing"]),
        content=str(row["content"]),
        standard_name=row.get("standard_name"),
        optional=bool(row.get("optional", False)),
        further=row.get("attributes", {}),
    )


def check(dataset: xr.Dataset, *, product: str) -> xr.Dataset:
    """Refuse a dataset that breaks the table.

    Parameters
    ----------
    dataset : xr.Dataset
        Product as it would be encoded.
    product : str
        Name of the product in the table.

    Returns
    -------
    xr.Dataset
        The same dataset.

    Raises
    ------
    SchemaError
        At the first variable that is absent, unknown, of another shape, type or unit, or out of its range.
    """
    rows = table(product)
    for name in dataset.variables:
        if name not in rows:
            raise SchemaError(str(name), f"not in the table of {product}")
    for name, row in rows.items():
        if name in dataset.variables:
            _check_variable(dataset[name], row)
        elif not row.optional:
            raise SchemaError(name, "absent")
    return dataset


def _check_variable(variable: xr.DataArray, row: PublishedVariable) -> None:
    """Refuse a variable that differs from its row."""
    if variable.dims != row.dims:
        raise SchemaError(row.name, f"dimensions {variable.dims} instead of {row.dims}")
    if variable.dtype != np.dtype(row.dtype):
        raise SchemaError(row.name, f"type {variable.dtype} instead of {row.dtype}")
    for attribute, expected in (("units", row.units), ("standard_name", row.standard_name)):
        if variable.attrs.get(attribute) != expected:
            raise SchemaError(row.name, f"{attribute} {variable.attrs.get(attribute)!r} instead of {expected!r}")
    _check_values(variable.to_numpy(), row)


def _check_values(values: np.ndarray[Any, Any], row: PublishedVariable) -> None:
    """Refuse infinite, missing or out-of-range values."""
    absent = np.isnan(values)
    if absent.any() and not row.missing:
        raise SchemaError(row.name, f"{np.count_nonzero(absent)} of {values.size} values are missing")
    outside = ~absent & ((values < row.lowest) | (values > row.highest))
    if outside.any():
        worst = values[outside][0]
        raise SchemaError(
            row.name, f"{np.count_nonzero(outside)} values outside {row.lowest} to {row.highest}, such as {worst}"
        )
