import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.system


def test_whoever_may_not_look_is_told_how_to() -> None:
    # Root may look into everything, so it gives that right up first.
    drop = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all"] if not os.geteuid() else []

    done = subprocess.run(
        [*drop, sys.executable, "-m", "listener", "selftest", "--no-trace", "--path", "recording"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 69
    assert "this user may not read the memory" in done.stderr
    assert "unshare --user --map-root-user earmark selftest" in done.stderr


def test_help_says_what_the_search_cannot_see() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "listener", "selftest", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "Beyond this search" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
