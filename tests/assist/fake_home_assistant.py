"""A fake of Home Assistant: WebSocket interface, speech over HTTP, and a light for each area."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

TOKEN = "token-of-the-house"  # noqa: S105 - of a fake
STT = {"id": "stt1", "name": "With ears", "stt_engine": "stt.fake", "tts_engine": "tts.fake"}
PLAIN = {"id": "plain1", "name": "Plain", "stt_engine": None, "tts_engine": None}


class FakeHomeAssistant:
    """Knows three speakers, and the sentences ``sentence`` and "what time is it".

    Attributes:
        lights: areas whose light is on, in the order of the commands.
    """

    def __init__(self) -> None:
        self.url = ""
        self.version = "2025.1.4"
        self.tokens = {TOKEN}
        self.used_tokens: list[str] = []
        self.text = "Alexa, turn on the lights."
        self.heard_bytes = 0
        self.no_vad: object = None
        self.lights: list[str] = []
        self.sentence = "turn on the lights"
        """The sentence that switches the lights of an area."""
        self.speech = "Turned on the lights"
        """What is said about it."""
        self.breaks = ""
        """ClockPair at which the connection breaks: ``run``, ``intent`` or empty."""
        self.spoken: list[dict[str, Any]] = []
        self.sound = b""
        self.matched: list[tuple[list[str], str | None]] = []
        self.fuzzy = False
        self.matches = True
        """Whether it has the command that matches sentences."""

        self._wires: list[ServerConnection] = []

    def close_connections(self) -> None:
        """Close all connections, as at a restart."""
        for wire in self._wires:
            # Not by ``close``, which would wait for a thread together with the handler's thread.
            with contextlib.suppress(OSError):
                wire.socket.shutdown(socket.SHUT_RDWR)

    def answer(self, wire: ServerConnection) -> None:
        """Serve one connection."""
        with contextlib.suppress(ConnectionClosed):
            wire.send(json.dumps({"type": "auth_required", "ha_version": self.version}))
            token = json.loads(wire.recv())["access_token"]
            if token not in self.tokens:
                wire.send(json.dumps({"type": "auth_invalid", "message": "no"}))
                return
            self.used_tokens.append(token)
            self._wires.append(wire)
            wire.send(json.dumps({"type": "auth_ok"}))
            for line in wire:
                self._command(wire, json.loads(line))

    def _command(self, wire: ServerConnection, command: dict[str, Any]) -> None:
        def reply(**fields: object) -> None:
            wire.send(json.dumps({"id": command["id"], **fields}))

        def event(kind: str, **data: object) -> None:
            reply(type="event", event={"type": kind, "data": data})

        match command["type"]:
            case "config/device_registry/list":
                rows = [
                    {"id": f"id-{name}", "identifiers": [["mqtt", f"earmark-{name}"]]}
                    for name in ("kitchen", "bedroom", "hall")
                ]
                rows.append({"id": "other", "identifiers": [["hue", "1"]]})
                reply(type="result", success=True, result=rows)
            case "assist_pipeline/pipeline/list":
                listed = {"pipelines": [STT, PLAIN], "preferred_pipeline": "stt1"}
                reply(type="result", success=True, result=listed)
            case "conversation/agent/homeassistant/debug" if self.matches:
                self.matched.append((command["sentences"], command["device_id"]))
                results = [self.match(text) for text in command["sentences"]]
                reply(type="result", success=True, result={"results": results})
            case "assist_pipeline/run":
                if self.breaks == "run":
                    wire.close()
                    return
                reply(type="result", success=True, result=None)
                event("run-start", runner_data={"stt_binary_handler_id": 7})
                if command["start_stage"] == "stt":
                    self._hear(wire, command)
                    event("stt-end", stt_output={"text": self.text})
                else:
                    self._intent(wire, command, event)
                event("run-end")
            case _:
                reply(type="result", success=False, error={"code": "unknown_command"})

    def match(self, text: str) -> dict[str, object] | None:
        """Return what Home Assistant's agent says of a sentence without carrying it out."""
        known = _bare(text) in {"turn on the lights", "what time is it", "break"}
        if not known and "lamp" not in text:
            return None
        found = {"intent": {"name": "HassTurnOn"}, "match": known, "unmatched_slots": {}}
        return found | ({"fuzzy_match": True} if self.fuzzy else {})

    def _hear(self, wire: ServerConnection, command: dict[str, Any]) -> None:
        self.no_vad = command["input"].get("no_vad")
        wire.send(
            json.dumps({"id": command["id"], "type": "event", "event": {"type": "stt-start"}})
        )
        self.heard_bytes = 0
        while (chunk := wire.recv())[1:]:
            assert isinstance(chunk, bytes)
            assert chunk[0] == 7
            self.heard_bytes += len(chunk) - 1

    def _intent(self, wire: ServerConnection, command: dict[str, Any], event: Any) -> None:  # noqa: ANN401 - a function
        event("intent-start")
        text = _bare(command["input"]["text"])
        kind, code, speech = "error", "no_intent_match", "Sorry, I couldn't understand that"
        if text == self.sentence:
            area = command.get("device_id", "").removeprefix("id-")
            kind, code, speech = "error", "no_valid_targets", "No area"
            if area:
                self.lights.append(area)
                kind, code, speech = "action_done", "", self.speech
        elif text == "what time is it":
            kind, code, speech = "query_answer", "", "12:30"
        elif text == "break":
            kind, code, speech = "error", "failed_to_handle", "Unexpected error"
        if self.breaks == "intent":
            wire.close()
            return
        data = {"code": code} if code else {}
        response = {"response_type": kind, "data": data, "speech": {"plain": {"speech": speech}}}
        event("intent-end", intent_output={"response": response})


def _bare(text: str) -> str:
    return text.lower().strip(" .?!")


@contextlib.contextmanager
def running(fake: FakeHomeAssistant) -> Iterator[FakeHomeAssistant]:
    """Serve a fake on one port: WebSocket and HTTP."""

    class Http(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            length = int(self.headers["Content-Length"])
            fake.spoken.append(json.loads(self.rfile.read(length)))
            self._send(json.dumps({"path": "/api/tts_proxy/x.wav"}).encode())

        def do_GET(self) -> None:
            self._send(fake.sound)

        def _send(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: object) -> None: ...

    with (
        # As in the client: without the thread that keeps connections alive.
        serve(fake.answer, "127.0.0.1", 0, compression=None, ping_interval=None) as sockets,
        ThreadingHTTPServer(("127.0.0.1", 0), Http) as http,
        socket.create_server(("127.0.0.1", 0)) as front,
    ):
        ports = sockets.socket.getsockname()[1], http.server_port
        threads = [
            threading.Thread(target=sockets.serve_forever),
            threading.Thread(target=http.serve_forever, args=(0.05,)),
            threading.Thread(target=_split, args=(front, *ports)),
        ]
        for thread in threads:
            thread.start()
        fake.url = f"http://127.0.0.1:{front.getsockname()[1]}"
        try:
            yield fake
        finally:
            front.shutdown(socket.SHUT_RDWR)
            sockets.shutdown()
            http.shutdown()
            for thread in threads:
                thread.join()


def _split(front: socket.socket, websocket_port: int, http_port: int) -> None:
    """Lead each connection to one of two servers by its first line."""
    while True:
        try:
            wire, _ = front.accept()
        except OSError:
            return
        first = wire.recv(4096)
        port = websocket_port if b"/api/websocket" in first else http_port
        behind = socket.create_connection(("127.0.0.1", port))
        behind.sendall(first)
        for source, target in ((wire, behind), (behind, wire)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(64 << 10):
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
