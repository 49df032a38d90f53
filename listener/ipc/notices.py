"""Schema of the notices from hear to send: events and counters, never audio. Pure.

Notices and the spool are the only data from hear to send. The schema is closed, and a notice has at
most 512 bytes. Send publishes a part of them and leaves out scores.

A monitor on the same machine gets the same notices, and levels and scores besides, on a socket of
its own. Send's schema does not contain those. `notice_socket` transports them.
"""

import base64
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from listener.config import ShortName

LONGEST_BYTES: Final = 512
MOST_WORDS: Final = 3
"""Words in one `LevelNotice`; more words follow in another notice."""
MOST_THRESHOLDS: Final = 6
"""Words whose thresholds fit a notice."""
STATE_EVERY_S: Final = 5.0
"""Interval of `StateNotice`, in seconds."""
STATE_FRESH_S: Final = 20.0
"""Seconds after which a state that was not repeated is unknown: hear has ended, or hangs."""

# Bounds that a device does not reach, so that the largest tally fits a notice.
Count = Annotated[int, Meta(ge=0, le=999_999_999)]
SampleCount = Annotated[int, Meta(ge=0, le=9_999_999_999_999)]  # 19 years
Score = Annotated[float, Meta(ge=0, le=1)]
Decibels = Annotated[int, Meta(ge=-96, le=0)]
"""dBFS, as a whole number: it shows that there is sound, not which."""
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
MuteState = Literal["open", "hardware", "software", "fault"]
"""``open``: not muted; otherwise the cause of the mute. A fault precedes the switch (``hardware``),
and the switch precedes ``software``."""
LampState = Literal["idle", "hearing", "muted", "fault", "done", "refused"]
"""``done``: a command was carried out; ``refused``: it was not, or that is not known."""
CommandEnd = Literal[
    "done",
    "failed",
    "not-understood",
    "late",
    "again",
    "unknown",
    "elsewhere",
    "no-speech",
    "busy",
    "no-answer",
    "not-allowed",
    "muted",
    "interrupted",
    "too-long",
    "no-place",
    "not-sealed",
    "not-sent",
    "clock",
]
"""Ends of an ask. ``done`` to ``again`` are outcomes that assist stated. ``unknown``: a command
copy left, and no outcome came. All others: there was no command copy, or it did not leave."""
Signature = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{86}==\Z")]
Sign = Callable[[bytes], bytes]


