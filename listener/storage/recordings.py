"""Reader of audio files: int16 blocks at 16 kHz, in constant memory.

WAV, FLAC, Ogg (Vorbis, Opus) and every other format of libsndfile, of any length. Samples of a
16 kHz integer file equal those of ``soundfile.read(dtype="int16")`` bit for bit, so that scores can
be compared with other engines. Formats that are decoded to floating point are scaled and clipped
here: libsndfile clips neither Vorbis nor Opus, so that samples above full scale change their sign.

A file that holds less than its header gives, or more, is damaged: what can be decoded is read, and
then `Unavailable` is raised. MP3 files are decoded to their last frame, see
`listener.storage.mpeg_audio`.
"""

import contextlib
import functools
import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable, UsageError
from listener.quantities import quantity
from listener.storage import mpeg_audio
from listener.storage.audio_length import find_damage

if TYPE_CHECKING:
    import soxr

SUFFIXES: Final = frozenset(
    {
        *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus"),
        *(".rf64", ".snd", ".w64", ".wav"),
    }
)
"""File names that are recordings when a folder is searched, in lower case."""

LOWEST_RATE_HZ: Final = 4_000
HIGHEST_RATE_HZ: Final = 384_000

# libsndfile reads the first two as int16 without scaling, and the others without clipping.
_FLOATS: Final = frozenset({"FLOAT", "DOUBLE", "OPUS", "VORBIS"})
_MP3_LEAD_FRAMES: Final = 16 * 1152  # the longest reservoir of bits, and the decoder's delay
_WHOLE_BLOCK_SAMPLES: Final = 1 << 16
_SKIPPED_FRAMES: Final = 1 << 16
_ENDLESS_FRAMES: Final = 1 << 50  # libsndfile's value for a header without a length


