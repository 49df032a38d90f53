"""Speech to text by a Wyoming server: a line of JSON, data and payload for each event.

The protocol is Home Assistant's for local voice programs (https://github.com/OHF-Voice/wyoming). It
has neither encryption nor authentication, so the server belongs on this computer.
"""

import socket
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from listener.assist.recogniser import Recognition
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable

LONGEST_S: Final = 6.0
"""Time for one clip: after 7 s nothing may be done any more."""
_CHUNK_BYTES: Final = 32 << 10
_LONGEST_LINE_BYTES: Final = 64 << 10
_MOST_BYTES: Final = 1 << 20
_HINT: Final = "check that the Wyoming server runs, and assist.wyoming_host and assist.wyoming_port"
_FORMAT: Final = {"rate": SAMPLE_RATE_HZ, "width": 2, "channels": 1}


class WyomingRecogniser:
    """Recogniser that connects to a Wyoming server for each clip.

    Args:
        host: name or address of the server.
        port: its TCP port.
        language: language of the commands, such as ``en``.
    """

    def __init__(self, host: str, port: int, language: str) -> None:
        self._address = (host, port)
        self._language = language

    def recognise(self, samples: Samples, word: str, *, is_final: bool) -> Recognition | None:
        """Return the text of a clip; see `Recogniser`.

        Raises:
            Unavailable: the server cannot be reached, or answered with something else.
        """
        del word, is_final
        until_s = time.monotonic() + LONGEST_S
        try:
            with socket.create_connection(self._address, LONGEST_S) as wire:
                _send_clip(wire, samples, self._language)
                text = _read_text(wire, until_s)
        except OSError as error:
            reason = error.strerror or "timed out"
            raise Unavailable(f"cannot use the Wyoming server: {reason}", _HINT) from error
        except (ValueError, RecursionError) as error:
            raise Unavailable("the Wyoming server sent an invalid event", _HINT) from error
        return Recognition(text, is_command=False) if text.strip() else None

    def describe(self) -> None:
        """Check that the server offers speech to text.

        Raises:
            Unavailable: it cannot be reached, or offers none.
        """
        until_s = time.monotonic() + LONGEST_S
        try:
            with socket.create_connection(self._address, LONGEST_S) as wire:
                wire.sendall(_encode("describe", {}))
                events = _Events(wire, until_s)
                while (event := events.read())[0] != "info":
                    pass
        except OSError as error:
            reason = error.strerror or "timed out"
            raise Unavailable(f"cannot use the Wyoming server: {reason}", _HINT) from error
        except (ValueError, RecursionError) as error:
            raise Unavailable("the Wyoming server sent an invalid event", _HINT) from error
        if not event[1].get("asr"):
            raise Unavailable("the Wyoming server offers no speech to text", _HINT)


def _send_clip(wire: socket.socket, samples: Samples, language: str) -> None:
    wire.sendall(_encode("transcribe", {"language": language}))
    wire.sendall(_encode("audio-start", _FORMAT))
    sound = samples.astype("<i2", copy=False).data.cast("B")
    for at in range(0, len(sound), _CHUNK_BYTES):
        chunk = sound[at : at + _CHUNK_BYTES]
        wire.sendall(_encode("audio-chunk", _FORMAT, len(chunk)))
        wire.sendall(chunk)
    wire.sendall(_encode("audio-stop", {}))


def _read_text(wire: socket.socket, until_s: float) -> str:
    events = _Events(wire, until_s)
    while (event := events.read())[0] != "transcript":
        if event[0] == "error":
            raise ValueError("the server reports an error")
    text = event[1].get("text")
    if not isinstance(text, str):
        raise ValueError("a transcript without text")  # noqa: TRY004 - of a message, not of an argument
    return text


def _encode(kind: str, data: Mapping[str, object], payload_bytes: int = 0) -> bytes:
    event: dict[str, object] = {"type": kind, "data": data}
    if payload_bytes:
        event["payload_length"] = payload_bytes
    return msgspec.json.encode(event) + b"\n"


class _Events:
    """Reader of the server's events.

    Args:
        wire: the connection.
        until_s: deadline on the monotonic clock.
    """

    def __init__(self, wire: socket.socket, until_s: float) -> None:
        self._wire = wire
        self._until_s = until_s
        self._rest = b""
        self._left_bytes = _MOST_BYTES

    def read(self) -> tuple[str, dict[str, Any]]:
        """Return type and data of the next event.

        Raises:
            ValueError: it is not an event, or the server sends too much.
            OSError: the connection is lost, or the deadline has passed.
        """
        while b"\n" not in self._rest:
            if len(self._rest) > _LONGEST_LINE_BYTES:
                raise ValueError("too long")
            self._receive()
        line, self._rest = self._rest.split(b"\n", 1)
        event = msgspec.json.decode(line, type=dict[str, Any])
        data = event.get("data") or {}
        more = self._take(_length(event, "data_length"))
        self._take(_length(event, "payload_length"))
        if not isinstance(data, dict):
            raise ValueError("an event whose data is not an object")  # noqa: TRY004 - of a message, not of an argument
        if more:
            data |= msgspec.json.decode(more, type=dict[str, Any])
        return str(event.get("type")), data

    def _take(self, count: int) -> bytes:
        while len(self._rest) < count:
            self._receive()
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def _receive(self) -> None:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._wire.settimeout(left_s)
        data = self._wire.recv(64 << 10)
        self._left_bytes -= len(data)
        if not data or self._left_bytes < 0:
            raise ValueError("the connection ended, or too much was sent")
        self._rest += data


def _length(event: dict[str, Any], name: str) -> int:
    length = event.get(name) or 0
    if not isinstance(length, int) or not 0 <= length <= _MOST_BYTES:
        raise ValueError("an event with an invalid length")
    return length
