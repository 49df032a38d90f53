"""Events that hear writes to standard output, one per line, as JSON or as text for people.

The schema is closed: unknown events and fields are refused, and every field is always present,
except the counts of voices in `EndedEvent`. Times are seconds of the stream, which continues
through gaps and from file to file. Events contain no audio and no transcript. Programs read
`to_json`; `to_text` may change between releases.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, assert_never

import msgspec
from msgspec import UNSET, Meta, UnsetType

from listener.audio.pcm import GapReason
from listener.config import ShortName
from listener.hear.microphone.protocol import Cause
from listener.ipc.notices import CommandEnd

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class _Event(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="event"
):
    """Base of all events."""


class StartedEvent(_Event, frozen=True, kw_only=True, tag="started"):
    """Start of listening. Always the first event."""

    files: tuple[str, ...]
    """Recordings that are played instead of a microphone; empty for a device."""
    device: str | None
    """Capture device, as named in the configuration; None for recordings."""
    words: tuple[ShortName, ...]
    thresholds: dict[ShortName, float] = {}
    """Minimum score for a wake, 0 to 1, by word."""
    keeper: ShortName
    """Owner to whom clips are attributed."""
    switch: str
    """Kind of mute switch: ``input``, ``gpio``, ``script`` or ``none``."""
    fast: bool
    """True if recordings are processed as fast as possible."""
    landlock: int = 0
    """Version of the Landlock interface that confines hear; 0 if the kernel has none."""


class WakeEvent(_Event, frozen=True, kw_only=True, tag="wake"):
    """Detection of a wake word."""

    time_s: Seconds
    """End of the detector step that exceeded the threshold."""
    word: ShortName
    score: float


class NearMissEvent(_Event, frozen=True, kw_only=True, tag="near_miss"):
    """Detection with a score just below the threshold."""

    time_s: Seconds
    word: ShortName
    score: float


class SealedEvent(_Event, frozen=True, kw_only=True, tag="sealed"):
    """Clip encrypted to its owner and written to the spool. Follows its `WakeEvent`."""

    time_s: Seconds
    """Begin of the clip."""
    length_s: Seconds
    word: ShortName
    owner: ShortName
    clip: str
    seq: Count
    bytes: Count
    """Size of the envelope."""
    end_reason: str


class NotKeptEvent(_Event, frozen=True, kw_only=True, tag="not_kept"):
    """Wake without a clip in the spool; its audio is wiped."""

    time_s: Seconds
    """Begin of the clip, or the time at which it would have begun."""
    reason: Literal["muted", "gap", "stopped", "busy", "unattributed", "refused"]
    """``busy``: no free buffer or queue slot; ``refused``: sealing or the spool failed."""


class MutedEvent(_Event, frozen=True, kw_only=True, tag="muted"):
    """Begin of a mute: the ring buffer and all clips that are not encrypted are wiped.

    Published again during the mute when the cause changes.
    """

    time_s: Seconds
    cause: Literal["hardware", "software", "fault"]
    """With several causes: the fault first, then the switch, then software."""


class UnmutedEvent(_Event, frozen=True, kw_only=True, tag="unmuted"):
    """End of a mute."""

    time_s: Seconds
    muted_s: Seconds
    """Length of the mute in the stream."""


class MicrophoneOpenEvent(_Event, frozen=True, kw_only=True, tag="microphone_open"):
    """First audio from the device: at the start, and after it was lost."""

    time_s: Seconds
    rate_hz: Count
    """Sample rate of the device."""
    channels: Count
    """Number of channels that are read; one of them is used."""


class MicrophoneLostEvent(_Event, frozen=True, kw_only=True, tag="microphone_lost"):
    """Device without audio; opening is retried. Published once per change of the cause."""

    time_s: Seconds
    cause: Cause


class CommandEvent(_Event, frozen=True, kw_only=True, tag="command"):
    """End of an ask: what became of a command. Contains nothing of what was said."""

    time_s: Seconds
    end: CommandEnd


class ConsentEvent(_Event, frozen=True, kw_only=True, tag="consent"):
    """Change of an owner's consent to voice control, in force from now on."""

    time_s: Seconds
    owner: ShortName
    on: bool
    assist: str
    """Public key of the assist that may receive command copies, or might until now."""
    n: Count
    """Number of the consent."""


class InterruptedEvent(_Event, frozen=True, kw_only=True, tag="gap"):
    """Gap in the audio that is not a mute: next file, overrun, failed source, or own playback."""

    time_s: Seconds
    reason: GapReason
    """``start``: begin of the next file; ``playback``: published once for each sound."""


class EndedEvent(_Event, frozen=True, kw_only=True, tag="ended"):
    """Totals of the run. Always the last event.

    The sums are exact: ``heard_s == discarded_s + sealed_s``, since no audio is held at the end.
    """

    heard_s: Seconds
    discarded_s: Seconds
    sealed_s: Seconds
    """Audio in at least one envelope, counted once."""
    muted_s: Seconds
    wakes: Count
    near_misses: Count
    sealed: Count
    """Envelopes written to the spool."""
    unattributed: Count
    abandoned: Count
    lost: Count
    broken: Count
    """Recordings that could not be read to their end."""
    losses: Count
    """Times that the device was lost."""
    overruns: Count
    """Audio overruns."""
    guests: Count | UnsetType = UNSET
    """As in `notices.AttributionNotice`, with the next two; absent where no voice is compared."""
    unsure: Count | UnsetType = UNSET
    bystanders: Count | UnsetType = UNSET


Event = (
    StartedEvent
    | WakeEvent
    | NearMissEvent
    | SealedEvent
    | NotKeptEvent
    | MutedEvent
    | UnmutedEvent
    | MicrophoneOpenEvent
    | MicrophoneLostEvent
    | CommandEvent
    | ConsentEvent
    | InterruptedEvent
    | EndedEvent
)


