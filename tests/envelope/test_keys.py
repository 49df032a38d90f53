import pyrage
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.envelope import keys
from listener.envelope.open import Identity
from listener.errors import ConfigError


def test_device_key_text_round_trip(kitchen: Ed25519PrivateKey) -> None:
    text = keys.device_text(kitchen.public_key())

    assert text.startswith("ed25519:")
    assert keys.parse_device(f" {text}\n") == kitchen.public_key()


@given(st.text(max_size=80) | st.text(max_size=50).map("ed25519:".__add__))
def test_arbitrary_text_is_not_a_device_key(text: str) -> None:
    with pytest.raises(ConfigError):
        keys.parse_device(text)


def test_device_key_has_one_canonical_text(kitchen: Ed25519PrivateKey) -> None:
    text = keys.device_text(kitchen.public_key())
    loose = text[:-2] + chr(ord(text[-2]) + 1) + "="

    for other in (text.removeprefix("ed25519:"), loose, text.upper(), text[:-1]):
        with pytest.raises(ConfigError):
            keys.parse_device(other)


def test_owner_key_is_normalised_to_lower_case(ada: Identity) -> None:
    assert keys.parse_recipient(f"  {ada.recipient.upper()}\n") == ada.recipient


@given(st.text(max_size=80) | st.text(max_size=62).map("age1".__add__))
def test_arbitrary_text_is_not_an_owner_key(text: str) -> None:
    with pytest.raises(ConfigError):
        keys.parse_recipient(text)


@pytest.mark.parametrize(
    "text",
    [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN",
        "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
    ],
)
def test_keys_of_other_kinds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not an age public key"):
        keys.parse_recipient(text)


def test_secret_key_is_refused_and_not_printed() -> None:
    secret = str(pyrage.x25519.Identity.generate())

    with pytest.raises(ConfigError, match="this is a secret key") as caught:
        keys.parse_recipient(secret.lower())

    assert secret[20:].lower() not in str(caught.value).lower()


def test_device_secret_key_file_round_trip(kitchen: Ed25519PrivateKey) -> None:
    found = keys.parse_device_pem(keys.device_pem(kitchen), "device.key")

    assert found.public_key() == kitchen.public_key()


@given(st.binary(max_size=200))
def test_arbitrary_file_is_not_a_device_secret_key(data: bytes) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        keys.parse_device_pem(data, "device.key")


def test_encrypted_and_other_private_keys_are_refused(kitchen: Ed25519PrivateKey) -> None:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked = kitchen.private_bytes(*form, serialization.BestAvailableEncryption(b"x"))
    other = X25519PrivateKey.generate().private_bytes(*form, serialization.NoEncryption())

    with pytest.raises(ConfigError, match="damaged"):
        keys.parse_device_pem(locked, "device.key")
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        keys.parse_device_pem(other, "device.key")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("age1pq1" + "q" * 1_900, "post-quantum"),
        ("AGE1PQ1" + "Q" * 1_900, "post-quantum"),
        ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "plug-in"),
        ("age1tagpq1qqqqqqqqqqqqqqqqqqqqqqqqq", "plug-in"),
    ],
)
def test_public_key_of_another_kind_is_named(text: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"of the kind X25519, but a {kind} key") as caught:
        keys.parse_recipient(text)

    assert "age-keygen without -pq" in caught.value.hint


def test_plug_in_identity_is_a_secret_key() -> None:
    with pytest.raises(ConfigError, match="this is a secret key"):
        keys.parse_recipient("AGE-PLUGIN-YUBIKEY-1QQQQQQQQ")
