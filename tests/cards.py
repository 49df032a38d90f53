"""Sound cards without hardware: ALSA plug-ins, described in a configuration file."""

from pathlib import Path

VARIABLE = "ALSA_CONFIG_PATH"


def of_file(sound: Path) -> str:
    """A card that plays raw int16 at once, over and over its end; or a FIFO, as it is written.

    Into a FIFO, write whole frames: with less, ALSA fills up what it reads with something older.
    """
    return f'type file; slave.pcm "null"; file "/dev/null"; infile "{sound}"; format raw'


SILENT = "type null"
"""A card whose samples are all zero."""


def write_settings(folder: Path, **cards: str) -> str:
    """Describe cards by their names; return what `VARIABLE` must say."""
    settings = folder / "asoundrc"
    pcms = "".join(f"pcm.{name} {{ {card} }}\n" for name, card in cards.items())
    settings.write_text(f"</usr/share/alsa/alsa.conf>\n{pcms}", "utf-8")
    return str(settings)
