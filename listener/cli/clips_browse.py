"""``earmark clips browse``: the browser page on the owner's own computer."""

import argparse
import importlib.util
import json
import sys
import webbrowser
from pathlib import Path
from typing import Final

from listener.clips.http import parse_address
from listener.clips.session import SOCKET, choose
from listener.config import Config
from listener.errors import Unavailable, UsageError
from listener.system.systemd import StopSignal

LANGUAGES: Final = ("en", "de", "es", "fr")
FIRST_PORT: Final = 1024
"""Lower ports are root's."""
LAST_PORT: Final = 65_535
_TURN_S: Final = 3600.0
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
    # Not at the top: the other actions need neither of the two packages.
    from listener.browse.forwarding import ArchiveForwarder  # noqa: PLC0415 - as said above
    from listener.browse.local_records import LocalRecords  # noqa: PLC0415 - as said above
    from listener.browse.loopback_server import LoopbackServer, port_of  # noqa: PLC0415 - as above
    from listener.browse.page_app import PageApp  # noqa: PLC0415 - as said above
    from listener.browse.sessions import Sessions  # noqa: PLC0415 - as said above
    from listener.browser_page.page_files import built_folder, load_page  # noqa: PLC0415 - as above

    home = Path(settings.home)
    chosen = choose(arguments, home)
    if chosen.owner is None:
        raise UsageError(
            "--owner is required", "pass --owner NAME; with --remember it is the default then"
        )
    port = arguments.port or port_of(chosen.owner)
    if not FIRST_PORT <= port <= LAST_PORT:
        raise UsageError(
            f"--port {port} is not in the range {FIRST_PORT} to {LAST_PORT}", "choose another port"
        )
    address = parse_address(
        chosen.archive or str(home / SOCKET), None if chosen.ca is None else Path(chosen.ca)
    )
    files = load_page(built_folder() if arguments.page is None else Path(arguments.page))
    records = LocalRecords(home, chosen.owner, address, arguments.language)
    records.start()  # a damaged file is an error of the command, not of a request
    sessions = Sessions()
    host = f"localhost:{port}"

    def show(text: str) -> None:
        link = f"http://{host}/#token={sessions.token}"
        if arguments.json:
            print(json.dumps({"address": link}), flush=True)
        else:
            print(f"{text}: {link}", flush=True)

    page = PageApp(
        files,
        sessions,
        records,
        ArchiveForwarder(address, chosen.owner),
        lambda: show("opened; address for another tab, valid once"),
    )
    with StopSignal().on_signals() as stop:
        server = LoopbackServer(port)
        try:
            server.start(page.app(host))
            first = f"http://{host}/#token={sessions.token}"
            show(f"clips of {chosen.owner}, until Ctrl-C, at this address, valid once")
            if not arguments.no_open and not webbrowser.open(first):
                print("earmark: no browser was found; open the address yourself", file=sys.stderr)
            while not stop.wait(_TURN_S):
                pass
        finally:
            server.stop()
    return 0
