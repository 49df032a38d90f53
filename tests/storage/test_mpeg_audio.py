"""MP3 files: every frame is decoded, with and without headers and tags."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable
from listener.storage import mpeg_audio
from listener.storage.recordings import open_recording
from tests.storage import sound_files

ID3V1 = b"TAG" + b"\xff" * 125
LYRICS = b"LYRICSBEGININD0000200000021LYRICS200"


def drain(path: Path, start_s: float = 0.0, block_samples: int = 1280) -> Samples:
    blocks = [np.zeros(0, np.int16)]
    with open_recording(path, start_s=start_s) as recording:
        while (block := recording.read(block_samples)) is not None:
            blocks.append(block)
    return np.concatenate(blocks)


def read_into(blocks: list[Samples], path: Path) -> None:
    with open_recording(path) as recording:
        while (block := recording.read(1280)) is not None:
            blocks.append(block)


def distance(samples: Samples, expected: Samples, most_delay: int = 2_400) -> int:
    """Least difference of ``expected`` to ``samples`` with the encoder's delay before them."""
    assert len(samples) >= len(expected)
    middle = expected[4_000:-4_000].astype(int)
    return min(
        int(np.abs(samples[4_000 + delay :][: len(middle)] - middle).max())
        for delay in range(min(most_delay, len(samples) - len(expected) + 1))
    )


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize(
    "make",
    [
        lambda frames: frames,
        lambda frames: sound_files.id3v2_picture() + frames,
        lambda frames: frames + ID3V1,
        lambda frames: frames + sound_files.ape_tag(has_header=True),
        lambda frames: frames + sound_files.ape_tag(has_header=False),
        lambda frames: frames + LYRICS + ID3V1,
        lambda frames: frames + sound_files.ape_tag(has_header=True) + ID3V1,
        lambda frames: frames + bytes(3_000),
    ],
    ids=["bare", "picture", "id3v1", "ape2", "ape1", "lyrics", "ape2-id3v1", "padding"],
)
def test_file_without_a_header_is_decoded_to_its_end(
    tmp_path: Path, mode: str, rate_hz: int, make: object
) -> None:
    mp3 = sound_files.encode_mp3(mode, rate_hz)
    expected = drain(sound_files.write(tmp_path, "whole.mp3", mp3))

    samples = drain(
        sound_files.write(tmp_path, "bare.mp3", make(sound_files.without_header(mp3)))  # type: ignore[operator] # one of the functions above
    )

    assert 0 <= len(samples) - len(expected) <= 2 * 1152
    # At 44.1 kHz the delay is not a whole number of samples at 16 kHz.
    assert distance(samples, expected) <= (1 if rate_hz == SAMPLE_RATE_HZ else 1_500)


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_whole_file_equals_libsndfile(tmp_path: Path, mode: str) -> None:
    path = sound_files.write(tmp_path, "whole.mp3", sound_files.encode_mp3(mode))
    decoded = soundfile.read(path, dtype="float32")[0]

    samples = drain(path)

    assert np.abs(samples - np.clip(decoded * 32768.0, -32768, 32767)).max() <= 1


@pytest.mark.parametrize("block_samples", [1, 1280, 1 << 17])
def test_blocks_of_a_variable_bit_rate_equal_the_whole(tmp_path: Path, block_samples: int) -> None:
    """A seek after each block would lose the bits that a frame takes from those before it."""
    mp3 = sound_files.encode_mp3("VARIABLE", seconds=0.5 if block_samples == 1 else 3.0)
    path = sound_files.write(tmp_path, "whole.mp3", mp3)
    decoded = soundfile.read(path, dtype="float32")[0]

    samples = drain(path, block_samples=block_samples)

    assert np.abs(samples - decoded * 32768.0).max() <= 1


