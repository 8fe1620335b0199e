"""What a sector product is: titles, classes, inputs, promise, and the algorithm that makes it.

A product is declared once, in the module of its sector; package, catalogue and documentation read it from here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from products import feature_table

CLASS_NODATA = 255

Sector = Literal["natural-resources", "rural-revitalization", "ecology", "transport", "emergency"]
Validity = Literal["candidate", "rapid", "verified"]


class NotApplicableError(Exception):
    """A product that this input cannot give, with a machine-readable cause.

    Parameters
    ----------
    cause : str
        Short code in snake case: ``band_missing``, ``layer_missing``, ``too_few_dates``, ``no_usable_pixel``,
        ``segments_missing``.
    message : str
        One sentence naming what is missing.
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True, kw_only=True)
class ProductClass:
    """One class of a product.

    Parameters
    ----------
    value : int
        Number in the raster.
    name_en : str
        English name.
    name_zh : str
        Chinese name.
    colour : str
        Colour as ``#rrggbb``.
    """

    value: int
    name_en: str
    name_zh: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class ProductLayer:
    """One layer of a product.

    Parameters
    ----------
    name : str
        Variable name and band description.
    title_en : str
        English title.
    title_zh : str
        Chinese title.
    units : str
        Unit, ``1`` for a ratio or a class.
    display_range : tuple of float
        Limits of the colour bar, in the unit of the layer.
    colour_map : str
        Name of the colour map.
    """

    name: str
    title_en: str
    title_zh: str
    units: str = "1"
    display_range: tuple[float, float] = (0.0, 1.0)
    colour_map: str = "viridis"


class SectorLayers(NamedTuple):
    """What an algorithm returns.

    Attributes
    ----------
    data : xr.Dataset
        One variable (y, x) per layer of the definition: float with NaN, or unsigned 8 bit with 255 without data.
    uncertainty : xr.Dataset
        Same names: one standard deviation of a value, or the probability of the class given [1].
    dates : numpy.ndarray
        Positions in time that were used, increasing; the last is the nominal time of the product.
    outside : xr.DataArray or None
        Pixels the product does not speak of, such as forest in a crop product, boolean (y, x): they have no value and
        still are not missing.
    features : tuple of FeatureTable
        Objects found, such as fires, ships or cross sections of a river.
    facts : Mapping
        What holds for the whole product, in JSON types: thresholds found, the least width that can be measured.
    """

    data: xr.Dataset
    uncertainty: xr.Dataset
    dates: npt.NDArray[np.intp]
    outside: xr.DataArray | None = None
    features: tuple[feature_table.FeatureTable, ...] = ()
    facts: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class ProductDefinition:
    """Declaration of one product.

    Parameters
    ----------
    code : str
        Product code, lowercase with hyphens.
    sector : str
        Code of the sector.
    title_en : str
        English title.
    title_zh : str
        Chinese title.
    description_en : str
        English description: what it shows, from what, and what it is not.
    description_zh : str
        Chinese description.
    kind : str
        ``value``, ``class``, or ``objects`` for a product without raster that no fused scene makes.
    layers : tuple of ProductLayer
        Layers in order; a class product has one, one of objects none.
    classes : tuple of ProductClass
        Classes of a class product.
    required_bands : tuple of str
        Spectral bands without which there is no product.
    outlined : tuple of int
        Classes whose areas are also delivered as polygons.
    least_outline : int
        Smallest area that is outlined [pixel].
    required_layers : tuple of str
        Variables of the fused dataset without which there is no product, such as ``backscatter``, ``hand`` or
        ``reference_water``.
    minimum_dates : int
        Least number of dates with usable pixels [1].
    latency_target : timedelta
        Promise from input to publication.
    validity : str
        ``candidate``, ``rapid`` or ``verified``.
    algorithm : callable
        Function of the fused dataset and ``parameters``.
    parameters : object
        Frozen dataclass of the algorithm's parameters.
    parameters_version : str
        Version the operator gave the file these parameters are from; empty for those of the code.
    """

    code: str
    sector: Sector
    title_en: str
    title_zh: str
    description_en: str
    description_zh: str
    kind: Literal["value", "class", "objects"]
    layers: tuple[ProductLayer, ...]
    required_bands: tuple[str, ...]
    minimum_dates: int
    latency_target: timedelta
    validity: Validity
    algorithm: Callable[..., SectorLayers]
    parameters: Any
    classes: tuple[ProductClass, ...] = ()
    required_layers: tuple[str, ...] = ()
    outlined: tuple[int, ...] = ()
    least_outline: int = 10
    parameters_version: str = ""


def describe(definition: ProductDefinition) -> dict[str, Any]:
    """Declaration of a product in JSON types, for lists and documentation.

    Parameters
    ----------
    definition : ProductDefinition
        The product.

    Returns
    -------
    dict
        Codes, titles, inputs and promise; ``latency_target`` in words and ``latency_target_seconds`` [s].
    """
    seconds = int(definition.latency_target.total_seconds())
    return {
        "code": definition.code,
        "sector": definition.sector,
        "title_en": definition.title_en,
        "title_zh": definition.title_zh,
        "description_en": definition.description_en,
        "description_zh": definition.description_zh,
        "kind": definition.kind,
        "layers": [{"name": layer.name, "units": layer.units} for layer in definition.layers],
        "classes": [
            {"value": item.value, "name_en": item.name_en, "name_zh": item.name_zh} for item in definition.classes
        ],
        "required_bands": list(definition.required_bands),
        "required_layers": list(definition.required_layers),
        "outlined_classes": list(definition.outlined),
        "minimum_dates": definition.minimum_dates,
        "latency_target": f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds // 60} min",
        "latency_target_seconds": seconds,
        "validity": definition.validity,
    }


def require(fused: xr.Dataset, *, definition: ProductDefinition) -> None:
    """Refuse a fused dataset that cannot give a product.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset.
    definition : ProductDefinition
        Product wanted.

    Raises
    ------
    NotApplicableError
        Where a band or a layer is missing (causes ``band_missing``, ``layer_missing``) or there are too few dates
        (cause ``too_few_dates``).
    """
    present = {str(band) for band in fused["band"].values}
    missing = [band for band in definition.required_bands if band not in present]
    if missing:
        raise NotApplicableError("band_missing", f"{definition.code} needs the band {', '.join(missing)}")
    layers = [name for name in definition.required_layers if name not in fused]
    if layers:
        raise NotApplicableError("layer_missing", f"{definition.code} needs {', '.join(layers)}")
    if fused.sizes["time"] < definition.minimum_dates:
        raise NotApplicableError(
            "too_few_dates",
            f"{definition.code} needs {definition.minimum_dates} dates, the input has {fused.sizes['time']}",
        )


def require_dates(dates: npt.NDArray[np.intp], *, minimum: int, purpose: str) -> npt.NDArray[np.intp]:
    """Refuse a series with too few dates that hold usable pixels.

    Parameters
    ----------
    dates : numpy.ndarray
        Positions in time with usable pixels.
    minimum : int
        Least number [1].
    purpose : str
        What they are needed for, for the message.

    Returns
    -------
    numpy.ndarray
        `dates`.

    Raises
    ------
    NotApplicableError
        With fewer (cause ``no_usable_pixel`` for none, else ``too_few_dates``).
    """
    if dates.size == 0:
        raise NotApplicableError("no_usable_pixel", f"no date of the input has usable pixels for {purpose}")
    if dates.size < minimum:
        raise NotApplicableError(
            "too_few_dates", f"{purpose} needs {minimum} dates with usable pixels, the input has {dates.size}"
        )
    return dates
