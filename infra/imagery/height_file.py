"""Heights from files: numbers that stand for no height, though the file does not say so."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

LOWEST, HIGHEST = -1000.0, 9500.0
"""Heights of the ground lie between these [m]."""


def plausible(heights: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], float]:
    """Take out what cannot be a height, such as an undeclared -9999 or -32768, and what was interpolated with it.

    Parameters
    ----------
    heights : array
        Heights (y, x) [m], NaN where there are none.

    Returns
    -------
    tuple
        Heights without the impossible ones and their neighbors, and the share of pixels taken out [1].
    """
    impossible = (heights < LOWEST) | (heights > HIGHEST)
    if not impossible.any():
        return heights, 0.0
    touched = ndimage.binary_dilation(impossible, np.ones((3, 3), dtype=np.bool_))
    return np.where(touched, np.float32(np.nan), heights), float(np.mean(touched & np.isfinite(heights)))
