"""Search over HTTP in a catalogue of 100,000 items with eight clients, and what one greedy agency does to another.

Usage: python -m tests.benchmarks.delivery [items, 100000 unless given] [sqlite, postgresql or pgstac; sqlite unless
given]. Starts the service as `terralimb serve` does, on loopback, and asks it over real connections. The databases of
PostgreSQL are this machine's own, with Debian's PostGIS. Prints one JSON object; exit status 1 where a bar is not met.
"""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from infra import catalog_store, database, pgstac_index
from infra.delivery import identity
from infra.demonstration import modelled_catalogue
from tests import postgis_server

ITEMS = 100_000
KINDS = ("sqlite", "postgresql", "pgstac")
CLIENTS = 8
SECONDS = 20.0
P95_BAR = 0.050
"""What 95 of 100 searches must stay below, with eight clients [s]."""
GREEDY_BAR = 2.0
"""How many times slower another agency may become at its 95th percentile [1]."""

_DAY = dt.timedelta(days=1)
_FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_COLLECTIONS = tuple(fields.collection_id for fields in modelled_catalogue.collections())
_SECTORS = tuple(fields.sector for fields in modelled_catalogue.collections())


# Questions


def _time(chance: random.Random, days: int) -> str:
    begin = _FIRST + _DAY * chance.randrange(700)
    return f"{begin:%Y-%m-%dT%H:%M:%SZ}/{begin + _DAY * days:%Y-%m-%dT%H:%M:%SZ}"


def _box(chance: random.Random) -> str:
    west, south = chance.uniform(105.3, 108.5), chance.uniform(28.3, 31.0)
    return f"{west:.4f},{south:.4f},{west + 0.9:.4f},{south + 0.7:.4f}"


def _polygon(chance: random.Random) -> dict[str, object]:
    west, south = chance.uniform(105.3, 108.5), chance.uniform(28.3, 31.0)
    ring = [[west, south], [west + 0.8, south], [west + 0.4, south + 0.7], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


Question = Callable[[random.Random], tuple[str, bytes]]


def _by_get(**parameters: str) -> tuple[str, bytes]:
    return f"GET /stac/search?{urllib.parse.urlencode(parameters)}", b""


def _by_post(**body: object) -> tuple[str, bytes]:
    return "POST /stac/search", json.dumps(body).encode()


#: What people ask, each with numbers of its own every time: a count kept from before helps nobody.
QUESTIONS: dict[str, Question] = {
    "newest 10": lambda chance: _by_get(limit="10"),
    "collection, box, month": lambda chance: _by_get(
        collections=chance.choice(_COLLECTIONS), bbox=_box(chance), datetime=_time(chance, 30), limit="20"
    ),
    "box, day": lambda chance: _by_get(bbox=_box(chance), datetime=_time(chance, 1), limit="20"),
    "box": lambda chance: _by_get(bbox=_box(chance), limit="20"),
    "identity": lambda chance: _by_get(ids=f"none-{chance.randrange(10**6)}"),
    "sector and clear (CQL2)": lambda chance: _by_get(
        filter=f'"cqeo:sector" = \'{chance.choice(_SECTORS)}\' AND "cqeo:clear_fraction" > {chance.random():.3f}',
        datetime=_time(chance, 30),
        limit="20",
    ),
    "district (CQL2)": lambda chance: _by_post(
        filter={
            "op": "a_contains",
            "args": [{"property": "cqeo:admin_codes"}, [f"5001{chance.randrange(1, 20):02d}"]],
        },
        datetime=_time(chance, 90),
        limit=20,
    ),
    "polygon, quarter": lambda chance: _by_post(intersects=_polygon(chance), datetime=_time(chance, 90), limit=20),
}


# Clients


class Connection:
    """One kept connection; as little as possible between the question and the clock."""

    def __init__(self, port: int, key: str) -> None:
        self.port, self.key = port, key

    async def open(self) -> "Connection":
        """Connect.

        Returns
        -------
        Connection
            Itself.
        """
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**22)
        return self

    async def ask(self, line: str, body: bytes = b"") -> tuple[int, bytes]:
        """Ask one question.

        Parameters
        ----------
        line : str
            Method and address.
        body : bytes
            What to send with it.

        Returns
        -------
        tuple of int and bytes
            Status and body of the answer.
        """
        head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + body)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
        return int(answer.split()[1]), await self.reader.readexactly(length)


@dataclasses.dataclass
class Times:
    """What one kind of question took.

    Attributes
    ----------
    taken : list of float
        Time of each answer [s].
    refused : int
        Questions that came too fast for the agreed rate [1].
    """

    taken: list[float] = dataclasses.field(default_factory=list)
    refused: int = 0

    def summary(self) -> dict[str, float]:
        """Percentiles.

        Returns
        -------
        dict
            Count, and times [ms].
        """
        p50, p95, p99 = (round(1000 * float(np.percentile(self.taken, share)), 1) for share in (50, 95, 99))
        return {"answers": len(self.taken), "refused": self.refused, "p50": p50, "p95": p95, "p99": p99}


async def _client(port: int, key: str, until: float, seed: int, times: dict[str, Times], *, pause: float = 0.0) -> None:
    connection = await Connection(port, key).open()
    chance = random.Random(seed)  # noqa: S311  a load, no secret
    while time.perf_counter() < until:
        name = chance.choice(tuple(QUESTIONS))
        line, body = QUESTIONS[name](chance)
        begin = time.perf_counter()
        status, answer = await connection.ask(line, body)
        taken = time.perf_counter() - begin
        if status == 429:
            times[name].refused += 1
            await asyncio.sleep(0.02)
            continue
        if status != 200:
            raise RuntimeError(f"{name}: {status} {answer[:300]!r}")
        times[name].taken.append(taken)
        await asyncio.sleep(pause)
    connection.writer.close()


