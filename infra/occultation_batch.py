"""Retrieval of many occultations over processes: a file that kills its worker costs that file and no other.

Every worker holds one file at a time and tells the outcome through a pipe of its own, so a dead worker names the file
it died of. Profiles are written beside their place and renamed into it by the parent alone, which knows which input
came first when two are of one occultation.
"""

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib import import_module
from multiprocessing import connection as pipes
from pathlib import Path
from typing import Any, NamedTuple

SUFFIXES = {"netcdf": ".nc", "bufr": ".bufr", "aws": ".aws.nc", "ropp": ".ropp.nc"}
PLOT_SUFFIX = ".png"
UNREADABLE_CAUSES = frozenset({"unreadable", "empty"})
POLL = 0.25
"""Time between two looks at whether to stop [s]."""
PATIENCE = 600.0
"""A file no worker is done with after this time will not end by itself [s]."""
THREAD_LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
PRELOADED = "infra.stages.occultation"


class Order(NamedTuple):
    """What is asked for of every file of a batch.

    Attributes
    ----------
    staging : str
        Folder the files are written into before they are renamed into their place.
    formats : tuple of str
        Formats besides NetCDF, keys of `SUFFIXES`.
    plots : bool
        Whether a picture is drawn of every profile.
    options : dict
        Passed to `infra.stages.occultation.profile_from_file`.
    """

    staging: str
    formats: tuple[str, ...]
    plots: bool
    options: dict[str, Any]


class Outcome(NamedTuple):
    """What became of one file.

    Attributes
    ----------
    status : str
        `ok`, `flagged` or `rejected`.
    failed : bool
        Whether not all that was asked for was done: the file could not be read, or an error was not the input's.
    cause, reason : str or None
        Machine-readable cause and sentence.
    seconds : float
        Time it took [s].
    occultation_id : str or None
        Identity of the profile.
    sha256 : str
        Hash of the input.
    staged : tuple of str
        Suffixes of the files that wait in the staging folder.
    quality_flags : tuple of str
        Names of the flags raised.
    lowest_altitude : float or None
        Lowest altitude retrieved from the observation [m].
    truncation_reason : str or None
        Why the profile ends where it does.
    steps : dict or None
        Time of each step [s], where the retrieval tells it.
    outside : dict or None
        By format and its field, how many values the format could not hold and are missing in its file [1].
    """

    status: str
    failed: bool = False
    cause: str | None = None
    reason: str | None = None
    seconds: float = 0.0
    occultation_id: str | None = None
    sha256: str = ""
    staged: tuple[str, ...] = ()
    quality_flags: tuple[str, ...] = ()
    lowest_altitude: float | None = None
    truncation_reason: str | None = None
    steps: dict[str, float] | None = None
    outside: dict[str, dict[str, int]] | None = None


Outcomes = Generator[tuple[int, Outcome], None, None]


class Report(NamedTuple):
    """What became of a batch.

    Attributes
    ----------
    rows : list of dict
        One per input that was begun, in the order of the inputs.
    failed : bool
        Whether anything asked for was not done.
    left : int
        Number of inputs not begun because the batch was stopped.
    """

    rows: list[dict[str, Any]]
    failed: bool
    left: int


def available_cores() -> int:
    """Number of processor cores this process may use."""
    return len(os.sched_getaffinity(0))


