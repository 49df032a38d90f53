"""An owner's consent that one speaker sends command copies to one assist. Pure.

It names assist's service key and is proven to the speaker by the owner's active key, as a key
rotation is (``owner/agreement_code.py``). The archive, the broker and send carry it and can neither
make nor change it.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from listener import digests
from listener.config import ShortName
from listener.envelope import keys
from listener.errors import ConfigError, VoiceError
from listener.owner.agreement_code import Code, agree_code
from listener.owner.records import Owner
from listener.voice.fields import ConsentNumber, Fingerprint, Flag, ServiceKey
from listener.voice.limits import LONGEST_CONSENTS_BYTES

_CONTEXT: Final = b"EARMARK/VOICE/1\n"


class Consent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An owner's word to one speaker: voice control by this assist is on or off."""

    assist: ServiceKey
    """Public key of assist, ``ed25519:…``."""
    code: Code = ""
    """MAC by the owner's active key, base64."""
    device: ShortName
    n: ConsentNumber
    okey: Fingerprint
    """Fingerprint of the owner's active key."""
    on: Flag
    owner: ShortName
    v: Literal[1] = 1

    @property
    def assist_key(self) -> Ed25519PublicKey:
        """Public key of assist.

        Raises:
            ConfigError: the text is not a key.
        """
        return keys.parse_device(self.assist)

    @property
    def assist_id(self) -> str:
        """Fingerprint of assist's key, as asks name it.

        Raises:
            ConfigError: the text is not a key.
        """
        return keys.device_id(self.assist_key)

    def authenticated_bytes(self) -> bytes:
        """Return the bytes that the code authenticates."""
        fields = msgspec.structs.asdict(self)
        del fields["code"]
        return _CONTEXT + msgspec.json.encode(fields, order="sorted")


def make_consent(
    consent: Consent, secret: X25519PrivateKey, device_key: Ed25519PublicKey
) -> Consent:
    """Return a consent with its code.

    Args:
        consent: without code.
        secret: the owner's active secret key.
        device_key: public key of the speaker; a code for another key is valid nowhere.

    Raises:
        ConfigError: the speaker's key cannot be used for key agreement, or assist's is not a key.
        VoiceError: ``form``: a reader would refuse the consent.
    """
    theirs = keys.agreement_public(device_key)
    keys.parse_device(consent.assist)
    code = agree_code(secret, theirs, secret.public_key(), _CONTEXT, consent.authenticated_bytes())
    made = msgspec.structs.replace(consent, code=code)
    parse_consents(encode_consents([made]))
    return made


def verify_consent(
    consent: Consent, owner: Owner | None, device: str, key: Ed25519PrivateKey, last_n: int = 0
) -> None:
    """Check that a consent is proven to this speaker and newer than the one it has.

    Args:
        consent: from any source.
        owner: the owner of this name in the speaker's roster; None if there is none.
        device: name of the speaker.
        key: secret key of the speaker.
        last_n: number of the last consent of this owner that the speaker accepted, or 0.

    Raises:
        VoiceError: ``device``: it is for another one; ``owner``: unknown, not active, or their
            active key is another one; ``assist``: its text is not a key; ``code``: not proven;
            ``old``: its number is not above ``last_n``.
    """
    if consent.device != device:
        raise VoiceError("device")
    if (
        owner is None
        or owner.name != consent.owner
        or not owner.active
        or owner.okey != consent.okey
    ):
        raise VoiceError("owner")
    try:
        consent.assist_key  # noqa: B018 - only its error counts
    except ConfigError as error:
        raise VoiceError("assist") from error
    secret = keys.agreement_secret(key)
    try:
        theirs = X25519PublicKey.from_public_bytes(keys.age_bytes(owner.recipient))
        code = agree_code(secret, theirs, theirs, _CONTEXT, consent.authenticated_bytes())
    except (ConfigError, ValueError) as error:
        raise VoiceError("code") from error
    if not digests.compare_digests(code.encode(), consent.code.encode()):
        raise VoiceError("code")
    if consent.n <= last_n:
        raise VoiceError("old")


def encode_consents(consents: Iterable[Consent]) -> bytes:
    """Return the payload of a list of consents: canonical JSON.

    Raises:
        VoiceError: ``form``: it is longer than `LONGEST_CONSENTS_BYTES`.
    """
    data = msgspec.json.encode(tuple(consents), order="sorted")
    if len(data) > LONGEST_CONSENTS_BYTES:
        raise VoiceError("form")
    return data


def parse_consents(data: bytes) -> tuple[Consent, ...]:
    """Parse a list of consents; verify nothing.

    Args:
        data: any bytes are safe.

    Raises:
        VoiceError: ``form``: the bytes are not such a list. Nothing else is raised.
    """
    try:
        if len(data) > LONGEST_CONSENTS_BYTES:
            raise ValueError("too long")  # noqa: TRY301 - one handler reports every fault
        consents = msgspec.json.decode(data, type=tuple[Consent, ...])
    except (ValueError, RecursionError) as error:
        raise VoiceError("form") from error
    named = {(consent.owner, consent.device) for consent in consents}
    if msgspec.json.encode(consents, order="sorted") != data or len(named) != len(consents):
        raise VoiceError("form")
    return consents
