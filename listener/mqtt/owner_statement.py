"""Signed statements about owners' keys: made by a speaker or the archive, verified by others. Pure.

Apart from `owner_challenges`, so that send, which passes the statements on, has no key to use.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.envelope import keys
from listener.mqtt import owner_challenges
from listener.mqtt.owner_challenges import OwnerStatement
from listener.owner.possession import PossessionChallenge
from listener.owner.records import Owner


def state_owner(owner: Owner, place: str, key: Ed25519PrivateKey, now_s: int) -> bytes:
    """Return the signed statement about one owner, with a challenge if they are not confirmed.

    Args:
        owner: the owner.
        place: name of the speaker, or ``roster.ARCHIVE``.
        key: secret key of the speaker, or of the archive.
        now_s: seconds since 1970.
    """
    challenge = None if owner.active else PossessionChallenge(owner, place, key).encrypt(now_s)
    statement = OwnerStatement(
        device=place,
        dkey=keys.device_id(key.public_key()),
        owner=owner.name,
        recipient=owner.recipient,
        made_s=now_s,
        challenge=challenge,
    )
    return owner_challenges.encode_statement(statement, key.sign)


def read_statement(data: bytes, place: str, key: Ed25519PublicKey) -> OwnerStatement | None:
    """Return a statement, or None for bytes that are not one of this place, signed by this key.

    Args:
        data: any bytes are safe.
        place: name of the speaker, or ``roster.ARCHIVE``.
        key: its public key.
    """

    def verify(signature: bytes, signed: bytes) -> bool:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    stated = owner_challenges.parse_statement(data, verify)
    if stated is None or (stated.device, stated.dkey) != (place, keys.device_id(key)):
        return None
    return stated
