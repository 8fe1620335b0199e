"""Processes of the service: each answers on a socket of its own, and the kernel shares connections out among them.

Processes that wait on one socket do not share: whichever wakes up first takes every connection there is, and clients
that keep theirs stay where they are. One that dies is started again; its socket stays open meanwhile.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

#: One for each core, for a search is work and not waiting.
COUNT = min(4, os.cpu_count() or 1)

#: Deaths within so many seconds after which the others are ended as well.
_DEATHS, _WITHIN = 5, 120.0
_PATIENCE = 15.0


class AddressTakenError(Exception):
    """Nobody can listen at this address."""


class WorkersDiedError(Exception):
    """The processes die again and again."""


def run(host: str, port: int, count: int = COUNT, *, listening: Callable[[], None] = lambda: None) -> None:
    """Answer until SIGTERM or SIGINT.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        Port.
    count : int
        Processes [1].
    listening : callable
        Called once the address is ours.

    Raises
    ------
    AddressTakenError
        Somebody listens there already.
    WorkersDiedError
        They die again and again; what they say stands on stderr.
    """
    _refuse_shared(host, port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_bound(host, port)) for _ in range(count)]
        listening()
        processes = [stack.enter_context(_running(each)) for each in sockets]
        died: list[float] = []
        while not stop.wait(0.2):
            for at, process in enumerate(processes):
                if process.poll() is None:
                    continue
                now = time.monotonic()
                died = [*(when for when in died if now - when < _WITHIN), now]
                if len(died) > _DEATHS:
                    raise WorkersDiedError(f"processes of the service ended {len(died)} times within {_WITHIN:.0f} s")
                processes[at] = stack.enter_context(_running(sockets[at]))


def _refuse_shared(host: str, port: int) -> None:
    """Let nobody else have the port: a stranger that shares as we do would take every other connection unseen."""
    with _socket(host) as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressTakenError(f"{host}, port {port}: {error.strerror}; choose another with --port") from None


def _bound(host: str, port: int) -> socket.socket:
    found = _socket(host)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind((host, port))
    found.listen(2048)
    return found


def _socket(host: str) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return found


@contextlib.contextmanager
def _running(listening: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    number = listening.fileno()
    command = [sys.executable, "-m", "infra.delivery.workers", str(number)]
    process = subprocess.Popen(command, pass_fds=[number])  # noqa: S603  our own module
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answer(listening: socket.socket) -> None:
    """Answer on a socket, as one of the processes, until SIGTERM.

    Parameters
    ----------
    listening : socket.socket
        Socket that listens.
    """
    import uvicorn

    config = uvicorn.Config(
        "infra.delivery.asgi:application",
        factory=True,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    answer(socket.socket(fileno=int(sys.argv[1])))
