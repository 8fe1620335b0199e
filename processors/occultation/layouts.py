"""Which layout a dataset has, by its content and never by its name."""

from collections.abc import Callable
from typing import TypeVar

import xarray as xr

from processors.occultation import aws, record, ropp, ucar
from processors.quality import BadInputError

Record = TypeVar("Record")


def phase_record(dataset: xr.Dataset) -> record.PhaseRecord:
    """Phases and orbits of a file of another center.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file (times not decoded).

    Returns
    -------
    record.PhaseRecord
        What the file holds.

    Raises
    ------
    BadInputError
        `unknown_schema` where the layout is not known, `not_level1a` where it holds bending angles only, and what the
        layouts refuse.
    """
    readers = (
        (ropp.recognizes, ropp.phase_record),
        (aws.recognizes, aws.phase_record),
        (ucar.recognizes_phases, ucar.phase_record),
    )
    for recognizes, reader in readers:
        if recognizes(dataset):
            return _fitting(_parsed(dataset, reader))
    if ucar.recognizes_bending(dataset):
        raise BadInputError("not_level1a", "the UCAR atmPrf file holds bending angles, no excess phases")
    known = ", ".join(sorted(str(name) for name in dataset.variables)[:6])
    raise BadInputError(
        "unknown_schema",
        "the dataset is neither ROPP netCDF, AWS calibratedPhase v1.1 or v2.0, UCAR atmPhs, conPhs or atmPrf, nor level"
        f" 1B of terralimb (it holds: {known or 'nothing'})",
    )


def bending_record(dataset: xr.Dataset) -> record.BendingRecord | None:
    """Bending angles of a file that has no phases.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file (times not decoded).

    Returns
    -------
    record.BendingRecord or None
        None where the file is of no layout with bending angles, or has phases, which come first.

    Raises
    ------
    BadInputError
        What the layouts refuse.
    """
    if ropp.recognizes(dataset) and ropp.holds_bending(dataset) and not ropp.holds_phases(dataset):
        return _parsed(dataset, ropp.bending_record)
    if ucar.recognizes_bending(dataset) and not ucar.recognizes_phases(dataset):
        return _parsed(dataset, ucar.bending_record)
    return None


def _parsed(dataset: xr.Dataset, reader: Callable[[xr.Dataset], Record]) -> Record:
    """What a reader makes of a file; one whose variables do not fit together is bad input, not a broken program."""
    try:
        return reader(dataset)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise BadInputError("malformed", f"the variables of the file do not fit together: {error}") from error


def _fitting(rows: record.PhaseRecord) -> record.PhaseRecord:
    """Refuse variables of different lengths."""
    count = rows.time.size
    shapes = {
        "excess phase": (rows.excess_phase.shape, (2, count)),
        "signal strength": (rows.snr.shape, (2, count)),
        "receiver position": (rows.receiver.position.shape, (count, 3)),
        "transmitter position": (rows.transmitter.position.shape, (count, 3)),
    }
    for name, (shape, expected) in shapes.items():
        if shape != expected:
            raise BadInputError("malformed", f"{name} has the shape {shape} instead of {expected}")
    return rows
