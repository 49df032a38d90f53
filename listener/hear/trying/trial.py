"""Try the microphone as hear would use it, for a few seconds.

The same gate and the same mute as in hear. Mute ends the microphone's process, so hear itself can
never notice sound while the switch says muted: that is tried here, when a person asks for it.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from listener import config
from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, GapReason
from listener.errors import EarmarkError
from listener.hear.fitting import build_switch
from listener.hear.gate import listen_to_device
from listener.hear.microphone.records import FailedRecord, OpenedRecord
from listener.hear.mute.lasting import MuteFiles
from listener.hear.mute.muting import MuteController
from listener.hear.mute.switch import Switch
from listener.hear.mute.switches import LineSwitch
from listener.hear.trying.judging import ProbeResult, assess_levels, assess_proof, report_mute
from listener.ipc.control import Request
from listener.system.findings import Check, Finding
from listener.system.systemd import StopSignal

LISTEN_S: Final = 3.0
PATIENCE_S: Final = 8.0
"""For a device that opens late, or never."""


def probe_microphone(settings: config.Config, *, prove_mute: bool) -> Iterator[Finding]:
    """Try it; it is not listened to while anything mutes.

    Args:
        settings: what hear would run with.
        prove_mute: a person asks to listen *because* the switch in hardware says muted, to find
            out whether it cuts the microphone.
    """
    with contextlib.ExitStack() as closing:
        lasting = MuteFiles(Path(settings.home))
        try:
            switch = build_switch(settings.mute, is_live=True, monotonic_s=time.monotonic)
        except EarmarkError as error:
            yield Check("mute").failed(error)
            return
        if isinstance(switch, LineSwitch):
            closing.callback(switch.close)
        nobody = _NoRequests()
        closing.callback(nobody.close)
        mute = MuteController(
            switch,
            lasting,
            nobody,
            remote_unmute=False,
            now=partial(datetime.now, UTC),
            monotonic_s=time.monotonic,
        )
        is_muted = mute.is_muted(0)
        yield report_mute(mute, switch, lasting)
        if prove_mute and isinstance(switch, LineSwitch):
            yield prove_switch_cuts_microphone(settings.microphone, switch, lasting)
        elif prove_mute:
            text = "no switch is fitted, so there is nothing to prove"
            yield Check("proof").fail(text, "mute.switch")
        elif is_muted:
            yield Check("microphone").warn(
                "it is not listened to while it is muted",
                "release the mute; or let --prove-mute try whether the switch cuts it",
            )
        else:
            yield assess_levels(settings.microphone.device, listen(settings.microphone, mute))


def listen(
    settings: config.MicrophoneSettings,
    switch: Switch,
    listen_s: float = LISTEN_S,
    patience_s: float = PATIENCE_S,
) -> ProbeResult:
    """Hear a few seconds through the gate; end early when it is muted or fails.

    Args:
        settings: which device.
        switch: shuts the gate.
        listen_s: of sound.
        patience_s: until it must have come.
    """
    heard, stop = ProbeResult(), StopSignal()

    def tell(state: OpenedRecord | FailedRecord) -> None:
        if isinstance(state, OpenedRecord):
            heard.opened = state
        else:
            heard.failed = state
            stop.request()

    gate = listen_to_device(
        settings, switch=switch, stop=stop, tell=tell, monotonic_s=time.monotonic
    )
    until_s = time.monotonic() + patience_s
    for sound in gate.stream():
        if isinstance(sound, Frame):
            heard.levels.push(sound.samples)
        elif sound.reason is GapReason.MUTED:
            heard.was_muted = True
            stop.request()
        is_enough = heard.levels.length_samples >= listen_s * SAMPLE_RATE_HZ
        if is_enough or time.monotonic() > until_s:
            stop.request()
    return heard


def prove_switch_cuts_microphone(
    settings: config.MicrophoneSettings, switch: LineSwitch, lasting: MuteFiles
) -> Finding:
    """Listen while the switch in hardware says muted, and find out whether it cuts the microphone.

    A contradiction is written down: hear stays muted until a person clears it.

    Args:
        settings: which device.
        switch: in hardware.
        lasting: where the contradiction goes.
    """
    only_while_shut = _InvertedSwitch(switch)
    if only_while_shut.is_muted(0):
        text = "the switch says open; this tries whether it cuts the microphone when it is shut"
        return Check("proof").fail(text, "shut it, and try again")
    # What never changes is the best of answers here.
    heard = listen(msgspec.structs.replace(settings, constant_s=0), only_while_shut)
    finding = assess_proof(heard)
    if finding.facts.get("contradiction"):
        try:
            lasting.set_fault(datetime.now(UTC), "sound-while-muted")
        except EarmarkError as error:
            hint = f"{finding.hint}; {error}"
            return msgspec.structs.replace(finding, hint=hint)
    return finding


class _InvertedSwitch:
    """Open while the switch in hardware is shut, and only then."""

    about = "reversed"

    def __init__(self, switch: LineSwitch) -> None:
        self._switch = switch

    def filenos(self) -> Sequence[int]:
        return self._switch.filenos()

    def is_muted(self, at_sample: int) -> bool:
        # A line that cannot be read counts as shut, but says nothing about a microphone.
        return not self._switch.is_muted(at_sample) or not self._switch.is_read


class _NoRequests:
    """No control socket: hear may have it."""

    def __init__(self) -> None:
        self._end, self._other_end = os.pipe()

    def fileno(self) -> int:
        return self._end

    def receive(self) -> tuple[Request, ...]:
        return ()

    def close(self) -> None:
        os.close(self._end)
        os.close(self._other_end)
