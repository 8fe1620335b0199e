"""What the commands of the imagery do about input they cannot use: one sentence and, with `--json`, one object."""

import contextlib
import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from processors.quality import BadInputError

_WRITTEN = ("out", "report")
_USAGE = ("unknown_sensor", "unknown_method", "method_unknown", "kind_unknown")
_PLACES = ("output_is_input", "unwritable")


def guarded(*beside: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have a command refuse what it cannot use, and results that would overwrite what it reads.

    Whatever goes wrong becomes one sentence that names a file, raised as `BadInputError`; with `--json` an object of
    `status`, `cause` and `reason` is printed, and put under the name of the report where one is wanted.

    Parameters
    ----------
    *beside : str
        Endings of the rasters the command writes beside its result, `_qa` for `<stem>_qa.tif`.

    Returns
    -------
    callable
        Decorator of a command; its inputs are its paths other than `out` and `report`.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def refusing(**given: Any) -> None:
            try:
                _check_places(given, beside)
                command(**given)
            except (typer.Exit, typer.Abort, typer.BadParameter):
                raise
            except Exception as error:
                refused = _refused(error, given)
                _tell(refused, given)
                raise refused from error

        # The help shows the lines of a paragraph as they are broken here; they shall fill the terminal.
        paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
        refusing.__doc__ = "\n\n".join(" ".join(part.split()) for part in paragraphs)
        return refusing

    return decorated


def _refused(error: Exception, given: Mapping[str, Any]) -> BadInputError:
    """The error as one sentence that names a file."""
    sentence = " ".join(str(error).split()) or type(error).__name__
    cause = error.cause if isinstance(error, BadInputError) else "failed"
    if cause in _USAGE:
        raise typer.BadParameter(sentence) from error
    names = [path.name for path in _inputs(given)]
    if names and not any(name in sentence for name in names) and cause not in _PLACES:
        sentence = f"{', '.join(dict.fromkeys(names))}: {sentence}"
    return BadInputError(cause, sentence)


def _tell(refused: BadInputError, given: Mapping[str, Any]) -> None:
    document = json.dumps(
        {"status": "refused", "cause": refused.cause, "reason": str(refused)}, indent=2, ensure_ascii=False
    )
    report = given.get("report")
    if report is not None and refused.cause not in _PLACES:
        # A report of an earlier run under this name would speak for this one.
        with contextlib.suppress(OSError):
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(document + "\n", encoding="utf-8")
    if given.get("as_json"):
        sys.stdout.write(document + "\n")


def _inputs(given: Mapping[str, Any]) -> Iterator[Path]:
    """Files and folders a command was told to read."""
    for name, value in given.items():
        if name in _WRITTEN:
            continue
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Path):
                yield item


def _check_places(given: Mapping[str, Any], beside: tuple[str, ...]) -> None:
    out, report = given.get("out"), given.get("report")
    if report is not None and report.suffix.lower() == ".html":
        raise typer.BadParameter(f"--report {report}: name the JSON; the page is put beside it as .html")
    results = [] if out is None else [out, *(out.with_name(f"{out.stem}{ending}.tif") for ending in beside)]
    results += [] if report is None else [report, report.with_suffix(".html")]
    if len({path.resolve() for path in results}) < len(results):
        raise typer.BadParameter(f"--out {out} and --report {report} would be one file")
    taken = list(_inputs(given))
    for path in results:
        _check_free(path, taken)
        _check_writable(path)


def _check_free(path: Path, taken: list[Path]) -> None:
    """Refuse a result that is an input, its mask, or a file of an input folder."""
    place = path.resolve()
    for used in taken:
        own = [used.resolve(), used.with_name(f"{used.stem}_mask.tif").resolve()]
        part = place.is_file() and used.resolve() in place.parents
        if part or place in own or _holds_links_into(used, place):
            raise BadInputError("output_is_input", f"{path} is or holds an input: choose another name for the result")


def _holds_links_into(used: Path, place: Path) -> bool:
    """Whether a folder's files are links to files in the place of the results."""
    return used.is_dir() and any(item.is_symlink() and item.resolve().parent == place for item in used.iterdir())


def _check_writable(path: Path) -> None:
    if path.is_dir() and path.suffix:
        raise BadInputError("unwritable", f"{path} is a folder: a file cannot be written there")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise BadInputError("unwritable", f"{path} cannot be written: {parent} is no folder open to writing")
