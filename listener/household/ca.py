"""A household's own authority: its certificate, those it signs, and those it takes back. Pure.

Every moment is handed in. Certificates hold from 1970 on, since a speaker without a battery for its
clock starts in the past, and must be let in to find out the time. What ends one early is the list
of those taken back, which never expires before the authority: a broker whose list has expired
refuses everybody.

The household's authority on the disk: what signs each certificate, ``ca.crt`` and ``ca.key``.
"""

import ipaddress
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from listener.errors import ConfigError
from listener.household import broker_config
from listener.household.identity import SERVERS, HouseholdIdentity
from listener.storage.atomic import PUBLIC_MODE, SECRET_MODE, write_atomic

AUTHORITY_DAYS: Final = 25 * 365
CERTIFICATE_DAYS: Final = 5 * 365
RENEW_DAYS: Final = 180
"""With fewer days left, it is time to renew."""

_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Authority:
    """What signs. Whoever has its key is the household."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a key for TLS, on the curve that every TLS 1.3 speaks."""
    return ec.generate_private_key(ec.SECP256R1())


def new_authority(now: datetime) -> Authority:
    """Make an authority that lives for 25 years and signs nothing but identities."""
    key = new_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Its own number in the name, so that two households' authorities are told apart.
    name = _name(f"earmark household {identifier.digest[:4].hex()}")
    certificate = (
        _builder(name, name, key.public_key(), now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_others=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue_certificate(
    authority: Authority,
    identity: HouseholdIdentity,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    hosts: Sequence[str] = (),
) -> x509.Certificate:
    """Sign an identity's key for 5 years.

    A server's certificate is no use to a client, and the other way round: a device cannot stand
    in for the broker.

    Args:
        authority: signs.
        identity: what the certificate says of whoever holds the key.
        public: the key.
        now: the time, which sets the end only.
        hosts: names and addresses by which a server is reached.
    """
    serves = identity in SERVERS
    use = ExtendedKeyUsageOID.SERVER_AUTH if serves else ExtendedKeyUsageOID.CLIENT_AUTH
    end = min(now + timedelta(days=CERTIFICATE_DAYS), authority.certificate.not_valid_after_utc)
    builder = (
        _builder(authority.certificate.subject, _name(identity.cn), public, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_others=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_issuer(authority), critical=False)
    )
    if serves:
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def build_revocation_list(
    authority: Authority, revoked: Iterable[tuple[int, datetime]], number: int
) -> x509.CertificateRevocationList:
    """List the certificates taken back.

    Args:
        authority: signs.
        revoked: serial number and moment of each.
        number: grows with each list.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(_EVER)
        .next_update(authority.certificate.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_issuer(authority), critical=False)
    )
    for serial, moment in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment).build()
        )
    return builder.sign(authority.key, hashes.SHA256())


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names and addresses for which a server's certificate stands."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def is_signed_by(authority: Authority, certificate: x509.Certificate) -> bool:
    """Say whether this authority made a certificate."""
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_valid_host(host: str) -> bool:
    """Say whether a host's name or address can stand in a certificate."""
    try:
        _host(host)
    except ValueError:
        return False
    return True


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a secret key as unencrypted PKCS 8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def parse_key(data: bytes, source: str) -> ec.EllipticCurvePrivateKey:
    """Read what ``key_pem`` wrote.

    Raises:
        ConfigError: it is anything else.
    """
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the key {source} is damaged", _RESTORE) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"the key {source} is of another kind", _RESTORE)
    return key


def parse_certificate(data: bytes, source: str) -> x509.Certificate:
    """Read a certificate in PEM.

    Raises:
        ConfigError: it is none.
    """
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise ConfigError(f"the certificate {source} is damaged", _RESTORE) from error


_RESTORE: Final = "restore it from a backup; nothing here is ever made anew in silence"


def spki(public: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key's one spelling, to compare keys by."""
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _builder(
    issuer: x509.Name, subject: x509.Name, public: ec.EllipticCurvePublicKey, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_EVER)
        .not_valid_after(end.replace(microsecond=0))
    )


def _issuer(authority: Authority) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())


def _usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_others,
        key_cert_sign=signs_others,
        crl_sign=signs_others,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        if not text or "*" in text or any(mark.isspace() for mark in text):
            raise ValueError("neither a name nor an address") from None
        return x509.DNSName(text)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


_KEY: Final = "ca.key"


def create_authority(folder: Path, made: datetime) -> None:
    """Make an authority where there is none.

    Raises:
        Unavailable: the folder cannot be written.
    """
    fresh = new_authority(made)
    # The key first: a certificate alone would look like a loss.
    write_atomic(folder / _KEY, key_pem(fresh.key), SECRET_MODE)
    pem = certificate_pem(fresh.certificate)
    write_atomic(folder / broker_config.CA, pem, PUBLIC_MODE)


def read_authority(folder: Path) -> Authority:
    """Return what signs.

    Raises:
        ConfigError: it is missing, damaged, or its key can be read by others.
    """
    paths = folder / broker_config.CA, folder / _KEY
    try:
        certificate = parse_certificate(paths[0].read_bytes(), str(paths[0]))
        key = read_key(paths[1])
    except FileNotFoundError as error:
        raise ConfigError(
            f"{error.filename} is missing", "restore it from a backup of the household"
        ) from error
    if certificate.public_key() != key.public_key():
        raise ConfigError(f"{paths[1]} is not the key of {paths[0]}", "restore both")
    return Authority(certificate, key)


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a secret key.

    Raises:
        ConfigError: it is damaged, or others can read it.
        FileNotFoundError: there is none.
    """
    with path.open("rb") as stream:
        if os.fstat(stream.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(
                f"the key {path} can be read by others", f"if nobody did: chmod 600 {path}"
            )
        return parse_key(stream.read(), str(path))
