"""Lock of a process's memory (mlockall(2)): none of its pages is written to swap.

Only modules of the standard library are imported: child processes that must start fast use this.
"""

import ctypes
import os
import resource
from typing import Final

_MCL_CURRENT: Final = 1  # linux/mman.h; ctypes because Python has no mlockall
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4


def lock_all_memory() -> bool:
    """Lock the memory that this process has and will have, if RLIMIT_MEMLOCK is unlimited.

    Pages are locked when they are first used, so that unused parts of stacks take no memory. With a
    finite limit nothing is locked, because a later allocation would fail and end the process. A
    child process does not inherit the lock.

    Returns:
        True if the memory is locked.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:
        return False
    failed: int = ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
    return failed == 0
