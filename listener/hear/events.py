"""What hear says on standard output: one event a line, as JSON; `wording` has it for people.

The schema is closed: these events, these fields, each always there. Times are seconds on the
stream's line, which goes on through gaps and from file to file. No sound, no text of what was said.

What hear says, in words for people: one line for each event of `report`.

For `earmark hear` and for who tries a device out; programs read `report.to_json` instead.
"""

from typing import Annotated, Final, Literal, assert_never

import msgspec
from msgspec import Meta

from listener.audio.pcm import GapReason
from listener.config import ShortName
from listener.hear.microphone.protocol import Cause

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class _Event(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="event"
):
    """One line."""


class StartedEvent(_Event, frozen=True, kw_only=True, tag="started"):
    """Hear listens from here on. Always the first line."""

    files: tuple[str, ...]
    """What stands in for a microphone; empty where a device is heard."""
    device: str | None
    """The device that is heard, as the settings name it."""
    words: tuple[ShortName, ...]
    thresholds: dict[ShortName, float] = {}
    """Score from which each word wakes."""
    keeper: ShortName
    switch: str
    """What can shut the microphone: ``input``, ``gpio``, ``script`` or ``none``."""
    fast: bool
    """Whether it hears as fast as possible."""


class WakeEvent(_Event, frozen=True, kw_only=True, tag="wake"):
    """The word was heard."""

    time_s: Seconds
    """Where the step ended that woke."""
    word: ShortName
    score: float


class NearMissEvent(_Event, frozen=True, kw_only=True, tag="near_miss"):
    """Something came close to the word."""

    time_s: Seconds
    word: ShortName
    score: float


class SealedEvent(_Event, frozen=True, kw_only=True, tag="sealed"):
    """A clip is in the spool, sealed to its owner. Comes later than the wake."""

    time_s: Seconds
    """Where the clip begins."""
    length_s: Seconds
    word: ShortName
    owner: ShortName
    clip: str
    seq: Count
    bytes: Count
    """Of the envelope."""
    end_reason: str


class NotKeptEvent(_Event, frozen=True, kw_only=True, tag="not_kept"):
    """A wake after which there is no envelope; its sound is wiped."""

    time_s: Seconds
    """Where the clip begins or would have begun."""
    reason: Literal["muted", "gap", "stopped", "busy", "unattributed", "refused"]
    """``busy``: sealing did not keep up; ``refused``: no envelope could be made or spooled."""


class MutedEvent(_Event, frozen=True, kw_only=True, tag="muted"):
    """The gate is shut; the ring and every clip in the clear are wiped.

    Again, while it is shut, when the cause changes.
    """

    time_s: Seconds
    cause: Literal["hardware", "software", "fault"]
    """A fault is named before the switch, and that before the software."""


class UnmutedEvent(_Event, frozen=True, kw_only=True, tag="unmuted"):
    """The gate is open again."""

    time_s: Seconds
    muted_s: Seconds
    """How long it was shut."""


class MicrophoneOpenEvent(_Event, frozen=True, kw_only=True, tag="microphone_open"):
    """Sound comes from the device: at the start, and after it was lost."""

    time_s: Seconds
    rate_hz: Count
    """The device's own."""
    channels: Count
    """So many are read, of which one is heard."""


class MicrophoneLostEvent(_Event, frozen=True, kw_only=True, tag="microphone_lost"):
    """No sound comes from the device; it is tried again. Once for each change of the cause."""

    time_s: Seconds
    cause: Cause


class InterruptedEvent(_Event, frozen=True, kw_only=True, tag="gap"):
    """Sound is missing that nobody asked to miss: a file broke off, a device is gone."""

    time_s: Seconds
    reason: GapReason
    """``start``: the next file begins."""


