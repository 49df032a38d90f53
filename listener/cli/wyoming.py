"""``earmark wyoming``: detects wake words for a client of the Wyoming protocol."""

import argparse
import asyncio
import ipaddress
import signal
import sys
from pathlib import Path
from typing import Final

import listener
from listener.cli.main import with_examples
from listener.config import Config
from listener.errors import Unavailable, UsageError
from listener.inference.build import load_detector
from listener.inference.catalogue import Catalogue
from listener.wyoming.server import WakeServer, WakeSession, describe

PORT: Final = 10_400
"""The port that Wyoming's clients expect a wake-word service at."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark wyoming``."""
    parser.epilog = with_examples(
        "A Wyoming client, for example a satellite of Home Assistant, sends its audio and gets\n"
        "the name of the wake word. Words, thresholds and patience are those of [wake] in the\n"
        "configuration. The audio is discarded after it was scored; no clip is made.\n\n"
        "The protocol has no encryption and no password. The default address is this machine\n"
        "alone; with --host, everybody in that network can send audio, and can read what a\n"
        "client sends. One client at a time is served, a second one is refused.",
        "earmark wyoming",
        "earmark wyoming --config earmark.toml --port 10401",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"TCP port (default: {PORT})")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        UsageError: a configured word is not a wake word, or the port is out of range.
        Unavailable: the address cannot be used.
        ModelRefused: a model cannot be used.
    """
    if not 0 <= arguments.port < 1 << 16:
        raise UsageError(f"--port {arguments.port} is not a TCP port", "use 0 to 65535")
    catalogue = Catalogue(Path(settings.home))
    words = [catalogue.load(word) for word in settings.wake.words]
    for word in words:
        if word.manifest.kind != "wake-word":
            raise UsageError(f"{word.name} is not a wake-word model")
    info = describe([word.manifest for word in words], listener.__version__)
    load_detector(catalogue, words, settings.wake)  # a refused model is an error at the start

    def start_session() -> WakeSession:
        session = WakeSession(load_detector(catalogue, words, settings.wake), info)
        session.wipe()
        return session

    server = WakeServer(start_session, _say)
    return asyncio.run(_serve(server, arguments.host, arguments.port))


async def _serve(server: WakeServer, host: str, port: int) -> int:
    try:
        await server.start(host, port)
    except OSError as error:
        raise Unavailable(
            f"cannot listen at {host} port {port}: {error.strerror or error}",
            "another service may use the port: choose one with --port",
        ) from error
    if not _is_loopback(host):
        _say("warning: every machine that reaches this address can send and read audio in clear")
    print(f"serving wake words at tcp://{host}:{server.port}", flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    await server.close()
    return 0


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _say(text: str) -> None:
    print(f"earmark: {text}", file=sys.stderr, flush=True)