@pytest.mark.parametrize("start_s", [0.02, 0.5, 1.2345, 2.5])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("has_header", [True, False])
def test_reading_from_the_middle_equals_the_whole(
    tmp_path: Path, mode: str, start_s: float, *, has_header: bool
) -> None:
    mp3 = sound_files.encode_mp3(mode)
    mp3 = mp3 if has_header else sound_files.without_header(mp3)
    path = sound_files.write(tmp_path, "whole.mp3", mp3)

    samples = drain(path, start_s)

    expected = drain(path)[round(start_s * SAMPLE_RATE_HZ) :]
    assert len(samples) == len(expected)
    assert np.abs(samples.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("between", [b"", ID3V1, sound_files.id3v2_picture()])
@pytest.mark.parametrize("has_header", [True, False])
def test_both_of_two_files_in_one_are_decoded(
    tmp_path: Path, between: bytes, *, has_header: bool
) -> None:
    mp3 = sound_files.encode_mp3("VARIABLE")
    part = mp3 if has_header else sound_files.without_header(mp3)
    expected = drain(sound_files.write(tmp_path, "one.mp3", mp3))

    samples = drain(sound_files.write(tmp_path, "two.mp3", part + between + part))

    assert 2 * len(expected) <= len(samples) <= 2 * len(expected) + 4 * 1152
    assert distance(samples, expected) <= 1
    assert distance(samples[-len(expected) - 2_400 :], expected) <= 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda mp3: mp3[: len(mp3) // 2], "is incomplete"),
        (lambda mp3: sound_files.without_header(mp3)[:-50], "is incomplete"),
        (lambda mp3: mp3 + mp3[: len(mp3) // 2], "is incomplete"),
        (lambda mp3: mp3[:9_000] + b"no frames" * 200 + mp3[9_000:], "are not audio frames"),
        (
            lambda mp3: (
                mp3 + sound_files.without_header(sound_files.encode_mp3("CONSTANT", 22_050))
            ),
            "sample rate or its number of channels changes",
        ),
    ],
    ids=["cut", "cut-bare", "second-cut", "hole", "other-rate"],
)
def test_incomplete_file_is_damaged_behind_what_can_be_decoded(
    tmp_path: Path, make: object, message: str
) -> None:
    mp3 = sound_files.encode_mp3("VARIABLE")
    path = sound_files.write(tmp_path, "cut.mp3", make(mp3))  # type: ignore[operator] # one of the functions above
    blocks: list[Samples] = []

    with pytest.raises(Unavailable, match=f"is damaged: .*{message}"):
        read_into(blocks, path)

    assert sum(map(len, blocks)) >= SAMPLE_RATE_HZ


def test_file_cut_between_frames_lacks_frames_of_its_header(tmp_path: Path) -> None:
    mp3 = sound_files.encode_mp3("CONSTANT")
    found = mpeg_audio.scan(io.BytesIO(mp3))
    assert found is not None
    ((start, length),) = found.runs
    path = sound_files.write(tmp_path, "cut.mp3", mp3[: start + length // found.frames * 50])

    with open_recording(path) as recording, pytest.raises(Unavailable, match="are missing"):
        recording.check_whole()


def test_headers_of_every_layer_have_their_standard_length() -> None:
    # Layer 1 at 384 kbit/s, layer 2 at 160, layer 3 at 128, and MPEG 2 layer 3 at 64.
    heads = ["fffec000", "fffd9000", "fffb9000", "fff380c0"]

    headers = [mpeg_audio.parse_header(bytes.fromhex(head)) for head in heads]

    assert [each and (each.length_bytes, each.samples) for each in headers] == [
        (416, 384),
        (522, 1152),
        (417, 1152),
        (208, 576),
    ]
    assert [each and each.is_mono for each in headers] == [False, False, False, True]


@pytest.mark.parametrize(
    "head", ["", "fffb", "fffb00c4", "fffbf0c4", "fffb9cc4", "ffeb90c4", "fff990c4"]
)
def test_other_bytes_are_not_a_header(head: str) -> None:
    assert mpeg_audio.parse_header(bytes.fromhex(head)) is None


def test_bytes_without_frames_have_no_scan() -> None:
    assert mpeg_audio.scan(io.BytesIO(b"\xff\xfb" + b"text " * 9_000)) is None
