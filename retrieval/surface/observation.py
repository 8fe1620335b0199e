"""Which pixels of a fused dataset may be used, and how they were obtained.

The fused dataset carries a bit field ``qa`` (time, y, x). Every retrieval asks here whether a pixel may be used, so
that the rule is stated once.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from processors import quality
from processors.imagery import qa as qa_bits

OBSTRUCTED = qa_bits.QaBit.CLOUD | qa_bits.QaBit.SHADOW
UNUSABLE_OPTICAL = qa_bits.QaBit.NODATA | qa_bits.QaBit.SATURATED | qa_bits.QaBit.COREGISTRATION_FAILED
UNUSABLE_RADAR = qa_bits.QaBit.LAYOVER | qa_bits.QaBit.RADAR_SHADOW | qa_bits.QaBit.COREGISTRATION_FAILED
NOT_CLEAR = OBSTRUCTED | UNUSABLE_OPTICAL | qa_bits.QaBit.FILLED


class Estimate(NamedTuple):
    """A value with its standard uncertainty; both are NaN where there is no value.

    Attributes
    ----------
    value : xr.DataArray
        Estimated quantity; its unit is stated by the function that returns it.
    sigma : xr.DataArray
        One standard deviation, same shape and unit as `value`.
    """

    value: xr.DataArray
    sigma: xr.DataArray


def flagged(qa: xr.DataArray, flag: qa_bits.QaBit) -> xr.DataArray:
    """Pixels on which any bit of the flag is set.

    Parameters
    ----------
    qa : xr.DataArray
        Bit field of the fused dataset.
    flag : QaBit
        One bit or several.

    Returns
    -------
    xr.DataArray
        Boolean, shape of `qa`.
    """
    return (qa.astype(np.int64) & int(flag)) != 0


def optical_usable(fused: xr.Dataset) -> xr.DataArray:
    """Pixels whose reflectance may be used: observed clear, or filled on a date that was otherwise observed.

    A filled pixel of a date with insufficient observations is mere interpolation between other dates and says
    nothing of its own.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset.

    Returns
    -------
    xr.DataArray
        Boolean (time, y, x).
    """
    filled = flagged(fused["qa"], qa_bits.QaBit.FILLED)
    hidden = flagged(fused["qa"], OBSTRUCTED) & ~filled
    invented = flagged(fused["qa"], qa_bits.QaBit.INSUFFICIENT) & filled
    known = fused["reflectance"].notnull().any("band") & ~flagged(fused["qa"], UNUSABLE_OPTICAL)
    return known & ~hidden & ~invented


def radar_usable(fused: xr.Dataset) -> xr.DataArray:
    """Pixels whose backscatter may be used: finite, outside layover and radar shadow.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset; without ``backscatter`` no pixel is usable.

    Returns
    -------
    xr.DataArray
        Boolean (time, y, x).
    """
    if "backscatter" not in fused:
        return xr.zeros_like(fused["qa"], dtype=bool)
    return fused["backscatter"].notnull().any("polarization") & ~flagged(fused["qa"], UNUSABLE_RADAR)


def clear(fused: xr.Dataset) -> xr.DataArray:
    """Pixels the optical sensor saw itself, without cloud, shadow or filling.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset.

    Returns
    -------
    xr.DataArray
        Boolean (time, y, x).
    """
    return fused["reflectance"].notnull().any("band") & ~flagged(fused["qa"], NOT_CLEAR)


def reflectance(fused: xr.Dataset) -> Estimate:
    """Usable reflectance and its uncertainty, NaN elsewhere.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset.

    Returns
    -------
    Estimate
        Reflectance (time, band, y, x) [1].

    Raises
    ------
    processors.quality.BadInputError
        Where a variable of the contract is missing (cause ``variable_missing``).
    """
    missing = [name for name in ("reflectance", "reflectance_sigma", "qa") if name not in fused]
    if missing:
        raise quality.BadInputError("variable_missing", f"the fused dataset has no variable {', '.join(missing)}")
    usable = optical_usable(fused)
    return Estimate(fused["reflectance"].where(usable), fused["reflectance_sigma"].where(usable))


def dates_with_share(usable: xr.DataArray, *, minimum_share: float) -> npt.NDArray[np.intp]:
    """Positions in time at which enough of the area is usable.

    Parameters
    ----------
    usable : xr.DataArray
        Boolean (time, y, x).
    minimum_share : float
        Least share of usable pixels [1]; a date without any usable pixel never counts.

    Returns
    -------
    numpy.ndarray
        Increasing positions, possibly none.
    """
    share = usable.mean(("y", "x")).values
    return np.flatnonzero((share > 0) & (share >= minimum_share))
