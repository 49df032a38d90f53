"""Who comes and who goes: the actions of ``earmark household`` that invite, join and revoke.

Which devices the archive believes: the actions of ``earmark household`` that need no broker.
"""

import argparse
import contextlib
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from listener import config
from listener.config import parse_settings
from listener.envelope import keys
from listener.errors import ConfigError, EarmarkError, Unavailable, UsageError
from listener.household import broker_config, identity, invitation, join_client, join_server
from listener.household.identity import HouseholdIdentity, IdentityKind
from listener.household.registry import INVITATION_S, Area, Speaker
from listener.household.state import HouseholdStore
from listener.storage.atomic import PUBLIC_MODE, write_atomic
from listener.storage.home import Home
from listener.system.systemd import StopSignal


def show_this_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Print this device's name and public key; the first time makes the key."""
    public = home.device_key().public_key()
    name, key = settings.device.name, keys.device_text(public)
    if arguments.json:
        print(json.dumps({"device": name, "dkey": keys.device_id(public), "key": key}))
        return 0
    print(f"{name} {key}", flush=True)
    print(
        f"earmark: on the archive's computer: earmark household add-device {name} --key {key}",
        file=sys.stderr,
    )
    return 0


def trust_device(home: Home, name: str, key: str) -> int:
    """Believe what a device signs, and say so.

    Raises:
        EarmarkError: name or key are unfit or taken.
    """
    home.change_roster(lambda roster: roster.with_device(name, key))
    fingerprint = keys.device_id(keys.parse_device(key))
    print(f"{name} is believed; its key has the fingerprint {fingerprint}")
    return 0


