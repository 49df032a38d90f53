"""Hostile messages: each bit, each kind as each other, each signer's key, and arbitrary bytes."""

import base64
import dataclasses
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.audio.clip import encode_clip
from listener.audio.flac import to_flac
from listener.envelope import format as form
from listener.envelope import seal, verify
from listener.envelope.open import open_envelope
from listener.errors import BadEnvelope, EarmarkError, VoiceError
from listener.ipc.notices import Tally
from listener.owner import key_rotation
from listener.voice import command_copy, consent, messages, reply
from listener.voice.limits import FILL_BYTES
from listener.voice.messages import VoiceStatement
from listener.voice.open_copy import OpenedCopy, open_copy
from listener.voice.open_reply import open_reply
from tests.voice.conftest import World, sound

FUZZ = int(os.environ.get("EARMARK_FUZZ_EXAMPLES", "150"))
SLOW = (HealthCheck.too_slow,)
"""A busy machine is no fault of what is tested."""
WORLD = World()
"""Hypothesis repeats a test within one fixture, so its tests use this one."""

Read = Callable[[World, bytes], object]


def read_consents(world: World, data: bytes) -> None:
    consents = consent.parse_consents(data)
    for one in consents:
        consent.verify_consent(one, world.owner, "hall", world.hall)
    if not consents:
        raise VoiceError("form")


def read_copy(world: World, data: bytes) -> OpenedCopy:
    copy = command_copy.parse_copy(data)
    return open_copy(copy, world.hall.public_key(), world.command_key, world.assist_id)


def read_reply(world: World, data: bytes) -> object:
    return open_reply(reply.parse_reply(data), world.assist.public_key(), world.reply_key)


def read_envelope(world: World, data: bytes) -> object:
    devices = {"hall": world.hall.public_key()}
    return open_envelope(data, [world.ada], devices, {"ada": world.ada.recipient})


READERS: dict[str, Read] = {
    "ask": lambda world, data: messages.parse_ask(data).verify(world.hall.public_key()),
    "confirmation": lambda world, data: messages.parse_confirmation(data).verify(
        world.hall.public_key()
    ),
    "answer": lambda world, data: messages.parse_answer(data).verify(world.assist.public_key()),
    "outcome": lambda world, data: messages.parse_outcome(data).verify(world.assist.public_key()),
    "voice status": lambda world, data: messages.parse_voice_status(data).verify(
        world.hall.public_key()
    ),
    "consents": read_consents,
    "command copy": read_copy,
    "reply": read_reply,
    "envelope": read_envelope,
    "key rotation": lambda _, data: key_rotation.parse(data)[0],
}
SHORT = ("ask", "confirmation", "answer", "outcome", "voice status", "consents")
STATEMENTS: dict[str, Callable[[World], VoiceStatement]] = {
    "ask": World.ask,
    "confirmation": World.confirmation,
    "answer": World.answer,
    "outcome": World.outcome,
    "voice status": World.status,
}


def envelope(world: World) -> bytes:
    header = form.PublicHeader(
        clip="7b0c38cc-8b6c-4f43-9d3a-0d5a4ad4e1f1",
        device="hall",
        dkey=world.hall_id,
        owner="ada",
        okey=world.ada.okey,
        seq=7,
        t="2026-11-22T08:00:00.123Z",
        ttl_s=2_592_000,
    )
    private = form.PrivateFields(
        word="alexa",
        model="0123456789abcdef" * 4,
        score=0.93,
        spk=None,
        pre_ms=100,
        ms=250,
        rate=16_000,
        end_reason="silence",
        boot="0123456789abcdef",
    )
    encode = partial(encode_clip, sound())
    return seal.seal(header, private, encode, world.ada.recipient, world.hall)


def payloads(world: World) -> dict[str, bytes]:
    rotation = key_rotation.prove_rotation(
        key_rotation.KeyRotation(
            owner="ada", device="hall", old=world.ada.okey, new=world.reply_recipient
        ),
        world.ada.agreement(),
        world.ada.agreement(),
        world.hall.public_key(),
    )
    return world.signed() | {
        "consents": consent.encode_consents([world.consent()]),
        "command copy": world.copy(),
        "reply": world.reply(),
        "envelope": envelope(world),
        "key rotation": b"[" + rotation.encode() + b"]",
    }


def test_each_kind_is_read_by_its_reader_and_refused_by_every_other(world: World) -> None:
    made = payloads(world)
    assert set(made) == set(READERS)

    for kind, data in made.items():
        for reader, read in READERS.items():
            if reader == kind:
                read(world, data)
                continue
            with pytest.raises(EarmarkError):
                read(world, data)


@pytest.mark.parametrize("kind", SHORT)
def test_each_bit_of_a_short_message_counts(world: World, kind: str) -> None:
    data = payloads(world)[kind]
    read = READERS[kind]
    read(world, data)

    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VoiceError):
            read(world, bytes(changed))