class EndedEvent(_Event, frozen=True, kw_only=True, tag="ended"):
    """What became of everything. Always the last line, and the sums are exact.

    ``heard_s == discarded_s + sealed_s``: at the end nothing is held any more.
    """

    heard_s: Seconds
    discarded_s: Seconds
    sealed_s: Seconds
    """Sound in at least one envelope, counted once."""
    muted_s: Seconds
    wakes: Count
    near_misses: Count
    sealed: Count
    """Envelopes in the spool."""
    unattributed: Count
    abandoned: Count
    lost: Count
    broken: Count
    """Recordings that broke off."""
    losses: Count
    """How often the device was lost."""
    overruns: Count
    """How often it was faster than the ear."""


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
    | InterruptedEvent
    | EndedEvent
)


def to_json(event: Event) -> str:
    """Return an event as one line of JSON, without its end."""
    return msgspec.json.encode(event).decode("utf-8")


def from_json(line: str | bytes) -> Event:
    """Read what `to_json` wrote.

    Raises:
        ValueError: it is something else. Nothing else is raised.
    """
    try:
        event: Event = msgspec.json.decode(line, type=Event)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not an event of hear: {error}") from error
    return event


_GAPS: Final = {
    GapReason.START: "the next file begins",
    GapReason.MUTED: "muted",
    GapReason.OVERRUN: "the microphone was faster than the ear",
    GapReason.LOST: "the sound broke off",
    GapReason.END: "nothing comes any more",
}
CAUSES: Final = {
    Cause.MISSING: "there is no such device",
    Cause.BUSY: "another program has it",
    Cause.DENIED: "this user may not open it",
    Cause.CHANNEL: "it has no such channel",
    Cause.RATE: "it gives no rate that can be used",
    Cause.LIBRARY: "PortAudio is not installed: apt install libportaudio2",
    Cause.GONE: "it failed, or was unplugged",
    Cause.STALLED: "it says nothing",
    Cause.ZEROS: "its samples never change: it is cut off, or a wire is broken",
    Cause.GARBLED: "its process went mad and was ended",
    Cause.DIED: "its process died",
}
"""What each cause means to people."""
_MUTES: Final = {
    "hardware": "the switch",
    "software": "software: earmark mute off",
    "fault": "FAULT, switch and microphone contradict each other: earmark mute status",
}
_REASONS: Final = {
    "muted": "the switch was thrown",
    "gap": "the sound broke off",
    "stopped": "told to stop",
    "busy": "sealing did not keep up",
    "unattributed": "nobody's for sure",
    "refused": "no envelope could be spooled",
}


def to_text(event: Event) -> str:  # noqa: C901, PLR0911 - one case an event, mypy counts them
    """Return an event as a line for people, without its end."""
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
            return _line("no clip", f"{event.time_s:8.2f} s  {_REASONS[event.reason]}; wiped")
        case MutedEvent():
            return _line(
                "mute",
                f"{event.time_s:8.2f} s  microphone shut, memory wiped; {_MUTES[event.cause]}",
            )
        case UnmutedEvent():
            return _line("open", f"{event.time_s:8.2f} s  muted for {event.muted_s:.2f} s")
        case MicrophoneOpenEvent():
            return _line("found", f"{event.time_s:8.2f} s  the microphone, at {event.rate_hz} Hz")
        case MicrophoneLostEvent():
            return _line("lost", f"{event.time_s:8.2f} s  the microphone: {CAUSES[event.cause]}")
        case InterruptedEvent():
            return _line("gap", f"{event.time_s:8.2f} s  {_GAPS[event.reason]}")
        case EndedEvent():
            return _line(
                "total",
                f"heard {event.heard_s:.2f} s: {event.discarded_s:.2f} s thrown away,"
                f" {event.sealed_s:.2f} s sealed in {event.sealed}"
                f" clip{'s' * (event.sealed != 1)}; muted {event.muted_s:.2f} s",
            )
        case _:
            assert_never(event)


def _line(name: str, text: str) -> str:
    return f"{name:<8} {text}"
