"""Lists of fires in files: read, cut to a box, joined with districts, written as a vector file."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infra.surface import operator_layers
from processors.imagery import fire_list
from processors.quality import BadInputError
from products import vector
from products.sectors import fire_list as product
from products.sectors import statistics


def read(path: Path) -> fire_list.Reading:
    """Fires of a file.

    Parameters
    ----------
    path : Path
        CSV of FIRMS.

    Returns
    -------
    Reading
        Fires, and what was left out and why.

    Raises
    ------
    BadInputError
        `unreadable`; `columns_missing`, `empty` naming the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError("unreadable", f"{path} is no readable list of fires: {error}") from error
    try:
        return fire_list.parse(text)
    except BadInputError as error:
        raise BadInputError(error.cause, f"{path}: {error}") from error


def run(
    source: Path | str,
    out: Path | str,
    *,
    districts: Path | str | None = None,
    bounds: tuple[float, float, float, float] | None = None,
) -> dict[str, Any]:
    """Fires of a list with the district each lies in.

    Parameters
    ----------
    source : Path or str
        CSV of FIRMS.
    out : Path or str
        Vector file to write, its format by its suffix.
    districts : Path or str, optional
        Outlines of the districts.
    bounds : tuple of float, optional
        West, south, east, north; fires outside are left out and counted [degree].

    Returns
    -------
    dict
        Report: `status`, rows read, bad rows by reason, duplicates, fires written, by district, warnings.

    Raises
    ------
    BadInputError
        `suffix_unknown`, `no_data` where no row can be used; what the files lack.
    """
    target = Path(out)
    if target.suffix.lower() not in vector.DRIVERS:
        raise BadInputError("suffix_unknown", f"{target.name}: fires are written as {', '.join(vector.DRIVERS)}")
    reading = read(Path(source))
    bad = sum(reading.bad.values())
    if reading.rows and bad == reading.rows:
        raise BadInputError("no_data", f"{source}: none of its {bad} rows is a fire: {', '.join(reading.named[:3])}")
    fires = reading.fires
    inside = np.ones(len(fires.longitude), dtype=bool) if bounds is None else fire_list.within(fires, bounds)
    kept = fire_list.selected(fires, inside)
    zones = [] if districts is None else operator_layers.districts(Path(districts))
    owner = product.district(kept, zones)
    vector.write([product.table(kept, zones=zones, owner=owner)], target)
    return _report(reading, kept, zones, owner, int((~inside).sum()))


def _report(
    reading: fire_list.Reading,
    kept: fire_list.FireList,
    zones: list[statistics.Zone],
    owner: npt.NDArray[np.int64],
    outside: int,
) -> dict[str, Any]:
    bad = sum(reading.bad.values())
    warnings = [f"{bad} of {reading.rows} rows are no fires: {', '.join(reading.named[:3])}"] if bad else []
    report: dict[str, Any] = {
        "status": "flagged" if bad else "ok",
        "rows": reading.rows,
        "bad_rows": bad,
        "bad_rows_by_reason": dict(reading.bad),
        "bad_rows_named": list(reading.named),
        "duplicates": reading.duplicates,
        "outside_box": outside,
        "fires": len(kept.longitude),
        "warnings": warnings,
    }
    if zones:
        report["outside_districts"] = int((owner < 0).sum())
        report["districts"] = product.counted(kept, zones=zones, owner=owner)
    return report
