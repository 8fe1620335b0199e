"""Commands of the surface: water, fire, land and what lies on it, from rasters in files; one module a command."""

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Water, fire, land: products people act on, from rasters in files."
    "\n\nEvery result says where it does not know: 255 is no data, and the report counts what was left out and why.",
)