class _SequentialFile(soundfile.SoundFile):  # type: ignore[misc] # the package has no types
    """A file that soundfile does not seek in after each read.

    In MP3 files, such a seek loses the bits that a frame takes from those before it.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


class Recording:
    """Open audio file, read from front to back. A context manager, for one thread."""

    def __init__(self, path: Path, channel: int, start_s: float) -> None:
        self.path: Final = path
        """The file."""
        self._channel = channel
        _check_file(path)
        self._resources = contextlib.ExitStack()
        self._damage: str | None = None
        self._file = self._open_file()
        self._resources.callback(self._close_file)
        try:
            self._find_damage()
            self._resampler = self._open()
            self._read_frames = self._seek(start_s)
        except BaseException:
            self._resources.close()
            raise
        self._pending = np.zeros(0, np.int16)
        self._ended = False

    def _open_file(self, source: object = None) -> soundfile.SoundFile:
        """Open the file, or a ``source`` made of it to be read without seeks."""
        try:
            if source is not None:
                return _SequentialFile(source)
            # As bytes, since a name need not be UTF-8.
            return soundfile.SoundFile(os.fsencode(self.path))
        except (soundfile.SoundFileError, OSError, TypeError) as error:
            # TypeError: soundfile takes the suffix .raw for headerless samples.
            raise Unavailable(
                f"cannot read {self.path}: {_reason(error)}",
                "use a WAV, FLAC or Ogg file (Vorbis or Opus)",
            ) from error

    def _find_damage(self) -> None:
        """Compare the file's length with its header; count the frames of an MP3 file."""
        try:
            state = self.path.stat()
            version = state.st_ino, state.st_size, state.st_mtime_ns
            if self._file.format == "MP3":
                self._count_frames(_scan_mpeg(self.path, version))
            else:
                self._damage = _find_damage(self.path, self._file.format, version)
        except OSError as error:
            raise Unavailable(f"cannot read {self.path}: {_reason(error)}") from error

    def _count_frames(self, found: mpeg_audio.MpegScan | None) -> None:
        """Open an MP3 file again so that each of its frames is decoded."""
        if found is None:
            return
        self._damage = found.damage or None
        if self._damage is None and found.missing_frames:
            self._damage = (
                f"{quantity(found.missing_frames, 'frame')} of those in its header are missing"
            )
        source: object = os.fsencode(self.path)
        is_wrong = not found.is_as_declared and found.samples != self._file.frames
        # libmpg123 gives up at 1024 bytes that are not frames.
        if is_wrong or found.damage:
            file = self._resources.enter_context(self.path.open("rb"))
            source = mpeg_audio.SplicedFile(file, mpeg_audio.header_frame(found), found.runs)
        self._file.close()
        self._file = self._open_file(source)

    def _open(self) -> "soxr.ResampleStream | None":
        rate_hz, channels = self._file.samplerate, self._file.channels
        if self._channel >= channels:
            raise UsageError(
                f"{self.path} has {channels} channel{'s' * (channels > 1)},"
                f" and not channel {self._channel}",
                "choose a channel from 0 with --channel or microphone.channel",
            )
        if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
            raise UsageError(
                f"{self.path} has an unsupported sample rate: {rate_hz} Hz",
                f"convert it to between {LOWEST_RATE_HZ} and {HIGHEST_RATE_HZ} Hz",
            )
        if self._file.frames >= _ENDLESS_FRAMES:
            # soundfile seeks after each read, and fails at the end of such a file.
            raise Unavailable(
                f"cannot read {self.path}: its header does not contain its length",
                "encode it again to a file, not through a pipe",
            )
        if rate_hz == SAMPLE_RATE_HZ:
            return None
        import soxr  # noqa: PLC0415 - 1 MiB that hear needs for other rates alone

        return soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")

    def _seek(self, start_s: float) -> int:
        """Seek to the first frame to read; return its number."""
        if start_s <= 0:
            return 0
        first: int = round(start_s * self._file.samplerate)
        if first >= self._file.frames:
            raise Unavailable(
                f"{self.path} ends after {self._file.frames / self._file.samplerate:.2f} s,"
                f" before {start_s:.2f} s"
            )
        begin = first
        if self._file.format == "MP3":
            # A frame takes bits from those before it, and overlaps with the last one.
            begin = max(0, first - _MP3_LEAD_FRAMES)
        elif not self._file.seekable():
            begin = 0  # codecs that are decoded from the beginning, such as GSM 6.10
        try:
            if begin:
                self._file.seek(begin)
            while begin < first:
                read = len(self._file.read(min(first - begin, _SKIPPED_FRAMES), dtype="float32"))
                if not read:
                    break
                begin += read
        except (soundfile.SoundFileError, OSError) as error:
            raise Unavailable(f"{self.path} is damaged: {_reason(error)}") from error
        return begin

    @property
    def length_samples(self) -> int:
        """Length of the whole file at 16 kHz, by its header."""
        frames: int = self._file.frames
        rate_hz: int = self._file.samplerate
        return math.ceil(frames * SAMPLE_RATE_HZ / rate_hz)

    def read(self, max_samples: int) -> Samples | None:
        """Return the next samples.

        Args:
            max_samples: upper limit of the block's length, at least 1.

        Returns:
            int16, shape (n,), n from 1 to ``max_samples``; None at the end.

        Raises:
            Unavailable: the file is damaged or ends before its header says.
        """
        while not len(self._pending) and not self._ended:
            self._pending = self._next(max_samples)
        if not len(self._pending):
            self.check_whole()
            return None
        block, self._pending = self._pending[:max_samples], self._pending[max_samples:]
        return block

    def check_whole(self) -> None:
        """Raise if the file is known to be damaged; before its end, as its header shows it.

        Raises:
            Unavailable: it is.
        """
        if self._damage is not None:
            raise Unavailable(f"{self.path} is damaged: {self._damage}")

    def _next(self, max_samples: int) -> Samples:
        """Read one block from the file, of any length once resampled."""
        if self._resampler is None and self._file.subtype not in _FLOATS:
            return self._take(max_samples, "int16").astype(np.int16, copy=False)
        scaled = self._take(max_samples, "float32").astype(np.float32, copy=False)
        if self._resampler is not None:
            scaled = self._resampler.resample_chunk(scaled, last=self._ended)
        limits = np.iinfo(np.int16)
        # NaN has no integer value; it becomes silence.
        whole: NDArray[np.float32] = np.rint(
            np.nan_to_num(scaled * -float(limits.min), posinf=0, neginf=0)
        )
        return np.clip(whole, limits.min, limits.max).astype(np.int16)

    def _take(self, frames: int, dtype: str) -> NDArray[np.int16 | np.float32]:
        """Read ``frames`` samples of the channel, fewer at the end of the file."""
        try:
            block = self._file.read(frames, dtype=dtype, always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            self.check_whole()
            raise Unavailable(f"{self.path} is damaged: {_reason(error)}") from error
        self._read_frames += len(block)
        if len(block) < frames:
            self._ended = True
            if self._damage is None and self._read_frames < self._file.frames:
                self._damage = f"it ends after {self._read_frames} of {self._file.frames} samples"
        return np.ascontiguousarray(block[:, self._channel])

    def _close_file(self) -> None:
        # At this time: an MP3 file may be opened a second time.
        self._file.close()

    def close(self) -> None:
        """Close the file; repeated calls do nothing."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def describe_short(path: Path, samples: int) -> str:
    """Return the message for a file of fewer samples, at 16 kHz, than one step has."""
    return f"{path} contains {quantity(samples, 'sample')}: fewer than one step of {FRAME_SAMPLES}"


def open_recording(path: Path, channel: int = 0, start_s: float = 0.0) -> Recording:
    """Open an audio file.

    Args:
        path: the file.
        channel: number of the channel to read, from 0.
        start_s: position of the first sample to read, in seconds.

    Raises:
        Unavailable: the file is missing, unreadable, not in a format of libsndfile, or ends before
            ``start_s``.
        UsageError: it does not have this channel, or its sample rate is not from 4 to 384 kHz.
    """
    return Recording(path, channel, start_s)


def read_recording(path: Path, longest_samples: int) -> Samples:
    """Return a recording from its beginning, whole or to a limit.

    Args:
        path: the file.
        longest_samples: limit, at 16 kHz.

    Returns:
        int16 at 16 kHz, shape (n,); n is 0 for a file without samples.

    Raises:
        Unavailable: the file cannot be read, or is damaged within the limit.
        UsageError: its sample rate is not from 4 to 384 kHz.
    """
    parts: list[Samples] = [np.zeros(0, np.int16)]
    left = longest_samples
    with open_recording(path) as recording:
        # A block of a resampled file may be shorter than what was asked for.
        while left and (block := recording.read(min(left, _WHOLE_BLOCK_SAMPLES))) is not None:
            parts.append(block)
            left -= len(block)
    return np.concatenate(parts)


@functools.lru_cache(maxsize=64)
def _scan_mpeg(path: Path, version: tuple[int, ...]) -> mpeg_audio.MpegScan | None:
    """Return the frames of one version of a file; evaluations open it for each segment."""
    del version
    with path.open("rb") as file:
        return mpeg_audio.scan(file)


@functools.lru_cache(maxsize=64)
def _find_damage(path: Path, kind: str, version: tuple[int, ...]) -> str | None:
    """Return the damage of one version of a file, see ``find_damage``."""
    del version
    with path.open("rb") as file:
        return find_damage(file, kind)


def _check_file(path: Path) -> None:
    """Refuse folders, devices and pipes, on which a read may block."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise Unavailable(f"there is no file {path}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise Unavailable(f"cannot read {path}: {_reason(error)}") from error
    if not stat.S_ISREG(mode):
        raise Unavailable(f"cannot read {path}: it is not a regular file")


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    # libsndfile's messages end in a full stop and begin with the path once more.
    text = text.rsplit(": ", 1)[-1].strip().rstrip(".")
    return text[:1].lower() + text[1:]
