"""``earmark hear``: listen for the word, forget every other sound, seal what follows.

What a command line asks of who hears: another microphone, another word, another keeper.
"""

import argparse
import contextlib
import os
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener import config
from listener.audio.clip import Recorder, longest_samples
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ
from listener.audio.ring_buffer import Ring
from listener.config import Config, MicrophoneSettings, WakeSettings
from listener.errors import EarmarkError, UsageError
from listener.hear import events
from listener.hear.counters import Counters
from listener.hear.events import to_text
from listener.hear.gate import open_gate
from listener.hear.hardware import build_lamp, build_mute
from listener.hear.indicators.chime import build_chime
from listener.hear.key_rotation import RosterUpdater
from listener.hear.loop import Listener
from listener.hear.memory import ClipBuffers, allocate_locked, use_single_malloc_arena
from listener.hear.monitor_feed import MonitorFeed, Tee
from listener.hear.publisher import EventPublisher
from listener.hear.sealer import BUFFERS, Sealer, SealingContext
from listener.hear.seccomp import apply_sandbox, overwrite_freed_memory
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet
from listener.ipc import control
from listener.ipc.notice_socket import SOCKET, NoticeSender
from listener.ipc.notices import sign_tally
from listener.owner.attribution import Keeper
from listener.spool.queue import Spool
from listener.storage.home import Home
from listener.system.systemd import Notifier, StopSignal
from listener.wakeword.detector import StreamDetector


def apply_arguments(arguments: argparse.Namespace, settings: Config) -> Config:
    """Return the settings as the arguments of ``earmark hear`` change them.

    Raises:
        UsageError: they contradict each other, or cannot be.
    """
    replace = msgspec.structs.replace
    files = _files(arguments.microphone or ())
    microphone = microphone_settings(arguments, settings.microphone, files)
    attribution = settings.attribution
    if arguments.channel is not None:
        microphone = replace(microphone, channel=arguments.channel)
    if arguments.keeper:
        attribution = replace(attribution, keeper=arguments.keeper)
    if microphone.channel < 0:
        raise UsageError("channels count from 0")
    return replace(
        settings,
        microphone=microphone,
        wake=wake_settings(arguments, settings.wake),
        attribution=attribution,
    )


def microphone_settings(
    arguments: argparse.Namespace, settings: MicrophoneSettings, files: Sequence[str]
) -> MicrophoneSettings:
    """Return the microphone that is meant, as the arguments change the settings.

    Args:
        arguments: of a verb that hears; ``device``, ``fast`` and ``mute`` count.
        settings: what is heard where no argument says otherwise.
        files: recordings that the arguments name.

    Raises:
        UsageError: they contradict each other.
    """
    if arguments.device and files:
        raise UsageError("--device and --microphone are two microphones", "name one of them")
    if arguments.device:
        settings = msgspec.structs.replace(settings, device=arguments.device, files=())
    if files:
        settings = msgspec.structs.replace(settings, files=tuple(files))
    for option in ("fast", "mute"):
        if getattr(arguments, option) and not settings.files:
            raise UsageError(
                f"--{option} is for recordings, and a device is heard",
                "--microphone FILE hears a recording",
            )
    return settings


def wake_settings(arguments: argparse.Namespace, settings: WakeSettings) -> WakeSettings:
    """Return the words that are meant, as the arguments change the settings.

    Args:
        arguments: of a verb that hears; ``word`` counts.
        settings: what is listened for where no argument says otherwise.
    """
    if not arguments.word:
        return settings
    # Twice the same word is one word.
    return msgspec.structs.replace(settings, words=tuple(dict.fromkeys(arguments.word)))


def _files(given: Sequence[str]) -> list[str]:
    """Split lists at their commas, but not a file's name that has one."""
    names: list[str] = []
    for text in given:
        names += [text] if Path(text).exists() else text.split(",")
    if not all(names):
        raise UsageError("a recording's name is empty", "separate names by single commas")
    return names


