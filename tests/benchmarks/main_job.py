"""Wall time and memory of the main job, against its limits: run by `make bench`, never by the tests.

Memory is the sum of the proportional set sizes of the command and everything it started, sampled while it runs.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("terralimb")
GIB = 2**30


@dataclass(frozen=True)
class Case:
    """One command and its limits."""

    name: str
    arguments: list[str]
    seconds: float
    gibibytes: float = 4.0


def cases(data: Path | None) -> list[Case]:
    found = [
        Case("demo, modelled input, scheduler", ["demo"], 180.0),
        Case("demo, modelled input, plain", ["demo", "--no-airflow"], 60.0),
    ]
    if data is not None:
        found.append(Case("demo, real input, scheduler", ["demo", "--data", str(data)], 180.0))
        found.append(Case("demo, real input, plain", ["demo", "--data", str(data), "--no-airflow"], 60.0))
    return found


def memory_of_tree(process: psutil.Process) -> int:
    """Sum of the proportional set sizes of a process and its descendants [octet]."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def measure(case: Case) -> bool:
    """Run a case in an empty home; prints its figures and returns whether it kept its limits."""
    with tempfile.TemporaryDirectory() as home:
        log = Path(home) / "bench.log"
        started = time.monotonic()
        with log.open("wb") as output:
            child = psutil.Popen(
                [str(COMMAND), *case.arguments],
                env={"TERRALIMB_HOME": f"{home}/var", "PATH": "/usr/local/bin:/usr/bin:/bin"},
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
            )
            peak = 0
            while child.poll() is None:
                peak = max(peak, memory_of_tree(child))
                time.sleep(1.0)
        seconds = time.monotonic() - started
        kept = child.returncode == 0 and seconds <= case.seconds and peak <= case.gibibytes * GIB
        sys.stdout.write(
            f"{case.name:34s} exit {child.returncode}  {seconds:6.1f} s (limit {case.seconds:.0f})  "
            f"peak {peak / GIB:4.2f} GiB (limit {case.gibibytes:.0f})  {'kept' if kept else 'NOT KEPT'}\n"
        )
        if child.returncode:
            sys.stdout.write(log.read_text(errors="replace")[-2000:])
        return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    beside = REPOSITORY.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=beside if beside.exists() else None, help="folder of real files")
    kept = [measure(case) for case in cases(parser.parse_args().data)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
