"""State of hear as one line, in JSON or as text."""

from typing import Any, Final

import msgspec

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.monitor.state import HearState
from listener.quantities import quantity

NO_HEAR: Final = "hear is not running"
START_HEAR: Final = "start it with earmark hear"

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600


def to_json(state: HearState, now_s: float) -> str:
    """Return a state as one line of JSON, without a newline.

    Args:
        state: state of hear.
        now_s: current time on the state's clock, in seconds.
    """
    if not state.is_current(now_s):
        return '{"hearing":false}'
    detection, tally = state.detection, state.tally
    line: dict[str, Any] = {
        "hearing": True,
        "up_s": state.up_s,
        "cpu_percent": _round(state.cpu_percent),
        "level_dbfs": state.level_dbfs,
        "floor_dbfs": state.floor_dbfs,
        "words": {
            word.name: {"score": word.score, "threshold": word.threshold}
            for word in state.words.values()
        },
        "mute": state.mute,
        "lamp": state.lamp,
        "microphone": state.microphone,
        "counters": tally,
        "last": None
        if detection is None
        else {
            "event": detection.kind,
            "word": detection.word,
            "score": round(detection.score, 3),
            "ago_s": round(now_s - detection.at_s, 3),
        },
    }
    return msgspec.json.encode(line).decode("utf-8")


def to_text(state: HearState, now_s: float) -> str:
    """Return a state as a line of text, without a newline; arguments as `to_json`."""
    if not state.is_current(now_s):
        return NO_HEAR
    parts = [format_level(state)]
    parts += [f"{word.name} {word.score:.2f}/{word.threshold:.2f}" for word in state.words.values()]
    parts += [*format_states(state), f"cpu {format_percent(state.cpu_percent)}"]
    return "; ".join([*parts, *format_counters(state)])


def format_level(state: HearState) -> str:
    """Return the level and the noise floor in dBFS."""
    if state.level_dbfs is None:
        return "no audio"
    return f"level {state.level_dbfs} dB, floor {state.floor_dbfs} dB"


def format_states(state: HearState) -> list[str]:
    """Return the states of mute, lamp and microphone."""
    mute = "open" if state.mute == "open" else f"muted ({state.mute})"
    states = [mute, f"lamp {state.lamp}"]
    if (microphone := state.microphone) is not None:
        cause = f" ({microphone.cause})" if microphone.cause else ""
        lost = f", lost {quantity(microphone.losses, 'time')}" if microphone.losses else ""
        states.append(f"microphone {microphone.state}{cause}{lost}")
    return states


def format_counters(state: HearState) -> list[str]:
    """Return the counters as two lines: seconds of audio, then detections and clips."""
    tally = state.tally
    if tally is None:
        return []
    durations = ", ".join(
        f"{name} {format_duration(samples / SAMPLE_RATE_HZ)}"
        for name, samples in (
            ("heard", tally.heard_samples),
            ("discarded", tally.discarded_samples),
            ("sealed", tally.sealed_samples),
            ("in memory", tally.held_samples),
            ("muted", tally.muted_samples),
        )
    )
    counts = {
        "wakes": tally.wakes,
        "near misses": tally.near_misses,
        "clips sealed": tally.sealed,
    }
    problems = {
        "clips abandoned": tally.abandoned,
        "without an owner": tally.unattributed,
        "lost": tally.lost,
    }
    parts = [f"{name} {count}" for name, count in counts.items()]
    parts += [f"{name} {count}" for name, count in problems.items() if count]
    return [durations, ", ".join(parts)]


def format_duration(seconds: float) -> str:
    """Return seconds as text, such as ``4.2 s``, ``3 min 4 s`` or ``2 h 5 min``."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"


def format_percent(percent: float | None) -> str:
    """Return a percentage as text, such as ``3.1 %``, or ``unknown``."""
    return "unknown" if percent is None else f"{percent:.1f} %"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