_BOOT_BYTES: Final = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``earmark hear`` understands."""
    parser.add_argument(
        "--microphone",
        metavar="FILE[,FILE…]",
        action="append",
        help="recordings that stand in for a microphone, heard one after the other",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="the device to hear: default, an index, or part of a name (see earmark doctor)",
    )
    parser.add_argument("--channel", metavar="N", type=int, help="which channel is heard, from 0")
    parser.add_argument(
        "--fast", action="store_true", help="hear as fast as possible instead of in real time"
    )
    parser.add_argument(
        "--mute",
        metavar="A-B[,A-B…]",
        help="throw the mute switch at second A of the recordings and release it at second B",
    )
    parser.add_argument(
        "--word",
        metavar="NAME",
        action="append",
        help="listen for this model's word; may be repeated (see earmark models list)",
    )
    parser.add_argument("--keeper", metavar="NAME", help="the owner whose clips this device makes")
    parser.add_argument("--json", action="store_true", help="print events as JSON, one a line")


def run(arguments: argparse.Namespace, settings: config.Config) -> int:
    """Listen until the recordings end or SIGTERM comes.

    Raises:
        UsageError: the arguments ask for what cannot be.
        ConfigError: no keeper, or one who is not in the roster and active; this machine cannot be
            kept from the network; or there is a microphone that the switch does not cut.
        Unavailable: a recording is missing or cannot be read.
        ModelRefused: a model is missing or is not what its manifest says.
        EarmarkError: a recording broke off.
    """
    apply_sandbox(is_required=settings.device.confinement == "required")
    use_single_malloc_arena()
    settings = apply_arguments(arguments, settings)
    home = Home(Path(settings.home))
    keeper = home.keeper(settings.attribution.keeper)
    stop = StopSignal()
    key = home.device_key()
    requests = control.ControlSocket(home.path / control.SOCKET)
    mute = build_mute(settings, home.path, requests, arguments.mute)
    lamp = build_lamp(settings.lamp, time.monotonic)
    # A recording would not wait for it.
    chime = None if settings.microphone.files else build_chime(settings.chime, time.monotonic)
    notifier = NoticeSender(home.path / SOCKET)
    watching = MonitorFeed(home.path, time.monotonic, time.process_time)
    herald = EventPublisher(
        _write_json if arguments.json else _write_text,
        Tee(notifier, watching),
        key.sign,
        on_nobody_reads=stop.request,
    )
    gate = open_gate(settings.microphone, mute, stop, herald.publish, is_fast=arguments.fast)
    detector, speech, models, thresholds = _networks(Catalogue(home.path), settings.wake)
    # Not before: freed models need no wiping.
    overwrite_freed_memory()
    ring = Ring(allocate_locked(_frames(settings.clip.ring_s) * FRAME_SAMPLES))
    buffers = ClipBuffers(BUFFERS, longest_samples(settings.clip))
    boot = os.urandom(_BOOT_BYTES).hex()
    counters = Counters(settings.device.name, boot)
    service = Notifier(os.environ, time.monotonic)
    keeping = Sealer(
        attribution=Keeper(keeper, RosterUpdater(home, settings.device.name, key)),
        stamp=_sealing_context(settings, home, key, boot),
        border=Spool(home.path / "spool", settings.spool),
        counters=counters,
        buffers=buffers,
        tell=herald.publish,
        is_patient=arguments.fast,
    )
    recorder = Recorder(ring, speech, settings.clip, buffers)
    ear = Listener(
        detector=detector,
        models=models,
        ring=ring,
        recorder=recorder,
        keeping=keeping,
        counters=counters,
        herald=herald,
        now=partial(datetime.now, UTC),
        monotonic_s=time.monotonic,
        muted_by=lambda: mute.cause,
        lamp=lamp,
        chime=chime,
    )
    with contextlib.ExitStack() as closing, stop.on_signals():
        for held in (requests, lamp, chime):
            if held is not None:
                closing.callback(held.close)
        herald.publish(
            _started_event(settings, thresholds, keeper, mute.about, is_fast=arguments.fast)
        )
        service.ready("listening")
        sounds = watching.observe(
            gate.stream(),
            detector=detector,
            count=lambda: sign_tally(counters.tally(), key.sign),
            mute=lambda: mute.cause,
            lamp=lambda: ear.lamp_state,
        )
        ear.listen(sounds, service.ping_watchdog)
        service.stopping()
        keeping.close()
    herald.publish_end(counters.tally(), broken=len(gate.broken))
    notifier.close()
    watching.close()
    if herald.is_unread:
        raise BrokenPipeError
    if gate.broken:
        raise EarmarkError(
            f"{len(gate.broken)} of {len(settings.microphone.files)} recordings broke off;"
            f" the first: {gate.broken[0]}"
        )
    return 0


def _networks(
    catalogue: Catalogue, settings: config.WakeSettings
) -> tuple[StreamDetector, SpeechNet, dict[str, str], dict[str, float]]:
    """Load detector and speech model; return each model's SHA-256 and threshold beside them.

    The files' bytes end with this call: onnxruntime has its own copy, and hear must stay small.
    """
    words = [catalogue.load(name) for name in settings.words]
    detector = build_detector(words, catalogue.embedding(), settings)
    models = {word.name: word.manifest.sha256 for word in words}
    told = settings.thresholds
    thresholds = {word.name: told.get(word.name, word.manifest.threshold or 0.0) for word in words}
    return detector, SpeechNet(catalogue.speech()), models, thresholds


def _sealing_context(
    settings: config.Config, home: Home, key: Ed25519PrivateKey, boot: str
) -> SealingContext:
    return SealingContext(
        device=settings.device.name,
        key=key,
        next_seq=home.next_seq,
        new_clip_id=lambda: str(uuid.uuid4()),
        boot=boot,
        ttl_s=settings.clip.keep_days * 86_400,
    )


def _frames(seconds: float) -> int:
    return -(-round(seconds * SAMPLE_RATE_HZ) // FRAME_SAMPLES)


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _write_json(event: events.Event) -> None:
    sys.stdout.write(events.to_json(event) + "\n")
    sys.stdout.flush()


def _write_text(event: events.Event) -> None:
    sys.stdout.write(to_text(event) + "\n")
    sys.stdout.flush()


def _started_event(
    settings: config.Config,
    thresholds: dict[str, float],
    keeper: str,
    switch: str,
    *,
    is_fast: bool,
) -> events.StartedEvent:
    files = settings.microphone.files
    return events.StartedEvent(
        files=tuple(_printable(name) for name in files),
        device=None if files else settings.microphone.device,
        words=settings.wake.words,
        thresholds=thresholds,
        keeper=keeper,
        switch=switch,
        fast=is_fast,
    )
