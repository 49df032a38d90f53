"""``earmark household``: the certificate authority, broker, speakers and owners of one home.

The arguments of all actions are here, and the actions for the household as a whole: ``init``,
``status``, ``renew`` and ``announce``.
"""

import argparse
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from listener import config
from listener.cli import (
    household_backup,
    household_incident,
    household_members,
    household_owner,
    household_speaker,
)
from listener.cli.main import Subcommands, with_examples
from listener.config import LIMIT_BYTES, parse_settings
from listener.errors import ConfigError, UsageError
from listener.household import broker_config, ca, home_assistant, identity
from listener.household.broker_config import DEFAULT_PORT
from listener.household.identity import HouseholdIdentity, IdentityKind
from listener.household.publish import SYSTEM_BROKER, can_broker_reach, has_broker_user
from listener.household.registry import ARCHIVE_PORT, Registry
from listener.household.state import HouseholdStore
from listener.mqtt.client import Message
from listener.quantities import quantity
from listener.storage.atomic import PUBLIC_MODE, read_plain_file, write_atomic
from listener.storage.home import Home
from listener.text_encoding import NotUtf8Error, decode_text

DUE: Final = frozenset({"due", "expired"})
"""States of a member whose certificate has to be renewed."""
_TCP_PORTS: Final = range(1, 1 << 16)
_LOOPBACK = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class SystemPaths:
    """Paths of the system services on the archive's computer."""

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
    """Create what is missing: authority, certificates, broker files. Running it again is safe."""
    del settings
    hosts = tuple(dict.fromkeys((*(arguments.host or ()), *_LOOPBACK)))
    _check_brokers(arguments.broker or ())
    _check_addresses(hosts, (arguments.port, arguments.join_port, arguments.archive_port))
    paths = system if arguments.system else None
    if paths and not arguments.home:
        home = Home(paths.home)
    broker_folder = arguments.broker_folder or (paths and str(paths.broker))

    def configure(before: Registry) -> Registry:
        known = before.hosts or tuple(dict.fromkeys((*_local_host_names(), *_LOOPBACK)))
        return msgspec.structs.replace(
            before,
            hosts=hosts if arguments.host else known,
            port=arguments.port or before.port,
            join_port=arguments.join_port or before.join_port,
            broker_folder=broker_folder or before.broker_folder,
            archive_folder=str(paths.archive) if paths else before.archive_folder,
            brokers=tuple(arguments.broker) if arguments.broker else before.brokers,
        )

    store = HouseholdStore(home.path)
    created = store.set_up(configure)
    text = _archive_settings(store, home)
    port = arguments.archive_port or ARCHIVE_PORT
    if paths:
        text += f'host = "0.0.0.0"\nport = {port}\n'
    if arguments.json:
        if paths and not paths.settings.exists():
            write_atomic(paths.settings, text.encode(), PUBLIC_MODE)
        print(json.dumps(_describe(created, store, home) | {"archive_settings": text}))
        return 0
    print(f"created: {', '.join(created)}" if created else "nothing to change")
    if created:
        _print_broker_steps(store.published().broker, home)
        _print_further_brokers(store)
    if paths:
        _write_archive_settings(paths.settings, text, is_port_named=bool(arguments.archive_port))
    elif created:
        text += (
            "# To let owners reach it from their own computers:\n"
            f'# host = "0.0.0.0"\n# port = {port}\n'
        )
        print("configuration of the archive:")
        print(text, end="")
    return 0


def _check_addresses(hosts: Sequence[str], ports: Iterable[int | None]) -> None:
    """Check what the command line names.

    Raises:
        UsageError: a host or a port is not valid.
    """
    for host in hosts:
        if not ca.is_valid_host(host):
            raise UsageError(f"{host!r} is neither a host name nor an IP address")
    for port in ports:
        if port is not None and port not in _TCP_PORTS:
            raise UsageError(f"{port} is not a valid port (1 to 65535)")


def _check_brokers(addresses: Sequence[str]) -> None:
    """Check the further brokers that the command line names.

    Raises:
        UsageError: one is not an address for a certificate, or is there twice.
    """
    try:
        settings = msgspec.convert({"hosts": addresses}, config.BrokerSettings, strict=False)
        hosts = [one.host for one in settings.each()] if addresses else []
    except (msgspec.ValidationError, ConfigError) as error:
        raise UsageError(
            f"--broker: not a list of addresses: {error}",
            "give HOST or HOST:PORT once for each further broker",
        ) from error
    for host in hosts:
        if not ca.is_valid_host(host):
            raise UsageError(f"{host!r} is neither a host name nor an IP address")
    if len(set(hosts)) < len(hosts):
        raise UsageError("--broker names a host twice", "give each further broker once")


