"""Proof of possession: a question that only the owner's key can read, good for one request, once.

In memory alone: a ticket does not outlive the process, and nothing is written before it is proven.
Time is a clock that never jumps.
"""

import base64
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from listener.envelope.seal import encrypt_to
from listener.rights import requests
from listener.rights.requests import NewKeyRequest, Request

TICKET_S: Final = 300
MOST_TICKETS: Final = 256
MOST_OF_ONE: Final = 16
LONGEST_ANSWER_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class RequestChallenge:
    """A request that waits for its proof."""

    owner: str
    okey: str
    """The key that has to prove it."""
    request: Request
    request_sha256: str
    until_s: float
    answer: bytes


@dataclass(frozen=True, slots=True)
class IssuedChallenge:
    """What the asker gets."""

    ticket: str
    challenge: str
    new_challenge: str | None
    request_sha256: str


@dataclass(frozen=True, slots=True)
class ChallengeResult:
    """What an answer was worth. The ticket is used up whatever it was."""

    ticket: RequestChallenge
    is_proven: bool
    crossed: str | None = None
    """The owner to whose ticket it would have been the right answer."""


class RequestChallenges:
    """The open tickets. Safe for use by several threads.

    Args:
        monotonic_s: a clock that never jumps.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._open: OrderedDict[str, RequestChallenge] = OrderedDict()
        self._lock = threading.Lock()

    def issue(self, owner: str, okey: str, recipient: str, request: Request) -> IssuedChallenge:
        """Ask a question about one request.

        Args:
            owner: who has to prove it.
            okey: the fingerprint of her key.
            recipient: her key, to which the question is sealed.
            request: with all its parameters.

        Raises:
            ConfigError: a key is none.
        """
        digest = requests.digest(request)
        old = _answer(owner, request, digest)
        expected, new_challenge = old, None
        challenge = encrypt_to(recipient, old + b"\n", armored=True).decode("ascii")
        if isinstance(request, NewKeyRequest):
            new = _answer(owner, request, digest)
            expected = old + b"\n" + new
            sealed = encrypt_to(request.recipient, new + b"\n", armored=True)
            new_challenge = sealed.decode("ascii")
        name = secrets.token_urlsafe(16)
        with self._lock:
            now_s = self._monotonic_s()
            self._make_room(owner, now_s)
            self._open[name] = RequestChallenge(
                owner, okey, request, digest, now_s + TICKET_S, expected
            )
        return IssuedChallenge(name, challenge, new_challenge, digest)

    def redeem(self, name: str, answer: bytes) -> ChallengeResult | None:
        """Use a ticket up.

        Args:
            name: the ticket.
            answer: what its challenge says, with any white space around the lines.

        Returns:
            None when there is no such ticket any more.
        """
        given = b"\n".join(answer[:LONGEST_ANSWER_BYTES].split())
        with self._lock:
            ticket = self._open.pop(name, None)
            if ticket is None or self._monotonic_s() >= ticket.until_s:
                return None
            if hmac.compare_digest(given, ticket.answer):
                return ChallengeResult(ticket, is_proven=True)
            other = self._find_owner(given)
            crossed = self._open.pop(other).owner if other is not None else None
        return ChallengeResult(ticket, is_proven=False, crossed=crossed)

    def _find_owner(self, given: bytes) -> str | None:
        match = None
        for name, ticket in self._open.items():
            if hmac.compare_digest(given, ticket.answer):
                match = name
        return match

    def _make_room(self, owner: str, now_s: float) -> None:
        for name in [name for name, one in self._open.items() if now_s >= one.until_s]:
            del self._open[name]
        own = [name for name, one in self._open.items() if one.owner == owner]
        for name in own[: max(0, len(own) - MOST_OF_ONE + 1)]:
            del self._open[name]
        while len(self._open) >= MOST_TICKETS:
            self._open.popitem(last=False)


def _answer(owner: str, request: Request, digest: str) -> bytes:
    nonce = base64.b32encode(secrets.token_bytes(16)).decode("ascii").rstrip("=").lower()
    return f"{owner}:{request.op}:{digest[:16]}:{nonce}".encode("ascii")
