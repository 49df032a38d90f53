"""Checks of what ``earmark hear`` requires to start, without opening a device."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.config import Config
from listener.doctor import audio, boot, installation
from listener.inference.catalogue import Catalogue
from listener.storage.home import Home
from listener.system.findings import Check, Finding
from listener.system.sound_cards import capture_cards, other_cards

_ALSA_DEFAULT: Final = "default"


def check_startup(config: Config, root: Path) -> Iterator[Finding]:
    """Check mute switch, sound card, keeper, models and boot configuration.

    Args:
        config: the configuration that hear would use.
        root: root of the file system.
    """
    yield check_switch_setting(config)
    yield check_named_card(root, config)
    yield audio.check_cards(root, config)
    home = Home(Path(config.home))
    yield installation.check_keeper(home, config.attribution.keeper)
    yield installation.check_models(Catalogue(home.path), config.wake)
    yield boot.check_boot(root, config.mute)
    yield boot.check_overlay(root, config.mute)


def check_switch_setting(config: Config) -> Finding:
    """Check that the configuration says whether there is a mute switch.

    Args:
        config: names the mute switch and the microphone.
    """
    check = Check("switch")
    if config.mute.switch is None and not config.microphone.files:
        return check.fail(
            "mute.switch is not set, and a live microphone requires it",
            'set mute.switch to "input" with a switch, or to "none" without',
        )
    return check.ok(f"mute.switch is {config.mute.switch or 'not needed for recordings'}")


def check_named_card(root: Path, config: Config) -> Finding:
    """Check that ``microphone.device`` names one of the sound cards, if there are any.

    Args:
        root: root of the file system.
        config: names the microphone.
    """
    check, wanted = Check("card"), config.microphone.device
    cards = capture_cards(root)
    if config.microphone.files or not cards or wanted == _ALSA_DEFAULT or wanted.isdecimal():
        return check.ok("any sound card is used")
    if len(other_cards(cards, wanted)) == len(cards):
        return check.fail(
            f"microphone.device is {wanted}, which names none or several of the sound cards:"
            f" {', '.join(map(str, cards))}",
            "set microphone.device to part of one of these names",
        )
    return check.ok(f"microphone.device is {wanted}")
