"""``earmark hear``: listens for the wake word and encrypts each clip into the spool.

Arguments override the configuration; the microphone and wake-word arguments are also used by
``earmark survey``.
"""

import argparse
import contextlib
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener import config
from listener.audio.clip import Recorder, longest_samples
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ
from listener.audio.ring_buffer import Ring
from listener.cli.main import with_examples
from listener.config import Config, MicrophoneSettings, WakeSettings
from listener.errors import EarmarkError, UsageError
from listener.hear import events
from listener.hear.clip_capture import ClipCapture
from listener.hear.counters import Counters
from listener.hear.events import to_text
from listener.hear.gate import open_gate
from listener.hear.hardware import build_lamp, build_mute, landlock_paths
from listener.hear.indicators.chime import build_chime
from listener.hear.inference_time import TimedDetector
from listener.hear.key_rotation import RosterUpdater
from listener.hear.loop import Listener
from listener.hear.memory import ClipBuffers, allocate_locked
from listener.hear.monitor_feed import MonitorFeed, Tee
from listener.hear.owner_confirmation import OwnerConfirmation, follow, wait_for_keeper
from listener.hear.publisher import EventPublisher
from listener.hear.request_router import RequestRouter
from listener.hear.sealer import BUFFERS, LONGEST_S, Sealer, SealingContext
from listener.hear.seccomp import apply_sandbox, overwrite_freed_memory
from listener.hear.sequence import SequenceNumbers
from listener.hear.state_feed import StateFeed
from listener.hear.voice_runtime import VoiceRuntime, open_voice_runtime
from listener.inference.build import load_detector
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet
from listener.ipc import control
from listener.ipc.hear_locks import HearLocks
from listener.ipc.notice_socket import SOCKET, NoticeSender
from listener.ipc.notices import DetectorNotice, sign_tally
from listener.ipc.voice_folder import locate_voice_folder
from listener.owner.attribution import Keeper
from listener.spool.queue import Spool
from listener.storage.home import Home
from listener.system.malloc import use_single_malloc_arena
from listener.system.output import BoundedOutput, bound_logging
from listener.system.systemd import Notifier, StopSignal
from listener.wakeword.detector import StreamDetector
from listener.wakeword.sensitivity import Sensitivity

if TYPE_CHECKING:
    from listener.hear.voiceprint.voice_mode import VoiceMode

_log = logging.getLogger(__name__)

_BOOT_BYTES: Final = 8
"""Length of the random id of one run."""
LOCK_PATIENCE_S: Final = 2.0
"""Longest wait for a lock that another process holds, in seconds; then the clip is lost."""


