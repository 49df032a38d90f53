"""TCP connection and TLS handshake with the broker, without MQTT.

Without a CONNECT the broker knows no client id, so no other client's session is closed.
"""

import contextlib
import socket
import ssl
from typing import Final

from listener.config import BrokerSettings
from listener.errors import Unavailable
from listener.mqtt import credentials
from listener.mqtt.paho_client import PLAIN_PORT_HINT

_ANSWER_S: Final = 5.0
_ALERT_S: Final = 2.0
"""Wait for an alert after the handshake. In TLS 1.3 the client's side ends before the server has
verified the client's certificate; the server then sends an alert at once (RFC 8446, 4.4.2.4)."""
_ALERT: Final = "_ALERT_"


def shake_hands(settings: BrokerSettings) -> None:
    """Connect by TCP, and by TLS if ``broker.ca_file`` is set; then disconnect.

    Blocks for at most 5 s for TCP, 5 s for TLS, and 2 s for an alert.

    Args:
        settings: address and certificates.

    Raises:
        ConfigError: a certificate's file is missing or invalid.
        Unavailable: the broker does not answer, its certificate is not valid for this CA and
            host, or it refuses this certificate.
    """
    context = credentials.tls_context(settings)
    try:
        with socket.create_connection((settings.host, settings.port), _ANSWER_S) as wire:
            if context is None:
                return
            with context.wrap_socket(wire, server_hostname=settings.host) as tls:
                _wait_for_alert(tls)
    except ssl.SSLCertVerificationError as error:
        raise Unavailable(
            f"certificate verification failed: {error.verify_message}",
            "check that broker.ca_file is of this household, and that broker.host is a name in the"
            " broker's certificate",
        ) from error
    except ssl.SSLError as error:
        reason = error.reason or "invalid answer"
        if _ALERT in reason:
            raise Unavailable(
                f"the broker refuses the certificate of this computer: {_words(reason)}",
                "join the household again: earmark household join LINE; or check"
                " broker.certificate_file and broker.key_file",
            ) from error
        raise Unavailable(f"the TLS handshake failed: {_words(reason)}", PLAIN_PORT_HINT) from error
    except OSError as error:
        is_plain = context is not None and isinstance(error, ConnectionResetError)
        raise Unavailable(
            error.strerror or str(error) or "no answer", PLAIN_PORT_HINT if is_plain else ""
        ) from error


def _words(reason: str) -> str:
    """Return OpenSSL's name of a reason in words, without its prefix."""
    return reason.rpartition(_ALERT)[2].lower().replace("_", " ")


def _wait_for_alert(tls: ssl.SSLSocket) -> None:
    """Read until an alert arrives or the time is over.

    Raises:
        OSError: the server sent an alert, or closed the connection.
    """
    tls.settimeout(_ALERT_S)
    try:
        if not tls.recv(1):
            raise ConnectionResetError(None, "the broker closed the connection")
    except TimeoutError:
        with contextlib.suppress(OSError):
            tls.unwrap()  # the broker logs an error where the end is not announced
