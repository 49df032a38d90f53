"""Mute gate between the microphone and the pipeline: audio passes only while it is not muted.

The mute state is polled before and after each read, so that no sample from a muted moment passes.
Only this module opens a microphone: recordings or a capture device.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, Framer, GapReason, Samples, Sound
from listener.config import MicrophoneSettings
from listener.errors import EarmarkError, Unavailable
from listener.hear import events
from listener.hear.microphone.file import FileMicrophone, Microphone, RealTimePacer
from listener.hear.microphone.live import LiveMicrophone, MicrophoneTimeouts, capture_command
from listener.hear.microphone.protocol import Cause, FailedRecord, OpenedRecord
from listener.hear.mute.controller import MuteController
from listener.hear.mute.switch import Switch
from listener.hear.playback import PlaybackMonitor
from listener.system.systemd import StopSignal

_log = logging.getLogger(__name__)


class Gate:
    """Source of frames and gaps; owns the microphone. For one thread only.

    Args:
        microphone: recordings or a capture device.
        switch: mute switch.
        stop: stop signal; ends every wait.
        playback: detects the device's own sound, which becomes a gap; None where there is none.
        cancels_echo: whether the card removes that sound: it is no gap then, and its frames are
            marked.
    """

    def __init__(
        self,
        microphone: Microphone,
        switch: Switch,
        stop: StopSignal,
        playback: PlaybackMonitor | None = None,
        *,
        cancels_echo: bool = False,
    ) -> None:
        self._cancels_echo = cancels_echo
        self._microphone = microphone
        self._switch = switch
        self._stop = stop
        self._playback = playback
        self._framer = Framer()
        self._line_failed = False
        self.broken: list[str] = []
        """Errors of the recordings that could not be read to their end, in order."""

    @property
    def position_samples(self) -> int:
        """Position in the stream, in samples."""
        return self._framer.position_samples

    def stream(self) -> Generator[Sound, None, None]:
        """Yield frames and gaps until the end of the recordings or a stop request.

        A frame is valid until the next one is requested: then it is overwritten, so that no copy
        outlives the ring buffer. While muted, or without a device, a gap is yielded for each frame
        period, so that the watchdog is pinged. The last gap has the reason END, except after a
        stop.
        """
        try:
            yield from self._read_unmuted()
        finally:
            self._microphone.close()
            self._framer.cut(GapReason.END)

    def _read_unmuted(self) -> Iterator[Sound]:
        while not self._stop.requested:
            is_muted = self._is_muted(self._framer.position_samples)
            if self._playback is not None:
                self._playback.covers(0)
            block: Samples | GapReason | int | None
            try:
                block = self._skip_muted() if is_muted else self._microphone.read()
            except Unavailable as error:
                _log.warning("the audio was interrupted: %s", error)
                self.broken.append(str(error))
                yield self._framer.cut(GapReason.LOST)
                continue
            if isinstance(block, int):
                yield self._framer.cut(GapReason.MUTED if is_muted else GapReason.LOST, block)
                if is_muted:
                    # Discard the edges during the mute, so that only new ones count.
                    self._is_muted(self._framer.position_samples)
                continue
            if block is None:
                break
            if isinstance(block, GapReason):
                yield self._framer.cut(block)
                continue
            if self._is_muted(self._framer.position_samples + len(block)):
                self._microphone.close()
                block[...] = 0
                yield self._framer.cut(GapReason.MUTED, len(block))
                continue
            yield from self._pass_on(block)
        if not self._stop.requested:
            yield self._framer.cut(GapReason.END)

    def _pass_on(self, block: Samples) -> Iterator[Sound]:
        """Yield the frames of an unmuted block, or a gap for the device's own sound; wipe both."""
        has_own_sound = self._playback is not None and self._playback.covers(len(block))
        if has_own_sound and not self._cancels_echo:
            block[...] = 0
            yield self._framer.cut(GapReason.PLAYBACK, len(block))
            return
        frames = self._framer.push(block, has_own_sound=has_own_sound)
        block[...] = 0
        for frame in frames:
            yield frame
            _wipe(frame)

    def _skip_muted(self) -> int | None:
        self._microphone.close()
        return self._microphone.skip()

    def _is_muted(self, at_sample: int) -> bool:
        try:
            is_muted = self._switch.is_muted(at_sample)
        except (OSError, EarmarkError) as error:
            if not self._line_failed:
                _log.error("the mute switch cannot be read, so this is muted: %s", error)
            self._line_failed = True
            return True
        self._line_failed = False
        return is_muted