def apply_arguments(arguments: argparse.Namespace, settings: Config) -> Config:
    """Return the configuration with the arguments of ``earmark hear`` applied.

    Raises:
        UsageError: arguments contradict each other, or one is out of range.
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
        raise UsageError(f"--channel {microphone.channel}: channels start at 0")
    return replace(
        settings,
        microphone=microphone,
        wake=wake_settings(arguments, settings.wake),
        attribution=attribution,
    )


def microphone_settings(
    arguments: argparse.Namespace, settings: MicrophoneSettings, files: Sequence[str]
) -> MicrophoneSettings:
    """Return the microphone configuration with the arguments applied.

    Args:
        arguments: of ``hear`` or ``survey``; ``device``, ``fast`` and ``mute`` are used.
        settings: the configured microphone.
        files: recordings named on the command line.

    Raises:
        UsageError: the arguments contradict each other.
    """
    if arguments.device and files:
        raise UsageError("--device and --microphone exclude each other", "pass one of them")
    if arguments.device:
        settings = msgspec.structs.replace(settings, device=arguments.device, files=())
    if files:
        settings = msgspec.structs.replace(settings, files=tuple(files))
    for option in ("fast", "mute"):
        if getattr(arguments, option) and not settings.files:
            raise UsageError(
                f"--{option} needs recordings, but the input is a device",
                "pass --microphone FILE",
            )
    return settings


def wake_settings(arguments: argparse.Namespace, settings: WakeSettings) -> WakeSettings:
    """Return the wake-word configuration with the arguments applied.

    Args:
        arguments: of ``hear`` or ``survey``; ``word`` is used.
        settings: the configured wake words.
    """
    if not arguments.word:
        return settings
    # A repeated word counts once.
    return msgspec.structs.replace(settings, words=tuple(dict.fromkeys(arguments.word)))


def _files(arguments: Sequence[str]) -> list[str]:
    """Split lists at commas, except where a file of that whole name exists."""
    names: list[str] = []
    for text in arguments:
        names += [text] if Path(text).exists() else text.split(",")
    if not all(names):
        raise UsageError("a recording has an empty name", "separate names with single commas")
    return names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark hear``."""
    parser.epilog = with_examples(
        "hear opens the microphone, keeps the last seconds in memory, and overwrites the rest. It\n"
        "has no network. It needs an active owner as keeper, see earmark owner --help, and for a\n"
        "microphone the configuration mute.switch. SIGTERM or Ctrl-C ends it.",
        "earmark hear",
        'earmark hear --device "USB" --word hey-jarvis',
        "earmark hear --microphone kitchen.flac --fast --json",
        "earmark hear --microphone kitchen.flac --mute 12.5-20",
    )
    parser.add_argument(
        "--microphone",
        metavar="FILE[,FILE…]",
        action="append",
        help="read recordings (WAV, FLAC or Ogg) one after the other instead of a device;"
        " may be repeated",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="input device: default, an index, or part of its name, as earmark doctor lists them"
        " (default: microphone.device)",
    )
    parser.add_argument(
        "--channel",
        metavar="N",
        type=int,
        help="input channel, from 0 (default: microphone.channel)",
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
        "--keeper",
        metavar="NAME",
        help="owner to whom clips are encrypted (default: attribution.keeper)",
    )
    parser.add_argument("--json", action="store_true", help="print events as JSON, one a line")


