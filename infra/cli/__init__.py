"""The command `terralimb`: one application, one module per group of commands."""

import sys
import traceback

import typer

from infra.cli import (
    access,
    catalogue,
    delivery,
    downlink,
    emergency,
    imagery,
    installation,
    occultation,
    product,
    push,
    surface,
)

app = typer.Typer(
    name="terralimb",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="From downlinked telemetry and multi-source imagery to occultation profiles and sector products.\n\n"
    "Start with [bold]terralimb demo[/bold]: it runs the whole chain on input it makes itself.",
)
app.command("demo")(installation.demo)
app.command("up")(installation.up)
app.command("doctor")(installation.doctor)
app.command("serve")(delivery.serve)
app.command("fetch")(delivery.fetch)
app.add_typer(downlink.app, name="downlink")
app.add_typer(occultation.app, name="occultation")
app.add_typer(imagery.app, name="imagery")
app.add_typer(surface.app, name="surface")
app.add_typer(emergency.app, name="emergency")
app.add_typer(catalogue.app, name="catalogue")
app.add_typer(product.app, name="product")
app.add_typer(access.app, name="access")
app.add_typer(push.app, name="push")


@app.callback()
def _options(debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error.")) -> None:
    _state["debug"] = debug


_state = {"debug": False}


def main() -> None:
    """Run the command line: an error is one sentence on standard error and exit status 1."""
    try:
        app()
    except Exception as error:  # noqa: BLE001  the last door: whatever it was, the person gets a sentence
        if _state["debug"]:
            traceback.print_exc()
        else:
            sys.stderr.write(f"terralimb: {str(error) or type(error).__name__}\n")
        sys.exit(1)
