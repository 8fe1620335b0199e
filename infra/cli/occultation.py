"""Commands of the occultation retrieval."""

import json
import time
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import track

app = typer.Typer(no_args_is_help=True, help="Radio occultations: excess phase to profiles of the atmosphere.")


@app.command()
def retrieve(
    files: list[Path] = typer.Argument(..., help="Level-1 files, recognised by content."),
    out: Path = typer.Option(..., "--out", file_okay=False, help="Folder for the profiles and report.json."),
) -> None:
    """Retrieve bending angle, refractivity and dry temperature; one CF NetCDF per occultation.

    OUT/report.json says for every input what became of it and why. Rejected inputs leave the exit status 0; unreadable
    ones, and errors that are not the input's, make it 1.
    """
    out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    rows = [
        _retrieve_one(path, out)
        for path in track(files, "retrieving", console=console, disable=not console.is_terminal)
    ]
    for row in rows:
        if row["reason"]:
            console.print(
                f"{row['input']}: {row['status']}: {row['reason']}", highlight=False, markup=False, soft_wrap=True
            )
    failed = [row for row in rows if row["status"] in {"unreadable", "failed"}]
    for row in failed:
        row["status"] = "rejected"
    (out / "report.json").write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    raise typer.Exit(1 if failed else 0)


def _retrieve_one(path: Path, out: Path) -> dict[str, Any]:
    from infra.stages import occultation
    from processors import quality
    from products import schema

    started = time.perf_counter()
    row: dict[str, Any] = {"input": str(path), "output": None, "status": "ok", "quality_flags": [], "reason": None}
    try:
        made = occultation.profile_from_file(path.read_bytes(), name=path.name)
    except OSError as error:
        row |= {"status": "unreadable", "reason": str(error)}
    except quality.BadInputError as error:
        unreadable = error.cause in {"unreadable", "empty"}
        row |= {"status": "unreadable" if unreadable else "rejected", "reason": f"{error}"}
    except schema.SchemaError as error:
        row |= {"status": "rejected", "reason": f"the retrieved profile breaks its table of variables: {error}"}
    except Exception as error:  # noqa: BLE001  a batch never dies of one file, whatever it met
        row |= {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    else:
        target = out / f"{made.occultation_id}.nc"
        target.write_bytes(made.netcdf)
        row |= {"output": str(target), "quality_flags": made.quality_flags}
        row["status"] = "flagged" if made.quality_flags else "ok"
    return row | {"seconds": round(time.perf_counter() - started, 3)}


@app.command()
def plot(
    file: Path = typer.Argument(..., exists=True, dir_okay=False, help="Profile made by `retrieve`."),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="PNG to write."),
) -> None:
    """Draw a profile: bending angle, refractivity and dry temperature with their uncertainty."""
    from products import netcdf, profile_plot

    try:
        drawn = profile_plot.plot(netcdf.decode(file.read_bytes()))
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ValueError(f"{file} is no profile made by `terralimb occultation retrieve`") from error
    out.write_bytes(drawn)
    Console().print(f"drawn in {out}")
