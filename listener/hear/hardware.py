"""Mute switch and LED of this device, built from its configuration."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from listener.config import Config, LampSettings, MuteSettings
from listener.errors import ConfigError
from listener.hear.indicators.led import Lamp, Light, NoLamp, PatternLamp, open_row
from listener.hear.landlock import LandlockPaths, paths_for
from listener.hear.mute.controller import MuteController, RequestSource
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
from listener.spool.ledger import KernelClock
from listener.system.sound_cards import SoundCard, capture_cards, other_cards

_INPUTS: Final = Path("/dev/input")

_log = logging.getLogger(__name__)


def build_mute(
    settings: Config,
    home: Path,
    requests: RequestSource,
    script: str | None,
    announce: Callable[[bytes, bytes], object],
) -> MuteController:
    """Return the mute controller: the switch, the mute files of the home, and requests.

    Args:
        settings: configuration of switch and microphone.
        home: data directory.
        requests: control socket that receives mute requests.
        script: mute intervals of a recording, which replace a real switch; None for a real switch.
        announce: as for `MuteController`.

    Raises:
        UsageError: the script is invalid.
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
        boot_clock=KernelClock(),
        announce=announce,
    )


def build_switch(
    settings: MuteSettings, *, is_live: bool, monotonic_s: Callable[[], float]
) -> Switch:
    """Return the mute switch, without opening it.

    Args:
        settings: configuration of the switch.
        is_live: True for a live microphone. A recording needs no switch.
        monotonic_s: monotonic clock, in seconds.

    Raises:
        ConfigError: the microphone is live and mute.switch is not set.
    """
    if settings.switch is None and is_live:
        raise ConfigError(
            "mute.switch is not set, and a live microphone requires it",
            'set mute.switch to "input" or "gpio", or to "none" for a device without a switch',
        )
    if settings.switch in (None, "none"):
        if is_live:
            _log.warning(
                "no mute switch (mute.switch is none): only software can mute this microphone,"
                " and an attacker who controls this device can unmute it"
            )
        return NoSwitch()
    return LineSwitch(settings.switch, partial(open_line, settings), monotonic_s)


def build_checked_switch(
    settings: Config, cards: Sequence[SoundCard], *, monotonic_s: Callable[[], float]
) -> Switch:
    """Return the mute switch, after checking that it mutes every capture card.

    Args:
        settings: configuration of switch and microphone.
        cards: capture cards of this machine.
        monotonic_s: monotonic clock, in seconds.

    Raises:
        ConfigError: as `build_switch` and `require_full_cover` do.
    """
    is_live = not settings.microphone.files
    switch = build_switch(settings.mute, is_live=is_live, monotonic_s=monotonic_s)
    require_full_cover(settings, cards)
    return switch


def require_full_cover(settings: Config, cards: Sequence[SoundCard]) -> None:
    """Check that the mute switch mutes every capture card.

    Args:
        settings: configuration of switch and microphone.
        cards: capture cards of this machine.

    Raises:
        ConfigError: the device has a switch, and a capture card that the switch does not mute.
    """
    if settings.mute.switch in (None, "none") or settings.microphone.files:
        return
    others = other_cards(cards, settings.microphone.device)
    if not others:
        return
    names = ", ".join(map(str, others))
    if settings.mute.other_microphones == "refuse":
        raise ConfigError(
            f"the mute switch does not mute every microphone of this device: {names}",
            "unplug it; or set microphone.device to the card that the switch mutes; or set"
            ' mute.other_microphones to "allow"',
        )
    _log.warning("the mute switch does not mute every microphone of this device: %s", names)


def open_line(settings: MuteSettings) -> Line:
    """Open the line of the configured mute switch.

    Raises:
        Unavailable: the line cannot be opened now.
        OSError: the line cannot be opened now.
    """
    if settings.switch == "input":
        return open_input(settings.input or "", _INPUTS, KernelInputNode())
    from listener.hear import gpio  # noqa: PLC0415 - 1.4 MiB, needed for a GPIO line only

    return gpio.open_switch(
        settings.chip, _line(settings.line), settings.shut_level, settings.debounce_ms
    )


def build_lamp(settings: LampSettings, monotonic_s: Callable[[], float]) -> Lamp:
    """Return the LED, without opening it."""
    if settings.kind == "none":
        return NoLamp()
    return PatternLamp(partial(_open_light, settings), monotonic_s)


def _open_light(settings: LampSettings) -> Light:
    if settings.kind == "apa102":
        return open_row(settings.device, settings.leds, settings.brightness)
    from listener.hear import gpio  # noqa: PLC0415 - an apa102 needs no libgpiod

    return gpio.open_led(settings.chip, _line(settings.line), settings.lit_level)


def _line(line: int | str | None) -> int | str:
    if line is None:
        raise ConfigError("the GPIO line is not set")  # the configuration's own check comes first
    return line


def landlock_paths(settings: Config, *change: Path) -> LandlockPaths:
    """Return the files that hear or survey needs with this configuration.

    Args:
        settings: the configuration, with the arguments applied.
        change: further folders to write in.
    """
    devices = (settings.lamp.device, settings.mute.input, settings.mute.chip)
    return paths_for(
        Path(settings.home),
        os.environ,
        read=settings.microphone.files,
        use=[name for name in devices if name and name.startswith("/dev/")],
        change=change,
    )
