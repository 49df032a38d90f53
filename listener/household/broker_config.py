"""mosquitto's configuration for one household, as text. Pure.

Who may say and hear what at the broker: the table of ``docs/reference/mqtt.md`` as data. Pure.

Each identity gets a section of its own, spelt out. mosquitto's patterns with ``%u`` are never
used: they hold for everybody, and would let a person publish as a device of her name.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from listener.household import identity
from listener.household.identity import HouseholdIdentity, IdentityKind
from listener.mqtt import topics

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


HOME_ASSISTANT_STATUS: Final = "homeassistant/status"
HOME_ASSISTANT_ALL: Final = "homeassistant/#"


@dataclass(frozen=True, slots=True)
class TopicRights:
    """Topics and patterns of topics."""

    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


def topic_rights(who: HouseholdIdentity) -> TopicRights:
    """Return what an identity may do; nothing else is granted to anybody."""
    match who.kind:
        case IdentityKind.DEVICE:
            return TopicRights(
                writes=(
                    topics.CLIP.topic_filter(device=who.name),
                    topics.STATUS.name(device=who.name),
                    topics.EVENT.name(device=who.name),
                ),
                reads=(
                    topics.ACK.topic_filter(device=who.name),
                    topics.COMMAND.name(device=who.name),
                    topics.RETENTION.topic_filter(),
                    topics.KEYS.name(device=who.name),
                ),
            )
        case IdentityKind.OWNER:
            # No clips: those she fetches from the archive, with proof of her key. No events: when
            # others' speakers woke is theirs.
            return TopicRights(reads=(topics.STATUS.topic_filter(),))
        case IdentityKind.SERVICE:
            return _SERVICES.get(who, TopicRights())


_SERVICES: Final = {
    identity.ARCHIVE: TopicRights(
        writes=(
            topics.ACK.topic_filter(),
            topics.STATUS.name(device=identity.ARCHIVE.name),
            topics.RETENTION.topic_filter(),
            topics.KEYS.topic_filter(),
        ),
        # Its own head too: one that is ahead of its log says that an old copy was put back.
        reads=(topics.CLIP.topic_filter(), topics.STATUS.name(device=identity.ARCHIVE.name)),
    ),
    identity.HOUSEHOLD: TopicRights(
        writes=(topics.DISCOVERY.topic_filter(),),
        reads=(topics.DISCOVERY.topic_filter(),),
    ),
    identity.HOME_ASSISTANT: TopicRights(
        writes=(topics.COMMAND.topic_filter(), HOME_ASSISTANT_STATUS),
        reads=(topics.STATUS.topic_filter(), topics.EVENT.topic_filter(), HOME_ASSISTANT_ALL),
    ),
}


def render_acl(everybody: Iterable[HouseholdIdentity]) -> str:
    """Write mosquitto's access control file: a section for each identity that has any right."""
    text = "# Made by earmark household, which writes it anew. Nobody has a right not named here.\n"
    for who in sorted(set(everybody)):
        granted = topic_rights(who)
        if granted == TopicRights():
            continue
        text += f"\nuser {who.cn}\n"
        text += "".join(f"topic write {topic}\n" for topic in granted.writes)
        text += "".join(f"topic read {topic}\n" for topic in granted.reads)
    return text
