"""Memory for sound in the clear: locked, in no dump, in no child, wiped in place."""

import ctypes
import logging
import mmap
import os
import threading
from typing import Final

import numpy as np

from listener.audio.pcm import Samples

# malloc.h
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 32 * 1024

_log = logging.getLogger(__name__)


def use_single_malloc_arena() -> bool:
    """Let all threads take memory from one heap, and give large pieces back to the kernel at once.

    Otherwise the ear and the thread that seals have a heap each, and every clip, being as long as
    no other, leaves holes in them: 2.5 MiB in eight hours.

    Returns:
        Whether the C library does.
    """
    libc = ctypes.CDLL(None)
    options = ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _LARGE_BYTES))
    return hasattr(libc, "mallopt") and all(libc.mallopt(name, to) == 1 for name, to in options)


def allocate_locked(length_samples: int) -> Samples:
    """Return a zeroed buffer that is never swapped, dumped or inherited.

    Where the kernel refuses to lock it, a warning says so and the buffer is used all the same: a
    speaker that does not start protects nobody.

    Args:
        length_samples: at least 1.

    Returns:
        int16, shape (length_samples,). Its pages go when the last view of it goes.
    """
    item_bytes = np.dtype(np.int16).itemsize
    pages = -(-length_samples * item_bytes // mmap.PAGESIZE)
    memory = mmap.mmap(-1, pages * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_DONTDUMP)
    memory.madvise(mmap.MADV_DONTFORK)
    whole = np.frombuffer(memory, np.int16)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlock(ctypes.c_void_p(whole.ctypes.data), ctypes.c_size_t(len(memory))):
        _log.warning(
            "memory for sound is not locked (%s) and may reach a swap device;"
            " raise the limit (ulimit -l, LimitMEMLOCK=)",
            os.strerror(ctypes.get_errno()),
        )
    return whole[:length_samples]


class ClipBuffers:
    """A few buffers for clips in the clear, allocated once, wiped each time one comes back.

    Safe for use by several threads.
    """

    def __init__(self, count: int, length_samples: int) -> None:
        """Allocate.

        Args:
            count: one is recorded into, the others wait to be sealed.
            length_samples: of the longest clip.
        """
        self._all: Final = tuple(allocate_locked(length_samples) for _ in range(count))
        self._free = list(self._all)
        self._lock = threading.Lock()

    def take(self) -> Samples | None:
        """Return a wiped buffer, or None when all are in use."""
        with self._lock:
            return self._free.pop() if self._free else None

    def release(self, samples: Samples) -> None:
        """Wipe the buffer that ``samples`` is, or is a view of, and take it back.

        Giving back twice changes nothing.

        Raises:
            ValueError: it is none of ours.
        """
        buffer = self._buffer_of(samples)
        with self._lock:
            buffer.fill(0)
            if not any(buffer is free for free in self._free):
                self._free.append(buffer)

    def wipe(self, samples: Samples) -> None:
        """Overwrite the buffer that ``samples`` is a view of; whoever has it keeps it.

        Raises:
            ValueError: it is none of ours.
        """
        self._buffer_of(samples).fill(0)

    def _buffer_of(self, samples: Samples) -> Samples:
        for buffer in self._all:
            if np.may_share_memory(buffer, samples):
                return buffer
        raise ValueError("this memory is not one of these buffers")
