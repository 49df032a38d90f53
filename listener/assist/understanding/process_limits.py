"""Limits of the recogniser's process: no files, no network, no children, bounded memory.

Only modules of the standard library are imported.
"""

import ctypes
import os
import resource
import signal
import sys
from typing import Final

from listener.system.dumps import disable_core_dumps
from listener.system.malloc import overwrite_freed_memory
from listener.system.memory_lock import lock_all_memory
from listener.system.open_files import list_descriptors

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h; ctypes because Python has no prctl
_PR_SET_NO_NEW_PRIVS: Final = 38

MEMORY_BYTES: Final = 640 << 20
"""Writable memory, with the stacks of threads, of which only a part is ever used."""


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit where it has ended already.

    Args:
        parent: process id of the parent.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def protect_memory() -> None:
    """Disable core dumps and swap, bound the memory, and overwrite what is freed."""
    disable_core_dumps()
    lock_all_memory()
    overwrite_freed_memory()
    _lower(resource.RLIMIT_DATA, MEMORY_BYTES)


def close_in() -> None:
    """Refuse new descriptors, and so files and sockets; new processes; and writes to files.

    A descriptor is refused when its number is not below the limit, and all numbers below it are in
    use. It cannot be undone without privileges.
    """
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # The numbers have no holes: fill them, up to the highest in use.
    highest = list_descriptors()[-1]
    null = os.open(os.devnull, os.O_RDONLY)
    while null < highest:
        null = os.dup(null)
    _lower(resource.RLIMIT_NOFILE, max(null, highest) + 1)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NPROC, 0)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (bound, bound))
