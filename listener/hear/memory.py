"""Locked memory for plaintext audio: not dumped, not inherited by children, wiped in place."""

import ctypes
import logging
import mmap
import os
import threading
from typing import Final

import numpy as np

from listener.audio.pcm import Samples

_log = logging.getLogger(__name__)


def allocate_locked(length_samples: int) -> Samples:
    """Return a zeroed buffer that is not swapped, dumped or inherited by a child process.

    If the kernel refuses to lock the memory, a warning is logged and the buffer is used without
    the lock.

    Args:
        length_samples: number of samples, at least 1.

    Returns:
        int16, shape (length_samples,). Its pages are freed with the last view of it.
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
            "memory for audio is not locked (%s) and may be swapped to disk;"
            " raise the limit (ulimit -l, LimitMEMLOCK=)",
            os.strerror(ctypes.get_errno()),
        )
    return whole[:length_samples]


class ClipBuffers:
    """Buffers for clips that are not encrypted: allocated once, wiped on every release.

    Safe for use by several threads.
    """

    def __init__(self, count: int, length_samples: int) -> None:
        """Allocate the buffers.

        Args:
            count: number of buffers: one for the recorder, the others for the sealer's queue.
            length_samples: length of the longest clip.
        """
        self._all: Final = tuple(allocate_locked(length_samples) for _ in range(count))
        self._free = list(self._all)
        self._lock = threading.Lock()

    def take(self) -> Samples | None:
        """Return a wiped buffer, or None when all are in use."""
        with self._lock:
            return self._free.pop() if self._free else None

    def release(self, samples: Samples) -> None:
        """Wipe the buffer that ``samples`` is a view of, and make it available again.

        Releasing a buffer twice has no effect.

        Raises:
            ValueError: ``samples`` does not belong to one of these buffers.
        """
        buffer = self._buffer_of(samples)
        with self._lock:
            buffer.fill(0)
            if not any(buffer is free for free in self._free):
                self._free.append(buffer)

    def wipe(self, samples: Samples) -> None:
        """Wipe the buffer that ``samples`` is a view of, without releasing it.

        Raises:
            ValueError: ``samples`` does not belong to one of these buffers.
        """
        self._buffer_of(samples).fill(0)

    def wipe_except(self, samples: Samples, first: int, end: int) -> None:
        """Wipe the buffer that ``samples`` is a view of, except a part of the view.

        Args:
            samples: a view from the start of a buffer.
            first: first sample that is kept.
            end: end of the part that is kept.

        Raises:
            ValueError: ``samples`` does not belong to one of these buffers.
        """
        buffer = self._buffer_of(samples)
        buffer[:first] = 0
        buffer[end:] = 0

    def _buffer_of(self, samples: Samples) -> Samples:
        for buffer in self._all:
            if np.may_share_memory(buffer, samples):
                return buffer
        raise ValueError("this memory is not one of these buffers")
