"""The file of a voiceprint: what is signed, and what is refused."""

import base64
import contextlib
import json
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from listener.envelope import keys
from listener.voiceprint.record import (
    EMBEDDING_DIMENSIONS,
    LONGEST_VOICEPRINT_BYTES,
    Voiceprint,
    VoiceprintRefused,
    encode_vector,
    encode_voiceprint,
    parse_signed_voiceprint,
    parse_voiceprint,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
MODEL = "5a" * 32
OKEY = "a" * 24


def vector(seed: int = 1) -> NDArray[np.float32]:
    made = np.random.default_rng(seed).normal(size=EMBEDDING_DIMENSIONS)
    return np.asarray(made / np.linalg.norm(made), np.float32)


def voiceprint(owner: str = "ada", key: Ed25519PrivateKey = KEY, **fields: object) -> Voiceprint:
    made = Voiceprint(
        owner=owner,
        okey=OKEY,
        device=keys.device_text(key.public_key()),
        model=MODEL,
        vector=encode_vector(vector()),
        threshold=0.52,
        sentences=10,
        speech_s=31.25,
        t="2026-01-02T03:04:05.678Z",
    )
    return msgspec.structs.replace(made, **fields)


def parse(data: bytes, name: str = "ada") -> Voiceprint:
    return parse_voiceprint(data, name, okeys={OKEY}, device=KEY.public_key(), model=MODEL)


def test_voiceprint_is_read_as_it_was_written() -> None:
    data = encode_voiceprint(voiceprint(), KEY)

    assert parse(data) == voiceprint()
    np.testing.assert_allclose(parse(data).embedding, vector(), atol=1e-7)
    assert parse(data).embedding.dtype == np.float32
    assert len(data) < LONGEST_VOICEPRINT_BYTES / 2


@pytest.mark.parametrize(
    ("made", "name", "reason"),
    [
        (lambda: encode_voiceprint(voiceprint(), KEY), "bob", "name"),
        (lambda: encode_voiceprint(voiceprint(key=OTHER_KEY), OTHER_KEY), "ada", "device"),
        (lambda: encode_voiceprint(voiceprint(model="6b" * 32), KEY), "ada", "model"),
        (lambda: encode_voiceprint(voiceprint(okey="b" * 24), KEY), "ada", "key"),
    ],
)
def test_voiceprint_that_does_not_count_here_is_refused_by_name(
    made: Callable[[], bytes], name: str, reason: str
) -> None:
    with pytest.raises(VoiceprintRefused, match=f"the voiceprint of {name} is refused") as refused:
        parse(made(), name)

    assert (refused.value.reason, refused.value.owner) == (reason, name)


def test_owner_without_a_confirmed_key_is_refused() -> None:
    data = encode_voiceprint(voiceprint(), KEY)

    with pytest.raises(VoiceprintRefused) as refused:
        parse_voiceprint(data, "ada", okeys=(), device=KEY.public_key(), model=MODEL)

    assert refused.value.reason == "owner"
    assert "earmark owner challenge ada" in refused.value.hint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("owner", "bob"),
        ("okey", "b" * 24),
        ("model", "6b" * 32),
        ("threshold", 0.1),
        ("sentences", 11),
        ("t", "2027-01-02T03:04:05.678Z"),
        ("vector", encode_vector(vector(2))),
    ],
)
def test_every_edited_field_breaks_the_signature(field: str, value: object) -> None:
    parts = json.loads(encode_voiceprint(voiceprint(), KEY))
    parts["voiceprint"][field] = value
    data = json.dumps(parts, separators=(",", ":"), sort_keys=True).encode() + b"\n"

    with pytest.raises(VoiceprintRefused) as refused:
        parse(data)

    assert refused.value.reason == "signature"


