"""The gate on what is to be heard: recordings, or a device whose ups and downs are told."""

import time
from collections.abc import Callable
from pathlib import Path

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.config import MicrophoneSettings
from listener.hear import report
from listener.hear.gate import Gate, listen_to_device, listen_to_files
from listener.hear.microphone.records import Cause, FailedRecord, OpenedRecord
from listener.hear.mute.muting import MuteController
from listener.system.systemd import StopSignal


def open_gate(
    settings: MicrophoneSettings,
    mute: MuteController,
    stop: StopSignal,
    tell: Callable[[report.MicrophoneOpenEvent | report.MicrophoneLostEvent], None],
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
                report.MicrophoneOpenEvent(
                    time_s=time_s, rate_hz=state.rate_hz, channels=state.channels
                )
            )
            return
        tell(report.MicrophoneLostEvent(time_s=time_s, cause=state.cause))
        if state.cause is Cause.ZEROS and mute.about != "none":
            mute.set_fault("only-zeros-while-open")

    gate = listen_to_device(
        settings, switch=mute, stop=stop, tell=hear_of, monotonic_s=time.monotonic
    )
    return gate
