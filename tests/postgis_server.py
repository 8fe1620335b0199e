"""A PostgreSQL with PostGIS for tests: Debian's binaries, loopback only, a data folder of its own."""

import os
import secrets
import signal
import subprocess
from pathlib import Path

import sqlalchemy as sa

from infra import private_files
from infra.embedded import daemon

USER = "terralimb"
READY_SECONDS = 30.0
_BINARIES = Path("/usr/lib/postgresql")
_EXTENSIONS = Path("/usr/share/postgresql")


def binaries() -> Path | None:
    """Folder of the newest server that has PostGIS; None where Debian's packages are not installed."""
    found = sorted(_EXTENSIONS.glob("*/extension/postgis.control"), key=lambda path: int(path.parts[-3]))
    return _BINARIES / found[-1].parts[-3] / "bin" if found else None


def start(folder: Path) -> tuple[daemon.Daemon, str]:
    """Start a new server; its handle, and the address of its first database."""
    place = binaries()
    assert place is not None
    password = folder / "password"
    private_files.write(password, secrets.token_hex(16))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    data = folder / "data"
    initdb = [str(place / "initdb"), "-D", str(data), "-U", USER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    subprocess.run(
        _as_user([*initdb, "--auth=scram-sha-256", f"--pwfile={password}"]),
        env=environment,
        capture_output=True,
        check=True,
    )
    port = daemon.free_port(25432)
    options = (
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "shared_buffers=64MB",
        "max_connections=60",
    )
    server = daemon.Daemon(
        name="postgis",
        argv=_as_user(
            [str(place / "postgres"), "-D", str(data), "-p", str(port), *(w for o in options for w in ("-c", o))]
        ),
        folder=folder,
        stop_signal=signal.SIGINT,
        environment=environment,
    )
    server.start()
    url = f"postgresql+psycopg://{USER}:{password.read_text()}@127.0.0.1:{port}/postgres"
    server.wait_until(lambda: _answers(url), seconds=READY_SECONDS)
    return server, url


def _as_user(command: list[str]) -> list[str]:
    # PostgreSQL refuses to run as root; in a user namespace root is an ordinary user to it.
    return ["unshare", "--user", "--map-user=1000", *command] if os.geteuid() == 0 else command


def _answers(url: str) -> bool:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            return connection.execute(sa.text("select 1")).scalar() == 1
    except sa.exc.OperationalError:
        return False
    finally:
        engine.dispose()
