"""Objects with a place and attributes, such as fires, ships or cross sections; what a vector file is written from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FieldKind = Literal["text", "integer", "real", "time", "flag"]


@dataclass(frozen=True, kw_only=True)
class FeatureField:
    """One attribute of the objects of a table.

    Parameters
    ----------
    name : str
        Column name, ASCII in snake case.
    title_en : str
        English title.
    title_zh : str
        Chinese title, the alias in vector files.
    kind : str
        ``text``, ``integer``, ``real``, ``time`` (UTC) or ``flag``.
    units : str
        Unit, empty where there is none.
    """

    name: str
    title_en: str
    title_zh: str
    kind: FieldKind
    units: str = ""


def field(name: str, title_en: str, title_zh: str, kind: FieldKind, units: str = "") -> FeatureField:
    """Give one attribute, for tables of them.

    Parameters
    ----------
    name : str
        Column name, ASCII in snake case.
    title_en, title_zh : str
        English and Chinese title.
    kind : str
        ``text``, ``integer``, ``real``, ``time`` (UTC) or ``flag``.
    units : str
        Unit, empty where there is none.

    Returns
    -------
    FeatureField
        The attribute.
    """
    return FeatureField(name=name, title_en=title_en, title_zh=title_zh, kind=kind, units=units)


@dataclass(frozen=True, kw_only=True)
class FeatureTable:
    """Objects of one kind.

    Parameters
    ----------
    name : str
        Name of the layer, ASCII in snake case.
    title_en : str
        English title.
    title_zh : str
        Chinese title.
    fields : tuple of FeatureField
        Attributes in order.
    geometry : sequence of shapely.Geometry
        One geometry an object, in the coordinates of `crs`.
    columns : Mapping
        Values by field name, one an object: real NaN, text None and time NaT where there is none.
    crs : str
        Reference system of the geometry.
    geometry_type : str
        Type its geometry has where there is any, such as ``Point``: what a file without objects says of itself.
    """

    name: str
    title_en: str
    title_zh: str
    fields: tuple[FeatureField, ...]
    geometry: Sequence[Any]
    columns: Mapping[str, npt.NDArray[Any]]
    crs: str
    geometry_type: str = ""

    def __post_init__(self) -> None:
        named = [field.name for field in self.fields]
        if sorted(named) != sorted(self.columns):
            raise ValueError(f"{self.name}: fields {named}, but columns {list(self.columns)}")
        lengths = {name: np.asarray(column).shape for name, column in self.columns.items()}
        wrong = {name: shape for name, shape in lengths.items() if shape != (len(self.geometry),)}
        if wrong:
            raise ValueError(f"{self.name}: {len(self.geometry)} objects, but columns of shape {wrong}")

    def __len__(self) -> int:
        return len(self.geometry)
