"""The public Python interface: wake-word detection, envelopes and error rates.

`Detector` and `detect` run openWakeWord's models with Earmark's streaming implementation;
`verify_envelope`, `open_envelope`, `decode_clip` and `seal_clip` handle clips that are encrypted to
an owner; `miss_rate`, `false_wakes_per_hour`, `bootstrap_rate` and `hours_needed` give error rates
with confidence intervals; `read_result` and `to_frame` read what `earmark evaluate` wrote.
Importing this module loads neither onnxruntime nor scipy: the functions
that need one of them load it when they are called.

Audio is mono int16 at 16 kHz; positions are counted in samples from the start of the stream.
Every error that is raised on purpose is a `ValueError` for samples and numbers, and an
`EarmarkError` for everything else; the attribute ``hint`` of the latter says what to do about it.

One module, though it is long: programs import its names from here, wherever the code behind them
moves.
"""

import importlib
import io
import math
import os
import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self, TypedDict, Unpack

import msgspec
import numpy as np
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.audio.flac import to_flac
from listener.audio.pcm import SAMPLE_RATE_HZ, Framer, GapReason, Samples
from listener.config import WakeSettings
from listener.envelope import keys
from listener.envelope import open as envelope_open
from listener.envelope.format import (
    PrivateFields,
    PublicHeader,
    format_timestamp,
    parse_envelope,
)
from listener.envelope.open import OpenedClip, parse_identities
from listener.envelope.seal import seal
from listener.envelope.verify import matches_owner, verify_device
from listener.errors import (
    BadEnvelope,
    ConfigError,
    EarmarkError,
    ModelRefused,
    NotForYou,
    Unavailable,
    UsageError,
)
from listener.inference.build import load_detector
from listener.inference.catalogue import Catalogue
from listener.storage.recordings import open_recording
from listener.wakeword.detector import NearMiss, StreamDetector, Wake

if TYPE_CHECKING:
    from types import ModuleType

    import pandas as pd

    from listener.evaluate.metrics.intervals import Rate
    from listener.evaluate.metrics.results import Result

__all__ = [
    "BadEnvelope",
    "ClipFields",
    "ConfigError",
    "Detector",
    "DetectorOptions",
    "EarmarkError",
    "ModelRefused",
    "NearMiss",
    "NotForYou",
    "OpenedClip",
    "PrivateFields",
    "PublicHeader",
    "Unavailable",
    "UsageError",
    "Wake",
    "bootstrap_rate",
    "decode_clip",
    "detect",
    "false_wakes_per_hour",
    "hours_needed",
    "miss_rate",
    "open_envelope",
    "read_result",
    "seal_clip",
    "to_frame",
    "verify_envelope",
]

_BLOCK_SAMPLES: Final = SAMPLE_RATE_HZ
_SAMPLE_BYTES: Final = 2
_DAY_S: Final = 86_400
_NO_FOLDER: Final = Path(os.devnull)  # holds no models: only those shipped with Earmark are found


class DetectorOptions(TypedDict, total=False):
    """Keyword options of `Detector.load` and `detect`; names and defaults of the configuration."""

    threshold: float | Mapping[str, float]
    """Score from which a step counts, above 0 and below 1: for all words, or by word. By default
    the threshold in the model's manifest."""
    patience_frames: int
    """Frames in a row at or above the threshold that make a wake, 1 to 25; by default the
    model's, or 1."""
    refractory_s: float
    """Time after a wake without another wake of that word, 0 to 60 s; by default 2."""
    near_miss_threshold: float
    """A peak from this score to the threshold is a near miss; by default 0.2."""
    hop_ms: Literal[40, 80]
    """Time between scores; by default 80."""
    lazy: bool
    """Compute only the features in a quiet room: wakes and near misses are the same and use less
    processor time, but `Detector.scores` is then empty. By default False."""
    second_opinion: bool
    """Ask a second network about a word that scores faintly, if the word has one. By default
    True."""
    first_stage: bool
    """Run the full network only where a small one finds that a word is possible: a third of the
    processor time in speech, but `Detector.scores` lacks words elsewhere, some faint near misses
    go unreported, and very few wakes. By default False."""
    models: str | os.PathLike[str]
    """Directory of further models, as `earmark models add` writes it (``<home>/models``); by
    default only the models that are shipped with Earmark are found."""


