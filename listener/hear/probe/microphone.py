"""Check of the microphone: record a few seconds as `earmark hear` would, and assess the levels.

It uses the same gate and the same mute as hear. Mute kills the microphone process, so hear cannot
detect sound while the switch says muted. With ``--prove-mute`` this module does: it records while
the switch is at MUTE, and a level above noise is a contradiction, which it stores as a fault.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
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
from listener.hear.mute.no_requests import NoRequests
from listener.hear.mute.state import REASONS, MuteFiles
from listener.hear.mute.switch import LineSwitch, Switch
from listener.ipc import hear_locks
from listener.spool.ledger import KernelClock
from listener.system.findings import Check, Finding, Verdict
from listener.system.systemd import StopSignal

LISTEN_S: Final = 3.0
"""Length of the recording, in seconds."""
PATIENCE_S: Final = 8.0
"""Time limit for the recording, in seconds; some devices open late or never."""
FAINT_DBFS: Final = -75.0
"""Level below which speech would not be understood, and noise resembles a silent room."""
LOUD_FLOOR_DBFS: Final = -35.0
"""Noise floor above which the microphone is too noisy."""
CLIPPED_SHARE: Final = 0.001
"""Share of clipped samples above which the microphone is too loud."""

HINTS: Final = {
    Cause.MISSING: "plug it in, or change microphone.device",
    Cause.BUSY: "stop earmark hear if it has the device, or run earmark monitor instead",
    Cause.DENIED: "add this user to the group audio",
    Cause.CHANNEL: "change microphone.channel, which counts from 0",
    Cause.RATE: "use another device: microphone.device",
    Cause.LIBRARY: "apt install libportaudio2",
    Cause.GONE: "check the cable and the power supply; see dmesg",
    Cause.STALLED: "unplug it and plug it in again; see dmesg",
    Cause.ZEROS: "check the wires of the switch and of the microphone; for a device that delivers"
    " exact silence by design set microphone.constant_s = 0",
}


@dataclass(slots=True)
class ProbeResult:
    """Levels and state of a microphone over a few seconds."""

    levels: LevelMeter = field(default_factory=LevelMeter)
    opened: OpenedRecord | None = None
    failed: FailedRecord | None = None
    was_muted: bool = False


def assess_levels(device: str, result: ProbeResult) -> Finding:
    """Return the finding for a microphone that was recorded unmuted.

    Args:
        device: its name in the configuration.
        result: levels and state of the recording.
    """
    levels, check = result.levels, Check("microphone")
    if result.failed is not None or result.was_muted or not levels.length_samples:
        cause = result.failed.cause if result.failed else Cause.STALLED
        if result.was_muted:
            return check.warn("muted during the check", "run earmark doctor again")
        return check.fail(f"{device}: {CAUSES[cause]}", HINTS.get(cause, ""))
    share = levels.clipped_samples / levels.length_samples
    text, hint = "", ""
    if share > CLIPPED_SHARE:
        text, hint = "too loud; ", "lower its gain with alsamixer"
    elif levels.floor_dbfs > LOUD_FLOOR_DBFS:
        text, hint = "too noisy; ", "lower its gain, or remove the source of the noise"
    elif levels.level_dbfs < FAINT_DBFS:
        text, hint = "too quiet; ", "raise its gain with alsamixer, and speak during the check"
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
        rate_hz=result.opened.rate_hz if result.opened else 0,
    )


def assess_proof(result: ProbeResult) -> Finding:
    """Return the finding for a microphone that was recorded while the switch said muted.

    Args:
        result: levels and state of the recording.
    """
    cause = result.failed.cause if result.failed else None
    levels = result.levels
    check = Check("proof", {"contradiction": False})
    if result.was_muted:
        return check.fail("the switch was released during the check", "run it again")
    if cause in (Cause.MISSING, Cause.GONE):
        return check.ok("there is no device while the switch is at MUTE")
    if cause is not None or not levels.length_samples:
        failure = cause or Cause.STALLED
        return check.fail(f"the check failed: {CAUSES[failure]}", HINTS.get(failure, ""))
    if levels.is_constant:
        return check.ok("the switch cuts the microphone: its samples never change")
    level = f"{levels.level_dbfs:.0f} dBFS while the switch is at MUTE"
    if levels.level_dbfs > FAINT_DBFS:
        return check.fail(
            f"THE SWITCH DOES NOT CUT THE MICROPHONE: {level}",
            "repair the switch, then run earmark mute clear-fault; hear stays muted until then",
            contradiction=True,
        )
    return check.warn(
        f"{level}: converter noise, or a live microphone in a silent room",
        "run it again and speak meanwhile",
    )


def report_mute(mute: MuteController, switch: Switch, files: MuteFiles) -> Finding:
    """Return the finding for the mute state.

    Args:
        mute: controller as in hear, after a call of `is_muted`.
        switch: hardware switch, or its stand-in where none is fitted.
        files: stored mute state and fault.
    """
    check = Check("mute", {"switch": mute.about, "cause": mute.cause})
    about = "no mute switch is fitted" if mute.about == "none" else f"switch: {mute.about}"
    match mute.cause:
        case "fault":
            try:
                fault = files.fault.read()
            except EarmarkError as error:
                return check.fail_with(error)
            reason = REASONS[fault.reason] if fault and fault.reason else "a fault"
            return check.fail(
                f"{about}; muted: {reason}", "repair it, then run earmark mute clear-fault"
            )
        case "software":
            return check.warn(f"{about}; muted by software", "earmark mute off")
        case "hardware":
            if isinstance(switch, LineSwitch) and not switch.is_read:
                return check.fail(
                    f"{about}; it cannot be read, so the device is muted", "earmark mute status"
                )
            return check.warn(f"{about}; at MUTE")
        case _:
            verdict: Verdict = "warn" if mute.about == "none" else "ok"
            return check.finding(verdict, f"{about}; not muted")


def probe_microphone(settings: config.Config, *, prove_mute: bool) -> Iterator[Finding]:
    """Yield findings for mute and microphone; a muted microphone is not recorded.

    Args:
        settings: the configuration that hear would use.
        prove_mute: record *because* the hardware switch says muted, to check that it cuts the
            microphone.
    """
    with contextlib.ExitStack() as closing:
        files = MuteFiles(Path(settings.home))
        try:
            switch = build_switch(settings.mute, is_live=True, monotonic_s=time.monotonic)
        except EarmarkError as error:
            yield Check("mute").fail_with(error)
            return
        if isinstance(switch, LineSwitch):
            closing.callback(switch.close)
        requests = NoRequests()
        closing.callback(requests.close)
        mute = MuteController(
            switch,
            files,
            requests,
            remote_unmute=False,
            now=partial(datetime.now, UTC),
            monotonic_s=time.monotonic,
            boot_clock=KernelClock(),
        )
        is_muted = mute.is_muted(0)
        yield report_mute(mute, switch, files)
        if prove_mute and isinstance(switch, LineSwitch):
            yield prove_switch_cuts_microphone(settings.microphone, switch, files)
        elif prove_mute:
            yield Check("proof").fail("no mute switch is fitted", "set mute.switch")
        elif is_muted:
            yield Check("microphone").warn(
                "not recorded while muted",
                "unmute it, or check with --prove-mute that the switch cuts it",
            )
        else:
            # `earmark mute` waits for this microphone too. Nothing is created here.
            home = Path(settings.home)
            can_lock = os.access(home / hear_locks.FILE, os.R_OK)
            lock = partial(hear_locks.lock_microphone, home) if can_lock else None
            result = listen(settings.microphone, mute, lock=lock)
            yield assess_levels(settings.microphone.device, result)


def listen(
    settings: config.MicrophoneSettings,
    switch: Switch,
    listen_s: float = LISTEN_S,
    patience_s: float = PATIENCE_S,
    lock: Callable[[], int] | None = None,
) -> ProbeResult:
    """Record a few seconds through the gate; end early when it is muted or fails.

    Args:
        settings: device to open.
        switch: mutes the gate.
        listen_s: length of the recording, in seconds.
        patience_s: time limit, in seconds.
        lock: as for `listen_to_device`.

    Returns:
        Levels and state; no sound is kept.
    """
    result, stop = ProbeResult(), StopSignal()

    def note_state(state: OpenedRecord | FailedRecord) -> None:
        if isinstance(state, OpenedRecord):
            result.opened = state
        else:
            result.failed = state
            stop.request()

    gate = listen_to_device(
        settings,
        switch=switch,
        stop=stop,
        tell=note_state,
        monotonic_s=time.monotonic,
        lock=lock,
    )
    deadline_s = time.monotonic() + patience_s
    for sound in gate.stream():
        if isinstance(sound, Frame):
            result.levels.push(sound.samples)
        elif sound.reason is GapReason.MUTED:
            result.was_muted = True
            stop.request()
        is_complete = result.levels.length_samples >= listen_s * SAMPLE_RATE_HZ
        if is_complete or time.monotonic() > deadline_s:
            stop.request()
    return result


def prove_switch_cuts_microphone(
    settings: config.MicrophoneSettings, switch: LineSwitch, files: MuteFiles
) -> Finding:
    """Record while the hardware switch says muted, and check that it cuts the microphone.

    A contradiction is stored as a fault: hear stays muted until a person clears it.

    Args:
        settings: device to open.
        switch: the hardware switch.
        files: where the fault is stored.
    """
    inverted = _InvertedSwitch(switch)
    if inverted.is_muted(0):
        return Check("proof").fail(
            "the switch is open; this check needs it at MUTE", "move it to MUTE and run it again"
        )
    # A constant signal is the expected result here, not a failure.
    finding = assess_proof(listen(msgspec.structs.replace(settings, constant_s=0), inverted))
    if finding.facts.get("contradiction"):
        try:
            files.set_fault(datetime.now(UTC), "sound-while-muted")
        except EarmarkError as error:
            hint = f"{finding.hint}; {error}"
            return msgspec.structs.replace(finding, hint=hint)
    return finding


class _InvertedSwitch:
    """Switch that is open only while the hardware switch says muted."""

    about = "reversed"

    def __init__(self, switch: LineSwitch) -> None:
        self._switch = switch

    def filenos(self) -> Sequence[int]:
        return self._switch.filenos()

    def is_muted(self, at_sample: int) -> bool:
        # A line that cannot be read counts as muted, but proves nothing about the microphone.
        return not self._switch.is_muted(at_sample) or not self._switch.is_read
