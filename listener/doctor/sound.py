"""The cards that can hear, and whether the switch cuts all of them. Nothing is opened."""

from pathlib import Path
from typing import Final

from listener.cards import hearing_cards, not_meant
from listener.config import Config
from listener.findings import Finding

_CARD_NODE: Final = Path("proc") / "device-tree" / "earmark-card"


def cards(root: Path, settings: Config) -> Finding:
    """Name the cards, and those that are not the one which the settings mean.

    Args:
        root: of the machine's files.
        settings: which microphone, which switch.
    """
    found = hearing_cards(root)
    named = ", ".join(map(str, found))
    if settings.microphone.files:
        return Finding(check="card", verdict="ok", text="recordings stand in for one")
    if not found:
        is_meant = (root / _CARD_NODE).is_dir()
        return Finding(
            check="card",
            verdict="fail" if is_meant else "warn",
            text="the overlay's card is not there: its driver did not take it"
            if is_meant
            else "no sound card can hear",
            hint="dmesg | grep -i -e asoc -e i2s"
            if is_meant
            else "a USB microphone whose switch is shut is not there, and that is well",
        )
    others = not_meant(found, settings.microphone.device)
    facts: dict[str, str | int | float | bool] = {"cards": len(found), "others": len(others)}
    has_switch = settings.mute.switch in ("input", "gpio")
    if not others:
        return Finding(check="card", verdict="ok", text=f"{named}, and no other", facts=facts)
    rest = ", ".join(map(str, others))
    if not has_switch:
        text = f"{named}; any of them can be heard by who takes over this device"
        hint = "" if len(others) < len(found) else "microphone.device names none of them"
        return Finding(check="card", verdict="warn", text=text, hint=hint, facts=facts)
    refuses = settings.mute.other_microphones == "refuse"
    return Finding(
        check="card",
        verdict="fail" if refuses else "warn",
        text=f"the switch does not cut {rest}" + ("; hear does not start" if refuses else ""),
        hint="unplug it, or let microphone.device name the card that the switch cuts",
        facts=facts,
    )
