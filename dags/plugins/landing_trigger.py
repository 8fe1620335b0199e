"""Watch the landing bucket and ring when something lies there that the ledger does not know.

The trigger holds no cursor: it compares the bucket with the ledger, so a restart of the triggerer loses nothing, and it
rings again while an object stays unregistered.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from infra.stages import scheduling

log = logging.getLogger(__name__)


class LandingTrigger(BaseEventTrigger):
    """Fire while objects of one landed kind wait for registration."""

    def __init__(self, kind: str, poll_seconds: float = 2.0, repeat_seconds: float = 60.0) -> None:
        super().__init__()
        self.kind = kind
        self.poll_seconds = poll_seconds
        self.repeat_seconds = repeat_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as the triggerer stores them."""
        arguments = {"kind": self.kind, "poll_seconds": self.poll_seconds, "repeat_seconds": self.repeat_seconds}
        return "landing_trigger.LandingTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event when the set of unregistered objects changes, and again if it stays."""
        clock = asyncio.get_running_loop().time
        rung: tuple[list[str], float] = ([], 0.0)
        while True:
            waiting = await self._unregistered()
            if waiting and (waiting != rung[0] or clock() - rung[1] > self.repeat_seconds):
                rung = (waiting, clock())
                yield TriggerEvent({"kind": self.kind, "waiting": len(waiting), "first": waiting[0]})
            await asyncio.sleep(self.poll_seconds)

    async def _unregistered(self) -> list[str]:
        try:
            return await asyncio.to_thread(scheduling.landed, self.kind)
        except Exception:
            # A store that is away for a moment must not end the watch; the next poll asks again.
            log.exception("cannot list the landing bucket for %s", self.kind)
            return []
