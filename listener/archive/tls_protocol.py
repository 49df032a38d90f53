"""TLS on top of an asyncio transport (``ssl.SSLObject`` with memory buffers).

asyncio's own TLS reserves 256 KiB for each connection when it is accepted, and keeps it until the
handshake's time limit after the connection is closed. A flood of connections then takes hundreds of
MiB. Here a connection takes nothing for TLS before its first bytes, and frees all of it at once.
"""

import asyncio
import contextlib
import ssl
from typing import Any, Final, cast

_READ_BYTES: Final = 64 << 10


class TlsServerProtocol(asyncio.Protocol):
    """Server side of TLS for one connection. For the event loop's thread.

    Args:
        context: TLS context of the server.
        inner: protocol that receives the decrypted bytes; it gets ``connection_made`` after the
            handshake, and ``connection_lost`` also without one.
    """

    def __init__(self, context: ssl.SSLContext, inner: asyncio.Protocol) -> None:
        self._context = context
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._raw: asyncio.Transport | None = None
        self._is_established = False
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; TLS begins with the first bytes."""
        self._raw = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Continue the handshake, or pass decrypted bytes on."""
        if self.is_closing():
            return
        if self._tls is None:
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(data)
        try:
            if not self._is_established:
                self._tls.do_handshake()
                self._is_established = True
                self._flush()
                self._inner.connection_made(_TlsTransport(self))
            self._read()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError:
            self._flush()  # the alert
            self.abort()

    def eof_received(self) -> bool:
        """Close: without TLS's own end, nothing more can be sent."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the loss on, and free the buffers."""
        self._inner.connection_lost(exc)
        self._tls = None

    def pause_writing(self) -> None:
        """Pass the raw transport's flow control on."""
        if self._is_established:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass the raw transport's flow control on."""
        if self._is_established:
            self._inner.resume_writing()

    def write(self, data: bytes) -> None:
        """Encrypt and send; ignored after the connection is closed."""
        if self._tls is None or self.is_closing() or not data:
            return
        self._tls.write(data)  # a memory buffer takes all of it
        self._flush()

    def close(self) -> None:
        """Send what is buffered and TLS's end, then close."""
        if self._tls is None or self._raw is None or self._raw.is_closing():
            return
        # Its answer from the peer is not awaited.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()
        self._raw.close()

    def abort(self) -> None:
        """Close at once."""
        if self._raw is not None:
            self._raw.abort()

    def is_closing(self) -> bool:
        """Return whether the connection is closed or being closed."""
        return self._raw is None or self._raw.is_closing()

    def pause_reading(self) -> None:
        """Pass no bytes on until ``resume_reading``."""
        self._is_paused = True
        if self._raw is not None:
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Pass bytes on again, those first that were decrypted already."""
        if self._is_paused and self._raw is not None:
            self._is_paused = False
            self._raw.resume_reading()
            asyncio.get_running_loop().call_soon(self.data_received, b"")

    def extra_info(self, name: str, default: object) -> object:
        """Return information about the connection, as ``get_extra_info``."""
        if name == "sslcontext":
            return self._context
        return default if self._raw is None else self._raw.get_extra_info(name, default)

    def _read(self) -> None:
        while self._tls is not None and not self._is_paused and not self.is_closing():
            try:
                data = self._tls.read(_READ_BYTES)
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                self.close()
                return
            self._inner.data_received(data)
        self._flush()

    def _flush(self) -> None:
        if self._raw is not None and self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())


class _TlsTransport(asyncio.Transport):
    """Transport of the decrypted bytes, as far as an HTTP server needs one."""

    def __init__(self, tls: TlsServerProtocol) -> None:
        super().__init__()
        self._protocol = tls

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        self._protocol.write(bytes(data))

    def close(self) -> None:
        self._protocol.close()

    def abort(self) -> None:
        self._protocol.abort()

    def is_closing(self) -> bool:
        return self._protocol.is_closing()

    def pause_reading(self) -> None:
        self._protocol.pause_reading()

    def resume_reading(self) -> None:
        self._protocol.resume_reading()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._protocol.extra_info(name, default)
