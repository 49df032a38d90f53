"""``earmark household add-owner --bundle`` and ``confirm-owner``: one round for all speakers.

The household carries the challenges of its speakers to an owner, and the answers back. It can make
and check neither; it makes and checks the archive's own.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener import config
from listener.cli.input_file import read_input
from listener.clips.http import https_address
from listener.config import LIMIT_BYTES, parse_settings
from listener.envelope import keys
from listener.errors import EarmarkError, UsageError
from listener.household import broker_config, identity
from listener.household.owner_statements import OwnerRound
from listener.household.registry import Registry
from listener.household.state import HouseholdStore
from listener.mqtt.broadcast import BroadcastBroker
from listener.mqtt.client import Broker
from listener.mqtt.owner_statement import state_owner
from listener.mqtt.paho_client import PahoBroker
from listener.owner.bundle import (
    LONGEST_BYTES,
    ArchiveContact,
    OwnerBundle,
    PlaceChallenge,
    encode,
    parse_answer_file,
)
from listener.owner.possession import PossessionChallenge
from listener.owner.records import CHALLENGE_S, Owner
from listener.owner.roster import ARCHIVE, Roster
from listener.storage.atomic import PUBLIC_MODE, read_plain_file, write_atomic
from listener.storage.home import Home

PATIENCE_S: Final = 30.0
_SYSTEM_HOME: Final = Path("/var/lib/earmark-archive")
_SYSTEM_SETTINGS: Final = Path("/etc/earmark/archive.toml")


def brokers_of(store: HouseholdStore, registry: Registry) -> list[PahoBroker]:
    """Return a client of each of the household's brokers, with the household's own identity."""
    certificate, key = store.service(identity.HOUSEHOLD)
    reached = config.BrokerSettings(
        hosts=registry.addresses(registry.broker_host),
        port=registry.port,
        ca_file=str(store.path / broker_config.CA),
        certificate_file=str(certificate),
        key_file=str(key),
    )
    return [PahoBroker(one, identity.HOUSEHOLD.cn) for one in reached.each()]


def broker_of(store: HouseholdStore, registry: Registry) -> Broker:
    """Return a client of the household's broker, or of all of them."""
    brokers = brokers_of(store, registry)
    return brokers[0] if len(brokers) == 1 else BroadcastBroker(brokers)


def write_bundle(
    arguments: argparse.Namespace, settings: config.Config, home: Home, owner: Owner
) -> int:
    """Write the file with the challenges of the archive and of each speaker for one owner.

    Returns:
        0; 1 when a speaker has not stated a challenge for this owner and key.

    Raises:
        UsageError: a named speaker does not exist.
        Unavailable: the broker does not answer, or the file cannot be written.
    """
    store = HouseholdStore(home.path)
    devices = _chosen(home.roster().device_keys(), arguments.speaker)
    archive_key = home.archive_key()
    challenges: list[PlaceChallenge] = []
    rows: list[dict[str, Any]] = []
    if not owner.active:
        challenges.append(
            PlaceChallenge(
                place=ARCHIVE,
                key=keys.device_text(archive_key.public_key()),
                statement=state_owner(owner, ARCHIVE, archive_key, int(time.time())).decode(),
            )
        )
    rows.append({"place": ARCHIVE, "state": "confirmed" if owner.active else "challenge"})
    if devices:
        with _round(store, devices, owner.name) as carried:
            carried.collect(arguments.patience)
        for device, key in sorted(devices.items()):
            state = _state(carried, device, owner)
            rows.append({"place": device, "state": state})
            if state == "challenge":
                statement = carried.statements[device].data.decode()
                challenges.append(
                    PlaceChallenge(place=device, key=keys.device_text(key), statement=statement)
                )
    ca = (store.path / broker_config.CA).read_text("ascii")
    bundle = OwnerBundle(
        owner=owner.name,
        recipient=owner.recipient,
        archive=ArchiveContact(
            address=_address(store.registry(), settings, home),
            key=keys.device_text(archive_key.public_key()),
            ca=ca,
        ),
        challenges=tuple(challenges),
    )
    _write(arguments.bundle, encode(bundle))
    _report(rows, owner, arguments, len(challenges))
    if bundle.archive.address is None:
        print(
            "earmark: the archive has no TCP port; set archive.host and archive.port, so that"
            f" {owner.name} can reach it",
            file=sys.stderr,
        )
    return 1 if any(row["state"] in {"missing", "other key"} for row in rows) else 0


def _chosen(
    devices: Mapping[str, Ed25519PublicKey], names: list[str]
) -> Mapping[str, Ed25519PublicKey]:
    """Return the named speakers; all of them without names.

    Raises:
        UsageError: one does not exist.
    """
    for name in names:
        if name not in devices:
            raise UsageError(
                f"this household has no speaker {name!r}",
                "list the speakers: earmark household devices",
            )
    return {name: key for name, key in devices.items() if not names or name in names}


