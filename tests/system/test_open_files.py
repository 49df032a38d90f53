"""The limit on open descriptors, in processes of their own."""

import subprocess
import sys

import pytest

CODE = """
import resource, sys
from listener.errors import Unavailable
from listener.system.open_files import reserve_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
try:
    print(reserve_descriptors(400))
except Unavailable as error:
    print(f"{error}; {error.hint}")
"""


@pytest.mark.parametrize(
    ("soft", "hard", "told"),
    [
        (64, 1024, "1024"),
        (512, 512, "512"),
        (64, 8192, "4096"),
        (
            64,
            128,
            "this process may open 128 files, and needs 400; raise the limit: LimitNOFILE=1024",
        ),
    ],
)
def test_limit_is_raised_or_too_low(soft: int, hard: int, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(soft), str(hard)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip().removesuffix(" in the unit, or ulimit -n") == told
