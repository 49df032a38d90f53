"""The application of ``earmark clips browse``: the page, its records, and requests to the archive.

``docs/reference/browser-page.md`` specifies it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from listener import strict_json
from listener.browse.forwarding import ArchiveForwarder
from listener.browse.local_records import LocalRecords, NewConsents, NewSpeaker
from listener.browse.own_origin import OwnOriginOnly
from listener.browse.refusal import PageRequestRefused
from listener.browse.sessions import Sessions
from listener.browser_page.page_files import PageFile
from listener.browser_page.page_routes import HEADERS, page_routes
from listener.errors import EarmarkError, Unavailable
from listener.rights.hash_chain import LogHead
from listener.rights.requests import LONGEST_REQUEST_BYTES

SESSION_HEADER: Final = "earmark-session"
LONGEST_RECEIPT_BYTES: Final = 8 << 20
_JSON: Final = "application/json"

_Endpoint = Callable[[Request], Awaitable[Response]]
_Any = TypeVar("_Any")


class _TokenMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(max_length=128)]


class PageApp:
    """The routes.

    Args:
        files: files of the page.
        sessions: tokens and sessions.
        records: what this computer keeps.
        forwarder: to the archive.
        on_session: called in the event loop after a token was exchanged for a session.
    """

    def __init__(
        self,
        files: Mapping[str, PageFile],
        sessions: Sessions,
        records: LocalRecords,
        forwarder: ArchiveForwarder,
        on_session: Callable[[], None],
    ) -> None:
        self._files = files
        self._sessions = sessions
        self._records = records
        self._forwarder = forwarder
        self._on_session = on_session

    def app(self, host: str) -> ASGIApp:
        """Return the ASGI application.

        Args:
            host: the ``Host`` of its requests, such as ``localhost:20000``.
        """
        handlers: dict[Any, Callable[[Request, Any], Response]] = {
            PageRequestRefused: lambda _request, error: error.response(),
            HTTPException: _route_error,
            EarmarkError: _failure,
            Exception: _unexpected_error,
        }
        app = Starlette(routes=self._routes(), exception_handlers=handlers)
        app.router.redirect_slashes = False
        return OwnOriginOnly(app, host)

    def _routes(self) -> list[Route]:
        about = Route("/v1/archive", self._proven(self._about), methods=["GET"])
        about.methods = {"GET"}  # starlette adds HEAD
        posts = {
            "/page/receipt": self._store_receipt,
            "/page/log-head": self._store_head,
            "/page/speaker": self._pin_speaker,
            "/page/consents": self._store_consents,
            "/v1/tickets": self._request_ticket,
            "/v1/tickets/{ticket:str}": self._answer_challenge,
        }
        return [
            Route("/page/session", self._open_session, methods=["POST"]),
            about,
            *(Route(path, self._proven(post), methods=["POST"]) for path, post in posts.items()),
            *page_routes(self._files, self._start),
        ]

    def _start(self, request: Request) -> dict[str, Any]:
        self._check_session(request)
        return self._records.start()

    def _check_session(self, request: Request) -> None:
        if not self._sessions.is_open(request.headers.get(SESSION_HEADER, "")):
            raise PageRequestRefused(
                401,
                "session",
                "this tab has no session of the running command",
                "open the address that earmark clips browse prints",
            )

    def _proven(self, endpoint: _Endpoint) -> _Endpoint:
        async def check(request: Request) -> Response:
            self._check_session(request)
            return await endpoint(request)

        return check

    async def _open_session(self, request: Request) -> Response:
        message = await _read(request, _TokenMessage)
        session = self._sessions.redeem(message.token)
        if session is None:
            raise PageRequestRefused(
                401,
                "session",
                "this address was used before, or is of an earlier start",
                "open the newest address that earmark clips browse prints",
            )
        self._on_session()
        return _answer({"session": session})

    async def _about(self, request: Request) -> Response:
        del request
        return await run_in_threadpool(self._forwarder.about)

    async def _request_ticket(self, request: Request) -> Response:
        body = await _json_body(request, LONGEST_REQUEST_BYTES)
        return await run_in_threadpool(self._forwarder.request_ticket, body)

    async def _answer_challenge(self, request: Request) -> Response:
        body = await _body(request, LONGEST_REQUEST_BYTES)
        return await run_in_threadpool(
            self._forwarder.answer_challenge, request.path_params["ticket"], body
        )

    async def _store_receipt(self, request: Request) -> Response:
        data = await _json_body(request, LONGEST_RECEIPT_BYTES)
        path = await run_in_threadpool(self._records.store_receipt, data)
        return _answer({"path": str(path)})

    async def _store_head(self, request: Request) -> Response:
        head = await _read(request, LogHead)
        await run_in_threadpool(self._records.store_head, head)
        return _answer({})

    async def _pin_speaker(self, request: Request) -> Response:
        speaker = await _read(request, NewSpeaker)
        rows = await run_in_threadpool(self._records.pin_speaker, speaker)
        return _answer({"speakers": rows})

    async def _store_consents(self, request: Request) -> Response:
        given = await _read(request, NewConsents)
        await run_in_threadpool(self._records.store_consents, given)
        return _answer({})


async def _body(request: Request, longest_bytes: int) -> bytes:
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > longest_bytes:
                raise PageRequestRefused(
                    413, "size", f"the body is longer than {longest_bytes} bytes"
                )
    except ClientDisconnect as error:
        raise PageRequestRefused(400, "request", "the client disconnected") from error
    return bytes(body)


async def _json_body(request: Request, longest_bytes: int) -> bytes:
    # Pages of other origins cannot send this type without a preflight, which is not answered.
    if request.headers.get("content-type", "").partition(";")[0].strip() != _JSON:
        raise PageRequestRefused(415, "type", "the content type is not application/json")
    return await _body(request, longest_bytes)


async def _read(request: Request, kind: type[_Any]) -> _Any:
    body = await _json_body(request, LONGEST_REQUEST_BYTES)
    try:
        return strict_json.decode(body, kind)
    except ValueError as error:
        raise PageRequestRefused(422, "request", "the request is malformed") from error


def _answer(fields: dict[str, Any]) -> Response:
    return JSONResponse(fields, headers=HEADERS)


def _route_error(request: Request, error: HTTPException) -> Response:
    del request
    word, message = {
        404: ("path", "this path does not exist"),
        405: ("method", "this path does not support the method"),
    }.get(error.status_code, ("request", "the request is malformed"))
    return PageRequestRefused(error.status_code, word, message).response()


def _failure(request: Request, error: EarmarkError) -> Response:
    del request
    if isinstance(error, Unavailable):
        return PageRequestRefused(503, "unavailable", str(error), error.hint).response()
    return PageRequestRefused(409, "key", str(error), error.hint).response()


def _unexpected_error(request: Request, error: Exception) -> Response:
    # starlette raises it again after this response.
    del request, error
    return PageRequestRefused(
        503, "unavailable", "the request could not be carried out", "report this as a bug"
    ).response()
