"""What each child process of hear does first: leave no traces, and end when hear ends.

The standard library alone, and nothing of ours that would need more.
"""

import ctypes
import os
import signal
import sys
from typing import Final

from listener.hear.traces import disable_core_dumps

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
