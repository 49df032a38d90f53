"""Options of glibc's malloc for processes that hold audio or keys.

Only modules of the standard library are imported: child processes that must start fast use this.
"""

import ctypes
from typing import Final

# malloc.h
_M_MMAP_THRESHOLD: Final = -3
_M_PERTURB: Final = -6
_M_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 32 * 1024
_WIPED_BYTE: Final = 0xA5  # any value except 0, which disables overwriting


def overwrite_freed_memory() -> bool:
    """Make the C library overwrite memory when it is freed, in all threads, from now on.

    The libraries that decode, encode and encrypt do not overwrite the buffers that they free:
    libFLAC alone leaves four copies of a clip of 3 s. Blocks of at most 1 KiB (32 ms of audio),
    which glibc caches for reuse, are not overwritten.

    Returns:
        True if the C library supports it.
    """
    libc = ctypes.CDLL(None)
    # Another C library than glibc may lack the call, or ignore the option.
    return hasattr(libc, "mallopt") and libc.mallopt(_M_PERTURB, _WIPED_BYTE) == 1


def use_single_malloc_arena() -> bool:
    """Make malloc use one arena, and return large blocks to the kernel at once.

    Otherwise each thread has an arena, and clips of different lengths fragment them: 2.5 MiB in
    eight hours of hear's listen loop and sealer.

    Returns:
        True if the C library supports it.
    """
    libc = ctypes.CDLL(None)
    options = ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _LARGE_BYTES))
    return hasattr(libc, "mallopt") and all(libc.mallopt(name, to) == 1 for name, to in options)
