"""Membership actions of ``earmark household``: invite, join, revoke, and the accepted devices."""

import argparse
import contextlib
import json
import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from listener import config
from listener.cli import household_assist, household_clips, household_owner, household_speaker
from listener.cli.main import SYSTEM_CONFIG
from listener.config import parse_settings
from listener.envelope import keys
from listener.errors import ConfigError, EarmarkError, Unavailable, UsageError
from listener.household import broker_config, identity, invitation, join_client, join_server
from listener.household.broker_service import update_broker
from listener.household.identity import HouseholdIdentity, IdentityKind
from listener.household.publish import SYSTEM_BROKER, can_broker_reach, chown_to_broker
from listener.household.registry import INVITATION_S, Area, Speaker
from listener.household.state import HouseholdStore
from listener.storage.atomic import PUBLIC_MODE, write_atomic
from listener.storage.home import Home
from listener.system.systemd import StopSignal
from listener.text_encoding import decode_text

_TOKEN_BYTES: Final = 16
_LAST_S: Final = 253_402_300_799  # the last second that datetime can represent
_JOIN_HINT: Final = "run {} within one hour: earmark household join LINE"


def show_this_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Print this device's name and public key; create the key if there is none."""
    public = home.device_key().public_key()
    name, key = settings.device.name, keys.device_text(public)
    if arguments.json:
        print(json.dumps({"device": name, "dkey": keys.device_id(public), "key": key}))
        return 0
    print(f"{name} {key}", flush=True)
    print(
        f"earmark: run on the archive's computer: earmark household add-device {name} --key {key}",
        file=sys.stderr,
    )
    return 0


def trust_device(home: Home, name: str, key: str, *, as_json: bool = False) -> int:
    """Accept the signature of a device, and print its fingerprint.

    Raises:
        EarmarkError: the name or the key is invalid or in use.
    """
    home.change_roster(lambda roster: roster.with_device(name, key))
    fingerprint = keys.device_id(keys.parse_device(key))
    if as_json:
        print(json.dumps({"device": name, "dkey": fingerprint, "key": key}))
        return 0
    print(f"added {name}: its signature is accepted; fingerprint of the key: {fingerprint}")
    return 0


