"""``earmark clips browse``: the browser page on the owner's own computer."""

import argparse
import importlib.util
from typing import Final

from listener.config import Config
from listener.errors import Unavailable

LANGUAGES: Final = ("en", "de", "es", "fr")
_PACKAGES: Final = ("starlette", "uvicorn")


def add_options(action: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark clips browse`` alone."""
    action.set_defaults(identity=None)
    action.add_argument(
        "--port",
        type=int,
        metavar="N",
        help="port of this computer, 1024 to 65535 (default: by the owner's name, so that the"
        " browser finds again what it keeps)",
    )
    action.add_argument(
        "--no-open", action="store_true", help="print the address, and open no browser"
    )
    action.add_argument(
        "--language", choices=LANGUAGES, help="language of the page (default: the browser's)"
    )
    action.add_argument(
        "--page", metavar="DIR", help="folder of the page's files (default: the installed ones)"
    )


def browse(arguments: argparse.Namespace, settings: Config) -> int:
    """Serve the page until SIGTERM or Ctrl-C.

    Raises:
        UsageError: the owner is missing and not remembered, or an option is malformed.
        ConfigError: this installation has no page, or a file is damaged.
        Unavailable: the port is in use, or a package is missing.
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise Unavailable(f"{missing[0]} is not installed", "pip install 'earmark[owner]'")
    from listener.cli import page_service  # noqa: PLC0415 - needs the extra owner; other actions do not

    return page_service.serve(arguments, settings)
