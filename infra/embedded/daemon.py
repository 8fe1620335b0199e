"""A server process of this installation: in its own session, found again after a crash, ended with its session."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra import private_files

STOP_SECONDS = 15.0


class DaemonError(Exception):
    """A server of this installation did not start, or stopped by itself."""


@dataclass(frozen=True)
class Daemon:
    """One server: what to run, where its log and its state file are, and the signal that ends it quickly."""

    name: str
    argv: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    working_directory: Path | None = None

    @property
    def log(self) -> Path:
        """File that takes the server's output."""
        return self.folder / f"{self.name}.log"

    @property
    def state(self) -> Path:
        """File that names the running process, with its start time so that a reused pid is not mistaken for it."""
        return self.folder / f"{self.name}.pid.json"

    def pid(self) -> int | None:
        """Pid of the running server; None where none runs."""
        try:
            noted = json.loads(self.state.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        pid, ticks = int(noted["pid"]), noted["start_ticks"]
        # One that ended before its start time could be read has none, as a process that is gone has none.
        return pid if ticks is not None and start_ticks(pid) == ticks else None

    def _command(self) -> list[str]:
        # Entering a user namespace clears the parent-death signal, so it is asked for behind that command.
        argv, mark = list(self.argv), 0
        if argv[0] == "unshare":
            mark = next(index for index, word in enumerate(argv) if index and not word.startswith("--"))
        return [*argv[:mark], "setpriv", "--pdeathsig", self.stop_signal.name[3:], *argv[mark:]]

    def start(self) -> None:
        """Start the server; it ends when the process that started it does, however that ends."""
        self.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            child = subprocess.Popen(  # noqa: S603  the command line is ours
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment) or None,
                cwd=self.working_directory,
                start_new_session=True,
            )
        # Its end is awaited by pid in `stop`, from whichever process calls it; the handle would only warn about that.
        child.returncode = 0
        private_files.write(self.state, json.dumps({"pid": child.pid, "start_ticks": start_ticks(child.pid)}))

    def stop(self) -> None:
        """End the server and every process of its session; harmless where none runs."""
        session = self._session()
        if session is not None:
            _end_session(session, self.stop_signal)
        self.state.unlink(missing_ok=True)

    def _session(self) -> int | None:
        """Session the server led, also when its leader is gone and children are left; None where it is another's."""
        try:
            noted = json.loads(self.state.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        running = start_ticks(int(noted["pid"]))
        return int(noted["pid"]) if running in {None, noted["start_ticks"]} else None

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait for `ready`.

        Raises
        ------
        DaemonError
            The server stopped or was not ready in time; the message carries the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.pid() is None:
                raise DaemonError(f"{self.name} stopped while starting; the end of {self.log} says:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise DaemonError(
                    f"{self.name} was not ready after {seconds:.0f} s; the end of {self.log} says:\n{self.log_tail()}"
                )
            time.sleep(0.1)

    def log_tail(self, lines: int = 15) -> str:
        """Last lines of the log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended; only its parent has not looked yet.
    return None if fields[0] in "XZ" else int(fields[19])


def _end_session(pid: int, first: signal.Signals) -> None:
    for sent, patience in ((first, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        members = list(_session_members(pid))
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                # A polite end goes to the leader, who ends its children in order; without one, and by force, to all.
                if sent is signal.SIGKILL or member == pid or pid not in members:
                    os.kill(member, sent)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if not list(_session_members(pid)):
                return
            time.sleep(0.05)


def _session_members(session: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                yield int(entry.name)


def secret(path: Path, *, length: int = 32) -> str:
    """Secret of this installation kept in `path`; made at the first call."""
    if not path.exists():
        private_files.write(path, secrets.token_urlsafe(length))
    return path.read_text()


def free_port(preferred: int | None = None) -> int:
    """Port on loopback that nobody listens on; `preferred` where it is free."""
    for candidate in ((preferred,) if preferred else ()) + (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", candidate))
                return int(probe.getsockname()[1])
    raise DaemonError("no free port on loopback")


def accepts(port: int) -> bool:
    """Whether something answers on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
