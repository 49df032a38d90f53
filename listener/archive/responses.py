"""What is sent back: JSON, bytes that are made on the way, or why not."""

import asyncio
import logging
from collections.abc import Generator
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from listener.archive.door import ClipNotFound, WrongOwner
from listener.errors import EarmarkError, Unavailable

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
