"""Calibration set of our imager as the installation holds it."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml

from processors.imagery import detector_calibration, line_packet, radiometry
from processors.quality import BadInputError

DEFAULT = Path(__file__).resolve().parents[1] / "parameters" / "imager_calibration.yaml"

_BAND_FIELDS = ("dark", "responsivity", "solar_irradiance", "saturation", "read_noise", "conversion")


def load(path: Path = DEFAULT, *, pixels: int = 2048) -> detector_calibration.DetectorCalibration:
    """Read the calibration set in force.

    Parameters
    ----------
    path : Path
        YAML file of the set; a NetCDF file it names holds the values of the detectors.
    pixels : int
        Detectors of a band, where no such file is named [1].

    Returns
    -------
    DetectorCalibration
        The set.

    Raises
    ------
    BadInputError
        `calibration_version` where the layout or the version of the named file is another, `calibration_missing` where
        something is absent.
    """
    stated: dict[str, Any] = yaml.safe_load(path.read_text())
    if stated.get("layout") != detector_calibration.LAYOUT:
        raise BadInputError("calibration_version", f"{path.name} is of layout {stated.get('layout')}")
    if stated.get("detectors"):
        return _of_detectors(path.parent / str(stated["detectors"]), version=str(stated.get("version")))
    try:
        return _of_bands(stated, pixels)
    except (KeyError, TypeError) as error:
        raise BadInputError("calibration_missing", f"{path.name} lacks {error}") from error


def _of_detectors(path: Path, *, version: str) -> detector_calibration.DetectorCalibration:
    if not path.is_file():
        raise BadInputError("calibration_missing", f"calibration file {path.name} is not there")
    with xr.open_dataset(path) as dataset:
        return detector_calibration.calibration_from_dataset(dataset.load(), version=version)


def _of_bands(stated: dict[str, Any], pixels: int) -> detector_calibration.DetectorCalibration:
    values = {name: tuple(float(stated["bands"][band][name]) for band in line_packet.BANDS) for name in _BAND_FIELDS}
    bands = radiometry.RadiometricCalibration(
        version=str(stated["version"]),
        dark=values["dark"],
        responsivity=values["responsivity"],
        solar_irradiance=values["solar_irradiance"],
    )
    limits = [stated[name] for name in ("valid_from", "valid_until")]
    shape = (len(line_packet.BANDS), pixels)
    return detector_calibration.DetectorCalibration(
        radiometric=bands,
        dark=np.broadcast_to(np.asarray(values["dark"])[:, None], shape).copy(),
        dark_slope=np.zeros(shape),
        reference_temperature=293.15,
        relative_gain=np.ones(shape),
        nonlinearity=np.zeros((shape[0], 2)),
        bad=np.zeros(shape, dtype=np.bool_),
        saturation=np.asarray(values["saturation"]),
        read_noise=np.asarray(values["read_noise"]),
        conversion=np.asarray(values["conversion"]),
        relative_uncertainty=float(stated["relative_uncertainty"]),
        valid_from=None if limits[0] is None else np.datetime64(limits[0]),
        valid_until=None if limits[1] is None else np.datetime64(limits[1]),
    )
