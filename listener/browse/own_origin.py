"""ASGI filter: only requests of the page's own origin reach the application.

A site that a browser shows can send requests to ``localhost``, and can let its own name resolve to
loopback (DNS rebinding). The first are recognised by ``Origin`` and ``Sec-Fetch-Site`` (Fetch
Metadata), the second by ``Host``.
"""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from listener.browse.refusal import PageRequestRefused

_SITES: Final = frozenset({b"same-origin", b"none"})


class OwnOriginOnly:
    """The filter.

    Args:
        app: the application.
        host: the only accepted ``Host``, such as ``localhost:20000``.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host.encode("ascii")
        self._origin = b"http://" + self._host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request to the application, or refuse it."""
        if scope["type"] == "http" and not self._is_own(scope["headers"]):
            refusal = PageRequestRefused(
                403,
                "origin",
                "this server answers only its own page",
                "open the address that earmark clips browse prints",
            )
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_own(self, headers: list[tuple[bytes, bytes]]) -> bool:
        values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            values.setdefault(name.lower(), []).append(value)
        return (
            values.get(b"host") == [self._host]
            and all(origin == self._origin for origin in values.get(b"origin", []))
            and all(site in _SITES for site in values.get(b"sec-fetch-site", []))
        )