class Detector:
    """Wake-word detector for one audio stream. Not safe for use by several threads.

    Examples:
        >>> detector = Detector.load("alexa", threshold=0.6)
        >>> detector.words
        ('alexa',)
        >>> import soundfile
        >>> samples, rate_hz = soundfile.read("alexa.flac", dtype="int16")
        >>> for wake in detector.push(samples):
        ...     print(f"{wake.word} at {wake.end_s:.2f} s, score {wake.score:.2f}")
        alexa at 2.64 s, score 0.82
    """

    def __init__(self, stream: StreamDetector) -> None:
        """Wrap a detector that takes frames; use `Detector.load`.

        Args:
            stream: a detector that has taken no audio yet.
        """
        self._stream = stream
        self._framer = Framer()
        self._half_sample = b""
        self._near_misses: tuple[NearMiss, ...] = ()
        self._scores: Mapping[str, float] = {}

    @classmethod
    def load(cls, *words: str, **options: Unpack[DetectorOptions]) -> Self:
        """Load the models of one or several wake words.

        Args:
            *words: names of wake-word models; `earmark models list` prints them.
            **options: see `DetectorOptions`.

        Returns:
            A detector at the start of a stream.

        Raises:
            UsageError: no word is named, one is not a wake word, an option is out of its range or
                unknown, or onnxruntime is not installed.
            ModelRefused: a model is missing or is not what its manifest says.
        """
        settings = _wake_settings(words, options)
        catalogue = Catalogue(_NO_FOLDER, _models_folder(options))
        models = [catalogue.load(word) for word in settings.words]
        for model in models:
            if model.manifest.kind != "wake-word":
                raise UsageError(f"{model.name} is not a wake-word model")
        try:
            return cls(load_detector(catalogue, models, settings))
        except ModuleNotFoundError as error:
            raise _not_installed(error, "device") from error

    @property
    def words(self) -> tuple[str, ...]:
        """Names of the wake words, in the order in which they were loaded."""
        return tuple(self._stream.thresholds)

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Threshold by word, 0 to 1."""
        return dict(self._stream.thresholds)

    @property
    def scores(self) -> Mapping[str, float]:
        """The newest scores by word, 0 to 1.

        A model that tells several labels apart adds a score for each label. Empty before the first
        complete frame, after `restart`, and where ``lazy`` skipped the newest step; without
        the words that ``first_stage`` excluded.
        """
        return dict(self._scores)

    @property
    def near_misses(self) -> tuple[NearMiss, ...]:
        """The near misses that the last `push` completed, oldest first."""
        return self._near_misses

    @property
    def position_samples(self) -> int:
        """Position of the next sample in the stream, gaps included."""
        return self._framer.position_samples

    def push(self, samples: Samples | bytes | bytearray | memoryview) -> tuple[Wake, ...]:
        """Take the next samples of the stream and return the wakes in them.

        Samples that do not complete a frame of 1280 samples (80 ms) are kept for the next call.

        Args:
            samples: any number of samples at 16 kHz, mono: int16, shape (n,), or little-endian
                int16 in bytes of any length. Copied; the caller may overwrite them afterwards.

        Returns:
            Wakes, oldest first; an empty tuple for most calls.

        Raises:
            ValueError: the array has another dtype or shape, or follows half a sample.
        """
        wakes: list[Wake] = []
        near_misses: list[NearMiss] = []
        for frame in self._framer.push(self._as_samples(samples)):
            for event in self._stream.push(frame):
                if isinstance(event, Wake):
                    wakes.append(event)
                else:
                    near_misses.append(event)
            self._scores = self._stream.scores
        self._near_misses = tuple(near_misses)
        return tuple(wakes)

    def restart(self, missing_samples: int = 0) -> None:
        """Start anew after a gap in the audio; erase the audio that was kept.

        No score spans a gap: call this if samples were lost or a microphone was muted.

        Args:
            missing_samples: length of the gap, 0 or more; later positions include it.

        Raises:
            ValueError: ``missing_samples`` is negative.

        Examples:
            >>> detector = Detector.load("alexa")
            >>> detector.push(bytes(2 * 16_000))
            ()
            >>> detector.restart(missing_samples=8_000)
            >>> detector.position_samples
            24000
        """
        if missing_samples < 0:
            raise ValueError(f"missing_samples is {missing_samples}, below 0")
        self._stream.push(self._framer.cut(GapReason.LOST, missing_samples))
        self._half_sample = b""
        self._near_misses = ()
        self._scores = {}

    def _as_samples(self, samples: Samples | bytes | bytearray | memoryview) -> Samples:
        if isinstance(samples, np.ndarray):
            if self._half_sample:
                raise ValueError("the bytes before this array end within a sample")
            return _checked(samples)
        data = self._half_sample + bytes(samples)
        whole = len(data) - len(data) % _SAMPLE_BYTES
        self._half_sample = data[whole:]
        return np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False)


def detect(
    recording: str | os.PathLike[str] | Samples | bytes,
    *words: str,
    channel: int = 0,
    **options: Unpack[DetectorOptions],
) -> tuple[Wake, ...]:
    """Return the wakes in a recording.

    The recording is scored from a fresh start, in constant memory. A remainder at its end that
    does not fill a frame of 80 ms is not scored.

    Args:
        recording: path of a WAV, FLAC or Ogg file at any sample rate, which is resampled to
            16 kHz; or samples, as `Detector.push` takes them.
        *words: names of wake-word models.
        channel: channel of the file, from 0; unused for samples.
        **options: see `DetectorOptions`.

    Returns:
        Wakes, in the order of time.

    Raises:
        Unavailable: the file is missing, damaged, or has another format.
        UsageError: the file has no such channel, or as `Detector.load`.
        ModelRefused: as `Detector.load`.
        ValueError: the array has another dtype or shape.

    Examples:
        >>> [round(wake.end_s, 2) for wake in detect("alexa_twice.flac", "alexa")]
        [2.64, 11.28]
        >>> detect("talk.flac", "alexa", "hey-jarvis")
        ()
    """
    detector = Detector.load(*words, **options)
    if isinstance(recording, np.ndarray | bytes):
        return detector.push(recording)
    return tuple(
        wake for block in _blocks(Path(recording), channel) for wake in detector.push(block)
    )


def verify_envelope(data: bytes, device_key: str | Ed25519PublicKey) -> PublicHeader:
    """Verify the signature of an envelope and return its public header.

    Needs no secret. Checks besides that the ciphertext is the signed one and is encrypted to
    exactly one key. Format: docs/reference/envelope.md.

    Args:
        data: an envelope; any bytes are safe.
        device_key: public key of the device: Ed25519, or its text ``ed25519:…``.

    Raises:
        BadEnvelope: the bytes are not an envelope that this key signed.
        ConfigError: ``device_key`` is not a device's public key.

    Examples:
        >>> from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        >>> import numpy as np, pyrage
        >>> device_key = Ed25519PrivateKey.generate()
        >>> recipient = str(pyrage.x25519.Identity.generate().to_public())
        >>> envelope = seal_clip(np.zeros(16_000, np.int16), recipient, device_key, owner="ada")
        >>> verify_envelope(envelope, device_key.public_key()).owner
        'ada'
    """
    device = parse_envelope(data).header.device
    return verify_device(data, {device: _public_key(device_key)}).header


def open_envelope(data: bytes, identity: str, device_key: str | Ed25519PublicKey) -> OpenedClip:
    """Verify and decrypt an envelope.

    Args:
        data: an envelope; any bytes are safe.
        identity: content of the owner's age identity file: a line ``AGE-SECRET-KEY-1…``, or
            several, and comments.
        device_key: as for `verify_envelope`.

    Returns:
        The public header, the private fields and the FLAC file; `decode_clip` returns its samples.

    Raises:
        NotForYou: the envelope is valid and encrypted to another key.
        BadEnvelope: anything else is wrong with it.
        ConfigError: ``identity`` or ``device_key`` is not a key.

    Examples:
        >>> from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        >>> import numpy as np, pyrage
        >>> owner_key, device_key = pyrage.x25519.Identity.generate(), Ed25519PrivateKey.generate()
        >>> samples = np.arange(8_000, dtype=np.int16)
        >>> envelope = seal_clip(samples, str(owner_key.to_public()), device_key, word="alexa")
        >>> clip = open_envelope(envelope, str(owner_key), device_key.public_key())
        >>> clip.private.word, clip.private.ms
        ('alexa', 500)
        >>> np.array_equal(decode_clip(clip), samples)
        True
    """
    key = _public_key(device_key)
    header = verify_envelope(data, key)
    identities = parse_identities(identity.encode(), "text")
    owners = {header.owner: [one.recipient for one in identities]}
    if not matches_owner(header, owners):
        raise NotForYou("this clip is sealed to another key", "use its owner's identity")
    return envelope_open.open_envelope(data, identities, {header.device: key}, owners)


def decode_clip(clip: OpenedClip) -> Samples:
    """Return the samples of an opened clip.

    Args:
        clip: as `open_envelope` returns it.

    Returns:
        int16, shape (n,), at ``clip.private.rate`` samples a second.
    """
    samples: Samples = soundfile.read(io.BytesIO(clip.flac), dtype="int16")[0]
    return samples


class ClipFields(TypedDict, total=False):
    """Keyword options of `seal_clip`: the fields of the clip's header and of its private part."""

    owner: str
    """Name of the owner; by default ``owner``."""
    device: str
    """Name of the device; by default ``speaker``."""
    seq: int
    """Sequence number of the device's clip, from 1; by default 1."""
    began: datetime
    """Time of the first sample, with a time zone; by default now."""
    keep_days: int
    """Retention, 1 to 3650 days; by default 30."""
    word: str
    """Wake word; by default ``alexa``."""
    model_sha256: str
    """SHA-256 of the model, 64 hexadecimal digits; by default zeros."""
    score: float
    """Score of the wake, 0 to 1; by default 1."""
    pre_ms: int
    """Part of the clip before the wake, in ms; by default 0."""


