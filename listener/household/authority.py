"""The household's authority on the disk: what signs each certificate, ``ca.crt`` and ``ca.key``."""

import os
import stat
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from listener.errors import ConfigError
from listener.household import certificates, mosquitto
from listener.household.certificates import Authority
from listener.storage.atomic import PUBLIC_MODE, SECRET_MODE, write_atomic

_KEY: Final = "ca.key"


def create_authority(folder: Path, made: datetime) -> None:
    """Make an authority where there is none.

    Raises:
        Unavailable: the folder cannot be written.
    """
    fresh = certificates.new_authority(made)
    # The key first: a certificate alone would look like a loss.
    write_atomic(folder / _KEY, certificates.key_pem(fresh.key), SECRET_MODE)
    pem = certificates.certificate_pem(fresh.certificate)
    write_atomic(folder / mosquitto.CA, pem, PUBLIC_MODE)


def read_authority(folder: Path) -> Authority:
    """Return what signs.

    Raises:
        ConfigError: it is missing, damaged, or its key can be read by others.
    """
    paths = folder / mosquitto.CA, folder / _KEY
    try:
        certificate = certificates.parse_certificate(paths[0].read_bytes(), str(paths[0]))
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
        return certificates.parse_key(stream.read(), str(path))
