"""Checks of sound cards, the lamp and the microphone.

Cards and lamp are only looked up, not opened: hear may be using them. The microphone is checked by
the probe process, which has no network.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from listener.config import Config, LampSettings
from listener.system.findings import LONGEST_BYTES, Check, Finding, from_json
from listener.system.sound_cards import capture_cards, other_cards

COMMAND: Final = (sys.executable, "-P", "-m", "listener.hear.probe.probe_process")
"""Command line of the probe process."""
LONGEST_PROBE_S: Final = 300.0
"""Seconds after which the probe process is killed; the owner has a minute to move the switch."""
_CARD_NODE: Final = Path("proc") / "device-tree" / "earmark-card"


def check_cards(root: Path, config: Config) -> Finding:
    """List the capture cards, and those that are not the configured microphone.

    Args:
        root: root of the file system.
        config: names the microphone and the mute switch.
    """
    cards = capture_cards(root)
    names = ", ".join(map(str, cards))
    if config.microphone.files:
        return Check("card").not_here("not needed: recordings are configured")
    if not cards:
        if (root / _CARD_NODE).is_dir():
            return Check("card").fail(
                "no driver is bound to the card of the device tree overlay",
                "run: dmesg | grep -i -e asoc -e i2s",
            )
        return Check("card").warn(
            "there is no sound card with a microphone",
            "connect one; a muted USB microphone does not appear here, which is expected",
        )
    others = other_cards(cards, config.microphone.device)
    check = Check("card", {"cards": len(cards), "others": len(others)})
    has_switch = config.mute.switch in ("input", "gpio")
    if not others:
        return check.ok(f"{names}, and no other")
    rest = ", ".join(map(str, others))
    if not has_switch:
        text = f"{names}; an intruder on this device could record from any of them"
        is_named = len(others) < len(cards)
        return check.warn(text, "" if is_named else "set microphone.device to one of them")
    refuses = config.mute.other_microphones == "refuse"
    return check.finding(
        "fail" if refuses else "warn",
        f"the switch does not cut {rest}" + ("; hear does not start" if refuses else ""),
        "unplug it, or set microphone.device to the card that the switch cuts",
    )


def check_lamp(root: Path, settings: LampSettings) -> Finding:
    """Check that the lamp's device exists and that this user may use it.

    Args:
        root: root of the file system.
        settings: of the lamp.
    """
    if settings.kind == "none":
        return Check("lamp").not_here(
            "none configured; a lamp in the switch's circuit needs no software"
        )
    device = settings.chip if settings.kind == "gpio" else settings.device
    path = root / device.lstrip("/")
    if not path.exists():
        return Check("lamp").fail(
            f"{settings.kind}: there is no {device}",
            "correct lamp.chip" if settings.kind == "gpio" else "add dtparam=spi=on to config.txt",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return Check("lamp").warn(
            f"{settings.kind}: this user may not use {device}",
            "run doctor as the user that runs hear, and add DeviceAllow= to its service",
        )
    return Check("lamp").ok(f"{settings.kind}, on {device}; it flashes every 3 s while muted")


def check_microphone(
    config: Config,
    *,
    prove_mute: bool,
    throw_switch: bool = False,
    command: Sequence[str] = COMMAND,
) -> Iterator[Finding]:
    """Run the probe process and yield its findings as they arrive.

    Args:
        config: the configuration that hear would use.
        prove_mute: test that the switch cuts the microphone.
        throw_switch: only wait until the owner moves the switch.
        command: starts the process.
    """
    words = [*command]
    words += ["--throw-switch"] if throw_switch else ["--prove-mute"] if prove_mute else []
    with subprocess.Popen(  # noqa: S603 - this interpreter on a module that the caller names
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # ALSA writes long messages there, about devices that are not configured.
        stderr=subprocess.DEVNULL,
        # No threads before its sandbox, as in hear.
        env={"OPENBLAS_NUM_THREADS": "1", **os.environ},
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process has no pipes")
        # A probe that hangs in a driver must not stop the doctor.
        limit = threading.Timer(LONGEST_PROBE_S, process.kill)
        limit.daemon = True
        limit.start()
        try:
            process.stdin.write(msgspec.json.encode(config))
            process.stdin.close()
        except BrokenPipeError:
            pass  # It ended at once; its output and exit code are read below.
        try:
            while line := process.stdout.readline(LONGEST_BYTES + 1):
                yield from_json(line)
        except ValueError:
            process.kill()
        finally:
            limit.cancel()
    if process.returncode:
        yield Check("microphone").fail(
            "the probe process failed", "run earmark hear --verbose to see the cause"
        )
