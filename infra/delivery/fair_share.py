"""Limits by agency, so that one client in a hurry does not slow the others.

Two limits work together: a bucket of requests that refills at a steady rate and refuses what is above it, saying when
to come back; and a few places in the service for each agency, before which its further requests wait in line.
"""

import asyncio
import collections
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

_AGENCIES_KEPT = 4096


class TooManyRequestsError(Exception):
    """The agency asks faster than agreed.

    Attributes
    ----------
    retry_after : float
        When the next request will be taken [s].
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many requests; come back in {retry_after:.1f} s")
        self.retry_after = retry_after


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What one agency may use.

    Attributes
    ----------
    rate : float
        Requests a second in the long run [1/s].
    burst : int
        Requests at once after a rest [1].
    places : int
        Requests worked on at the same time [1].
    waiting : int
        Requests that may wait for a place [1].
    """

    rate: float = 200.0
    burst: int = 1000
    places: int = 1
    waiting: int = 64


@dataclasses.dataclass
class _Share:
    tokens: float
    refilled_at: float
    places: asyncio.Semaphore
    inside: int = 0


class Refusals:
    """Refusals that are written down: a few of each origin, the rest by their number.

    Whoever is refused costs a line of the record, which waits for the disk. So that nobody can fill the disk or hold
    others up with them, an origin has a slow bucket of its own; what is above it is counted, and the number goes into
    its next line. Belongs to one event loop.

    Parameters
    ----------
    limits : Limits
        Rate and burst of refusals of one origin.
    clock : callable
        Monotonic time [s].
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._shares = FairShare(limits, clock)
        self._unrecorded: dict[str, int] = {}

    def counted(self, origin: str) -> int:
        """Count a refusal that is to be written down.

        Parameters
        ----------
        origin : str
            Whose.

        Returns
        -------
        int
            Refusals of this origin before it that were not written down [1].

        Raises
        ------
        TooManyRequestsError
            It is not to be written down, and was counted.
        """
        try:
            self._shares.spend(origin)
        except TooManyRequestsError:
            self._unrecorded[origin] = self._unrecorded.get(origin, 0) + 1
            raise
        return self._unrecorded.pop(origin, 0)

    def overdue(self) -> dict[str, int]:
        """Give the numbers of those whose bucket has filled again, which are then forgotten here.

        Returns
        -------
        dict
            Refusals not written down, by origin.
        """
        rested = [origin for origin in self._unrecorded if self._shares.is_full(origin)]
        return {origin: self._unrecorded.pop(origin) for origin in rested}


class FairShare:
    """Shares of the service by agency; belongs to one event loop.

    Parameters
    ----------
    limits : Limits
        What each agency may use.
    clock : callable
        Monotonic time [s].
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.limits = limits
        self.clock = clock
        self._shares: collections.OrderedDict[str, _Share] = collections.OrderedDict()

    @contextlib.asynccontextmanager
    async def taken(self, agency: str) -> AsyncIterator[None]:
        """Hold a place of the agency's share during a block.

        Parameters
        ----------
        agency : str
            Who asks.

        Yields
        ------
        None
            Once there is a place.

        Raises
        ------
        TooManyRequestsError
            The bucket is empty or the line is full.
        """
        self.spend(agency)
        share = self._shares[agency]
        if share.inside >= self.limits.places + self.limits.waiting:
            raise TooManyRequestsError(1.0)
        share.inside += 1
        try:
            async with share.places:
                yield
        finally:
            share.inside -= 1

    def _share(self, agency: str) -> _Share:
        share = self._shares.get(agency)
        if share is None:
            share = _Share(float(self.limits.burst), self.clock(), asyncio.Semaphore(self.limits.places))
            self._shares[agency] = share
            self._forget_idle()
        self._shares.move_to_end(agency)
        return share

    def _forget_idle(self) -> None:
        while len(self._shares) > _AGENCIES_KEPT:
            idle = next((name for name, share in self._shares.items() if not share.inside), None)
            if idle is None:
                return
            del self._shares[idle]

    def spend(self, agency: str) -> None:
        """Take one request out of an agency's bucket.

        Parameters
        ----------
        agency : str
            Who asks.

        Raises
        ------
        TooManyRequestsError
            The bucket is empty.
        """
        share = self._refilled(agency)
        if share.tokens < 1.0:
            raise TooManyRequestsError((1.0 - share.tokens) / self.limits.rate)
        share.tokens -= 1.0

    def is_full(self, agency: str) -> bool:
        """Tell whether an agency has rested until its bucket was full again.

        Parameters
        ----------
        agency : str
            Whose.

        Returns
        -------
        bool
            Whether it is full.
        """
        return self._refilled(agency).tokens >= self.limits.burst

    def _refilled(self, agency: str) -> _Share:
        share, now = self._share(agency), self.clock()
        share.tokens = min(self.limits.burst, share.tokens + (now - share.refilled_at) * self.limits.rate)
        share.refilled_at = now
        return share
