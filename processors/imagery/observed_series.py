"""Scenes as they were observed, ready for products: masked and flagged, nothing filled.

The quick way to a product when minutes count, and the right one where only what was seen may speak: a fire or a flood
is not to be interpolated.
"""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.imagery import cloud_mask, grid, qa
from processors.quality import BadInputError

CLOUD_BANDS = frozenset({"blue", "green", "red", "nir"})
"""Bands without which there is no cloud mask."""
_RADAR_ONLY = ("green", "red", "nir")
"""Bands of a radar-only series, all without data, so that it has the shape products read."""


@dataclass(frozen=True, kw_only=True)
class ObservedParameters:
    """What is taken for the uncertainty of a single look, and how clouds are told.

    Parameters
    ----------
    relative_sigma : float
        Part of the standard uncertainty that grows with the reflectance [1].
    absolute_sigma : float
        Part that is always there [1].
    cloud : CloudMaskParameters
        Thresholds of the cloud mask.
    """

    relative_sigma: float = 0.05
    absolute_sigma: float = 0.005
    cloud: cloud_mask.CloudMaskParameters = field(default_factory=cloud_mask.CloudMaskParameters)


def observed(
    scenes: xr.Dataset, *, geobox: GeoBox, area: str, parameters: ObservedParameters | None = None
) -> xr.Dataset:
    """Series of the dates of a scene stack, masked and with an uncertainty.

    Parameters
    ----------
    scenes : xr.Dataset
        Scene stack with `reflectance` (time, band, y, x) [1], `backscatter` (time, polarization, y, x) [dB] or both.
    geobox : GeoBox
        Its grid.
    area : str
        Name of the area.
    parameters : ObservedParameters, optional
        Uncertainty and cloud mask.

    Returns
    -------
    xr.Dataset
        `reflectance` and `reflectance_sigma` (time, band, y, x) [1], NaN where not observed, `qa` (time, y, x), and
        `backscatter` [dB] where there is some. Without blue, green, red and nir clouds are not told, and the attribute
        `warnings` says so.

    Raises
    ------
    BadInputError
        `no_scene` where there is neither reflectance nor backscatter.
    """
    chosen = parameters or ObservedParameters()
    if "reflectance" in scenes:
        series = _optical(scenes, chosen)
    elif "backscatter" in scenes:
        series = _radar(scenes)
    else:
        raise BadInputError("no_scene", "the stack holds neither reflectance nor backscatter")
    attributes = {**scenes.attrs, **series.attrs, "area": area}
    return grid.assign(series.assign_attrs(attributes), geobox)


def _optical(scenes: xr.Dataset, parameters: ObservedParameters) -> xr.Dataset:
    values = scenes["reflectance"].transpose("time", "band", "y", "x")
    sigma = parameters.absolute_sigma + parameters.relative_sigma * np.abs(values)
    series = scenes.assign(reflectance=values, reflectance_sigma=sigma.astype(np.float32))
    missing = values.isnull().any("band")
    bits = missing.astype(np.uint16) * np.uint16(qa.QaBit.NODATA)
    if not {str(band) for band in values["band"].values} >= CLOUD_BANDS:
        words = "clouds were not told: the scene lacks one of blue, green, red, nir"
        said = "; ".join(text for text in (scenes.attrs.get("warnings"), words) if text)
        return series.assign(qa=bits).assign_attrs(warnings=said)
    classes = cloud_mask.classify(scenes, parameters=parameters.cloud)["cloud_class"].values
    cloudy = np.isin(classes, (cloud_mask.THIN_CLOUD, cloud_mask.CLOUD)).astype(np.uint16)
    shadowed = (classes == cloud_mask.SHADOW).astype(np.uint16)
    bits = bits | cloudy * np.uint16(qa.QaBit.CLOUD) | shadowed * np.uint16(qa.QaBit.SHADOW)
    return series.assign(qa=bits.astype(np.uint16))


def _radar(scenes: xr.Dataset) -> xr.Dataset:
    backscatter = scenes["backscatter"].transpose("time", "polarization", "y", "x")
    dates, _, rows, columns = backscatter.shape
    empty = np.full((dates, len(_RADAR_ONLY), rows, columns), np.nan, dtype=np.float32)
    missing = backscatter.isnull().any("polarization")
    axes = ("time", "band", "y", "x")
    return scenes.assign(
        backscatter=backscatter,
        reflectance=(axes, empty),
        reflectance_sigma=(axes, empty.copy()),
        qa=missing.astype(np.uint16) * np.uint16(qa.QaBit.NODATA),
    ).assign_coords(band=list(_RADAR_ONLY))
