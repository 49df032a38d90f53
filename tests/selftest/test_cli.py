import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.system


def test_missing_privileges_give_a_hint() -> None:
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


def test_help_lists_the_limits_of_the_search() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "listener", "selftest", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "Not searched" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
