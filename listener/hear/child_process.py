"""Disable core dumps of a child process, and end it together with hear.

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
