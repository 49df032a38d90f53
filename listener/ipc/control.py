"""The one thing that anybody may tell hear: mute. Unix datagrams with a closed schema.

Anybody who can reach the socket can mute; whether hear obeys an unmute is its own setting. Nothing
else can be said, and what cannot be read is counted and left out.
"""

from pathlib import Path
from typing import Final

import msgspec

from listener.ipc.datagrams import MessageSocket, Outbox, has_listener

SOCKET: Final = "control.sock"
LONGEST_BYTES: Final = 64


class _ControlRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """One request."""


class Wakeup(_ControlRequest, frozen=True, kw_only=True, tag="look"):
    """Read the files that say what mutes, now instead of at the next block."""


class MuteRequest(_ControlRequest, frozen=True, kw_only=True, tag="mute"):
    """Mute by software."""


class UnmuteRequest(_ControlRequest, frozen=True, kw_only=True, tag="unmute"):
    """Take back the software mute; obeyed only where the settings say so."""


Request = Wakeup | MuteRequest | UnmuteRequest


def encode(request: Request) -> bytes:
    """Return a request as JSON in ASCII."""
    return msgspec.json.encode(request)


def decode(data: bytes) -> Request:
    """Read a request from bytes of any origin.

    Raises:
        ValueError: they are not exactly one request, or too long. Nothing else is raised.
    """
    if len(data) > LONGEST_BYTES:
        raise ValueError(f"longer than {LONGEST_BYTES} bytes")
    try:
        request: Request = msgspec.json.decode(data, type=Request)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a request: {error}") from error
    return request


class ControlClient:
    """The end that asks. Never blocks. Not for use by several threads at once.

    Args:
        path: of the socket that hear listens on; it may come and go.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outbox = Outbox(path)

    def send(self, request: Request) -> bool:
        """Ask; say whether hear was there to take it. Whether it obeys is told by its notices."""
        return self._outbox.send(encode(request))

    def has_listener(self) -> bool:
        """Say whether hear runs and listens."""
        return has_listener(self._path)

    def close(self) -> None:
        """Let go of the socket."""
        self._outbox.close()


class ControlSocket(MessageSocket[Request]):
    """Hear's end: where requests come in. Errors as `MessageSocket`.

    Args:
        path: where; in a folder that is shared, see `belonging`, its group may speak too.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, LONGEST_BYTES, decode)
