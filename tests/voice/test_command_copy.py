"""Command copies and replies: sealed, verified from outside, and opened by one key."""

import msgspec
import numpy as np
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.errors import VoiceError
from listener.voice import command_copy, reply
from listener.voice.limits import FILL_BYTES, LONGEST_FILE_BYTES
from listener.voice.open_copy import open_copy
from listener.voice.open_reply import open_reply
from tests.voice.conftest import World, sound


def test_copy_opens_with_the_command_key(world: World) -> None:
    copy = command_copy.parse_copy(world.copy())
    copy.verify(world.hall.public_key())

    opened = open_copy(copy, world.hall.public_key(), world.command_key, world.assist_id)

    assert opened.header == world.copy_header()
    assert opened.fields == world.copy_fields()
    np.testing.assert_array_equal(opened.samples, sound())
    assert "samples" not in repr(opened)


def test_reply_opens_with_the_reply_key(world: World) -> None:
    sealed = reply.parse_reply(world.reply())
    sealed.verify(world.assist.public_key())

    opened = open_reply(sealed, world.assist.public_key(), world.reply_key)

    assert (opened.header, opened.rate_hz) == (world.reply_header(), 16_000)
    np.testing.assert_array_equal(opened.samples, sound())
    assert "samples" not in repr(opened)


def test_length_of_a_copy_shows_its_sound_in_steps_of_32_kib(world: World) -> None:
    for length in (1_600, 40_000):
        header, fields = world.copy_header(), world.copy_fields()
        fields = msgspec.structs.replace(fields, ms=length // 16, pre_ms=0)
        noise = np.random.default_rng(1).integers(-9_000, 9_000, length).astype(np.int16)
        sealed = command_copy.seal_copy(header, fields, noise, world.command_recipient, world.hall)
        ciphertext = command_copy.parse_copy(sealed).lines.ciphertext
        flac = pyrage.decrypt(ciphertext, [world.command_key])
        assert len(flac) % FILL_BYTES == 0


def test_longest_command_of_noise_fits(world: World) -> None:
    noise = np.random.default_rng(1).integers(-32_768, 32_767, 240_000).astype(np.int16)
    fields = msgspec.structs.replace(world.copy_fields(), ms=15_000)

    sealed = command_copy.seal_copy(
        world.copy_header(), fields, noise, world.command_recipient, world.hall
    )

    assert len(sealed) <= LONGEST_FILE_BYTES
    with pytest.raises(VoiceError) as caught:
        command_copy.seal_copy(
            world.copy_header(),
            msgspec.structs.replace(fields, ms=15_001),
            np.zeros(240_016, np.int16),
            world.command_recipient,
            world.hall,
        )
    assert caught.value.reason == "form"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"age_ms": 15_001}, "form"),
        ({"age_ms": -1}, "form"),
        ({"part": 0}, "form"),
        ({"part": 4}, "form"),
        ({"last": 2}, "form"),
        ({"codec": "opus"}, "form"),
        ({"ask": "0"}, "form"),
        ({"key": "a" * 24}, "key"),
        ({"dkey": "a" * 24}, "device"),
    ],
)
def test_copy_that_a_reader_would_refuse_is_not_sealed(
    world: World, changes: dict[str, object], reason: str
) -> None:
    header = msgspec.structs.replace(world.copy_header(), **changes)

    with pytest.raises(VoiceError) as caught:
        command_copy.seal_copy(
            header, world.copy_fields(), sound(), world.command_recipient, world.hall
        )
    assert caught.value.reason == reason


def test_copy_whose_fields_contradict_its_sound_is_not_sealed(world: World) -> None:
    for changes in ({"ms": 249}, {"pre_ms": 251}):
        fields = msgspec.structs.replace(world.copy_fields(), **changes)
        with pytest.raises(VoiceError) as caught:
            command_copy.seal_copy(
                world.copy_header(), fields, sound(), world.command_recipient, world.hall
            )
        assert caught.value.reason == "content"


def test_copy_opens_for_one_device_key_command_key_and_assist(world: World) -> None:
    copy = command_copy.parse_copy(world.copy())
    hall, other = world.hall.public_key(), Ed25519PrivateKey.generate().public_key()

    for device, secret, assist, reason in (
        (other, world.command_key, world.assist_id, "device"),
        (hall, world.reply_key, world.assist_id, "key"),
        (hall, world.command_key, "a" * 24, "assist"),
    ):
        with pytest.raises(VoiceError) as caught:
            open_copy(copy, device, secret, assist)
        assert caught.value.reason == reason


def test_reply_by_another_key_is_refused(world: World) -> None:
    sealed = reply.parse_reply(world.reply())

    with pytest.raises(VoiceError) as caught:
        open_reply(sealed, world.hall.public_key(), world.reply_key)
    assert caught.value.reason == "signature"
    with pytest.raises(VoiceError) as caught:
        open_reply(sealed, world.assist.public_key(), world.command_key)
    assert caught.value.reason == "key"


def test_reply_to_another_key_without_a_rate_or_over_the_limit_is_not_sealed(world: World) -> None:
    noise = np.random.default_rng(1).integers(-32_768, 32_767, 480_000).astype(np.int16)
    wrong_key = msgspec.structs.replace(world.reply_header(), key="a" * 24)
    no_key = msgspec.structs.replace(world.reply_header(), key=keys.owner_id("age1"))

    for header, samples, rate_hz, recipient, reason in (
        (wrong_key, sound(), 16_000, world.reply_recipient, "key"),
        (no_key, sound(), 16_000, "age1", "key"),
        (world.reply_header(), sound(), 0, world.reply_recipient, "form"),
        (world.reply_header(), sound(), 7_999, world.reply_recipient, "form"),
        (world.reply_header(), sound(), 48_001, world.reply_recipient, "form"),
        (world.reply_header(), noise, 16_000, world.reply_recipient, "form"),
        (world.reply_header(), noise[:0], 16_000, world.reply_recipient, "form"),
    ):
        with pytest.raises(VoiceError) as caught:
            reply.seal_reply(header, samples, rate_hz, recipient, world.assist)
        assert caught.value.reason == reason


def test_secret_key_as_text_is_a_fault_of_the_caller(world: World) -> None:
    copy = command_copy.parse_copy(world.copy())

    with pytest.raises(TypeError):
        open_copy(copy, world.hall.public_key(), str(world.command_key), world.assist_id)


def test_reply_longer_than_30_s_is_not_sealed(world: World) -> None:
    with pytest.raises(VoiceError) as caught:
        reply.seal_reply(
            world.reply_header(),
            np.zeros(30_001 * 16, np.int16),
            16_000,
            world.reply_recipient,
            world.assist,
        )
    assert caught.value.reason == "form"
