"""The rights over HTTP: two steps, bounded in size, in time and in who may ask.

Whatever is asked, the answer is one of ``docs/reference/http-api.md``; a request that is none is
told so in JSON. The work is done in threads, so that a slow disk does not stop the others.

What is sent back: JSON, bytes that are made on the way, or why not.

Who is near enough to ask at all: this machine, and the household's network.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from listener.archive.challenges import LONGEST_ANSWER_BYTES, RequestChallenges
from listener.archive.context import ArchiveContext
from listener.archive.operations import Operations, Result, SealedClip
from listener.archive.verified_access import ClipNotFound, WrongOwner
from listener.errors import ConfigError, EarmarkError, Unavailable, UsageError
from listener.rights import requests

if TYPE_CHECKING:
    from collections.abc import Callable

NO_STORE: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_NOT_HERS: Final = (
    "nothing was sent, and the logs of both owners say so; tell the household."
    " A clip of yours that is damaged goes by erasing its id"
)

_log = logging.getLogger(__name__)


class RequestRefused(Exception):
    """A request that gets an error for an answer."""

    def __init__(
        self, status: int, error: str, message: str, hint: str = "", **more: object
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.hint = hint
        self.more = more


class ChunkedResponse(Response):
    """Bytes that are made while they are sent. What breaks off has no end, so nobody is misled."""

    media_type = "application/zip"

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        super().__init__(headers=NO_STORE)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as ASGI wants it."""
        del scope
        gone = asyncio.create_task(_wait_for_disconnect(receive))
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


def json_response(fields: dict[str, Any], status: int = 200) -> Response:
    """Return what was made, as a response that nobody on the way keeps."""
    return JSONResponse(fields, status, headers=NO_STORE)


def error_response(request: Request | None, error: RequestRefused) -> Response:
    """Say no, in the fields of ``answers.Problem``."""
    del request
    fields = {"error": error.error, "message": str(error), "hint": error.hint, **error.more}
    return json_response(fields, error.status)


def route_error_response(request: Request, error: HTTPException) -> Response:
    """Say that there is no such path, or no such method on it."""
    word = {404: "path", 405: "method"}.get(error.status_code, "request")
    refusal = RequestRefused(error.status_code, word, "there is nothing of this kind here")
    response = error_response(request, refusal)
    response.headers.update(error.headers or {})  # which methods there are
    return response


def failure_response(request: Request, error: EarmarkError) -> Response:
    """Say why what was asked for cannot be done. What is the archive's own trouble is logged."""
    match error:
        case ClipNotFound():
            refusal = RequestRefused(404, "clip", str(error))
        case WrongOwner():
            refusal = RequestRefused(409, "not-hers", str(error), _NOT_HERS, clips=error.clips)
        case Unavailable():
            _log.warning("a request failed: %s", error)
            refusal = RequestRefused(
                503, "unavailable", "the archive cannot do this now", "try again later"
            )
        case _:
            refusal = RequestRefused(409, "key", str(error), error.hint)
    return error_response(request, refusal)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


HEADERS_LIMIT_BYTES: Final = 16 << 10


