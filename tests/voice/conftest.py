"""One owner, one speaker, one assist, and the keys of one ask."""

from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.pcm import Samples
from listener.envelope import keys
from listener.envelope.open import Identity, parse_identities
from listener.owner.records import Owner
from listener.voice import command_copy, consent, messages, reply
from listener.voice.command_copy import CopyFields, CopyHeader
from listener.voice.consent import Consent
from listener.voice.messages import Answer, Ask, Confirmation, Outcome, VoiceStatus
from listener.voice.reply import ReplyHeader

ASK = "0123456789abcdef" * 2


def make_identity() -> Identity:
    return parse_identities(str(pyrage.x25519.Identity.generate()).encode(), "a test")[0]


@dataclass(frozen=True, slots=True)
class World:
    """Keys of every party, and what each of them says."""

    ada: Identity = field(default_factory=make_identity)
    hall: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    assist: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    command_key: pyrage.x25519.Identity = field(default_factory=pyrage.x25519.Identity.generate)
    reply_key: pyrage.x25519.Identity = field(default_factory=pyrage.x25519.Identity.generate)

    @property
    def command_recipient(self) -> str:
        return str(self.command_key.to_public())

    @property
    def reply_recipient(self) -> str:
        return str(self.reply_key.to_public())

    @property
    def assist_id(self) -> str:
        return keys.device_id(self.assist.public_key())

    @property
    def hall_id(self) -> str:
        return keys.device_id(self.hall.public_key())

    @property
    def owner(self) -> Owner:
        return Owner(name="ada", recipient=self.ada.recipient, active=True)

    def ask(self) -> Ask:
        return Ask(
            ask=ASK,
            assist=self.assist_id,
            device="hall",
            dkey=self.hall_id,
            level_db=-31,
            reply=self.reply_recipient,
            since_ms=12,
            why="wake",
        )

    def confirmation(self) -> Confirmation:
        return Confirmation(ask=ASK, device="hall", part=1)

    def answer(self) -> Answer:
        return Answer(ask=ASK, device="hall", key=self.command_recipient, verdict="speak")

    def outcome(self) -> Outcome:
        return Outcome(ask=ASK, device="hall", outcome="done")

    def status(self) -> VoiceStatus:
        return VoiceStatus(
            asks=3,
            assist=self.assist_id,
            boot="0123456789abcdef",
            copies=2,
            device="hall",
            n=7,
            on=1,
            owner="ada",
        )

    def bare_consent(self) -> Consent:
        return Consent(
            assist=keys.device_text(self.assist.public_key()),
            device="hall",
            n=7,
            okey=self.ada.okey,
            on=1,
            owner="ada",
        )

    def consent(self, **changes: object) -> Consent:
        bare = msgspec.structs.replace(self.bare_consent(), **changes)
        return consent.make_consent(bare, self.ada.agreement(), self.hall.public_key())

    def copy_header(self) -> CopyHeader:
        return CopyHeader(
            age_ms=1_234,
            ask=ASK,
            device="hall",
            dkey=self.hall_id,
            key=keys.owner_id(self.command_recipient),
            last=1,
            part=1,
        )

    def copy_fields(self) -> CopyFields:
        return CopyFields(
            assist=self.assist_id,
            ms=250,
            n=7,
            okey=self.ada.okey,
            owner="ada",
            pre_ms=100,
            word="alexa",
        )

    def copy(self) -> bytes:
        return command_copy.seal_copy(
            self.copy_header(), self.copy_fields(), sound(), self.command_recipient, self.hall
        )

    def reply_header(self) -> ReplyHeader:
        return ReplyHeader(
            age_ms=2_345, ask=ASK, device="hall", key=keys.owner_id(self.reply_recipient)
        )

    def reply(self) -> bytes:
        return reply.seal_reply(
            self.reply_header(), sound(), 16_000, self.reply_recipient, self.assist
        )

    def signed(self) -> dict[str, bytes]:
        """Return the payload of each message with a signature, by its name."""
        return {
            "ask": messages.sign_message(self.ask(), self.hall.sign),
            "confirmation": messages.sign_message(self.confirmation(), self.hall.sign),
            "answer": messages.sign_message(self.answer(), self.assist.sign),
            "outcome": messages.sign_message(self.outcome(), self.assist.sign),
            "voice status": messages.sign_message(self.status(), self.hall.sign),
        }


def sound(length: int = 4_000, level: int = 3_000) -> Samples:
    time = np.arange(length) / 16_000
    samples: Samples = (level * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
    return samples


@pytest.fixture(scope="session")
def world() -> World:
    return World()
