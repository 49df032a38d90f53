"""Pacing of requests by client address: a token bucket for each address, and a fair queue.

The server cannot know a request's sender before its proof. So each address has a rate, which rises
once an owner has proven a request from it, and waiting requests of different addresses start in
turn. A request waits instead of being refused: an address has few connections, and each of them
at most one request.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from listener.system.connection_table import peer_of


@dataclass(frozen=True, slots=True)
class RequestRate:
    """A rate of requests."""

    per_s: float
    """Requests a second in the long run."""
    burst: float
    """Requests that may start at once."""


UNPROVEN: Final = RequestRate(per_s=10, burst=60)
"""For an address without a proof. One address may be a whole household behind a router: 60 requests
are 20 first commands of owners, and the first proof raises the rate."""
PROVEN: Final = RequestRate(per_s=100, burst=200)
"""For an address from which an owner has proven a request."""
ALL: Final = RequestRate(per_s=200, burst=50)
"""For all addresses together, so that storing clips keeps its share of the processor."""
MOST_ADDRESSES: Final = 1024
"""Addresses with a bucket of their own; the one that was used longest ago is forgotten first."""


class TokenBucket:
    """Token bucket: ``per_s`` tokens a second, at most ``burst`` at once.

    Args:
        rate: the rate.
        now_s: the time; the bucket is full.
    """

    def __init__(self, rate: RequestRate, now_s: float) -> None:
        self.rate = rate
        self._tokens = rate.burst
        self._filled_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until there is a token; 0 if there is one."""
        self._fill(now_s)
        return max(0.0, (1 - self._tokens) / self.rate.per_s)

    def take(self, now_s: float) -> None:
        """Take a token."""
        self._fill(now_s)
        self._tokens -= 1

    def _fill(self, now_s: float) -> None:
        passed_s = max(0.0, now_s - self._filled_s)
        self._tokens = min(self.rate.burst, self._tokens + passed_s * self.rate.per_s)
        self._filled_s = now_s


class RequestQueue:
    """Queue of requests that wait for their turn. For the event loop's thread.

    Args:
        monotonic_s: monotonic clock, in seconds.
        unproven: rate of an address without a proof.
    """

    def __init__(self, monotonic_s: Callable[[], float], unproven: RequestRate = UNPROVEN) -> None:
        self._monotonic_s = monotonic_s
        self._unproven = unproven
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._all = TokenBucket(ALL, monotonic_s())
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self.delayed = 0
        """Requests that had to wait."""

    def enter(self, address: str) -> "asyncio.Future[None]":
        """Return a future that is done when a request of this address may start.

        Cancel it when the client disconnects: it then costs nothing.

        Args:
            address: IP address of the client.
        """
        peer, _ = peer_of(address)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(peer, deque()).append(turn)
        self._start_due()
        if not turn.done():
            self.delayed += 1
        return turn

    def note_proof(self, address: str) -> None:
        """Raise the rate of an address from which an owner proved a request."""
        peer, _ = peer_of(address)
        if self._bucket(peer).rate != PROVEN:
            self._buckets[peer] = TokenBucket(PROVEN, self._monotonic_s())

    def _start_due(self) -> None:
        """Start the requests that may start now, of each address in turn."""
        now_s = self._monotonic_s()
        self._discard_cancelled()
        while self._waiting and self._all.wait_s(now_s) <= 0:
            due = next((p for p in self._waiting if self._bucket(p).wait_s(now_s) <= 0), None)
            if due is None:
                break
            self._all.take(now_s)
            self._bucket(due).take(now_s)
            turns = self._waiting.pop(due)
            turns.popleft().set_result(None)
            if turns:
                self._waiting[due] = turns  # behind the other addresses
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            own_s = min(self._bucket(peer).wait_s(now_s) for peer in self._waiting)
            wait_s = max(own_s, self._all.wait_s(now_s))
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._start_due)

    def _discard_cancelled(self) -> None:
        for peer, turns in tuple(self._waiting.items()):
            waiting = deque(turn for turn in turns if not turn.done())
            if waiting:
                self._waiting[peer] = waiting
            else:
                del self._waiting[peer]

    def _bucket(self, peer: str) -> TokenBucket:
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = TokenBucket(self._unproven, self._monotonic_s())
            if len(self._buckets) > MOST_ADDRESSES:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(peer)
        return bucket
