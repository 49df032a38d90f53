"""Code that stores, compares or prints dates works at other dates: a part of `make calendar`."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DATES = (ROOT / "tests" / "faketime" / "dates").read_text("utf-8").splitlines()
TESTS = (
    "archive/test_repair.py",
    "archive/test_service.py",
    "archive/test_store.py",
    "doctor/test_machine.py",
    "hear/test_sealer.py",
    "household/test_ca.py",
    "monitor/test_text.py",
    "owner/test_records.py",
    "rights/test_receipts.py",
    "storage/test_access_log.py",
)
"""What reads the clock, or stores, compares or prints a date; one file of each kind."""


@pytest.fixture(scope="module")
def true_environment() -> dict[str, str]:
    """The environment without libfaketime, under which `make calendar` runs this test too."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != "LD_PRELOAD" and not name.startswith(("FAKETIME", "COVERAGE"))
    }


@pytest.mark.parametrize("date", DATES)
def test_date_tests_pass_at_other_dates(
    true_environment: dict[str, str], tmp_path: Path, date: str
) -> None:
    assert shutil.which("faketime"), "faketime is not installed: make debian"
    now_s, then_s = (
        int(subprocess.check_output(["date", "-d", when, "+%s"], env=true_environment))
        for when in ("now", date)
    )
    year = subprocess.check_output(["date", "-u", "-d", date, "+%Y"], env=true_environment)

    process = subprocess.run(
        [
            *("faketime", "-m", "-f", f"{then_s - now_s:+d}", sys.executable, "-m", "pytest", "-q"),
            *("-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin", "-p", "no:cacheprovider"),
            *("--hypothesis-profile", "quick"),
            *("-m", "not system and not recordings", f"--basetemp={tmp_path / 'inner'}"),
            f"--junit-xml={tmp_path / 'report.xml'}",
            *TESTS,
        ],
        cwd=ROOT / "tests",
        env=true_environment
        | {
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # loading plugins takes half the time
            "TZ": "CET-1CEST,M3.5.0,M10.5.0/3",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stdout + process.stderr
    # The report has the date of the run, so the clock was shifted.
    assert f'timestamp="{year.decode().strip()}-' in (tmp_path / "report.xml").read_text("utf-8")


def test_make_passes_the_path_of_faketime_on_unexpanded(true_environment: dict[str, str]) -> None:
    path = "/usr/$LIB/faketime/libfaketime.so.1"

    recipe = subprocess.run(
        ["make", "--dry-run", "--always-make", "unit"],
        cwd=ROOT,
        env={**true_environment, "LD_PRELOAD": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    # The dynamic loader expands $LIB, not make or the shell.
    assert "monotonic.so:/usr/$LIB/faketime/libfaketimeMT.so.1' " in recipe


@pytest.fixture(scope="module")
def monotonic_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that the Makefile preloads beside libfaketime."""
    library = tmp_path_factory.mktemp("faketime") / "monotonic.so"
    source = ROOT / "tests" / "faketime" / "monotonic.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    return library


WAIT = """
import ctypes, ctypes.util, time
libc = ctypes.CDLL(None)
attributes, condition, mutex = (ctypes.create_string_buffer(64) for _ in range(3))
assert libc.pthread_condattr_init(attributes) == 0
assert libc.pthread_condattr_setclock(attributes, time.CLOCK_MONOTONIC) == 0
assert libc.pthread_cond_init(condition, attributes) == 0
assert libc.pthread_mutex_init(mutex, None) == 0
assert libc.pthread_mutex_lock(mutex) == 0
begin_ns = time.monotonic_ns()
seconds, nanoseconds = divmod(begin_ns + 200_000_000, 1_000_000_000)
until = (ctypes.c_long * 2)(seconds, nanoseconds)
print(libc.pthread_cond_timedwait(condition, mutex, until), time.monotonic_ns() - begin_ns)
"""
"""Program that waits 0.2 s for a condition of the monotonic clock, as for Python's global lock."""


def test_wait_on_the_monotonic_clock_is_not_shifted(
    true_environment: dict[str, str], monotonic_library: Path
) -> None:
    process = subprocess.run(
        ["faketime", "-m", "-f", "+400d", sys.executable, "-c", WAIT],
        env=true_environment
        | {
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "LD_PRELOAD": str(monotonic_library),
        },
        capture_output=True,
        text=True,
        check=True,
    )

    outcome, waited_ns = process.stdout.split()
    assert int(outcome) == errno.ETIMEDOUT
    assert int(waited_ns) >= 200_000_000


KEEP_SEMAPHORE = """
import ctypes, os
libc = ctypes.CDLL(None)
libc.sem_open.restype = ctypes.c_void_p
name = os.environ["FAKETIME_SHARED"].split()[0]
assert libc.sem_wait(ctypes.c_void_p(libc.sem_open(name.encode(), 0))) == 0
os.kill(os.getpid(), 9)
"""


def test_killed_process_does_not_stop_later_ones(
    true_environment: dict[str, str], monotonic_library: Path
) -> None:
    both = f"{sys.executable} -c '{KEEP_SEMAPHORE}'; {sys.executable} -c 'print(\"started\")'"

    process = subprocess.run(
        ["faketime", "-m", "-f", "+400d", "sh", "-c", both],
        env=true_environment | {"LD_PRELOAD": str(monotonic_library)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert process.stdout == "started\n"
