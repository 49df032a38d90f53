"""Where an archive is: TLS 1.3 with the household's authority, or a Unix socket."""

import http.client
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from listener.errors import ConfigError, UsageError

CONNECT_S: Final = 10.0
PORT: Final = 443


@dataclass(frozen=True, slots=True)
class Address:
    """Where an archive is."""

    text: str
    """As it was typed, for messages."""
    connect: Callable[[], http.client.HTTPConnection]


def parse_address(text: str, ca: Path | None) -> Address:
    """Read ``https://host[:port]``, or the path of a socket, with or without ``unix:``.

    Args:
        text: as typed.
        ca: the household's authority, which alone is believed.

    Raises:
        UsageError: it is neither, or there is no authority to check it with.
        ConfigError: the authority's file is none.
    """
    if text.startswith(("/", "unix:")):
        path = text.removeprefix("unix:")
        return Address(text, lambda: _UnixConnection(path))
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        host = port = url = None
    if url is None or not host or url.scheme != "https" or url.path not in {"", "/"} or url.query:
        raise UsageError(
            f"{text!r} is no address of an archive",
            "https://HOST:PORT, or the path of its socket; nothing is asked in the clear",
        )
    if ca is None:
        raise UsageError(
            "nothing here says which archive is the household's",
            "--ca FILE names the authority; earmark household join brings it",
        )
    context = _context(ca)
    return Address(
        text,
        lambda: http.client.HTTPSConnection(host, port or PORT, timeout=CONNECT_S, context=context),
    )


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("archive", timeout=CONNECT_S)
        self._path = path

    def connect(self) -> None:
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        wire.settimeout(CONNECT_S)
        try:
            wire.connect(self._path)
        except BaseException:
            wire.close()
            raise
        self.sock = wire


def _context(ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if not isinstance(error, ssl.SSLError) else "it is no certificate"
        raise ConfigError(
            f"cannot use the authority {ca}: {reason}",
            "it is ca.crt, which earmark household join brings",
        ) from error
    return context
