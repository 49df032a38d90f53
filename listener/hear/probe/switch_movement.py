"""Throw the mute switch on purpose: does this machine notice? Nothing is listened to."""

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
"""For a hand to find the switch, each way."""
_TURN_S: Final = 0.1
_SWITCH: Final = Check("switch")

Wait = Callable[[Sequence[int], float], object]
"""Waits until one of the descriptors can be read, or for so many seconds."""


def check_switch(settings: MuteSettings) -> Finding:
    """Wait for a hand to throw the fitted switch to and fro.

    Args:
        settings: which switch it is.
    """
    try:
        switch = build_switch(settings, is_live=True, monotonic_s=time.monotonic)
    except EarmarkError as error:
        return _SWITCH.fail_with(error)
    if not isinstance(switch, LineSwitch):
        return _SWITCH.fail("no switch is fitted, so there is nothing to throw", "mute.switch")
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
    """Wait until the switch has been in its other position, and back.

    Args:
        switch: the line of the kernel.
        monotonic_s: a clock in seconds that never goes back.
        wait: waits for the line, or a while.
        patience_s: for each way.
    """
    was_shut = _position(switch)
    took_s = []
    for _ in range(2):
        began_s = monotonic_s()
        while (is_shut := _position(switch)) == was_shut:
            if not switch.is_read:
                return _SWITCH.fail("it cannot be read, so this is muted", "earmark mute status")
            if monotonic_s() - began_s >= patience_s:
                stays = "shut" if was_shut else "open"
                return _SWITCH.fail(
                    f"it stayed {stays} for {patience_s:.0f} s",
                    "was it thrown? docs/guides/mute-switch.md has a checklist for the sense wire",
                )
            wait(switch.filenos(), _TURN_S)
        if not switch.is_read:
            return _SWITCH.fail("its line was lost meanwhile", "earmark mute status")
        took_s.append(monotonic_s() - began_s)
        was_shut = is_shut
    ways = ("open", "shut") if was_shut else ("shut", "open")
    return _SWITCH.ok(f"{ways[0]} after {took_s[0]:.1f} s, {ways[1]} after {took_s[1]:.1f} s more")


def _position(switch: LineSwitch) -> bool:
    """Return where it stands: the first answer is about the time since the last one."""
    switch.is_muted(0)
    return switch.is_muted(0)


def _wait(descriptors: Sequence[int], longest_s: float) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll(longest_s * 1000)
