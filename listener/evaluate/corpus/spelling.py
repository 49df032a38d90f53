"""File names in another Unicode normal form than a table has.

macOS writes accented letters as a letter and a combining mark (NFD), most editors as one letter
(NFC, Unicode Standard Annex 15); on Linux these are two names.
"""

import os
import unicodedata
from pathlib import Path


def find_file(path: Path) -> Path:
    """Return the existing file or folder whose name is canonically equal to ``path``.

    Args:
        path: a path as a table or a person wrote it.

    Returns:
        ``path`` itself if it exists, if it is ASCII, or if nothing equals it.
    """
    try:
        if str(path).isascii() or os.path.lexists(path):
            return path
        found = Path(path.anchor)
        for part in path.parts[1 if path.anchor else 0 :]:
            exact = found / part
            found = exact if os.path.lexists(exact) else _equal_entry(found, part)
    except (OSError, ValueError):  # reported when the file is opened
        return path
    return found


def _equal_entry(folder: Path, name: str) -> Path:
    """Return the first entry that equals ``name``; raise FileNotFoundError without any."""
    wanted = unicodedata.normalize("NFC", name)
    for entry in sorted(os.listdir(folder)):  # noqa: PTH208 - names, of which some are not UTF-8
        if unicodedata.normalize("NFC", entry) == wanted:
            return folder / entry
    raise FileNotFoundError(name)
