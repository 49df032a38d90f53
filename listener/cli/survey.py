"""``earmark survey``: records the scores of the wake-word detector for days, without audio.

It uses the gate, the microphone process, the detector and the sandbox of ``hear``, but has no ring
buffer, clip, owner or spool. ``earmark evaluate --trace`` reads the trace.
"""

import argparse
import contextlib
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import UNSET

import listener
from listener import config
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.cli.hear import microphone_settings, wake_settings
from listener.cli.main import with_examples
from listener.config import Probability
from listener.errors import EarmarkError, UsageError
from listener.evaluate.progress import ProgressLine
from listener.hear import events
from listener.hear.gate import open_gate
from listener.hear.hardware import build_mute, landlock_paths
from listener.hear.seccomp import apply_sandbox, overwrite_freed_memory
from listener.hear.survey import StreamClock, Survey, SystemClock
from listener.inference.build import build_rule, load_detector
from listener.inference.catalogue import Catalogue
from listener.ipc.control import SOCKET as CONTROL_SOCKET
from listener.ipc.control import ControlSocket
from listener.ipc.hear_locks import HearLocks
from listener.quantities import quantity
from listener.storage.atomic import make_folder
from listener.storage.journal import Journal
from listener.storage.recordings import open_recording
from listener.system.malloc import use_single_malloc_arena
from listener.system.output import bound_logging
from listener.system.systemd import Notifier, StopSignal
from listener.wakeword.detector import Rule
from listener.wakeword.manifest import Model
from listener.wakeword.streaming import CATCH_UP_FRAMES
from listener.wakeword.trace import OpenedLine, TraceBuilder, TraceWord, encode, format_time

FLOOR: Final = 0.02
"""Default lowest score in a trace, 0 to 1; the device does not compute scores in a quiet room."""

_log = logging.getLogger(__name__)