def test_signature_covers_no_other_kind_of_statement() -> None:
    made = voiceprint()
    signature = base64.b64encode(KEY.sign(msgspec.json.encode(made, order="sorted"))).decode()
    parts = json.loads(encode_voiceprint(made, KEY)) | {"signature": signature}
    data = json.dumps(parts, separators=(",", ":"), sort_keys=True).encode() + b"\n"

    with pytest.raises(VoiceprintRefused) as refused:
        parse(data)

    assert refused.value.reason == "signature"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: b" " + data,
        lambda data: data[: len(data) // 2],
        lambda data: bytes(len(data)),
        lambda data: data[:0],
        lambda data: data.replace(b'"v":1', b'"v":2'),
        lambda data: data.replace(b'"v":1', b'"v":1,"v":1'),
        lambda data: data.replace(b'"v":1', b'"v":1,"extra":1'),
        lambda data: data.replace(b"0.52", b"0.520"),
        lambda data: data.replace(b"0.52", b"1.52"),
        lambda data: data + b" " * LONGEST_VOICEPRINT_BYTES,
        lambda data: data[:0] + b"[" * LONGEST_VOICEPRINT_BYTES,
    ],
)
def test_damaged_file_is_refused(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(VoiceprintRefused) as refused:
        parse(change(encode_voiceprint(voiceprint(), KEY)))

    assert refused.value.reason == "form"


def _with_vector(values: NDArray[np.float32]) -> bytes:
    text = base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")
    made = voiceprint(vector=text)
    signature = base64.b64encode(KEY.sign(made.signed_bytes())).decode("ascii")
    parts = {"signature": signature, "voiceprint": msgspec.to_builtins(made)}
    return msgspec.json.encode(parts, order="sorted") + b"\n"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 0.0, 0.5])
def test_signed_vector_without_unit_norm_is_refused(value: float) -> None:
    with pytest.raises(VoiceprintRefused) as refused:
        parse(_with_vector(np.full(EMBEDDING_DIMENSIONS, value, np.float32)))

    assert refused.value.reason == "form"
    assert parse(_with_vector(vector())) is not None


@given(st.binary(min_size=4, max_size=4))
def test_any_bits_in_a_signed_vector_are_refused_or_of_unit_norm(bits: bytes) -> None:
    raw = bytearray(vector().astype("<f4").tobytes())
    raw[:4] = bits
    data = _with_vector(np.frombuffer(bytes(raw), "<f4"))

    with contextlib.suppress(VoiceprintRefused):
        assert np.linalg.norm(parse(data).embedding) == pytest.approx(1, abs=2e-3)


@given(st.binary(max_size=2 * LONGEST_VOICEPRINT_BYTES))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(VoiceprintRefused):
        parse_signed_voiceprint(data, "ada")


@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    whole = encode_voiceprint(voiceprint(), KEY)
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))

    with pytest.raises(VoiceprintRefused):
        parse(whole[:at] + bytes([byte]) + whole[at + 1 :])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["signature", "voiceprint", "v", "vector", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_refused(value: object) -> None:
    with pytest.raises(VoiceprintRefused):
        parse(json.dumps(value).encode() + b"\n")


@given(field=st.sampled_from(Voiceprint.__struct_fields__), value=JSON)
def test_any_value_of_a_field_is_refused_or_unsigned(field: str, value: object) -> None:
    parts = json.loads(encode_voiceprint(voiceprint(), KEY))
    if parts["voiceprint"][field] == value and type(value) is type(parts["voiceprint"][field]):
        return
    parts["voiceprint"][field] = value
    data = json.dumps(parts, separators=(",", ":"), sort_keys=True).encode() + b"\n"

    with pytest.raises(VoiceprintRefused):
        parse(data)


@pytest.mark.parametrize(
    "embedding",
    [
        np.zeros(EMBEDDING_DIMENSIONS, np.float32),
        np.full(EMBEDDING_DIMENSIONS, np.nan, np.float32),
        np.ones(EMBEDDING_DIMENSIONS - 1, np.float32),
        np.ones((2, EMBEDDING_DIMENSIONS), np.float32),
    ],
)
def test_vector_of_another_kind_is_not_encoded(embedding: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="192 finite numbers"):
        encode_vector(embedding)


def test_only_the_named_device_signs() -> None:
    with pytest.raises(ValueError, match="names the device"):
        encode_voiceprint(voiceprint(), OTHER_KEY)
