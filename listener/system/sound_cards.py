"""Sound cards that can hear, as the kernel lists them; and which of them the settings mean.

PortAudio opens each device to list it; this opens nothing, so it may be asked while hear listens.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ALIASES: Final[Mapping[str, str]] = {"earmark_microphone": "earmark"}
"""ALSA's devices of ours (``firmware/alsa``), and the card that each stands for."""

_CARD: Final = re.compile(r" *(\d+) \[([^\]]*)\]: *(.*)")
_HEARS: Final = re.compile(r"pcm\d+c")
_HARDWARE: Final = re.compile(r"\bhw:(\d+)")


@dataclass(frozen=True, slots=True)
class SoundCard:
    """A sound card with at least one device that can be heard."""

    number: int
    """It may change when something is plugged in."""
    id: str
    """What ``hw:CARD=`` takes."""
    names: tuple[str, ...]
    """What else the kernel calls it: its driver and name, and where it sits."""

    def __str__(self) -> str:
        """Return what a person looks for."""
        return f"{self.id} ({self.names[0]})" if self.names else self.id


def capture_cards(root: Path = Path("/")) -> tuple[SoundCard, ...]:
    """Return the cards that can hear, by their number; none where there is no ALSA.

    Args:
        root: of the machine's files.
    """
    asound = root / "proc" / "asound"
    try:
        lines = (asound / "cards").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    cards = []
    for at, line in enumerate(lines):
        if (found := _CARD.fullmatch(line)) is None:
            continue
        number = int(found[1])
        where = lines[at + 1].strip() if at + 1 < len(lines) else ""
        if _can_capture(asound / f"card{number}"):
            names = tuple(dict.fromkeys(name for name in (found[3].strip(), where) if name))
            cards.append(SoundCard(number, found[2].strip(), names))
    return tuple(cards)


def other_cards(cards: Sequence[SoundCard], wanted: str) -> tuple[SoundCard, ...]:
    """Return the cards that are not the one which ``wanted`` names.

    A switch cuts the microphone that it is wired to; these are the others. All of them, where
    nobody can tell which is meant.

    Args:
        cards: all that can hear.
        wanted: ``microphone.device``: ``default``, PortAudio's index, or part of a name.
    """
    meant = [card for card in cards if _matches(card, wanted)]
    if wanted == "default" or wanted.isdecimal():
        meant = list(cards)
    return tuple(card for card in cards if [card] != meant)


def _can_capture(folder: Path) -> bool:
    try:
        return any(_HEARS.fullmatch(each.name) for each in folder.iterdir())
    except OSError:
        return False


def _matches(card: SoundCard, wanted: str) -> bool:
    if wanted in ALIASES:
        return card.id == ALIASES[wanted]
    if numbered := _HARDWARE.search(wanted):
        return card.number == int(numbered[1])
    # PortAudio adds the device's name to the card's, behind a colon.
    part = wanted.casefold().partition(":")[0]
    return any(part in name.casefold() for name in (card.id, *card.names))
