"""What each child process does first.

What a process leaves behind; tried in processes of their own, since it cannot be taken back.
"""

import subprocess
import sys

import pytest

SETTLE = """
import os, signal, sys
from listener.hear.child_process import harden
pipe = harden({parent})
print("what a library prints")
sys.stdout.flush()
assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
import resource
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
os.write(pipe, b"ours")
"""


def begun(parent: str) -> bytes:
    return subprocess.run(
        [sys.executable, "-c", SETTLE.format(parent=parent)], stdout=subprocess.PIPE, check=True
    ).stdout


@pytest.mark.system
def test_standard_output_is_reserved_for_the_protocol() -> None:
    assert begun("os.getppid()") == b"ours"


@pytest.mark.system
def test_child_exits_if_its_parent_has_ended() -> None:
    assert begun("1 if os.getppid() != 1 else 2") == b""


CHECKS = {
    "dumps": (
        "import resource\n"
        "from listener.hear.child_process import disable_core_dumps\n"
        "assert disable_core_dumps()\n"
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
        "import ctypes\n"
        "assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0\n"  # PR_GET_DUMPABLE
    ),
    "freed": (
        "import ctypes\n"
        "from listener.system.malloc import overwrite_freed_memory\n"
        "assert overwrite_freed_memory()\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.malloc.restype = ctypes.c_void_p\n"
        "place = libc.malloc(ctypes.c_size_t(4000))\n"
        "ctypes.memset(place, 7, 4000)\n"
        "libc.free(ctypes.c_void_p(place))\n"
        "assert b'\\7' * 8 not in ctypes.string_at(place, 4000)\n"
    ),
    "costs": (
        "import sys\n"
        "from listener.hear.microphone import process\n"
        "costly = {'numpy', 'soxr', 'logging', 'dataclasses', 'pathlib', 'socket'}\n"
        "before = set(sys.modules)\n"
        "assert not costly - {'pathlib'} & before, costly & before\n"
    ),
}


@pytest.mark.parametrize("what", CHECKS)
def test_child_process_leaves_no_traces_and_starts_fast(what: str) -> None:
    # Isolated and without site, whose own imports are none of ours.
    path = [entry for entry in sys.path if entry]
    program = f"import sys; sys.path[:] = {path!r}\n{CHECKS[what]}"

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
