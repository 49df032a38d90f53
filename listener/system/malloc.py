"""Options of glibc's malloc for processes that hold audio or keys.

Only modules of the standard library are imported: child processes that must start fast use this.
"""

import ctypes
import os
import sys
from collections.abc import Mapping
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
    which glibc caches for reuse, are not overwritten; nor are those of up to 512 bytes that Python
    caches, and so no short text: see `with_small_blocks_freed`.

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


_PYTHON: Final = "PYTHONMALLOC"
_PYTHON_WITHOUT_CACHE: Final = "malloc"
_TUNABLES: Final = "GLIBC_TUNABLES"
_WITHOUT_CACHE: Final = "glibc.malloc.tcache_count=0"


def with_small_blocks_freed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a Python process caches no freed memory.

    Python's own allocator keeps freed objects of at most 512 bytes as they are, and so each text
    that was recognised; glibc keeps freed blocks of at most 1 KiB in a cache of each thread. Both
    are chosen at the start of a process. With neither, `overwrite_freed_memory` reaches them.

    Args:
        environment: of the process that is to be started.
    """
    tunables = [one for one in environment.get(_TUNABLES, "").split(":") if one]
    others = [one for one in tunables if not one.startswith("glibc.malloc.tcache_count=")]
    return dict(environment) | {
        _PYTHON: _PYTHON_WITHOUT_CACHE,
        _TUNABLES: ":".join((*others, _WITHOUT_CACHE)),
    }


def restart_with_small_blocks_freed() -> None:
    """Execute this process's program again where its environment caches freed memory; at most once.

    Call it before anything is opened, in the program's main function.
    """
    environment = with_small_blocks_freed(os.environ)
    if environment == dict(os.environ):
        return
    # The command line with the interpreter's own options.
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - no shell: this program again