def run(arguments: argparse.Namespace, settings: config.Config) -> int:  # noqa: PLR0915 - one statement per part of the process
    """Listen until the recordings end or SIGTERM arrives.

    Raises:
        UsageError: arguments contradict each other, or one is out of range.
        ConfigError: no keeper is configured, or they are not an active owner; the sandbox is
            required and cannot be applied; or the mute switch does not cut a microphone.
        Unavailable: a recording is missing or cannot be read.
        ModelRefused: a model is missing or differs from its manifest.
        EarmarkError: a recording ended early.
    """
    settings = apply_arguments(arguments, settings)
    # With a microphone open, hear never waits for a reader of its output.
    is_live = not settings.microphone.files
    if is_live:
        bound_logging(logging.getLogger())
    landlock = apply_sandbox(
        landlock_paths(settings, locate_voice_folder(Path(settings.home))),
        is_required=settings.device.confinement == "required",
    )
    use_single_malloc_arena()
    home = Home(Path(settings.home), LOCK_PATIENCE_S)
    stop = StopSignal()
    systemd = Notifier(os.environ, time.monotonic)
    home.keeper(settings.attribution.keeper, needs_proof=settings.broker.certificate_file is None)
    key = home.device_key()
    confirmation = OwnerConfirmation(
        home,
        settings.device.name,
        key,
        is_member=settings.broker.certificate_file is not None,
    )
    keeper = _wait_for_keeper(home, settings, confirmation, stop, systemd)
    if keeper is None:
        return 0
    requests = control.ControlSocket(home.path / control.SOCKET)
    state = HearLocks(home.path)
    router = RequestRouter(requests)
    mute = build_mute(settings, home.path, router, arguments.mute, state.apply)
    lamp = build_lamp(settings.lamp, time.monotonic)
    # A recording that is processed as fast as possible would be over before the chime.
    chime = None if arguments.fast else build_chime(settings.chime, time.monotonic)
    notices = NoticeSender(home.path / SOCKET)
    state_feed = StateFeed(notices, time.monotonic)
    monitor_feed = MonitorFeed(home.path, time.monotonic, time.process_time)
    publisher = EventPublisher(
        _build_writer(is_live=is_live, as_json=arguments.json),
        Tee(state_feed, monitor_feed),
        key.sign,
        on_reader_gone=stop.request,
    )
    runtime = open_voice_runtime(home, publisher)
    detector, speech, models, thresholds = _networks(Catalogue(home.path), settings.wake)
    timed = TimedDetector(detector, time.monotonic, time.process_time)
    sensitivity = _route_sensitivity(router, detector, settings.wake, state_feed)
    # After the models are loaded: their freed memory holds no audio. Before a recording is opened:
    # reading its header takes a buffer with its first sound.
    overwrite_freed_memory()
    gate = open_gate(
        settings.microphone,
        mute,
        stop,
        publisher.publish,
        is_fast=arguments.fast,
        lock=state.lock_microphone,
        playback=None if runtime is None else runtime.playback_monitor(),
    )
    ring = Ring(allocate_locked(_frames(settings.clip.ring_s) * FRAME_SAMPLES))
    buffers = ClipBuffers(BUFFERS, longest_samples(settings.clip))
    boot = os.urandom(_BOOT_BYTES).hex()
    counters = Counters(settings.device.name, boot)
    numbers = SequenceNumbers(home, settings.device.name, key.public_key())
    roster = RosterUpdater(home, settings.device.name, key)
    voices = _open_voice_mode(settings, home, keeper, roster, is_fast=arguments.fast)
    comparison = None if voices is None else voices.comparison
    sealer = Sealer(
        attribution=Keeper(keeper, roster) if voices is None else voices.attribution,
        context=_sealing_context(settings, numbers.next_seq, key, boot),
        spool=Spool(home.path / "spool", settings.spool, patience_s=LOCK_PATIENCE_S),
        counters=counters,
        buffers=buffers,
        publish=publisher.publish,
        is_blocking=arguments.fast,
        commands=None if runtime is None else runtime.command_sealer(settings.device.name, key),
        part_buffers=ClipBuffers(1, longest_samples(settings.clip))
        if settings.clip.provisional_parts
        else None,
        comparison=comparison,
        longest_s=2 * voices.longest_s if voices is not None and arguments.fast else LONGEST_S,
    )
    voice = None
    if runtime is not None:
        voice = runtime.control(
            device=settings.device.name,
            key=key,
            boot=boot,
            keeper=keeper,
            run_soon=sealer.run_soon,
            reserve_seq=numbers.reserve,
        )
    capture = ClipCapture(
        recorder=Recorder(ring, speech, settings.clip, buffers),
        sealer=sealer,
        counters=counters,
        publish=publisher.publish,
        models=models,
        now=partial(datetime.now, UTC),
        chime=chime,
        pause_chime=runtime.pause_chime()
        if runtime is not None and is_live and settings.chime.in_pause and chime is None
        else None,
        voice=voice,
        parts=sealer if settings.clip.provisional_parts else None,
        prepare=sealer.prepare,
    )
    loop = Listener(
        detector=timed,
        ring=ring,
        capture=capture,
        counters=counters,
        publisher=publisher,
        monotonic_s=time.monotonic,
        muted_by=lambda: mute.cause,
        lamp=lamp,
        voice=voice,
        permit_playback=_permit_playback(runtime),
        counts_voices=comparison is not None,
    )
    with contextlib.ExitStack() as closing, stop.on_signals():
        for resource in (requests, lamp, chime, state, runtime, comparison):
            if resource is not None:
                closing.callback(resource.close)
        publisher.publish(
            events.StartedEvent(
                files=tuple(_printable(name) for name in settings.microphone.files),
                device=None if settings.microphone.files else settings.microphone.device,
                words=settings.wake.words,
                thresholds=thresholds,
                keeper=keeper,
                switch=mute.about,
                fast=arguments.fast,
                landlock=landlock.version,
            )
        )
        systemd.ready("listening")
        sounds = monitor_feed.observe(
            state_feed.observe(
                gate.stream(),
                lambda: mute.cause,
                lambda: DetectorNotice(
                    only=sensitivity.only, p99_ms=timed.p99_ms, cpu_percent=timed.cpu_percent()
                ),
            ),
            detector=detector,
            count=lambda: sign_tally(counters.tally(), key.sign),
            mute=lambda: mute.cause,
            lamp=lambda: loop.lamp_state,
        )

        def alive() -> None:
            systemd.ping_watchdog()
            follow(confirmation, sealer.run_soon)

        loop.listen(sounds, alive)
        systemd.stopping()
        sealer.close()
    publisher.publish_end(
        counters.tally(),
        broken=len(gate.broken),
        voices=None if comparison is None else counters.voices(),
    )
    notices.close()
    monitor_feed.close()
    if publisher.is_unread:
        raise BrokenPipeError
    if gate.broken:
        raise EarmarkError(
            f"the recording is damaged: {gate.broken[0]}"
            if len(settings.microphone.files) == 1
            else f"{len(gate.broken)} of {len(settings.microphone.files)} recordings are damaged;"
            f" the first: {gate.broken[0]}"
        )
    return 0