class PrivateNetworkOnly:
    """Let in who is on this machine or in a private network, before anything is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it, as ASGI wants it."""
        client = scope.get("client")
        if scope["type"] == "http" and client is not None and not is_private_address(client[0]):
            refusal = RequestRefused(
                403, "network", "this archive answers its household's network only"
            )
            await error_response(None, refusal)(scope, receive, send)
            return
        headers = scope.get("headers", ())
        if sum(len(name) + len(value) for name, value in headers) > HEADERS_LIMIT_BYTES:
            refusal = RequestRefused(431, "size", f"at most {HEADERS_LIMIT_BYTES} bytes of headers")
            await error_response(None, refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_private_address(address: str) -> bool:
    """Say whether an address is of this machine or of a private network; a path is, too."""
    if address.startswith("/") or not address:
        return True
    try:
        found: Any = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return bool(found.is_loopback or found.is_private or found.is_link_local)


REQUEST_S: Final = 10.0
ENVELOPE_TYPE: Final = "application/vnd.earmark.envelope"


class Api:
    """The routes.

    Args:
        holdings: what they are about.
        tickets: the open ones.
        rights: carries out what was proven.
        request_s: how long a body may take to arrive.
    """

    def __init__(
        self,
        holdings: ArchiveContext,
        tickets: RequestChallenges,
        rights: Operations,
        request_s: float = REQUEST_S,
    ) -> None:
        self._holdings = holdings
        self._tickets = tickets
        self._rights = rights
        self._request_s = request_s

    def app(self) -> ASGIApp:
        """Return what a server runs."""
        handlers: dict[Any, Callable[[Request, Any], Response]] = {
            RequestRefused: error_response,
            HTTPException: route_error_response,
            EarmarkError: failure_response,
        }
        return PrivateNetworkOnly(Starlette(routes=self.routes(), exception_handlers=handlers))

    def routes(self) -> list[Route]:
        """Return what can be asked, as ``docs/reference/openapi.json`` describes it."""
        return [
            Route("/v1/archive", self._about, methods=["GET"]),
            Route("/v1/tickets", self._ask_challenge, methods=["POST"]),
            Route("/v1/tickets/{ticket:str}", self._answer, methods=["POST"]),
        ]

    async def _about(self, request: Request) -> Response:
        del request
        head = await run_in_threadpool(self._holdings.head)
        return json_response({"v": 1, "archive": self._holdings.name, "head": head})

    async def _ask_challenge(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RequestRefused(415, "type", "a request is application/json")
        body = await self._body(request, requests.LONGEST_REQUEST_BYTES)
        return await run_in_threadpool(self._issue_challenge, body)

    def _issue_challenge(self, body: bytes) -> Response:
        try:
            request = requests.parse(body)
        except UsageError as error:
            raise RequestRefused(422, "request", str(error), error.hint) from error
        owner = self._holdings.roster().owner(request.owner)
        if owner is None or not owner.active:
            raise RequestRefused(404, "owner", "there is no active owner of this name")
        try:
            issued = self._tickets.issue(owner.name, owner.okey, owner.recipient, request.request)
        except ConfigError as error:
            raise RequestRefused(422, "request", str(error)) from error
        answer = {
            "ticket": issued.ticket,
            "challenge": issued.challenge,
            "request_sha256": issued.request_sha256,
            "expires_s": 300,
        }
        if issued.new_challenge is not None:
            answer["new_challenge"] = issued.new_challenge
        return json_response(answer, 201)

    async def _answer(self, request: Request) -> Response:
        body = await self._body(request, LONGEST_ANSWER_BYTES)
        result = await run_in_threadpool(self._redeem, request.path_params["ticket"], body)
        if isinstance(result, dict):
            return json_response(result)
        if isinstance(result, SealedClip):
            return Response(result.data, media_type=ENVELOPE_TYPE, headers=NO_STORE)
        return ChunkedResponse(result.pieces)

    def _redeem(self, ticket: str, answer: bytes) -> Result:
        verdict = self._tickets.redeem(ticket, answer)
        if verdict is None:
            raise RequestRefused(
                404, "ticket", "there is no such ticket, or no more", "ask for another"
            )
        if not verdict.is_proven:
            self._rights.log_refusal(verdict)
            raise RequestRefused(403, "proof", "this is not the answer; the ticket is used up")
        return self._rights.execute(verdict.ticket)

    async def _body(self, request: Request, longest_bytes: int) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._request_s):
                async for piece in request.stream():
                    body += piece
                    if len(body) > longest_bytes:
                        raise RequestRefused(
                            413, "size", f"at most {longest_bytes} bytes are taken here"
                        )
        except TimeoutError as error:
            raise RequestRefused(408, "slow", "the request did not arrive in time") from error
        except ClientDisconnect as error:
            raise RequestRefused(400, "request", "the request broke off") from error
        return bytes(body)
