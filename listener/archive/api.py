"""The HTTP API of the archive: routes, error responses, and the private-network filter.

``docs/reference/http-api.md`` specifies it. A request is made in two steps and is bounded in size
and in time; a malformed one gets an error in JSON. The work runs in threads, so that a slow disk
does not block other requests.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import listener
from listener.archive.challenges import (
    LONGEST_ANSWER_BYTES,
    KeyReplaced,
    OwnerNotActive,
    RequestChallenges,
    TooManyRequests,
)
from listener.archive.context import ArchiveContext
from listener.archive.health import ArchiveHealth
from listener.archive.operations import Operations, Result, SealedClip
from listener.archive.short_tickets import ShortTickets
from listener.archive.verified_access import ClipNotFound, WrongOwner
from listener.browser_page.page_files import PageFile
from listener.browser_page.page_routes import page_routes
from listener.errors import ConfigError, DiskFull, EarmarkError, Unavailable, UsageError
from listener.rights import requests

if TYPE_CHECKING:
    from collections.abc import Callable

HEADERS_LIMIT_BYTES: Final = 16 << 10
REQUEST_S: Final = 10.0
NOTE_PROOF: Final = "earmark.note_proof"
"""Key of the ASGI scope: a function that the server provides, called when a request is proven."""
SLOWEST_BYTES_PER_S: Final = 4096.0
READ_GRACE_S: Final = 30.0
"""Seconds by which a client may be behind ``SLOWEST_BYTES_PER_S``."""
ENVELOPE_TYPE: Final = "application/vnd.earmark.envelope"
NO_STORE: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

_WRONG_OWNER_HINT: Final = (
    "nothing was sent, and both owners' logs record it; tell your household."
    " If the clip is yours and damaged, erase it: earmark clips erase CLIP"
)

_log = logging.getLogger(__name__)


class Api:
    """The routes.

    Args:
        context: the archive.
        challenges: issues and verifies the challenges.
        operations: carries out proven requests.
        request_s: seconds within which a body must arrive.
        health: state of the process; by default that of the access log alone.
    """

    def __init__(
        self,
        context: ArchiveContext,
        challenges: RequestChallenges,
        operations: Operations,
        request_s: float = REQUEST_S,
        health: ArchiveHealth | None = None,
    ) -> None:
        self._health = health or ArchiveHealth(context.log.head)
        self._context = context
        self._challenges = challenges
        self._short_tickets = ShortTickets()
        self._operations = operations
        self._request_s = request_s

    def app(self, page: Mapping[str, PageFile] | None = None) -> ASGIApp:
        """Return the ASGI application for peers of private networks.

        Args:
            page: files of the browser page; None where the API is served alone.
        """
        return PrivateNetworkOnly(self.app_for_proxy(page))

    def app_for_proxy(self, page: Mapping[str, PageFile] | None = None) -> ASGIApp:
        """Return the ASGI application for a proxy that has shown its certificate.

        Args:
            page: as for `app`.
        """
        handlers: dict[Any, Callable[[Request, Any], Response]] = {
            RequestRefused: error_response,
            HTTPException: route_error_response,
            EarmarkError: failure_response,
            Exception: unexpected_error_response,
        }
        pages = [] if page is None else page_routes(page, start_document)
        app = Starlette(routes=[*self.routes(), *pages], exception_handlers=handlers)
        # A redirect would send the client to the host that the request names.
        app.router.redirect_slashes = False
        return app

    def routes(self) -> list[Route]:
        """Return the routes that ``docs/reference/openapi.json`` describes."""
        about = Route("/v1/archive", self._about, methods=["GET"])
        about.methods = {"GET"}  # starlette adds HEAD, which is not part of the API
        health = Route("/v1/health", self._report_health, methods=["GET"])
        health.methods = {"GET"}
        return [
            about,
            health,
            Route("/v1/tickets", self._request_challenge, methods=["POST"]),
            Route("/v1/tickets/{ticket:str}", self._answer_challenge, methods=["POST"]),
        ]

    async def _about(self, request: Request) -> Response:
        del request
        head = await run_in_threadpool(self._context.head)
        return json_response({"v": 1, "archive": self._context.name, "head": head})

    async def _report_health(self, request: Request) -> Response:
        del request
        report = await run_in_threadpool(self._health.report)
        return json_response(msgspec.to_builtins(report), 200 if report.ok else 503)

    async def _request_challenge(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RequestRefused(415, "type", "the content type is not application/json")
        body = await self._body(request, requests.LONGEST_REQUEST_BYTES)
        # Clients with short tickets send no Accept; any other client, and curl, sends it.
        is_short = "accept" not in request.headers
        peer = request.client.host if is_short and request.client is not None else ""
        return await run_in_threadpool(self._issue_challenge, body, peer, is_short=is_short)

    def _issue_challenge(self, body: bytes, peer: str, *, is_short: bool) -> Response:
        try:
            request = requests.parse(body)
        except UsageError as error:
            raise RequestRefused(422, "request", str(error), error.hint) from error
        owner = self._context.roster().owner(request.owner)
        if owner is None or not owner.active:
            raise OwnerNotActive
        try:
            issued = self._challenges.issue(
                owner.name, owner.okey, owner.recipient, request.request
            )
        except ConfigError as error:
            raise RequestRefused(422, "request", str(error)) from error
        fields = {
            "ticket": self._short_tickets.add(issued.ticket, peer) if is_short else issued.ticket,
            "challenge": issued.challenge,
            "request_sha256": issued.request_sha256,
            "expires_s": 300,
        }
        if issued.new_challenge is not None:
            fields["new_challenge"] = issued.new_challenge
        return json_response(fields, 201)

    async def _answer_challenge(self, request: Request) -> Response:
        body = await self._body(request, LONGEST_ANSWER_BYTES)
        note_proof = request.scope.get(NOTE_PROOF)
        result = await run_in_threadpool(
            self._redeem, request.path_params["ticket"], body, note_proof
        )
        if isinstance(result, dict):
            return json_response(result)
        if isinstance(result, SealedClip):
            return Response(result.data, media_type=ENVELOPE_TYPE, headers=NO_STORE)
        return ChunkedResponse(result.pieces)

    def _redeem(
        self, ticket: str, answer: bytes, note_proof: "Callable[[], None] | None" = None
    ) -> Result:
        result = self._challenges.redeem(self._short_tickets.take(ticket), answer)
        if result is None:
            raise RequestRefused(
                404,
                "ticket",
                "the ticket does not exist, has expired or was used",
                "request a new ticket",
            )
        if not result.is_proven:
            self._operations.log_refusal(result)
            raise RequestRefused(
                403,
                "proof",
                "the answer to the challenge is wrong; the ticket is used up",
                "request a new ticket",
            )
        if note_proof is not None:
            note_proof()
        return self._operations.execute(result.ticket)

    async def _body(self, request: Request, longest_bytes: int) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._request_s):
                async for piece in request.stream():
                    body += piece
                    if len(body) > longest_bytes:
                        raise RequestRefused(
                            413, "size", f"the body is longer than {longest_bytes} bytes"
                        )
        except TimeoutError as error:
            raise RequestRefused(408, "slow", "the request did not arrive in time") from error
        except ClientDisconnect as error:
            raise RequestRefused(400, "request", "the client disconnected") from error
        return bytes(body)


def start_document(request: Request) -> dict[str, Any]:
    """Return the page's start document: keys and names come from the owner's key card."""
    del request
    return {
        "v": 1,
        "entry": "archive",
        "earmark": listener.__version__,
        "owner": None,
        "language": None,
        "archive": None,
        "log_head": None,
        "speakers": [],
        "consents": {},
    }


class RequestRefused(Exception):
    """A request that gets an error response.

    Attributes:
        status: HTTP status.
        error: one of the words in ``schema.ERRORS``.
        hint: what the client can do, or an empty string.
        more: further fields of the response.
    """

    def __init__(
        self, status: int, error: str, message: str, hint: str = "", **more: object
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.hint = hint
        self.more = more


class ChunkedResponse(Response):
    """A streamed ZIP. After an error the final chunk is not sent, so that clients detect it.

    A client that reads more slowly than ``SLOWEST_BYTES_PER_S`` on average is an error, too.
    """

    media_type = "application/zip"

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        super().__init__(headers=NO_STORE)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, as an ASGI application."""
        del scope
        loop = asyncio.get_running_loop()
        disconnect = asyncio.create_task(_wait_for_disconnect(receive))
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        try:
            left_s = READ_GRACE_S
            while not disconnect.done():
                piece = await run_in_threadpool(next, self._pieces, None)
                body = {"type": "http.response.body", "body": piece or b""}
                began_s = loop.time()
                async with asyncio.timeout(left_s):
                    await send(body | {"more_body": piece is not None})
                if piece is None:
                    return
                left_s -= loop.time() - began_s
                left_s = min(READ_GRACE_S, left_s + len(piece) / SLOWEST_BYTES_PER_S)
        except TimeoutError:
            _log.warning("an export was stopped: the client read too slowly")
            raise
        except EarmarkError as error:
            _log.warning("an export was stopped: %s", error)
        finally:
            disconnect.cancel()
            await run_in_threadpool(self._pieces.close)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def json_response(fields: dict[str, Any], status: int = 200) -> Response:
    """Return a JSON response that caches do not store."""
    return JSONResponse(fields, status, headers=NO_STORE)


