"""What each child process of hear does first: leave no traces, and end when hear ends.

The standard library alone, and nothing of ours that would need more.

What a process leaves behind against its will: dumps of its memory, and memory that it freed.

For hear and for its children, which must start fast: nothing is imported that costs time.
"""

import ctypes
import os
import resource
import signal
import sys
from typing import Final

_PR_SET_DUMPABLE = 4  # linux/prctl.h; ctypes because Python has no prctl
_M_PERTURB = -6  # malloc.h
_WIPED_BYTE = 0xA5  # anything but 0, which would switch it off


def disable_core_dumps() -> bool:
    """Let no crash and no debugger of the same user write this process's memory anywhere.

    Not inherited by a program that a child starts: it calls this itself.

    Returns:
        Whether the kernel does as it is told.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    failed: int = ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    return failed == 0


def overwrite_freed_memory() -> bool:
    """Let the C library overwrite every piece of memory that is given back to it, from now on.

    The libraries that decode, encode and encrypt free their buffers as they are: libFLAC alone
    leaves a clip of 3 s there four times. This reaches all of them, in every thread. Left out are
    pieces of at most 1 KiB (32 ms of sound), of which glibc keeps a few for quick reuse.

    Returns:
        Whether it does.
    """
    libc = ctypes.CDLL(None)
    # glibc's; another C library may lack the call, or know it and do nothing.
    return hasattr(libc, "mallopt") and libc.mallopt(_M_PERTURB, _WIPED_BYTE) == 1


_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def harden(parent: int) -> int:
    """Settle in, and take standard output for our own words.

    Whatever a library prints goes nowhere from here on. Ctrl-C and systemd speak to the whole
    group of processes, but hear decides when its children end.

    Args:
        parent: its end is ours, however it ends.

    Returns:
        The descriptor that standard output was.
    """
    disable_core_dumps()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)  # It ended before we asked.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    pipe = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return pipe
