"""What the household handed out, whom it invited, and what it notes of its speakers. Pure.

A register never changes; each edit returns a new one. It holds no secret: of an invitation's token
it knows the hash. Time is handed in as seconds since 1970.
"""

import hashlib
import hmac
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.envelope.format import Sha256
from listener.errors import ConfigError, EarmarkError
from listener.household import identity
from listener.household.identity import HouseholdIdentity

INVITATION_S: Final = 3600
LIMIT_BYTES: Final = 16 << 20

Seconds = Annotated[int, Meta(ge=0, le=1 << 40)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Area = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+\Z")]


class _RegistryRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the register's file; unknown fields are refused."""


class IssuedCertificate(_RegistryRecord, frozen=True, kw_only=True):
    """A certificate that was signed."""

    cn: str
    serial: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,40}\Z")]
    made_s: Seconds
    until_s: Seconds
    revoked_s: Seconds | None = None

    @property
    def number(self) -> int:
        """The serial number."""
        return int(self.serial, 16)


class PendingInvitation(_RegistryRecord, frozen=True, kw_only=True):
    """One identity may join once."""

    cn: str
    sha256: Sha256
    """Of the token."""
    expires_s: Seconds
    used_by: Sha256 | None = None
    """Hash of the key that came with it: the same key may ask again when the answer was lost."""


class Speaker(_RegistryRecord, frozen=True, kw_only=True):
    """What Home Assistant is told of a device."""

    name: ShortName
    area: Area | None = None
    remote_unmute: bool = False
    """Whether its settings let a message take back a software mute."""


class Registry(_RegistryRecord, frozen=True, kw_only=True):
    """All of it; made by ``parse`` or by edits of an empty one."""

    v: Literal[1] = 1
    hosts: tuple[str, ...] = ()
    """Names and addresses of this machine; devices are told the first."""
    port: Port = 8883
    join_port: Port = 8884
    broker_folder: str = ""
    """Where the broker's files lie; the household's own folder where it is empty."""
    archive_folder: str = ""
    """Where the archive's certificates and keys lie, likewise."""
    issued: tuple[IssuedCertificate, ...] = ()
    invitations: tuple[PendingInvitation, ...] = ()
    speakers: tuple[Speaker, ...] = ()

    @property
    def broker_host(self) -> str:
        """How programs on this machine reach the broker."""
        return "localhost" if "localhost" in self.hosts else self.hosts[0]

    def valid(self, now_s: int) -> dict[HouseholdIdentity, IssuedCertificate]:
        """Return the newest certificate of each identity that has one in force."""
        return {
            HouseholdIdentity(one.cn): one
            for one in self.issued
            if one.revoked_s is None and one.until_s > now_s
        }

    def members(self) -> tuple[HouseholdIdentity, ...]:
        """Return whoever has a certificate that was not taken back, or is invited.

        Expired ones too: their rights harm nobody, and one that is renewed finds them there.
        """
        names = {one.cn for one in self.issued if one.revoked_s is None}
        names |= {one.cn for one in self.invitations if one.used_by is None}
        return tuple(sorted(map(HouseholdIdentity, names)))

    def revoked(self) -> tuple[IssuedCertificate, ...]:
        """Return the certificates taken back, the oldest first."""
        gone = [one for one in self.issued if one.revoked_s is not None]
        return tuple(sorted(gone, key=lambda one: (one.revoked_s or 0, one.serial)))

    def with_issued(self, certificate: IssuedCertificate) -> "Registry":
        """Note a certificate."""
        return msgspec.structs.replace(self, issued=(*self.issued, certificate))

    def without(self, who: HouseholdIdentity, now_s: int) -> "Registry":
        """Take back every certificate and invitation of an identity.

        Raises:
            EarmarkError: it has none.
        """
        open_ones = [one for one in self.issued if one.cn == who.cn and one.revoked_s is None]
        waits = any(one.cn == who.cn for one in self.invitations)
        if not open_ones and not waits:
            known = ", ".join(member.cn for member in self.members()) or "nobody"
            raise EarmarkError(f"{who.cn} has nothing to take back", f"who has: {known}")
        return msgspec.structs.replace(
            self,
            issued=tuple(
                msgspec.structs.replace(one, revoked_s=now_s) if one in open_ones else one
                for one in self.issued
            ),
            invitations=tuple(one for one in self.invitations if one.cn != who.cn),
            speakers=tuple(one for one in self.speakers if identity.device(one.name) != who),
        )

    def with_invitation(self, who: HouseholdIdentity, token: str, now_s: int) -> "Registry":
        """Let an identity join once within the hour, in place of an earlier invitation."""
        fresh = PendingInvitation(
            cn=who.cn, sha256=token_digest(token), expires_s=now_s + INVITATION_S
        )
        others = [one for one in self.invitations if one.cn != who.cn and one.expires_s > now_s]
        return msgspec.structs.replace(self, invitations=(*others, fresh))

    def with_admission(
        self, token: str, key: bytes, now_s: int
    ) -> tuple["Registry", HouseholdIdentity]:
        """Use an invitation.

        Args:
            token: what the guest shows.
            key: the public key to be signed, in its one spelling.
            now_s: seconds since 1970.

        Returns:
            The register in which it is used, and who it was for.

        Raises:
            EarmarkError: there is no such invitation, it has expired, or another key used it.
        """
        shown, bearer = token_digest(token), hashlib.sha256(key).hexdigest()
        found = next(
            (one for one in self.invitations if hmac.compare_digest(one.sha256, shown)), None
        )
        anew = "ask for a new line, on the archive's computer"
        if found is None or found.expires_s <= now_s:
            raise EarmarkError("this invitation is not known, or it has expired", anew)
        if found.used_by is not None and found.used_by != bearer:
            raise EarmarkError("this invitation was used already, by another key", anew)
        used = msgspec.structs.replace(found, used_by=bearer)
        invitations = tuple(used if one is found else one for one in self.invitations)
        return msgspec.structs.replace(self, invitations=invitations), HouseholdIdentity(found.cn)

    def with_speaker(self, speaker: Speaker) -> "Registry":
        """Note what Home Assistant is to be told of a device, in place of an earlier note."""
        others = [one for one in self.speakers if one.name != speaker.name]
        ordered = sorted((*others, speaker), key=lambda one: one.name)
        return msgspec.structs.replace(self, speakers=tuple(ordered))

    def speaker(self, name: str) -> Speaker:
        """Return what is noted of a device, or what holds where nothing is."""
        found = (one for one in self.speakers if one.name == name)
        return next(found, Speaker(name=name))


def parse(data: bytes, source: str) -> Registry:
    """Read a register.

    Args:
        data: any bytes at all.
        source: where they came from, for messages.

    Raises:
        ConfigError: they are no register. Nothing else is ever raised.
    """
    hint = "restore it from a backup: without it nobody knows which certificates to take back"
    try:
        if len(data) > LIMIT_BYTES:
            raise ValueError("too long")  # noqa: TRY301 - every damage is told in one place
        register = msgspec.json.decode(data, type=Registry)
        for cn in {one.cn for one in register.issued} | {one.cn for one in register.invitations}:
            identity.parse(cn)
    except (ValueError, RecursionError, EarmarkError) as error:
        raise ConfigError(f"the register {source} is damaged", hint) from error
    return register


def render(register: Registry) -> bytes:
    """Write a register as ``parse`` reads it: JSON, indented for people."""
    return msgspec.json.format(msgspec.json.encode(register), indent=2) + b"\n"


def token_digest(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
