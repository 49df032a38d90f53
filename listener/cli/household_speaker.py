"""Options of ``earmark household add-device`` that set a speaker up: by its card, or here.

A speaker on this computer is set up by the steps of a first boot, from the text of a card's file.
It is signed in this process: no join line is typed, and no port is opened.
"""

import argparse
import contextlib
import os
import secrets
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import tomli_w

from listener.cli.main import SYSTEM_CONFIG
from listener.config import LIMIT_BYTES, parse_settings
from listener.errors import ConfigError, EarmarkError, UsageError
from listener.firstboot.partition import NAME, Partition
from listener.firstboot.steps import FirstBoot
from listener.household import invitation, join_client
from listener.household.invitation import Invitation, JoinAnswer
from listener.household.join_client import JoinResult
from listener.household.join_server import sign_guest
from listener.household.state import HouseholdStore
from listener.owner.records import Owner
from listener.owner.roster import Roster
from listener.storage.atomic import read_plain_file
from listener.storage.home import Home
from listener.system.systemctl import run_systemctl

SWITCH_INPUT: Final = "/dev/input/earmark-mute"
"""Node of the switch that the overlay of ``firmware/mute`` describes."""
_LOCALHOST: Final = "localhost"
_SERVICES: Final = ("earmark-hear", "earmark-send")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that set a speaker up to those of ``add-device``."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--card",
        metavar="DIR",
        help="write the line to the boot partition of the speaker's card, mounted at DIR; see"
        " earmark first-boot --help",
    )
    where.add_argument(
        "--here",
        action="store_true",
        help="as root: set up this computer as the speaker too; install.sh --hub --speaker"
        " installs both",
    )
    parser.add_argument(
        "--keeper", metavar="NAME", help="with --card or --here: owner to whom the speaker encrypts"
    )
    parser.add_argument(
        "--keeper-key",
        metavar="age1...",
        help="with --keeper: the owner's public key, unless already in the roster",
    )
    parser.add_argument(
        "--microphone",
        metavar="NAME",
        help="with --card or --here: part of the sound card's name, such as usb"
        " (microphone.device)",
    )
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument(
        "--switch",
        action="store_true",
        help="with --card or --here: the mute switch of docs/guides/mute-switch.md is fitted",
    )
    switch.add_argument(
        "--no-switch", action="store_true", help="with --card or --here: no mute switch is fitted"
    )
    parser.add_argument(
        "--word",
        action="append",
        metavar="WORD",
        help="with --card or --here: wake word; may be repeated (default: wake.words)",
    )
    parser.add_argument(
        "--settings",
        metavar="FILE",
        help=f"with --here: configuration of the speaker (default: {SYSTEM_CONFIG})",
    )


def check_arguments(arguments: argparse.Namespace) -> None:
    """Check that no option is given that has no effect.

    Raises:
        UsageError: one is.
    """
    if arguments.settings is not None and not arguments.here:
        raise UsageError("--settings needs --here", "pass --here, or leave --settings out")
    if arguments.keeper_key is not None and arguments.keeper is None:
        raise UsageError("--keeper-key needs --keeper", "pass --keeper NAME")
    if arguments.card is not None or arguments.here:
        return
    given = {
        "--keeper": arguments.keeper,
        "--microphone": arguments.microphone,
        "--switch": arguments.switch,
        "--no-switch": arguments.no_switch,
        "--word": arguments.word,
    }
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option} needs --card or --here",
                "pass --card DIR, where the card is mounted, or --here",
            )


def keeper_of(arguments: argparse.Namespace, home: Home) -> Owner | None:
    """Return the owner whom ``--keeper`` names, added with ``--keeper-key``; None without.

    Raises:
        EarmarkError: they are not known and there is no key, or they have another key.
    """
    if arguments.keeper is None:
        return None
    if arguments.keeper_key is None:
        return home.roster().known_owner(arguments.keeper)
    name, key = arguments.keeper, arguments.keeper_key
    return home.change_roster(lambda roster: roster.with_owner(name, key)).known_owner(name)


