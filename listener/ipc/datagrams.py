"""Small messages between the processes of one machine: Unix datagrams that nobody waits for.

What they say is the business of `notices` and `control`; here are bytes, bounded and counted.
"""

import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Generic, TypeVar

from listener.errors import Unavailable
from listener.storage import atomic

Message = TypeVar("Message")

MOST_AT_ONCE: Final = 1024
"""Datagrams taken in one go, so that whoever floods a socket cannot keep its reader for ever."""

_TO_SPEAK: Final = 0o620  # whoever speaks to a socket writes to its file
_LONGEST_PATH_BYTES: Final = 107  # of a Unix socket's address


class Outbox:
    """The end that speaks. It never blocks and never raises for a reader that is slow or absent.

    Not for use by several threads at once.

    Args:
        path: of the socket that the reader has bound; it may come and go.
        owner: where given, only a socket that belongs to this user gets anything.
    """

    def __init__(self, path: Path, owner: int | None = None) -> None:
        self._path = path
        self._owner = owner
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self.dropped = 0
        """Messages that nobody took."""

    def send(self, data: bytes) -> bool:
        """Hand over a message; say whether anybody took it."""
        try:
            with self._found() as address:
                self._socket.sendto(data, address)
        except OSError:
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    @contextlib.contextmanager
    def _found(self) -> Iterator[str]:
        if self._owner is None:
            with _address(self._path) as address:
                yield address
            return
        # Held open, so that what is spoken to is what was looked at.
        node = os.open(self._path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(node).st_uid != self._owner:
                raise PermissionError
            yield f"/proc/self/fd/{node}"
        finally:
            os.close(node)


class Inbox:
    """The end that listens: a socket file with mode 0600, which replaces a stale one.

    Args:
        path: where.
        longest_bytes: what is longer comes out one byte longer than this, cut off.
        is_for_group: whether the group of a folder that is shared, see `belonging`, may speak too.

    Raises:
        Unavailable: it cannot be made there, or another process listens there.
    """

    def __init__(self, path: Path, longest_bytes: int, *, is_for_group: bool = False) -> None:
        self._path = path
        self._longest_bytes = longest_bytes
        if has_listener(path):
            raise Unavailable(f"another process already listens on {path}", "stop it first")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        try:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink()
            # Linux makes the file with the socket's own mode: it is never open to others.
            os.fchmod(self._socket.fileno(), 0o600)
            with _address(path) as address:
                self._socket.bind(address)
            if is_for_group:
                _share(path)
        except OSError as error:
            self._socket.close()
            raise Unavailable(f"cannot listen on {path}: {error.strerror or error}") from error

    def fileno(self) -> int:
        """Return the descriptor, to wait on."""
        return self._socket.fileno()

    def receive(self) -> Iterator[bytes]:
        """Yield what waits, at most `MOST_AT_ONCE`. Never blocks."""
        for _ in range(MOST_AT_ONCE):
            try:
                # One byte more, so that a message over the limit is seen to be one.
                data = self._socket.recv(self._longest_bytes + 1)
            except BlockingIOError:
                return
            yield data

    def close(self) -> None:
        """Let go of the socket and its file."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


class MessageSocket(Generic[Message]):
    """An inbox that yields messages instead of bytes, and counts what is none.

    Args:
        path: where; in a folder that is shared, see `belonging`, its group may speak too.
        longest_bytes: of a message.
        decode: reads a message from bytes of any origin; raises `ValueError` and nothing else.

    Raises:
        Unavailable: it cannot be made there, or another process listens there.
    """

    def __init__(self, path: Path, longest_bytes: int, decode: Callable[[bytes], Message]) -> None:
        self._inbox = Inbox(path, longest_bytes, is_for_group=True)
        self._decode = decode
        self.refused = 0
        """Datagrams that were no messages."""

    def fileno(self) -> int:
        """Return the descriptor, to wait on."""
        return self._inbox.fileno()

    def receive(self) -> Iterator[Message]:
        """Yield the messages that wait; count and leave out what is none. Never blocks."""
        for data in self._inbox.receive():
            try:
                message = self._decode(data)
            except ValueError:
                self.refused += 1
                continue
            yield message

    def close(self) -> None:
        """Let go of the socket and its file."""
        self._inbox.close()


def has_listener(path: Path) -> bool:
    """Say whether a process listens on the socket at ``path`` now."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            with _address(path) as address:
                probe.connect(address)
        except OSError:
            return False
    return True


def _share(path: Path) -> None:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # After binding, where the umask has no say. Nobody but us can write to the folder.
        path.chmod(_TO_SPEAK & atomic.shared_mode(folder))
    finally:
        os.close(folder)


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield an address that fits the kernel's limit, however deep ``path`` lies."""
    if len(os.fsencode(path)) <= _LONGEST_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
