"""The command `surface exposure`."""

from pathlib import Path

import typer

from infra.cli import raster_command, refusal


@refusal.guarded()
def exposure(
    hazard: Path = typer.Option(
        ..., "--hazard", exists=True, dir_okay=False, help="Raster of classes and probability, or objects (.gpkg)."
    ),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="Vector file to write: .gpkg, .fgb or .geojson."),
    assets: Path | None = typer.Option(
        None, "--assets", exists=True, dir_okay=False, help="Dams, tunnels, unstable rock, settlements and others."
    ),
    segments: Path | None = typer.Option(
        None, "--segments", exists=True, dir_okay=False, help="Segments of roads and bridges."
    ),
    classes: str = typer.Option("1", "--classes", help="Classes of the raster that are the hazard, as 2,3."),
    band: int = typer.Option(1, "--band", min=1, help="Band of the classes."),
    probability_band: int = typer.Option(2, "--probability-band", min=1, help="Band of the probability."),
    buffer: float = typer.Option(0.0, "--buffer", min=0, help="What lies within so many meters is the segment's."),
    near: float = typer.Option(100.0, "--near", min=0, help="Meters from the hazard within which something is near."),
    slope: Path | None = typer.Option(
        None, "--slope", exists=True, dir_okay=False, help="Steepness in degrees: a landslide counts where it is steep."
    ),
    rain: Path | None = typer.Option(
        None, "--rain", exists=True, dir_okay=False, help="Rain in mm: a landslide counts more where it fell."
    ),
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Tell which assets and road segments a hazard reaches, the most exposed first.

    OUT holds a layer `exposed_assets`, `exposed_segments` or both: state exposed, near, clear or not_assessed, the
    expected share inside with its 95 % interval, the largest probability, the distance. Where the hazard has no data
    nothing is called clear; objects instead of a raster do not say where nobody looked, so there nothing is either.
    """
    from infra.surface import exposure as slice_

    made = slice_.run(
        hazard,
        out,
        assets=assets,
        segments=segments,
        classes=_classes(classes),
        band=band,
        probability_band=probability_band,
        buffer=buffer,
        near=near,
        slope=slope,
        rain=rain,
    )
    raster_command.tell({**made, "output": str(out)}, as_json=as_json)


def _classes(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) < 255 for word in words):
        raise typer.BadParameter(f"--classes {text}: numbers below 255 are wanted, as 2,3")
    return tuple(int(word) for word in words)
