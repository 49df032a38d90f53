"""A speaker as assist sees it: asks, command copies, and what it understands of the answers."""

import secrets

import numpy as np
import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.pcm import Samples
from listener.envelope import keys
from listener.voice import messages
from listener.voice.command_copy import CopyFields, CopyHeader, seal_copy
from listener.voice.messages import Answer, Ask, Confirmation, Outcome
from listener.voice.open_reply import OpenedReply, open_reply
from listener.voice.reply import parse_reply
from listener.voice.sealed_file import key_id

SOUND: Samples = (np.sin(np.arange(16_000) / 7) * 9000).astype(np.int16)


class Speaker:
    """One speaker with the keys of its hear and its player.

    Args:
        name: of the device.
        assist: public key of assist that the owner allowed.
        owner: short name of the owner.
        okey: fingerprint of the owner's active key.
    """

    def __init__(self, name: str, assist: Ed25519PrivateKey, owner: str, okey: str) -> None:
        self.name = name
        self.key = Ed25519PrivateKey.generate()
        self.assist = assist.public_key()
        self.owner = owner
        self.okey = okey
        self.consent_n = 5
        self.reply = pyrage.x25519.Identity.generate()

    @property
    def dkey(self) -> str:
        return keys.device_id(self.key.public_key())

    def ask(self, nonce: str = "", **changes: object) -> tuple[str, bytes]:
        """Return the nonce and the payload of an ask."""
        nonce = nonce or secrets.token_hex(16)
        fields: dict[str, object] = {
            "ask": nonce,
            "assist": keys.device_id(self.assist),
            "device": self.name,
            "dkey": self.dkey,
            "level_db": -30,
            "reply": str(self.reply.to_public()),
            "since_ms": 100,
            "why": "wake",
        }
        return nonce, messages.sign_message(Ask(**(fields | changes)), self.key.sign)  # type: ignore[arg-type] # by name

    def confirmation(
        self, nonce: str, part: int, key: Ed25519PrivateKey | None = None, **changes: object
    ) -> bytes:
        """Return the payload of a confirmation, signed by this speaker or by another key."""
        fields: dict[str, object] = {"ask": nonce, "device": self.name, "part": part} | changes
        return messages.sign_message(Confirmation(**fields), (key or self.key).sign)  # type: ignore[arg-type] # by name

    def copy(
        self,
        nonce: str,
        recipient: str,
        age_ms: int = 2_000,
        part: int = 1,
        last: int = 1,
        sound: Samples = SOUND,
        fields: dict[str, object] | None = None,
    ) -> bytes:
        """Return the payload of a command copy."""
        header = CopyHeader(
            age_ms=age_ms,
            ask=nonce,
            device=self.name,
            dkey=self.dkey,
            key=key_id(recipient),
            last=last,
            part=part,
        )
        private: dict[str, object] = {
            "assist": keys.device_id(self.assist),
            "ms": len(sound) * 1000 // 16_000,
            "n": self.consent_n,
            "okey": self.okey,
            "owner": self.owner,
            "pre_ms": 500,
            "word": "alexa",
        }
        inside = CopyFields(**(private | (fields or {})))  # type: ignore[arg-type] # by name
        return seal_copy(header, inside, sound, recipient, self.key)

    def understand(self, payload: bytes) -> Answer | Outcome | None:
        """Return a verified answer or outcome; None for a poke."""
        signed = messages.parse_from_assist(payload)
        return None if signed is None else signed.verify(self.assist)

    def open_reply(self, payload: bytes) -> OpenedReply:
        """Return an opened reply."""
        return open_reply(parse_reply(payload), self.assist, self.reply)