def error_response(request: Request | None, error: RequestRefused) -> Response:
    """Return an error response with the fields of ``schema.Problem``."""
    del request
    fields = {"error": error.error, "message": str(error), "hint": error.hint, **error.more}
    return json_response(fields, error.status)


def route_error_response(request: Request, error: HTTPException) -> Response:
    """Return the response for an unknown path or method."""
    word, message = {
        404: ("path", "this path does not exist"),
        405: ("method", "this path does not support the method"),
    }.get(error.status_code, ("request", "the request is malformed"))
    refusal = RequestRefused(error.status_code, word, message)
    response = error_response(request, refusal)
    response.headers.update(error.headers or {})  # such as Allow
    return response


def failure_response(request: Request, error: EarmarkError) -> Response:
    """Return the response for an operation that failed; log what only the archive may know."""
    match error:
        case ClipNotFound():
            refusal = RequestRefused(404, "clip", str(error))
        case OwnerNotActive():
            refusal = RequestRefused(404, "owner", str(error))
        case KeyReplaced():
            refusal = RequestRefused(404, "ticket", str(error), error.hint)
        case TooManyRequests():
            refusal = RequestRefused(503, "unavailable", str(error), error.hint)
        case WrongOwner():
            refusal = RequestRefused(
                409, "not-hers", str(error), _WRONG_OWNER_HINT, clips=error.clips
            )
        case DiskFull():
            _log.warning("a request failed: %s", error)
            refusal = RequestRefused(
                503,
                "unavailable",
                "the archive's disk is full",
                "ask who runs the archive to free some space on its disk",
            )
        case Unavailable():
            _log.warning("a request failed: %s", error)
            refusal = RequestRefused(
                503, "unavailable", "the archive cannot use its disk or index", "try again later"
            )
        case _:
            refusal = RequestRefused(409, "key", str(error), error.hint)
    return error_response(request, refusal)


def unexpected_error_response(request: Request, error: Exception) -> Response:
    """Return the response after an unexpected exception, which starlette raises again."""
    del error
    refusal = RequestRefused(
        503, "unavailable", "the archive could not carry out the request", "report this as a bug"
    )
    return error_response(request, refusal)


class PrivateNetworkOnly:
    """ASGI filter: refuses peers outside private networks, and long headers, before any reading."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request to the application, or refuse it."""
        client = scope.get("client")
        if scope["type"] == "http" and client is not None and not is_private_address(client[0]):
            refusal = RequestRefused(
                403, "network", "this archive answers only its household's network"
            )
            await error_response(None, refusal)(scope, receive, send)
            return
        headers = scope.get("headers", ())
        if sum(len(name) + len(value) for name, value in headers) > HEADERS_LIMIT_BYTES:
            refusal = RequestRefused(
                431, "size", f"the headers are longer than {HEADERS_LIMIT_BYTES} bytes"
            )
            await error_response(None, refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_private_address(address: str) -> bool:
    """Return True for an address of loopback or a private network, and for a Unix socket's path."""
    if address.startswith("/") or not address:
        return True
    try:
        parsed: Any = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return bool(parsed.is_loopback or parsed.is_private or parsed.is_link_local)
