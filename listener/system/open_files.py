"""The limit on open file descriptors (``getrlimit(2)``): checked at start, raised where allowed."""

import contextlib
import os
import resource
from typing import Final

from listener.errors import Unavailable

MOST_RAISED: Final = 4096
"""The soft limit is raised to the hard one, at most to this."""


def list_descriptors() -> list[int]:
    """Return the numbers of this process's descriptors, in order; one of them is gone already."""
    return sorted(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths


def reserve_descriptors(needed: int) -> int:
    """Raise the soft limit of this process and check that it suffices.

    Args:
        needed: descriptors that the process may need at once.

    Returns:
        The soft limit now in force.

    Raises:
        Unavailable: the limit is lower than ``needed`` and may not be raised.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_RAISED if hard == resource.RLIM_INFINITY else min(hard, MOST_RAISED)
    if soft != resource.RLIM_INFINITY and soft < most:
        # A service's system call filter may forbid it; the check below decides.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        raise Unavailable(
            f"this process may open {soft} files, and needs {needed}",
            f"raise the limit: LimitNOFILE={max(1024, needed)} in the unit, or ulimit -n",
        )
    return soft
