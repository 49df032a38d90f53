"""Stop button: a key of a kernel input device (``/dev/input/event*``), read without waiting."""

import contextlib
import os
import struct
from pathlib import Path
from typing import Final

from listener.errors import Unavailable

_EVENT: Final = struct.Struct("llHHi")
"""``struct input_event``: seconds, microseconds, type, code, value."""
_KEY: Final = 1  # linux/input-event-codes.h: EV_KEY
_PRESSED: Final = 1
_MOST_EVENTS: Final = 64


class StopButton:
    """Any key of one input device. For one thread.

    Args:
        path: the device node.

    Raises:
        Unavailable: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(f"cannot open the button {path}: {error.strerror}") from error

    def was_pressed(self) -> bool:
        """Return whether a key was pressed since the last call; a device that is gone has none."""
        pressed = False
        while True:
            try:
                data = os.read(self._file, _EVENT.size * _MOST_EVENTS)
            except OSError:
                return pressed
            whole = len(data) - len(data) % _EVENT.size
            pressed |= any(
                (kind, value) == (_KEY, _PRESSED)
                for _, _, kind, _, value in _EVENT.iter_unpack(data[:whole])
            )
            if len(data) < _EVENT.size * _MOST_EVENTS:
                return pressed

    def close(self) -> None:
        """Close the device."""
        with contextlib.suppress(OSError):
            os.close(self._file)
