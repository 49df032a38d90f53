"""The gate between the microphone and everything else: sound passes only while the switch is open.

The switch is asked before and after each read, so that no sample of a shut moment comes through.

The gate on what is to be heard: recordings, or a device whose ups and downs are told.
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
from listener.system.systemd import StopSignal

_log = logging.getLogger(__name__)


class Gate:
    """Sound, or the reason why there is none. The only holder of a microphone. One thread."""

    def __init__(self, microphone: Microphone, switch: Switch, stop: StopSignal) -> None:
        self._microphone = microphone
        self._switch = switch
        self._stop = stop
        self._framer = Framer()
        self._line_failed = False
        self.broken: list[str] = []
        """What broke off, in the words of its error, in order."""

    @property
    def position_samples(self) -> int:
        """How far the stream has come."""
        return self._framer.position_samples

    def stream(self) -> Generator[Sound, None, None]:
        """Yield frames and gaps until nothing comes any more or a stop is asked for.

        A frame is good until the next one is asked for: then it is overwritten, so that no copy
        of it outlives the ring. While the switch is shut, or no device is there, a gap comes for
        each frame's time, so that the loop turns and the watchdog is fed. The last gap has the
        reason END, except after a stop.
        """
        try:
            yield from self._read_unmuted()
        finally:
            self._microphone.close()
            self._framer.cut(GapReason.END)

    def _read_unmuted(self) -> Iterator[Sound]:
        while not self._stop.requested:
            shut = self._is_muted(self._framer.position_samples)
            block: Samples | GapReason | int | None
            try:
                block = self._skip_muted() if shut else self._microphone.read()
            except Unavailable as error:
                _log.warning("the sound broke off: %s", error)
                self.broken.append(str(error))
                yield self._framer.cut(GapReason.LOST)
                continue
            if isinstance(block, int):
                yield self._framer.cut(GapReason.MUTED if shut else GapReason.LOST, block)
                if shut:
                    # What happened while nothing was heard is of no interest: ask only about now.
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
            frames = self._framer.push(block)
            block[...] = 0
            for frame in frames:
                yield frame
                _wipe(frame)
        if not self._stop.requested:
            yield self._framer.cut(GapReason.END)

    def _skip_muted(self) -> int | None:
        self._microphone.close()
        return self._microphone.skip()

    def _is_muted(self, at_sample: int) -> bool:
        try:
            shut = self._switch.is_muted(at_sample)
        except (OSError, EarmarkError) as error:
            if not self._line_failed:
                _log.error("the mute switch cannot be read, so this is muted: %s", error)
            self._line_failed = True
            return True
        self._line_failed = False
        return shut


def listen_to_files(  # noqa: PLR0913 - what is heard, and how: each by its name
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
        paths: at least one, heard one after the other.
        channel: which channel of each is heard, from 0.
        is_fast: as fast as possible, instead of in their own time.
        switch: shuts the gate.
        stop: ends it, and every wait.
        monotonic_s: a clock in seconds that never goes back.

    Raises:
        Unavailable: a file is missing or cannot be read.
        UsageError: it has no such channel.
    """
    pace = None if is_fast else RealTimePacer(monotonic_s, stop.wait)
    return Gate(FileMicrophone(paths, channel, pace), switch, stop)


def listen_to_device(
    settings: MicrophoneSettings,
    *,
    switch: Switch,
    stop: StopSignal,
    tell: Callable[[OpenedRecord | FailedRecord], None],
    monotonic_s: Callable[[], float],
) -> Gate:
    """Open a gate on a device; nothing is started before the gate is read.

    Args:
        settings: which device and channel.
        switch: shuts the gate; its descriptors end every wait.
        stop: ends it.
        tell: hears when sound begins to come and when it no longer does, and why. `FailedRecord`
            with the cause ZEROS contradicts an open switch.
        monotonic_s: a clock in seconds that never goes back.
    """
    microphone = LiveMicrophone(
        capture_command(settings.device, settings.channel),
        watch=switch.filenos,
        tell=tell,
        monotonic_s=monotonic_s,
        limits=MicrophoneTimeouts(constant_s=settings.constant_s),
    )
    return Gate(microphone, switch, stop)


def _wipe(frame: Frame) -> None:
    samples: Samples = frame.samples
    samples.flags.writeable = True
    samples[:] = 0
    samples.flags.writeable = False


def open_gate(
    settings: MicrophoneSettings,
    mute: MuteController,
    stop: StopSignal,
    tell: Callable[[events.MicrophoneOpenEvent | events.MicrophoneLostEvent], None],
    *,
    is_fast: bool,
) -> Gate:
    """Open the gate. No microphone is started before the gate is read.

    Args:
        settings: what is heard.
        mute: shuts the gate; learns of a device that contradicts an open switch.
        stop: ends it.
        tell: told when a device is heard and when it is lost.
        is_fast: whether recordings are heard as fast as possible.

    Raises:
        Unavailable: a recording is missing or cannot be read.
        UsageError: it has no such channel.
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

    def hear_of(state: OpenedRecord | FailedRecord) -> None:
        time_s = gate.position_samples / SAMPLE_RATE_HZ
        if isinstance(state, OpenedRecord):
            tell(
                events.MicrophoneOpenEvent(
                    time_s=time_s, rate_hz=state.rate_hz, channels=state.channels
                )
            )
            return
        tell(events.MicrophoneLostEvent(time_s=time_s, cause=state.cause))
        if state.cause is Cause.ZEROS and mute.about != "none":
            mute.set_fault("only-zeros-while-open")

    gate = listen_to_device(
        settings, switch=mute, stop=stop, tell=hear_of, monotonic_s=time.monotonic
    )
    return gate
