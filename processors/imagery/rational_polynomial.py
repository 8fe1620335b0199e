"""Rational polynomial camera model in the RPC00B form.

NGA STDI-0002, appendix E: line and sample are ratios of cubic polynomials of normalized latitude P, longitude L and
height H above the WGS 84 ellipsoid, with the terms in the order of RPC00B. Line 0, sample 0 is the center of the first
pixel.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from processors.arrays import FloatArray
from processors.imagery import scene_layers
from processors.quality import BadInputError

TERMS = 20
"""Coefficients of a polynomial [1]."""

_GDAL_COEFFICIENTS = ("LINE_NUM_COEFF", "LINE_DEN_COEFF", "SAMP_NUM_COEFF", "SAMP_DEN_COEFF")
_RPB_COEFFICIENTS = ("lineNumCoef", "lineDenCoef", "sampNumCoef", "sampDenCoef")
_GDAL_SCALARS = ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")
_RPB_SCALARS = ("line", "samp", "lat", "long", "height")
_REACH = 1.2
_ITERATIONS = 20


class RationalPolynomial(NamedTuple):
    """An image's camera model."""

    offset: FloatArray
    """Line, sample [pixel], latitude, longitude [degree] and height [m] of the middle."""
    scale: FloatArray
    """Half the range of the same five."""
    coefficients: FloatArray
    """Line numerator and denominator, sample numerator and denominator (4, 20)."""

    def project(self, longitude: FloatArray, latitude: FloatArray, height: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Image position of places.

        Parameters
        ----------
        longitude, latitude : FloatArray
            Geodetic position [degree].
        height : FloatArray
            Height above the ellipsoid [m].

        Returns
        -------
        tuple of FloatArray
            Row and column, pixel centers at 0, 1, ... [pixel]; NaN beyond the model's range.
        """
        p, length, h = (
            (np.asarray(value, dtype=np.float64) - self.offset[k]) / self.scale[k]
            for value, k in ((latitude, 2), (longitude, 3), (height, 4))
        )
        terms = _terms(p, length, h)
        ratios = [
            _polynomial(self.coefficients[k], terms) / _polynomial(self.coefficients[k + 1], terms) for k in (0, 2)
        ]
        within = (np.abs(p) <= _REACH) & (np.abs(length) <= _REACH) & (np.abs(h) <= _REACH)
        row, column = (ratio * self.scale[k] + self.offset[k] for k, ratio in enumerate(ratios))
        return np.where(within, row, np.nan), np.where(within, column, np.nan)

    def shifted(self, rows: float, columns: float) -> "RationalPolynomial":
        """The model moved by its mean error at ground control points or against a reference image.

        Parameters
        ----------
        rows, columns : float
            Observed minus projected image position [pixel].

        Returns
        -------
        RationalPolynomial
            The corrected model.
        """
        return self._replace(offset=self.offset + np.array([rows, columns, 0.0, 0.0, 0.0]))

    def ground(self, row: FloatArray, column: FloatArray, height: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Place an image position looks at on a given height, the inverse of `project` by Newton's method.

        Parameters
        ----------
        row, column : FloatArray
            Image position [pixel].
        height : FloatArray
            Height above the ellipsoid [m].

        Returns
        -------
        tuple of FloatArray
            Longitude and latitude [degree]; NaN where none is found within the model's range.
        """
        row, column, level = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (row, column, height)))
        east, north = np.full(row.shape, self.offset[3]), np.full(row.shape, self.offset[2])
        step = 1e-4 * self.scale
        for _ in range(_ITERATIONS):
            at = self.project(east, north, level)
            by_east = [(b - a) / step[3] for a, b in zip(at, self.project(east + step[3], north, level), strict=True)]
            by_north = [(b - a) / step[2] for a, b in zip(at, self.project(east, north + step[2], level), strict=True)]
            determinant = by_east[0] * by_north[1] - by_east[1] * by_north[0]
            off = row - at[0], column - at[1]
            east = east + (by_north[1] * off[0] - by_north[0] * off[1]) / determinant
            north = north + (by_east[0] * off[1] - by_east[1] * off[0]) / determinant
            east = np.clip(east, *(self.offset[3] + side * _REACH * self.scale[3] * 0.99 for side in (-1, 1)))
            north = np.clip(north, *(self.offset[2] + side * _REACH * self.scale[2] * 0.99 for side in (-1, 1)))
        left = np.hypot(*(a - b for a, b in zip(self.project(east, north, level), (row, column), strict=True)))
        return np.where(left < 1e-3, east, np.nan), np.where(left < 1e-3, north, np.nan)


