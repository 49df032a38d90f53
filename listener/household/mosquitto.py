"""mosquitto's configuration for one household, as text. Pure."""

from typing import Final

DEFAULT_PORT: Final = 8883
MOST_PACKET_BYTES: Final = 1_100_000
"""An envelope is at most 1 MiB and 3 KiB; with its topic it fits."""

CONFIG: Final = "earmark.conf"
RIGHTS: Final = "acl"
CA: Final = "ca.crt"
REVOKED: Final = "crl.pem"
CERTIFICATE: Final = "broker.crt"
KEY: Final = "broker.key"


def render_configuration(folder: str, port: int) -> str:
    """Return the file for ``/etc/mosquitto/conf.d``.

    Args:
        folder: where the files it names lie, absolute.
        port: to listen on.
    """
    return f"""\
# Made by earmark household, which writes it anew.
# One listener and no other: TLS 1.3, a certificate of this household, and nobody without a name.
listener {port}
protocol mqtt
tls_version tlsv1.3
cafile {folder}/{CA}
certfile {folder}/{CERTIFICATE}
keyfile {folder}/{KEY}
crlfile {folder}/{REVOKED}
require_certificate true

# The certificate's common name is the user, and the client id too: nobody takes another's
# connection by asking for the other's client id.
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {folder}/{RIGHTS}

# A clip with its envelope is at most 1 MiB and 3 KiB. The rest bounds what one identity can cost.
max_packet_size {MOST_PACKET_BYTES}
max_qos 1
max_topic_alias 0
max_connections 256
max_inflight_messages 8
max_queued_messages 100
max_queued_bytes 8388608
max_keepalive 600
persistent_client_expiration 1h
set_tcp_nodelay true
"""
