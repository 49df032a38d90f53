"""``earmark owner voiceprint``: lists, exports, imports and erases the voiceprints of a speaker."""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from listener.cli.input_file import read_input
from listener.config import Config
from listener.envelope import keys
from listener.envelope.format import format_timestamp
from listener.envelope.seal import encrypt_to
from listener.errors import EarmarkError, UsageError
from listener.inference.speaker_embedding import read_model_sha256
from listener.storage.home import Home
from listener.storage.voiceprints import VoiceprintStore
from listener.voiceprint.enrolment import check_other_person
from listener.voiceprint.erasure_receipt import ErasureReceipt, sign_erasure
from listener.voiceprint.record import (
    LONGEST_VOICEPRINT_BYTES,
    Voiceprint,
    check_voiceprint,
    encode_voiceprint,
    parse_signed_voiceprint,
)
from listener.voiceprint.scoring import similarity

_Action = Callable[[argparse.Namespace, Home], int]


def manage_voiceprints(arguments: argparse.Namespace, settings: Config, home: Home) -> int:
    """Run one action on the voiceprints of this speaker.

    Raises:
        EarmarkError: for anything foreseeable.
    """
    del settings
    if not home.is_speaker():
        raise UsageError(
            f"{home.path} is not the data directory of a speaker", "run this on the speaker"
        )
    if arguments.what == "list":
        if arguments.name is not None:
            raise UsageError("list takes no name", "run earmark owner voiceprint list")
        return _list(arguments, home)
    if arguments.name is None:
        raise UsageError(
            f"{arguments.what} needs the name of an owner",
            f"run earmark owner voiceprint {arguments.what} NAME",
        )
    actions: dict[str, _Action] = {
        "export": _export,
        "import": _import,
        "erase": _erase,
    }
    return actions[arguments.what](arguments, home)


def erase_voiceprint(name: str, home: Home) -> str | None:
    """Erase the voiceprint of an owner, if there is one; return the signed receipt.

    Args:
        name: the owner, who need not be in the roster any more.
        home: data directory of a speaker.

    Raises:
        Unavailable: it cannot be erased.
    """
    key = home.device_key()
    digest = VoiceprintStore(home.path).erase(name)
    if digest is None:
        return None
    receipt = ErasureReceipt(
        owner=name,
        sha256=digest or None,
        t=format_timestamp(datetime.now(UTC)),
        device=keys.device_text(key.public_key()),
    )
    return sign_erasure(receipt, key)


def _list(arguments: argparse.Namespace, home: Home) -> int:
    store = VoiceprintStore(home.path)
    loaded = store.load(home.roster(), home.device_key().public_key(), read_model_sha256())
    refused = {error.owner: error for error in loaded.refused}
    for name in store.names():
        error = refused.get(name)
        voiceprint = loaded.accepted.get(name)
        if arguments.json:
            row = {
                "owner": name,
                "used": voiceprint is not None,
                "reason": None if error is None else error.reason,
                "t": None if voiceprint is None else voiceprint.t,
                "sentences": None if voiceprint is None else voiceprint.sentences,
            }
            print(json.dumps(row))
        elif voiceprint is not None:
            print(f"{name}  {voiceprint.t}  {voiceprint.sentences} sentences")
        elif error is not None:
            print(f"{name}  {error}; {error.hint}")
    if not arguments.json and not store.names():
        print("no voiceprints; to make one: earmark owner enrol NAME")
    return 1 if refused else 0


def _export(arguments: argparse.Namespace, home: Home) -> int:
    name: str = arguments.name
    voiceprint = _read(name, home)
    owner = home.roster().known_owner(name)
    data = encode_voiceprint(voiceprint, home.device_key())
    sealed = encrypt_to(owner.recipient, data, armored=True).decode("ascii")
    if arguments.json:
        print(json.dumps({"owner": name, "sealed": sealed}))
        return 0
    print(sealed, end="", flush=True)
    print(
        f"earmark: sealed to the key of {name}; on the other speaker: age -d -i {name}.key FILE |"
        f" earmark owner voiceprint import {name}",
        file=sys.stderr,
    )
    return 0


def _import(arguments: argparse.Namespace, home: Home) -> int:
    name: str = arguments.name
    roster, key = home.roster(), home.device_key()
    owner = roster.known_owner(name)
    data = read_input("-", LONGEST_VOICEPRINT_BYTES)
    if data.startswith((b"-----BEGIN AGE", b"age-encryption.org/")):
        raise UsageError(
            f"this voiceprint is sealed to the key of {name}",
            f"decrypt it first: age -d -i {name}.key FILE | earmark owner voiceprint import {name}",
        )
    voiceprint = parse_signed_voiceprint(data, name)
    okeys = [keys.owner_id(one) for one in owner.recipients] if owner.active else []
    check_voiceprint(voiceprint, name, okeys=okeys, model=read_model_sha256())
    store = VoiceprintStore(home.path)
    known = store.load(roster, key.public_key(), voiceprint.model).accepted
    others = {other: one.embedding for other, one in known.items() if other != name}
    check_other_person(voiceprint.embedding, others)
    nearest = max(
        (similarity(voiceprint.embedding, other) for other in others.values()), default=0.0
    )
    made = msgspec.structs.replace(
        voiceprint,
        device=keys.device_text(key.public_key()),
        threshold=max(voiceprint.threshold, nearest),
    )
    store.write(made, key)
    origin = keys.device_id(voiceprint.device_key)
    if arguments.json:
        print(json.dumps({"owner": name, "from": origin, "t": made.t}))
        return 0
    print(f"imported the voiceprint of {name}, which the speaker with the key {origin} made")
    print("earmark household this-device prints the key of a speaker")
    return 0


def _erase(arguments: argparse.Namespace, home: Home) -> int:
    name: str = arguments.name
    receipt = erase_voiceprint(name, home)
    if receipt is None:
        raise EarmarkError(f"there is no voiceprint of {name}", "run earmark owner voiceprint list")
    if arguments.json:
        print(receipt)
        return 0
    print(f"erased the voiceprint of {name}; the receipt, signed by this speaker:")
    print(receipt)
    return 0


def _read(name: str, home: Home) -> Voiceprint:
    found = VoiceprintStore(home.path).read(
        name, home.roster(), home.device_key().public_key(), read_model_sha256()
    )
    if found is None:
        raise EarmarkError(
            f"there is no voiceprint of {name}", f"make it: earmark owner enrol {name}"
        )
    return found
