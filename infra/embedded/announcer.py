"""`push run` as one of this installation's servers: broker, webhooks and mailboxes hear while the rest runs.

Nobody else depends on it: where it cannot run (settings of the broker that make no sense, or a `push run` started by
hand), everything else goes on, and it is tried again every minute. What was not announced meanwhile is announced then.
"""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.embedded import daemon

#: From one start to the next, at least [s].
PAUSE = 60.0


@dataclass
class Announcer:
    """The running `push run`."""

    daemon: daemon.Daemon
    started: float = 0.0
    """When it was last started, by the monotonic clock [s]."""
    troubled: bool = False

    def start(self) -> None:
        """Start it; it is not waited for, as there may be nothing it has to reach."""
        self.daemon.start()
        self.started = time.monotonic()

    def stop(self) -> None:
        """End it."""
        self.daemon.stop()

    def trouble(self) -> str | None:
        """Look after it; what to say where it stopped and that was not said yet.

        Returns
        -------
        str or None
            One line, with the last words of its log.
        """
        if self.daemon.pid() is not None:
            if time.monotonic() - self.started > PAUSE:
                self.troubled = False
            return None
        if time.monotonic() - self.started > PAUSE:
            self.start()
        if self.troubled:
            return None
        self.troubled = True
        return (
            f"nothing is pushed to broker, webhooks and mailboxes, which is tried again every {PAUSE:.0f} s: "
            f"{self.daemon.log_tail(1)} ({self.daemon.log})"
        )


def start(home: Path, *, environment: Mapping[str, str]) -> Announcer:
    """Start it.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    environment : Mapping[str, str]
        Variables that give it the settings of the installation.

    Returns
    -------
    Announcer
        The running one.
    """
    made = Announcer(server(home, {**os.environ, **environment}))
    made.start()
    return made


def server(home: Path, environment: Mapping[str, str]) -> daemon.Daemon:
    """Give the process that pushes."""
    argv = [sys.executable, "-c", "from infra import cli; cli.main()", "push", "run"]
    return daemon.Daemon("push", argv, home / "delivery", environment)
