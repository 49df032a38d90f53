"""Challenge and response: proof that a request comes from the holder of an owner's key.

The challenge is a random line encrypted to the owner's age key; the answer is the decrypted line.
A ticket authorises one request with its exact parameters, once (decision 0020). Tickets are held in
memory only, and expire by the monotonic clock.
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
MOST_TICKETS_PER_OWNER: Final = 16
LONGEST_ANSWER_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class RequestChallenge:
    """A request whose proof is pending."""

    owner: str
    okey: str
    """Fingerprint of the key that must prove it."""
    request: Request
    request_sha256: str
    until_s: float
    """Expiry by the monotonic clock, in seconds."""
    answer: bytes


@dataclass(frozen=True, slots=True)
class IssuedChallenge:
    """A ticket and its challenge, as sent to the client."""

    ticket: str
    challenge: str
    new_challenge: str | None
    request_sha256: str


@dataclass(frozen=True, slots=True)
class ChallengeResult:
    """The result of an answer. Any answer uses the ticket up."""

    ticket: RequestChallenge
    is_proven: bool
    crossed: str | None = None
    """The owner to whose ticket the answer belongs, if it is another's."""


class RequestChallenges:
    """The open tickets. Safe for several threads.

    Args:
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._open: OrderedDict[str, RequestChallenge] = OrderedDict()
        self._lock = threading.Lock()

    def issue(self, owner: str, okey: str, recipient: str, request: Request) -> IssuedChallenge:
        """Issue a challenge for one request.

        Args:
            owner: the owner who must prove it.
            okey: fingerprint of the owner's active key.
            recipient: the owner's active age recipient; the challenge is encrypted to it.
            request: the request with all its parameters.

        Raises:
            ConfigError: a key is not a valid age recipient.
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
            self._discard_tickets(owner, now_s)
            self._open[name] = RequestChallenge(
                owner, okey, request, digest, now_s + TICKET_S, expected
            )
        return IssuedChallenge(name, challenge, new_challenge, digest)

    def redeem(self, name: str, answer: bytes) -> ChallengeResult | None:
        """Check an answer and remove its ticket.

        Args:
            name: the ticket.
            answer: the decrypted challenge; white space around its lines is ignored.

        Returns:
            None if the ticket does not exist, was used or has expired.
        """
        lines = b"\n".join(answer[:LONGEST_ANSWER_BYTES].split())
        with self._lock:
            ticket = self._open.pop(name, None)
            if ticket is None or self._monotonic_s() >= ticket.until_s:
                return None
            if hmac.compare_digest(lines, ticket.answer):
                return ChallengeResult(ticket, is_proven=True)
            other = self._find_ticket(lines)
            crossed = self._open.pop(other).owner if other is not None else None
        return ChallengeResult(ticket, is_proven=False, crossed=crossed)

    def _find_ticket(self, answer: bytes) -> str | None:
        """Return the ticket with this answer; compares all, so that the time says nothing."""
        match = None
        for name, ticket in self._open.items():
            if hmac.compare_digest(answer, ticket.answer):
                match = name
        return match

    def _discard_tickets(self, owner: str, now_s: float) -> None:
        for name in [name for name, ticket in self._open.items() if now_s >= ticket.until_s]:
            del self._open[name]
        own = [name for name, ticket in self._open.items() if ticket.owner == owner]
        for name in own[: max(0, len(own) - MOST_TICKETS_PER_OWNER + 1)]:
            del self._open[name]
        while len(self._open) >= MOST_TICKETS:
            self._open.popitem(last=False)


def _answer(owner: str, request: Request, digest: str) -> bytes:
    nonce = base64.b32encode(secrets.token_bytes(16)).decode("ascii").rstrip("=").lower()
    return f"{owner}:{request.op}:{digest[:16]}:{nonce}".encode("ascii")