DETAILS: Final = """\
The trace is JSON Lines: scores at or above the floor, one level for each 2 s, gaps, wakes, near
misses, and times. It holds no audio and nothing from which audio could be made. An existing trace
is continued; a power cut loses the last minute at most. With --fast the times are those of the
recordings. earmark evaluate --trace computes rates from it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark survey``."""
    parser.epilog = with_examples(
        DETAILS,
        'earmark survey --trace kitchen.trace --device "USB"',
        "earmark survey --trace kitchen.trace --microphone monday.flac --fast",
        "earmark evaluate --trace kitchen.trace",
    )
    parser.add_argument(
        "--trace", metavar="FILE", required=True, help="write the trace here; appends if it exists"
    )
    parser.add_argument(
        "--microphone",
        metavar="FILE",
        action="append",
        help="read a recording (WAV, FLAC or Ogg) instead of a device; may be repeated",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="input device: default, an index, or part of its name, as earmark doctor lists them"
        " (default: microphone.device)",
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="process recordings as fast as possible instead of in real time",
    )
    parser.add_argument(
        "--mute",
        metavar="A-B[,A-B…]",
        help="simulate the mute switch: muted from second A to second B of the recordings",
    )
    parser.add_argument(
        "--word",
        metavar="NAME",
        action="append",
        help="wake word, as earmark models list names it; may be repeated (default: wake.words)",
    )
    parser.add_argument(
        "--floor",
        metavar="X",
        type=float,
        default=FLOOR,
        help=f"lowest score that is recorded, over 0 and under 1 (default: {FLOOR})",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")


def run(arguments: argparse.Namespace, settings: config.Config) -> int:
    """Record scores until the recordings end or SIGTERM arrives.

    Raises:
        UsageError: arguments contradict each other, or one is out of range.
        ConfigError: a device is used without mute.switch; or the sandbox is required and cannot be
            applied.
        Unavailable: a recording or the trace cannot be used.
        ModelRefused: a model is missing or differs from its manifest.
        EarmarkError: a recording ended early, or lines of the trace were lost.
    """
    microphone = microphone_settings(arguments, settings.microphone, arguments.microphone or ())
    if not microphone.files:
        bound_logging(logging.getLogger())
    # Before the sandbox, which does not let this process open the recordings.
    progress = ProgressLine(
        _total_s(arguments.microphone or ()) if arguments.fast else 0.0, sys.stderr
    )
    effective = msgspec.structs.replace(settings, microphone=microphone)
    apply_sandbox(
        landlock_paths(effective, Path(arguments.trace).absolute().parent),
        is_required=settings.device.confinement == "required",
    )
    use_single_malloc_arena()
    wake = wake_settings(arguments, settings.wake)
    floor = _floor(arguments.floor)
    stop, service = StopSignal(), Notifier(os.environ, time.monotonic)
    home = Path(settings.home)
    make_folder(home)
    requests = ControlSocket(home / CONTROL_SOCKET)
    state = HearLocks(home)
    mute = build_mute(effective, home, requests, arguments.mute, state.apply)
    catalogue = Catalogue(home)
    words = [catalogue.load(name) for name in wake.words]
    detector = load_detector(catalogue, words, wake)
    has_first_stage = wake.first_stage and catalogue.first_stage(words) is not None
    # As in hear: after the models are loaded, and before a recording is opened.
    overwrite_freed_memory()
    gate = open_gate(
        microphone,
        mute,
        stop,
        _log_microphone,
        is_fast=arguments.fast,
        lock=state.lock_microphone,
    )
    step_samples = wake.hop_ms * SAMPLE_RATE_HZ // 1000
    clock = SystemClock()
    opened = OpenedLine(
        device=settings.device.name,
        run=os.urandom(8).hex(),
        earmark=listener.__version__,
        utc=format_time(clock.utc()),
        monotonic_s=round(clock.monotonic_s(), 3),
        step_samples=step_samples,
        floor=floor,
        lazy=wake.lazy,
        first_stage=True if has_first_stage else msgspec.UNSET,
        words={
            word.name: _describe_word(
                word,
                catalogue.second_sha256(word) if wake.second_opinion else None,
                build_rule(word, wake),
            )
            for word in words
        },
    )
    journal = Journal(Path(arguments.trace))
    journal.append(encode(opened))
    survey = Survey(
        detector,
        TraceBuilder(
            wake.words,
            floor,
            step_samples,
            late_frames=CATCH_UP_FRAMES if has_first_stage else 0,
        ),
        journal,
        StreamClock(clock, lambda: gate.position_samples) if arguments.fast else clock,
    )
    with contextlib.closing(requests), contextlib.closing(state), stop.on_signals():
        service.ready("listening")

        def advance() -> None:
            service.ping_watchdog()
            if arguments.fast:
                progress.set_position(gate.position_samples / SAMPLE_RATE_HZ)

        with progress:
            survey.listen(gate.stream(), advance)
        service.stopping()
    journal.close()
    _print_summary(survey, journal.lost, as_json=arguments.json)
    if journal.lost:
        raise EarmarkError(
            f"{quantity(journal.lost, 'line of the trace was', 'lines of the trace were')} lost:"
            f" cannot write {arguments.trace}",
            "free space on that disk; the lines written before are complete",
        )
    if gate.broken:
        raise EarmarkError(f"a recording is damaged: {gate.broken[0]}")
    return 0


def _total_s(files: Sequence[str]) -> float:
    """Return the length of the recordings in seconds; 0 for one that cannot be opened."""
    total_s = 0.0
    for file in files:
        with contextlib.suppress(EarmarkError), open_recording(Path(file)) as recording:
            total_s += recording.length_samples / SAMPLE_RATE_HZ
    return total_s


def _log_microphone(event: events.MicrophoneOpenEvent | events.MicrophoneLostEvent) -> None:
    """Log when a device is opened or lost; the trace records the gap."""
    if isinstance(event, events.MicrophoneLostEvent):
        _log.warning("microphone lost: %s; reopening it", event.cause.value)
    else:
        _log.info("microphone opened")


def _floor(value: float) -> float:
    try:
        return msgspec.convert(value, Probability)
    except msgspec.ValidationError as error:
        raise UsageError(f"--floor {value}: the range is over 0 and under 1") from error


def _describe_word(word: Model, second_opinion: str | None, rule: Rule) -> TraceWord:
    return TraceWord(
        sha256=word.manifest.sha256,
        second_opinion=second_opinion or UNSET,
        threshold=rule.threshold,
        patience_steps=rule.patience_steps,
        refractory_samples=rule.refractory_samples,
        near_miss_threshold=rule.near_miss_threshold,
    )


def _print_summary(survey: Survey, lost: int, *, as_json: bool) -> None:
    heard_s = survey.heard_samples / SAMPLE_RATE_HZ
    missing_s = survey.missing_samples / SAMPLE_RATE_HZ
    if as_json:
        total = {
            "heard_s": heard_s,
            "missing_s": missing_s,
            "wakes": survey.wakes,
            "near_misses": survey.near_misses,
            "lost_lines": lost,
        }
        sys.stdout.write(msgspec.json.encode(total).decode() + "\n")
        return
    sys.stdout.write(
        f"processed {heard_s:.1f} s, missed {missing_s:.1f} s;"
        f" wakes: {survey.wakes}, near misses: {survey.near_misses}; no audio was stored\n"
    )