def seal_clip(
    samples: Samples,
    recipient: str,
    device_key: Ed25519PrivateKey,
    **fields: Unpack[ClipFields],
) -> bytes:
    """Encrypt a clip to one owner and sign it as a device: for tests and for research.

    Args:
        samples: int16, shape (n,), at 16 kHz: 1 ms to 60 s, and at most 1 MiB encrypted.
        recipient: the owner's age public key, ``age1…``.
        device_key: Ed25519 key that signs.
        **fields: see `ClipFields`.

    Returns:
        An envelope; see docs/reference/envelope.md.

    Raises:
        BadEnvelope: a field or the length is out of its range.
        ConfigError: the recipient is not an age public key.
        UsageError: a field is unknown, or ``began`` has no time zone.
        ValueError: the array has another dtype or shape.
    """
    unknown = fields.keys() - ClipFields.__annotations__.keys()
    if unknown:
        raise UsageError(f"unknown fields: {', '.join(sorted(unknown))}")
    began = fields.get("began") or datetime.now(UTC)
    if began.tzinfo is None:
        raise UsageError("began has no time zone", "use datetime.now(UTC)")
    samples = _checked(samples)
    recipient = keys.parse_recipient(recipient)
    header = PublicHeader(
        clip=str(uuid.uuid4()),
        device=fields.get("device", "speaker"),
        dkey=keys.device_id(device_key.public_key()),
        owner=fields.get("owner", "owner"),
        okey=keys.owner_id(recipient),
        seq=fields.get("seq", 1),
        t=format_timestamp(began),
        ttl_s=fields.get("keep_days", 30) * _DAY_S,
    )
    private = PrivateFields(
        word=fields.get("word", "alexa"),
        model=fields.get("model_sha256", "0" * 64),
        score=fields.get("score", 1.0),
        spk=None,
        pre_ms=fields.get("pre_ms", 0),
        ms=len(samples) * 1_000 // SAMPLE_RATE_HZ,
        rate=SAMPLE_RATE_HZ,
        end_reason="recording",
        boot=secrets.token_hex(8),
    )
    encode = partial(to_flac, samples, SAMPLE_RATE_HZ)
    return seal(header, private, encode, recipient, device_key)