@pytest.mark.parametrize("kind", ["command copy", "reply"])
def test_each_bit_of_a_sealed_file_counts(world: World, kind: str) -> None:
    data = payloads(world)[kind]
    lines = verified_lines(world, kind, data)
    body = len(data) - len(lines.ciphertext)

    for bit in range(8 * body):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VoiceError):
            verified_lines(world, kind, bytes(changed))
    # The signature does not cover the ciphertext, so its bits need no other check than this one.
    for bit in range(0, 8 * len(lines.ciphertext), 7):
        changed = bytearray(lines.ciphertext)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadEnvelope):
            verify.check_ciphertext(dataclasses.replace(lines, ciphertext=bytes(changed)))
    for other in (data[:-1], data + b"\0", data[: body + 10]):
        with pytest.raises(VoiceError) as caught:
            verified_lines(world, kind, other)
        assert caught.value.reason == "ciphertext"


def verified_lines(world: World, kind: str, data: bytes) -> form.SealedLines:
    """Return the lines of a command copy or a reply that verifies."""
    if kind == "command copy":
        copy = command_copy.parse_copy(data)
        copy.verify(world.hall.public_key())
        return copy.lines
    sealed = reply.parse_reply(data)
    sealed.verify(world.assist.public_key())
    return sealed.lines


def test_no_key_and_no_first_line_signs_for_another_kind(world: World) -> None:
    lines = [make(world).first_line for make in STATEMENTS.values()]
    others = [
        b"",
        b"EARMARK/1\n",
        b"EARMARK-COMMAND/1\n",
        b"EARMARK-REPLY/1\n",
        b"EARMARK/VOICE/1\n",
        b"EARMARK/NEW-KEY/1\n",
    ]
    signers = {"device": world.hall, "assist": world.assist}
    right = {
        **dict.fromkeys(("ask", "confirmation", "voice status"), "device"),
        **dict.fromkeys(("answer", "outcome"), "assist"),
    }
    accepted = []

    for kind, make in STATEMENTS.items():
        statement = make(world)
        body = msgspec.json.encode(statement, order="sorted")
        for line in lines + others:
            for signer, key in signers.items():
                text = base64.b64encode(key.sign(line + body)).decode()
                payload = msgspec.json.encode(
                    {statement.json_name: statement, "signature": text}, order="sorted"
                )
                try:
                    READERS[kind](world, payload)
                except VoiceError as error:
                    assert error.reason == "signature"  # noqa: PT017 - most are refused
                else:
                    accepted.append((kind, line, signer))

    assert accepted == [
        (kind, make(world).first_line, right[kind]) for kind, make in STATEMENTS.items()
    ]


def test_signature_of_a_tally_signs_no_message(world: World) -> None:
    tally = Tally(device="hall", boot="0123456789abcdef", seq=3)
    for make in STATEMENTS.values():
        statement = make(world)
        text = base64.b64encode(world.hall.sign(tally.canonical())).decode()
        payload = msgspec.json.encode(
            {statement.json_name: statement, "signature": text}, order="sorted"
        )
        for read in READERS.values():
            with pytest.raises(EarmarkError):
                read(world, payload)


def test_file_with_the_first_line_of_another_kind_is_refused(world: World) -> None:
    made = {kind: payloads(world)[kind] for kind in ("command copy", "reply", "envelope")}
    lines = {kind: data[: data.index(b"\n") + 1] for kind, data in made.items()}

    for kind, data in made.items():
        for other in made:
            if other != kind:
                with pytest.raises(EarmarkError):
                    READERS[other](world, data.replace(lines[kind], lines[other], 1))


def test_file_signed_by_another_key_is_refused(world: World) -> None:
    for kind, magic, header in (
        ("command copy", command_copy.MAGIC, world.copy_header()),
        ("reply", reply.MAGIC, world.reply_header()),
    ):
        wrong = world.assist if kind == "command copy" else world.hall
        ciphertext = payloads(world)[kind].split(b"\n", 4)[4]
        with pytest.raises(VoiceError) as caught:
            READERS[kind](world, seal.sign_ciphertext(magic, header, ciphertext, wrong))
        assert caught.value.reason == "signature"


def sealed_copy(plain: bytes, world: World = WORLD) -> bytes:
    """Return a copy with any plaintext, as a device that was taken over can make it."""
    ciphertext = seal.encrypt_to(world.command_recipient, plain)
    return seal.sign_ciphertext(command_copy.MAGIC, world.copy_header(), ciphertext, world.hall)


def test_comment_that_is_too_long_is_refused(world: World) -> None:
    plain = to_flac(sound(), 16_000, "x" * 2_049, FILL_BYTES)

    with pytest.raises(VoiceError) as caught:
        read_copy(world, sealed_copy(plain, world))
    assert caught.value.reason == "content"


@settings(max_examples=FUZZ, deadline=None, suppress_health_check=SLOW)
@given(st.binary(max_size=600))
def test_arbitrary_bytes_raise_one_error(data: bytes) -> None:
    for kind, read in READERS.items():
        if kind not in {"envelope", "key rotation"}:
            with pytest.raises(VoiceError):
                read(WORLD, data)


