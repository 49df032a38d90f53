"""What a few seconds of sound, and the mute, say about this device, in words and numbers."""

from dataclasses import dataclass, field
from typing import Final

from listener.audio.level import LevelMeter
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import EarmarkError
from listener.hear.microphone.records import Cause, FailedRecord, OpenedRecord
from listener.hear.mute.lasting import REASONS, MuteFiles
from listener.hear.mute.muting import MuteController
from listener.hear.mute.switch import Switch
from listener.hear.mute.switches import LineSwitch
from listener.hear.wording import CAUSES
from listener.system.findings import Check, Finding, Verdict

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
    return check.found(
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
                return check.failed(error)
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
            return check.found(verdict, f"{about}; open")
