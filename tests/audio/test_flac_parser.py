"""A clip's FLAC file has one reading: every other form is refused, in bounded time."""

import contextlib
import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from listener import digests
from listener.audio.flac import BLOCK_SAMPLES, crc_8, crc_16, to_flac
from listener.audio.flac_parser import MOST_SAMPLES, FlacFile, parse_flac
from tests.audio.test_flac import KINDS, Samples, samples_of

RATE_HZ = 16_000
START = 4 + 4 + 34
"""Position behind STREAMINFO."""


def by_libflac(samples: Samples, rate_hz: int = RATE_HZ, comment: str = "text") -> bytes:
    """Encode as speakers did before they had their own encoder."""
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate_hz, 1, "PCM_16", format="FLAC") as file:
        file.comment = comment
        file.write(samples)
    return out.getvalue()


def expected(samples: Samples, rate_hz: int = RATE_HZ, comment: str = "text") -> FlacFile:
    md5 = digests.md5(np.ascontiguousarray(samples, "<i2").data.cast("B"))
    return FlacFile(comment, rate_hz, len(samples), md5)


@given(st.sampled_from(KINDS), st.integers(1, 3 * BLOCK_SAMPLES), st.text(max_size=50))
def test_clips_of_our_encoder_are_parsed(kind: str, length: int, comment: str) -> None:
    samples = samples_of(kind, length)

    assert parse_flac(to_flac(samples, RATE_HZ, comment)) == expected(samples, comment=comment)


@given(st.sampled_from(KINDS), st.integers(1, 3 * BLOCK_SAMPLES))
def test_clips_of_libflac_are_parsed(kind: str, length: int) -> None:
    samples = samples_of(kind, length)

    assert parse_flac(by_libflac(samples)) == expected(samples)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 12_000, 22_050, 37_800, 44_100, 48_000])
def test_every_rate_of_a_clip_is_parsed(rate_hz: int) -> None:
    samples = samples_of("voice", 10_000)

    for encode in (to_flac, by_libflac):
        assert parse_flac(encode(samples, rate_hz, "text")) == expected(samples, rate_hz)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", ["-0", "-5", "-8", "-8ep"])
@pytest.mark.skipif(shutil.which("flac") is None, reason="apt-get install flac")
def test_clips_of_the_flac_tool_are_parsed(tmp_path: Path, kind: str, level: str) -> None:
    samples = samples_of(kind, 20_000)
    soundfile.write(tmp_path / "in.wav", samples, RATE_HZ)
    options = ["--silent", "--no-seektable", "--padding=100", "--tag=comment=text", level]
    subprocess.run(["flac", *options, "in.wav"], cwd=tmp_path, check=True)

    assert parse_flac((tmp_path / "in.flac").read_bytes()) == expected(samples)


SAMPLES = samples_of("voice", 2 * BLOCK_SAMPLES + 100)
WHOLE = to_flac(SAMPLES, RATE_HZ, "text")
COMMENTS_END = START + 4 + int.from_bytes(WHOLE[START + 1 : START + 4], "big")


