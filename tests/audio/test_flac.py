"""Our own encoder, held against everybody else's decoders."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from listener.audio.flac import BLOCK_SAMPLES, to_flac
from listener.audio.flac_parser import parse_flac

Samples = NDArray[np.int16]

UNSUPPORTED = 3
ENCODE = f"""
import ctypes, sys
import numpy as np
from listener.audio.flac import to_flac
# linux/prctl.h: PR_SET_MDWE, as MemoryDenyWriteExecute= does; and no memory that is a file.
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit({UNSUPPORTED})
sys.stdout.buffer.write(to_flac(np.arange(48_000, dtype=np.int16), 16_000, "said"))
sys.exit("soundfile" in sys.modules)
"""


def samples_of(kind: str, length: int) -> Samples:
    rng = np.random.default_rng(length)
    places = np.arange(length)
    sound = {
        "silence": np.zeros(length),
        "hum": 3_000 * np.sin(places / 20),
        "voice": rng.normal(0, 1, length) * 2_000 * (1 + np.sin(places / 700)),
        "noise": rng.integers(-32_768, 32_768, length),
        "extremes": np.where(places % 2, 32_767, -32_768),
        "steps": np.where(places // 97 % 2, 32_767, -32_768),
    }
    made: Samples = sound[kind].astype(np.int16)
    return made


KINDS = ("silence", "hum", "voice", "noise", "extremes", "steps")


@given(st.sampled_from(KINDS), st.integers(1, 3 * BLOCK_SAMPLES))
def test_soundfile_decodes_every_sample(kind: str, length: int) -> None:
    samples = samples_of(kind, length)

    read, rate_hz = soundfile.read(io.BytesIO(to_flac(samples, 16_000, "")), dtype="int16")

    assert rate_hz == 16_000
    assert np.array_equal(read, samples)


@pytest.mark.parametrize("length", [1, 15, 16, 4095, 4096, 4097, 480_000])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(shutil.which("flac") is None, reason="apt-get install flac")
def test_flac_tool_verifies_checksums_and_md5(tmp_path: Path, kind: str, length: int) -> None:
    path = tmp_path / "clip.flac"
    path.write_bytes(to_flac(samples_of(kind, length), 16_000, "é" * 1_000))

    # It checks each frame's two checksums, and the MD5 of all samples.
    tested = subprocess.run(
        ["flac", "--test", "--warnings-as-errors", "--silent", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (tested.returncode, tested.stderr) == (0, "")
    with soundfile.SoundFile(path) as file:
        assert file.comment == "é" * 1_000
        assert file.frames == length


@pytest.mark.parametrize("multiple_bytes", [64, 4_096, 32_768])
@settings(max_examples=25)
@given(st.integers(1, 2 * BLOCK_SAMPLES), st.integers(0, 200))
def test_file_is_filled_to_a_multiple_and_reads_the_same(
    multiple_bytes: int, length: int, comment_bytes: int
) -> None:
    samples = np.arange(length, dtype=np.int16)
    comment = "x" * comment_bytes

    data = to_flac(samples, 16_000, comment, multiple_bytes)

    assert len(data) % multiple_bytes == 0
    assert len(data) - len(to_flac(samples, 16_000, comment)) < multiple_bytes + 4
    parsed = parse_flac(data)
    assert (parsed.samples, parsed.comment) == (length, comment)
    decoded, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    np.testing.assert_array_equal(decoded, samples)


def test_size_is_within_10_percent_of_libsndfile() -> None:
    samples = samples_of("voice", 160_000)
    out = io.BytesIO()
    soundfile.write(out, samples, 16_000, format="FLAC", subtype="PCM_16")

    assert len(to_flac(samples, 16_000, "")) < 1.1 * len(out.getvalue())


def test_encoder_runs_without_writable_executable_memory() -> None:
    done = subprocess.run([sys.executable, "-c", ENCODE], capture_output=True, check=False)

    if done.returncode == UNSUPPORTED:
        pytest.skip("a kernel before 6.3 cannot forbid it to a process")
    assert done.returncode == 0, done.stderr.decode()
    samples, _ = soundfile.read(io.BytesIO(done.stdout), dtype="int16")
    assert np.array_equal(samples, np.arange(48_000, dtype=np.int16))


@pytest.mark.parametrize(("rate_hz", "code"), [(16_000, 5), (48_000, 10), (12_345, 0)])
def test_frames_name_their_rate(rate_hz: int, code: int) -> None:
    data = to_flac(np.arange(5000, dtype=np.int16), rate_hz, "")

    at = data.index(b"\xff\xf8")
    assert data[at + 2] & 0xF == code
    assert soundfile.read(io.BytesIO(data), dtype="int16")[1] == rate_hz
