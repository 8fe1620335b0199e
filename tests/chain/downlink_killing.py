"""Ingestions in a process of their own, killed with SIGKILL at moments of the tester's choice."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import sqlalchemy as sa

from infra import completeness_ledger, database, ledger
from processors.level0 import layouts
from tests.chain import downlink_ingestion as ingestion

REPOSITORY = Path(__file__).resolve().parents[2]
EVERY_KIND = (*ingestion.PRODUCTS, "frames", "fragment", "channel_packets", "rejected_frames")


class Hit(NamedTuple):
    """A kill: when [s], outcomes of the process by stage, and scratch folders it left behind."""

    after: float
    stages: dict[str, int]
    left: int


def landed(here: ingestion.Installation) -> ingestion.Installation:
    """Land a mission in pieces, from two stations that lost different frames, and one of them twice."""
    first, second, third = ingestion.three_passes()
    random = np.random.default_rng(7)
    fate = random.integers(0, 8, len(second) // ingestion.CADU)
    for number, piece in enumerate(ingestion.cut(first, at=[100_000, 300_500, 555_555])):
        here.land(f"first-{number}.cadu", piece)
    for station, name in enumerate(("kashi", "sanya")):
        here.land("second.cadu", ingestion.without(second, np.flatnonzero(fate == station)), station=name)
    here.land("third.cadu", third)
    here.land("third-again.cadu", third, station="sanya")
    return here


@contextlib.contextmanager
def ingesting(here: ingestion.Installation) -> Iterator[subprocess.Popen[bytes]]:
    """Run an ingestion; it never outlives the block."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TERRALIMB_", "COVERAGE"))}
    log = here.settings.home / "ingestion.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chain.downlink_ingestion"],
            cwd=REPOSITORY,
            env={**kept, **here.environment()},
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def run_whole(here: ingestion.Installation) -> float:
    """Run to the end; returns how long it took [s]."""
    started = time.monotonic()
    with ingesting(here) as process:
        status = process.wait(timeout=120)
    assert status == 0, (here.settings.home / "ingestion.log").read_text()[-3000:]
    return time.monotonic() - started


def kill_and_restart(
    make: Callable[[], ingestion.Installation], *, plain: ingestion.Installation, seconds: float, kills: int, seed: int
) -> list[Hit]:
    """Kill and restart ingestions, one installation after the other, until there were so many kills.

    Every installation ends as the plain one did. The moments are drawn evenly over what a process does once it has
    loaded its modules; a restarted one has less left to do, and often ends before.
    """
    random, start, hits = np.random.default_rng(seed), _loading_seconds(), list[Hit]()
    while len(hits) < kills:
        here, ended = make(), False
        while not ended and len(hits) < kills:
            hit = _killed(here, start + random.uniform(0.0, max(seconds - start, 0.5)))
            ended = hit is None
            hits += [hit] if hit else []
        if not ended:
            run_whole(here)
        require_same(here, plain)
    return hits


def _killed(here: ingestion.Installation, moment: float) -> Hit | None:
    """Kill an ingestion after a while; None where it ended before."""
    before, began = here.workspace.ledger.last_sequence(), time.monotonic()
    with ingesting(here) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert process.wait(timeout=moment) == 0
            return None
        process.send_signal(signal.SIGKILL)
        status = process.wait()
    if status == 0:  # it was already on its way out when the signal came, and that counts as no kill
        return None
    assert status == -signal.SIGKILL, (status, (here.settings.home / "ingestion.log").read_text()[-3000:])
    return Hit(time.monotonic() - began, _stages_since(here, before), len(here.scratch()))


def _loading_seconds() -> float:
    """Time a process needs before it does anything."""
    code = "import tests.chain.downlink_ingestion, infra.stages.downlink, infra.stages.level0, infra.stages.imagery"
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    return time.monotonic() - started


def _stages_since(here: ingestion.Installation, sequence: int) -> dict[str, int]:
    engine = database.engine(here.settings.resolved_database_url())
    query = sa.select(ledger.outcome_table.c.stage).where(ledger.outcome_table.c.sequence > sequence)
    with database.reading(engine) as connection:
        return dict(Counter(connection.execute(query).scalars()))


def report(hits: list[Hit]) -> None:
    """Print where the kills fell."""
    last = Counter(max(hit.stages, key=ingestion.STAGES.index, default="before any outcome") for hit in hits)
    lines = [f"{hit.after:.2f} s: {hit.stages or 'nothing done yet'}, {hit.left} scratch folders left" for hit in hits]
    sys.stdout.write("\n".join(["", *lines, f"the last stage with an outcome was {dict(last)}", ""]))


def require_same(killed: ingestion.Installation, plain: ingestion.Installation) -> None:
    """The killed installation holds just what the other holds, and nothing else is left of the killed processes."""
    assert plain.current()
    assert killed.current(EVERY_KIND) == plain.current(EVERY_KIND)
    assert killed.windows() == plain.windows()
    assert killed.gate() == plain.gate() == []
    for granule in killed.workspace.ledger.granules(EVERY_KIND):
        killed.workspace.require_registered(granule)
    assert _receptions(killed) == _receptions(plain)
    assert _counting_rows(killed) == _counting_rows(plain)
    rows = next(iter(killed.packets_held().values()))
    assert next(row["count"] for row in rows if row["apid"] == layouts.HK_FAST) == 40
    assert killed.scratch() == []
    assert not _processes(killed)


def _receptions(here: ingestion.Installation) -> list[tuple[str, int, int]]:
    """Recordings that count, with what each was counted for; a kill may make one be seen again, never count twice."""
    return sorted((one.recording, one.size, one.account["frames"]["accepted"]) for one in here.book.receptions())


def _counting_rows(here: ingestion.Installation) -> tuple[int, int, int]:
    """Rows that count in the completeness ledger, and current granules, straight from the database."""
    engine = database.engine(here.settings.resolved_database_url())
    tables = (completeness_ledger.reception_table, completeness_ledger.held_table, completeness_ledger.window_table)
    with database.reading(engine) as connection:
        counts = [
            connection.execute(sa.select(sa.func.count()).select_from(table).where(completeness_ledger.COUNTS)).scalar()
            for table in tables
        ]
    return counts[0] or 0, counts[1] or 0, counts[2] or 0


def _processes(here: ingestion.Installation) -> list[int]:
    home = str(here.settings.home)
    every = psutil.process_iter(["environ"])
    return [process.pid for process in every if (process.info["environ"] or {}).get("TERRALIMB_HOME") == home]
