"""Core dumps and debuggers: a process that holds audio, keys or passwords is closed to both.

Only modules of the standard library are imported, and ctypes is loaded on the first call.
"""

import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h; ctypes because Python has no prctl


def disable_core_dumps() -> bool:
    """Disable core dumps of this process, and access to its memory by processes of the same user.

    Afterwards ``/proc/PID/mem`` and the like belong to root, and ptrace is refused. A program that
    a child executes does not inherit this: it calls this function itself.

    Returns:
        True if the kernel accepted it.
    """
    import ctypes  # noqa: PLC0415 - only where it is called

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    failed: int = ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    return failed == 0