@settings(max_examples=FUZZ, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_cut_and_spliced_messages_raise_one_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from((*SHORT, "command copy", "reply")))
    good = PAYLOADS[kind]
    start = data.draw(st.integers(0, min(len(good), 1_200)))
    length = data.draw(st.integers(0, 40))
    other = PAYLOADS[data.draw(st.sampled_from(sorted(PAYLOADS)))]
    begin = data.draw(st.integers(0, min(len(other), 1_200)))
    piece = data.draw(st.binary(max_size=20) | st.just(other[begin : begin + 60]))
    made = good[:start] + piece + good[start + length :]

    if made != good:
        with pytest.raises(VoiceError):
            READERS[kind](WORLD, made)


@settings(max_examples=FUZZ, deadline=None, suppress_health_check=SLOW)
@given(st.binary(max_size=400), st.booleans(), st.integers(0, 40_000), st.integers(0, 400))
def test_any_plaintext_inside_raises_one_error(
    junk: bytes,
    is_flac: bool,  # noqa: FBT001 - drawn
    at: int,
    cut: int,
) -> None:
    plain = FLAC[:at] + junk + FLAC[at + cut :] if is_flac else junk
    plain += bytes(-len(plain) % FILL_BYTES)

    if plain != FLAC:
        with pytest.raises(VoiceError):
            read_copy(WORLD, sealed_copy(plain))


@settings(max_examples=FUZZ // 3, deadline=None, suppress_health_check=SLOW)
@given(st.binary(max_size=200), st.integers(0, 33_000), st.integers(0, 300))
def test_any_signed_ciphertext_raises_one_error(junk: bytes, at: int, cut: int) -> None:
    whole = PAYLOADS["command copy"].split(b"\n", 4)[4]
    ciphertext = whole[:at] + junk + whole[at + cut :]
    try:
        made = seal.sign_ciphertext(command_copy.MAGIC, WORLD.copy_header(), ciphertext, WORLD.hall)
    except BadEnvelope:
        return  # not sealed: the check of the ciphertext is tested above

    if ciphertext != whole:
        with pytest.raises(VoiceError):
            read_copy(WORLD, made)


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(
    st.integers(16, 40_000),
    st.integers(0, 15_000),
    st.integers(1, 3),
    st.integers(0, 1),
    st.integers(1, 1 << 53),
    st.integers(-32_768, 32_767),
)
def test_every_copy_that_is_sealed_opens(
    length: int, age_ms: int, part: int, last: int, n: int, level: int
) -> None:
    samples = sound(length, level)
    header = msgspec.structs.replace(WORLD.copy_header(), age_ms=age_ms, part=part, last=last)
    fields = msgspec.structs.replace(WORLD.copy_fields(), ms=length // 16, n=n, pre_ms=0)

    data = command_copy.seal_copy(header, fields, samples, WORLD.command_recipient, WORLD.hall)
    opened = read_copy(WORLD, data)

    assert (opened.header, opened.fields) == (header, fields)
    np.testing.assert_array_equal(opened.samples, samples)


@settings(max_examples=FUZZ, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_every_statement_that_is_signed_is_read_back(data: st.DataObject) -> None:
    kinds = (messages.Ask, messages.Confirmation, messages.Outcome, messages.VoiceStatus)
    kind = data.draw(st.sampled_from(kinds))
    statement: Any = data.draw(st.builds(kind, **FIELDS[kind]))

    payload = messages.sign_message(statement, WORLD.hall.sign)

    parse: Any = {
        messages.Ask: messages.parse_ask,
        messages.Confirmation: messages.parse_confirmation,
        messages.Outcome: messages.parse_outcome,
        messages.VoiceStatus: messages.parse_voice_status,
    }[kind]
    assert parse(payload).verify(WORLD.hall.public_key()) == statement


NAMES = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
FINGERPRINTS = st.from_regex(r"[a-z2-7]{24}", fullmatch=True)
ASKS = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
COUNTS = st.integers(0, 999_999_999)
FIELDS: dict[type, dict[str, Any]] = {
    messages.Ask: {
        "ask": ASKS,
        "assist": FINGERPRINTS,
        "device": NAMES,
        "dkey": FINGERPRINTS,
        "level_db": st.integers(-96, 0),
        "reply": st.none() | st.from_regex(r"age1[a-z0-9]{58}", fullmatch=True),
        "since_ms": st.integers(0, 1_000),
        "why": st.sampled_from(("wake", "poke")),
    },
    messages.Confirmation: {"ask": ASKS, "device": NAMES, "part": st.integers(1, 2)},
    messages.Outcome: {
        "ask": ASKS,
        "device": NAMES,
        "outcome": st.sampled_from(("done", "failed", "not-understood", "late", "again")),
    },
    messages.VoiceStatus: {
        "asks": COUNTS,
        "assist": FINGERPRINTS,
        "boot": st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
        "copies": COUNTS,
        "device": NAMES,
        "n": st.integers(1, 1 << 53),
        "on": st.integers(0, 1),
        "owner": NAMES,
    },
}
PAYLOADS = payloads(WORLD)
FLAC: bytes = pyrage.decrypt(PAYLOADS["command copy"].split(b"\n", 4)[4], [WORLD.command_key])
