"""Standard streams of a command: closed, full, or in an encoding that lacks characters.

Without this, a closed standard output has no stream, what is printed to a closed standard error
lands in the output, and the next file that is opened takes its number.
"""

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Final

OUTPUT_NAME: Final = "standard output"
_ESCAPES: Final = "earmark-escapes"
_DESCRIPTORS: Final = 3
_STDOUT: Final = 1
_FIRST_OF_TWO: Final = 0x1_0000
"""First character that UTF-16, and so JSON, writes as two."""


class _NamedBuffer(io.BufferedWriter):
    """Buffer of the standard output whose errors name it, as those of a file do."""

    def write(self, data: object) -> int:
        with _named():
            return super().write(data)  # type: ignore[arg-type] # a buffer, as in the base class

    def flush(self) -> None:
        with _named():
            super().flush()


def prepare_streams() -> None:
    """Open closed standard streams, and prepare the output for every character.

    Writing to a standard output that was closed fails, as to a full disk; reading from a closed
    standard input finds its end; and what is written to a closed standard error is discarded.
    Characters that the output's encoding lacks are written as in JSON, so that JSON stays valid.
    """
    for number in range(_DESCRIPTORS):
        try:
            os.fstat(number)
        except OSError:
            # Not writable as standard output: what is lost there is an error.
            flags = os.O_RDONLY if number <= _STDOUT else os.O_WRONLY
            # The lowest free number: those below are open by now.
            os.open(os.devnull, flags)
            os.set_inheritable(number, True)  # noqa: FBT003 - positional in the standard library
    codecs.register_error(_ESCAPES, _escape)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a descriptor, for the whole run
    if sys.stderr is None:
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115 - a descriptor, for the whole run
    encoding, is_lines = "utf-8", False
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding, is_lines = sys.stdout.encoding, sys.stdout.line_buffering
        sys.stdout.detach()
    raw = io.FileIO(_STDOUT, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        _NamedBuffer(raw), encoding=encoding, errors=_ESCAPES, line_buffering=is_lines
    )


def discard_output() -> None:
    """Discard what is still buffered for the standard output, which cannot be written."""
    null = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):  # ValueError: it has no descriptor
        os.dup2(null, sys.stdout.fileno())
    os.close(null)


def is_output_error(error: OSError) -> bool:
    """Return whether an error without a file name is one of writing an output."""
    return error.errno in {
        errno.EBADF,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.ENOSPC,
    }


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = OUTPUT_NAME
        raise


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Return ``\uXXXX`` for each character, as JSON does; a handler of ``codecs``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = []
    for character in error.object[error.start : error.end]:
        value = ord(character)
        if value >= _FIRST_OF_TWO:
            value -= _FIRST_OF_TWO
            units += [0xD800 | value >> 10, 0xDC00 | value & 0x3FF]
        else:
            units.append(value)
    return "".join(f"\\u{unit:04x}" for unit in units), error.end
