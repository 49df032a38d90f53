"""Own FLAC decoder: exact on all that the own encoder writes, and safe on any bytes."""

import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from listener import digests
from listener.audio.flac import BLOCK_SAMPLES, crc_8, crc_16, to_flac
from listener.audio.flac_parser import parse_flac
from listener.audio.flac_reader import read_samples
from listener.audio.pcm import Samples


def decode(data: bytes) -> Samples:
    return read_samples(data, parse_flac(data))


@settings(max_examples=40)
@given(
    arrays.arrays(np.int16, st.integers(1, 3_000)),
    st.sampled_from([8_000, 16_000, 22_050, 24_000, 48_000]),
)
def test_any_samples_come_back(samples: Samples, rate_hz: int) -> None:
    assert np.array_equal(decode(to_flac(samples, rate_hz, "x")), samples)


@pytest.mark.parametrize("kind", ["silence", "tone", "noise", "steps", "ramp"])
@pytest.mark.parametrize("length", [BLOCK_SAMPLES, BLOCK_SAMPLES + 1, 3 * BLOCK_SAMPLES - 5])
def test_each_kind_of_block_comes_back(kind: str, length: int) -> None:
    index = np.arange(length)
    made = {
        "silence": np.zeros(length),
        "tone": 20_000 * np.sin(index / 9),
        "noise": np.random.default_rng(7).integers(-32_768, 32_768, length),
        "steps": np.where(index // 50 % 2, 32_767, -32_768),
        "ramp": index % 3_000,
    }[kind].astype(np.int16)

    assert np.array_equal(decode(to_flac(made, 16_000, "x")), made)


def test_file_of_another_encoder_is_refused() -> None:
    # libFLAC encodes a chord of high tones with a linear predictor.
    index = np.arange(20_000)
    sound = (9_000 * (np.sin(index * 0.9) + np.sin(index * 1.7) + np.sin(index))).astype(np.int16)
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 16_000, 1, "PCM_16", format="FLAC") as out:
        out.comment = "x"
        out.write(sound)
    data = file.getvalue()

    with pytest.raises(ValueError, match="another encoder"):
        decode(data)


@given(st.integers(0, 1 << 30), st.integers(1, 255))
def test_changed_byte_is_refused(place: int, change: int) -> None:
    data = bytearray(to_flac(np.arange(5_000, dtype=np.int16), 16_000, "x"))
    parsed = parse_flac(bytes(data))
    first = len(data) - 1 - place % (len(data) - 60)
    data[first] ^= change

    # Without the parser, which would have refused it: the decoder alone must be safe.
    try:
        samples = read_samples(bytes(data), parsed)
    except ValueError:
        return
    assert np.array_equal(samples, np.arange(5_000, dtype=np.int16)), "a checksum was changed"


def one_block(samples: Samples) -> bytes:
    """A whole block in one partition of parameter 0: as many zeros as the number, then a one."""
    folded = samples.astype(np.int64) << 1 ^ samples.astype(np.int64) >> 63
    codes = np.zeros(int(folded.sum()) + len(folded), np.uint8)
    codes[np.cumsum(folded + 1) - 1] = 1
    fields = np.unpackbits(np.array([0b0001_0000, 0, 0], np.uint8))[:18]  # order 0, one partition
    body = np.packbits(np.concatenate((fields, codes))).tobytes()
    header = bytes([0xFF, 0xF8, 0xC5, 0x08, 0])
    frame = header + bytes([crc_8(header)]) + body
    template = to_flac(np.zeros(BLOCK_SAMPLES, np.int16), 16_000, "x")
    start = template[: template.index(header)]
    md5 = digests.md5(np.ascontiguousarray(samples, "<i2").data.cast("B"))
    return start[:26] + md5 + start[42:] + frame + crc_16(frame).to_bytes(2, "big")


@pytest.mark.parametrize("value", [0, 15, 16, 2_000, 20_000, -20_001])
@pytest.mark.parametrize("place", [0, 1, 2_000, BLOCK_SAMPLES - 1])
def test_run_of_zeros_longer_than_the_parser_looks_ahead(value: int, place: int) -> None:
    samples = np.zeros(BLOCK_SAMPLES, np.int16)
    samples[place] = value

    assert np.array_equal(decode(one_block(samples)), samples)


def test_code_that_never_ends_is_refused() -> None:
    data = bytearray(one_block(np.zeros(BLOCK_SAMPLES, np.int16)))
    data[-500:] = bytes(500)

    with pytest.raises(ValueError, match="incomplete"):
        parse_flac(bytes(data))


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b""]
)
def test_file_of_another_length_than_the_parsed_one_is_refused(
    change: Callable[[bytes], bytes],
) -> None:
    data = to_flac(np.arange(5_000, dtype=np.int16), 16_000, "x")

    with pytest.raises(ValueError, match="not the one"):
        read_samples(change(data), parse_flac(data))


def test_decoder_needs_no_executable_memory() -> None:
    script = (
        "import ctypes, numpy as np\n"
        "from listener.audio.flac import to_flac\n"
        "from listener.audio.flac_parser import parse_flac\n"
        "from listener.audio.flac_reader import read_samples\n"
        # prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN), Linux 6.3
        "print(ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0)\n"
        "data = to_flac(np.arange(9000, dtype=np.int16), 16000, 'x')\n"
        "print(len(read_samples(data, parse_flac(data))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.split()[1] == "9000"


def test_files_whose_frames_have_the_rate_of_the_stream_are_read() -> None:
    samples = np.arange(-2_000, 2_000, dtype=np.int16)
    data = bytearray(to_flac(samples, 16_000, "x"))
    at = data.index(b"\xff\xf8")
    data[at + 2] &= 0xF0
    data[at + 7] = crc_8(bytes(data[at : at + 7]))
    data[-2:] = crc_16(bytes(data[at:-2])).to_bytes(2, "big")

    assert np.array_equal(decode(bytes(data)), samples)
