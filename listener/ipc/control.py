"""Control requests to hear, for mute and sensitivity: Unix datagrams with a closed schema.

Every process that can reach the socket can mute and lower the sensitivity; whether hear accepts an
unmute, or a sensitivity above the configuration, is configured (``mute.remote_unmute``,
``wake.remote_threshold``). Datagrams that are not a request are counted and dropped.
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.ipc.datagrams import MessageSocket, Outbox, has_listener

SOCKET: Final = "control.sock"
LONGEST_BYTES: Final = 96


class _ControlRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """Base of the requests."""


class Wakeup(_ControlRequest, frozen=True, kw_only=True, tag="look"):
    """Read the files of the mute state now instead of at the next block."""


class MuteRequest(_ControlRequest, frozen=True, kw_only=True, tag="mute"):
    """Turn the software mute on."""


class UnmuteRequest(_ControlRequest, frozen=True, kw_only=True, tag="unmute"):
    """Turn the software mute off; accepted only with ``mute.remote_unmute``."""


class ThresholdRequest(_ControlRequest, frozen=True, kw_only=True, tag="threshold"):
    """Set the threshold of a wake word; lower than configured only if the configuration allows."""

    word: ShortName
    threshold: Annotated[float, Meta(ge=0.01, le=0.99)]


class WordRequest(_ControlRequest, frozen=True, kw_only=True, tag="word", omit_defaults=True):
    """Detect one of the configured wake words, or all of them."""

    only: ShortName | None = None
    """The word; None for all."""


Request = Wakeup | MuteRequest | UnmuteRequest | ThresholdRequest | WordRequest


def encode(request: Request) -> bytes:
    """Return a request as JSON in ASCII."""
    return msgspec.json.encode(request)


def decode(data: bytes) -> Request:
    """Parse a request; any bytes are accepted.

    Raises:
        ValueError: not exactly one request, or too long. No other error is raised.
    """
    if len(data) > LONGEST_BYTES:
        raise ValueError(f"longer than {LONGEST_BYTES} bytes")
    try:
        request: Request = msgspec.json.decode(data, type=Request)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a request: {error}") from error
    return request


class ControlClient:
    """Client's end of the control socket. Never blocks. For one thread at a time.

    Args:
        path: the socket on which hear listens; it may be missing for a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outbox = Outbox(path)

    def send(self, request: Request) -> bool:
        """Send a request; return whether hear received it. Its effect shows in hear's notices."""
        return self._outbox.send(encode(request))

    def has_listener(self) -> bool:
        """Return whether hear listens on the socket now."""
        return has_listener(self._path)

    def close(self) -> None:
        """Close the socket."""
        self._outbox.close()


class ControlSocket(MessageSocket[Request]):
    """Hear's end of the control socket. Errors as `MessageSocket`.

    Args:
        path: the socket; in a setgid folder the folder's group may send too.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, LONGEST_BYTES, decode)