def model_from_tags(tags: Mapping[str, str], *, name: str) -> RationalPolynomial:
    """Camera model from the RPC metadata GDAL reads of a file.

    Parameters
    ----------
    tags : Mapping
        Keys `LINE_OFF` ... `SAMP_DEN_COEFF`.
    name : str
        The file, for messages.

    Returns
    -------
    RationalPolynomial
        The model.

    Raises
    ------
    BadInputError
        `camera_model_missing`.
    """
    offset = [_number(tags, f"{key}_OFF", name) for key in _GDAL_SCALARS]
    scale = [_number(tags, f"{key}_SCALE", name) for key in _GDAL_SCALARS]
    rows = [_coefficients(tags.get(key, ""), key, name) for key in _GDAL_COEFFICIENTS]
    return _checked(offset, scale, rows, name)


def model_from_text(text: str, *, name: str) -> RationalPolynomial:
    """Camera model from a `.rpb` file or a `_RPC.TXT` / `.rpc` file.

    Parameters
    ----------
    text : str
        Contents.
    name : str
        The file, for messages.

    Returns
    -------
    RationalPolynomial
        The model.

    Raises
    ------
    BadInputError
        `camera_model_missing`, `camera_model_unknown` for the form RPC00A.
    """
    if "RPC00A" in text:
        raise BadInputError("camera_model_unknown", f"{name}: the order of terms of RPC00A is not read")
    if re.search(r"\blineNumCoef\b", text):
        found = dict(re.findall(r"(\w+)\s*=\s*(\([^)]*\)|[^;\n]+)", text))
        offset = [_number(found, f"{key}Offset", name) for key in _RPB_SCALARS]
        scale = [_number(found, f"{key}Scale", name) for key in _RPB_SCALARS]
        rows = [_coefficients(found.get(key, "").strip("() \t\r\n"), key, name) for key in _RPB_COEFFICIENTS]
        return _checked(offset, scale, rows, name)
    found = {key.upper(): value for key, value in re.findall(r"^\s*(\w+)\s*[:=]\s*([-+\d.eE]+)", text, re.MULTILINE)}
    for key in _GDAL_COEFFICIENTS:
        found[key] = " ".join(found.get(f"{key}_{k}", "") for k in range(1, TERMS + 1))
    return model_from_tags(found, name=name)


def _checked(offset: list[float], scale: list[float], rows: list[FloatArray], name: str) -> RationalPolynomial:
    if min(abs(value) for value in scale) == 0.0:
        raise BadInputError("camera_model_missing", f"{name}: a scale of the camera model is 0")
    if abs(offset[2]) > 90.0 or abs(offset[3]) > 360.0:
        raise BadInputError("axes_swapped", f"{name}: latitude {offset[2]:g}, longitude {offset[3]:g}")
    return RationalPolynomial(np.array(offset), np.array(scale), np.stack(rows))


def _number(found: Mapping[str, str], key: str, name: str) -> float:
    text = str(found.get(key, "")).strip().split()
    if not text:
        raise BadInputError("camera_model_missing", f"{name}: the camera model lacks {key}")
    return scene_layers.number(text[0], what=f"{key} of {name}")


def _coefficients(text: str, key: str, name: str) -> FloatArray:
    parts = text.replace(",", " ").split()
    if len(parts) != TERMS:
        raise BadInputError("camera_model_missing", f"{name}: {len(parts)} instead of {TERMS} of {key}")
    return np.array([scene_layers.number(part, what=f"{key} of {name}") for part in parts])


def _terms(p: FloatArray, length: FloatArray, h: FloatArray) -> tuple[Any, ...]:
    """The twenty terms in the order of RPC00B."""
    return (
        1.0,
        length,
        p,
        h,
        length * p,
        length * h,
        p * h,
        length**2,
        p**2,
        h**2,
        p * length * h,
        length**3,
        length * p**2,
        length * h**2,
        length**2 * p,
        p**3,
        p * h**2,
        length**2 * h,
        p**2 * h,
        h**3,
    )


def _polynomial(coefficients: FloatArray, terms: tuple[Any, ...]) -> Any:
    return sum(c * t for c, t in zip(coefficients, terms, strict=True))
