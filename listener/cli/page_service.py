"""The process behind ``earmark clips browse``: the page's server on loopback, until a signal."""

import argparse
import json
import sys
import webbrowser
from pathlib import Path
from typing import Final

from listener.browse.forwarding import ArchiveForwarder
from listener.browse.local_records import LocalRecords
from listener.browse.loopback_server import LoopbackServer, port_of
from listener.browse.page_app import PageApp
from listener.browse.sessions import Sessions
from listener.browser_page.page_files import built_folder, load_page
from listener.clips.http import parse_address
from listener.clips.session import SOCKET, choose
from listener.config import Config
from listener.errors import UsageError
from listener.system.systemd import StopSignal

FIRST_PORT: Final = 1024
"""Lower ports are root's."""
LAST_PORT: Final = 65_535
_TURN_S: Final = 3600.0


def serve(arguments: argparse.Namespace, settings: Config) -> int:
    """Serve the page until SIGTERM or Ctrl-C.

    Raises:
        UsageError: the owner is missing and not remembered, or an option is malformed.
        ConfigError: this installation has no page, or a file is damaged.
        Unavailable: the port is in use.
    """
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
