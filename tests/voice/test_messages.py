"""The short signed messages of voice control: one spelling each, and no other signer or kind."""

import subprocess
import sys

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.errors import VoiceError
from listener.voice import messages
from listener.voice.limits import LONGEST_MESSAGE_BYTES
from listener.voice.messages import POKE, Answer, Ask, Confirmation, Outcome, VoiceStatus
from tests.voice.conftest import ASK, World

PARSERS = {
    "ask": messages.parse_ask,
    "confirmation": messages.parse_confirmation,
    "answer": messages.parse_answer,
    "outcome": messages.parse_outcome,
    "voice status": messages.parse_voice_status,
}
LONGEST = (
    Ask(
        ask=ASK,
        assist="a" * 24,
        device="d" * 32,
        dkey="a" * 24,
        level_db=-96,
        reply="age1" + "q" * 58,
        since_ms=1_000,
        why="wake",
    ),
    Answer(ask=ASK, device="d" * 32, key="age1" + "q" * 58, verdict="speak"),
    Confirmation(ask=ASK, device="d" * 32, part=2),
    Answer(ask=ASK, device="d" * 32, key=None, verdict="elsewhere"),
    Outcome(ask=ASK, device="d" * 32, outcome="not-understood"),
    VoiceStatus(
        asks=999_999_999,
        assist="a" * 24,
        boot="0" * 16,
        copies=999_999_999,
        device="d" * 32,
        n=1 << 53,
        on=1,
        owner="o" * 32,
    ),
)


@pytest.mark.parametrize("name", PARSERS)
def test_message_is_read_as_it_was_signed(world: World, name: str) -> None:
    signed = PARSERS[name](world.signed()[name])
    signer = world.hall if name in {"ask", "confirmation", "voice status"} else world.assist

    assert signed.verify(signer.public_key()) == signed.statement
    expected = {
        "ask": world.ask(),
        "confirmation": world.confirmation(),
        "answer": world.answer(),
        "outcome": world.outcome(),
        "voice status": world.status(),
    }
    assert signed.statement == expected[name]


@pytest.mark.parametrize("name", PARSERS)
def test_message_of_another_signer_is_refused(world: World, name: str) -> None:
    signed = PARSERS[name](world.signed()[name])
    wrong = world.assist if name in {"ask", "confirmation", "voice status"} else world.hall

    for key in (wrong, Ed25519PrivateKey.generate()):
        with pytest.raises(VoiceError) as caught:
            signed.verify(key.public_key())
        assert caught.value.reason == "signature"


@pytest.mark.parametrize("message", LONGEST, ids=lambda one: type(one).__name__)
def test_longest_message_fits_a_datagram(message: messages.VoiceStatement) -> None:
    payload = messages.sign_message(message, Ed25519PrivateKey.generate().sign)

    assert len(payload) <= LONGEST_MESSAGE_BYTES


def test_ask_fits_a_notice(world: World) -> None:
    payload = messages.sign_message(LONGEST[0], world.hall.sign)

    assert len(payload) + len(',"kind":"ask"') == 403


@pytest.mark.parametrize(
    "changes",
    [
        {"ask": "0" * 31},
        {"ask": "0" * 31 + "A"},
        {"ask": "0" * 32 + "\n"},
        {"assist": "A" * 24},
        {"device": "Hall"},
        {"level_db": 1},
        {"level_db": -97},
        {"reply": "AGE-SECRET-KEY-1" + "q" * 46},
        {"since_ms": 1_001},
        {"since_ms": -1},
        {"v": 2},
        {"why": "curiosity"},
    ],
)
def test_ask_out_of_its_ranges_is_not_signed(world: World, changes: dict[str, object]) -> None:
    def sign(_: bytes) -> bytes:
        raise AssertionError("it was signed")

    with pytest.raises(VoiceError) as caught:
        messages.sign_message(msgspec.structs.replace(world.ask(), **changes), sign)
    assert caught.value.reason == "form"


def test_answer_has_a_key_exactly_with_speak(world: World) -> None:
    with pytest.raises(ValueError, match="if and only if"):
        msgspec.structs.replace(world.answer(), key=None)
    with pytest.raises(ValueError, match="if and only if"):
        msgspec.structs.replace(world.answer(), verdict="busy")
    payload = world.signed()["answer"].replace(b'"speak"', b'"elsewhere"')
    with pytest.raises(VoiceError):
        messages.parse_answer(payload)


def test_topic_of_answers_carries_answers_outcomes_and_pokes(world: World) -> None:
    signed = world.signed()
    answer = messages.parse_from_assist(signed["answer"])
    outcome = messages.parse_from_assist(signed["outcome"])

    assert messages.parse_from_assist(POKE) is None
    assert answer is not None
    assert answer.statement == world.answer()
    assert outcome is not None
    assert outcome.statement == world.outcome()
    for payload in (signed["ask"], signed["voice status"], POKE + b"\n", b"", b"{}"):
        with pytest.raises(VoiceError):
            messages.parse_from_assist(payload)


def test_topic_of_asks_carries_asks_and_confirmations(world: World) -> None:
    signed = world.signed()

    assert messages.parse_from_speaker(signed["ask"]).statement == world.ask()
    assert messages.parse_from_speaker(signed["confirmation"]).statement == world.confirmation()
    for payload in (signed["answer"], signed["voice status"], POKE, b"", b'{"confirmation":'):
        with pytest.raises(VoiceError):
            messages.parse_from_speaker(payload)


def test_send_may_use_the_messages_without_loading_cryptography() -> None:
    program = (
        "import sys, listener.voice.messages, listener.voice.timing, listener.ipc.voice_paths;"
        "print(sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'cryptography', 'pyrage', 'numpy', 'soundfile'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
