"""What the metadata of a product say about its layers: where they are and how their numbers become values."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from processors.quality import BadInputError

Float32Array: TypeAlias = npt.NDArray[np.float32]

REFLECTANCE, TEMPERATURE, BACKSCATTER, CLASSES = "reflectance", "temperature", "backscatter", "classes"
"""Quantities of a layer: reflectance [1], brightness or surface temperature [K], backscatter as power [1], codes."""


class Planck(NamedTuple):
    """Constants of the inverse Planck function of one thermal band, T = K2 / ln(K1 / L + 1)."""

    k1: float
    """K1 [W m-2 sr-1 um-1]."""
    k2: float
    """K2 [K]."""


class Decoding(NamedTuple):
    """How the numbers of a layer become values: number * scale + offset, signed values kept."""

    scale: float
    """Value of one number."""
    offset: float
    """Value of the number 0."""
    nodata: tuple[float, ...]
    """Numbers that stand for no data."""
    saturated: float | None = None
    """Number of a saturated pixel, which has no value."""
    valid: tuple[float, float] | None = None
    """Lowest and highest number that is a measurement."""
    planck: Planck | None = None
    """Where the scaled number is a radiance and the value a temperature [K]."""

    def values(self, numbers: npt.NDArray[Any]) -> Float32Array:
        """Values of numbers.

        Parameters
        ----------
        numbers : array
            As stored.

        Returns
        -------
        Float32Array
            Values, NaN for no data and saturation.
        """
        values = numbers.astype(np.float64) * self.scale + self.offset
        if self.planck is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = self.planck.k2 / np.log(self.planck.k1 / np.where(values > 0, values, np.nan) + 1.0)
        lost = [*self.nodata, *([] if self.saturated is None else [self.saturated])]
        missing = np.isin(numbers, np.array(lost)) if lost else np.zeros(numbers.shape, dtype=bool)
        if self.valid is not None:
            missing |= (numbers < self.valid[0]) | (numbers > self.valid[1])
        if np.issubdtype(numbers.dtype, np.floating):
            missing |= ~np.isfinite(numbers)
        return np.where(missing, np.nan, values).astype(np.float32)


class Layer(NamedTuple):
    """One layer of a product."""

    name: str
    """Band or class layer, as in `external_scene.BANDS` where it is one of them."""
    quantity: str
    """What it holds."""
    location: str
    """File within the product, or the variable of a file of variables."""
    decoding: Decoding
    """From numbers to values."""
    number: int = 1
    """Band within the file, from 1."""


@dataclass(frozen=True)
class SceneMetadata:
    """What a product says about itself.

    Parameters
    ----------
    identity : str
        Name of the acquisition, the same in every processing of it.
    sensor : str
        Satellite and instrument.
    level : str
        `surface_reflectance`, `toa_reflectance`, `sigma0` or `gamma0`.
    time : np.datetime64
        Acquisition (UTC).
    layers : tuple of Layer
        The layers.
    sun_zenith, sun_azimuth : float, optional
        Sun at the middle of the scene [degree].
    notes : tuple of str
        What a reader must know.
    """

    identity: str
    sensor: str
    level: str
    time: np.datetime64
    layers: tuple[Layer, ...]
    sun_zenith: float | None = None
    sun_azimuth: float | None = None
    notes: tuple[str, ...] = ()

    def layer(self, name: str) -> Layer:
        """A layer by its name.

        Parameters
        ----------
        name : str
            Band or class layer.

        Returns
        -------
        Layer
            The layer.

        Raises
        ------
        BadInputError
            `band_missing`.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise BadInputError("band_missing", f"{self.identity} has no layer {name}, only {names or 'none'}")


