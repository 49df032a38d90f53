"""Challenge and response: proof that a request comes from the holder of an owner's key.

The challenge is a random line encrypted to the owner's age key; the answer is the decrypted line.
A ticket authorises one request with its exact parameters, once (decision 0020).

Anyone may request a ticket, so a ticket takes no memory (decision 0040): it carries the owner, the
key, the request, the expiry and a MAC of the answer, under a MAC by a key of this process. The
archive remembers an answer only after it was proven, until its ticket expires, so that it is valid
once. No number of tickets that other peers request can end a ticket.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from listener.envelope.seal import encrypt_to
from listener.errors import EarmarkError
from listener.owner.roster import Roster
from listener.rights import requests
from listener.rights.requests import NewKeyRequest, Request

TICKET_S: Final = 300
MOST_PROVEN_PER_OWNER: Final = 1 << 16
"""Proven tickets within ``TICKET_S``; an owner who exceeds it waits, and delays no other owner."""
MOST_WRONG_PER_OWNER: Final = 256
"""Wrongly answered tickets that stay used up; the oldest are forgotten. An answer has 128 random
bits, so that a forgotten ticket gives no guess that counts."""
LONGEST_ANSWER_BYTES: Final = 512
LONGEST_TICKET: Final = 15_000
"""Characters of the longest ticket, which must fit the line of an HTTP request."""

_TAG_BYTES: Final = 16
_RANDOM_BYTES: Final = 8
_ANSWER: Final = re.compile(rb"([a-z0-9-]{1,32}):([a-z-]+):([0-9a-f]{16}):([a-z2-7]{26})")


class OwnerNotActive(EarmarkError):
    """There is no active owner of this name."""

    def __init__(self) -> None:
        super().__init__("there is no active owner of this name")


class KeyReplaced(EarmarkError):
    """The owner's key was replaced after the challenge was issued."""

    def __init__(self) -> None:
        super().__init__(
            "the owner's key was replaced after this ticket was issued", "request a new ticket"
        )


class TooManyRequests(EarmarkError):
    """The owner has proven more requests within ``TICKET_S`` than the archive remembers."""

    def __init__(self) -> None:
        super().__init__("this owner has made too many requests", "try again in 5 minutes")


@dataclass(frozen=True, slots=True)
class RequestChallenge:
    """A request with the key that must prove it."""

    owner: str
    okey: str
    """Fingerprint of the key that must prove it."""
    request: Request
    request_sha256: str

    def check_roster(self, roster: Roster) -> None:
        """Check that the key to which the challenge was issued is still the owner's active one.

        Raises:
            OwnerNotActive: the owner was removed, or is not active.
            KeyReplaced: the owner has another active key.
        """
        owner = roster.owner(self.owner)
        if owner is None or not owner.active:
            raise OwnerNotActive
        if owner.okey != self.okey:
            raise KeyReplaced


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


class _TicketBody(msgspec.Struct, frozen=True, array_like=True):
    """The authenticated content of a ticket."""

    owner: str
    okey: str
    until_ms: int
    """Expiry by the clock of ``RequestChallenges``."""
    answer_tag: bytes
    """MAC of the answer."""
    request: bytes
    """The request in canonical JSON."""


@dataclass(slots=True)
class _UsedTickets:
    """Tickets of one owner that are used up: expiry in ms by the tag of the answer, in order."""

    proven: dict[bytes, int] = field(default_factory=dict)
    wrong: dict[bytes, int] = field(default_factory=dict)

    def __contains__(self, tag: bytes) -> bool:
        return tag in self.proven or tag in self.wrong

    def add_wrong(self, tag: bytes, until_ms: int) -> None:
        """Mark a ticket as used up by a wrong answer; the oldest such mark gives way."""
        if len(self.wrong) >= MOST_WRONG_PER_OWNER:
            del self.wrong[next(iter(self.wrong))]
        self.wrong[tag] = until_ms

    def discard_expired(self, now_ms: int) -> None:
        """Forget the tickets that have expired."""
        for used in (self.proven, self.wrong):
            while used and used[first := next(iter(used))] <= now_ms:
                del used[first]


class ProvenTickets(Protocol):
    """Proven tickets of several archive processes. Safe for several threads."""

    def use_up(self, owner: str, tag: bytes, until_ms: int) -> bool:
        """Use a ticket up; return False if another process did.

        Args:
            owner: the owner who proved it.
            tag: MAC of its answer.
            until_ms: its expiry, milliseconds since 1970.

        Raises:
            Unavailable: it is not known; the ticket stays valid.
        """