class _Notice(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """Base of the notices."""


class StartedNotice(_Notice, frozen=True, kw_only=True, tag="started", omit_defaults=True):
    """Hear has started."""

    thresholds: Annotated[dict[ShortName, Score], Meta(max_length=MOST_THRESHOLDS)] = {}
    """Score at which each word wakes; empty with more than ``MOST_THRESHOLDS`` words."""
    switch: ShortName | None = None
    """Kind of the fitted mute switch; ``none``: only software mute."""


class StoppedNotice(_Notice, frozen=True, kw_only=True, tag="stopped"):
    """Hear stops as requested."""


class WakeNotice(_Notice, frozen=True, kw_only=True, tag="wake"):
    """Wake word detected."""

    word: ShortName
    score: Score


class NearMissNotice(_Notice, frozen=True, kw_only=True, tag="near_miss"):
    """Peak below the threshold of a wake word."""

    word: ShortName
    score: Score


class MuteNotice(_Notice, frozen=True, kw_only=True, tag="mute"):
    """Change of the mute state."""

    state: MuteState


LossCause = Literal[
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


class MicrophoneNotice(_Notice, frozen=True, kw_only=True, tag="microphone"):
    """Microphone opened or lost."""

    state: Literal["open", "lost"]
    cause: LossCause | None = None
    """Cause of the loss."""
    losses: Count = 0
    """Losses since hear started."""
    overruns: Count = 0
    """Audio overruns since hear started."""


class StateNotice(_Notice, frozen=True, kw_only=True, tag="state", omit_defaults=True):
    """State of a running hear, repeated every few seconds.

    A send that starts later than hear, or that a notice did not reach, has it from the next one. A
    field that hear does not know yet is None.
    """

    mute: MuteState | None = None
    microphone: Literal["open"] | LossCause | None = None
    """``open``, or the cause of the loss."""
    losses: Count | None = None
    """Losses since hear started."""
    overruns: Count | None = None
    """Audio overruns since hear started."""
    thresholds: Annotated[dict[ShortName, Score], Meta(max_length=MOST_THRESHOLDS)] = {}
    """As in `StartedNotice`."""
    switch: ShortName | None = None


class DetectorNotice(_Notice, frozen=True, kw_only=True, tag="detector", omit_defaults=True):
    """State and speed of the detector, repeated with `StateNotice`."""

    only: ShortName | None = None
    """The one word that is detected; None for all."""
    p99_ms: Annotated[float, Meta(ge=0, le=99_999)] | None = None
    """99th percentile of the time for a frame in the last minute, in milliseconds."""
    cpu_percent: Annotated[float, Meta(ge=0, le=9_999)] | None = None
    """Processor use of hear in the last minute, without the microphone process, in % of a core."""


class SpooledNotice(_Notice, frozen=True, kw_only=True, tag="spooled"):
    """Envelope stored in the spool: send reads it now instead of at its next turn."""


class AskNotice(_Notice, frozen=True, kw_only=True, tag="ask"):
    """Ask of this device, or confirmation of a part, signed; send publishes it unread."""

    message: msgspec.Raw
    """A payload of ``voice.messages``, verbatim."""


class CopyNotice(_Notice, frozen=True, kw_only=True, tag="copy"):
    """Command copy stored for send, in the folder of ``voice_paths``."""


class CommandNotice(_Notice, frozen=True, kw_only=True, tag="command"):
    """End of an ask: what became of a command, as far as this device can verify it."""

    end: CommandEnd


class VoiceNotice(_Notice, frozen=True, kw_only=True, tag="voice"):
    """Consent of one owner that this device follows, signed; send publishes it unread."""

    message: msgspec.Raw
    """A payload of ``voice.messages``, verbatim."""


class Tally(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signed counters of hear since its start: every sample and clip by its outcome.

    ``heard_samples == discarded_samples + sealed_samples + held_samples``.
    """

    v: Literal[1] = 1
    device: ShortName
    boot: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    """Random id of this start of hear, at which the counters are 0. As in the envelope."""
    seq: Annotated[int, Meta(ge=0, le=999_999_999_999)]
    """Sequence number of the last envelope, or 0."""
    heard_samples: SampleCount = 0
    discarded_samples: SampleCount = 0
    sealed_samples: SampleCount = 0
    held_samples: SampleCount = 0
    """Samples in memory now: in the ring buffer or an unfinished clip."""
    muted_samples: SampleCount = 0
    wakes: Count = 0
    near_misses: Count = 0
    sealed: Count = 0
    unattributed: Count = 0
    abandoned: Count = 0
    lost: Count = 0
    """Clips sealed and refused by the spool."""

    def canonical(self) -> bytes:
        """Return the signed bytes: JSON in ASCII, keys sorted, no spaces."""
        return msgspec.json.encode(self, order="sorted")


class CountersNotice(_Notice, frozen=True, kw_only=True, tag="counters"):
    """Tally with the device's Ed25519 signature over its canonical form."""

    tally: Tally
    signature: Signature


class WordScore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Score of one wake-word model."""

    name: ShortName
    score: Score
    """Highest score since the last `LevelNotice`; 0 where no frame was scored."""
    threshold: Score


class AttributionNotice(_Notice, frozen=True, kw_only=True, tag="attribution"):
    """Voices without an owner since hear started, where clips are attributed by voice.

    Sent with the counters, of whose ``unattributed`` they are a part. It names no person.
    """

    guests: Count = 0
    """Voices that are similar to no owner's."""
    unsure: Count = 0
    """Voices that could not be compared: too little speech, or two owners are similar."""
    bystanders: Count = 0
    """Clips of an owner in which another voice speaks."""


class LevelNotice(_Notice, frozen=True, kw_only=True, tag="level"):
    """Level and scores, a few times a second, for a monitor alone."""

    level_dbfs: Decibels | None
    """Level of the loudest frame since the last `LevelNotice`; None without audio."""
    floor_dbfs: Decibels | None
    """Noise floor: level of the quietest tenth of the last seconds; None until measured."""
    words: Annotated[tuple[WordScore, ...], Meta(max_length=MOST_WORDS)]
    mute: MuteState
    lamp: LampState
    cpu_s: Seconds
    """CPU time of hear since its start, in seconds, without the microphone process."""
    up_s: Seconds
    """Time since hear started, in seconds."""


Notice = (
    StartedNotice
    | StoppedNotice
    | WakeNotice
    | NearMissNotice
    | MuteNotice
    | MicrophoneNotice
    | StateNotice
    | DetectorNotice
    | SpooledNotice
    | AskNotice
    | CopyNotice
    | CommandNotice
    | VoiceNotice
    | CountersNotice
    | AttributionNotice
)
"""Notices that send accepts."""
Shown = Notice | LevelNotice
"""Notices that a monitor accepts."""


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
    """Parse a notice for send; any bytes are accepted.

    Raises:
        ValueError: not exactly one notice, or too long. No other error is raised.
    """
    notice: Notice = _decode(data, Notice)
    return notice


def decode_for_monitor(data: bytes) -> Shown:
    """Parse a notice for a monitor; errors as `decode`."""
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
        tally: the counters.
        sign: returns the 64 bytes of an Ed25519 signature with the device's key.
    """
    text = base64.b64encode(sign(tally.canonical())).decode("ascii")
    return CountersNotice(tally=tally, signature=text)
