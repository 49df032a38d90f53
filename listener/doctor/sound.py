"""The cards that can hear, and whether the switch cuts all of them. Nothing is opened."""

from pathlib import Path
from typing import Final

from listener.config import Config
from listener.system.findings import Check, Finding
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
    return check.found(
        "fail" if refuses else "warn",
        f"the switch does not cut {rest}" + ("; hear does not start" if refuses else ""),
        "unplug it, or let microphone.device name the card that the switch cuts",
    )
