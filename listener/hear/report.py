"""What hear says on standard output: one event a line, as JSON; `wording` has it for people.

The schema is closed: these events, these fields, each always there. Times are seconds on the
stream's line, which goes on through gaps and from file to file. No sound, no text of what was said.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from listener.audio.pcm import GapReason
from listener.config import ShortName
from listener.hear.microphone.records import Cause

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