def listen_to_files(  # noqa: PLR0913 - collaborators of the process, all but one by name
    paths: Sequence[Path],
    *,
    channel: int,
    is_fast: bool,
    switch: Switch,
    stop: StopSignal,
    monotonic_s: Callable[[], float],
) -> Gate:
    """Open a gate on recordings.

    Args:
        paths: recordings, played one after the other; at least one.
        channel: channel to use, from 0.
        is_fast: True to process them as fast as possible, False for real time.
        switch: mute switch.
        stop: stop signal; ends every wait.
        monotonic_s: monotonic clock, in seconds.

    Raises:
        Unavailable: a file is missing or cannot be read.
        UsageError: a file does not have the channel.
    """
    pace = None if is_fast else RealTimePacer(monotonic_s, stop.wait)
    return Gate(FileMicrophone(paths, channel, pace), switch, stop)


def listen_to_device(  # noqa: PLR0913 - keyword arguments
    settings: MicrophoneSettings,
    *,
    switch: Switch,
    stop: StopSignal,
    tell: Callable[[OpenedRecord | FailedRecord], None],
    monotonic_s: Callable[[], float],
    lock: Callable[[], int] | None = None,
    playback: PlaybackMonitor | None = None,
) -> Gate:
    """Open a gate on a capture device; the microphone process starts with the first read.

    Args:
        settings: device and channel.
        switch: mute switch; its descriptors end every wait.
        stop: stop signal.
        tell: called when the device delivers audio and when it fails. A `FailedRecord` with the
            cause ZEROS contradicts an unmuted switch.
        monotonic_s: monotonic clock, in seconds.
        lock: returns a descriptor for the microphone process to keep open; see
            `ipc.hear_locks.HearLocks.lock_microphone`.
        playback: as for `Gate`.
    """
    microphone = LiveMicrophone(
        capture_command(settings.device, settings.channel),
        watch=switch.filenos,
        tell=tell,
        monotonic_s=monotonic_s,
        limits=MicrophoneTimeouts(constant_s=settings.constant_s),
        lock=lock,
    )
    return Gate(microphone, switch, stop, playback, cancels_echo=settings.cancels_echo)


def _wipe(frame: Frame) -> None:
    samples: Samples = frame.samples
    samples.flags.writeable = True
    samples[:] = 0
    samples.flags.writeable = False


def open_gate(  # noqa: PLR0913 - collaborators of the process; each caller has its own
    settings: MicrophoneSettings,
    mute: MuteController,
    stop: StopSignal,
    publish: Callable[[events.MicrophoneOpenEvent | events.MicrophoneLostEvent], None],
    *,
    is_fast: bool,
    lock: Callable[[], int] | None = None,
    playback: PlaybackMonitor | None = None,
) -> Gate:
    """Open the configured gate; a microphone process starts with the first read.

    Args:
        settings: recordings or device.
        mute: mute controller; records a fault when the device contradicts an unmuted switch.
        stop: stop signal.
        publish: publishes the events of the device.
        is_fast: True to process recordings as fast as possible.
        lock: as for `listen_to_device`.
        playback: as for `Gate`; not used for recordings.

    Raises:
        Unavailable: a recording is missing or cannot be read.
        UsageError: a recording does not have the channel.
    """
    if settings.files:
        return listen_to_files(
            [Path(name) for name in settings.files],
            channel=settings.channel,
            is_fast=is_fast,
            switch=mute,
            stop=stop,
            monotonic_s=time.monotonic,
        )

    def publish_state(state: OpenedRecord | FailedRecord) -> None:
        time_s = gate.position_samples / SAMPLE_RATE_HZ
        if isinstance(state, OpenedRecord):
            publish(
                events.MicrophoneOpenEvent(
                    time_s=time_s, rate_hz=state.rate_hz, channels=state.channels
                )
            )
            return
        publish(events.MicrophoneLostEvent(time_s=time_s, cause=state.cause))
        if state.cause is Cause.ZEROS and mute.about != "none":
            mute.set_fault("only-zeros-while-open")

    gate = listen_to_device(
        settings,
        switch=mute,
        stop=stop,
        tell=publish_state,
        monotonic_s=time.monotonic,
        lock=lock,
        playback=playback,
    )
    return gate
