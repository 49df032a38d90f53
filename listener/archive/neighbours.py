"""Who is near enough to ask at all: this machine, and the household's network."""

import ipaddress
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from listener.archive.responses import RequestRefused, error_response

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
