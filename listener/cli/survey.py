"""``earmark survey``: listen for days, make no clip at all, and keep a trace without sound.

It has the gate, the microphone and the detector of ``hear``, so it lives behind the same border,
and has no ring, no clip, no owner and no spool. ``earmark evaluate --trace`` reads what it writes.
"""

import argparse
import contextlib
import logging
import os
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

import listener
from listener import config
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.cli.hear import microphone_settings, wake_settings
from listener.config import Probability
from listener.errors import EarmarkError, UsageError
from listener.hear import events
from listener.hear.gate import open_gate
from listener.hear.hardware import build_mute
from listener.hear.memory import use_single_malloc_arena
from listener.hear.seccomp import apply_sandbox, overwrite_freed_memory
from listener.hear.survey import StreamClock, Survey, SystemClock
from listener.inference.build import build_detector, build_rule
from listener.inference.catalogue import Catalogue
from listener.ipc.control import SOCKET as CONTROL_SOCKET
from listener.ipc.control import ControlSocket
from listener.storage.journal import Journal
from listener.system.systemd import Notifier, StopSignal
from listener.wakeword.detector import Rule
from listener.wakeword.trace import OpenedLine, TraceBuilder, TraceWord, encode, format_time

FLOOR: Final = 0.02
"""Scores below it are not kept; in a quiet room the device does not compute them either."""

_log = logging.getLogger(__name__)

DETAILS: Final = """\
The trace is JSON Lines: scores from the floor on, a level for each 2 s, gaps, wakes, near misses,
and times. No sound, and nothing that sound could be made from. A trace that is there goes on; a
power cut costs the last minute at most. With --fast the times are those of the recordings.

  earmark survey --trace kitchen.trace --microphone monday.flac --fast
  earmark survey --trace kitchen.trace --device "usb mic"
  earmark evaluate --trace kitchen.trace"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``earmark survey`` understands."""
    parser.epilog = DETAILS
    parser.add_argument("--trace", metavar="FILE", required=True, help="where the trace goes on")
    parser.add_argument(
        "--microphone",
        metavar="FILE",
        action="append",
        help="a recording that stands in for a microphone; may be repeated",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="the device to hear: default, an index, or part of a name (see earmark doctor)",
    )
    parser.add_argument("--fast", action="store_true", help="hear recordings as fast as possible")
    parser.add_argument("--mute", metavar="A-B[,A-B…]", help="throw the switch, as in earmark hear")
    parser.add_argument(
        "--word", metavar="NAME", action="append", help="listen for this model's word"
    )
    parser.add_argument(
        "--floor", metavar="X", type=float, default=FLOOR, help=f"keep scores from X on ({FLOOR})"
    )
    parser.add_argument("--json", action="store_true", help="print the total as JSON")


def run(arguments: argparse.Namespace, settings: config.Config) -> int:
    """Listen until the recordings end or SIGTERM comes.

    Raises:
        UsageError: the arguments ask for what cannot be.
        ConfigError: a device is to be heard and nobody has said how it is muted; or this machine
            cannot be kept from the network.
        Unavailable: a recording or the trace cannot be used.
        ModelRefused: a model is missing or is not what its manifest says.
        EarmarkError: a recording broke off, or lines were lost to a full disk.
    """
    apply_sandbox(is_required=settings.device.confinement == "required")
    use_single_malloc_arena()
    microphone = microphone_settings(arguments, settings.microphone, arguments.microphone or ())
    wake = wake_settings(arguments, settings.wake)
    floor = _floor(arguments.floor)
    stop, service = StopSignal(), Notifier(os.environ, time.monotonic)
    home = Path(settings.home)
    requests = ControlSocket(home / CONTROL_SOCKET)
    heard = msgspec.structs.replace(settings, microphone=microphone)
    mute = build_mute(heard, home, requests, arguments.mute)
    gate = open_gate(microphone, mute, stop, _log_microphone, is_fast=arguments.fast)
    catalogue = Catalogue(home)
    words = [catalogue.load(name) for name in wake.words]
    detector = build_detector(words, catalogue.embedding(), wake)
    # Not before: freed models need no wiping.
    overwrite_freed_memory()
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
        words={w.name: _listening(w.manifest.sha256, build_rule(w, wake)) for w in words},
    )
    journal = Journal(Path(arguments.trace))
    journal.append(encode(opened))
    survey = Survey(
        detector,
        TraceBuilder(wake.words, floor, step_samples),
        journal,
        StreamClock(clock, lambda: gate.position_samples) if arguments.fast else clock,
    )
    with contextlib.closing(requests), stop.on_signals():
        service.ready("listening")
        survey.listen(gate.stream(), service.ping_watchdog)
        service.stopping()
    journal.close()
    _print_summary(survey, journal.lost, as_json=arguments.json)
    if journal.lost:
        raise EarmarkError(
            f"{journal.lost} lines of the trace were lost: its disk could not be written",
            "make room on it; everything written before is whole",
        )
    if gate.broken:
        raise EarmarkError(f"a recording broke off: {gate.broken[0]}")
    return 0


def _log_microphone(event: events.MicrophoneOpenEvent | events.MicrophoneLostEvent) -> None:
    """Log when a device is heard or lost; the trace has the gap."""
    if isinstance(event, events.MicrophoneLostEvent):
        _log.warning("the microphone is lost: %s; it is tried again", event.cause.value)
    else:
        _log.info("the microphone is open")


def _floor(value: float) -> float:
    try:
        return msgspec.convert(value, Probability)
    except msgspec.ValidationError as error:
        raise UsageError(f"--floor {value}: {error}") from error


def _listening(sha256: str, rule: Rule) -> TraceWord:
    return TraceWord(
        sha256=sha256,
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
        f"heard {heard_s:.1f} s, did not hear {missing_s:.1f} s;"
        f" wakes: {survey.wakes}, near misses: {survey.near_misses}; no sound was kept\n"
    )
