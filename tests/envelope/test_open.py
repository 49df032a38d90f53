import io
from collections.abc import Callable

import msgspec
import pyrage
import pytest
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.open import Identity, OpenedClip, open_envelope, parse_identities
from listener.errors import BadEnvelope, ConfigError, NotForYou

Encode = Callable[[str], bytes]
Sealing = Callable[..., bytes]
Opening = Callable[..., OpenedClip]


def secret_line() -> str:
    return str(pyrage.x25519.Identity.generate())


def test_owner_opens_the_clip_with_its_private_fields(
    sealed: bytes, opening: Opening, header: form.PublicHeader, private: form.PrivateFields
) -> None:
    opened = opening(sealed)

    assert (opened.header, opened.private) == (header, private)
    samples, rate_hz = soundfile.read(io.BytesIO(opened.flac), dtype="int16")
    assert (len(samples), rate_hz) == (4_000, 16_000)


def test_other_owners_key_raises_not_for_you(
    sealed: bytes,
    bob: Identity,
    opening: Opening,
    devices: dict[str, Ed25519PublicKey],
    owners: dict[str, str],
) -> None:
    with pytest.raises(NotForYou):
        opening(sealed, bob)
    with pytest.raises(NotForYou):
        open_envelope(sealed, [], devices, owners)


def test_one_matching_key_of_several_opens_the_clip(
    sealed: bytes, ada: Identity, bob: Identity, opening: Opening
) -> None:
    assert opening(sealed, bob, ada).header.owner == "ada"


def test_damaged_envelope_is_an_error_for_every_key(
    sealed: bytes, ada: Identity, bob: Identity, opening: Opening
) -> None:
    for identity in (ada, bob):
        with pytest.raises(BadEnvelope):
            opening(sealed[:-1], identity)


def test_clip_resealed_by_another_device_is_refused(
    header: form.PublicHeader,
    hall: Ed25519PrivateKey,
    encode: Encode,
    sealing: Sealing,
    opening: Opening,
) -> None:
    clips: list[bytes] = []

    def kept(comment: str) -> bytes:
        clips.append(encode(comment))
        return clips[0]

    sealing(encode=kept)
    its_own = msgspec.structs.replace(header, device="hall", dkey=keys.device_id(hall.public_key()))
    data = sealing(header=its_own, encode=lambda _: clips[0], device_key=hall)

    with pytest.raises(BadEnvelope, match="differs from the public header"):
        opening(data)


def test_flac_with_a_false_length_is_not_decoded(
    encode: Encode, sealing: Sealing, opening: Opening
) -> None:
    def endless(comment: str) -> bytes:
        flac = bytearray(encode(comment))
        flac[21:26] = b"\xff" * 5  # STREAMINFO's count of samples, 36 bits
        return bytes(flac)

    data = sealing(encode=endless)

    with pytest.raises(BadEnvelope):
        opening(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_damaged_flac_in_a_seal_opens_or_raises_one_error(
    data: st.DataObject,
    header: form.PublicHeader,
    encode: Encode,
    sealing: Sealing,
    opening: Opening,
) -> None:
    def damaged(comment: str) -> bytes:
        flac = encode(comment)
        start = data.draw(st.integers(0, len(flac)))
        cut = data.draw(st.integers(0, 60))
        return flac[:start] + data.draw(st.binary(max_size=60)) + flac[start + cut :]

    envelope = sealing(encode=damaged)

    try:
        opened = opening(envelope)
    except BadEnvelope:
        return
    assert opened.header == header


def test_identity_file_may_have_comments_and_several_keys() -> None:
    first, second = secret_line(), secret_line()
    text = f"# created: today\r\n# public key: age1\r\n{first}\r\n\r\n  {second}  \n"

    identities = parse_identities(text.encode(), "me.key")

    assert [str(identity.secret) for identity in identities] == [first, second]
    assert identities[0].okey == keys.owner_id(identities[0].recipient)


def test_identity_with_a_byte_order_mark_is_read() -> None:
    secret = secret_line()

    (identity,) = parse_identities(f"{secret}\r\n".encode("utf-8-sig"), "me.key")

    assert str(identity.secret) == secret


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_identity_in_utf_16_is_not_called_lost(encoding: str) -> None:
    with pytest.raises(ConfigError, match=r"me\.key is UTF-16 text") as caught:
        parse_identities(f"# key\r\n{secret_line()}\r\n".encode(encoding), "me.key")

    assert "SECRET" not in str(caught.value)
    assert "age-keygen" not in (caught.value.hint or "")
    assert "save it as UTF-8" in (caught.value.hint or "")


def test_secret_key_is_absent_from_str_and_repr() -> None:
    secret = secret_line()

    identity = parse_identities(secret.encode(), "me.key")[0]

    assert secret not in repr(identity)
    assert "SECRET" not in f"{identity} {identity!r}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no key"),
        (b"# public key: age1\n\n", "holds no key"),
        (b"age-encryption.org/v1\n-> scrypt x 18\n", "encrypted with a passphrase"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\nxx\n", "encrypted with a passphrase"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET\n", "me.key, line 1, is not an age secret"),
        (b"AGE-PLUGIN-YUBIKEY-1QQQ\n", "line 1, is not an age secret"),
        (b"# fine\nAGE-SECRET-KEY-1SECRETSECRET\n", "line 2, is not an age secret"),
        (b"\xff\xfe", "not text"),
        (bytes((1 << 20) + 1), "longer than 1048576 bytes"),
    ],
)
def test_invalid_identity_error_does_not_contain_its_text(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_identities(data, "me.key")

    assert "SECRET" not in str(caught.value)


@given(st.binary(max_size=300))
def test_arbitrary_identity_raises_one_error(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_identities(data, "me.key")


OTHER_IDENTITIES = ["AGE-SECRET-KEY-PQ-1QQQQQQQQ", "AGE-PLUGIN-YUBIKEY-1QQQQQ", "age-plugin-x-1q"]


@pytest.mark.parametrize("other", OTHER_IDENTITIES)
@pytest.mark.parametrize("is_first", [True, False])
def test_x25519_key_beside_other_kinds_is_used(other: str, *, is_first: bool) -> None:
    secret = secret_line()
    lines = [f"  {other}", secret] if is_first else [secret, other]

    (identity,) = parse_identities("\n".join(["# made today", *lines]).encode(), "mixed.key")

    assert str(identity.secret) == secret


@pytest.mark.parametrize("other", OTHER_IDENTITIES)
def test_identity_of_other_kinds_alone_is_named(other: str) -> None:
    with pytest.raises(
        ConfigError, match=r"line 2, .* but a post-quantum or plug-in key"
    ) as caught:
        parse_identities(f"# x\n{other}\n".encode(), "pq.key")

    assert "without -pq" in caught.value.hint
    assert other not in str(caught.value)
