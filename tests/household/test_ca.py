import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from listener.envelope import keys
from listener.errors import ConfigError
from listener.household import ca, identity

NOW = datetime(2026, 11, 22, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> ca.Authority:
    return ca.new_authority(NOW)


def uses(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_server_certificate_is_valid_for_its_hosts_only(
    authority: ca.Authority,
) -> None:
    hosts = ("home.local", "192.168.1.5")

    made = ca.issue_certificate(authority, identity.BROKER, ca.new_key().public_key(), NOW, hosts)

    assert ca.hosts_of(made) == hosts
    assert uses(made) == [ExtendedKeyUsageOID.SERVER_AUTH]
    store = Store([authority.certificate])
    verifier = PolicyBuilder().store(store).time(NOW + timedelta(days=1))
    chain = verifier.build_server_verifier(x509.DNSName("home.local")).verify(made, [])
    assert chain == [made, authority.certificate]
    with pytest.raises(VerificationError):
        verifier.build_server_verifier(x509.DNSName("other.local")).verify(made, [])


def test_client_certificate_is_not_valid_for_a_server(authority: ca.Authority) -> None:
    hall = identity.device("hall")

    made = ca.issue_certificate(authority, hall, ca.new_key().public_key(), NOW, ("home",))

    assert uses(made) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert ca.hosts_of(made) == ()
    assert [name.value for name in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        "d-hall"
    ]
    basic = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert not basic.value.ca


def test_certificate_is_valid_from_1970_to_its_end(
    authority: ca.Authority,
) -> None:
    made = ca.issue_certificate(authority, identity.device("hall"), ca.new_key().public_key(), NOW)

    assert made.not_valid_before_utc == EPOCH
    assert authority.certificate.not_valid_before_utc == EPOCH
    assert made.not_valid_after_utc == NOW + timedelta(days=ca.CERTIFICATE_DAYS)


def test_certificate_ends_no_later_than_its_authority(authority: ca.Authority) -> None:
    late = authority.certificate.not_valid_after_utc - timedelta(days=1)

    made = ca.issue_certificate(authority, identity.device("hall"), ca.new_key().public_key(), late)

    assert made.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_revocation_list_expires_with_the_authority(
    authority: ca.Authority,
) -> None:
    listed = ca.build_revocation_list(authority, [(7, NOW), (9, NOW)], 3)

    assert listed.last_update_utc == EPOCH
    assert listed.next_update_utc == authority.certificate.not_valid_after_utc
    assert {one.serial_number for one in listed} == {7, 9}
    assert listed.is_signature_valid(authority.key.public_key())


def test_certificate_of_another_household_is_recognised(
    authority: ca.Authority,
) -> None:
    other = ca.new_authority(NOW)
    made = ca.issue_certificate(other, identity.device("hall"), ca.new_key().public_key(), NOW)

    assert ca.is_signed_by(other, made)
    assert not ca.is_signed_by(authority, made)
    assert other.certificate.subject != authority.certificate.subject


@pytest.mark.parametrize("host", ["", "*", "*.lan", "a b", "hällo", "a\n"])
def test_invalid_host_is_rejected(host: str) -> None:
    assert not ca.is_valid_host(host)
    assert ca.is_valid_host("home.lan")
    assert ca.is_valid_host("fd00::1")


def test_parse_error_names_the_file() -> None:
    other = keys.device_pem(Ed25519PrivateKey.generate())

    with pytest.raises(ConfigError, match="certificate there is damaged"):
        ca.parse_certificate(b"no", "there")
    with pytest.raises(ConfigError, match="key there is damaged"):
        ca.parse_key(b"no", "there")
    with pytest.raises(ConfigError, match="not an elliptic curve key"):
        ca.parse_key(other, "there")
    key = ca.new_key()
    assert ca.parse_key(ca.key_pem(key), "").public_key() == key.public_key()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ca.create_authority(tmp_path, NOW)
    return tmp_path


def test_created_authority_is_read_and_its_key_is_private(folder: Path) -> None:
    first, second = ca.read_authority(folder), ca.read_authority(folder)

    assert first.certificate == second.certificate
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600


def test_key_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "ca.key").chmod(0o640)

    with pytest.raises(ConfigError, match="can be read by others"):
        ca.read_authority(folder)


def test_key_of_another_authority_is_refused(folder: Path) -> None:
    other = ca.new_authority(NOW)
    (folder / "ca.key").write_bytes(ca.key_pem(other.key))

    with pytest.raises(ConfigError, match="is not the key of"):
        ca.read_authority(folder)


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(ConfigError, match=f"{name} is missing"):
        ca.read_authority(folder)


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_damaged_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"damaged")
    (folder / name).chmod(0o600)

    with pytest.raises(ConfigError):
        ca.read_authority(folder)
