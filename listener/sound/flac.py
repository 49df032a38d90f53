"""FLAC into memory, also where no memory may be both written and run, as under systemd.

soundfile's way to write anywhere but into a file makes callbacks by cffi, and those need such
memory. Callbacks of ctypes do not: libffi has their code ready in its own pages. It looks for
those once, in what the kernel tells a process about itself; see `prepare`.
"""

import ctypes
import io
from typing import Any, Final

import numpy as np
import soundfile

_LENGTH: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_SEEK: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p)
_MOVE: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)


class _InMemory(soundfile.SoundFile):  # type: ignore[misc] # soundfile has no types
    """A file of soundfile's in a ``BytesIO``."""

    def _init_virtual_io(self, file: io.BytesIO) -> Any:  # noqa: ANN401 - cffi has no types
        def length(_: int) -> int:
            return file.getbuffer().nbytes

        def seek(offset: int, whence: int, _: int) -> int:
            return file.seek(offset, whence)

        def read(_into: int, _count: int, _: int) -> int:
            return 0  # nothing reads what it writes

        def write(from_: int, count: int, _: int) -> int:
            # Without a copy of our own in between: encoded sound is sound.
            return file.write((ctypes.c_char * count).from_address(from_))

        def tell(_: int) -> int:
            return file.tell()

        calls = {
            "get_filelen": _LENGTH(length),
            "seek": _SEEK(seek),
            "read": _MOVE(read),
            "write": _MOVE(write),
            "tell": _LENGTH(tell),
        }
        self._calls = calls  # libsndfile has their addresses and nothing else
        ffi = soundfile._ffi  # noqa: SLF001 - the one that its library was loaded by
        return ffi.new(
            "SF_VIRTUAL_IO*",
            {
                name: ffi.cast(f"sf_vio_{name}", ctypes.cast(call, ctypes.c_void_p).value)
                for name, call in calls.items()
            },
        )


def prepare() -> None:
    """Let libffi find its pages, while the kernel still says where they are.

    For a process that will let nobody look into it (PR_SET_DUMPABLE): to a user other than root
    the kernel then tells no more about the process, itself included.

    Raises:
        MemoryError: they cannot be had, and nothing could be encoded.
    """
    _LENGTH(lambda _: 0)


def to_flac(samples: np.ndarray[Any, np.dtype[np.int16]], rate_hz: int, comment: str) -> bytes:
    """Encode sound as FLAC, 16 bits, mono.

    Args:
        samples: int16, shape (n,), n at least 1.
        rate_hz: of the samples.
        comment: the text of its COMMENT tag.
    """
    with io.BytesIO() as out:
        with _InMemory(out, "w", rate_hz, channels=1, subtype="PCM_16", format="FLAC") as file:
            file.comment = comment
            file.write(samples)
        flac = out.getvalue()
        with out.getbuffer() as plain:
            # Encoded sound is sound: leave no copy in the freed buffer.
            plain[:] = bytes(len(plain))
    return flac