def frames() -> list[bytes]:
    """The frames of ``WHOLE``; each but the last is as one alone would be."""
    starts = [COMMENTS_END]
    for number in (1, 2):
        code = b"\xff\xf8\xc5\x08" if number == 1 else b"\xff\xf8\x75\x08"
        starts.append(WHOLE.index(code + bytes([number]), starts[-1]))
    return [WHOLE[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]


def with_frames(*parts: bytes) -> bytes:
    return WHOLE[:COMMENTS_END] + b"".join(parts)


def again(frame: bytes) -> bytes:
    """Correct both checksums of a frame of 4096 samples."""
    header = frame[:5]
    body = header + bytes([crc_8(header)]) + frame[6:-2]
    return body + crc_16(body).to_bytes(2, "big")


def change(at: int, value: bytes) -> bytes:
    return WHOLE[:at] + value + WHOLE[at + len(value) :]


FIRST, SECOND, LAST = frames()


def junk_with_checksum(frame: bytes) -> bytes:
    """Bytes behind a frame that make its checksum valid over both."""
    body = frame + b"hidden"
    return body + crc_16(body).to_bytes(2, "big")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"fLaC",
        b"OggS" + WHOLE,
        b"ID3\3" + bytes(6) + WHOLE,
        WHOLE[:-1],
        WHOLE[: COMMENTS_END + 20],
        WHOLE + b"\0",
        WHOLE + LAST,
        with_frames(FIRST, b"hidden", SECOND, LAST),
        with_frames(junk_with_checksum(FIRST), SECOND, LAST),
        with_frames(FIRST, SECOND, junk_with_checksum(LAST)),
        with_frames(FIRST, LAST, SECOND),
        with_frames(FIRST, FIRST, SECOND, LAST),
        with_frames(FIRST, SECOND),
        with_frames(FIRST[:4] + b"\1" + FIRST[5:], SECOND, LAST),
        with_frames(again(b"\xff\xf9" + FIRST[2:]), SECOND, LAST),  # blocks of several sizes
        with_frames(again(FIRST[:3] + b"\x18" + FIRST[4:]), SECOND, LAST),  # stereo
        with_frames(again(FIRST[:3] + b"\x0a" + FIRST[4:]), SECOND, LAST),  # 20 bits
        with_frames(again(FIRST[:3] + b"\x09" + FIRST[4:]), SECOND, LAST),  # reserved
        with_frames(again(FIRST[:2] + b"\xc4" + FIRST[3:]), SECOND, LAST),  # 8 kHz
        with_frames(FIRST[:-1] + bytes([FIRST[-1] ^ 1]), SECOND, LAST),
        change(START - 26 - 8, (1024).to_bytes(2, "big")),  # smallest block
        change(18, ((RATE_HZ << 44) | (15 << 36) | len(SAMPLES) + 1).to_bytes(8, "big")),
        change(18, ((RATE_HZ << 44) | (15 << 36) | 0).to_bytes(8, "big")),
        change(18, ((RATE_HZ << 44) | (15 << 36) | MOST_SAMPLES + 1).to_bytes(8, "big")),
        change(18, ((RATE_HZ << 44) | 1 << 41 | (15 << 36) | len(SAMPLES)).to_bytes(8, "big")),
        change(18, ((RATE_HZ << 44) | (23 << 36) | len(SAMPLES)).to_bytes(8, "big")),
        change(4, b"\x04"),
        change(START, b"\x81"),
        change(START, b"\x83"),
        change(START + 4, b"\xff\xff\xff\xff"),
        WHOLE.replace(b"COMMENT=", b"COMMENU=", 1),
        WHOLE.replace(b"COMMENT=text", b"COMMENT=\xff\xfe\xfd\xfc", 1),
    ],
)
def test_any_other_form_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each case has another message
        parse_flac(data)


def test_frames_of_the_sample_are_whole() -> None:
    assert parse_flac(with_frames(FIRST, SECOND, LAST)) == expected(SAMPLES)
    assert again(FIRST) == FIRST


@given(data=st.data())
def test_changed_bytes_are_refused_or_read_alike(data: st.DataObject) -> None:
    """What is accepted has the comment and the sound that libsndfile finds in it."""
    changed = bytearray(by_libflac(SAMPLES[:5000]))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(changed) - 1) | st.integers(0, 120))
        changed[place] = data.draw(st.integers(0, 255))

    with contextlib.suppress(ValueError):
        parsed = parse_flac(bytes(changed))
        with soundfile.SoundFile(io.BytesIO(bytes(changed))) as file:
            assert file.comment == parsed.comment.partition("\0")[0]
            assert (file.samplerate, file.frames) == (parsed.rate_hz, parsed.samples)
            assert len(file.read()) == parsed.samples


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"fLaC", WHOLE[:START], WHOLE[:COMMENTS_END]])
)
def test_bytes_are_a_clip_or_one_error(data: bytes, begin: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_flac(begin + data)


@pytest.mark.parametrize(
    "build",
    [
        lambda: with_frames(b"\xff\xf8\xc0\x08\0", bytes(1 << 20)),
        lambda: with_frames(FIRST[:6] + b"\x10" + bytes(1 << 20)),
        lambda: with_frames(FIRST[:6] + b"\x10" + b"\xff" * (1 << 20)),
        lambda: to_flac(np.zeros(MOST_SAMPLES, np.int16), 48_000, "text"),
    ],
)
def test_large_files_cost_bounded_steps(build: Callable[[], bytes]) -> None:
    """They end; the suite's timeout is the bound."""
    with contextlib.suppress(ValueError):
        assert parse_flac(build()).samples == MOST_SAMPLES
