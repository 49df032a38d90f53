"""What each child process does first."""

import subprocess
import sys

import pytest

SETTLE = """
import os, signal, sys
from listener.hear.childhood import harden
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
def test_standard_output_is_for_our_own_words() -> None:
    assert begun("os.getppid()") == b"ours"


@pytest.mark.system
def test_a_child_whose_parent_is_gone_already_ends() -> None:
    assert begun("1 if os.getppid() != 1 else 2") == b""
