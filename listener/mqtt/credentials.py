"""How a broker is convinced, and how it convinces us: certificates and passwords, from files."""

import ssl
from pathlib import Path

from listener.config import BrokerSettings
from listener.errors import ConfigError


def tls_context(settings: BrokerSettings) -> ssl.SSLContext | None:
    """Return how to speak TLS, or None where no authority is named.

    Version 1.3 and nothing older: before it, a certificate's name crosses the network in the clear.

    Raises:
        ConfigError: a file is missing or is not what it should be.
    """
    if settings.ca_file is None:
        if settings.certificate_file is not None or settings.key_file is not None:
            raise ConfigError(
                "broker.certificate_file without broker.ca_file",
                "with ca_file TLS is spoken, and only then a certificate is shown",
            )
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "not what it should be"
        raise ConfigError(
            f"the certificates for the broker cannot be used: {reason}",
            "look at broker.ca_file, broker.certificate_file and broker.key_file",
        ) from error
    return context


def password(settings: BrokerSettings) -> str | None:
    """Return the password from its file, or None where no file is named.

    Raises:
        ConfigError: it cannot be read, or anybody can read it.
    """
    if settings.password_file is None:
        return None
    path = Path(settings.password_file)
    try:
        if path.stat().st_mode & 0o007:
            raise ConfigError(f"anybody can read the password in {path}", f"chmod 600 {path}")
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the password in {path}") from error
