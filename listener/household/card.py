"""The file by which a speaker without keyboard joins: put on its card, and taken in from there.

What takes it in is ``earmark first-boot``; docs/guides/first-boot.md has the whole road.
"""

import os
from pathlib import Path
from typing import Final

from listener.errors import Unavailable, UsageError
from listener.owner.records import Owner

NAME: Final = "earmark.toml"


def card_text(line: str, keeper: Owner | None) -> str:
    """Return what the file says.

    Args:
        line: invites the speaker.
        keeper: whose clips it is to make, once she has proved her key to it.
    """
    text = f'[household]\nline = "{line}"\n'
    if keeper is not None:
        # From the roster and not retyped: what is proved again there is a slip less here.
        text += f'\n[owner]\nname = "{keeper.name}"\nkey = "{keeper.recipient}"\n'
    return text


def check_card(folder: Path) -> None:
    """See that a card is there, and that nothing on it is in the way.

    Raises:
        UsageError: it is not so.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}", "the card's boot partition, where it is mounted"
        )
    if (folder / NAME).exists():
        raise UsageError(
            f"{folder / NAME} is there already", "remove it, or add to it by hand what it lacks"
        )


def write_card(folder: Path, text: str) -> None:
    """Write the file, so that the card can be pulled out afterwards.

    Raises:
        Unavailable: it cannot be written.
    """
    try:
        with (folder / NAME).open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Unavailable(f"cannot write {folder / NAME}: {error.strerror}") from error