def _wait_for_keeper(
    home: Home,
    settings: Config,
    confirmation: OwnerConfirmation,
    stop: StopSignal,
    systemd: Notifier,
) -> str | None:
    """Return the keeper, or None after a stop; no microphone is open while this waits."""
    is_said = False

    def on_wait() -> None:
        nonlocal is_said
        if not is_said:
            is_said = True
            _log.warning(
                "the keeper has not confirmed their key; waiting for their answer from the"
                " household: earmark household add-owner NAME --bundle FILE"
            )
            systemd.ready("waiting until the keeper confirms their key")
        systemd.ping_watchdog()

    with stop.on_signals():
        return wait_for_keeper(home, settings.attribution.keeper, confirmation, stop.wait, on_wait)


def _open_voice_mode(
    settings: Config, home: Home, keeper: str, roster: RosterUpdater, *, is_fast: bool
) -> "VoiceMode | None":
    """Return attribution by voice, or None in the mode ``keeper``."""
    if settings.attribution.mode == "keeper":
        return None
    from listener.hear.voiceprint.voice_mode import open_voice_mode  # noqa: PLC0415 - takes 0.6 MiB

    return open_voice_mode(settings, home, keeper, roster, is_fast=is_fast)


def _permit_playback(runtime: VoiceRuntime | None) -> Callable[[bool], object]:
    if runtime is None:
        return bool
    permit = runtime.permit
    return lambda is_permitted: permit.permit(is_permitted=is_permitted)


def _networks(
    catalogue: Catalogue, settings: config.WakeSettings
) -> tuple[StreamDetector, SpeechNet, dict[str, str], dict[str, float]]:
    """Load the detector and the speech model.

    The bytes of the files are freed on return: onnxruntime has its own copy, and hear's memory is
    limited.

    Returns:
        Detector, speech model, SHA-256 by wake word, and threshold (0 to 1) by wake word.
    """
    words = [catalogue.load(name) for name in settings.words]
    detector = load_detector(catalogue, words, settings)
    models = {word.name: word.manifest.sha256 for word in words}
    thresholds = {
        word.name: settings.thresholds.get(word.name, word.manifest.threshold or 0.0)
        for word in words
    }
    return detector, SpeechNet(catalogue.speech()), models, thresholds


def _route_sensitivity(
    router: RequestRouter,
    detector: StreamDetector,
    settings: config.WakeSettings,
    state_feed: StateFeed,
) -> Sensitivity:
    """Apply requests about the sensitivity to the detector; return what is in force."""
    sensitivity = Sensitivity(
        detector.thresholds, may_lower=settings.remote_threshold, apply=detector.set_threshold
    )
    router.connect(sensitivity, lambda: state_feed.set_thresholds(sensitivity.thresholds))
    return sensitivity


def _sealing_context(
    settings: config.Config, next_seq: Callable[[], int], key: Ed25519PrivateKey, boot: str
) -> SealingContext:
    return SealingContext(
        device=settings.device.name,
        key=key,
        next_seq=next_seq,
        new_clip_id=lambda: str(uuid.uuid4()),
        boot=boot,
        ttl_s=settings.clip.keep_days * 86_400,
    )


def _frames(seconds: float) -> int:
    return -(-round(seconds * SAMPLE_RATE_HZ) // FRAME_SAMPLES)


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _build_writer(*, is_live: bool, as_json: bool) -> Callable[[events.Event], None]:
    """Return the writer of events."""
    render = events.to_json if as_json else to_text
    output: TextIO | BoundedOutput = BoundedOutput(sys.stdout) if is_live else sys.stdout

    def write(event: events.Event) -> None:
        output.write(render(event) + "\n")
        output.flush()

    return write
