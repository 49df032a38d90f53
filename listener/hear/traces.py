"""What a process leaves behind against its will: dumps of its memory, and memory that it freed.

For hear and for its children, which must start fast: nothing is imported that costs time.
"""

import ctypes
import resource

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
