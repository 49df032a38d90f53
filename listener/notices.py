"""What hear tells send: small notices without sound, over a Unix datagram socket.

The second of two ways across the border, beside the spool. The schema is closed, a notice is at
most 512 bytes, and whoever hears never waits for whoever sends: a notice that nobody takes is
counted and gone. What goes on to the broker is decided by the verb send, which leaves out scores.
"""

import base64
import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.errors import Unavailable

LONGEST_BYTES: Final = 512
SOCKET: Final = "notices.sock"
MOST_AT_ONCE: Final = 1000
MOST_WORDS: Final = 6
"""Whose thresholds fit a notice."""

_LONGEST_PATH_BYTES: Final = 107  # of a Unix socket's address

# Bounds that a device does not reach, so that the largest tally still fits a notice.
Count = Annotated[int, Meta(ge=0, le=999_999_999)]
SampleCount = Annotated[int, Meta(ge=0, le=9_999_999_999_999)]  # 19 years
Score = Annotated[float, Meta(ge=0, le=1)]
Signature = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{86}==\Z")]
Sign = Callable[[bytes], bytes]


class _Notice(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """One notice."""


class Started(_Notice, frozen=True, kw_only=True, tag="started", omit_defaults=True):
    """Hear listens."""

    thresholds: Annotated[dict[ShortName, Score], Meta(max_length=MOST_WORDS)] = {}
    """Score from which each word wakes; empty where there are more words than fit."""


class Stopped(_Notice, frozen=True, kw_only=True, tag="stopped"):
    """Hear ends on purpose."""


class Wake(_Notice, frozen=True, kw_only=True, tag="wake"):
    """The word was heard."""

    word: ShortName
    score: Score


class NearMiss(_Notice, frozen=True, kw_only=True, tag="near_miss"):
    """Something came close to the word."""

    word: ShortName
    score: Score


class Mute(_Notice, frozen=True, kw_only=True, tag="mute"):
    """The gate opened or shut."""

    state: Literal["open", "hardware", "software"]
    """``open`` is not muted; otherwise, what mutes."""


class Spooled(_Notice, frozen=True, kw_only=True, tag="spooled"):
    """An envelope is in the spool: look now instead of at the next round."""


class Tally(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of the sound since hear started: the part of the counters that is signed.

    ``heard_samples == discarded_samples + sealed_samples + held_samples``.
    """

    v: Literal[1] = 1
    device: ShortName
    boot: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    """Tells this start of hear from every other: counts begin at 0 with it. As in the envelope."""
    seq: Annotated[int, Meta(ge=0, le=999_999_999_999)]
    """The last number given to an envelope, or 0."""
    heard_samples: SampleCount = 0
    discarded_samples: SampleCount = 0
    sealed_samples: SampleCount = 0
    held_samples: SampleCount = 0
    """In memory now: in the ring or in an unfinished clip."""
    muted_samples: SampleCount = 0
    wakes: Count = 0
    near_misses: Count = 0
    sealed: Count = 0
    unattributed: Count = 0
    abandoned: Count = 0
    lost: Count = 0
    """Sealed and refused by the spool."""

    def canonical(self) -> bytes:
        """Return what is signed: JSON in ASCII, keys sorted, no spaces."""
        return msgspec.json.encode(self, order="sorted")


class Counters(_Notice, frozen=True, kw_only=True, tag="counters"):
    """A tally with the device's Ed25519 signature over its canonical form."""

    tally: Tally
    signature: Signature


Notice = Started | Stopped | Wake | NearMiss | Mute | Spooled | Counters


def encode(notice: Notice) -> bytes:
    """Return a notice as JSON in ASCII.

    Raises:
        ValueError: it is longer than 512 bytes.
    """
    data = msgspec.json.encode(notice, order="sorted")
    if len(data) > LONGEST_BYTES:
        raise ValueError(f"a notice of {len(data)} bytes is over the limit of {LONGEST_BYTES}")
    return data


def decode(data: bytes) -> Notice:
    """Read a notice from bytes of any origin.

    Raises:
        ValueError: they are not exactly one notice, or too long. Nothing else is raised.
    """
    if len(data) > LONGEST_BYTES:
        raise ValueError(f"longer than {LONGEST_BYTES} bytes")
    try:
        notice: Notice = msgspec.json.decode(data, type=Notice)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a notice: {error}") from error
    return notice


def signed(tally: Tally, sign: Sign) -> Counters:
    """Return the tally with its signature.

    Args:
        tally: what to count out.
        sign: makes the 64 bytes of an Ed25519 signature with the device's key.
    """
    text = base64.b64encode(sign(tally.canonical())).decode("ascii")
    return Counters(tally=tally, signature=text)


class Notifier:
    """Hear's end. It never blocks and never raises for a listener that is slow or absent.

    Not for use by several threads at once.

    Args:
        path: of the socket that send listens on; it may come and go.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self.dropped = 0
        """Notices that nobody took."""

    def send(self, notice: Notice) -> bool:
        """Hand over a notice; say whether anybody took it.

        Raises:
            ValueError: it is longer than 512 bytes.
        """
        data = encode(notice)
        try:
            with _address(self._path) as address:
                self._socket.sendto(data, address)
        except OSError:
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


class NoticeSocket:
    """Send's end: a socket file with mode 0600, which replaces a stale one.

    Args:
        path: where.

    Raises:
        Unavailable: it cannot be made there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self.refused = 0
        """Datagrams that were no notices."""
        try:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink()
            # Linux makes the file with the socket's own mode: it is never open to others.
            os.fchmod(self._socket.fileno(), 0o600)
            with _address(path) as address:
                self._socket.bind(address)
        except OSError as error:
            self._socket.close()
            raise Unavailable(f"cannot listen on {path}: {error.strerror or error}") from error

    def fileno(self) -> int:
        """Return the descriptor, to wait on."""
        return self._socket.fileno()

    def receive(self) -> Iterator[Notice]:
        """Yield the notices that wait; count and leave out what is none. Never blocks.

        At most ``MOST_AT_ONCE``, so that a flood keeps nobody from other work.
        """
        for _ in range(MOST_AT_ONCE):
            try:
                # One byte more, so that a datagram over the limit is seen to be one.
                data = self._socket.recv(LONGEST_BYTES + 1)
            except BlockingIOError:
                return
            try:
                yield decode(data)
            except ValueError:
                self.refused += 1

    def close(self) -> None:
        """Let go of the socket and its file."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


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
