"""A picture as one line: for programs, and for people without a terminal."""

from typing import Any, Final

import msgspec

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.monitor.state import HearState

NO_HEAR: Final = "nobody hears"

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600


def to_json(picture: HearState, now_s: float) -> str:
    """Return a picture as one line of JSON, without its end.

    Args:
        picture: what is known.
        now_s: the time now, on the picture's clock.
    """
    if not picture.is_current(now_s):
        return '{"hearing":false}'
    found, tally = picture.found, picture.tally
    line: dict[str, Any] = {
        "hearing": True,
        "up_s": picture.up_s,
        "cpu_percent": _round(picture.cpu_percent),
        "level_dbfs": picture.level_dbfs,
        "floor_dbfs": picture.floor_dbfs,
        "words": {
            word.name: {"score": word.score, "threshold": word.threshold}
            for word in picture.words.values()
        },
        "mute": picture.mute,
        "lamp": picture.lamp,
        "microphone": picture.microphone,
        "counters": tally,
        "last": None
        if found is None
        else {
            "event": found.kind,
            "word": found.word,
            "score": round(found.score, 3),
            "ago_s": round(now_s - found.at_s, 3),
        },
    }
    return msgspec.json.encode(line).decode("utf-8")


def to_text(picture: HearState, now_s: float) -> str:
    """Return a picture as a line for people, without its end; arguments as `to_json`."""
    if not picture.is_current(now_s):
        return NO_HEAR
    parts = [format_level(picture)]
    parts += [
        f"{word.name} {word.score:.2f}/{word.threshold:.2f}" for word in picture.words.values()
    ]
    parts += [*format_states(picture), f"cpu {format_percent(picture.cpu_percent)}"]
    return "; ".join([*parts, *format_counters(picture)])


def format_level(picture: HearState) -> str:
    """Return how loud it is."""
    if picture.level_dbfs is None:
        return "no sound"
    return f"level {picture.level_dbfs} dB, floor {picture.floor_dbfs} dB"


def format_states(picture: HearState) -> list[str]:
    """Return what mutes, what the lamp shows and how the microphone is."""
    mute = "open" if picture.mute == "open" else f"muted ({picture.mute})"
    said = [mute, f"lamp {picture.lamp}"]
    if (microphone := picture.microphone) is not None:
        cause = f" ({microphone.cause})" if microphone.cause else ""
        lost = f", lost {microphone.losses} times" if microphone.losses else ""
        said.append(f"microphone {microphone.state}{cause}{lost}")
    return said


def format_counters(picture: HearState) -> list[str]:
    """Return the counters: what became of the sound, then what was found in it."""
    tally = picture.tally
    if tally is None:
        return []
    heard = ", ".join(
        f"{name} {format_duration(samples / SAMPLE_RATE_HZ)}"
        for name, samples in (
            ("heard", tally.heard_samples),
            ("thrown away", tally.discarded_samples),
            ("sealed", tally.sealed_samples),
            ("in memory", tally.held_samples),
            ("muted", tally.muted_samples),
        )
    )
    always = {
        "wakes": tally.wakes,
        "near misses": tally.near_misses,
        "clips sealed": tally.sealed,
    }
    at_times = {
        "clips abandoned": tally.abandoned,
        "without an owner": tally.unattributed,
        "lost": tally.lost,
    }
    found = [f"{name} {count}" for name, count in always.items()]
    found += [f"{name} {count}" for name, count in at_times.items() if count]
    return [heard, ", ".join(found)]


def format_duration(seconds: float) -> str:
    """Return e.g. ``4.2 s``, ``3 min 4 s`` or ``2 h 5 min``."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"


def format_percent(percent: float | None) -> str:
    """Return e.g. ``3.1 %``."""
    return "unknown" if percent is None else f"{percent:.1f} %"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
