"""Unix datagram sockets between the processes of one machine. No end ever waits for the other.

Messages here are bytes, bounded and counted; `notices` and `control` define their content.
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

MOST_AT_ONCE: Final = 64
"""Datagrams read in one call: a flood takes hear at most some milliseconds of each 80 ms frame."""

_GROUP_MAY_SEND: Final = 0o620  # sending needs write permission on the socket file
_LONGEST_PATH_BYTES: Final = 107  # of a Unix socket's address


class Outbox:
    """Sender. Never blocks and never raises for a slow or missing reader. For one thread at a time.

    Args:
        path: the socket that the reader has bound; it may be missing for a time.
        owner: user id; if given, messages go only to a socket file of this user.
    """

    def __init__(self, path: Path, owner: int | None = None) -> None:
        self._path = path
        self._owner = owner
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self.dropped = 0
        """Messages that no reader received."""

    def send(self, data: bytes) -> bool:
        """Send a message; return whether a reader received it."""
        try:
            with self._checked_address() as address:
                self._socket.sendto(data, address)
        except OSError:
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @contextlib.contextmanager
    def _checked_address(self) -> Iterator[str]:
        if self._owner is None:
            with _address(self._path) as address:
                yield address
            return
        # Held open, so that the file that was checked is the one that receives.
        node = os.open(self._path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(node).st_uid != self._owner:
                raise PermissionError
            yield f"/proc/self/fd/{node}"
        finally:
            os.close(node)


class Inbox:
    """Receiver: a socket file with mode 0600, which replaces one without a listener.

    Args:
        path: the socket file.
        longest_bytes: upper limit of a message; a longer one is cut to one byte more than this.
        is_for_group: whether the group of a setgid folder may send too.
        most_at_once: datagrams read in one call.

    Raises:
        Unavailable: the socket cannot be created, or another process listens on it.
    """

    def __init__(
        self,
        path: Path,
        longest_bytes: int,
        *,
        is_for_group: bool = False,
        most_at_once: int = MOST_AT_ONCE,
    ) -> None:
        self._path = path
        self._most_at_once = most_at_once
        self._longest_bytes = longest_bytes
        if has_listener(path):
            pid = _find_listener(path)
            raise Unavailable(
                f"another process already listens on {path}"
                + (f": process {pid}" if pid is not None else ""),
                "stop it first"
                + (f": kill {pid}, or systemctl stop its service" if pid is not None else ""),
            )
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        try:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink()
            # Linux creates the file with the socket's own mode: it is never open to others.
            os.fchmod(self._socket.fileno(), 0o600)
            with _address(path) as address:
                self._socket.bind(address)
            if is_for_group:
                _share(path)
        except OSError as error:
            self._socket.close()
            raise Unavailable(f"cannot listen on {path}: {error.strerror or error}") from error

    def fileno(self) -> int:
        """Return the descriptor, for ``select``."""
        return self._socket.fileno()

    def receive(self) -> Iterator[bytes]:
        """Yield the waiting messages, at most ``most_at_once``. Never blocks."""
        for _ in range(self._most_at_once):
            try:
                # One byte more, so that a message over the limit is recognised.
                data = self._socket.recv(self._longest_bytes + 1)
            except BlockingIOError:
                return
            yield data

    def close(self) -> None:
        """Close the socket and remove its file."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


class MessageSocket(Generic[Message]):
    """Receiver of decoded messages; counts datagrams that are not messages.

    Args:
        path: the socket file; in a setgid folder the folder's group may send too.
        longest_bytes: upper limit of a message.
        decode: parses any bytes; raises `ValueError` and nothing else.

    Raises:
        Unavailable: the socket cannot be created, or another process listens on it.
    """

    def __init__(self, path: Path, longest_bytes: int, decode: Callable[[bytes], Message]) -> None:
        self._inbox = Inbox(path, longest_bytes, is_for_group=True)
        self._decode = decode
        self.refused = 0
        """Datagrams that were not messages."""

    def fileno(self) -> int:
        """Return the descriptor, for ``select``."""
        return self._inbox.fileno()

    def receive(self) -> Iterator[Message]:
        """Yield the waiting messages; count and drop other datagrams. Never blocks."""
        for data in self._inbox.receive():
            try:
                message = self._decode(data)
            except ValueError:
                self.refused += 1
                continue
            yield message

    def close(self) -> None:
        """Close the socket and remove its file."""
        self._inbox.close()


def _find_listener(path: Path) -> int | None:
    """Return the process that has bound a socket file, or None if it is not visible."""
    try:
        lines = Path("/proc/net/unix").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    sockets = {f"socket:[{line.split()[6]}]" for line in lines if line.endswith(f" {path}")}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        # Processes of other users, and those that have ended since.
        with contextlib.suppress(OSError):
            if str(link.readlink()) in sockets:
                return int(link.parts[2])
    return None


def has_listener(path: Path) -> bool:
    """Return whether a process listens on the socket at ``path`` now."""
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
        # After binding, since the umask applies to that. No other user can write to the folder.
        path.chmod(_GROUP_MAY_SEND & atomic.shared_mode(folder))
    finally:
        os.close(folder)


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield an address within the kernel's limit of 107 bytes, for a path of any length."""
    if len(os.fsencode(path)) <= _LONGEST_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
