"""Requests of the page to the archive: checked, forwarded over TLS, and bounded.

Nothing but a request of this owner and the answer to a challenge is forwarded, in exactly their
form: so neither a key nor decrypted sound can reach the archive through this server. Responses are
ciphertext and metadata.
"""

import re
from collections.abc import Iterator
from typing import Final

from starlette.responses import Response, StreamingResponse

from listener.browse.refusal import PageRequestRefused
from listener.browser_page.page_routes import HEADERS
from listener.clips.client import ENVELOPE, JSON, ZIP
from listener.clips.http import Address, HttpClient, HttpResponse
from listener.clips.trust_store import RECEIPT_LIMIT_BYTES
from listener.envelope.format import ENVELOPE_LIMIT_BYTES
from listener.errors import Unavailable, UsageError
from listener.rights import requests

EXPORT_LIMIT_BYTES: Final = 1 << 40
LONGEST_ANSWER_BYTES: Final = 512
_TICKET: Final = re.compile(r"[A-Za-z0-9_-]{1,15000}")
_ANSWER: Final = r"{}:[a-z-]{{1,16}}:[0-9a-f]{{16}}:[a-z2-7]{{26}}"


class ArchiveForwarder:
    """Forwards the page's requests of one owner. Safe for several threads.

    Args:
        address: address of the archive.
        owner: the owner's name.
    """

    def __init__(self, address: Address, owner: str) -> None:
        self._address = address
        self._owner = owner
        line = _ANSWER.format(re.escape(owner))
        self._answers = re.compile(rf"{line}(\n{line})?\n?".encode("ascii"))

    def about(self) -> Response:
        """Forward ``GET /v1/archive``.

        Raises:
            PageRequestRefused: the archive cannot be reached.
        """
        return self._forward("/v1/archive")

    def request_ticket(self, body: bytes) -> Response:
        """Forward ``POST /v1/tickets``.

        Args:
            body: the request in JSON.

        Raises:
            PageRequestRefused: it is not a request of this owner, or the archive cannot be reached.
        """
        try:
            request = requests.parse(body)
        except UsageError as error:
            raise PageRequestRefused(422, "request", str(error), error.hint) from error
        if request.owner != self._owner:
            raise PageRequestRefused(
                422, "request", f"this server forwards requests of {self._owner} only"
            )
        return self._forward("/v1/tickets", body, JSON)

    def answer_challenge(self, ticket: str, body: bytes) -> Response:
        """Forward ``POST /v1/tickets/TICKET``.

        Args:
            ticket: the ticket.
            body: the answer.

        Raises:
            PageRequestRefused: the body is not the answer to a challenge of this owner, or the
                archive cannot be reached.
        """
        if not _TICKET.fullmatch(ticket):
            raise PageRequestRefused(404, "ticket", "this is not a ticket")
        if len(body) > LONGEST_ANSWER_BYTES or not self._answers.fullmatch(body):
            raise PageRequestRefused(
                422,
                "request",
                "this is not the answer to a challenge; nothing was forwarded",
            )
        return self._forward(f"/v1/tickets/{ticket}", body, "text/plain", is_slow=True)

    def _forward(
        self, path: str, body: bytes | None = None, kind: str = "", *, is_slow: bool = False
    ) -> Response:
        try:
            reply = HttpClient(self._address).request(path, body, kind, is_slow=is_slow)
            if reply.kind == ZIP:
                return StreamingResponse(
                    _pieces(reply), reply.status, media_type=ZIP, headers=HEADERS
                )
            with reply:
                limit = RECEIPT_LIMIT_BYTES if reply.kind == JSON else ENVELOPE_LIMIT_BYTES
                data = reply.body(limit)
        except Unavailable as error:
            raise PageRequestRefused(502, "archive", str(error), error.hint) from error
        if reply.kind not in {JSON, ENVELOPE}:
            raise PageRequestRefused(
                502,
                "archive",
                f"the server is not an Earmark archive (HTTP {reply.status})",
                "check --archive",
            )
        return Response(data, reply.status, media_type=reply.kind, headers=HEADERS)


def _pieces(reply: HttpResponse) -> Iterator[bytes]:
    # An error ends the connection without the last chunk, so that the page detects it.
    with reply:
        yield from reply.pieces(EXPORT_LIMIT_BYTES)
