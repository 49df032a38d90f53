"""Ask, confirmation, answer, outcome, poke and voice status: short signed messages. Pure.

On the wire each is a JSON object with one statement and its signature. The signature is over a
first line of its own kind and the canonical JSON of the statement, so that no message can stand
for another, for a tally or for an envelope. ``docs/reference/voice-protocol.md`` is the
specification.

send reads the types and verifies nothing: cryptography is imported only where a signature is
verified.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.errors import VoiceError
from listener.voice.fields import (
    AgeRecipient,
    AskId,
    ConsentNumber,
    Fingerprint,
    Flag,
    SignatureText,
)
from listener.voice.limits import LONGEST_MESSAGE_BYTES, MOST_PARTS
from listener.voice.timing import WAKE_TO_ASK_MS

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

POKE: Final = b'{"poke":"say"}'
"""Assist to a speaker, unsigned: sign an ask, for there is a reply to be played."""

Sign = Callable[[bytes], bytes]
"""Returns the 64 bytes of an Ed25519 signature."""
Count = Annotated[int, Meta(ge=0, le=999_999_999)]


class VoiceStatement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one message says; its ranges are checked when it is signed or parsed."""

    first_line: ClassVar[bytes]
    """Separates the signatures of this kind from all others."""
    json_name: ClassVar[str]
    """Name of the statement in the payload."""

    def signed_bytes(self) -> bytes:
        """Return the bytes that are signed."""
        return self.first_line + msgspec.json.encode(self, order="sorted")


class Ask(VoiceStatement, frozen=True, kw_only=True):
    """A speaker's question for a key, signed by its hear at a wake."""

    first_line: ClassVar[bytes] = b"EARMARK/ASK/1\n"
    json_name: ClassVar[str] = "ask"

    ask: AskId
    assist: Fingerprint
    """Fingerprint of the service key that the owner allowed."""
    device: ShortName
    dkey: Fingerprint
    """Fingerprint of the device's key."""
    level_db: Annotated[int, Meta(ge=-96, le=0)]
    """Level of the word in dBFS."""
    reply: AgeRecipient | None
    """The player's key for the reply, made for this ask; None if no sound is to be sent."""
    since_ms: Annotated[int, Meta(ge=0, le=WAKE_TO_ASK_MS)]
    """Time from the wake to the signing."""
    v: Literal[1] = 1
    why: Literal["wake", "poke"]


class Confirmation(VoiceStatement, frozen=True, kw_only=True):
    """A speaker's word that silence followed a provisional part, signed by its hear."""

    first_line: ClassVar[bytes] = b"EARMARK/CONFIRMATION/1\n"
    json_name: ClassVar[str] = "confirmation"

    ask: AskId
    device: ShortName
    part: Annotated[int, Meta(ge=1, le=MOST_PARTS - 1)]
    """Number of the part."""
    v: Literal[1] = 1


class Answer(VoiceStatement, frozen=True, kw_only=True):
    """Assist's answer to an ask."""

    first_line: ClassVar[bytes] = b"EARMARK/ANSWER/1\n"
    json_name: ClassVar[str] = "answer"

    ask: AskId
    device: ShortName
    key: AgeRecipient | None
    """The command key, made for this ask, with ``speak``; None otherwise."""
    v: Literal[1] = 1
    verdict: Literal["speak", "elsewhere", "busy"]

    def __post_init__(self) -> None:
        """Check that a key is there exactly with ``speak``.

        Raises:
            ValueError: it is not.
        """
        if (self.key is None) is (self.verdict == "speak"):
            raise ValueError("an answer has a key if and only if its verdict is speak")


class Outcome(VoiceStatement, frozen=True, kw_only=True):
    """Assist's word on what became of a command."""

    first_line: ClassVar[bytes] = b"EARMARK/OUTCOME/1\n"
    json_name: ClassVar[str] = "outcome"

    ask: AskId
    device: ShortName
    outcome: Literal["done", "failed", "not-understood", "late", "again"]
    v: Literal[1] = 1


class VoiceStatus(VoiceStatement, frozen=True, kw_only=True):
    """Consent in force at a speaker, and what left it since its hear started; signed by hear."""

    first_line: ClassVar[bytes] = b"EARMARK/VOICE-STATUS/1\n"
    json_name: ClassVar[str] = "voice"

    asks: Count
    """Asks signed for this owner's consent."""
    assist: Fingerprint
    boot: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    """Random id of this start of hear, at which the counts are 0."""
    copies: Count
    """Command copies handed to send."""
    device: ShortName
    n: ConsentNumber
    """Number of the newest consent that the speaker accepted."""
    on: Flag
    owner: ShortName
    v: Literal[1] = 1