def read_result(path: Path) -> "Result":
    """Read the ``result.json`` of an evaluation.

    Args:
        path: the file.

    Returns:
        The result: ``words`` has the rates, the curve and the events of each word. Its schema is
        ``docs/reference/evaluation-result.schema.json``.

    Raises:
        ConfigError: it is not a result, or a later version of Earmark wrote it.
        Unavailable: it cannot be read.
        UsageError: the extra ``evaluate`` is not installed.
    """
    compare: ModuleType = _evaluation("compare")
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise Unavailable(f"cannot read {path}: {error}") from error
    result: Result = compare.read_result(data, str(path))
    return result


def to_frame(
    result: "Result", table: Literal["rates", "curve", "events"] = "rates"
) -> "pd.DataFrame":
    """Return a table of a result as a pandas data frame.

    Args:
        result: a result of `read_result`.
        table: the rates, the rates at every threshold, or the events; the columns are those of the
            CSV file of that name.

    Raises:
        UsageError: there is no such table, or pandas is not installed.
    """
    frames: ModuleType = _evaluation("frames")
    frame: pd.DataFrame = frames.to_frame(result, table)
    return frame


def _evaluation(name: str) -> "ModuleType":
    try:
        return importlib.import_module(f"listener.evaluate.{name}")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is not installed", "pip install 'earmark[evaluate]'"
        ) from error


