"""The shadow border: where the field in impact parameter ends, whatever the height.

Rays of every impact parameter above that of the ray that grazes the surface (or the critical layer) arrive, none below:
the amplitude of the transformed field is a step there (Gorbunov 2002).
"""

import numpy as np

from processors.arrays import FloatArray

SMALLEST_STEP = 0.2
DARK = 0.2
"""Mean amplitude of a layer that lies in the shadow altogether [1]."""


def border(amplitude: FloatArray, *, impact_parameter: FloatArray, thickness: tuple[float, ...]) -> float:
    """Impact parameter of the step of the amplitude.

    The step that leaves the least squares among all functions of two values, the greater above.

    Parameters
    ----------
    amplitude : FloatArray
        Amplitude by level [1], NaN where unknown, shape (m,).
    impact_parameter : FloatArray
        Levels [m], increasing.
    thickness : tuple
        Thickness of the layer above the lowest level in which the step is sought [m]: the next where all of it is dark.

    Returns
    -------
    float
        Impact parameter of the lowest lit level [m]; the lowest level where there is no shadow in the record, NaN where
        nothing is known.
    """
    known = np.flatnonzero(np.isfinite(amplitude))
    if known.size < 8:
        return float("nan")
    for reach in thickness:
        low = known[impact_parameter[known] <= impact_parameter[known[0]] + reach]
        if np.mean(amplitude[low]) > DARK:
            break
    values = np.minimum(amplitude[low], 2.0)
    count = np.arange(1, values.size)
    below = np.cumsum(values)[:-1] / count
    above = (values.sum() - np.cumsum(values)[:-1]) / (values.size - count)
    gain = count * (values.size - count) / values.size * (above - below) ** 2 * (above > below)
    step = int(np.argmax(gain))
    if above[step] - below[step] < SMALLEST_STEP * above[step]:
        return float(impact_parameter[low[0]])
    return float(impact_parameter[low[step + 1]])
