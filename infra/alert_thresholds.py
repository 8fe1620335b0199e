"""Thresholds from which products alert, from the file in force."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from infra import settings
from processors import quality
from products import alert
from products.sectors import registry

SHIPPED = Path(__file__).parent / "parameters" / "alerts.yaml"
MEASURES = ("class_area_km2", "class_share", "objects", "exposed_assets")
CATEGORIES = ("Geo", "Met", "Safety", "Fire", "Env", "Transport", "Infra")
_NEEDED = {"product", "measure", "levels", "event_en", "event_zh", "category"}
_MAY = {"classes", "table", "valid_hours"}


def in_force() -> tuple[alert.Rule, ...]:
    """Rules of this installation: those of the operator's file, else those shipped.

    Raises
    ------
    BadInputError
        What `read` refuses.
    """
    return read(settings.current().alert_thresholds or SHIPPED)


def parameters_in_force() -> alert.AlertParameters:
    """How alerts follow each other in this installation.

    Raises
    ------
    BadInputError
        What `parameters` refuses.
    """
    return parameters(settings.current().alert_thresholds or SHIPPED)


def parameters(path: Path) -> alert.AlertParameters:
    """How alerts follow each other by a file; what it does not say is as the code has it.

    Parameters
    ----------
    path : Path
        YAML with `version`, `rules` and, if it wants, `leave_share`.

    Returns
    -------
    AlertParameters
        With the share of a threshold below which a severity falls again.

    Raises
    ------
    BadInputError
        `thresholds_invalid` as `read`.
    """
    _, leave = _read(path, _changed(path))
    return alert.AlertParameters() if leave is None else alert.AlertParameters(leave=leave)


def read(path: Path) -> tuple[alert.Rule, ...]:
    """Rules of a file.

    Parameters
    ----------
    path : Path
        YAML with `version` and `rules`.

    Returns
    -------
    tuple of Rule
        In the order of the file.

    Raises
    ------
    BadInputError
        `thresholds_invalid` naming the file, the rule and what is wrong with it.
    """
    return _read(path, _changed(path))[0]


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=4)
def _read(path: Path, _time: int) -> tuple[tuple[alert.Rule, ...], float | None]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise quality.BadInputError("thresholds_invalid", f"{path} cannot be read: {error}") from error
    named = set(loaded) if isinstance(loaded, dict) else set()
    if named - {"leave_share"} != {"version", "rules"} or not isinstance(loaded["rules"], list):
        raise quality.BadInputError("thresholds_invalid", f"{path}: a version and a list of rules are wanted")
    leave = loaded.get("leave_share")
    if leave is not None and not (isinstance(leave, int | float) and not isinstance(leave, bool) and 0 < leave <= 1):
        raise quality.BadInputError(
            "thresholds_invalid", f"{path}: leave_share is a share above 0 up to 1, not {leave!r}"
        )
    rules = tuple(_rule(entry, f"{path}: rule {number}") for number, entry in enumerate(loaded["rules"], 1))
    return rules, None if leave is None else float(leave)


def _rule(entry: Any, place: str) -> alert.Rule:
    names = set(entry) if isinstance(entry, dict) else set()
    if not names >= _NEEDED or not names <= _NEEDED | _MAY:
        wrong = sorted(str(name) for name in names - _NEEDED - _MAY) or sorted(_NEEDED - names)
        raise quality.BadInputError("thresholds_invalid", f"{place}: {', '.join(wrong)} is unknown or missing")
    for name, known in (
        ("product", {product.code for product in registry.definitions()}),
        ("measure", set(MEASURES)),
        ("category", set(CATEGORIES)),
    ):
        if entry[name] not in known:
            raise quality.BadInputError("thresholds_invalid", f"{place}: no {name} {entry[name]}")
    levels = entry["levels"]
    values = [levels.get(level) for level in alert.SEVERITIES if level in levels] if isinstance(levels, dict) else []
    numbers = [value for value in values if isinstance(value, int | float) and value > 0]
    if not values or len(numbers) < len(levels) or numbers != sorted(numbers):
        raise quality.BadInputError(
            "thresholds_invalid", f"{place}: levels rise from Minor to Extreme and are above zero, not {levels}"
        )
    _check_measure(entry, place)
    return alert.Rule(**{**entry, "classes": tuple(entry.get("classes", ())), "levels": dict(levels)})


def _check_measure(entry: dict[str, Any], place: str) -> None:
    """A measure of classes needs classes of its product, one of objects a table."""
    product = registry.definition_of(entry["product"])
    if str(entry["measure"]).startswith("class_"):
        known = {item.value for item in product.classes}
        classes = entry.get("classes", [])
        if not classes or not set(classes) <= known:
            raise quality.BadInputError(
                "thresholds_invalid", f"{place}: classes of {product.code} are {sorted(known)}, not {classes}"
            )
    elif not entry.get("table"):
        raise quality.BadInputError("thresholds_invalid", f"{place}: the measure {entry['measure']} needs a table")
