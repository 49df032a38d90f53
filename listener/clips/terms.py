"""``earmark clips retention``, ``keys`` and ``new-key``: what the archive holds itself to."""

import argparse
import json
from pathlib import Path

import msgspec

from listener.clips.answers import KeysReply, RetentionReply
from listener.clips.desk import Session
from listener.envelope.open import Identity
from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.owner.key_rotation import KeyRotation, prove_rotation
from listener.rights import requests
from listener.storage.owner_files import read_identities


def retention(arguments: argparse.Namespace, desk: Session) -> int:
    """Say how long clips are kept at most, or shorten it.

    Raises:
        EarmarkError: the archive says no, or does not answer.
    """
    reply = desk.asker.request(desk.request("retention", days=arguments.days), RetentionReply)
    if arguments.days not in {None, reply.days} or reply.owner != desk.asker.owner:
        raise Unavailable("the archive did not take it", "try again later")
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(reply)))
    elif reply.days is None:
        print(f"{reply.owner}: each clip as long as the speaker signed for it")
    else:
        print(f"{reply.owner}: {reply.days} days at most, and none longer than the speaker signed")
    return 0


def keys(arguments: argparse.Namespace, desk: Session) -> int:
    """Say which keys count as hers, and which of them this identity holds.

    Raises:
        EarmarkError: the archive says no, or does not answer.
    """
    _show(desk.asker.request(desk.request("keys"), KeysReply), arguments, desk)
    return 0


def new_key(arguments: argparse.Namespace, desk: Session) -> int:
    """Put the key of another identity in place of the active one; both are proved here.

    Raises:
        ConfigError: the file holds no key, or several.
        EarmarkError: the archive says no, or does not answer.
    """
    path = Path(arguments.new_identity)
    identities = read_identities(path)
    if len(identities) != 1:
        raise ConfigError(
            f"{path} holds {len(identities)} keys",
            "the new one alone: age-keygen -o new.key makes it",
        )
    (following,) = identities
    before = desk.asker.request(desk.request("keys"), KeysReply)
    proofs = _proofs(desk, before, following)
    request = desk.request("new-key", recipient=following.recipient, proofs=proofs)
    reply = desk.asker.request(request, KeysReply, following)
    if reply.active != following.okey:
        raise Unavailable("the archive did not take the new key", "try again later")
    if arguments.json:
        _show(reply, arguments, desk)
        return 0
    _show(reply, arguments, desk)
    if proofs:
        print(
            "each speaker was sent the proof, and follows before its next clip when the archive"
            " reaches it; earmark clips keys shows which has"
        )
    left = sorted(reply.devices.keys() - {one["device"] for one in proofs})
    for device in left:
        print(f"on {device} a person has to do it:")
        print(_by_hand(desk.asker.owner, following.recipient, arguments.new_identity))
    print("to open older clips, and those that are under way, keep the old key")
    return 0


def _proofs(desk: Session, reply: KeysReply, following: Identity) -> list[dict[str, str]]:
    """Return what proves to each speaker that the next key is hers, by the one that it seals to."""
    active = next((one for one in desk.asker.identities if one.okey == reply.active), None)
    if active is None:
        raise EarmarkError(
            "the active key is not in this identity", "it has to prove the one that follows it"
        )
    desk.known.pin_devices(reply.devices)
    proofs: list[dict[str, str]] = []
    for device, key in sorted(desk.known.devices().items()):
        if device in reply.devices and len(proofs) < requests.MOST_PROOFS:
            bare = KeyRotation(
                owner=desk.asker.owner, device=device, old=active.okey, new=following.recipient
            )
            proof = prove_rotation(bare, active.agreement(), following.agreement(), key)
            proofs.append({"device": device, "old": proof.old_proof, "new": proof.new_proof})
    return proofs


def _by_hand(owner: str, recipient: str, path: str) -> str:
    return (
        f"  earmark owner new-key {owner} --key {recipient}\n"
        f"  earmark owner challenge {owner} --present | age -d -i {path}\n"
        f"  earmark owner confirm {owner} ANSWER"
    )


def _show(reply: KeysReply, arguments: argparse.Namespace, desk: Session) -> None:
    held = {identity.okey for identity in desk.asker.identities}
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(reply) | {"held": sorted(held)}))
        return
    for okey, what in [(reply.active, "active"), *((one, "retired") for one in reply.retired)]:
        where = "in this identity" if okey in held else "not in this identity"
        print(f"{okey}  {what:<7}  {where}")
    for device, sealed_to in sorted(reply.sealed_to.items()):
        state = "no clip of hers yet"
        if sealed_to == reply.active:
            state = "seals to the active key"
        elif sealed_to is not None:
            state = f"its newest clip is sealed to {sealed_to}, which is retired"
        print(f"{device}: {state}")
    active = next((one for one in desk.asker.identities if one.okey == reply.active), None)
    behind = [
        device for device, okey in reply.sealed_to.items() if okey not in {None, reply.active}
    ]
    if behind and active is not None:
        print("a speaker that still stays behind after its next clip needs a person there:")
        print(_by_hand(desk.asker.owner, active.recipient, arguments.identity))
