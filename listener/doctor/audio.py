"""The cards that can hear, and whether the switch cuts all of them. Nothing is opened.

Whether the lamp's device is there for who runs this. It is not lit: hear may have it.

The microphone's part: looked at by a process of hear's own, which has no network.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from listener.config import Config, LampSettings
from listener.system.findings import LONGEST_BYTES, Check, Finding, from_json
from listener.system.sound_cards import capture_cards, other_cards

_CARD_NODE: Final = Path("proc") / "device-tree" / "earmark-card"


def check_cards(root: Path, settings: Config) -> Finding:
    """Name the cards, and those that are not the one which the settings mean.

    Args:
        root: of the machine's files.
        settings: which microphone, which switch.
    """
    cards = capture_cards(root)
    named = ", ".join(map(str, cards))
    if settings.microphone.files:
        return Check("card").ok("recordings stand in for one")
    if not cards:
        if (root / _CARD_NODE).is_dir():
            return Check("card").fail(
                "the overlay's card is not there: its driver did not take it",
                "dmesg | grep -i -e asoc -e i2s",
            )
        return Check("card").warn(
            "no sound card can hear",
            "a USB microphone whose switch is shut is not there, and that is well",
        )
    others = other_cards(cards, settings.microphone.device)
    check = Check("card", {"cards": len(cards), "others": len(others)})
    has_switch = settings.mute.switch in ("input", "gpio")
    if not others:
        return check.ok(f"{named}, and no other")
    rest = ", ".join(map(str, others))
    if not has_switch:
        text = f"{named}; any of them can be heard by who takes over this device"
        hint = "" if len(others) < len(cards) else "microphone.device names none of them"
        return check.warn(text, hint)
    refuses = settings.mute.other_microphones == "refuse"
    return check.finding(
        "fail" if refuses else "warn",
        f"the switch does not cut {rest}" + ("; hear does not start" if refuses else ""),
        "unplug it, or let microphone.device name the card that the switch cuts",
    )


def check_lamp(root: Path, settings: LampSettings) -> Finding:
    """Look at the device.

    Args:
        root: of the machine's files.
        settings: which lamp.
    """
    if settings.kind == "none":
        return Check("lamp").ok("none; the one in the switch's circuit needs no program")
    named = settings.chip if settings.kind == "gpio" else settings.device
    path = root / named.lstrip("/")
    if not path.exists():
        return Check("lamp").fail(
            f"{settings.kind}: there is no {named}",
            "lamp.chip" if settings.kind == "gpio" else "dtparam=spi=on in config.txt",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return Check("lamp").warn(
            f"{settings.kind}: this user may not use {named}",
            "run doctor as the user that runs hear; its service needs a DeviceAllow= for it",
        )
    return Check("lamp").ok(
        f"{settings.kind}, on {named}; it flashes shortly, every 3 s, while muted"
    )


COMMAND: Final = (sys.executable, "-P", "-m", "listener.hear.probe.probe_process")


def check_microphone(
    settings: Config,
    *,
    prove_mute: bool,
    throw_switch: bool = False,
    command: Sequence[str] = COMMAND,
) -> Iterator[Finding]:
    """Yield what that process finds, as it finds it.

    Args:
        settings: what hear would run with.
        prove_mute: whether to try that the switch cuts the microphone.
        throw_switch: whether to do nothing but wait for a hand to throw the switch.
        command: starts the process.
    """
    words = [*command]
    words += ["--throw-switch"] if throw_switch else ["--prove-mute"] if prove_mute else []
    with subprocess.Popen(  # noqa: S603 - this interpreter on a module that the caller names
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # ALSA explains itself there at length, about devices that nobody asked for.
        stderr=subprocess.DEVNULL,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a pipe that was asked for is not there")
        try:
            process.stdin.write(msgspec.json.encode(settings))
            process.stdin.close()
        except BrokenPipeError:
            pass  # It ended at once, and says below what it said.
        try:
            while line := process.stdout.readline(LONGEST_BYTES + 1):
                yield from_json(line)
        except ValueError:
            process.kill()
    if process.returncode:
        yield Check("microphone").fail(
            "the process that looks at it broke off", "earmark hear --verbose says more"
        )