class RequestChallenges:
    """Issuer and verifier of tickets. Safe for several threads.

    Args:
        monotonic_s: monotonic clock, in seconds; the wall clock where several processes share
            tickets.
        secret: key of the tickets' MACs; by default a new one, so that only this process can
            redeem them.
        shared: proven tickets of the processes with the same secret, if there are several.
    """

    def __init__(
        self,
        monotonic_s: Callable[[], float],
        secret: bytes | None = None,
        shared: ProvenTickets | None = None,
    ) -> None:
        self._monotonic_s = monotonic_s
        self._secret = secret or secrets.token_bytes(32)
        self._shared = shared
        self._used: dict[str, _UsedTickets] = {}
        self._lock = threading.Lock()

    def issue(self, owner: str, okey: str, recipient: str, request: Request) -> IssuedChallenge:
        """Issue a challenge for one request; stores nothing.

        Args:
            owner: the owner who must prove it.
            okey: fingerprint of the owner's active key.
            recipient: the owner's active age recipient; the challenge is encrypted to it.
            request: the request with all its parameters.

        Raises:
            ConfigError: a key is not a valid age recipient.
        """
        digest = requests.digest(request)
        old = self._answer(owner, request, digest)
        expected, new_challenge = old, None
        challenge = encrypt_to(recipient, old + b"\n", armored=True).decode("ascii")
        if isinstance(request, NewKeyRequest):
            new = self._answer(owner, request, digest)
            expected = old + b"\n" + new
            sealed = encrypt_to(request.recipient, new + b"\n", armored=True)
            new_challenge = sealed.decode("ascii")
        body = _TicketBody(
            owner,
            okey,
            self._now_ms() + TICKET_S * 1000,
            self._tag(b"answer", expected),
            requests.canonical(request),
        )
        data = zlib.compress(msgspec.msgpack.encode(body))
        ticket = base64.urlsafe_b64encode(self._tag(b"ticket", data) + data)
        return IssuedChallenge(ticket.decode("ascii").rstrip("="), challenge, new_challenge, digest)

    def redeem(self, name: str, answer: bytes) -> ChallengeResult | None:
        """Check an answer and use its ticket up.

        Args:
            name: the ticket.
            answer: the decrypted challenge; white space around its lines is ignored.

        Returns:
            None if the ticket was not issued with this secret, or it was used or has expired.

        Raises:
            TooManyRequests: the owner has used more tickets than are remembered; it stays valid.
        """
        body = self._parse(name)
        if body is None:
            return None
        lines = b"\n".join(answer[:LONGEST_ANSWER_BYTES].split())
        tag = self._tag(b"answer", lines)
        request: Request = msgspec.json.decode(body.request, type=Request)
        ticket = RequestChallenge(body.owner, body.okey, request, requests.digest(request))
        with self._lock:
            now_ms = self._now_ms()
            used = self._used_by(body.owner, now_ms)
            if now_ms >= body.until_ms or body.answer_tag in used:
                return None
            if hmac.compare_digest(tag, body.answer_tag):
                if len(used.proven) >= MOST_PROVEN_PER_OWNER:
                    raise TooManyRequests
                if self._shared is not None and not self._shared.use_up(
                    body.owner, tag, body.until_ms
                ):
                    return None
                used.proven[tag] = body.until_ms
                return ChallengeResult(ticket, is_proven=True)
            used.add_wrong(body.answer_tag, body.until_ms)
            crossed = self._use_up_crossed(lines, tag, now_ms)
        return ChallengeResult(ticket, is_proven=False, crossed=crossed)

    def _use_up_crossed(self, lines: bytes, tag: bytes, now_ms: int) -> str | None:
        """Use up the ticket to which an answer belongs; return its owner, or None.

        An answer carries a MAC of itself, so that it is recognised without a list of open tickets.
        """
        match = _ANSWER.fullmatch(lines.partition(b"\n")[0])
        if match is None:
            return None
        prefix, nonce = lines[: match.start(4)], base64.b32decode(match[4].upper() + b"======")
        expected = self._tag(b"line", prefix + nonce[:_RANDOM_BYTES])
        if not hmac.compare_digest(nonce[_RANDOM_BYTES:], expected[: _TAG_BYTES - _RANDOM_BYTES]):
            return None
        owner = match[1].decode("ascii")
        used = self._used_by(owner, now_ms)
        if tag in used:
            return None
        if len(used.proven) < MOST_PROVEN_PER_OWNER:
            used.proven[tag] = now_ms + TICKET_S * 1000
        return owner

    def _used_by(self, owner: str, now_ms: int) -> _UsedTickets:
        # Only for owners to whom a ticket was issued: their number is the household's.
        used = self._used.setdefault(owner, _UsedTickets())
        used.discard_expired(now_ms)
        return used

    def _answer(self, owner: str, request: Request, digest: str) -> bytes:
        prefix = f"{owner}:{request.op}:{digest[:16]}:".encode("ascii")
        chosen = secrets.token_bytes(_RANDOM_BYTES)
        nonce = chosen + self._tag(b"line", prefix + chosen)[: _TAG_BYTES - _RANDOM_BYTES]
        return prefix + base64.b32encode(nonce).rstrip(b"=").lower()

    def _parse(self, name: str) -> _TicketBody | None:
        """Return the content of a ticket that this process issued, or None."""
        try:
            if len(name) > LONGEST_TICKET:
                return None
            raw = base64.b64decode(name + "=" * (-len(name) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        tag, data = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(b"ticket", data)):
            return None
        return msgspec.msgpack.decode(zlib.decompress(data), type=_TicketBody)

    def _tag(self, purpose: bytes, data: bytes) -> bytes:
        """Return a MAC: keyed BLAKE2b (RFC 7693), 16 bytes."""
        return hashlib.blake2b(
            data, key=self._secret, digest_size=_TAG_BYTES, person=purpose
        ).digest()

    def _now_ms(self) -> int:
        return int(self._monotonic_s() * 1000)
