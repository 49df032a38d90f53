"""Registry of a household: issued certificates, pending invitations, speakers. Pure.

A registry is immutable; each edit returns a new one. It holds no secret: of an invitation's token
it stores the hash. Times are parameters, in seconds since 1970.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from listener.config import BrokerAddress, BrokerSettings, ShortName
from listener.envelope.format import Sha256
from listener.errors import ConfigError, EarmarkError
from listener.household import identity
from listener.household.identity import HouseholdIdentity

ARCHIVE_PORT: Final = 8443
"""Usual TCP port at which owners reach the archive."""
INVITATION_S: Final = 3600
MOST_SET_BACK_S: Final = 60
"""Seconds by which the clock may be set back between an invitation and its use."""
"""Validity of an invitation in seconds."""
LIMIT_BYTES: Final = 16 << 20
"""Longest registry file in bytes."""
RESTORE: Final = (
    "restore it from a backup; without it, issued certificates cannot be listed or revoked"
)
"""Hint for a registry that is lost or damaged."""
_NEW_INVITATION: Final = "get a new invitation on the archive's computer"

Seconds = Annotated[int, Meta(ge=0, le=1 << 40)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Area = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+\Z")]


class _RegistryRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Record in the registry file; unknown fields are refused."""


class IssuedCertificate(_RegistryRecord, frozen=True, kw_only=True):
    """Certificate that was signed."""

    cn: str
    serial: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,40}\Z")]
    made_s: Seconds
    until_s: Seconds
    revoked_s: Seconds | None = None

    @property
    def number(self) -> int:
        """Serial number."""
        return int(self.serial, 16)


class PendingInvitation(_RegistryRecord, frozen=True, kw_only=True):
    """Invitation for one identity to join once."""

    cn: str
    sha256: Sha256
    """SHA-256 of the token."""
    expires_s: Seconds
    used_by: Sha256 | None = None
    """SHA-256 of the key that used it; the same key may repeat its request if the answer was
    lost."""


class Speaker(_RegistryRecord, frozen=True, kw_only=True):
    """Device as published to Home Assistant."""

    name: ShortName
    area: Area | None = None
    remote_unmute: bool = False
    """True if the device's configuration allows a message to end a software mute."""


@dataclass(frozen=True, slots=True)
class FurtherBroker:
    """A broker on another computer."""

    who: HouseholdIdentity
    """Its certificate's identity."""
    host: str
    port: int


