"""Disable core dumps, overwrite freed memory, and end a child process together with hear.

Used by hear and by its child processes, which must start fast: only modules of the standard library
are imported.
"""

import ctypes
import os
import signal
import sys
from typing import Final

from listener.system.dumps import disable_core_dumps

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h; ctypes because Python has no prctl
_M_PERTURB: Final = -6  # malloc.h
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


def harden(parent: int) -> int:
    """Prepare a child process: no core dumps, killed with its parent, standard output redirected.

    Standard output is redirected to /dev/null, so that output of a library cannot mix with the
    child's protocol. SIGINT and SIGTERM are ignored: a terminal and systemd send them to the whole
    process group, but hear decides when its children end.

    Args:
        parent: process id of the parent; the kernel kills this process when the parent ends.

    Returns:
        Descriptor of the original standard output, for the protocol.
    """
    disable_core_dumps()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)  # The parent ended before prctl was called.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    pipe = os.dup(sys.stdout.fileno())
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return pipe
