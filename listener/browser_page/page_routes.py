"""The routes of the page's files and of its start document, for both servers of the page."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from listener.browser_page.page_files import INDEX, PageFile

START_PATH: Final = "/page/start.json"
HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src 'self' blob:; media-src blob:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script';"
    " trusted-types 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(),"
    " publickey-credentials-get=(self), publickey-credentials-create=(self)",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
"""Sent with every response of the page; ``docs/reference/browser-page.md`` lists them."""


def page_routes(
    files: Mapping[str, PageFile], start: Callable[[Request], dict[str, Any]]
) -> list[Route]:
    """Return the routes of the page.

    Args:
        files: the page's files by name.
        start: returns the start document; called in a thread, once for each request.
    """

    def send_file(name: str) -> Callable[[Request], Awaitable[Response]]:
        file = files[name]

        async def send(request: Request) -> Response:
            del request
            return Response(file.data, media_type=file.media_type, headers=HEADERS)

        return send

    async def send_start(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(start, request), headers=HEADERS)

    return [
        _get("/", send_file(INDEX)),
        _get(START_PATH, send_start),
        *(_get(f"/page/{name}", send_file(name)) for name in sorted(files)),
    ]


def _get(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    route = Route(path, endpoint, methods=["GET"])
    route.methods = {"GET"}  # starlette adds HEAD
    return route
