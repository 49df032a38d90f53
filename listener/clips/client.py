"""Ask as an owner: a ticket, its challenge read here with her key, the answer, the result.

The challenge is read before it is answered. An archive, or whoever stands in for it, could send
one of her clips in its place, and would be told what is inside.
"""

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
import pyrage

from listener.clips.http import SMALL_BYTES, HttpClient, HttpResponse
from listener.clips.schema import ANSWER_LIMIT_BYTES, ErrorReply, TicketReply, parse, sanitize
from listener.envelope.format import ENVELOPE_LIMIT_BYTES
from listener.envelope.open import Identity
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.rights import requests

JSON: Final = "application/json"
ENVELOPE: Final = "application/vnd.earmark.envelope"
ZIP: Final = "application/zip"
LONGEST_CHALLENGE_BYTES: Final = 512
_NONCE: Final = r"[a-z2-7]{26}"

_Any = TypeVar("_Any")


class ArchiveClient:
    """One owner before one archive. For one thread.

    Args:
        wire: to the archive.
        owner: her name.
        identities: her keys, which stay here.
    """

    def __init__(self, wire: HttpClient, owner: str, identities: Sequence[Identity]) -> None:
        self._wire = wire
        self.owner = owner
        self.identities = identities

    @property
    def where(self) -> str:
        """The archive's address as it was typed."""
        return self._wire.where

    def get_archive(self, kind: type[_Any]) -> _Any:
        """Ask which archive this is, for which nothing has to be proved.

        Raises:
            Unavailable: nobody answers, or not as an archive does.
        """
        with self._wire.request("/v1/archive") as reply:
            return parse(_only(reply, JSON, SMALL_BYTES), kind)

    def request(
        self, request: requests.Request, kind: type[_Any], following: Identity | None = None
    ) -> _Any:
        """Return what a request brings that is answered in JSON.

        Args:
            request: what is asked.
            kind: what the answer must be.
            following: for ``new-key``, the new one.

        Raises:
            EarmarkError: the answer is no.
            Unavailable: nobody answers, or not as an archive does.
        """
        return parse(self.request_raw(request, following=following), kind)

    def request_raw(
        self,
        request: requests.Request,
        following: Identity | None = None,
        most_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> bytes:
        """Return the JSON itself, as it was signed; see ``request``."""
        with self._prove(request, following) as reply:
            return _only(reply, JSON, most_bytes)

    def get_envelope(self, clip: str) -> bytes:
        """Return one clip, sealed.

        Raises:
            EarmarkError: there is none of hers.
            Unavailable: nobody answers, or not as an archive does.
        """
        with self._prove(requests.PlayRequest(clip=clip)) as reply:
            return _only(reply, ENVELOPE, ENVELOPE_LIMIT_BYTES)

    def get_export(self, request: requests.ExportRequest, most_bytes: int) -> Iterator[bytes]:
        """Yield a ZIP as it comes. Whether it is whole and hers, ``exported`` says.

        Raises:
            EarmarkError: the answer is no.
            Unavailable: nobody answers, or it broke off.
        """
        with self._prove(request) as reply:
            _raise_for_error(reply, ZIP)
            yield from reply.pieces(most_bytes)

    def _prove(self, request: requests.Request, following: Identity | None = None) -> HttpResponse:
        body = {"owner": self.owner, "request": msgspec.Raw(requests.canonical(request))}
        with self._wire.request("/v1/tickets", msgspec.json.encode(body), JSON) as reply:
            ticket = parse(_only(reply, JSON, SMALL_BYTES), TicketReply)
        line = self._read(ticket.challenge, request, self.identities)
        if isinstance(request, requests.NewKeyRequest):
            if following is None or ticket.new_challenge is None:
                raise Unavailable("the archive asks for no proof of the new key", "do not trust it")
            line += b"\n" + self._read(ticket.new_challenge, request, (following,))
        works = isinstance(request, requests.EraseRequest | requests.ExportRequest)
        return self._wire.request(f"/v1/tickets/{ticket.ticket}", line, "text/plain", works=works)

    def _read(
        self, challenge: str, request: requests.Request, identities: Sequence[Identity]
    ) -> bytes:
        try:
            line = pyrage.decrypt(
                challenge.encode("ascii", "replace"), [one.secret for one in identities]
            )
        except pyrage.DecryptError as error:
            raise EarmarkError(
                f"the archive's challenge to {self.owner} does not open with this identity",
                "it is sealed to her active key: is this the right --identity, and the newest?",
            ) from error
        digest = requests.digest(request)
        expected = f"{re.escape(self.owner)}:{request.op}:{digest[:16]}:{_NONCE}\n?"
        if not re.fullmatch(expected.encode(), line[:LONGEST_CHALLENGE_BYTES]):
            raise Unavailable(
                "the archive's challenge is not about this request; nothing was answered",
                "whoever answers there wants something else read: do not trust it",
            )
        return bytes(line.strip())


def _only(reply: HttpResponse, kind: str, most_bytes: int) -> bytes:
    _raise_for_error(reply, kind)
    return reply.body(most_bytes)


def _raise_for_error(reply: HttpResponse, kind: str) -> None:
    """Pass what was carried out; turn the rest into an error.

    Raises:
        EarmarkError: the archive says no.
        UsageError: it does not take the request.
        Unavailable: it cannot now, or it is no archive.
    """
    if reply.status in {HTTPStatus.OK, HTTPStatus.CREATED} and reply.kind == kind:
        return
    if reply.status < HTTPStatus.BAD_REQUEST or reply.kind != JSON:
        raise Unavailable(
            f"who answers is no archive: status {reply.status}", "--archive names another"
        )
    error = parse(reply.body(), ErrorReply)
    message, hint = f"the archive says: {sanitize(error.message)}", sanitize(error.hint)
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.error == "slow":
        raise Unavailable(message, hint)
    if error.error in {"request", "size", "type"}:
        raise UsageError(message, hint)
    raise EarmarkError(message, _HINTS.get(error.error, hint))


_HINTS: Final[dict[str, Any]] = {
    "owner": "--owner is the short name; it is known once earmark owner confirm was answered",
    "proof": "ask again; the archive's log has a row about this",
}
