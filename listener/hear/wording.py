"""What hear says, in words for people: one line for each event of `report`.

For `earmark hear` and for who tries a device out; programs read `report.to_json` instead.
"""

from typing import Final, assert_never

from listener.audio.pcm import GapReason
from listener.hear.microphone.records import Cause
from listener.hear.report import (
    EndedEvent,
    Event,
    InterruptedEvent,
    MicrophoneLostEvent,
    MicrophoneOpenEvent,
    MutedEvent,
    NearMissEvent,
    NotKeptEvent,
    SealedEvent,
    StartedEvent,
    UnmutedEvent,
    WakeEvent,
)

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
