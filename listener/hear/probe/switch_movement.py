"""Check of the mute switch's line: wait until a person moves it both ways; records nothing."""

import select
import time
from collections.abc import Callable, Sequence
from typing import Final

from listener.config import MuteSettings
from listener.errors import EarmarkError
from listener.hear.hardware import build_switch
from listener.hear.mute.switch import LineSwitch
from listener.system.findings import Check, Finding

PATIENCE_S: Final = 20.0
"""Time limit for each movement, in seconds."""
_TURN_S: Final = 0.1
_SWITCH: Final = Check("switch")

Wait = Callable[[Sequence[int], float], object]
"""Waits until one of the descriptors is readable, or for so many seconds."""


def check_switch(settings: MuteSettings) -> Finding:
    """Open the fitted switch and wait until a person moves it both ways.

    Args:
        settings: names the switch.
    """
    try:
        switch = build_switch(settings, is_live=True, monotonic_s=time.monotonic)
    except EarmarkError as error:
        return _SWITCH.fail_with(error)
    if not isinstance(switch, LineSwitch):
        return _SWITCH.fail("no mute switch is fitted", "set mute.switch")
    try:
        return wait_for_switch(switch, time.monotonic, _wait)
    finally:
        switch.close()


def wait_for_switch(
    switch: LineSwitch,
    monotonic_s: Callable[[], float],
    wait: Wait,
    patience_s: float = PATIENCE_S,
) -> Finding:
    """Wait until the switch has been moved to its other position and back.

    Args:
        switch: the switch's line.
        monotonic_s: a clock in seconds that never goes back.
        wait: waits for an edge of the line, or a time.
        patience_s: time limit for each movement, in seconds.
    """
    was_muted = _read_position(switch)
    delays_s = []
    for _ in range(2):
        start_s = monotonic_s()
        while (is_muted := _read_position(switch)) == was_muted:
            if not switch.is_read:
                return _SWITCH.fail(
                    "it cannot be read, so the device is muted", "earmark mute status"
                )
            if monotonic_s() - start_s >= patience_s:
                position = "muted" if was_muted else "open"
                return _SWITCH.fail(
                    f"no movement was detected: it stayed {position} for {patience_s:.0f} s",
                    "check the sense wire by the checklist in docs/guides/mute-switch.md",
                )
            wait(switch.filenos(), _TURN_S)
        if not switch.is_read:
            return _SWITCH.fail("its line was lost during the check", "earmark mute status")
        delays_s.append(monotonic_s() - start_s)
        was_muted = is_muted
    first, second = ("open", "muted") if was_muted else ("muted", "open")
    return _SWITCH.ok(f"{first} after {delays_s[0]:.1f} s, {second} after {delays_s[1]:.1f} s more")


def _read_position(switch: LineSwitch) -> bool:
    """Return the present position; the first read also covers the time since the last one."""
    switch.is_muted(0)
    return switch.is_muted(0)


def _wait(descriptors: Sequence[int], longest_s: float) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll(longest_s * 1000)