def card_settings(arguments: argparse.Namespace) -> str:
    """Return the sections of the configuration that the options say, as TOML."""
    tables: dict[str, dict[str, Any]] = {}
    if arguments.word:
        tables["wake"] = {"words": arguments.word}
    if arguments.microphone is not None:
        tables["microphone"] = {"device": arguments.microphone}
    if arguments.switch:
        tables["mute"] = {"switch": "input", "input": SWITCH_INPUT}
    elif arguments.no_switch:
        tables["mute"] = {"switch": "none"}
    text = f"\n{tomli_w.dumps(tables)}" if tables else ""
    parse_settings(text, "the options")
    return text


def set_up_here(
    arguments: argparse.Namespace,
    store: HouseholdStore,
    home: Home,
    text: str,
    keeper: Owner | None,
) -> list[str]:
    """Set up the speaker of this computer from the text of a card.

    Args:
        arguments: of ``add-device``.
        store: the household.
        home: data directory of the household.
        text: a card's file.
        keeper: the speaker's keeper. If they have confirmed their key to the archive, the speaker
            takes this over: both are in the hands of the same administrator
            (docs/decisions/0065-two-roles-on-one-board.md).

    Returns:
        What was done, in lines for people.

    Raises:
        EarmarkError: the text is not valid, or a step failed.
    """
    path = Path(arguments.settings or SYSTEM_CONFIG)
    speaker = speaker_home(path)
    if keeper is not None and keeper.active:
        speaker.change_roster(partial(with_confirmed, keeper=keeper))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / NAME).write_text(text, "utf-8")
        joining = partial(_join_here, store, home)
        outcome = FirstBoot(Partition(Path(folder)), path, speaker, joining).run()
    if outcome.report is None:
        raise EarmarkError("nothing was set up")
    if outcome.report.wrong:
        raise EarmarkError(outcome.report.wrong[0])
    return outcome.report.taken


def speaker_home(path: Path) -> Home:
    """Return the data directory of this computer's speaker.

    Args:
        path: its configuration.

    Raises:
        ConfigError: there is no speaker here.
    """
    try:
        text = read_plain_file(path, LIMIT_BYTES, follow_links=True).decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(
            f"there is no speaker on this computer: {path} cannot be read: {error.strerror}",
            "install it: sudo sh install.sh --hub --speaker",
        ) from error
    settings = parse_settings(text, str(path))
    if not settings.home:
        raise ConfigError(f"{path} does not name the speaker's data directory", "set home there")
    return Home(Path(settings.home))


def with_confirmed(roster: Roster, keeper: Owner) -> Roster:
    """Return a roster in which an owner is active who is active elsewhere on this computer.

    Raises:
        EarmarkError: the roster has another active key of this owner.
    """
    known = roster.owner(keeper.name)
    if known is not None and not known.active and known.recipient != keeper.recipient:
        roster = roster.without_owner(keeper.name)
    roster = roster.with_owner(keeper.name, keeper.recipient)
    if roster.known_owner(keeper.name).active:
        return roster
    answer, now_s = f"{keeper.name}:{secrets.token_urlsafe(18)}", int(time.time())
    return roster.with_challenge(keeper.name, answer, now_s).with_confirmation(
        keeper.name, answer, now_s
    )


def _join_here(store: HouseholdStore, home: Home, speaker: Home, invited: Invitation) -> JoinResult:
    def exchange(_: Invitation, line: bytes) -> JoinAnswer:
        return sign_guest(store, home, invitation.decode_request(line.strip()))[0]

    joined = join_client.join(speaker, invited, exchange)
    hosts = store.registry().hosts
    host = _LOCALHOST if _LOCALHOST in hosts else joined.broker_host
    brokers = store.registry().addresses(host) if joined.brokers else ()
    return JoinResult(joined.who, joined.folder, host, joined.broker_port, brokers)


def restart_services() -> None:
    """Restart hear and send with their new configuration, where systemd runs them."""
    if os.geteuid() != 0 or not Path("/run/systemd/system").is_dir():
        return
    # Refused where they are not installed, as in a checkout: nothing to restart then.
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        run_systemctl("--no-block", "restart", *_SERVICES, timeout_s=60)