def _print_further_brokers(store: HouseholdStore) -> None:
    """Print where the files of the brokers on other computers are, and where they belong."""
    files = store.published()
    for further in store.registry().further():
        print(
            f"copy the files of {files.for_broker(further)} to {SYSTEM_BROKER} on {further.host},"
            " and restart mosquitto there; again after each change of members"
        )


def _describe(created: list[str], store: HouseholdStore, home: Home) -> dict[str, object]:
    return {
        "created": created,
        "home": str(home.path),
        "hosts": list(store.registry().hosts),
        "broker_folder": str(store.published().broker),
    }


def _print_broker_steps(folder: Path, home: Home, system: SystemPaths = SystemPaths()) -> None:
    """Print how to give the files to mosquitto; first where to write them, if it cannot read them.

    Only root can give files to mosquitto's user.
    """
    if os.geteuid() != 0:
        print(f"the configuration of mosquitto is in {folder}; to start a broker as this user:")
        print(f"  mosquitto -c {folder / broker_config.CONFIG}")
        print("for the system's mosquitto, run earmark household init as root")
        return
    again = f"  earmark household --home {home.path} init --broker-folder"
    steps = []
    if not has_broker_user():
        # Only after mosquitto is installed can its user be given the files.
        steps.append("  apt-get install mosquitto")
    if can_broker_reach(folder):
        print(f"the configuration of mosquitto is in {folder}; run once, as root:")
        if steps:
            steps.append(f"{again} {folder}")
    else:
        print(f"the user of mosquitto cannot read {folder}; run once, as root:")
        folder = system.broker
        steps.append(f"{again} {folder}")
    steps.append(f"  ln -sf {folder / broker_config.CONFIG} /etc/mosquitto/conf.d/")
    for step in steps:
        print(step)
    print("  systemctl restart mosquitto")


def _write_archive_settings(path: Path, text: str, *, is_port_named: bool) -> None:
    """Write the archive's configuration; if a different one exists, print what to change."""
    if not path.exists():
        write_atomic(path, text.encode(), PUBLIC_MODE)
        print(f"wrote {path}; run once: systemctl enable --now earmark-archive")
        return
    try:
        current_text = decode_text(read_plain_file(path, LIMIT_BYTES, follow_links=True))
    except NotUtf8Error as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    current = parse_settings(current_text, str(path))
    wanted = parse_settings(text, str(path))
    is_other_port = current.archive.port == 0 or (
        is_port_named and current.archive.port != wanted.archive.port
    )
    if (
        current.broker != wanted.broker
        or current.archive.key_file != wanted.archive.key_file
        or is_other_port
    ):
        print(f"add this to {path}:")
        print(text, end="")


