import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from listener.assist.understanding.local_recogniser import LocalRecogniser
from listener.errors import Unavailable
from tests.assist.understanding.homes import TEXT

TRIES = """
import errno, os, resource, socket, sys
from listener.assist.understanding import process_limits
process_limits.protect_memory()
process_limits.close_in()
for attempt in (
    lambda: socket.socket(),
    lambda: socket.socket(socket.AF_UNIX),
    lambda: open("/etc/hostname"),
    lambda: os.pipe(),
    lambda: os.dup(0),
):
    try:
        attempt()
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print("possible")
limit = resource.getrlimit
print(limit(resource.RLIMIT_CORE)[1], limit(resource.RLIMIT_NOFILE)[1] < 64)
try:
    bytearray(process_limits.MEMORY_BYTES)
except MemoryError:
    print("no memory")
"""


def test_closed_process_has_neither_files_nor_sockets_nor_much_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TRIES)], check=True, capture_output=True, text=True
    )

    assert done.stdout.split("\n")[:7] == [*["EMFILE"] * 5, "0 True", "no memory"]


def test_missing_model_is_reported_with_a_hint(tmp_path: Path) -> None:
    recogniser = LocalRecogniser(TEXT, tmp_path)

    with pytest.raises(Unavailable, match=r"the speech model lacks") as caught:
        recogniser.start()

    assert caught.value.hint == "run earmark assist models"
    assert recogniser.process_id is None


def test_process_that_ends_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    recogniser = LocalRecogniser(TEXT, tmp_path)

    with pytest.raises(Unavailable, match="has ended"):
        recogniser.recognise(np.zeros(16_000, np.int16), "alexa", is_final=True)

    assert recogniser.process_id is None


def test_process_ends_with_its_parent(tmp_path: Path) -> None:
    """A process whose parent is another one does not start."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "listener.assist.understanding.recogniser_process"),
            *(str(os.getppid()), str(tmp_path)),
        ],
        check=False,
        capture_output=True,
        input=b"",
    )

    assert (done.returncode, done.stdout) == (0, b"")