def to_json(event: Event) -> str:
    """Return an event as one line of JSON, without the newline."""
    return msgspec.json.encode(event).decode("utf-8")


def from_json(line: str | bytes) -> Event:
    """Parse an event that `to_json` wrote.

    Raises:
        ValueError: the line is not an event. No other error is raised.
    """
    try:
        event: Event = msgspec.json.decode(line, type=Event)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not an event of hear: {error}") from error
    return event


_GAPS: Final = {
    GapReason.START: "the next file begins",
    GapReason.MUTED: "muted",
    GapReason.OVERRUN: "audio overrun: samples were lost",
    GapReason.LOST: "the recording or the device failed",
    GapReason.PLAYBACK: "the loudspeaker of this device sounds",
    GapReason.END: "end of the stream",
}
CAUSES: Final = {
    Cause.MISSING: "there is no such device",
    Cause.BUSY: "another program uses it",
    Cause.DENIED: "this user may not open it",
    Cause.CHANNEL: "it has no such channel",
    Cause.RATE: "it supports no usable sample rate",
    Cause.LIBRARY: "PortAudio is not installed: apt install libportaudio2",
    Cause.GONE: "it failed, or was unplugged",
    Cause.STALLED: "it delivers no audio",
    Cause.ZEROS: "its samples never change: it is muted, or a wire is broken",
    Cause.GARBLED: "the capture process sent invalid data and was stopped",
    Cause.DIED: "the capture process exited unexpectedly",
}
"""Text for people, by cause."""
_MUTES: Final = {
    "hardware": "the switch",
    "software": "software (to unmute: earmark mute off)",
    "fault": "FAULT: switch and microphone contradict each other (see: earmark mute status)",
}
COMMAND_ENDS: Final[Mapping[CommandEnd, str]] = {
    "done": "carried out",
    "failed": "not carried out: it failed",
    "not-understood": "not carried out: not understood",
    "late": "not carried out: too late",
    "again": "not carried out: it came a second time",
    "unknown": "not known whether it was carried out",
    "elsewhere": "left to another speaker",
    "no-speech": "no command: nothing was said",
    "busy": "not sent: assist is busy",
    "no-answer": "not sent: assist did not answer",
    "not-allowed": "not sent: its owner does not allow it",
    "muted": "not sent: muted",
    "interrupted": "not sent: audio interrupted",
    "too-long": "not sent: too long",
    "no-place": "not sent: earlier commands wait",
    "not-sealed": "not sent: it could not be sealed",
    "not-sent": "not sent: no connection",
    "clock": "not sent: the clock was set",
}
"""Text for people, by the end of an ask."""
_REASONS: Final = {
    "muted": "microphone muted",
    "gap": "audio interrupted",
    "stopped": "hear stopped",
    "busy": "sealing too slow",
    "unattributed": "owner not recognised",
    "refused": "sealing or spooling failed",
}


def to_text(event: Event) -> str:  # noqa: C901, PLR0911, PLR0912 - one case per event; mypy checks that none is missing
    """Return an event as a line of text for people, without the newline."""
    match event:
        case StartedEvent():
            pace = "as fast as possible" if event.fast else "in real time"
            switch = "no mute switch" if event.switch == "none" else f"mute switch: {event.switch}"
            source = event.device or f"{', '.join(event.files)} {pace}"
            return _line(
                "hear",
                f"{source}; {switch}; listens for {', '.join(event.words)}; keeper {event.keeper}",
            )
        case WakeEvent():
            return _line("wake", f"{event.time_s:8.2f} s  {event.word}  {event.score:.2f}")
        case NearMissEvent():
            return _line("near", f"{event.time_s:8.2f} s  {event.word}  {event.score:.2f}  no wake")
        case SealedEvent():
            return _line(
                "sealed",
                f"{event.time_s:8.2f} s  {event.length_s:.2f} s to {event.owner},"
                f" {event.bytes:,} bytes  {event.clip}",
            )
        case NotKeptEvent():
            return _line("no clip", f"{event.time_s:8.2f} s  discarded: {_REASONS[event.reason]}")
        case MutedEvent():
            return _line(
                "mute",
                f"{event.time_s:8.2f} s  microphone closed, audio wiped; {_MUTES[event.cause]}",
            )
        case UnmutedEvent():
            return _line("unmuted", f"{event.time_s:8.2f} s  muted for {event.muted_s:.2f} s")
        case MicrophoneOpenEvent():
            return _line("opened", f"{event.time_s:8.2f} s  the microphone, at {event.rate_hz} Hz")
        case MicrophoneLostEvent():
            return _line("lost", f"{event.time_s:8.2f} s  the microphone: {CAUSES[event.cause]}")
        case CommandEvent():
            return _line("command", f"{event.time_s:8.2f} s  {COMMAND_ENDS[event.end]}")
        case ConsentEvent():
            state = "on" if event.on else "off"
            return _line(
                "voice", f"{event.time_s:8.2f} s  {event.owner}: {state}, assist {event.assist}"
            )
        case InterruptedEvent():
            return _line("gap", f"{event.time_s:8.2f} s  {_GAPS[event.reason]}")
        case EndedEvent():
            return _line(
                "total",
                f"heard {event.heard_s:.2f} s: {event.discarded_s:.2f} s discarded,"
                f" {event.sealed_s:.2f} s sealed in {event.sealed}"
                f" clip{'s' * (event.sealed != 1)}; muted {event.muted_s:.2f} s",
            )
        case _:
            assert_never(event)


def _line(name: str, text: str) -> str:
    return f"{name:<8} {text}"
