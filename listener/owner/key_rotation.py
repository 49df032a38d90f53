"""An owner's next key, proven to one speaker by the key that it seals to now. Pure.

An age key signs nothing. But two keys agree on a secret that nobody else can know (X25519): hers
and the speaker's. A code made with that secret is hers, for this speaker, and worth nothing to
whoever carries it: not the archive, not the broker, not another speaker. The new key makes one too,
so that nobody is moved on to a key that she does not hold.

What is said can be said again without harm: it counts where the key it begins at is the active one,
and a roster takes no key a second time.
"""

import base64
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from listener import digests
from listener.envelope import keys
from listener.envelope.format import KeyId, ShortName
from listener.errors import ConfigError, EarmarkError, UsageError
from listener.owner.records import Owner
from listener.owner.roster import Roster

LONGEST_BYTES: Final = 7 << 10
_CONTEXT: Final = b"EARMARK/NEW-KEY/1\n"
_CODE_BYTES: Final = 32

Code = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]


class KeyRotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an owner says to one speaker."""

    v: Literal[1] = 1
    owner: ShortName
    device: ShortName
    old: KeyId
    """Fingerprint of the key that is to be active no more."""
    new: Annotated[str, Meta(pattern=r"^age1[a-z0-9]{58}\Z")]
    """The key that takes its place."""
    old_proof: Code = ""
    new_proof: Code = ""

    def encode(self) -> bytes:
        """Return it as it travels."""
        return msgspec.json.encode(self, order="sorted")

    def authenticated_bytes(self) -> bytes:
        """Return what both codes are over."""
        fields = {"device": self.device, "new": self.new, "old": self.old, "owner": self.owner}
        return _CONTEXT + msgspec.json.encode(fields, order="sorted")


def prove_rotation(
    rotation: KeyRotation, old: X25519PrivateKey, new: X25519PrivateKey, device: Ed25519PublicKey
) -> KeyRotation:
    """Return it with both codes.

    Args:
        rotation: without them.
        old: the owner's key that is active.
        new: the one that follows.
        device: the speaker's. If it is somebody else's, the codes are worth nothing anywhere.

    Raises:
        ConfigError: the speaker's key is none to agree with.
    """
    theirs = keys.agreement_public(device)
    return msgspec.structs.replace(
        rotation,
        old_proof=_code(old, theirs, (old.public_key(), theirs), rotation),
        new_proof=_code(new, theirs, (new.public_key(), theirs), rotation),
    )


def parse(data: bytes) -> tuple[KeyRotation, ...]:
    """Read what was carried to a speaker.

    Args:
        data: any bytes at all.

    Raises:
        EarmarkError: they are nothing of the kind. Nothing else is ever raised.
    """
    try:
        if len(data) > LONGEST_BYTES:
            raise ValueError("too long")  # noqa: TRY301 - every fault is told in one place
        return msgspec.json.decode(data, type=tuple[KeyRotation, ...])
    except (ValueError, RecursionError) as error:
        raise EarmarkError("this is not a key rotation message") from error


def apply_rotation(
    roster: Roster, rotation: Iterable[KeyRotation], device: str, key: Ed25519PrivateKey
) -> Roster:
    """Return the roster with every key in place that was proven to this speaker, in order.

    Args:
        roster: the speaker's own.
        rotation: what was carried here by whomever.
        device: the speaker's name.
        key: the speaker's.
    """
    for one in rotation:
        owner = roster.owner(one.owner)
        if owner is not None and _is_proven(one, owner, device, key):
            try:
                roster = roster.with_new_key(one.owner, one.new)
            except (ConfigError, UsageError):
                continue  # somebody's already, hers of before among them
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
            (_code(secret, owner_key, (owner_key, secret.public_key()), rotation), proof)
            for owner_key, proof in pairs
        ]
    except (ConfigError, ValueError):
        return False
    return all(digests.compare_digests(code.encode(), proof.encode()) for code, proof in expected)


def _code(
    mine: X25519PrivateKey,
    theirs: X25519PublicKey,
    parties: tuple[X25519PublicKey, X25519PublicKey],
    rotation: KeyRotation,
) -> str:
    """Return the code over what was said, by the secret of two keys: owner's first, speaker's.

    Raises:
        ValueError: the other key agrees with everybody.
    """
    try:
        shared = mine.exchange(theirs)
    except ValueError as error:
        raise ConfigError("this key cannot be used for key agreement") from error
    salt = b"".join(one.public_bytes_raw() for one in parties)
    secret = HKDF(hashes.SHA256(), _CODE_BYTES, salt, _CONTEXT).derive(shared)
    return base64.b64encode(digests.hmac_sha256(secret, rotation.authenticated_bytes())).decode(
        "ascii"
    )
