"""The household as a whole: the actions of ``earmark household`` that set up, renew and show it."""

import argparse
import json
import socket
from datetime import UTC, datetime

import msgspec

from listener import config
from listener.errors import UsageError
from listener.home import Home
from listener.household import announce as announcing
from listener.household import certificates, discovery, identity, members
from listener.household.identity import Identity, Kind
from listener.household.office import Office
from listener.household.register import Register
from listener.mqtt.client import PahoBroker

_LOOPBACK = ("localhost", "127.0.0.1")


def set_up(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Make what is missing; run again, change nothing that is right."""
    del settings
    hosts = tuple(dict.fromkeys((*(arguments.host or ()), *_LOOPBACK)))
    for host in hosts:
        if not certificates.fits_name(host):
            raise UsageError(f"{host!r} is neither a host's name nor an address")
    for port in (arguments.port, arguments.join_port):
        if port is not None and not 1 <= port <= 65535:  # noqa: PLR2004 - what TCP has
            raise UsageError(f"{port} is no port", "1 to 65535")

    def settle(before: Register) -> Register:
        known = before.hosts or tuple(dict.fromkeys((*_own_names(), *_LOOPBACK)))
        return msgspec.structs.replace(
            before,
            hosts=hosts if arguments.host else known,
            port=arguments.port or before.port,
            join_port=arguments.join_port or before.join_port,
            broker_folder=arguments.broker_folder or before.broker_folder,
        )

    office = Office(home.path)
    made = office.set_up(settle)
    if not made:
        print("all is as it should be")
        return 0
    print(f"made: {', '.join(made)}")
    folder = office.broker_folder()
    print(f"mosquitto's files are in {folder}; once, as root:")
    print(f"  ln -s {folder}/earmark.conf /etc/mosquitto/conf.d/ && systemctl restart mosquitto")
    print("the archive's settings:")
    print(_archive_settings(office), end="")
    return 0


def renew(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Make the certificates of this computer anew, and say who else is due."""
    del arguments, settings
    office = Office(home.path)
    office.register()
    made = office.set_up(lambda register: register, renew=True)
    print(f"made: {', '.join(made)}")
    for who, one in office.register().valid(int(office.now().timestamp())).items():
        if who.kind is not Kind.SERVICE and _days(one.until_s, office) < certificates.RENEW_DAYS:
            verb = "add-device" if who.kind is Kind.DEVICE else "add-owner"
            print(f"{who.cn} is due: earmark household {verb} {who.name}, and join there again")
    members.read_again()
    return 0


def status(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Show who belongs; 1 where a certificate in use will expire soon, or has."""
    del settings
    office = Office(home.path)
    register = office.register()
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
    office = Office(home.path)
    register = office.register()
    members_now = set(register.members())
    messages = {
        discovery.NODE + device.name: discovery.message(register.speaker(device.name), device.dkey)
        for device in home.roster().devices
        if Identity(f"d-{device.name}") in members_now
    }
    broker = PahoBroker(_broker_settings(office, identity.HOUSEHOLD), identity.HOUSEHOLD.cn)
    published, gone = announcing.announce(broker, messages)
    print(f"{len(messages)} speakers: {published} new or changed, {gone} taken back")
    return 0


def _row(who: Identity, register: Register, office: Office) -> dict[str, str | int | None]:
    mine = [one for one in register.issued if one.cn == who.cn and one.revoked_s is None]
    if not mine:
        return {"identity": who.cn, "state": "invited", "until": None, "days_left": None}
    newest = mine[-1]
    days = _days(newest.until_s, office)
    state = "expired" if days < 0 else "due" if days < certificates.RENEW_DAYS else "joined"
    until = datetime.fromtimestamp(newest.until_s, UTC).isoformat().replace("+00:00", "Z")
    return {"identity": who.cn, "state": state, "until": until, "days_left": days}


def _days(until_s: int, office: Office) -> int:
    return (datetime.fromtimestamp(until_s, UTC) - office.now()).days


def _own_names() -> tuple[str, ...]:
    name = socket.gethostname().lower()
    if not certificates.fits_name(name) or name in _LOOPBACK:
        return ()
    # What a Raspberry Pi answers to in a network without a name server of its own.
    return (name,) if "." in name else (f"{name}.local", name)


def _broker_settings(office: Office, who: Identity) -> config.BrokerSettings:
    register = office.register()
    certificate, key = office.service(who)
    return config.BrokerSettings(
        host=register.broker_host,
        port=register.port,
        ca_file=str(office.path / "ca.crt"),
        certificate_file=str(certificate),
        key_file=str(key),
    )


def _archive_settings(office: Office) -> str:
    broker, api = _broker_settings(office, identity.ARCHIVE), office.service(identity.API)
    return (
        "[broker]\n"
        f'host = "{broker.host}"\n'
        f"port = {broker.port}\n"
        f'ca_file = "{broker.ca_file}"\n'
        f'certificate_file = "{broker.certificate_file}"\n'
        f'key_file = "{broker.key_file}"\n'
        "\n[archive]\n"
        f'certificate_file = "{api[0]}"\n'
        f'key_file = "{api[1]}"\n'
    )
