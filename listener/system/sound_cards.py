"""Sound cards with a capture device, read from ``/proc/asound``.

PortAudio opens each device to list it. This opens none, so it may run while hear records.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ALIASES: Final[Mapping[str, str]] = {"earmark_microphone": "earmark"}
"""ALSA devices defined by ``firmware/alsa``, and the card of each."""

_CARD: Final = re.compile(r" *(\d+) \[([^\]]*)\]: *(.*)")
_CAPTURE_PCM: Final = re.compile(r"pcm\d+c")
_HARDWARE: Final = re.compile(r"\bhw:(\d+)")


@dataclass(frozen=True, slots=True)
class SoundCard:
    """Sound card with at least one capture device."""

    number: int
    """ALSA card number; it may change when a card is plugged in."""
    id: str
    """ALSA card id, as in ``hw:CARD=id``."""
    names: tuple[str, ...]
    """Other names of the kernel: driver and name, and bus position."""

    def __str__(self) -> str:
        """Return id and name."""
        return f"{self.id} ({self.names[0]})" if self.names else self.id


def capture_cards(root: Path = Path("/")) -> tuple[SoundCard, ...]:
    """Return the cards with a capture device, by number; none without ALSA.

    Args:
        root: root of the file system.
    """
    asound = root / "proc" / "asound"
    try:
        lines = (asound / "cards").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    cards = []
    for at, line in enumerate(lines):
        if (match := _CARD.fullmatch(line)) is None:
            continue
        number = int(match[1])
        where = lines[at + 1].strip() if at + 1 < len(lines) else ""
        if _can_capture(asound / f"card{number}"):
            names = tuple(dict.fromkeys(name for name in (match[3].strip(), where) if name))
            cards.append(SoundCard(number, match[2].strip(), names))
    return tuple(cards)


def other_cards(cards: Sequence[SoundCard], wanted: str) -> tuple[SoundCard, ...]:
    """Return the cards that a mute switch on the configured card does not cut.

    All of them where ``wanted`` does not name exactly one card.

    Args:
        cards: all cards with a capture device.
        wanted: ``microphone.device``: ``default``, an index of PortAudio, or part of a name.
    """
    matches = [card for card in cards if _matches(card, wanted)]
    if wanted == "default" or wanted.isdecimal():
        matches = list(cards)
    return tuple(card for card in cards if [card] != matches)


def _can_capture(folder: Path) -> bool:
    try:
        return any(_CAPTURE_PCM.fullmatch(each.name) for each in folder.iterdir())
    except OSError:
        return False


def _matches(card: SoundCard, wanted: str) -> bool:
    if wanted in ALIASES:
        return card.id == ALIASES[wanted]
    if match := _HARDWARE.search(wanted):
        return card.number == int(match[1])
    # PortAudio appends the device's name to the card's, after a colon.
    part = wanted.casefold().partition(":")[0]
    return any(part in name.casefold() for name in (card.id, *card.names))
