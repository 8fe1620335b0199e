"""The delivery service as one of this installation's servers: started, watched, started again, ended with the rest."""

import os
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.embedded import daemon

#: Where it listens, unless somebody else does.
PORT = 8600
READY_SECONDS = 120.0

#: A server that stops more often than this within so many seconds would only stop again.
RESTARTS, WITHIN = 5, 120.0


@dataclass(frozen=True)
class DeliveryServer:
    """The running service."""

    url: str
    daemon: daemon.Daemon
    #: When it was started again, by the monotonic clock [s].
    restarts: list[float] = field(default_factory=list)

    def stop(self) -> None:
        """End it."""
        self.daemon.stop()

    def started_again(self) -> bool:
        """Start it again where it has stopped; tells whether it had.

        Raises
        ------
        infra.embedded.daemon.DaemonError
            It stops again and again; the message carries the end of its log.
        """
        if self.daemon.pid() is not None:
            return False
        now = time.monotonic()
        self.restarts[:] = [*(at for at in self.restarts if now - at < WITHIN), now]
        if len(self.restarts) > RESTARTS:
            raise daemon.DaemonError(
                f"the delivery service stopped {len(self.restarts)} times in {WITHIN:.0f} s; "
                f"the end of {self.daemon.log} says:\n{self.daemon.log_tail()}"
            )
        self.daemon.start()
        return True


def start(home: Path, *, environment: Mapping[str, str]) -> DeliveryServer:
    """Start the service and wait until it answers.

    Raises
    ------
    infra.embedded.daemon.DaemonError
        It did not start; the message carries the end of its log.
    """
    # Whoever ran it before us may have been killed a moment ago: its port is free again after that.
    server(home, 0, {}).stop()
    port = daemon.free_port(PORT)
    running = DeliveryServer(f"http://127.0.0.1:{port}", server(home, port, {**os.environ, **environment}))
    try:
        running.daemon.start()
        running.daemon.wait_until(lambda: answers(running.url), seconds=READY_SECONDS)
    except BaseException:
        running.stop()
        raise
    return running


def server(home: Path, port: int, environment: Mapping[str, str]) -> daemon.Daemon:
    """Give the process that answers on a port of loopback."""
    argv = [sys.executable, "-c", f"from infra.delivery import workers; workers.run('127.0.0.1', {port:d})"]
    return daemon.Daemon("service", argv, home / "delivery", environment)


def answers(url: str) -> bool:
    """Whether the service says how it is."""
    # A proxy named in the environment must not stand between us and the loopback interface.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=5.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
