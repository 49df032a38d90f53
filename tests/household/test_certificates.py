from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from listener.envelope import keys
from listener.errors import ConfigError
from listener.household import certificates, identity

NOW = datetime(2026, 11, 22, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> certificates.Authority:
    return certificates.new_authority(NOW)


def uses(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_server_s_certificate_stands_for_its_hosts_by_the_rules_of_the_web(
    authority: certificates.Authority,
) -> None:
    hosts = ("home.local", "192.168.1.5")

    made = certificates.issue_certificate(
        authority, identity.BROKER, certificates.new_key().public_key(), NOW, hosts
    )

    assert certificates.hosts_of(made) == hosts
    assert uses(made) == [ExtendedKeyUsageOID.SERVER_AUTH]
    store = Store([authority.certificate])
    verifier = PolicyBuilder().store(store).time(NOW + timedelta(days=1))
    chain = verifier.build_server_verifier(x509.DNSName("home.local")).verify(made, [])
    assert chain == [made, authority.certificate]
    with pytest.raises(VerificationError):
        verifier.build_server_verifier(x509.DNSName("other.local")).verify(made, [])


def test_a_member_s_certificate_serves_nobody(authority: certificates.Authority) -> None:
    hall = identity.device("hall")

    made = certificates.issue_certificate(
        authority, hall, certificates.new_key().public_key(), NOW, ("home",)
    )

    assert uses(made) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificates.hosts_of(made) == ()
    assert [name.value for name in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        "d-hall"
    ]
    basic = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert not basic.value.ca


def test_a_clock_that_was_never_set_is_let_in_and_the_end_is_stated(
    authority: certificates.Authority,
) -> None:
    made = certificates.issue_certificate(
        authority, identity.device("hall"), certificates.new_key().public_key(), NOW
    )

    assert made.not_valid_before_utc == EPOCH
    assert authority.certificate.not_valid_before_utc == EPOCH
    assert made.not_valid_after_utc == NOW + timedelta(days=certificates.CERTIFICATE_DAYS)


def test_no_certificate_outlives_its_authority(authority: certificates.Authority) -> None:
    late = authority.certificate.not_valid_after_utc - timedelta(days=1)

    made = certificates.issue_certificate(
        authority, identity.device("hall"), certificates.new_key().public_key(), late
    )

    assert made.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_the_list_of_revoked_certificates_never_expires_before_the_authority(
    authority: certificates.Authority,
) -> None:
    listed = certificates.build_revocation_list(authority, [(7, NOW), (9, NOW)], 3)

    assert listed.last_update_utc == EPOCH
    assert listed.next_update_utc == authority.certificate.not_valid_after_utc
    assert {one.serial_number for one in listed} == {7, 9}
    assert listed.is_signature_valid(authority.key.public_key())


def test_another_household_s_certificate_is_not_ours(authority: certificates.Authority) -> None:
    other = certificates.new_authority(NOW)
    made = certificates.issue_certificate(
        other, identity.device("hall"), certificates.new_key().public_key(), NOW
    )

    assert certificates.is_signed_by(other, made)
    assert not certificates.is_signed_by(authority, made)
    assert other.certificate.subject != authority.certificate.subject


@pytest.mark.parametrize("host", ["", "*", "*.lan", "a b", "hällo", "a\n"])
def test_what_is_no_host_does_not_fit(host: str) -> None:
    assert not certificates.is_valid_host(host)
    assert certificates.is_valid_host("home.lan")
    assert certificates.is_valid_host("fd00::1")


def test_damaged_files_are_named() -> None:
    other = keys.device_pem(Ed25519PrivateKey.generate())

    with pytest.raises(ConfigError, match="certificate there is damaged"):
        certificates.parse_certificate(b"no", "there")
    with pytest.raises(ConfigError, match="key there is damaged"):
        certificates.parse_key(b"no", "there")
    with pytest.raises(ConfigError, match="another kind"):
        certificates.parse_key(other, "there")
    key = certificates.new_key()
    assert certificates.parse_key(certificates.key_pem(key), "").public_key() == key.public_key()
