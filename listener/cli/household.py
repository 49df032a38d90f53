"""The verb ``household``: a home's broker, its speakers and owners, and who may say what.

The household as a whole: the actions of ``earmark household`` that set up, renew and show it.
"""

import argparse
import json
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from listener import config
from listener.cli import household_incident, household_members
from listener.cli.main import Subcommands
from listener.config import parse_settings
from listener.errors import UsageError
from listener.household import broker_config, ca, home_assistant, identity
from listener.household import home_assistant as announcing
from listener.household.broker_config import DEFAULT_PORT
from listener.household.identity import HouseholdIdentity, IdentityKind
from listener.household.registry import Registry
from listener.household.state import HouseholdStore
from listener.mqtt.paho_client import PahoBroker
from listener.storage.atomic import PUBLIC_MODE, write_atomic
from listener.storage.home import Home

_LOOPBACK = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class SystemPaths:
    """Where the services of a computer look for what is theirs."""

    home: Path = Path("/var/lib/earmark-archive")
    broker: Path = Path("/etc/mosquitto/earmark")
    archive: Path = Path("/etc/earmark/archive")
    settings: Path = Path("/etc/earmark/archive.toml")


def set_up(
    arguments: argparse.Namespace,
    settings: config.Config,
    home: Home,
    system: SystemPaths = SystemPaths(),
) -> int:
    """Make what is missing; run again, change nothing that is right."""
    del settings
    hosts = tuple(dict.fromkeys((*(arguments.host or ()), *_LOOPBACK)))
    for host in hosts:
        if not ca.is_valid_host(host):
            raise UsageError(f"{host!r} is neither a host's name nor an address")
    for port in (arguments.port, arguments.join_port):
        if port is not None and not 1 <= port <= 65535:  # noqa: PLR2004 - what TCP has
            raise UsageError(f"{port} is no port", "1 to 65535")
    places = system if arguments.system else None
    if places and not arguments.home:
        home = Home(places.home)
    broker_folder = arguments.broker_folder or (places and str(places.broker))

    def settle(before: Registry) -> Registry:
        known = before.hosts or tuple(dict.fromkeys((*_local_host_names(), *_LOOPBACK)))
        return msgspec.structs.replace(
            before,
            hosts=hosts if arguments.host else known,
            port=arguments.port or before.port,
            join_port=arguments.join_port or before.join_port,
            broker_folder=broker_folder or before.broker_folder,
            archive_folder=str(places.archive) if places else before.archive_folder,
        )

    office = HouseholdStore(home.path)
    made = office.set_up(settle)
    print(f"made: {', '.join(made)}" if made else "all is as it should be")
    if made:
        _print_broker_steps(office.published().broker)
    text = _archive_settings(office, home)
    if places:
        _write_archive_settings(places.settings, text)
    elif made:
        print("the archive's settings:")
        print(text, end="")
    return 0


def _print_broker_steps(folder: Path) -> None:
    print(f"mosquitto's files are in {folder}; once, as root:")
    print(f"  ln -s {folder / broker_config.CONFIG} /etc/mosquitto/conf.d/")
    print("  systemctl restart mosquitto")


def _write_archive_settings(path: Path, text: str) -> None:
    """Write the archive's settings where there are none; tell where they are others."""
    if not path.exists():
        write_atomic(path, text.encode(), PUBLIC_MODE)
        print(f"the archive's settings are in {path}; once: systemctl enable --now earmark-archive")
        return
    there = parse_settings(path.read_text("utf-8", "replace"), str(path))
    fresh = parse_settings(text, str(path))
    if there.broker != fresh.broker or there.archive.key_file != fresh.archive.key_file:
        print(f"put this into {path}:")
        print(text, end="")


