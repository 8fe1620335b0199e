"""One door for every level-1 file: excess phases become level 1B, bending angles a bending profile."""

import xarray as xr

from processors.occultation import bending_profile, layouts, level1b


def read(dataset: xr.Dataset) -> xr.Dataset:
    """Recognise a dataset by its content and bring it to a contract.

    Parameters
    ----------
    dataset : xr.Dataset
        An opened file (times not decoded).

    Returns
    -------
    xr.Dataset
        Level 1B (attribute level 1b, see `level1b`) where the file holds excess phases, a bending profile (level 2a,
        see `bending_profile`) where it holds bending angles only.

    Raises
    ------
    BadInputError
        `unknown_schema` where it is none of the known formats, and what reading and checking refuse.
    """
    if dataset.attrs.get("level") == "2a" and "bending_angle" in dataset.variables:
        return bending_profile.require(dataset)
    if not level1b.recognizes(dataset):
        rows = layouts.bending_record(dataset)
        if rows is not None:
            return bending_profile.profile_from_record(rows)
    return level1b.level1b_from_dataset(dataset)
