"""What hear tells send: small notices without sound. Pure; `notifier` carries them.

The second of two ways across the border, beside the spool. The schema is closed, and a notice is at
most 512 bytes. What goes on to the broker is decided by the verb send, which leaves out scores.

A monitor on the same machine hears the same, and levels and scores besides, on a socket of its own.
Send cannot read those: its schema has none.
"""

import base64
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from listener.config import ShortName

LONGEST_BYTES: Final = 512
MOST_WORDS: Final = 3
"""In one `LevelNotice`; further words come in another right behind it."""
MOST_THRESHOLDS: Final = 6
"""Whose thresholds fit a notice."""

# Bounds that a device does not reach, so that the largest tally still fits a notice.
Count = Annotated[int, Meta(ge=0, le=999_999_999)]
SampleCount = Annotated[int, Meta(ge=0, le=9_999_999_999_999)]  # 19 years
Score = Annotated[float, Meta(ge=0, le=1)]
Decibels = Annotated[int, Meta(ge=-96, le=0)]
"""Relative to full scale, and whole: a level tells that there is sound, and not which."""
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
MuteState = Literal["open", "hardware", "software", "fault"]
"""``open`` is not muted; otherwise, what mutes: a fault is named before the switch, and that before
the software."""
LampState = Literal["idle", "hearing", "muted", "fault"]
Signature = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{86}==\Z")]
Sign = Callable[[bytes], bytes]


class _Notice(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """One notice."""


class StartedNotice(_Notice, frozen=True, kw_only=True, tag="started", omit_defaults=True):
    """Hear listens."""

    thresholds: Annotated[dict[ShortName, Score], Meta(max_length=MOST_THRESHOLDS)] = {}
    """Score from which each word wakes; empty where there are more words than fit."""
    switch: ShortName | None = None
    """What is fitted to cut the microphone; ``none``: only software mutes."""


class StoppedNotice(_Notice, frozen=True, kw_only=True, tag="stopped"):
    """Hear ends on purpose."""


class WakeNotice(_Notice, frozen=True, kw_only=True, tag="wake"):
    """The word was heard."""

    word: ShortName
    score: Score


class NearMissNotice(_Notice, frozen=True, kw_only=True, tag="near_miss"):
    """Something came close to the word."""

    word: ShortName
    score: Score


class MuteNotice(_Notice, frozen=True, kw_only=True, tag="mute"):
    """The gate opened or shut, or stays shut for another reason."""

    state: MuteState


class MicrophoneNotice(_Notice, frozen=True, kw_only=True, tag="microphone"):
    """Sound began to come from the device, or no longer does."""

    state: Literal["open", "lost"]
    cause: (
        Literal[
            "missing",
            "busy",
            "denied",
            "channel",
            "rate",
            "library",
            "gone",
            "stalled",
            "zeros",
            "garbled",
            "died",
        ]
        | None
    ) = None
    """Why it is lost."""
    losses: Count = 0
    """How often it was lost since hear started."""
    overruns: Count = 0
    """How often it was faster than the ear."""


class SpooledNotice(_Notice, frozen=True, kw_only=True, tag="spooled"):
    """An envelope is in the spool: look now instead of at the next round."""


class Tally(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of the sound since hear started: the part of the counters that is signed.

    ``heard_samples == discarded_samples + sealed_samples + held_samples``.
    """

    v: Literal[1] = 1
    device: ShortName
    boot: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    """Tells this start of hear from every other: counts begin at 0 with it. As in the envelope."""
    seq: Annotated[int, Meta(ge=0, le=999_999_999_999)]
    """The last number given to an envelope, or 0."""
    heard_samples: SampleCount = 0
    discarded_samples: SampleCount = 0
    sealed_samples: SampleCount = 0
    held_samples: SampleCount = 0
    """In memory now: in the ring or in an unfinished clip."""
    muted_samples: SampleCount = 0
    wakes: Count = 0
    near_misses: Count = 0
    sealed: Count = 0
    unattributed: Count = 0
    abandoned: Count = 0
    lost: Count = 0
    """Sealed and refused by the spool."""

    def canonical(self) -> bytes:
        """Return what is signed: JSON in ASCII, keys sorted, no spaces."""
        return msgspec.json.encode(self, order="sorted")


class CountersNotice(_Notice, frozen=True, kw_only=True, tag="counters"):
    """A tally with the device's Ed25519 signature over its canonical form."""

    tally: Tally
    signature: Signature


class WordScore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model makes of the sound."""

    name: ShortName
    score: Score
    """The highest since the last `LevelNotice`; 0 where nothing was worth a score."""
    threshold: Score


class LevelNotice(_Notice, frozen=True, kw_only=True, tag="level"):
    """How loud it is and what hear makes of it, a few times a second, for a monitor alone."""

    level_dbfs: Decibels | None
    """Of the loudest frame since the last `LevelNotice`; None where there was no sound."""
    floor_dbfs: Decibels | None
    """Of the quietest tenth of the last seconds; None where nobody knows yet."""
    words: Annotated[tuple[WordScore, ...], Meta(max_length=MOST_WORDS)]
    mute: MuteState
    lamp: LampState
    cpu_s: Seconds
    """Processor time of hear since it started, its microphone's process left aside."""
    up_s: Seconds
    """How long hear has been running."""


Notice = (
    StartedNotice
    | StoppedNotice
    | WakeNotice
    | NearMissNotice
    | MuteNotice
    | MicrophoneNotice
    | SpooledNotice
    | CountersNotice
)
"""What send may hear."""
Shown = Notice | LevelNotice
"""What a monitor may."""


def encode(notice: Shown) -> bytes:
    """Return a notice as JSON in ASCII.

    Raises:
        ValueError: it is longer than 512 bytes.
    """
    data = msgspec.json.encode(notice, order="sorted")
    if len(data) > LONGEST_BYTES:
        raise ValueError(f"a notice of {len(data)} bytes is over the limit of {LONGEST_BYTES}")
    return data


def decode(data: bytes) -> Notice:
    """Read a notice from bytes of any origin.

    Raises:
        ValueError: they are not exactly one notice, or too long. Nothing else is raised.
    """
    notice: Notice = _decode(data, Notice)
    return notice


def decode_for_monitor(data: bytes) -> Shown:
    """Read what a monitor may hear; errors as `decode`."""
    shown: Shown = _decode(data, Shown)
    return shown


def _decode(data: bytes, kinds: Any) -> Any:  # noqa: ANN401 - a union of types has no type
    if len(data) > LONGEST_BYTES:
        raise ValueError(f"longer than {LONGEST_BYTES} bytes")
    try:
        return msgspec.json.decode(data, type=kinds)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a notice: {error}") from error


def sign_tally(tally: Tally, sign: Sign) -> CountersNotice:
    """Return the tally with its signature.

    Args:
        tally: what to count out.
        sign: makes the 64 bytes of an Ed25519 signature with the device's key.
    """
    text = base64.b64encode(sign(tally.canonical())).decode("ascii")
    return CountersNotice(tally=tally, signature=text)
