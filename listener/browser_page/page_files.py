"""The files of the built page: ``built/`` in this package, which the build makes.

``docs/reference/browser-page.md`` lists them. An installation may have none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.errors import ConfigError
from listener.storage.atomic import read_plain_file

INDEX: Final = "index.html"
FILE_LIMIT_BYTES: Final = 2 << 20
MOST_FILES: Final = 64
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}(\.[a-z]+)")
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page."""

    data: bytes
    media_type: str


class PageMissing(ConfigError):
    """This installation has no built page."""


def built_folder() -> Path:
    """Return the folder of the built page in this installation; it may not exist."""
    return Path(__file__).with_name("built")


def load_page(folder: Path) -> Mapping[str, PageFile]:
    """Read the files of a built page into memory.

    Args:
        folder: the folder; its subfolders, and files with other names, are left out.

    Returns:
        The files by name; ``index.html`` is among them.

    Raises:
        PageMissing: there is no ``index.html``.
        ConfigError: a file cannot be read, is too long, or there are too many.
    """
    found: dict[str, PageFile] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        media_type = None if match is None else _MEDIA_TYPES.get(match[1])
        if media_type is None or not path.is_file():
            continue
        if len(found) == MOST_FILES:
            raise ConfigError(f"{folder} has more than {MOST_FILES} files of a page")
        try:
            data = read_plain_file(path, FILE_LIMIT_BYTES, follow_links=True)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        found[path.name] = PageFile(data, media_type)
    if INDEX not in found:
        raise PageMissing(
            f"this installation has no browser page: {folder / INDEX} does not exist",
            "install a package that was built with it, or run make page in the repository",
        )
    return found
