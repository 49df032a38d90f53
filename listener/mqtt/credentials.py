"""TLS context and password for the broker, from files."""

import ssl
from pathlib import Path
from typing import Final

from listener.config import BrokerSettings
from listener.errors import ConfigError
from listener.storage.atomic import check_regular_file, read_plain_file
from listener.text_encoding import NotUtf8Error, decode_text

_LONGEST_BYTES: Final = 4 << 10


def tls_context(settings: BrokerSettings) -> ssl.SSLContext | None:
    """Return the TLS context, or None if ``broker.ca_file`` is not set.

    TLS 1.3 or later: earlier versions send the client certificate, with its name, in the clear.

    Raises:
        ConfigError: a file is missing or invalid.
    """
    if settings.ca_file is None:
        if settings.certificate_file is not None or settings.key_file is not None:
            raise ConfigError(
                "broker.certificate_file is set without broker.ca_file",
                "set broker.ca_file, which turns TLS on",
            )
        return None
    try:
        for name in (settings.ca_file, settings.certificate_file, settings.key_file):
            if name is not None:
                check_regular_file(Path(name))
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "invalid file"
        raise ConfigError(
            f"cannot use the certificates for the broker: {reason}",
            "check broker.ca_file, broker.certificate_file and broker.key_file",
        ) from error
    return context


def password(settings: BrokerSettings) -> str | None:
    """Return the password from ``broker.password_file``, or None if it is not set.

    Raises:
        ConfigError: it cannot be read, or is readable by every user.
    """
    if settings.password_file is None:
        return None
    path = Path(settings.password_file)
    try:
        if path.stat().st_mode & 0o007:
            raise ConfigError(
                f"the password in {path} is readable by every user", f"chmod 600 {path}"
            )
        text = read_plain_file(path, _LONGEST_BYTES, follow_links=True)
        return decode_text(text).rstrip("\r\n")
    except NotUtf8Error as error:
        raise ConfigError(f"cannot read the password in {path}: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read the password in {path}") from error