def renew(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Renew the certificates of this computer, and print which other members are due."""
    del settings
    store = HouseholdStore(home.path)
    store.registry()
    renewed = store.set_up(lambda registry: registry, renew=True)
    due = {
        who: days
        for who, certificate in store.registry().valid(int(store.now().timestamp())).items()
        if who.kind is not IdentityKind.SERVICE
        and (days := _days(certificate.until_s, store)) < ca.RENEW_DAYS
    }
    if arguments.json:
        rows = [{"identity": who.cn, "days_left": days} for who, days in due.items()]
        print(json.dumps({"renewed": renewed, "due": rows}))
    else:
        print(f"renewed: {', '.join(renewed)}")
        for who, days in due.items():
            action = "add-device" if who.kind is IdentityKind.DEVICE else "add-owner"
            print(
                f"{who.cn} expires in {quantity(days, 'day')}:"
                f" earmark household {action} {who.name}, then join there again"
            )
    household_members.reload_broker(store)
    print("earmark: restart the archive: systemctl restart earmark-archive", file=sys.stderr)
    return 0


def status(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Print the members; return 1 if a certificate in use has expired or expires soon."""
    del settings
    store = HouseholdStore(home.path)
    registry = store.registry()
    authority = store.authority()
    rows = member_rows(store)
    due = [row for row in rows if row["state"] in DUE]
    if arguments.json:
        for row in rows:
            print(json.dumps(row))
        return 1 if due else 0
    days = (authority.certificate.not_valid_after_utc - store.now()).days
    print(
        f"{', '.join(registry.hosts)}, port {registry.port};"
        f" CA certificate: {quantity(days, 'day')} left"
    )
    width = max(len(str(row["identity"])) for row in rows)
    for row in rows:
        left = f"{quantity(row['days_left'], 'day')} left" if row["days_left"] is not None else ""
        print(f"{row['identity']:<{width}}  {row['state']:<8}  {left}".rstrip())
    for row in due:
        print(f"to renew {row['identity']}: earmark household renew")
    return 1 if due else 0


def member_rows(store: HouseholdStore) -> list[dict[str, str | int | None]]:
    """Return identity, state, end of validity and days left of each member."""
    registry = store.registry()
    return [_row(who, registry, store) for who in registry.members()]


def announce(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Publish the speakers to Home Assistant by MQTT discovery."""
    del settings
    store = HouseholdStore(home.path)
    registry = store.registry()
    members_now = set(registry.members())
    keys_by_device = {
        device.name: device.dkey
        for device in home.roster().devices
        if HouseholdIdentity(f"d-{device.name}") in members_now
    }

    def message(device: str, facts: home_assistant.SpeakerFacts) -> Message:
        return home_assistant.discovery_message(
            registry.speaker(device),
            keys_by_device[device],
            facts,
            has_assist=identity.ASSIST in members_now,
        )

    brokers = household_owner.brokers_of(store, registry)
    published, removed = home_assistant.announce(brokers, message, keys_by_device)
    if arguments.json:
        counts = {"speakers": len(keys_by_device), "published": published, "removed": removed}
        print(json.dumps(counts))
        return 0
    print(
        f"{quantity(len(keys_by_device), 'speaker')}: {published} added or changed,"
        f" {removed} removed"
    )
    return 0


def _row(
    who: HouseholdIdentity, registry: Registry, store: HouseholdStore
) -> dict[str, str | int | None]:
    valid = [each for each in registry.issued if each.cn == who.cn and each.revoked_s is None]
    if not valid:
        return {"identity": who.cn, "state": "invited", "until": None, "days_left": None}
    newest = valid[-1]
    days = _days(newest.until_s, store)
    state = "expired" if days < 0 else "due" if days < ca.RENEW_DAYS else "joined"
    until = datetime.fromtimestamp(newest.until_s, UTC).isoformat().replace("+00:00", "Z")
    return {"identity": who.cn, "state": state, "until": until, "days_left": days}


def _days(until_s: int, store: HouseholdStore) -> int:
    return (datetime.fromtimestamp(until_s, UTC) - store.now()).days


def _local_host_names() -> tuple[str, ...]:
    name = socket.gethostname().lower()
    if not ca.is_valid_host(name) or name in _LOOPBACK:
        return ()
    # mDNS name, for networks without a local name server.
    return (name,) if "." in name else (f"{name}.local", name)


def _archive_settings(store: HouseholdStore, home: Home) -> str:
    registry, files = store.registry(), store.published()
    certificate, key = files.for_archive(identity.ARCHIVE)
    api_certificate, api_key = files.for_archive(identity.API)
    return (
        f'home = "{home.path}"\n'
        "\n[broker]\n"
        f"{registry.broker_table(registry.broker_host)}"
        f'ca_file = "{files.archive / broker_config.CA}"\n'
        f'certificate_file = "{certificate}"\n'
        f'key_file = "{key}"\n'
        "\n[archive]\n"
        f'certificate_file = "{api_certificate}"\n'
        f'key_file = "{api_key}"\n'
    )


_ROUND: Final = f"""\
to set up a home (docs/guides/household.md has more):

  1  on the computer that runs the archive
       earmark household init --host home.lan     creates the CA and mosquitto's files
       earmark household add-device kitchen       prints a line, and waits for the speaker
  2  on the speaker, within one hour
       earmark household join LINE
  3  on the archive's computer; the broker listens on port {DEFAULT_PORT}
       systemctl reload mosquitto
       earmark household announce                 publishes the speakers to Home Assistant

On one computer, without certificates, two steps are enough:
       earmark household this-device              prints: kitchen ed25519:...
       earmark household add-device kitchen --key ed25519:...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``earmark household``."""
    parser.set_defaults(hub=True)
    actions = Subcommands(
        parser,
        epilog=with_examples(
            _ROUND,
            "sudo earmark household init --system --host home.lan",
            "earmark household add-device kitchen --area Kitchen",
            "earmark household status",
        ),
    )
    _add_setup_actions(actions)
    _add_members(actions)
    _add_devices(actions)
    household_backup.add_arguments(actions)
    household_incident.add_arguments(actions)


def run(arguments: argparse.Namespace, settings: config.Config) -> int:
    """Run one action on the household and return the exit code.

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
        "confirm-owner": household_owner.confirm_owner,
        "add-service": household_members.add_service,
        "wait": household_members.wait,
        "revoke": household_members.revoke,
        "join": household_members.join,
        "this-device": household_members.show_this_device,
        "devices": household_members.list_devices,
        "forget-device": household_members.remove_device,
        "backup": household_backup.save,
        "restore": household_backup.restore,
        "incident": household_incident.run,
    }
    return actions[arguments.action](arguments, settings, Home(Path(settings.home)))


_Action = Callable[[argparse.Namespace, config.Config, Home], int]


def _add_setup_actions(actions: Subcommands) -> None:
    defaults = Registry()
    init = actions.add(
        "init",
        "create the certificate authority and the configuration of mosquitto",
        "earmark household init --host home.lan --host 192.168.1.10",
        "sudo earmark household init --system",
    )
    init.add_argument(
        "--host",
        action="append",
        metavar="NAME",
        help="host name or IP address of this computer; speakers use the first; may be repeated"
        " (default: this computer's names)",
    )
    init.add_argument(
        "--port", type=int, metavar="N", help=f"TCP port of the broker (default: {defaults.port})"
    )
    init.add_argument(
        "--broker",
        action="append",
        metavar="HOST[:PORT]",
        help="a further broker on another computer, whose files are written too; may be repeated",
    )
    init.add_argument(
        "--join-port",
        type=int,
        metavar="N",
        help="TCP port that is open while a member is expected to join"
        f" (default: {defaults.join_port})",
    )
    init.add_argument(
        "--archive-port",
        type=int,
        metavar="N",
        help="TCP port at which owners reach the archive, for its configuration"
        f" (default: {ARCHIVE_PORT})",
    )
    init.add_argument(
        "--broker-folder",
        metavar="DIR",
        help="folder for mosquitto's files, such as /etc/mosquitto/earmark"
        " (default: mosquitto in the data directory)",
    )
    init.add_argument(
        "--system",
        action="store_true",
        help="as root, for the services of the Debian package: mosquitto's files in"
        " /etc/mosquitto/earmark, the archive's in /etc/earmark/archive, its configuration in"
        " /etc/earmark/archive.toml unless it exists, data directory /var/lib/earmark-archive",
    )
    init.add_argument("--json", action="store_true", help="print one JSON object")
    status = actions.add(
        "status",
        "list members, states and expiry; exit code 1 if a certificate is due",
        "earmark household status",
        "earmark household status --json",
    )
    status.add_argument("--json", action="store_true", help="print one JSON object a line")
    renewal = actions.add(
        "renew",
        "renew the certificates of this computer, and list the members that are due",
        "earmark household renew",
    )
    announcement = actions.add(
        "announce",
        "publish the speakers to Home Assistant through the broker (MQTT discovery)",
        "earmark household announce",
    )
    for action in (renewal, announcement):
        action.add_argument("--json", action="store_true", help="print one JSON object")


def _add_members(actions: Subcommands) -> None:
    add = actions.add(
        "add-device",
        "invite a speaker; with --key, only accept its signature",
        "earmark household add-device kitchen --area Kitchen",
        "earmark household add-device kitchen --card /media/bootfs --keeper ada"
        " --microphone usb --no-switch --word alexa",
        "sudo earmark household add-device kitchen --here --keeper ada --keeper-key age1...",
        "earmark household add-device kitchen --key ed25519:...",
    )
    add.add_argument("name", metavar="NAME", help="short name: 1 to 32 of a-z, 0-9, hyphen")
    add.add_argument(
        "--key", metavar="ed25519:...", help="accept this public key, and invite no one"
    )
    add.add_argument("--area", metavar="TEXT", help="room, for Home Assistant; 1 to 64 characters")
    add.add_argument(
        "--remote-unmute",
        action="store_true",
        help="the speaker allows unmuting by MQTT (mute.remote_unmute): Home Assistant shows a"
        " switch instead of a button",
    )
    household_speaker.add_arguments(add)
    owner = actions.add(
        "add-owner",
        "add an owner; write the challenges of all speakers to one file, or invite their computer",
        "earmark household add-owner ada --key age1... --bundle ada.bundle",
        "earmark household add-owner ben --speaker bedroom --bundle ben.bundle",
        "earmark household add-owner ada --key age1...",
        "earmark household add-owner ada --no-wait",
    )
    owner.add_argument("name", metavar="NAME", help="short name: 1 to 32 of a-z, 0-9, hyphen")
    owner.add_argument(
        "--key", metavar="age1...", help="the owner's public key, unless already in the roster"
    )
    owner.add_argument(
        "--bundle",
        metavar="FILE",
        help="collect the challenges of every speaker and of the archive for this owner into FILE"
        " (- for standard output), and invite no one; the owner answers it with earmark owner"
        " answer",
    )
    owner.add_argument(
        "--speaker",
        action="append",
        default=[],
        metavar="NAME",
        help="with --bundle: only this speaker, for an owner who has not every speaker; may be"
        " repeated (default: all)",
    )
    owner.add_argument("--json", action="store_true", help="print one JSON object a line")
    add.add_argument("--json", action="store_true", help="print one JSON object")
    confirm = actions.add(
        "confirm-owner",
        "carry an owner's answers to the speakers, and confirm their key at the archive",
        "earmark household confirm-owner ada.answers",
    )
    confirm.add_argument(
        "answers",
        metavar="FILE",
        help="file that earmark owner answer wrote (- for standard input)",
    )
    confirm.add_argument("--json", action="store_true", help="print one JSON object a line")
    for action, default, what in (
        (owner, 10.0, "with --bundle: wait S seconds for speakers without a challenge"),
        (confirm, household_owner.PATIENCE_S, "wait S seconds for the speakers"),
    ):
        action.add_argument(
            "--patience",
            type=float,
            default=default,
            metavar="S",
            help=f"{what} (default: {default:.0f})",
        )
    for action in (add, owner):
        action.add_argument(
            "--no-wait", action="store_true", help="print the line and exit; see household wait"
        )
    service = actions.add(
        "add-service",
        "create key and certificate for Home Assistant, or for earmark assist",
        "earmark household add-service home-assistant --to ha-certificates",
        "earmark household add-service home-assistant --to /etc/mosquitto/earmark-bridge"
        " --bridge /etc/mosquitto/conf.d/earmark-bridge.conf",
        "earmark household add-service assist --to /etc/earmark/assist",
    )
    service.add_argument(
        "name",
        choices=("home-assistant", "assist", "archive", "proxy"),
        help="name of the service; archive: one of several; proxy: in front of the archives",
    )
    service.add_argument(
        "--instance", type=int, metavar="N", help="with archive: its number, from 1 on"
    )
    service.add_argument("--to", required=True, metavar="DIR", help="folder for the files")
    service.add_argument(
        "--bridge",
        metavar="FILE",
        help="if Home Assistant uses another broker: write the configuration that connects this"
        " mosquitto to the household's broker; it uses the files in DIR",
    )
    service.add_argument(
        "--bridge-folder",
        metavar="DIR",
        help="with --bridge: folder of the files on the other broker's computer"
        " (default: that of --to)",
    )
    waiting = actions.add(
        "wait", "wait until every invited member has joined", "earmark household wait"
    )
    revoke = actions.add(
        "revoke",
        "revoke a lost or stolen member: its certificate, access rights and signature",
        "earmark household revoke d-kitchen",
    )
    revoke.add_argument(
        "name", metavar="NAME", help="identity such as d-kitchen, o-ada or s-home-assistant"
    )
    join = actions.add(
        "join",
        "join a household with an invitation line; joining again renews the certificate",
        "earmark household join invitation.txt --settings earmark.toml",
        "earmark household join invitation.txt --identity ada.key",
    )
    join.set_defaults(hub=False)
    join.add_argument("line", metavar="LINE|FILE", help="invitation line, or a file that holds it")
    join.add_argument("--json", action="store_true", help="print one JSON object")
    join.add_argument(
        "--settings", metavar="FILE", help="write the configuration to FILE unless it exists"
    )
    join.add_argument(
        "--identity",
        metavar="FILE",
        help="on an owner's computer: your secret key, which earmark clips uses from now on; the"
        " file is not copied",
    )
    for action in (service, waiting, revoke):
        action.add_argument("--json", action="store_true", help="print one JSON object a line")


def _add_devices(actions: Subcommands) -> None:
    this = actions.add(
        "this-device",
        "print this device's name and public key; creates the key if there is none",
        "earmark household this-device",
    )
    this.set_defaults(hub=False)
    this.add_argument("--json", action="store_true", help="print one JSON object")
    listing = actions.add(
        "devices",
        "list the devices whose signatures are accepted, and the keys of removed ones",
        "earmark household devices",
    )
    listing.add_argument("--json", action="store_true", help="print one JSON object a line")
    forget = actions.add(
        "forget-device",
        "remove a device that is stolen or retired; its signature is refused",
        "earmark household forget-device kitchen",
        "earmark household forget-device bath --key ed25519:…",
    )
    forget.add_argument("name", metavar="NAME", help="the device to remove")
    forget.add_argument(
        "--key",
        metavar="KEY",
        help="public key of a device that an earlier version removed, from devices.json of an"
        " export: its archived clips verify again",
    )
    forget.add_argument("--json", action="store_true", help="print one JSON object")
