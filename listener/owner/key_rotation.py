"""Rotation of an owner's key, authorised to one speaker by the key in use. Pure.

An age key cannot sign. But an owner's key and a speaker's key agree on a shared secret (X25519),
and a MAC made with it (HKDF-SHA256, HMAC-SHA256) authenticates the owner to this speaker only; the
archive, the broker and other speakers can neither make it nor use it. The new key makes a second
MAC, which proves that the owner holds it.

Replaying a rotation has no effect: it applies only while its old key is the active one, and a
roster never takes a key twice. ``docs/decisions/0035-key-rotation-authorised-by-old-key.md`` gives
the reasons.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from msgspec import Meta

from listener import digests
from listener.envelope import keys
from listener.envelope.format import KeyId, ShortName
from listener.errors import ConfigError, EarmarkError, UsageError
from listener.owner.agreement_code import Code, agree_code
from listener.owner.records import Owner
from listener.owner.roster import Roster

LONGEST_BYTES: Final = 7 << 10
_CONTEXT: Final = b"EARMARK/NEW-KEY/1\n"


class KeyRotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An owner's request to one speaker to use another key."""

    v: Literal[1] = 1
    owner: ShortName
    device: ShortName
    old: KeyId
    """Fingerprint of the key that is replaced."""
    new: Annotated[str, Meta(pattern=r"^age1[a-z0-9]{58}\Z")]
    """The new public key."""
    old_proof: Code = ""
    """MAC by the old key, base64."""
    new_proof: Code = ""
    """MAC by the new key, base64."""

    def encode(self) -> bytes:
        """Return the JSON of the message."""
        return msgspec.json.encode(self, order="sorted")

    def authenticated_bytes(self) -> bytes:
        """Return the bytes that both MACs authenticate."""
        fields = {"device": self.device, "new": self.new, "old": self.old, "owner": self.owner}
        return _CONTEXT + msgspec.json.encode(fields, order="sorted")


def prove_rotation(
    rotation: KeyRotation, old: X25519PrivateKey, new: X25519PrivateKey, device: Ed25519PublicKey
) -> KeyRotation:
    """Return the rotation with both MACs.

    Args:
        rotation: without MACs.
        old: the owner's active secret key.
        new: the owner's new secret key.
        device: public key of the speaker; MACs for another key are valid nowhere.

    Raises:
        ConfigError: the speaker's key cannot be used for key agreement.
    """
    theirs = keys.agreement_public(device)
    return msgspec.structs.replace(
        rotation,
        old_proof=_code(old, theirs, old.public_key(), rotation),
        new_proof=_code(new, theirs, new.public_key(), rotation),
    )


def parse(data: bytes) -> tuple[KeyRotation, ...]:
    """Parse the rotations in a message to a speaker.

    Args:
        data: any bytes are safe.

    Raises:
        EarmarkError: the bytes are not such a message. Nothing else is raised.
    """
    try:
        if len(data) > LONGEST_BYTES:
            raise ValueError("too long")  # noqa: TRY301 - one handler reports every fault
        return msgspec.json.decode(data, type=tuple[KeyRotation, ...])
    except (ValueError, RecursionError) as error:
        raise EarmarkError("this is not a key rotation message") from error


def apply_rotation(
    roster: Roster, rotations: Iterable[KeyRotation], device: str, key: Ed25519PrivateKey
) -> Roster:
    """Return the roster after each rotation that is authorised to this speaker, in order.

    Args:
        roster: the speaker's roster.
        rotations: from any source.
        device: name of the speaker.
        key: secret key of the speaker.
    """
    for rotation in rotations:
        owner = roster.owner(rotation.owner)
        if owner is not None and _is_proven(rotation, owner, device, key):
            try:
                roster = roster.with_new_key(rotation.owner, rotation.new)
            except (ConfigError, UsageError):
                continue  # the key is in use or was used before, also by this owner
    return roster


def _is_proven(rotation: KeyRotation, owner: Owner, device: str, key: Ed25519PrivateKey) -> bool:
    if not owner.active or rotation.device != device or rotation.old != owner.okey:
        return False
    secret = keys.agreement_secret(key)
    try:
        pairs = [
            (X25519PublicKey.from_public_bytes(keys.age_bytes(recipient)), proof)
            for recipient, proof in (
                (owner.recipient, rotation.old_proof),
                (keys.parse_recipient(rotation.new), rotation.new_proof),
            )
        ]
        expected = [
            (_code(secret, owner_key, owner_key, rotation), proof) for owner_key, proof in pairs
        ]
    except (ConfigError, ValueError):
        return False
    return all(digests.compare_digests(code.encode(), proof.encode()) for code, proof in expected)


def _code(
    mine: X25519PrivateKey,
    theirs: X25519PublicKey,
    owner: X25519PublicKey,
    rotation: KeyRotation,
) -> str:
    return agree_code(mine, theirs, owner, _CONTEXT, rotation.authenticated_bytes())
