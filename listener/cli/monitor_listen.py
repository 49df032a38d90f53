"""``earmark monitor --listen``: prints wakes as they are detected; makes no clip, stores nothing.

It uses the gate, the microphone process, the detector and the sandbox of ``hear``, but has no ring
buffer, clip, owner, key or spool, and sends nothing.
"""

import argparse
import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from listener.audio.pcm import SAMPLE_RATE_HZ, Sound
from listener.cli.hear import microphone_settings, wake_settings
from listener.config import Config
from listener.errors import EarmarkError, UsageError
from listener.hear import events
from listener.hear.events import to_json, to_text
from listener.hear.gate import open_gate
from listener.hear.hardware import build_mute, landlock_paths
from listener.hear.seccomp import apply_sandbox, overwrite_freed_memory
from listener.inference.build import load_detector
from listener.inference.catalogue import Catalogue
from listener.ipc.control import SOCKET, ControlSocket
from listener.ipc.hear_locks import HearLocks
from listener.quantities import quantity
from listener.storage.atomic import make_folder
from listener.system.malloc import use_single_malloc_arena
from listener.system.output import bound_logging
from listener.system.systemd import Notifier, StopSignal
from listener.wakeword.detector import NearMiss, StreamDetector, Wake

_log = logging.getLogger(__name__)


def listen(arguments: argparse.Namespace, settings: Config) -> int:
    """Print wakes and near misses until the recordings end, SIGTERM or Ctrl-C.

    Returns:
        0; 1 when recordings ended without a wake.

    Raises:
        UsageError: arguments contradict each other.
        ConfigError: a device is used without mute.switch; or the sandbox is required and cannot be
            applied.
        Unavailable: a recording cannot be used, or hear runs in this home.
        ModelRefused: a model is missing or differs from its manifest.
        EarmarkError: a recording ended early.
    """
    if arguments.once:
        raise UsageError("--listen and --once exclude each other", "pass one of them")
    files = tuple(arguments.microphone or ())
    microphone = microphone_settings(arguments, settings.microphone, files)
    if not microphone.files:
        bound_logging(logging.getLogger())
    mute_settings = settings.mute
    if arguments.no_switch:
        mute_settings = msgspec.structs.replace(mute_settings, switch="none")
    effective = msgspec.structs.replace(settings, microphone=microphone, mute=mute_settings)
    home = Path(settings.home)
    make_folder(home)
    apply_sandbox(
        landlock_paths(effective, home),
        is_required=settings.device.confinement == "required",
    )
    use_single_malloc_arena()
    wake = wake_settings(arguments, settings.wake)
    stop, service = StopSignal(), Notifier(os.environ, time.monotonic)
    requests = ControlSocket(home / SOCKET)
    state = HearLocks(home)
    mute = build_mute(effective, home, requests, arguments.mute, state.apply)
    catalogue = Catalogue(home)
    words = [catalogue.load(name) for name in wake.words]
    detector = load_detector(catalogue, words, wake)
    # As in hear: after the models are loaded, and before a recording is opened.
    overwrite_freed_memory()
    gate = open_gate(
        microphone, mute, stop, _log_microphone, is_fast=arguments.fast, lock=state.lock_microphone
    )
    render = to_json if arguments.json else to_text
    wakes = 0
    with contextlib.closing(requests), contextlib.closing(state), stop.on_signals():
        if not arguments.json:
            print(f"listening for {', '.join(wake.words)}; nothing is stored or sent", flush=True)
        for event in _detections(gate.stream(), detector, service):
            wakes += isinstance(event, events.WakeEvent)
            print(render(event), flush=True)
    if arguments.json:
        print(json.dumps({"event": "end", "wakes": wakes}))
    else:
        print(quantity(wakes, "wake"))
    if gate.broken:
        raise EarmarkError(f"a recording is damaged: {gate.broken[0]}")
    return 1 if microphone.files and not wakes else 0


def _detections(
    sounds: Iterator[Sound], detector: StreamDetector, service: Notifier
) -> Iterator[events.WakeEvent | events.NearMissEvent]:
    for sound in sounds:
        service.ping_watchdog()
        for found in detector.push(sound):
            time_s = found.end_sample / SAMPLE_RATE_HZ
            match found:
                case Wake(word=word, score=score):
                    yield events.WakeEvent(time_s=time_s, word=word, score=score)
                case NearMiss(word=word, score=score):
                    yield events.NearMissEvent(time_s=time_s, word=word, score=score)


def _log_microphone(event: events.MicrophoneOpenEvent | events.MicrophoneLostEvent) -> None:
    if isinstance(event, events.MicrophoneLostEvent):
        _log.warning("microphone lost: %s; reopening it", event.cause.value)
    else:
        _log.info("microphone opened")