def list_devices(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """List every device that is believed."""
    del settings
    known = home.roster().devices
    if arguments.json:
        for device in known:
            print(json.dumps({"device": device.name, "dkey": device.dkey, "key": device.key}))
        return 0
    width = max((len(device.name) for device in known), default=0)
    for device in known:
        print(f"{device.name:<{width}}  {device.dkey}")
    if not known:
        print("no devices yet; earmark household --help shows how one is made known")
    return 0


def remove_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Believe a device no more."""
    del settings
    name: str = arguments.name
    home.change_roster(lambda roster: roster.without_device(name))
    print(f"{name} is forgotten: what it signs is refused from now on")
    return 0


_TOKEN_BYTES: Final = 16
_BY_HAND: Final = "{}, within the hour: earmark household join LINE"


def add_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Invite a device and wait for it; with its key, only believe what it signs."""
    del settings
    who = identity.device(arguments.name)
    if arguments.key is not None:
        return trust_device(home, who.name, arguments.key)
    folder = None if arguments.card is None else Path(arguments.card)
    keeper = None if arguments.keeper is None else home.roster().known_owner(arguments.keeper)
    if folder is not None:
        invitation.check_card(folder)
    elif keeper is not None:
        raise UsageError("--keeper is for a card", "--card DIR says where it is mounted")
    office = HouseholdStore(home.path)
    speaker = Speaker(
        name=who.name, area=_area(arguments.area), remote_unmute=arguments.remote_unmute
    )
    known = next((one for one in office.registry().speakers if one.name == who.name), None)
    if known is None or arguments.area is not None or arguments.remote_unmute:
        office.update(lambda register: register.with_speaker(speaker))
    line = _invite(office, home, who)
    if folder is None:
        print(f"earmark: {_BY_HAND.format('on the speaker')}", file=sys.stderr)
    else:
        invitation.write_card(folder, invitation.card_text(line, keeper))
        print(
            f"earmark: {folder / invitation.NAME} is written;"
            " start the speaker with it within the hour",
            file=sys.stderr,
        )
    print(line, flush=True)
    return _wait_or_not(office, home, who, waits=not arguments.no_wait)


def add_owner(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Note an owner, invite her computer and wait for it."""
    del settings
    who = identity.owner(arguments.name)
    office = HouseholdStore(home.path)
    office.registry()
    if arguments.key is not None:
        home.change_roster(lambda roster: roster.with_owner(who.name, arguments.key))
    known = home.roster().known_owner(who.name)
    if not known.active:
        print(f"{who.name} is not active until she proves that she can open her clips:")
        print(f"  earmark owner challenge {who.name} | age -d -i {who.name}.key")
        print(f"  earmark owner confirm {who.name} ANSWER")
    line = _invite(office, home, who)
    print(f"earmark: {_BY_HAND.format('on her computer')}", file=sys.stderr)
    print(line, flush=True)
    return _wait_or_not(office, home, who, waits=not arguments.no_wait)


def add_service(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Make key and certificate for somebody who cannot join by himself."""
    del settings
    who = identity.HOME_ASSISTANT
    folder = Path(arguments.to)
    HouseholdStore(home.path).issue(who, folder)
    print(f"for Home Assistant's MQTT integration: {folder}/{broker_config.CA},")
    print(f"  {folder}/{who.cn}.crt and {folder}/{who.cn}.key; remove them here afterwards")
    print_reload_hint()
    return 0


def wait(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Wait for everyone who is invited."""
    del arguments, settings
    office = HouseholdStore(home.path)
    now_s = int(office.now().timestamp())
    waited = [
        member
        for member in office.registry().invitations
        if member.used_by is None and member.expires_s > now_s
    ]
    if not waited:
        raise EarmarkError("nobody is invited", "earmark household add-device invites a speaker")
    for member in waited:
        _wait(office, home, HouseholdIdentity(member.cn))
    return 0


def revoke(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Take back certificates and rights; a device's signature counts no more either."""
    del settings
    who = identity.parse(arguments.name)
    if who.kind is IdentityKind.SERVICE and who != identity.HOME_ASSISTANT:
        raise UsageError(
            f"{who.cn} is this computer itself", "earmark household renew makes its key anew"
        )
    office = HouseholdStore(home.path)
    now_s = int(office.now().timestamp())
    if who.kind is IdentityKind.DEVICE:
        # One that never joined is not in the roster.
        with contextlib.suppress(UsageError):
            home.change_roster(lambda roster: roster.without_device(who.name))
    try:
        office.update(lambda register: register.without(who, now_s))
    finally:
        # Also where there was nothing left: an earlier attempt may have been cut off before this.
        office.publish()
    if who.kind is IdentityKind.DEVICE:
        print(f"{who.name} is out: its certificate, its rights and its signature count no more")
        print("what it says to Home Assistant goes with: earmark household announce")
    else:
        print(f"{who.cn} is out: its certificate and its rights count no more")
    if who.kind is IdentityKind.OWNER:
        print(f"clips are made for her as before; to end that: earmark owner forget {who.name}")
    print_reload_hint()
    return 0


def join(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Join the household that sent a line; print the settings that make use of it."""
    invited = invitation.parse_line(_line(arguments.line))
    joined = join_client.join(home, invited)
    text = joined.settings()
    print(f"joined as {joined.who.cn}; the certificate is in {joined.folder}", file=sys.stderr)
    path = Path(arguments.settings) if arguments.settings else None
    if path is not None and not path.exists():
        write_atomic(path, text.encode(), PUBLIC_MODE)
        print(f"the settings are in {path}", file=sys.stderr)
        return 0
    fresh = parse_settings(text, "the answer")
    if settings.broker == fresh.broker and settings.device.name == fresh.device.name:
        print("the settings are as they should be", file=sys.stderr)
        return 0
    print("put this into the settings:", file=sys.stderr)
    print(text, end="")
    return 0


def print_reload_hint() -> None:
    """Say that the broker has to look at its files."""
    print(
        "earmark: the broker has to read its files again: systemctl reload mosquitto"
        " (restart it to end connections that stand)",
        file=sys.stderr,
    )


def _invite(office: HouseholdStore, home: Home, who: HouseholdIdentity) -> str:
    """Return the line that invites somebody."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    now_s = int(office.now().timestamp())
    known = office.update(lambda register: register.with_invitation(who, token, now_s))
    certificate, _ = office.service(identity.API)
    shown = invitation.Invitation(
        cn=who.cn,
        host=known.hosts[0],
        port=known.join_port,
        fingerprint=invitation.fingerprint_of_pem(certificate.read_bytes()),
        token=token,
        archive=keys.device_text(home.archive_key().public_key()),
    )
    if office.publish():
        print_reload_hint()
    return shown.line()


def _wait_or_not(office: HouseholdStore, home: Home, who: HouseholdIdentity, *, waits: bool) -> int:
    if waits:
        _wait(office, home, who)
    else:
        print("earmark: earmark household wait opens the door", file=sys.stderr)
    return 0


def _wait(office: HouseholdStore, home: Home, who: HouseholdIdentity) -> None:
    door = join_server.JoinServer(office, home, ("", office.registry().join_port))
    print(f"earmark: waiting for {who.cn} on port {door.port}", file=sys.stderr)
    try:
        with StopSignal().on_signals() as stop:
            if not door.wait(who, stop, INVITATION_S, time.monotonic):
                raise Unavailable(f"{who.cn} did not come", "earmark household wait waits on")
    finally:
        door.close()
    print(f"{who.cn} has joined", file=sys.stderr)


def _line(text: str) -> str:
    if text.startswith(invitation.PREFIX):
        return text
    try:
        return Path(text).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(
            "cannot read the invitation from that file", "give the line itself, or its file"
        ) from error


def _area(text: str | None) -> str | None:
    try:
        return msgspec.convert(text, Area | None)
    except msgspec.ValidationError as error:
        raise UsageError("this is no name of a room", "1 to 64 characters, in one line") from error
