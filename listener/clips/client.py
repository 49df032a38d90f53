"""The client of the archive's HTTP API: ticket, challenge, answer, result.

The decrypted challenge is checked before it is sent back. Otherwise a hostile server could send one
of the owner's clips as a challenge and receive its plaintext.
"""

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final, TypeVar

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
_HOSTILE_HINT: Final = "do not use this archive; tell your household"
_HINTS: Final = {
    "owner": "check --owner; an owner becomes active with earmark owner confirm",
    "proof": "try again; the access log records this attempt",
}

_Any = TypeVar("_Any")


class ArchiveClient:
    """Client of one owner for one archive. For one thread.

    Args:
        http: HTTP client for the archive.
        owner: the owner's name.
        identities: the owner's secret keys; they are never sent.
    """

    def __init__(self, http: HttpClient, owner: str, identities: Sequence[Identity]) -> None:
        self._http = http
        self.owner = owner
        self.identities = identities

    @property
    def where(self) -> str:
        """The archive's address as given on the command line."""
        return self._http.where

    def get_archive(self, kind: type[_Any]) -> _Any:
        """Return the archive's public key and log head; needs no proof.

        Args:
            kind: schema of the response.

        Raises:
            Unavailable: no server answers, or it is not an archive.
        """
        with self._http.request("/v1/archive") as reply:
            return parse(_body(reply, JSON, SMALL_BYTES), kind)

    def request(
        self, request: requests.Request, kind: type[_Any], following: Identity | None = None
    ) -> _Any:
        """Make a request whose response is JSON; return the parsed response.

        Args:
            request: the request.
            kind: schema of the response.
            following: for ``new-key``, the new key.

        Raises:
            EarmarkError: the archive refuses the request.
            Unavailable: no server answers, or it is not an archive.
        """
        return parse(self.request_raw(request, following=following), kind)

    def request_raw(
        self,
        request: requests.Request,
        following: Identity | None = None,
        most_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> bytes:
        """Make a request; return the JSON bytes as the archive signed them. See ``request``."""
        with self._prove(request, following) as reply:
            return _body(reply, JSON, most_bytes)

    def get_envelope(self, clip: str) -> bytes:
        """Return one sealed clip.

        Raises:
            EarmarkError: the owner has no such clip.
            Unavailable: no server answers, or it is not an archive.
        """
        with self._prove(requests.PlayRequest(clip=clip)) as reply:
            return _body(reply, ENVELOPE, ENVELOPE_LIMIT_BYTES)

    def get_export(self, request: requests.ExportRequest, most_bytes: int) -> Iterator[bytes]:
        """Yield the bytes of an export, unverified; ``exports.ExportReader`` verifies it.

        Args:
            request: the selection.
            most_bytes: limit of its size.

        Raises:
            EarmarkError: the archive refuses the request.
            Unavailable: no server answers, or the connection ended early.
        """
        with self._prove(request) as reply:
            _raise_for_error(reply, ZIP)
            yield from reply.pieces(most_bytes)

    def _prove(self, request: requests.Request, following: Identity | None = None) -> HttpResponse:
        body = {"owner": self.owner, "request": msgspec.Raw(requests.canonical(request))}
        with self._http.request("/v1/tickets", msgspec.json.encode(body), JSON) as reply:
            ticket = parse(_body(reply, JSON, SMALL_BYTES), TicketReply)
        line = self._decrypt(ticket.challenge, request, self.identities)
        if isinstance(request, requests.NewKeyRequest):
            if following is None or ticket.new_challenge is None:
                raise Unavailable("the archive did not request proof of the new key", _HOSTILE_HINT)
            line += b"\n" + self._decrypt(ticket.new_challenge, request, (following,))
        is_slow = isinstance(request, requests.EraseRequest | requests.ExportRequest)
        return self._http.request(
            f"/v1/tickets/{ticket.ticket}", line, "text/plain", is_slow=is_slow
        )

    def _decrypt(
        self, challenge: str, request: requests.Request, identities: Sequence[Identity]
    ) -> bytes:
        try:
            line = pyrage.decrypt(
                challenge.encode("ascii", "replace"), [identity.secret for identity in identities]
            )
        except pyrage.DecryptError as error:
            raise EarmarkError(
                f"cannot decrypt the archive's challenge for {self.owner} with this identity",
                f"pass --identity with the file of {self.owner}'s active key",
            ) from error
        digest = requests.digest(request)
        expected = f"{re.escape(self.owner)}:{request.op}:{digest[:16]}:{_NONCE}\n?"
        if len(line) > LONGEST_CHALLENGE_BYTES or not re.fullmatch(expected.encode(), line):
            raise Unavailable(
                "the archive's challenge is not for this request; no answer was sent",
                _HOSTILE_HINT,
            )
        return bytes(line.strip())


def _body(reply: HttpResponse, kind: str, most_bytes: int) -> bytes:
    _raise_for_error(reply, kind)
    return reply.body(most_bytes)


def _raise_for_error(reply: HttpResponse, kind: str) -> None:
    """Raise an error unless the response is a result of this media type.

    Raises:
        EarmarkError: the archive refuses the request.
        UsageError: the request is malformed.
        Unavailable: the archive cannot carry it out now, or the server is not an archive.
    """
    if reply.status in {HTTPStatus.OK, HTTPStatus.CREATED} and reply.kind == kind:
        return
    if reply.status < HTTPStatus.BAD_REQUEST or reply.kind != JSON:
        raise Unavailable(
            f"the server is not an Earmark archive (HTTP {reply.status})", "check --archive"
        )
    error = parse(reply.body(), ErrorReply)
    message, hint = f"the archive answered: {sanitize(error.message)}", sanitize(error.hint)
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.error == "slow":
        raise Unavailable(message, hint)
    if error.error in {"request", "size", "type"}:
        raise UsageError(message, hint)
    raise EarmarkError(message, _HINTS.get(error.error, hint))
