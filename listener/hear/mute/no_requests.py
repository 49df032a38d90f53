"""Stand-in for the control socket, for commands that use the microphone beside hear."""

import os

from listener.ipc.control import Request


class NoRequests:
    """Source of mute requests that never receives one; hear may have the control socket open."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()

    def fileno(self) -> int:
        """Return a descriptor that is never readable."""
        return self._read_end

    def receive(self) -> tuple[Request, ...]:
        """Return no requests."""
        return ()

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._read_end)
        os.close(self._write_end)
