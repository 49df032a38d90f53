"""Try the microphone as hear would use it, for a few seconds.

The same gate and the same mute as in hear. Mute ends the microphone's process, so hear itself can
never notice sound while the switch says muted: that is tried here, when a person asks for it.

What a few seconds of sound, and the mute, say about this device, in words and numbers.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from listener import config
from listener.audio.level import LevelMeter
from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, GapReason
from listener.errors import EarmarkError
from listener.hear.events import CAUSES
from listener.hear.gate import listen_to_device
from listener.hear.hardware import build_switch
from listener.hear.microphone.protocol import Cause, FailedRecord, OpenedRecord
from listener.hear.mute.controller import MuteController
from listener.hear.mute.state import REASONS, MuteFiles
from listener.hear.mute.switch import LineSwitch, Switch
from listener.ipc.control import Request
from listener.system.findings import Check, Finding, Verdict
from listener.system.systemd import StopSignal

FAINT_DBFS: Final = -75.0
"""Below this nobody would be understood; and noise cannot be told from a silent room."""
LOUD_FLOOR_DBFS: Final = -35.0
CLIPPED_SHARE: Final = 0.001

HINTS: Final = {
    Cause.MISSING: "plug it in, or name another: microphone.device",
    Cause.BUSY: "earmark hear may have it: stop that first, or look at earmark monitor",
    Cause.DENIED: "add this user to the group audio",
    Cause.CHANNEL: "channels count from 0: microphone.channel",
    Cause.RATE: "name another device: microphone.device",
    Cause.LIBRARY: "apt install libportaudio2",
    Cause.GONE: "look at dmesg: a weak power supply, a bad cable?",
    Cause.STALLED: "unplug it and plug it in again; look at dmesg",
    Cause.ZEROS: "are the switch's wires and the microphone's sound? a device that gives exact"
    " silence by design wants microphone.constant_s = 0",
}


@dataclass(slots=True)
class ProbeResult:
    """What came in a few seconds."""

    levels: LevelMeter = field(default_factory=LevelMeter)
    opened: OpenedRecord | None = None
    failed: FailedRecord | None = None
    was_muted: bool = False


def assess_levels(device: str, heard: ProbeResult) -> Finding:
    """Judge what an open microphone gave.

    Args:
        device: as the settings name it.
        heard: of it.
    """
    levels, check = heard.levels, Check("microphone")
    if heard.failed is not None or heard.was_muted or not levels.length_samples:
        cause = heard.failed.cause if heard.failed else Cause.STALLED
        if heard.was_muted:
            return check.warn("it was muted meanwhile")
        return check.fail(f"{device}: {CAUSES[cause]}", HINTS.get(cause, ""))
    share = levels.clipped_samples / levels.length_samples
    text, hint = "", ""
    if share > CLIPPED_SHARE:
        text, hint = "it is too loud; ", "turn its gain down: alsamixer"
    elif levels.floor_dbfs > LOUD_FLOOR_DBFS:
        text, hint = "it is noisy; ", "turn its gain down, or look for what hums"
    elif levels.level_dbfs < FAINT_DBFS:
        text, hint = "hardly anything is heard; ", "turn its gain up: alsamixer; say something"
    return check.finding(
        "warn" if text else "ok",
        f"{text}level {levels.level_dbfs:.0f} dBFS, peak {levels.peak_dbfs:.0f},"
        f" noise floor {levels.floor_dbfs:.0f}, {100 * share:.2g} % clipped,"
        f" in {levels.length_samples / SAMPLE_RATE_HZ:.1f} s",
        hint,
        level_dbfs=round(levels.level_dbfs, 1),
        peak_dbfs=round(levels.peak_dbfs, 1),
        floor_dbfs=round(levels.floor_dbfs, 1),
        clipped_samples=levels.clipped_samples,
        length_samples=levels.length_samples,
        rate_hz=heard.opened.rate_hz if heard.opened else 0,
    )


def assess_proof(heard: ProbeResult) -> Finding:
    """Judge what a microphone gave while the switch in hardware said muted.

    Args:
        heard: of it.
    """
    cause = heard.failed.cause if heard.failed else None
    levels = heard.levels
    check = Check("proof", {"contradiction": False})
    if heard.was_muted:
        return check.fail("the switch was released meanwhile", "try again")
    if cause in (Cause.MISSING, Cause.GONE):
        return check.ok("there is no device while the switch is shut")
    if cause is not None or not levels.length_samples:
        why = cause or Cause.STALLED
        return check.fail(f"it cannot be tried: {CAUSES[why]}", HINTS.get(why, ""))
    if levels.is_constant:
        return check.ok("the switch cuts the microphone: its samples never change")
    level = f"{levels.level_dbfs:.0f} dBFS while the switch is shut"
    if levels.level_dbfs > FAINT_DBFS:
        return check.fail(
            f"THE SWITCH DOES NOT CUT THE MICROPHONE: {level}",
            "hear stays muted; mend the switch, then earmark mute clear-fault",
            contradiction=True,
        )
    return check.warn(
        f"{level}: a converter's noise, or a live microphone in a silent room",
        "speak while it is tried",
    )


def report_mute(mute: MuteController, switch: Switch, lasting: MuteFiles) -> Finding:
    """Say what mutes, if anything does, and what to do about it.

    Args:
        mute: as hear would ask it; it was asked already.
        switch: in hardware, or what stands in where none is fitted.
        lasting: where faults are written down.
    """
    check = Check("mute", {"switch": mute.about, "cause": mute.cause})
    about = "no mute switch is fitted" if mute.about == "none" else f"switch: {mute.about}"
    match mute.cause:
        case "fault":
            try:
                fault = lasting.fault.read()
            except EarmarkError as error:
                return check.fail_with(error)
            reason = REASONS[fault.reason] if fault and fault.reason else "a fault"
            return check.fail(f"{about}; muted: {reason}", "mend it, then earmark mute clear-fault")
        case "software":
            return check.warn(f"{about}; muted by software", "earmark mute off")
        case "hardware":
            if isinstance(switch, LineSwitch) and not switch.is_read:
                return check.fail(
                    f"{about}; it cannot be read, so this is muted", "earmark mute status says why"
                )
            return check.warn(f"{about}; it is shut")
        case _:
            verdict: Verdict = "warn" if mute.about == "none" else "ok"
            return check.finding(verdict, f"{about}; open")


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
            yield Check("mute").fail_with(error)
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