def list_devices(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Print every device whose signature is accepted, and the retired keys."""
    del settings
    roster = home.roster()
    known, retired = roster.devices, roster.retired_devices
    if arguments.json:
        for device in known:
            print(json.dumps({"device": device.name, "dkey": device.dkey, "key": device.key}))
        for old in retired:
            row = {"device": old.name, "dkey": old.dkey, "key": old.key}
            print(json.dumps(row | {"retired": old.retired_s, "last_seq": old.last_seq}))
        return 0
    names = [*(device.name for device in known), *(old.name for old in retired)]
    width = max(map(len, names), default=0)
    for device in known:
        print(f"{device.name:<{width}}  {device.dkey}")
    for old in retired:
        day = datetime.fromtimestamp(min(old.retired_s, _LAST_S), UTC).date()
        last = "" if old.last_seq is None else f", last accepted number {old.last_seq}"
        print(f"{old.name:<{width}}  {old.dkey}  retired {day}{last}")
    if not known and not retired:
        print("no devices; to add one, see earmark household --help")
    return 0


def remove_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Remove a device from the roster; with ``--key``, add the key of one removed before."""
    del settings
    name, now_s = arguments.name, int(time.time())
    if arguments.key is not None:
        home.change_roster(lambda roster: roster.with_retired_key(name, arguments.key, now_s))
        if arguments.json:
            print(json.dumps({"device": name, "retired_key": arguments.key}))
            return 0
        print(f"added the retired key of {name}: its archived clips verify, new ones are refused")
        print("clips in the archive's quarantine are restored when the archive starts")
        return 0
    home.change_roster(lambda roster: roster.without_device(name, now_s))
    if arguments.json:
        print(json.dumps({"device": name, "removed": True}))
        return 0
    print(f"removed {name}: its signature is refused from now on; its archived clips stay valid")
    return 0


def add_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Invite a device and wait until it joins; with ``--key``, only accept its signature."""
    del settings
    who = identity.device(arguments.name)
    if arguments.key is not None:
        return trust_device(home, who.name, arguments.key, as_json=arguments.json)
    household_speaker.check_arguments(arguments)
    settings_text = household_speaker.card_settings(arguments)
    folder = None if arguments.card is None else Path(arguments.card)
    if folder is not None:
        invitation.check_card(folder)
    if arguments.here:
        household_speaker.speaker_home(Path(arguments.settings or SYSTEM_CONFIG))
    HouseholdStore(home.path).registry()
    keeper = household_speaker.keeper_of(arguments, home)
    store = HouseholdStore(home.path)
    speaker = Speaker(
        name=who.name, area=_area(arguments.area), remote_unmute=arguments.remote_unmute
    )
    known = next((one for one in store.registry().speakers if one.name == who.name), None)
    if known is None or arguments.area is not None or arguments.remote_unmute:
        store.update(lambda registry: registry.with_speaker(speaker))
    line = _invite(store, home, who)
    text = invitation.card_text(line, keeper) + settings_text
    if arguments.here:
        taken = household_speaker.set_up_here(arguments, store, home, text, keeper)
        reload_broker(store)
        household_speaker.restart_services()
        if arguments.json:
            settings_file = arguments.settings or SYSTEM_CONFIG
            row = {"identity": who.cn, "settings": settings_file, "done": taken}
            print(json.dumps(row | {"keeper_active": keeper is not None and keeper.active}))
            return 0
        for line in (*taken, f"wrote {arguments.settings or SYSTEM_CONFIG}"):
            print(line)
        if keeper is not None and not keeper.active:
            household_owner.print_round(keeper.name)
        return 0
    if folder is None:
        print(f"earmark: {_JOIN_HINT.format('on the speaker')}", file=sys.stderr)
    else:
        invitation.write_card(folder, text)
        print(
            f"earmark: wrote {folder / invitation.NAME};"
            " start the speaker with the card within one hour",
            file=sys.stderr,
        )
    _print_line(who, line, as_json=arguments.json)
    return _wait_or_not(store, home, who, waits=not arguments.no_wait)


def add_owner(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Add an owner; write the challenges to them, or invite their computer and wait."""
    who = identity.owner(arguments.name)
    store = HouseholdStore(home.path)
    store.registry()
    if arguments.speaker and arguments.bundle is None:
        raise UsageError("--speaker needs --bundle", "pass --bundle FILE")
    if arguments.key is not None:
        home.change_roster(lambda roster: roster.with_owner(who.name, arguments.key))
    known = home.roster().known_owner(who.name)
    if arguments.bundle is not None:
        return household_owner.write_bundle(arguments, settings, home, known)
    if not known.active and not arguments.json:
        household_owner.print_round(who.name)
    line = _invite(store, home, who)
    where = f"on {who.name}'s computer"
    print(f"earmark: {_JOIN_HINT.format(where)}", file=sys.stderr)
    _print_line(who, line, as_json=arguments.json)
    return _wait_or_not(store, home, who, waits=not arguments.no_wait)


def add_service(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Create key and certificate for a service that cannot join by itself."""
    del settings
    if arguments.name == identity.ASSIST.name:
        if arguments.bridge or arguments.bridge_folder:
            raise UsageError(
                "--bridge is for home-assistant only", "leave --bridge and --bridge-folder out"
            )
        return household_assist.add_assist(
            HouseholdStore(home.path), home, Path(arguments.to), as_json=arguments.json
        )
    folder = Path(arguments.to)
    if arguments.instance is not None and arguments.name != identity.ARCHIVE.name:
        raise UsageError("--instance is for archive only", "leave --instance out")
    if arguments.name in {identity.ARCHIVE.name, identity.PROXY.name}:
        if arguments.bridge or arguments.bridge_folder:
            raise UsageError(
                "--bridge is for home-assistant only", "leave --bridge and --bridge-folder out"
            )
        return _add_of_fleet(arguments, HouseholdStore(home.path), folder)
    who = identity.HOME_ASSISTANT
    if arguments.bridge_folder and not arguments.bridge:
        raise UsageError("--bridge-folder needs --bridge", "pass --bridge FILE")
    store = HouseholdStore(home.path)
    used_in = ""
    if arguments.bridge:
        used_in = _add_bridge(store, folder, Path(arguments.bridge), arguments.bridge_folder)
    else:
        store.issue(who, folder)
    if arguments.json:
        row = {"identity": who.cn, "folder": str(folder.absolute()), "bridge": arguments.bridge}
        print(json.dumps(row))
    elif arguments.bridge:
        _print_bridge_steps(Path(arguments.bridge), folder, used_in)
    else:
        print(f"upload to Home Assistant's MQTT integration: {folder}/{broker_config.CA},")
        print(f"  {folder}/{who.cn}.crt and {folder}/{who.cn}.key; then delete them here")
    reload_broker(store)
    return 0


def _add_of_fleet(arguments: argparse.Namespace, store: HouseholdStore, folder: Path) -> int:
    """Create key and certificate of one of several archives, or of the proxy before them."""
    who, text = identity.PROXY, ""
    if arguments.name == identity.ARCHIVE.name:
        if arguments.instance not in range(1, identity.MOST_ARCHIVES + 1):
            raise UsageError(
                f"archive needs --instance, a number from 1 to {identity.MOST_ARCHIVES}",
                "pass --instance N, as archive.instance of its configuration",
            )
        who, registry = identity.archive(arguments.instance), store.registry()
        text = (
            f"[broker]\n{registry.broker_table(registry.broker_host)}"
            f'ca_file = "{folder.absolute() / broker_config.CA}"\n'
            f'certificate_file = "{folder.absolute() / f"{who.cn}.crt"}"\n'
            f'key_file = "{folder.absolute() / f"{who.cn}.key"}"\n'
            f"\n[archive]\ninstance = {arguments.instance}\n"
            'database = "postgresql://earmark@db.lan/earmark"\n'
            'objects = "s3://earmark/clips"\n'
        )
    store.issue(who, folder)
    if arguments.json:
        row = {"identity": who.cn, "folder": str(folder.absolute()), "settings": text}
        print(json.dumps(row))
    elif text:
        print("configuration of this archive, with your own database and object store;")
        print(f"set archive.instances to the number of archives:\n{text}")
    else:
        crt = folder.absolute() / f"{who.cn}.crt"
        print(f"give the proxy {crt} and its key; set at each archive:")
        print(f'  archive.proxy_certificate_file = "{crt}"')
    reload_broker(store)
    return 0


def _add_bridge(
    store: HouseholdStore, folder: Path, bridge: Path, bridge_folder: str | None
) -> str:
    """Write the certificate of Home Assistant, and the configuration of a bridge that uses it.

    Returns:
        The folder of the files on the other broker's computer.
    """
    who, registry = identity.HOME_ASSISTANT, store.registry()
    used_in = bridge_folder or str(folder.absolute())
    brokers = [(registry.hosts[0], registry.port)]
    brokers += [(further.host, further.port) for further in registry.further()]
    text = "\n".join(
        broker_config.render_bridge(used_in, host, port, number)
        for number, (host, port) in enumerate(brokers, 1)
    )
    store.issue(who, folder)
    write_atomic(bridge, text.encode(), PUBLIC_MODE)
    files = (broker_config.CA, f"{who.cn}.crt", f"{who.cn}.key")
    chown_to_broker([folder, *(folder / name for name in files)])
    return used_in


def _print_bridge_steps(bridge: Path, folder: Path, used_in: str) -> None:
    print(f"wrote {bridge}, for the mosquitto that Home Assistant uses:")
    if used_in != str(folder.absolute()):
        print(f"  move the files of {folder} to {used_in} on its computer")
    elif not can_broker_reach(folder):
        print(f"  the user of mosquitto cannot read {folder}: choose another folder for --to")
    print("  put the file into its configuration folder, and restart it")
    print("to publish the speakers to it: earmark household announce")


def wait(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Wait until every invited member has joined."""
    del settings
    store = HouseholdStore(home.path)
    now_s = int(store.now().timestamp())
    invited = [
        member
        for member in store.registry().invitations
        if member.used_by is None and member.expires_s > now_s
    ]
    if not invited:
        raise EarmarkError(
            "there is no open invitation", "invite a speaker: earmark household add-device NAME"
        )
    for member in invited:
        _wait(store, home, HouseholdIdentity(member.cn))
        if arguments.json:
            print(json.dumps({"identity": member.cn, "joined": True}), flush=True)
    return 0


def revoke(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Revoke a member's certificates and access rights, and refuse a device's signature."""
    del settings
    who = identity.parse(arguments.name)
    if not identity.is_revocable(who):
        raise UsageError(
            f"{who.cn} is a service of this computer and cannot be revoked",
            "replace its key: earmark household renew",
        )
    store = HouseholdStore(home.path)
    now_s = int(store.now().timestamp())
    if who.kind is IdentityKind.DEVICE:
        _retire_device(store, home, who, now_s)
    try:
        store.update(lambda registry: registry.without(who, now_s))
    finally:
        # Also when nothing changed: an earlier attempt may have been interrupted before this.
        store.publish()
    restarted = update_broker(store.published().broker, closes_connections=True)
    if arguments.json:
        print(json.dumps({"identity": who.cn, "revoked": True, "broker_restarted": restarted}))
    else:
        _print_revoked(who)
    _name_further_brokers(store)
    if not restarted:
        if not arguments.json:
            print("the broker refuses its certificate and access rights once it is restarted")
        print("earmark: restart the broker: systemctl restart mosquitto", file=sys.stderr)
    return 0


def _print_revoked(who: HouseholdIdentity) -> None:
    if who.kind is IdentityKind.DEVICE:
        print(f"revoked {who.name}: its signature is refused from now on")
        print("the clips that the archive accepted from it stay valid")
        print("to remove it from Home Assistant: earmark household announce")
    else:
        print(f"revoked {who.cn}")
    if who.kind is IdentityKind.OWNER:
        print(f"clips are still made for this owner; to stop: earmark owner forget {who.name}")


def _retire_device(store: HouseholdStore, home: Home, who: HouseholdIdentity, now_s: int) -> None:
    """Retire the signature of a device that has a certificate to revoke.

    Raises:
        EarmarkError: it has none, so its signature is left as it is.
    """
    try:
        store.registry().without(who, now_s)
    except EarmarkError as error:
        store.publish()  # an earlier attempt may have been interrupted before this
        if who.name not in home.roster().device_keys():
            raise
        raise EarmarkError(
            f"{who.cn} has no certificate to revoke; its signature is still accepted",
            f"to refuse its signature: earmark household forget-device {who.name}",
        ) from error
    # A device that never joined is not in the roster.
    with contextlib.suppress(UsageError):
        home.change_roster(lambda roster: roster.without_device(who.name, now_s))


def join(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Join the household of an invitation; write or print the configuration for it.

    On an owner's computer, ``earmark clips`` uses this owner and household from then on.
    """
    invited = invitation.parse_line(_line(arguments.line))
    household_clips.check_identity_file(arguments, invited, home)
    joined = join_client.join(home, invited)
    text = joined.settings()
    print(f"earmark: joined as {joined.who.cn}; certificate in {joined.folder}", file=sys.stderr)
    if joined.who.kind is IdentityKind.OWNER:
        household_clips.remember_owner(arguments, invited, joined, home)
    path = Path(arguments.settings) if arguments.settings else None
    if arguments.json:
        if path is not None and not path.exists():
            write_atomic(path, text.encode(), PUBLIC_MODE)
        print(
            json.dumps(
                {
                    "identity": joined.who.cn,
                    "folder": str(joined.folder),
                    "broker_host": joined.broker_host,
                    "broker_port": joined.broker_port,
                    "settings": text,
                }
            )
        )
        return 0
    if path is not None and not path.exists():
        write_atomic(path, text.encode(), PUBLIC_MODE)
        print(f"earmark: wrote the configuration {path}", file=sys.stderr)
        return 0
    wanted = parse_settings(text, "the household's answer")
    if settings.broker == wanted.broker and settings.device.name == wanted.device.name:
        print("earmark: the configuration needs no change", file=sys.stderr)
        return 0
    print("earmark: add this to the configuration:", file=sys.stderr)
    print(text, end="")
    return 0


def reload_broker(store: HouseholdStore, *, closes_connections: bool = False) -> None:
    """Let the broker read its files again, or print that it must.

    Args:
        store: the household.
        closes_connections: also end open connections, of a member who was revoked.
    """
    word = "restart" if closes_connections else "reload"
    _name_further_brokers(store)
    if update_broker(store.published().broker, closes_connections=closes_connections):
        print(f"earmark: {word}ed mosquitto", file=sys.stderr)
        return
    print(
        "earmark: reload the broker: systemctl reload mosquitto"
        " (restart it to close open connections)",
        file=sys.stderr,
    )


def _name_further_brokers(store: HouseholdStore) -> None:
    """Print that the brokers on other computers need their files again."""
    files = store.published()
    for further in store.registry().further():
        print(
            f"earmark: copy the files of {files.for_broker(further)} to {SYSTEM_BROKER} on"
            f" {further.host}, and restart mosquitto there",
            file=sys.stderr,
        )


def _invite(store: HouseholdStore, home: Home, who: HouseholdIdentity) -> str:
    """Create an invitation and return its line."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    now_s = int(store.now().timestamp())
    known = store.update(lambda registry: registry.with_invitation(who, token, now_s))
    certificate, _ = store.service(identity.API)
    invited = invitation.Invitation(
        cn=who.cn,
        host=known.hosts[0],
        port=known.join_port,
        fingerprint=invitation.fingerprint_of_pem(certificate.read_bytes()),
        token=token,
        archive=keys.device_text(home.archive_key().public_key()),
    )
    if store.publish():
        reload_broker(store)
    return invited.line()


def _print_line(who: HouseholdIdentity, line: str, *, as_json: bool) -> None:
    """Print the invitation before the wait for the member that uses it."""
    print(json.dumps({"identity": who.cn, "line": line}) if as_json else line, flush=True)


def _wait_or_not(store: HouseholdStore, home: Home, who: HouseholdIdentity, *, waits: bool) -> int:
    if waits:
        _wait(store, home, who)
    else:
        print("earmark: to let the member join, run: earmark household wait", file=sys.stderr)
    return 0


def _wait(store: HouseholdStore, home: Home, who: HouseholdIdentity) -> None:
    server = join_server.JoinServer(store, home, ("", store.registry().join_port))
    print(f"earmark: waiting for {who.cn} on port {server.port}", file=sys.stderr)
    try:
        with StopSignal().on_signals() as stop:
            if not server.wait(who, stop, INVITATION_S, time.monotonic):
                raise Unavailable(
                    f"{who.cn} did not join in time", "wait again: earmark household wait"
                )
    finally:
        server.close()
    print(f"earmark: {who.cn} has joined", file=sys.stderr)


def _line(text: str) -> str:
    if text.startswith(invitation.PREFIX):
        return text
    try:
        return decode_text(Path(text).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            "cannot read the invitation: not a line and not a readable file",
            "pass the line printed by earmark household add-device, or its file",
        ) from error


def _area(text: str | None) -> str | None:
    try:
        return msgspec.convert(text, Area | None)
    except msgspec.ValidationError as error:
        raise UsageError(
            "the name of the room is not valid", "use 1 to 64 characters in one line"
        ) from error
