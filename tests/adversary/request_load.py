"""Requests of an owner, one after the other, each with its duration."""

import http.client
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyrage

from listener.clips.http import Address, HttpClient, Timeouts, parse_address
from listener.errors import EarmarkError

ALLOWED_S: Final = 5.0
"""Longest time in which a request must be served, challenge and answer together."""
_MOST_BYTES: Final = 1 << 30
_OK: Final = 200
_CREATED: Final = 201


class RequestFailed(Exception):
    """The archive did not serve a request; the message is its status and body, or the cause."""


class OwnerClient:
    """An owner with their key. For one thread.

    Args:
        address: address of the archive.
        owner: name of the owner.
        identity: their private key.
        patience_s: time after which a response counts as missing.
    """

    def __init__(
        self, address: Address, owner: str, identity: str, patience_s: float = 20.0
    ) -> None:
        self.owner = owner
        self.identity = pyrage.x25519.Identity.from_str(identity)
        limits = Timeouts(head_s=patience_s, body_s=patience_s, work_s=patience_s)
        self._http = HttpClient(address, limits)

    @classmethod
    def over_https(
        cls, address: str, ca: Path, owner: str, identity: str, patience_s: float
    ) -> "OwnerClient":
        """Return a client of ``https://HOST:PORT``, verified with the authority in ``ca``."""
        return cls(parse_address(address, ca), owner, identity, patience_s)

    def ask(self, op: str, **fields: object) -> bytes:
        """Send a request and its answer; return the response.

        Raises:
            RequestFailed: it was not served.
        """
        try:
            body = json.dumps({"owner": self.owner, "request": {"op": op} | fields}).encode()
            ticket = json.loads(self._post("/v1/tickets", body, "application/json", _CREATED))
            answer = pyrage.decrypt(ticket["challenge"].encode(), [self.identity])
            return self._post(f"/v1/tickets/{ticket['ticket']}", answer, "text/plain", _OK)
        except (EarmarkError, OSError, http.client.HTTPException, ValueError) as error:
            raise RequestFailed(f"{type(error).__name__}: {error}") from error

    def clips(self) -> list[str]:
        """Return the ids of all stored clips of this owner.

        Raises:
            RequestFailed: a page was not served.
        """
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = json.loads(self.ask("list", **({"after": after} if after else {})))
            found += [row["clip"] for row in page["clips"]]
            after = page.get("next")
        return found

    def _post(self, path: str, body: bytes, kind: str, expected: int) -> bytes:
        with self._http.request(path, body, kind) as response:
            got = b"".join(response.pieces(_MOST_BYTES))
            if response.status != expected:
                raise RequestFailed(f"{response.status} {got[:120]!r}")
            return got


@dataclass(frozen=True, slots=True)
class Served:
    """Outcome of one request."""

    op: str
    took_s: float
    fault: str = ""
    """Cause of the failure; empty if it was served."""


@dataclass(slots=True)
class RequestLoad:
    """Requests of an owner at equal intervals. For one thread.

    Args:
        client: the owner.
        steps: the requests, repeated in this order.
        number: number of requests.
        duration_s: time over which they are spread.
        allowed_s: longest time in which a request must be served.
    """

    client: OwnerClient
    steps: Sequence[tuple[str, Callable[[], dict[str, Any]]]]
    number: int
    duration_s: float
    allowed_s: float = ALLOWED_S
    served: list[Served] = field(default_factory=list)
    _began_s: float = field(default_factory=time.monotonic)

    def turn(self) -> None:
        """Send the request that is due, if any; several are not sent at once."""
        done = len(self.served)
        if done >= self.number:
            return
        if time.monotonic() - self._began_s < self.duration_s * (done + 0.5) / self.number:
            return
        op, fields = next(itertools.islice(itertools.cycle(self.steps), done, None))
        self.send(op, fields())

    def send(self, op: str, fields: dict[str, Any]) -> None:
        """Send one request and record its outcome."""
        began_s = time.monotonic()
        fault = ""
        try:
            self.client.ask(op, **fields)
        except RequestFailed as error:
            fault = str(error)
        self.served.append(Served(op, time.monotonic() - began_s, fault))

    def judge(self) -> list[str]:
        """Return the requests that were not served in time."""
        failed = Counter(one.fault for one in self.served if one.fault)
        faults = [f"{n} of {self.number} requests: {fault}" for fault, n in failed.items()]
        faults += [
            f"{one.op}: took {one.took_s:.1f} s"
            for one in self.served
            if not one.fault and one.took_s > self.allowed_s
        ]
        if len(self.served) < self.number:
            faults.append(f"{self.number - len(self.served)} requests were not sent")
        return faults

    def slowest_s(self) -> float:
        """Return the longest time of a request that was served; 0 if there was none."""
        return max((one.took_s for one in self.served if not one.fault), default=0.0)

    def summary(self) -> str:
        """Return one line: requests served, and the longest time."""
        good = sum(not one.fault for one in self.served)
        return f"{good} of {self.number} requests served, at most {self.slowest_s():.2f} s"