class Registry(_RegistryRecord, frozen=True, kw_only=True):
    """Registry; made by ``parse`` or by edits of an empty one."""

    v: Literal[1] = 1
    hosts: tuple[str, ...] = ()
    """Names and addresses of this machine; devices receive the first."""
    port: Port = 8883
    join_port: Port = 8884
    broker_folder: str = ""
    """Folder of the broker's files; if empty, one inside the household's folder."""
    archive_folder: str = ""
    """Folder of the archive's certificates and keys, likewise."""
    brokers: tuple[BrokerAddress, ...] | UnsetType = UNSET
    """Brokers on other computers, besides the one on this machine; left out without any."""
    issued: tuple[IssuedCertificate, ...] = ()
    invitations: tuple[PendingInvitation, ...] = ()
    speakers: tuple[Speaker, ...] = ()

    @property
    def broker_host(self) -> str:
        """Host name of the broker for programs on this machine."""
        return "localhost" if "localhost" in self.hosts else self.hosts[0]

    def further(self) -> "tuple[FurtherBroker, ...]":
        """Return the brokers on other computers, in order.

        Raises:
            ConfigError: a port is out of range, or an address is there twice.
        """
        if not self.brokers:
            return ()
        each = BrokerSettings(port=self.port, hosts=self.brokers).each()
        return tuple(
            FurtherBroker(identity.broker(number), one.host, one.port)
            for number, one in enumerate(each, 2)
        )

    def broker_table(self, host: str) -> str:
        """Return the lines of the configuration that name the brokers, in TOML.

        Args:
            host: name or address of this machine, as the reader of the configuration reaches it.
        """
        if not self.brokers:
            return f'host = "{host}"\nport = {self.port}\n'
        listed = ", ".join(f'"{one}"' for one in self.addresses(host))
        return f"hosts = [{listed}]\nport = {self.port}\n"

    def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of all brokers, as in ``broker.hosts``; see `broker_table`."""
        own = f"[{host}]" if ":" in host else host
        return (own, *(self.brokers or ()))

    def valid(self, now_s: int) -> dict[HouseholdIdentity, IssuedCertificate]:
        """Return the newest valid certificate of each identity that has one."""
        return {
            HouseholdIdentity(certificate.cn): certificate
            for certificate in self.issued
            if certificate.revoked_s is None and certificate.until_s > now_s
        }

    def members(self) -> tuple[HouseholdIdentity, ...]:
        """Return the identities with an unrevoked certificate or an unused invitation.

        Expired ones are included: without a valid certificate their rights cannot be used, and
        they apply again after a renewal.
        """
        names = {certificate.cn for certificate in self.issued if certificate.revoked_s is None}
        names |= {invitation.cn for invitation in self.invitations if invitation.used_by is None}
        return tuple(sorted(map(HouseholdIdentity, names)))

    def revoked(self) -> tuple[IssuedCertificate, ...]:
        """Return the revoked certificates, the oldest first."""
        revoked = [certificate for certificate in self.issued if certificate.revoked_s is not None]
        return tuple(sorted(revoked, key=lambda each: (each.revoked_s or 0, each.serial)))

    def with_issued(self, certificate: IssuedCertificate) -> "Registry":
        """Add a certificate."""
        return msgspec.structs.replace(self, issued=(*self.issued, certificate))

    def without(self, who: HouseholdIdentity, now_s: int) -> "Registry":
        """Revoke every certificate and invitation of an identity.

        Raises:
            EarmarkError: the identity has none.
        """
        unrevoked = [each for each in self.issued if each.cn == who.cn and each.revoked_s is None]
        is_invited = any(each.cn == who.cn for each in self.invitations)
        if not unrevoked and not is_invited:
            members = ", ".join(member.cn for member in self.members()) or "none"
            raise EarmarkError(
                f"{who.cn} has no certificate to revoke", f"choose one of: {members}"
            )
        return msgspec.structs.replace(
            self,
            issued=tuple(
                msgspec.structs.replace(each, revoked_s=now_s) if each in unrevoked else each
                for each in self.issued
            ),
            invitations=tuple(each for each in self.invitations if each.cn != who.cn),
            speakers=tuple(each for each in self.speakers if identity.device(each.name) != who),
        )

    def with_invitation(self, who: HouseholdIdentity, token: str, now_s: int) -> "Registry":
        """Invite an identity to join once within the hour, in place of an earlier invitation."""
        fresh = PendingInvitation(
            cn=who.cn, sha256=token_digest(token), expires_s=now_s + INVITATION_S
        )
        others = [each for each in self.invitations if each.cn != who.cn and each.expires_s > now_s]
        return msgspec.structs.replace(self, invitations=(*others, fresh))

    def with_admission(
        self, token: str, key: bytes, now_s: int
    ) -> tuple["Registry", HouseholdIdentity]:
        """Use an invitation.

        Args:
            token: as the client sent it.
            key: the public key to be signed, as DER SubjectPublicKeyInfo.
            now_s: seconds since 1970.

        Returns:
            The registry in which the invitation is used, and the identity it was for.

        Raises:
            EarmarkError: there is no such invitation, it has expired or is not valid yet by this
                clock, or another key used it.
        """
        digest, key_digest = token_digest(token), hashlib.sha256(key).hexdigest()
        match = next(
            (each for each in self.invitations if hmac.compare_digest(each.sha256, digest)), None
        )
        # A clock that was set back would prolong it: then its age is unknown.
        longest_s = INVITATION_S + MOST_SET_BACK_S
        if match is None or not match.expires_s - longest_s <= now_s < match.expires_s:
            raise EarmarkError("this invitation is unknown or has expired", _NEW_INVITATION)
        if match.used_by is not None and match.used_by != key_digest:
            raise EarmarkError("this invitation was already used by another key", _NEW_INVITATION)
        used = msgspec.structs.replace(match, used_by=key_digest)
        invitations = tuple(used if each is match else each for each in self.invitations)
        return msgspec.structs.replace(self, invitations=invitations), HouseholdIdentity(match.cn)

    def with_speaker(self, speaker: Speaker) -> "Registry":
        """Add a device for Home Assistant, in place of an earlier entry of the same name."""
        others = [each for each in self.speakers if each.name != speaker.name]
        ordered = sorted((*others, speaker), key=lambda each: each.name)
        return msgspec.structs.replace(self, speakers=tuple(ordered))

    def speaker(self, name: str) -> Speaker:
        """Return a device's entry, or the defaults if it has none."""
        matches = (each for each in self.speakers if each.name == name)
        return next(matches, Speaker(name=name))


def parse(data: bytes, source: str) -> Registry:
    """Parse a registry file.

    Args:
        data: any bytes.
        source: where they are from, for messages.

    Raises:
        ConfigError: the bytes are not a registry. Nothing else is raised.
    """
    try:
        if len(data) > LIMIT_BYTES:
            raise ValueError("too long")  # noqa: TRY301 - all damage is reported in one place
        registry = msgspec.json.decode(data, type=Registry)
        names = {certificate.cn for certificate in registry.issued}
        for cn in names | {invitation.cn for invitation in registry.invitations}:
            identity.parse(cn)
    except (ValueError, RecursionError, EarmarkError) as error:
        raise ConfigError(f"the registry {source} is damaged", RESTORE) from error
    return registry


def render(registry: Registry) -> bytes:
    """Return a registry as ``parse`` reads it: JSON, indented for people."""
    return msgspec.json.format(msgspec.json.encode(registry), indent=2) + b"\n"


def token_digest(token: str) -> str:
    """Return the SHA-256 of a token as hex, which is all that is stored of it."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
