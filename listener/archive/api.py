"""The rights over HTTP: two steps, bounded in size, in time and in who may ask.

Whatever is asked, the answer is one of ``docs/rights.md``; a request that is none is told so in
JSON. The work is done in threads, so that a slow disk does not stop the others.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Generator
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from listener.archive.door import Missing, NotHers
from listener.archive.holdings import Holdings
from listener.archive.rights import Result, Rights, Sealed
from listener.archive.tickets import LONGEST_ANSWER_BYTES, Tickets
from listener.errors import ConfigError, EarmarkError, Unavailable, UsageError
from listener.rights import request as requests

REQUEST_S: Final = 10.0
HEADERS_LIMIT_BYTES: Final = 16 << 10
ENVELOPE_TYPE: Final = "application/vnd.earmark.envelope"
_NO_STORE: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

_NOT_HERS: Final = (
    "nothing was sent, and the logs of both owners say so; tell the household."
    " A clip of yours that is damaged goes by erasing its id"
)

_log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that gets an error for an answer."""

    def __init__(
        self, status: int, error: str, message: str, hint: str = "", **more: object
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.hint = hint
        self.more = more


class Api:
    """The routes.

    Args:
        holdings: what they are about.
        tickets: the open ones.
        rights: carries out what was proven.
        request_s: how long a body may take to arrive.
    """

    def __init__(
        self, holdings: Holdings, tickets: Tickets, rights: Rights, request_s: float = REQUEST_S
    ) -> None:
        self._holdings = holdings
        self._tickets = tickets
        self._rights = rights
        self._request_s = request_s

    def app(self) -> ASGIApp:
        """Return what a server runs."""
        handlers: dict[Any, Callable[[Request, Any], Response]] = {
            Refused: _refused,
            HTTPException: _no_route,
            EarmarkError: _failed,
        }
        return Neighbours(Starlette(routes=self.routes(), exception_handlers=handlers))

    def routes(self) -> list[Route]:
        """Return what can be asked, as ``docs/openapi.json`` describes it."""
        return [
            Route("/v1/archive", self._about, methods=["GET"]),
            Route("/v1/tickets", self._ask, methods=["POST"]),
            Route("/v1/tickets/{ticket:str}", self._answer, methods=["POST"]),
        ]

    async def _about(self, request: Request) -> Response:
        del request
        head = await run_in_threadpool(self._holdings.head)
        return _json({"v": 1, "archive": self._holdings.name, "head": head})

    async def _ask(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "type", "a request is application/json")
        body = await self._body(request, requests.LONGEST_REQUEST_BYTES)
        return await run_in_threadpool(self._issue, body)

    def _issue(self, body: bytes) -> Response:
        try:
            asked = requests.parse(body)
        except UsageError as error:
            raise Refused(422, "request", str(error), error.hint) from error
        owner = self._holdings.roster().owner(asked.owner)
        if owner is None or not owner.active:
            raise Refused(404, "owner", "there is no active owner of this name")
        try:
            issued = self._tickets.issue(owner.name, owner.okey, owner.recipient, asked.request)
        except ConfigError as error:
            raise Refused(422, "request", str(error)) from error
        told = {
            "ticket": issued.ticket,
            "challenge": issued.challenge,
            "request_sha256": issued.request_sha256,
            "expires_s": 300,
        }
        if issued.new_challenge is not None:
            told["new_challenge"] = issued.new_challenge
        return _json(told, 201)

    async def _answer(self, request: Request) -> Response:
        body = await self._body(request, LONGEST_ANSWER_BYTES)
        result = await run_in_threadpool(self._redeem, request.path_params["ticket"], body)
        if isinstance(result, dict):
            return _json(result)
        if isinstance(result, Sealed):
            return Response(result.data, media_type=ENVELOPE_TYPE, headers=_NO_STORE)
        return Flow(result.pieces)

    def _redeem(self, ticket: str, answer: bytes) -> Result:
        verdict = self._tickets.redeem(ticket, answer)
        if verdict is None:
            raise Refused(404, "ticket", "there is no such ticket, or no more", "ask for another")
        if not verdict.is_proven:
            self._rights.refuse(verdict)
            raise Refused(403, "proof", "this is not the answer; the ticket is used up")
        return self._rights.carry_out(verdict.ticket)

    async def _body(self, request: Request, longest_bytes: int) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._request_s):
                async for piece in request.stream():
                    body += piece
                    if len(body) > longest_bytes:
                        raise Refused(413, "size", f"at most {longest_bytes} bytes are taken here")
        except TimeoutError as error:
            raise Refused(408, "slow", "the request did not arrive in time") from error
        except ClientDisconnect as error:
            raise Refused(400, "request", "the request broke off") from error
        return bytes(body)


class Flow(Response):
    """Bytes that are made while they are sent. What breaks off has no end, so nobody is misled."""

    media_type = "application/zip"

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        super().__init__(headers=_NO_STORE)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as ASGI wants it."""
        del scope
        gone = asyncio.create_task(_until_gone(receive))
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        try:
            while not gone.done():
                piece = await run_in_threadpool(next, self._pieces, None)
                body = {"type": "http.response.body", "body": piece or b""}
                await send(body | {"more_body": piece is not None})
                if piece is None:
                    return
        except EarmarkError as error:
            _log.warning("an export was broken off: %s", error)
        finally:
            gone.cancel()
            await run_in_threadpool(self._pieces.close)


class Neighbours:
    """Let in who is on this machine or in a private network, before anything is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it, as ASGI wants it."""
        client = scope.get("client")
        if scope["type"] == "http" and client is not None and not is_near(client[0]):
            refusal = Refused(403, "network", "this archive answers its household's network only")
            await _refused(None, refusal)(scope, receive, send)
            return
        headers = scope.get("headers", ())
        if sum(len(name) + len(value) for name, value in headers) > HEADERS_LIMIT_BYTES:
            refusal = Refused(431, "size", f"at most {HEADERS_LIMIT_BYTES} bytes of headers")
            await _refused(None, refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_near(address: str) -> bool:
    """Say whether an address is of this machine or of a private network; a path is, too."""
    if address.startswith("/") or not address:
        return True
    try:
        found: Any = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return bool(found.is_loopback or found.is_private or found.is_link_local)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _json(fields: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(fields, status, headers=_NO_STORE)


def _refused(request: Request | None, error: Refused) -> Response:
    del request
    told = {"error": error.error, "message": str(error), "hint": error.hint, **error.more}
    return _json(told, error.status)


def _no_route(request: Request, error: HTTPException) -> Response:
    word = {404: "path", 405: "method"}.get(error.status_code, "request")
    told = Refused(error.status_code, word, "there is nothing of this kind here")
    response = _refused(request, told)
    response.headers.update(error.headers or {})  # which methods there are
    return response


def _failed(request: Request, error: EarmarkError) -> Response:
    match error:
        case Missing():
            told = Refused(404, "clip", str(error))
        case NotHers():
            told = Refused(409, "not-hers", str(error), _NOT_HERS, clips=error.clips)
        case Unavailable():
            _log.warning("a request failed: %s", error)
            told = Refused(503, "unavailable", "the archive cannot do this now", "try again later")
        case _:
            told = Refused(409, "key", str(error), error.hint)
    return _refused(request, told)