async def _load(port: int, keys: list[str], seconds: float, *, seed: int, pause: float = 0.0) -> dict[str, Times]:
    times = {name: Times() for name in QUESTIONS}
    until = time.perf_counter() + seconds
    clients = (_client(port, key, until, seed + at, times, pause=pause) for at, key in enumerate(keys))
    await asyncio.gather(*clients)
    return times


async def _pressed(port: int, quiet: str, greedy: str, seconds: float) -> tuple[Times, Times]:
    """Times of a client that asks ten times a second, while an agency asks with sixteen connections at once."""
    pressing = asyncio.create_task(_load(port, [greedy] * 16, seconds, seed=500))
    calm = await _load(port, [quiet], seconds, seed=300, pause=0.1)
    return together(calm), together(await pressing)


def together(times: dict[str, Times]) -> Times:
    """All questions as one.

    Parameters
    ----------
    times : dict
        By question.

    Returns
    -------
    Times
        All of them.
    """
    return Times(
        [taken for each in times.values() for taken in each.taken], sum(each.refused for each in times.values())
    )


# Service


@contextlib.contextmanager
def database_of(kind: str, home: Path) -> Iterator[str]:
    """Address of an empty database.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    home : Path
        Folder of the installation.

    Yields
    ------
    str
        Its address.
    """
    if kind == "sqlite":
        yield f"sqlite:///{home / 'terralimb.sqlite'}"
        return
    folder = home / "postgis"
    folder.mkdir()
    server, url = postgis_server.start(folder)
    try:
        yield url
    finally:
        server.stop()


def filled(url: str, count: int, kind: str = "sqlite") -> list[str]:
    """Fill a catalogue and make keys of as many agencies as there are clients, and one more.

    Parameters
    ----------
    url : str
        Address of an empty database.
    count : int
        Items [1].
    kind : str
        One of `KINDS`.

    Returns
    -------
    list of str
        The keys.
    """
    database.upgrade(url)
    engine = database.engine(url)
    catalog = catalog_store.CatalogStore(engine)
    modelled_catalogue.fill(catalog, count, seed=1)
    if kind == "pgstac":
        pgstac_index.install(catalog)
    if kind != "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))
    end = dt.datetime.now(dt.UTC) + _DAY
    return [
        identity.create(engine, agency=f"agency-{at}", sectors=_SECTORS, scopes=("search",), expires_at=end)
        for at in range(CLIENTS + 1)
    ]


@contextlib.contextmanager
def served(home: Path, *, workers: int, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run the service over a home as the command does.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    workers : int
        Processes [1].
    environment : Mapping[str, str] or None
        Where the object store is; None for one that is not there, as searches do not ask it.

    Yields
    ------
    int
        Its port.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    reach = environment or _without_store(home)
    words = f"from infra.delivery import workers; workers.run('127.0.0.1', {port}, {workers})"
    command = [sys.executable, "-c", words]
    with subprocess.Popen(command, env=os.environ | reach) as server:
        try:
            _wait(server, port)
            yield port
        finally:
            server.terminate()


def _without_store(home: Path) -> dict[str, str]:
    credentials = home / "credentials.json"
    credentials.write_text('{"access_key": "none", "secret_key": "none"}', encoding="utf-8")
    return {
        "TERRALIMB_HOME": str(home),
        "TERRALIMB_S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "TERRALIMB_S3_CREDENTIALS_FILE": str(credentials),
    }


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError("the service did not start")


def main() -> None:
    """Measure and print."""
    count, kind = int(sys.argv[1]) if len(sys.argv) > 1 else ITEMS, (sys.argv[2:] or KINDS)[0]
    if kind not in KINDS:
        sys.exit(f"{kind} is none of {', '.join(KINDS)}")
    with tempfile.TemporaryDirectory(prefix="terralimb-bench-") as folder, database_of(kind, Path(folder)) as url:
        home = Path(folder)
        *keys, quiet = filled(url, count, kind)
        reach = {**_without_store(home), "TERRALIMB_DATABASE_URL": url}
        with served(home, workers=os.cpu_count() or 1, environment=reach) as port:
            asyncio.run(_load(port, keys, 3.0, seed=900))
            eight = asyncio.run(_load(port, keys, SECONDS, seed=100))
            alone = together(asyncio.run(_load(port, [quiet], SECONDS, seed=300, pause=0.1)))
            pressed, greedy = asyncio.run(_pressed(port, quiet, keys[0], SECONDS))
    ratio = pressed.summary()["p95"] / alone.summary()["p95"]
    result = {
        "items": count,
        "database": kind,
        "clients": CLIENTS,
        "load": os.getloadavg()[0],
        "eight clients [ms]": {
            "all": together(eight).summary(),
            **{name: each.summary() for name, each in eight.items()},
        },
        "quiet alone [ms]": alone.summary(),
        "quiet beside a greedy agency [ms]": pressed.summary(),
        "greedy [ms]": greedy.summary(),
        "times slower": round(ratio, 2),
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    met = together(eight).summary()["p95"] <= 1000 * P95_BAR and ratio <= GREEDY_BAR
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