def confirm_owner(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Carry an owner's answers to the speakers, and check the one for the archive.

    Returns:
        0; 1 when a speaker has not confirmed the owner in time.

    Raises:
        EarmarkError: the file is not one of answers, or the answer for the archive is wrong.
        Unavailable: the broker does not answer.
    """
    del settings
    file = parse_answer_file(read_input(arguments.answers, LONGEST_BYTES))
    home.roster().known_owner(file.owner)
    answers = {one.place: one.answer for one in file.answers}
    states: dict[str, str] = {}
    if ARCHIVE in answers:
        _confirm_at_archive(home, file.owner, answers.pop(ARCHIVE))
        states[ARCHIVE] = "confirmed"
    devices = home.roster().device_keys()
    unknown = sorted(answers.keys() - devices.keys())
    if unknown:
        raise UsageError(
            f"the answers are for a speaker that this household does not have: {unknown[0]}",
            "list the speakers: earmark household devices",
        )
    if answers:
        store = HouseholdStore(home.path)
        with _round(store, devices, file.owner) as carried:
            carried.collect(0.0)
            carried.answer(answers, arguments.patience)
        for device in sorted(answers):
            states[device] = "confirmed" if carried.is_confirmed(device) else "waiting"
    for place, state in states.items():
        if arguments.json:
            print(json.dumps({"owner": file.owner, "place": place, "state": state}))
        elif state == "confirmed":
            print(f"{place}: {file.owner} has confirmed their key")
        else:
            print(
                f"{place}: no confirmation yet; the answer waits at the broker for"
                f" {CHALLENGE_S // 3600} hours"
            )
    return 1 if "waiting" in states.values() else 0


def _confirm_at_archive(home: Home, name: str, answer: str) -> None:
    key, now_s = home.archive_key(), int(time.time())

    def edit(roster: Roster) -> Roster:
        owner = roster.known_owner(name)
        if owner.active:
            return roster  # the file of answers is used a second time
        if not PossessionChallenge(owner, ARCHIVE, key).is_answer(answer, now_s):
            raise EarmarkError(
                f"this is not the answer of {name} to a challenge of this archive,"
                " or it has expired",
                f"make a new bundle: earmark household add-owner {name} --bundle FILE",
            )
        return roster.with_challenge(name, answer, now_s).with_confirmation(name, answer, now_s)

    home.change_roster(edit)


@contextmanager
def _round(
    store: HouseholdStore, devices: Mapping[str, Ed25519PublicKey], owner: str
) -> Iterator[OwnerRound]:
    carried = OwnerRound(broker_of(store, store.registry()), devices, owner)
    try:
        yield carried
    finally:
        carried.close()


def _state(carried: OwnerRound, device: str, owner: Owner) -> str:
    signed = carried.statements.get(device)
    if signed is None:
        return "missing"
    if signed.statement.recipient != owner.recipient:
        return "other key"
    return "confirmed" if signed.statement.challenge is None else "challenge"


def _report(
    rows: list[dict[str, Any]], owner: Owner, arguments: argparse.Namespace, count: int
) -> None:
    out = sys.stderr if arguments.bundle == "-" else sys.stdout
    if arguments.json:
        for row in rows:
            print(json.dumps({"owner": owner.name, **row}), file=out)
        return
    texts = {
        "challenge": "a challenge",
        "confirmed": f"{owner.name} has confirmed their key there",
        "missing": f"no challenge; run on it: earmark owner add {owner.name} --key"
        f" {owner.recipient}",
        "other key": f"it has another public key of {owner.name}; compare them on both:"
        " earmark owner list",
    }
    for row in rows:
        print(f"{row['place']}: {texts[row['state']]}", file=out)
    if count == 0:
        print(
            f"nothing to confirm for {owner.name}; the bundle holds the archive's address only",
            file=out,
        )
        return
    name = "BUNDLE" if arguments.bundle == "-" else Path(arguments.bundle).name
    _print_answer_steps(owner.name, name, out)


def print_round(owner: str) -> None:
    """Print the steps by which an owner confirms their key to the archive and to every speaker."""
    bundle = f"{owner}.bundle"
    print(f"{owner} is inactive until they confirm that they hold the secret key; run here:")
    print(f"  earmark household add-owner {owner} --bundle {bundle}")
    _print_answer_steps(owner, bundle, sys.stdout)


def _print_answer_steps(owner: str, bundle: str, out: TextIO) -> None:
    print(f"{owner} answers on their own computer, within {CHALLENGE_S // 3600} hours:", file=out)
    print(f"  earmark owner answer {bundle} --identity {owner}.key", file=out)
    print("then run here with the file that it writes:", file=out)
    print(f"  earmark household confirm-owner {owner}.answers", file=out)


def _address(registry: Registry, settings: config.Config, home: Home) -> str | None:
    port = settings.archive.port
    if port == 0 and home.path == _SYSTEM_HOME and _SYSTEM_SETTINGS.exists():
        text = read_plain_file(_SYSTEM_SETTINGS, LIMIT_BYTES, follow_links=True)
        port = parse_settings(text.decode("utf-8", "replace"), str(_SYSTEM_SETTINGS)).archive.port
    if port == 0:
        return None
    return https_address(registry.hosts[0], port)


def _write(path: str, data: bytes) -> None:
    if path == "-":
        sys.stdout.write(data.decode("ascii"))
        sys.stdout.flush()
        return
    write_atomic(Path(path), data, PUBLIC_MODE)
