"""Encoding, where no memory may be both written and run."""

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
import soundfile

from listener.sound.flac import to_flac

FORBIDDEN = 3
ENCODE = f"""
import ctypes, os, sys
import numpy as np
from listener.sound.flac import prepare, to_flac
prctl = ctypes.CDLL(None).prctl
if os.geteuid() == 0:
    os.setuid(65534)
    prctl(4, 1, 0, 0, 0)
prepare()
# linux/prctl.h: PR_SET_DUMPABLE, as hear sets it; PR_SET_MDWE, as MemoryDenyWriteExecute= does.
if prctl(4, 0, 0, 0, 0) or prctl(65, 1, 0, 0, 0):
    sys.exit({FORBIDDEN})
sys.stdout.buffer.write(to_flac(np.arange(48_000, dtype=np.int16), 16_000, "said"))
"""


def test_sound_is_encoded_where_no_memory_is_both_written_and_run() -> None:
    done = subprocess.run([sys.executable, "-c", ENCODE], capture_output=True, check=False)  # noqa: S603 - our own script

    if done.returncode == FORBIDDEN:
        pytest.skip("a kernel before 6.3 cannot forbid it to a process")
    assert done.returncode == 0, done.stderr.decode()
    samples, rate_hz = soundfile.read(BytesIO(done.stdout), dtype="int16")
    assert rate_hz == 16_000
    assert (samples == np.arange(48_000, dtype=np.int16)).all()


@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 160_000])
def test_a_clip_of_any_length_comes_back(length: int) -> None:
    samples = np.random.default_rng(length).integers(-3_000, 3_000, length).astype(np.int16)

    flac = to_flac(samples, 16_000, "x" * 1_000)

    with soundfile.SoundFile(BytesIO(flac)) as file:
        assert file.comment == "x" * 1_000
        assert (file.read(dtype="int16") == samples).all()