class Markup:
    """An XML document whose elements are asked for by their local names.

    Parameters
    ----------
    text : bytes
        The document; a document type definition is refused, no product has one.
    name : str
        Its name, for messages.
    """

    def __init__(self, text: bytes, *, name: str) -> None:
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise BadInputError("metadata_unreadable", f"{name} defines its own entities, which no product does")
        try:
            self.root = ElementTree.fromstring(text)  # noqa: S314 (entities are refused above)
        except ElementTree.ParseError as error:
            raise BadInputError("metadata_unreadable", f"{name} is no readable XML: {error}") from error
        for element in self.root.iter():
            if isinstance(element.tag, str):
                element.tag = element.tag.rpartition("}")[2]
        self.name = name

    def elements(self, path: str) -> list[ElementTree.Element]:
        """Elements at a path anywhere in the document.

        Parameters
        ----------
        path : str
            Local names joined by slashes.

        Returns
        -------
        list
            All of them in document order.
        """
        return self.root.findall(f".//{path}")

    def text(self, path: str) -> str:
        """Text of the first element at a path.

        Parameters
        ----------
        path : str
            Local names joined by slashes.

        Returns
        -------
        str
            The text without blanks around it.

        Raises
        ------
        BadInputError
            `metadata_missing`.
        """
        found = self.elements(path)
        if not found or not (found[0].text or "").strip():
            raise BadInputError("metadata_missing", f"{self.name} does not state {path}")
        return (found[0].text or "").strip()

    def either(self, *paths: str) -> str:
        """Text of the first of several paths that the document has: names change between versions of a format.

        Parameters
        ----------
        *paths : str
            Local names joined by slashes, the current one first.

        Returns
        -------
        str
            The text.

        Raises
        ------
        BadInputError
            `metadata_missing`.
        """
        return self.text(next((path for path in paths if self.elements(path)), paths[0]))

    def number(self, path: str) -> float:
        """Number in the first element at a path.

        Parameters
        ----------
        path : str
            Local names joined by slashes.

        Returns
        -------
        float
            The number.

        Raises
        ------
        BadInputError
            `metadata_missing`, `metadata_unreadable`.
        """
        return number(self.text(path), what=f"{path} of {self.name}")


def number(text: Any, *, what: str) -> float:
    """A number from its text.

    Parameters
    ----------
    text : Any
        The text.
    what : str
        What it is, for messages.

    Returns
    -------
    float
        The number.

    Raises
    ------
    BadInputError
        `metadata_unreadable`.
    """
    try:
        value = float(text)
    except (TypeError, ValueError) as error:
        raise BadInputError("metadata_unreadable", f"{what} is {text!r}, no number") from error
    if not np.isfinite(value):
        raise BadInputError("metadata_unreadable", f"{what} is {text!r}, not finite")
    return value


def moment(text: str, *, what: str) -> np.datetime64:
    """A time (UTC) from its ISO text.

    Parameters
    ----------
    text : str
        Date and time, `Z` or nothing behind it.
    what : str
        What it is, for messages.

    Returns
    -------
    np.datetime64
        The time in nanoseconds.

    Raises
    ------
    BadInputError
        `time_missing`.
    """
    try:
        found = np.datetime64(text.strip().removesuffix("Z").removesuffix("+00:00").replace(" ", "T"), "ns")
    except ValueError as error:
        raise BadInputError("time_missing", f"{what} is {text!r}, no time") from error
    if np.isnat(found):
        raise BadInputError("time_missing", f"{what} is not given")
    return found


def only(names: Sequence[str], *, what: str) -> str:
    """The one file that fits.

    Parameters
    ----------
    names : sequence of str
        Candidates.
    what : str
        What is looked for, for messages.

    Returns
    -------
    str
        The name.

    Raises
    ------
    BadInputError
        `metadata_missing` or `metadata_ambiguous`.
    """
    if not names:
        raise BadInputError("metadata_missing", f"the product holds no {what}")
    if len(names) > 1:
        raise BadInputError("metadata_ambiguous", f"the product holds {len(names)} of {what}: {', '.join(names)}")
    return names[0]