def miss_rate(missed: float, spoken: float) -> "Rate":
    """Return the share of spoken wake words that were missed.

    Args:
        missed: wake words that were not detected, 0 to ``spoken``; a mean over repeated plays may
            be a fraction.
        spoken: wake words in the recordings, above 0.

    Returns:
        The share, with Wilson's score interval at 95 % (Wilson 1927).

    Raises:
        ValueError: a number is out of its range.
        UsageError: scipy is not installed.

    Examples:
        >>> rate = miss_rate(missed=3, spoken=200)
        >>> f"{rate.value:.3f}, 95 % from {rate.low:.3f} to {rate.high:.3f}"
        '0.015, 95 % from 0.005 to 0.043'
    """
    _check_above_zero("spoken", spoken)
    if not 0 <= missed <= spoken:
        raise ValueError(f"missed is {missed}, not 0 to {spoken}")
    rate: Rate = _intervals().wilson(missed, spoken)
    return rate


def false_wakes_per_hour(count: float, hours: float) -> "Rate":
    """Return the rate of wakes without a wake word.

    Args:
        count: false wakes, 0 or more.
        hours: audio without a wake word, above 0.

    Returns:
        The rate per hour, with the exact Poisson interval at 95 % (Garwood 1936).

    Raises:
        ValueError: a number is out of its range.
        UsageError: scipy is not installed.

    Examples:
        >>> rate = false_wakes_per_hour(count=0, hours=5.5)
        >>> f"{rate.value:.2f}, 95 % from {rate.low:.2f} to {rate.high:.2f}"
        '0.00, 95 % from 0.00 to 0.67'
    """
    _check_above_zero("hours", hours)
    _check_count(count)
    rate: Rate = _intervals().poisson(count, hours)
    return rate


def bootstrap_rate(
    counts: Sequence[float],
    exposures: Sequence[float],
    *,
    unit: Literal["per word", "per hour"] = "per word",
    seed: int = 0,
) -> "Rate | None":
    """Return a rate whose interval allows for differences between speakers or recordings.

    Resamples whole groups: the bias-corrected and accelerated bootstrap (Efron 1987), widened by
    Student's t for few groups (Hesterberg 2015), at 95 %.

    Args:
        counts: misses or false wakes of each speaker or recording.
        exposures: words or hours of each, in the same order.
        unit: ``per word`` for misses, ``per hour`` for false wakes.
        seed: seed of the resampling; the same seed gives the same interval.

    Returns:
        The rate of all groups; None if they do not show how much they differ: fewer than 5 have an
        exposure, or there is no event, or every word was missed.

    Raises:
        ValueError: the lengths differ, or a number is out of its range.
        UsageError: scipy is not installed.

    Examples:
        >>> rate = bootstrap_rate([0, 1, 0, 4, 0, 1], [20, 20, 20, 20, 20, 20])
        >>> f"{rate.value:.2f}", rate.low < 0.02, rate.high > 0.1
        ('0.05', True, True)
    """
    if len(counts) != len(exposures):
        raise ValueError(f"{len(counts)} counts and {len(exposures)} exposures")
    for count, exposure in zip(counts, exposures, strict=True):
        _check_count(count)
        if not (math.isfinite(exposure) and exposure >= 0):
            raise ValueError(f"an exposure is {exposure}, not 0 or more")
        if unit == "per word" and count > exposure:
            raise ValueError(f"{count} misses of {exposure} words")
    rate: Rate | None = _intervals().bootstrap(counts, exposures, unit, seed)
    return rate