StatementT_co = TypeVar("StatementT_co", bound=VoiceStatement, covariant=True)


@dataclass(frozen=True, slots=True)
class SignedMessage(Generic[StatementT_co]):
    """A well-formed message; untrusted until ``verify`` has returned."""

    statement: StatementT_co
    signature: bytes

    def verify(self, public_key: "Ed25519PublicKey") -> StatementT_co:
        """Return the statement if this key signed it.

        Raises:
            VoiceError: ``signature``: it did not.
        """
        # send imports this module and must not load cryptography.
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see above

        try:
            public_key.verify(self.signature, self.statement.signed_bytes())
        except InvalidSignature as error:
            raise VoiceError("signature") from error
        return self.statement


SignedAsk = SignedMessage[Ask]
SignedConfirmation = SignedMessage[Confirmation]
SignedAnswer = SignedMessage[Answer]
SignedOutcome = SignedMessage[Outcome]
SignedVoiceStatus = SignedMessage[VoiceStatus]


def sign_message(message: VoiceStatement, sign: Sign) -> bytes:
    """Return the payload of a message.

    Args:
        message: the statement.
        sign: signs as the device or as assist.

    Raises:
        VoiceError: ``form``: a reader would refuse it; nothing was signed.
    """
    _check(message)
    payload = _render(message, sign(message.signed_bytes()))
    _parse(payload, type(message))
    return payload


def parse_ask(payload: bytes) -> SignedAsk:
    """Parse an ask; verify nothing.

    Args:
        payload: any bytes are safe.

    Raises:
        VoiceError: ``form``: the bytes are not an ask. Nothing else is raised.
    """
    return _parse(payload, Ask)


def parse_confirmation(payload: bytes) -> SignedConfirmation:
    """Parse a confirmation; see `parse_ask`."""
    return _parse(payload, Confirmation)


def parse_from_speaker(payload: bytes) -> SignedAsk | SignedConfirmation:
    """Parse any message on the topic of asks.

    Args:
        payload: any bytes are safe.

    Raises:
        VoiceError: ``form``: the bytes are neither. Nothing else is raised.
    """
    if payload.startswith(b'{"confirmation":'):
        return parse_confirmation(payload)
    return parse_ask(payload)


def parse_answer(payload: bytes) -> SignedAnswer:
    """Parse an answer; see `parse_ask`."""
    return _parse(payload, Answer)


def parse_outcome(payload: bytes) -> SignedOutcome:
    """Parse an outcome; see `parse_ask`."""
    return _parse(payload, Outcome)


def parse_voice_status(payload: bytes) -> SignedVoiceStatus:
    """Parse a voice status; see `parse_ask`."""
    return _parse(payload, VoiceStatus)


def parse_from_assist(payload: bytes) -> SignedAnswer | SignedOutcome | None:
    """Parse any message on the topic of answers; None for a poke.

    Args:
        payload: any bytes are safe.

    Raises:
        VoiceError: ``form``: the bytes are none of the three. Nothing else is raised.
    """
    if payload == POKE:
        return None
    if payload.startswith(b'{"outcome":'):
        return parse_outcome(payload)
    return parse_answer(payload)


_StatementT = TypeVar("_StatementT", bound=VoiceStatement)


def _check(message: VoiceStatement) -> None:
    try:
        msgspec.json.decode(msgspec.json.encode(message), type=type(message))
    except ValueError as error:
        raise VoiceError("form") from error


def _parse(payload: bytes, kind: type[_StatementT]) -> SignedMessage[_StatementT]:
    try:
        if len(payload) > LONGEST_MESSAGE_BYTES:
            raise ValueError("too long")  # noqa: TRY301 - one handler reports every fault
        parts = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
        statement = msgspec.json.decode(parts[kind.json_name], type=kind)
        text = msgspec.json.decode(parts["signature"], type=SignatureText)
        signature = base64.b64decode(text, validate=True)
    except (ValueError, KeyError, RecursionError) as error:
        raise VoiceError("form") from error
    # One spelling of each message: no other order, white space, name twice or spare bits.
    if _render(statement, signature) != payload:
        raise VoiceError("form")
    return SignedMessage(statement, signature)


def _render(statement: VoiceStatement, signature: bytes) -> bytes:
    text = base64.b64encode(signature).decode("ascii")
    return msgspec.json.encode({statement.json_name: statement, "signature": text}, order="sorted")
