"""A fake of a Wyoming speech-to-text server."""

import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any


class FakeWyoming:
    """Answers with one text; keeps what it received."""

    def __init__(self) -> None:
        self.port = 0
        self.answer = [transcript("Alexa, stop the timer")]
        self.texts: deque[str] = deque()
        """Texts of the next clips, each once, before ``answer``."""
        self.raw = b""
        """Sent instead of ``answer``, where set."""
        self.events: list[dict[str, Any]] = []
        self.sound = b""
        self.is_heard = threading.Event()
        """Set when a whole clip has arrived."""
        self.meanwhile: Callable[[], object] = lambda: None
        """Called when a whole clip has arrived, before ``is_heard``."""
        self.may_answer = threading.Event()
        self.may_answer.set()

    def serve(self, listening: socket.socket) -> None:
        """Answer clients until the socket is closed."""
        while True:
            try:
                wire, _ = listening.accept()
            except OSError:
                return
            with wire, wire.makefile("rb") as lines:
                for line in lines:
                    event = json.loads(line)
                    self.events.append(event)
                    self.sound += lines.read(event.get("payload_length", 0))
                    if event["type"] in {"audio-stop", "describe"}:
                        break
                self.meanwhile()
                self.is_heard.set()
                self.may_answer.wait(5)
                answer = [transcript(self.texts.popleft())] if self.texts else self.answer
                data = self.raw or b"".join(json.dumps(one).encode() + b"\n" for one in answer)
                with contextlib.suppress(OSError):
                    wire.sendall(data)


def transcript(text: str) -> dict[str, Any]:
    """Return the event that has the text of a clip."""
    return {"type": "transcript", "data": {"text": text}}


@contextlib.contextmanager
def running(fake: FakeWyoming) -> Iterator[FakeWyoming]:
    """Serve a fake on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fake.port = listening.getsockname()[1]
        thread = threading.Thread(target=fake.serve, args=(listening,))
        thread.start()
        try:
            yield fake
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
