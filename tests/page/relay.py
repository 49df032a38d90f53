"""Two relays with records: before the page's server, and between it and the archive.

The first sees every byte that leaves the browser. The second can answer in the archive's place, as
an archive that was taken over would.
"""

import contextlib
import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from listener.clips.http import HttpClient, parse_address
from listener.errors import Unavailable

_PIECE_BYTES = 1 << 16


class SilentLog:
    """Part of a handler of requests: it prints no line for each."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it
        del format, args


class RecordingRelay:
    """Passes connections on to a port of loopback, and records what the browser sends.

    The page's server accepts its own name and port only, so each ``localhost:PORT`` of the browser
    becomes the server's; both ports have five digits.

    Args:
        port: port to listen on.
        target: port of the page's server.
    """

    def __init__(self, port: int, target: int) -> None:
        self.sent = bytearray()
        self._names = (f"localhost:{port}".encode(), f"localhost:{target}".encode())
        self._target = target
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that waits in accept() holds the port until it is woken.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                browser, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    browser.close()
                    continue
                threading.Thread(target=self._up, args=(browser, server), daemon=True).start()
                threading.Thread(target=_copy, args=(server, browser), daemon=True).start()

    def _up(self, browser: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := browser.recv(_PIECE_BYTES):
                with self._lock:
                    self.sent += piece
                server.sendall(piece.replace(*self._names))
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            target.sendall(piece)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


Answer = tuple[int, str, bytes]
"""Status, media type and body of a response."""
Change = Callable[[dict[str, Any], Answer], Answer]
"""Gets a proven request and the archive's response; returns the response that the page gets."""


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class TamperingRelay:
    """An archive's socket whose responses a test changes; behind it is the real archive over TLS.

    Args:
        path: of the socket.
        address: of the archive.
        ca: the household's authority.
    """

    def __init__(self, path: Path, address: str, ca: Path) -> None:
        self.path = path
        self.sent: list[bytes] = []
        """Bodies and paths that reached the archive."""
        self.changes: list[Change] = []
        self.ticket_changes: list[Callable[[dict[str, Any]], dict[str, Any]]] = []
        self.is_down = False
        self.proven: list[dict[str, Any]] = []
        """Requests that were proven, in order."""
        self._requests: dict[str, dict[str, Any]] = {}
        self._address = parse_address(address, ca)
        relay = self

        class Handler(SilentLog, http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                relay.handle(self, None)

            def do_POST(self) -> None:
                relay.handle(self, self.rfile.read(int(self.headers["content-length"])))

        self._server = _UnixServer(str(path), Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def handle(self, handler: http.server.BaseHTTPRequestHandler, body: bytes | None) -> None:
        """Forward one request, and change its response."""
        if self.is_down:
            handler.close_connection = True
            return
        self.sent += [handler.path.encode(), body or b""]
        kind = handler.headers.get("content-type", "")
        try:
            with HttpClient(self._address).request(handler.path, body, kind) as reply:
                answer = (reply.status, reply.kind, reply.body(1 << 30))
        except Unavailable:
            handler.close_connection = True
            return
        status, kind, data = self._change(handler.path, body, answer)
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(data)))
        handler.send_header("connection", "close")
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(data)

    def _change(self, path: str, body: bytes | None, answer: Answer) -> Answer:
        if path == "/v1/tickets" and answer[0] == http.HTTPStatus.CREATED:
            fields = json.loads(answer[2])
            for change_ticket in self.ticket_changes:
                fields = change_ticket(fields)
            self._requests[fields["ticket"]] = json.loads(body or b"{}")["request"]
            return (answer[0], answer[1], json.dumps(fields).encode())
        request = self._requests.pop(path.rpartition("/")[2], None)
        if request is not None:
            self.proven.append(request)
            for change in self.changes:
                answer = change(request, answer)
        return answer
