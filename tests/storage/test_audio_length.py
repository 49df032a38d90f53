"""Lengths of audio files: whole, cut, unfinished, and followed by another."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import Unavailable
from listener.storage.audio_length import find_damage
from listener.storage.recordings import open_recording
from tests.storage import sound_files

LENGTH_SAMPLES = 3 * SAMPLE_RATE_HZ


def read_all(path: Path) -> tuple[int, str]:
    """Return the number of samples that are read, and the error behind them."""
    read = 0
    try:
        with open_recording(path) as recording:
            while (block := recording.read(1280)) is not None:
                read += len(block)
    except Unavailable as error:
        return read, str(error)
    return read, ""


def with_wav_length(content: bytes, length: int, riff: int | None = None) -> bytes:
    """Return a WAV file whose header gives another length of its samples."""
    at = content.index(b"data") + 4
    changed = content[:at] + struct.pack("<I", length) + content[at + 4 :]
    whole = length + 36 if riff is None else riff
    return changed[:4] + struct.pack("<I", whole & 0xFFFF_FFFF) + changed[8:]


@pytest.mark.parametrize("kind", sound_files.KINDS)
def test_whole_file_is_not_damaged(tmp_path: Path, kind: str) -> None:
    path = sound_files.write(tmp_path, f"whole.{kind}", sound_files.encode(kind))

    read, error = read_all(path)

    assert error == ""
    assert LENGTH_SAMPLES <= read <= LENGTH_SAMPLES + 2_000


@pytest.mark.parametrize("kind", sound_files.KINDS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.98])
def test_cut_file_is_damaged(tmp_path: Path, kind: str, part: float) -> None:
    content = sound_files.encode(kind)
    path = sound_files.write(tmp_path, f"cut.{kind}", content[: int(len(content) * part)])

    read, error = read_all(path)

    assert "is damaged: " in error or "cannot read" in error
    assert read <= LENGTH_SAMPLES * (part + 0.2)


@pytest.mark.parametrize("kind", ["wav", "extensible.wav", "float.wav", "rf64", "w64", "aiff"])
def test_cut_file_is_read_up_to_its_end(tmp_path: Path, kind: str) -> None:
    content = sound_files.encode(kind)
    path = sound_files.write(tmp_path, f"cut.{kind}", content[: len(content) // 2])

    read, error = read_all(path)

    assert LENGTH_SAMPLES // 2 - 200 <= read <= LENGTH_SAMPLES // 2
    assert "bytes of samples" in error


@pytest.mark.parametrize("riff", [0, 36, None])
def test_wav_of_length_0_with_samples_is_damaged(tmp_path: Path, riff: int | None) -> None:
    content = with_wav_length(sound_files.encode("wav"), 0, riff)
    path = sound_files.write(tmp_path, "piped.wav", content)

    assert read_all(path) == (
        0,
        f"{path} is damaged: its header gives 0 bytes of samples, and 96000 more follow them",
    )


@pytest.mark.parametrize("length", [32_000, 48_001, 95_000])
def test_wav_whose_header_is_older_than_its_samples_is_damaged(tmp_path: Path, length: int) -> None:
    path = sound_files.write(
        tmp_path, "half.wav", with_wav_length(sound_files.encode("wav"), length)
    )

    read, error = read_all(path)

    assert read == length // 2
    assert f"its header gives {length} bytes" in error


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000, 0x7FFF_FFDB])
def test_wav_that_was_written_to_a_pipe_is_whole(tmp_path: Path, length: int) -> None:
    path = sound_files.write(
        tmp_path, "piped.wav", with_wav_length(sound_files.encode("wav"), length)
    )

    assert read_all(path) == (LENGTH_SAMPLES, "")


@pytest.mark.parametrize(
    ("kind", "start", "form"),
    [
        ("rf64", b"ds64", ("<Q", 16)),
        ("w64", b"data\xf3\xac", ("<Q", 16)),
        ("aiff", b"SSND", (">I", 4)),
        ("caf", b"data", (">Q", 4)),
    ],
)
@pytest.mark.parametrize("part", [0, 0.5])
def test_unfinished_header_of_other_formats_is_damage(
    tmp_path: Path, kind: str, start: bytes, form: tuple[str, int], part: float
) -> None:
    content = bytearray(sound_files.encode(kind))
    extra = {"rf64": 0, "w64": 24, "aiff": 8, "caf": 4}[kind]
    at = content.index(start) + form[1]
    struct.pack_into(form[0], content, at, int(2 * LENGTH_SAMPLES * part) + extra)
    path = sound_files.write(tmp_path, f"half.{kind}", bytes(content))

    read, error = read_all(path)

    assert read <= LENGTH_SAMPLES
    assert "is damaged: its header gives" in error or "cannot read" in error


def test_unfinished_headers_of_au_and_nist_are_damage(tmp_path: Path) -> None:
    au = bytearray(sound_files.encode("au"))
    struct.pack_into(">I", au, 8, 48_000)
    nist = sound_files.encode("nist").replace(b"sample_count -i 48000", b"sample_count -i 24000")

    for name, content in (("half.au", bytes(au)), ("half.nist", nist)):
        _, error = read_all(sound_files.write(tmp_path, name, content))
        assert "48000 more follow them" in error


def test_flac_whose_header_is_older_than_its_samples_is_damaged(tmp_path: Path) -> None:
    content = bytearray(sound_files.encode("flac"))
    packed = int.from_bytes(content[18:26], "big") - LENGTH_SAMPLES // 2
    content[18:26] = packed.to_bytes(8, "big")
    path = sound_files.write(tmp_path, "half.flac", bytes(content))

    read, error = read_all(path)

    assert read == LENGTH_SAMPLES // 2
    assert "its header gives 24000 samples, and more follow them" in error


@pytest.mark.parametrize("kind", [each for each in sound_files.KINDS if each != "mp3"])
def test_second_file_behind_the_first_is_reported(tmp_path: Path, kind: str) -> None:
    content = sound_files.encode(kind)
    path = sound_files.write(tmp_path, f"two.{kind}", content + content)

    _, error = read_all(path)

    # libsndfile refuses some of them as a whole.
    assert "is damaged: " in error or "cannot read" in error


@pytest.mark.parametrize("kind", ["wav", "rf64", "w64", "aiff", "au", "nist", "ogg", "opus"])
def test_padding_behind_the_samples_is_not_damage(tmp_path: Path, kind: str) -> None:
    path = sound_files.write(tmp_path, f"padded.{kind}", sound_files.encode(kind) + bytes(512))

    assert read_all(path)[1] == ""


@pytest.mark.parametrize(
    "tail",
    [
        b"LIST" + struct.pack("<I", 12) + b"INFOISFT" + bytes(4),
        b"bext" + struct.pack("<I", 3) + b"abc\0",
        b"LIST" + struct.pack("<I", 400) + b"INFO",
        b"TAG" + b"title" * 25,
        b"\0LIST" + struct.pack("<I", 4) + b"INFO",
    ],
    ids=["list", "odd", "cut-list", "id3v1", "misplaced-pad"],
)
def test_chunks_behind_the_samples_are_not_damage(tmp_path: Path, tail: bytes) -> None:
    if tail.startswith(b"\0"):
        samples = sound_files.encode("wav")[:-1]
        content = with_wav_length(samples, 95_999) + tail
    else:
        content = sound_files.encode("wav") + tail
    path = sound_files.write(tmp_path, "tagged.wav", content)

    assert read_all(path)[1] == ""


def test_ogg_with_lost_pages_is_damaged(tmp_path: Path) -> None:
    content = sound_files.encode("ogg", 8.0)
    pages = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
    assert len(pages) > 5
    path = sound_files.write(tmp_path, "hole.ogg", content[: pages[3]] + content[pages[4] :])

    with open_recording(path) as recording, pytest.raises(Unavailable, match="pages are missing"):
        recording.check_whole()


def test_ogg_cut_between_pages_is_damaged(tmp_path: Path) -> None:
    content = sound_files.encode("opus", 8.0)
    path = sound_files.write(tmp_path, "cut.opus", content[: content.rindex(b"OggS")])

    _, error = read_all(path)

    assert "it breaks off: no page is marked as the last one" in error


def test_ogg_with_bytes_between_pages_is_damaged(tmp_path: Path) -> None:
    content = sound_files.encode("ogg", 8.0)
    at = content.rindex(b"OggS")
    path = sound_files.write(tmp_path, "junk.ogg", content[:at] + b"junk" + content[at:])

    with open_recording(path) as recording, pytest.raises(Unavailable, match="not Ogg pages"):
        recording.check_whole()


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "CAF", "AU", "NIST", "OGG", "FLAC"])
def test_any_bytes_are_checked_without_other_errors(kind: str) -> None:
    start = {"NIST": b"NIST_1A\n", "OGG": b"OggS", "FLAC": b"fLaC"}.get(kind, b"RIFF")
    random = np.random.default_rng(11)

    for length in (0, 1, 4, 12, 40, 100, 5_000):
        find_damage(io.BytesIO(start + random.bytes(length)), kind)


@pytest.mark.parametrize("codec", ["GSM610", "G721_32", "NMS_ADPCM_16"])
@pytest.mark.parametrize("start_s", [0.02, 0.6125, 2.0])
def test_codec_that_cannot_seek_is_read_from_the_middle(
    tmp_path: Path, codec: str, start_s: float
) -> None:
    path = tmp_path / "phone.wav"
    rate_hz = 8_000
    soundfile.write(path, sound_files.speech_like(3.0, rate_hz), rate_hz, subtype=codec)
    expected = soundfile.read(path)[0][round(start_s * rate_hz) :]

    read = []
    with open_recording(path, start_s=start_s) as recording:
        while (block := recording.read(1280)) is not None:
            read.append(block)

    samples = np.concatenate(read)[::2] / 32768
    assert abs(len(samples) - len(expected)) <= 2
    middle = slice(200, len(expected) - 200)
    # Resampled twofold: each second sample is the codec's, but for the filter.
    assert np.abs(samples[middle] - expected[middle]).mean() < 0.02


def test_start_behind_the_end_of_a_codec_that_cannot_seek(tmp_path: Path) -> None:
    path = tmp_path / "phone.wav"
    soundfile.write(path, sound_files.speech_like(1.0, 8_000), 8_000, subtype="GSM610")

    with pytest.raises(Unavailable, match="before 3"):
        open_recording(path, start_s=3.0)


class CountedFile(io.BytesIO):
    """A file that notes which bytes were read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.read_bytes: set[int] = set()

    def read(self, size: int | None = -1, /) -> bytes:
        at = self.tell()
        data = super().read(size)
        self.read_bytes.update(range(at, at + len(data)))
        return data


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "CAF", "AU"])
def test_header_is_read_without_samples(kind: str) -> None:
    """What is read stays in the process's memory, and a mark of 16 bytes would be found there."""
    written = io.BytesIO()
    samples = np.full(16_000, 0x1234, np.int16)
    soundfile.write(written, samples, SAMPLE_RATE_HZ, format=kind, subtype="PCM_16")
    file = CountedFile(written.getvalue())

    assert find_damage(file, kind) is None

    first = min(
        written.getvalue().index(pair * 16)
        for pair in (b"\x12\x34", b"\x34\x12")
        if pair * 16 in written.getvalue()
    )
    assert file.read_bytes
    assert not file.read_bytes & set(range(first, first + 2 * len(samples)))