def renew(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Make the certificates of this computer anew, and say who else is due."""
    del arguments, settings
    office = HouseholdStore(home.path)
    office.registry()
    made = office.set_up(lambda register: register, renew=True)
    print(f"made: {', '.join(made)}")
    for who, one in office.registry().valid(int(office.now().timestamp())).items():
        if who.kind is not IdentityKind.SERVICE and _days(one.until_s, office) < ca.RENEW_DAYS:
            verb = "add-device" if who.kind is IdentityKind.DEVICE else "add-owner"
            print(f"{who.cn} is due: earmark household {verb} {who.name}, and join there again")
    household_members.print_reload_hint()
    print("earmark: and the archive too: systemctl restart earmark-archive", file=sys.stderr)
    return 0


def status(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Show who belongs; 1 where a certificate in use will expire soon, or has."""
    del settings
    office = HouseholdStore(home.path)
    register = office.registry()
    authority = office.authority()
    rows = [_row(who, register, office) for who in register.members()]
    due = [row for row in rows if row["state"] in {"due", "expired"}]
    if arguments.json:
        for row in rows:
            print(json.dumps(row))
        return 1 if due else 0
    days = (authority.certificate.not_valid_after_utc - office.now()).days
    print(f"{', '.join(register.hosts)}, port {register.port}; the authority has {days} days left")
    width = max(len(str(row["identity"])) for row in rows)
    for row in rows:
        left = f"{row['days_left']} days left" if row["days_left"] is not None else ""
        print(f"{row['identity']:<{width}}  {row['state']:<8}  {left}".rstrip())
    for row in due:
        print(f"earmark household renew tells how {row['identity']} is renewed")
    return 1 if due else 0


def announce(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Show the speakers to Home Assistant."""
    del arguments, settings
    office = HouseholdStore(home.path)
    register = office.registry()
    members_now = set(register.members())
    messages = {
        home_assistant.NODE + device.name: home_assistant.discovery_message(
            register.speaker(device.name), device.dkey
        )
        for device in home.roster().devices
        if HouseholdIdentity(f"d-{device.name}") in members_now
    }
    certificate, key = office.service(identity.HOUSEHOLD)
    reached = config.BrokerSettings(
        host=register.broker_host,
        port=register.port,
        ca_file=str(office.path / broker_config.CA),
        certificate_file=str(certificate),
        key_file=str(key),
    )
    broker = PahoBroker(reached, identity.HOUSEHOLD.cn)
    published, gone = announcing.announce(broker, messages)
    print(f"{len(messages)} speakers: {published} new or changed, {gone} taken back")
    return 0


def _row(
    who: HouseholdIdentity, register: Registry, office: HouseholdStore
) -> dict[str, str | int | None]:
    mine = [one for one in register.issued if one.cn == who.cn and one.revoked_s is None]
    if not mine:
        return {"identity": who.cn, "state": "invited", "until": None, "days_left": None}
    newest = mine[-1]
    days = _days(newest.until_s, office)
    state = "expired" if days < 0 else "due" if days < ca.RENEW_DAYS else "joined"
    until = datetime.fromtimestamp(newest.until_s, UTC).isoformat().replace("+00:00", "Z")
    return {"identity": who.cn, "state": state, "until": until, "days_left": days}


def _days(until_s: int, office: HouseholdStore) -> int:
    return (datetime.fromtimestamp(until_s, UTC) - office.now()).days


def _local_host_names() -> tuple[str, ...]:
    name = socket.gethostname().lower()
    if not ca.is_valid_host(name) or name in _LOOPBACK:
        return ()
    # What a Raspberry Pi answers to in a network without a name server of its own.
    return (name,) if "." in name else (f"{name}.local", name)


def _archive_settings(office: HouseholdStore, home: Home) -> str:
    register, files = office.registry(), office.published()
    certificate, key = files.for_archive(identity.ARCHIVE)
    api_certificate, api_key = files.for_archive(identity.API)
    return (
        f'home = "{home.path}"\n'
        "\n[broker]\n"
        f'host = "{register.broker_host}"\n'
        f"port = {register.port}\n"
        f'ca_file = "{files.archive / broker_config.CA}"\n'
        f'certificate_file = "{certificate}"\n'
        f'key_file = "{key}"\n'
        "\n[archive]\n"
        f'certificate_file = "{api_certificate}"\n'
        f'key_file = "{api_key}"\n'
    )


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
    _add_setup_actions(actions)
    _add_members(actions)
    _add_devices(actions)
    household_incident.add_arguments(actions)


def run(arguments: argparse.Namespace, settings: config.Config) -> int:
    """Do one action on the household; return the exit code.

    Raises:
        EarmarkError: for anything foreseeable.
    """
    actions: dict[str, _Action] = {
        "init": set_up,
        "status": status,
        "renew": renew,
        "announce": announce,
        "add-device": household_members.add_device,
        "add-owner": household_members.add_owner,
        "add-service": household_members.add_service,
        "wait": household_members.wait,
        "revoke": household_members.revoke,
        "join": household_members.join,
        "this-device": household_members.show_this_device,
        "devices": household_members.list_devices,
        "forget-device": household_members.remove_device,
        "incident": household_incident.run,
    }
    return actions[arguments.action](arguments, settings, Home(Path(settings.home)))


_Action = Callable[[argparse.Namespace, config.Config, Home], int]


def _add_setup_actions(actions: Subcommands) -> None:
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
