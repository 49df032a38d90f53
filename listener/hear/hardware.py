"""What is fitted to this device, as the settings say: the mute switch and the lamp."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from listener.config import Config, LampSettings, MuteSettings
from listener.errors import ConfigError
from listener.hear.indicators.led import Lamp, Light, NoLamp, PatternLamp, open_row
from listener.hear.mute.controller import MuteController
from listener.hear.mute.evdev import KernelInputNode, open_input
from listener.hear.mute.state import MuteFiles
from listener.hear.mute.switch import (
    Line,
    LineSwitch,
    NoSwitch,
    ScriptedSwitch,
    Switch,
    parse_mute_intervals,
)
from listener.ipc.control import ControlSocket
from listener.system.sound_cards import SoundCard, capture_cards, other_cards

_INPUTS: Final = Path("/dev/input")

_log = logging.getLogger(__name__)


def build_mute(
    settings: Config, home: Path, requests: ControlSocket, script: str | None
) -> MuteController:
    """Return everything that mutes: the switch, the files of the home, and requests.

    Args:
        settings: which switch, which microphone.
        home: the installation's folder.
        requests: where anybody may ask to mute.
        script: of a recording, when a switch is thrown instead of one that is fitted.

    Raises:
        UsageError: the script cannot be read.
        ConfigError: as `build_checked_switch`.
    """
    switch = (
        ScriptedSwitch(parse_mute_intervals(script))
        if script
        else build_checked_switch(settings, capture_cards(), monotonic_s=time.monotonic)
    )
    return MuteController(
        switch,
        MuteFiles(home),
        requests,
        remote_unmute=settings.mute.remote_unmute,
        now=partial(datetime.now, UTC),
        monotonic_s=time.monotonic,
    )


def build_switch(
    settings: MuteSettings, *, is_live: bool, monotonic_s: Callable[[], float]
) -> Switch:
    """Return the mute switch. Nothing is opened yet.

    Args:
        settings: which it is.
        is_live: whether a room is heard. A recording needs no switch.
        monotonic_s: a clock in seconds that never goes back.

    Raises:
        ConfigError: a room is to be heard, and nobody has said whether there is a switch.
    """
    if settings.switch is None and is_live:
        raise ConfigError(
            "a live microphone needs to know its mute switch, and mute.switch is not set",
            'mute.switch is "input" or "gpio" for a switch that is fitted,'
            ' or "none" where there is none',
        )
    if settings.switch in (None, "none"):
        if is_live:
            _log.warning(
                "no mute switch is fitted (mute.switch is none): what can mute this microphone"
                " is software alone, and whoever takes over this device can take that back"
            )
        return NoSwitch()
    return LineSwitch(settings.switch, partial(open_line, settings), monotonic_s)


def build_checked_switch(
    settings: Config, cards: Sequence[SoundCard], *, monotonic_s: Callable[[], float]
) -> Switch:
    """Return the mute switch, once it is sure that it cuts all there is that could hear.

    Args:
        settings: which switch, which microphone.
        cards: the machine's cards that can hear.
        monotonic_s: a clock in seconds that never goes back.

    Raises:
        ConfigError: as `build_switch` and `require_full_cover` do.
    """
    is_live = not settings.microphone.files
    switch = build_switch(settings.mute, is_live=is_live, monotonic_s=monotonic_s)
    require_full_cover(settings, cards)
    return switch


def require_full_cover(settings: Config, cards: Sequence[SoundCard]) -> None:
    """Make sure that the switch cuts all there is that could hear.

    Args:
        settings: which switch, which microphone.
        cards: the machine's cards that can hear.

    Raises:
        ConfigError: a switch is fitted, and there is a card that it does not cut.
    """
    if settings.mute.switch in (None, "none") or settings.microphone.files:
        return
    others = other_cards(cards, settings.microphone.device)
    if not others:
        return
    named = ", ".join(map(str, others))
    if settings.mute.other_microphones == "refuse":
        raise ConfigError(
            f"the switch does not cut every microphone of this device: {named}",
            "unplug it; or microphone.device names the card that the switch cuts; or"
            ' mute.other_microphones = "allow"',
        )
    _log.warning("the switch does not cut every microphone of this device: %s", named)


def open_line(settings: MuteSettings) -> Line:
    """Open the line of the switch that is fitted.

    Raises:
        Unavailable: that cannot be done now.
        OSError: the same.
    """
    if settings.switch == "input":
        return open_input(settings.input or "", _INPUTS, KernelInputNode())
    from listener.hear import gpio  # noqa: PLC0415 - 1.4 MiB that only a GPIO line needs

    return gpio.open_switch(
        settings.chip, _line(settings.line), settings.shut_level, settings.debounce_ms
    )


def build_lamp(settings: LampSettings, monotonic_s: Callable[[], float]) -> Lamp:
    """Return the lamp. Nothing is opened yet."""
    if settings.kind == "none":
        return NoLamp()
    return PatternLamp(partial(_open_light, settings), monotonic_s)


def _open_light(settings: LampSettings) -> Light:
    if settings.kind == "apa102":
        return open_row(settings.device, settings.leds, settings.brightness)
    from listener.hear import gpio  # noqa: PLC0415 - an apa102 is lit without libgpiod

    return gpio.open_led(settings.chip, _line(settings.line), settings.lit_level)


def _line(line: int | str | None) -> int | str:
    if line is None:
        raise ConfigError("there is no GPIO line in the settings")  # config refuses that before
    return line