def run(
    paths: Sequence[str],
    *,
    out: Path,
    workers: int,
    formats: Sequence[str] = (),
    plots: bool = False,
    options: dict[str, Any] | None = None,
    patience: float = PATIENCE,
    progress: Callable[[Counter[str]], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Report:
    """Retrieve every file and write the profiles and `report.json` into a folder.

    Parameters
    ----------
    paths : sequence of str
        Level-1 files.
    out : Path
        Folder for the profiles and the report.
    workers : int
        Number of worker processes; 1 works in this process.
    formats : sequence of str
        Formats besides NetCDF, keys of `SUFFIXES`.
    plots : bool
        Whether a picture is drawn of every profile.
    options : dict, optional
        Passed to `infra.stages.occultation.profile_from_file`.
    patience : float
        Time after which a worker process still on the same file is ended [s].
    progress : callable
        Told the number of files by status each time one is done.
    stop : callable
        Asked now and then whether to begin no more files.

    Returns
    -------
    Report
        Also written, without the number left, as `report.json`.

    Raises
    ------
    RuntimeError
        A worker process died before it was given any file.
    """
    out.mkdir(parents=True, exist_ok=True)
    staging = tempfile.mkdtemp(prefix=".retrieving-", dir=out)
    order = Order(staging, tuple(name for name in formats if name != "netcdf"), plots, options or {})
    ledger = _Ledger(paths, out=out, order=order)
    if workers == 1:
        made = _one_by_one(paths, order, stop)
    else:
        made = _Crew(paths, order, workers=workers, patience=patience).outcomes(stop)
    try:
        with contextlib.closing(made):
            for index, outcome in made:
                ledger.record(index, outcome)
                progress(ledger.counts)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        report = ledger.report()
        _write_whole(out / "report.json", json.dumps(report.rows, indent=2, ensure_ascii=False) + "\n")
    return report


def _write_whole(path: Path, text: str) -> None:
    """Write a text so that a reader sees the old or the new file, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)


class _Ledger:
    """Outcomes by input, and which of them holds the place of an occultation."""

    def __init__(self, paths: Sequence[str], *, out: Path, order: Order) -> None:
        self.counts: Counter[str] = Counter()
        self._paths, self._out, self._order = paths, out, order
        self._outcomes: dict[int, Outcome] = {}
        self._first: dict[str, int] = {}

    def record(self, index: int, outcome: Outcome) -> None:
        """Note an outcome; its files take their place unless an earlier input is of the same occultation."""
        self._outcomes[index] = outcome
        status = outcome.status
        if outcome.occultation_id is not None:
            holder = self._first.get(outcome.occultation_id)
            if holder is None or index < holder:
                self._first[outcome.occultation_id] = index
                self._place(index, outcome)
            if holder is not None and outcome.sha256 != self._outcomes[holder].sha256:
                status = "rejected"
        self.counts[status] += 1

    def _place(self, index: int, outcome: Outcome) -> None:
        """Rename the files into their place; what the place held of another input or an earlier run goes."""
        asked = [SUFFIXES[name] for name in ("netcdf", *self._order.formats)]
        for suffix in [*asked, PLOT_SUFFIX] if self._order.plots else asked:
            target = self._out / f"{outcome.occultation_id}{suffix}"
            if suffix in outcome.staged:
                _staged(self._order, index, suffix).replace(target)
            else:
                target.unlink(missing_ok=True)

    def report(self) -> Report:
        """Rows in the order of the inputs."""
        indices = sorted(self._outcomes)
        rows = [self._row(index) for index in indices]
        failed = any(outcome.failed for outcome in self._outcomes.values())
        return Report(rows, failed, len(self._paths) - len(indices))

    def _row(self, index: int) -> dict[str, Any]:
        outcome = self._outcomes[index]
        status, cause, reason = outcome.status, outcome.cause, outcome.reason
        outputs: dict[str, str] = {}
        if outcome.occultation_id is not None:
            first = self._first[outcome.occultation_id]
            holder = self._outcomes[first]
            outputs = {suffix: str(self._out / f"{holder.occultation_id}{suffix}") for suffix in holder.staged}
            if first != index:
                same = holder.sha256 == outcome.sha256
                kind = "same_bytes" if same else "same_occultation"
                text = f"{kind.replace('_', ' ')} as {self._paths[first]}"
                cause, reason = kind, text if same else f"{text} ({holder.occultation_id}), whose profile is kept"
                status, outputs = (holder.status, outputs) if same else ("rejected", {})
        return {
            "input": self._paths[index],
            "output": outputs.get(SUFFIXES["netcdf"]),
            "status": status,
            "quality_flags": list(outcome.quality_flags),
            "seconds": round(outcome.seconds, 3),
            "reason": reason,
            "cause": cause,
            "occultation_id": outcome.occultation_id,
            "lowest_altitude": outcome.lowest_altitude,
            "truncation_reason": outcome.truncation_reason,
            "outputs": list(outputs.values()),
            "steps": outcome.steps,
            "outside": outcome.outside if outputs and outcome.outside else {},
        }


def _staged(order: Order, index: int, suffix: str) -> Path:
    return Path(order.staging) / f"{index}{suffix}"


def retrieve_one(path: str, *, index: int, order: Order) -> Outcome:
    """Retrieve one file into the staging folder.

    Parameters
    ----------
    path : str
        Level-1 file.
    index : int
        Place among the inputs, by which the staged files are named.
    order : Order
        What is asked for.

    Returns
    -------
    Outcome
        Whatever happens: nothing is raised.
    """
    started = time.perf_counter()
    outcome = _retrieved(path, index, order)
    return outcome._replace(seconds=time.perf_counter() - started)


def _retrieved(path: str, index: int, order: Order) -> Outcome:
    from infra.stages import occultation
    from processors import quality
    from products import schema

    try:
        body = Path(path).read_bytes()
    except OSError as error:
        return Outcome("rejected", failed=True, cause="unreadable", reason=str(error))
    try:
        made = occultation.profile_from_file(body, name=Path(path).name, **order.options)
        return _written(made, hashlib.sha256(body).hexdigest(), index, order)
    except quality.BadInputError as error:
        return Outcome("rejected", failed=error.cause in UNREADABLE_CAUSES, cause=error.cause, reason=f"{error}")
    except schema.SchemaError as error:
        reason = f"the retrieved profile breaks its table of variables: {error}"
        return Outcome("rejected", cause="breaks_table", reason=reason)
    except Exception as error:  # noqa: BLE001  a batch never dies of one file, whatever it met
        return Outcome("rejected", failed=True, cause="failed", reason=f"{type(error).__name__}: {error}")


def _written(made: Any, sha256: str, index: int, order: Order) -> Outcome:
    """Stage a profile in every format asked for."""
    _staged(order, index, SUFFIXES["netcdf"]).write_bytes(made.netcdf)
    staged, lacking, outside = [SUFFIXES["netcdf"]], [], {}
    encoders = {name: import_module(f"products.{name}").encoded for name in order.formats}
    if order.plots:
        encoders["plot"] = _plotted
    for name, encoded in encoders.items():
        suffix = SUFFIXES.get(name, PLOT_SUFFIX)
        try:
            content, lost = encoded(made.dataset)
            _staged(order, index, suffix).write_bytes(content)
        except Exception as error:  # noqa: BLE001  the profile stands, whatever one encoder cannot hold
            lacking.append(f"no {suffix} written: {type(error).__name__}: {error}")
            continue
        staged.append(suffix)
        if lost:
            outside[name] = dict(lost)
    lowest = float(made.dataset["lowest_altitude"])
    return Outcome(
        status="flagged" if made.quality_flags or lacking else "ok",
        failed=bool(lacking),
        cause="not_encoded" if lacking else None,
        reason="; ".join(lacking) or None,
        occultation_id=_file_name(made.occultation_id),
        sha256=sha256,
        staged=tuple(staged),
        quality_flags=tuple(made.quality_flags),
        lowest_altitude=round(lowest, 1) if math.isfinite(lowest) else None,
        truncation_reason=_meaning(made.dataset["truncation_reason"]),
        steps=getattr(made, "steps", None),
        outside=outside,
    )


def _plotted(dataset: Any) -> tuple[bytes, dict[str, int]]:
    """Picture of a profile, in the form of an encoder: there is nothing it cannot hold."""
    return import_module("products.profile_plot").plot(dataset), {}


def _file_name(occultation_id: str) -> str:
    """An identity comes out of a file: it names a file in the folder of the batch and no other place."""
    if Path(occultation_id).name != occultation_id or occultation_id.startswith("."):
        raise ValueError(f"occultation id {occultation_id!r} cannot name a file")
    return occultation_id


def _meaning(variable: Any) -> str:
    """Word for the value of a flag variable."""
    words = dict(
        zip(
            (int(value) for value in variable.attrs["flag_values"]),
            str(variable.attrs["flag_meanings"]).split(),
            strict=False,
        )
    )
    return words.get(int(variable), str(int(variable)))


def _one_by_one(paths: Sequence[str], order: Order, stop: Callable[[], bool]) -> Outcomes:
    import threadpoolctl

    with threadpoolctl.threadpool_limits(1):
        for index, path in enumerate(paths):
            if stop():
                return
            yield index, retrieve_one(path, index=index, order=order)


def _serve(pipe: "pipes.Connection[Any, Any]", order: Order) -> None:
    """Life of a worker: ready, then one file after the other until the parent hangs up or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import threadpoolctl

    import_module(PRELOADED)
    with threadpoolctl.threadpool_limits(1), contextlib.suppress(EOFError, OSError):
        pipe.send(None)
        while True:
            index, path = pipe.recv()
            pipe.send(retrieve_one(path, index=index, order=order))


class _Worker:
    """One worker process and the file it is on."""

    def __init__(self, context: Any, order: Order) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, order), daemon=True)
        with _numerical_threads(1), _interrupts_blocked():
            self.process.start()
        theirs.close()
        self.ready, self.overdue = False, False
        self.index: int | None = None
        self._since = 0.0

    def give(self, index: int, path: str) -> None:
        """Give the worker a file."""
        self.index, self._since = index, time.monotonic()
        # A worker that died between two files is found out when its answer is read.
        with contextlib.suppress(OSError):
            self.pipe.send((index, path))

    def answer(self) -> Outcome | None:
        """What the worker says: None that it is ready, or an outcome, also that it died of its file.

        Raises
        ------
        RuntimeError
            It died before it was given a file.
        """
        try:
            said: Outcome | None = self.pipe.recv()
        except (EOFError, OSError):
            return self._died()
        if said is None:
            self.ready = True
        else:
            self.index = None
        return said

    def _died(self) -> Outcome:
        self.process.join()
        code = self.process.exitcode or 0
        words = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        if self.index is None:
            raise RuntimeError(f"a worker process died before it was given a file ({words})")
        reason = "still not done when its time was up" if self.overdue else f"the worker process died of it ({words})"
        return Outcome("rejected", failed=True, cause="worker_died", reason=reason)

    def watch(self, patience: float) -> None:
        """End a worker that does not come to an end with its file; the answer then says so."""
        if self.index is not None and time.monotonic() - self._since > patience:
            self.overdue = True
            self.process.kill()

    def end(self) -> None:
        """Hang up and see the worker out."""
        self.pipe.close()
        self.process.join(timeout=POLL)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class _Crew:
    """Worker processes, each with one file at a time; the dead are replaced while files wait."""

    def __init__(self, paths: Sequence[str], order: Order, *, workers: int, patience: float) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([PRELOADED])
        self._paths, self._order, self._patience = paths, order, patience
        self._waiting = deque(range(len(paths)))
        self._workers = [_Worker(self._context, order) for _ in range(min(workers, len(paths)))]

    def outcomes(self, stop: Callable[[], bool]) -> Outcomes:
        """Outcomes as they come, with the places of their inputs."""
        try:
            while True:
                if stop():
                    self._waiting.clear()
                self._hand_out()
                if not self._waiting and all(worker.index is None for worker in self._workers):
                    return
                yield from self._answers()
        finally:
            for worker in self._workers:
                worker.end()

    def _hand_out(self) -> None:
        for worker in self._workers:
            if worker.ready and worker.index is None and self._waiting:
                index = self._waiting.popleft()
                worker.give(index, self._paths[index])

    def _answers(self) -> Outcomes:
        """What the workers that have something to say say."""
        expected = {worker.pipe: worker for worker in self._workers if worker.index is not None or not worker.ready}
        for pipe in pipes.wait(list(expected), timeout=POLL):
            worker = expected[pipe]
            index, said = worker.index, worker.answer()
            if said is None or index is None:
                continue
            if worker.index is not None:
                self._replace(worker)
            yield index, said
        for worker in self._workers:
            worker.watch(self._patience)

    def _replace(self, dead: _Worker) -> None:
        dead.end()
        self._workers.remove(dead)
        if self._waiting:
            self._workers.append(_Worker(self._context, self._order))


@contextlib.contextmanager
def _numerical_threads(count: int) -> Iterator[None]:
    """Numerical libraries of processes begun in the block take so many threads: the workers fill the cores."""
    before = {name: os.environ.get(name) for name in THREAD_LIMITS}
    os.environ.update(dict.fromkeys(THREAD_LIMITS, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes begun in the block do not hear the person's ctrl-C: the parent decides, files at hand are finished."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