def hours_needed(rate: float, false_wakes: int = 0) -> float:
    """Return the hours of audio that show a rate of false wakes below ``rate``.

    Args:
        rate: false wakes per hour, above 0.
        false_wakes: false wakes in those hours, 0 or more.

    Returns:
        Hours, for a one-sided bound at 95 %: with no false wake 3 divided by ``rate``.

    Raises:
        ValueError: a number is out of its range.
        UsageError: scipy is not installed.

    Examples:
        >>> round(hours_needed(0.5), 1)
        6.0
    """
    _check_above_zero("rate", rate)
    _check_count(false_wakes)
    hours: float = _intervals().hours_needed(false_wakes, rate)
    return hours


def _wake_settings(words: Sequence[str], options: DetectorOptions) -> WakeSettings:
    """Check options as the configuration file is checked."""
    if not words:
        raise UsageError("no wake word is named", 'name one: Detector.load("alexa")')
    unknown = options.keys() - DetectorOptions.__annotations__.keys()
    if unknown:
        raise UsageError(f"unknown options: {', '.join(sorted(unknown))}")
    values: dict[str, object] = {"lazy": False, **options, "words": tuple(dict.fromkeys(words))}
    values.pop("models", None)
    threshold = values.pop("threshold", None)
    if isinstance(threshold, Mapping):
        others = threshold.keys() - set(words)
        if others:
            raise UsageError(
                f"thresholds of words that are not loaded: {', '.join(sorted(others))}"
            )
        values["thresholds"] = dict(threshold)
    elif threshold is not None:
        values["thresholds"] = dict.fromkeys(words, threshold)
    try:
        return msgspec.convert(values, WakeSettings)
    except msgspec.ValidationError as error:
        raise UsageError(str(error)[:1].lower() + str(error)[1:]) from error


def _models_folder(options: DetectorOptions) -> Path:
    folder = options.get("models")
    if folder is None:
        return _NO_FOLDER
    path = Path(folder)
    if not path.is_dir():
        raise UsageError(f"{path} is not a directory of models")
    return path


def _blocks(path: Path, channel: int) -> Iterator[Samples]:
    """Read a recording in blocks of a second at most."""
    with open_recording(path, channel) as recording:
        while (block := recording.read(_BLOCK_SAMPLES)) is not None:
            yield block


def _checked(samples: Samples) -> Samples:
    """Return the array if it is int16 of one dimension."""
    if samples.dtype != np.int16:
        raise ValueError(f"samples are {samples.dtype}, not int16")
    if samples.ndim != 1:
        raise ValueError(f"samples have {samples.ndim} dimensions, not 1")
    return samples


def _public_key(key: str | Ed25519PublicKey) -> Ed25519PublicKey:
    return keys.parse_device(key) if isinstance(key, str) else key


def _intervals() -> "ModuleType":
    try:
        from listener.evaluate.metrics import intervals  # noqa: PLC0415 - loads scipy
    except ModuleNotFoundError as error:
        raise _not_installed(error, "evaluate") from error
    return intervals


def _not_installed(error: ModuleNotFoundError, extra: str) -> UsageError:
    return UsageError(f"{error.name} is not installed", f"pip install 'earmark[{extra}]'")


def _check_above_zero(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}, not above 0")


def _check_count(count: float) -> None:
    if not (math.isfinite(count) and count >= 0):
        raise ValueError(f"a count is {count}, not 0 or more")
