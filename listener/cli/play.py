"""``earmark play``: plays assist's replies and the built-in sounds."""

import argparse
import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

from listener.cli.main import with_examples
from listener.config import Config
from listener.errors import Unavailable
from listener.hear.landlock import LandlockPaths, paths_for
from listener.hear.microphone.devices import load_portaudio
from listener.hear.seccomp import apply_sandbox, overwrite_freed_memory
from listener.ipc.datagrams import Inbox
from listener.ipc.player_state import SoundName
from listener.ipc.voice_folder import locate_voice_folder
from listener.ipc.voice_paths import PLAYER_SOCKET
from listener.player.button import StopButton
from listener.player.loop import Player
from listener.player.loudspeaker import Loudspeaker
from listener.player.replies import ClockReading
from listener.storage.atomic import make_folder
from listener.system.output import bound_logging
from listener.system.systemd import Notifier, StopSignal

_WAKEUP_BYTES: Final = 1
_PAUSE_S: Final = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark play``."""
    parser.epilog = with_examples(
        "play opens the loudspeaker only, and only while hear permits it: hear runs, is not muted\n"
        "and records no clip. It has no network. SIGTERM or Ctrl-C ends it.",
        "earmark play",
        "earmark play --test",
    )
    parser.add_argument(
        "--test",
        action="store_true",
        help="play each built-in sound once, then exit; exit code 1 if one was not played",
    )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Play until SIGTERM, or with ``--test`` the built-in sounds.

    Raises:
        Unavailable: PortAudio is not installed, another player runs here, or the runtime folder or
            the button cannot be used.
        ConfigError: the sandbox is required and cannot be applied.
    """
    bound_logging(logging.getLogger())
    folder = locate_voice_folder(Path(settings.home))
    make_folder(folder)
    apply_sandbox(
        landlock_paths(settings, folder),
        is_required=settings.device.confinement == "required",
        name="play",
    )
    portaudio = load_portaudio()
    overwrite_freed_memory()
    button = StopButton(Path(settings.player.button)) if settings.player.button else None
    notifier = Notifier(os.environ, time.monotonic)
    inbox = Inbox(folder / PLAYER_SOCKET, _WAKEUP_BYTES, is_for_group=True)
    try:
        with StopSignal().on_signals() as stop:
            player = Player(
                folder=folder,
                device=settings.device.name,
                inbox=inbox,
                output=Loudspeaker(portaudio, settings.player.device or "", settings.player.volume),
                clock=PlayerClocks(),
                is_stopping=lambda: stop.requested,
                alive=notifier.ping_watchdog,
                button=button,
            )
            if arguments.test:
                return _test(player)
            notifier.ready()
            player.run()
            notifier.stopping()
    finally:
        inbox.close()
        if button is not None:
            button.close()
    return 0


class PlayerClocks:
    """The clocks of this machine."""

    def monotonic_s(self) -> float:
        """Return a monotonic time in seconds."""
        return time.monotonic()

    def moment(self) -> ClockReading:
        """Return this moment on both clocks of the device."""
        return ClockReading(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def landlock_paths(settings: Config, folder: Path) -> LandlockPaths:
    """Return the files that the player needs: sound, its folder, and programs to read.

    Args:
        settings: the configuration.
        folder: the runtime folder ``voice``.
    """
    paths = paths_for(folder, os.environ)
    button = settings.player.button
    unwanted = {Path("/dev/input"), *Path("/dev").glob("gpiochip*")}
    return replace(
        paths,
        read=(*paths.read, *([Path(button)] if button else [])),
        use=tuple(path for path in paths.use if path not in unwanted),
    )


def _test(player: Player) -> int:
    try:
        for sound in get_args(SoundName):
            if not player.play_sound(sound):
                raise Unavailable(
                    f"the sound {sound} was not played",
                    "start hear, unmute it, and check player.device: earmark play --verbose",
                )
            print(f"played {sound}")
            time.sleep(_PAUSE_S)
    finally:
        player.close()
    return 0
