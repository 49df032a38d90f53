"""Certificate authority of a household: X.509 (RFC 5280) certificates, revocation list, files.

The authority lies in ``ca.crt`` and ``ca.key``. Only the functions that take a path read or write;
the time is always a parameter. Certificates are valid from 1970 on: a speaker without a
battery-backed clock starts with a date in the past and must be able to connect. A certificate is
ended early by the revocation list, which expires no earlier than the authority: a broker whose
list has expired refuses every client.
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
from listener.household.identity import HouseholdIdentity, is_server
from listener.storage.atomic import (
    PUBLIC_MODE,
    SECRET_MODE,
    open_plain_file,
    read_plain_file,
    write_atomic,
)

AUTHORITY_DAYS: Final = 25 * 365
CERTIFICATE_DAYS: Final = 5 * 365
RENEW_DAYS: Final = 180
"""A certificate with fewer days left is renewed."""

_NOT_BEFORE: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEY: Final = "ca.key"
LONGEST_PEM_BYTES: Final = 16 << 20
"""Limit of a key, a certificate, or a revocation list with all of its entries."""
_RESTORE: Final = "restore it from a backup of the household"


@dataclass(frozen=True, slots=True)
class Authority:
    """Certificate and key that sign the household's certificates."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """Generate a TLS key on P-256, which every TLS 1.3 implementation has to support."""
    return ec.generate_private_key(ec.SECP256R1())


def new_authority(now: datetime) -> Authority:
    """Generate an authority that is valid for 25 years and signs end certificates only."""
    key = new_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Part of the key identifier in the name, to distinguish the authorities of two households.
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

    A certificate is valid either for a server or for a client: a device cannot impersonate the
    broker.

    Args:
        authority: the issuer.
        identity: the subject; its common name.
        public: the key to sign.
        now: the current time; sets the end of the validity only.
        hosts: DNS names and IP addresses of a server.

    Raises:
        ValueError: a host is not valid; see `is_valid_host`.
    """
    serves = is_server(identity)
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
    """Return a signed list of revoked certificates.

    Args:
        authority: the issuer.
        revoked: serial number and time of revocation of each.
        number: of the list; increases with each one.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(_NOT_BEFORE)
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
    """Return the host names and addresses in a server's certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def is_signed_by(authority: Authority, certificate: x509.Certificate) -> bool:
    """Return whether this authority signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_valid_host(host: str) -> bool:
    """Return whether a text is a host name or address that fits in a certificate."""
    try:
        _host(host)
    except ValueError:
        return False
    return True


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a secret key as unencrypted PKCS #8 in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def parse_key(data: bytes, source: str) -> ec.EllipticCurvePrivateKey:
    """Parse a secret key as ``key_pem`` returns it.

    Args:
        data: any bytes.
        source: where they are from, for messages.

    Raises:
        ConfigError: the data is not such a key.
    """
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the key {source} is damaged", _RESTORE) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"the key {source} is not an elliptic curve key", _RESTORE)
    return key


def parse_certificate(data: bytes, source: str) -> x509.Certificate:
    """Parse a certificate in PEM.

    Args:
        data: any bytes.
        source: where they are from, for messages.

    Raises:
        ConfigError: the data is not a certificate.
    """
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise ConfigError(f"the certificate {source} is damaged", _RESTORE) from error


def spki(public: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as DER SubjectPublicKeyInfo, by which keys are compared."""
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def create_authority(folder: Path, now: datetime) -> None:
    """Generate an authority and write it into a folder that has none.

    Raises:
        Unavailable: the folder cannot be written.
    """
    fresh = new_authority(now)
    # The key first: a certificate without its key would be reported as a lost key.
    write_atomic(folder / _KEY, key_pem(fresh.key), SECRET_MODE)
    pem = certificate_pem(fresh.certificate)
    write_atomic(folder / broker_config.CA, pem, PUBLIC_MODE)


def read_authority(folder: Path) -> Authority:
    """Read the authority in a folder.

    Raises:
        ConfigError: a file is missing or damaged, or others can read the key.
    """
    paths = folder / broker_config.CA, folder / _KEY
    try:
        certificate = parse_certificate(read_plain_file(paths[0], LONGEST_PEM_BYTES), str(paths[0]))
        key = read_key(paths[1])
    except FileNotFoundError as error:
        raise ConfigError(f"{error.filename} is missing", _RESTORE) from error
    if certificate.public_key() != key.public_key():
        raise ConfigError(
            f"{paths[1]} is not the key of {paths[0]}", "restore both from one backup"
        )
    return Authority(certificate, key)


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a secret key.

    Raises:
        ConfigError: the file is damaged, or others can read it.
        FileNotFoundError: the file does not exist.
    """
    with open_plain_file(path) as stream:
        if os.fstat(stream.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"the key {path} can be read by others", f"run: chmod 600 {path}")
        return parse_key(stream.read(LONGEST_PEM_BYTES), str(path))


def _builder(
    issuer: x509.Name, subject: x509.Name, public: ec.EllipticCurvePublicKey, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
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
            raise ValueError("neither a host name nor an address") from None
        return x509.DNSName(text)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
