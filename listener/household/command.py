"""The verb ``household``: a home's broker, its speakers and owners, and who may say what."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from listener import config
from listener.actions import Subcommands
from listener.household import devices, incident, members, premises
from listener.household.mosquitto import DEFAULT_PORT
from listener.household.register import Registry
from listener.storage.home import Home

_ROUND: Final = f"""\
a home, from nothing; more in docs/guides/household.md:

  1  on the computer that keeps the archive
       earmark household init --host home.lan     makes the authority and the broker's files
       earmark household add-device kitchen       prints a line, and waits for the speaker
  2  on the speaker, within the hour
       earmark household join LINE
  3  on the archive's computer; {DEFAULT_PORT} is the broker's port from then on
       systemctl reload mosquitto
       earmark household announce                 shows the speakers to Home Assistant

Without certificates, on one computer, two steps are enough:
       earmark household this-device              prints: kitchen ed25519:...
       earmark household add-device kitchen --key ed25519:...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what follows ``earmark household``."""
    actions = Subcommands(parser, epilog=_ROUND)
    _add_premises(actions)
    _add_members(actions)
    _add_devices(actions)
    incident.add_arguments(actions)


def run(arguments: argparse.Namespace, settings: config.Config) -> int:
    """Do one action on the household; return the exit code.

    Raises:
        EarmarkError: for anything foreseeable.
    """
    actions: dict[str, _Action] = {
        "init": premises.set_up,
        "status": premises.status,
        "renew": premises.renew,
        "announce": premises.announce,
        "add-device": members.add_device,
        "add-owner": members.add_owner,
        "add-service": members.add_service,
        "wait": members.wait,
        "revoke": members.revoke,
        "join": members.join,
        "this-device": devices.show_this_device,
        "devices": devices.list_devices,
        "forget-device": devices.remove_device,
        "incident": incident.run,
    }
    return actions[arguments.action](arguments, settings, Home(Path(settings.home)))


_Action = Callable[[argparse.Namespace, config.Config, Home], int]


def _add_premises(actions: Subcommands) -> None:
    standard = Registry()
    init = actions.add("init", "set up a home: its authority, and all that mosquitto needs")
    init.add_argument(
        "--host",
        action="append",
        metavar="NAME",
        help="a name or address of this computer; the first is told to speakers (may be repeated)",
    )
    init.add_argument(
        "--port", type=int, metavar="N", help=f"of the broker (default: {standard.port})"
    )
    init.add_argument(
        "--join-port",
        type=int,
        metavar="N",
        help=f"open while a speaker is waited for (default: {standard.join_port})",
    )
    init.add_argument(
        "--broker-folder",
        metavar="DIR",
        help="where mosquitto's files go, such as /etc/mosquitto/earmark",
    )
    init.add_argument(
        "--system",
        action="store_true",
        help="as root, for the services of the Debian package: mosquitto's files in"
        " /etc/mosquitto/earmark, the archive's in /etc/earmark/archive, its settings in"
        " /etc/earmark/archive.toml if there are none, home /var/lib/earmark-archive",
    )
    status = actions.add("status", "show who belongs, and what will have to be done")
    status.add_argument("--json", action="store_true", help="one JSON object a line")
    actions.add("renew", "make the certificates of this computer anew")
    actions.add("announce", "show the speakers to Home Assistant, through the broker")


def _add_members(actions: Subcommands) -> None:
    add = actions.add("add-device", "invite a speaker; or, with --key, only believe its signature")
    add.add_argument("name", metavar="NAME", help="short name: 1 to 32 of a-z, 0-9, hyphen")
    add.add_argument("--key", metavar="ed25519:...", help="believe this key, and invite nobody")
    add.add_argument("--area", metavar="TEXT", help="the room, for Home Assistant")
    add.add_argument(
        "--remote-unmute",
        action="store_true",
        help="its settings let Home Assistant unmute: show a switch instead of a button",
    )
    add.add_argument(
        "--card",
        metavar="DIR",
        help="write the line to the boot partition of the speaker's card; see earmark first-boot",
    )
    add.add_argument(
        "--keeper", metavar="NAME", help="with --card: whose speaker it is to be, by her name here"
    )
    owner = actions.add("add-owner", "note an owner, and invite her computer")
    owner.add_argument("name", metavar="NAME", help="short name: 1 to 32 of a-z, 0-9, hyphen")
    owner.add_argument("--key", metavar="age1...", help="her public key, where it is not known yet")
    for one in (add, owner):
        one.add_argument("--no-wait", action="store_true", help="print the line, and end")
    service = actions.add("add-service", "make key and certificate for Home Assistant")
    service.add_argument("name", choices=("home-assistant",))
    service.add_argument("--to", required=True, metavar="DIR", help="where the files go")
    actions.add("wait", "wait for everyone who is invited")
    revoke = actions.add("revoke", "take back certificates and rights, lost or stolen")
    revoke.add_argument("name", metavar="NAME", help="d-kitchen, o-ada or s-home-assistant")
    join = actions.add("join", "join a household by its line; a second time renews")
    join.add_argument("line", metavar="LINE|FILE", help="the line, or a file that holds it")
    join.add_argument("--settings", metavar="FILE", help="write the settings to it, if it is new")


def _add_devices(actions: Subcommands) -> None:
    this = actions.add("this-device", "print this device's name and public key")
    this.add_argument("--json", action="store_true", help="a JSON object")
    listing = actions.add("devices", "show every device that is believed")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    forget = actions.add("forget-device", "believe a device no more, stolen or retired")
    forget.add_argument("name", metavar="NAME", help="the device to forget")
