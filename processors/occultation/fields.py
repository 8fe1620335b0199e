"""Reading variables of files whose fill values, texts and shapes differ by center."""

import numpy as np
import xarray as xr

from processors.arrays import FloatArray
from processors.quality import BadInputError

FILL = 1.0e30
"""Magnitude from which a number is a netCDF default fill value, 9.97e36 [1]."""
MISSIONS = {
    "c00": "cosmic-1",
    "c2e": "cosmic-2",
    "met": "metop",
    "cha": "champ",
    "gra": "grace",
    "fy3": "fengyun-3",
    "tsx": "terrasar-x",
    "tdx": "tandem-x",
    "kom": "kompsat-5",
    "paz": "paz",
}


def text(value: object) -> str:
    """Text of a character variable or attribute.

    Parameters
    ----------
    value : object
        Bytes, string, or an array of characters.

    Returns
    -------
    str
        The text without padding.
    """
    if isinstance(value, xr.DataArray):
        value = value.to_numpy()
    if isinstance(value, np.ndarray):
        value = b"".join(value.astype("S").ravel().tolist())
    decoded = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return decoded.strip("\x00 ")


def numbers(dataset: xr.Dataset, name: str, *, missing: tuple[float, ...] = ()) -> FloatArray:
    """Values of a variable, fill values as NaN.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file.
    name : str
        Variable.
    missing : tuple
        Numbers by which the layout means a missing value, in any unit.

    Returns
    -------
    FloatArray
        Values in the unit of the file [1], with the shape of the variable.
    """
    try:
        values = dataset[name].to_numpy().astype(np.float64)
    except (TypeError, ValueError) as error:
        raise BadInputError("unreadable", f"{name} holds no numbers: {error}") from error
    empty = ~(np.abs(values) < FILL) | np.isin(values, missing)
    return np.where(empty, np.nan, values)


def require_variables(dataset: xr.Dataset, names: tuple[str, ...], *, layout: str, cause: str) -> None:
    """Refuse a file that lacks variables of its layout.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file.
    names : tuple
        Variables needed.
    layout : str
        Name of the layout.
    cause : str
        Cause of the refusal.

    Raises
    ------
    BadInputError
        The cause given, with the variables that are missing.
    """
    absent = [name for name in names if name not in dataset.variables]
    if absent:
        raise BadInputError(cause, f"the {layout} file lacks {', '.join(absent)}")


def mission_of(receiver: str) -> str:
    """Mission of a receiver, from the first letters of its name.

    Parameters
    ----------
    receiver : str
        Name of the receiver.

    Returns
    -------
    str
        Mission, or unknown.
    """
    return MISSIONS.get(receiver[:3].lower(), "unknown")
