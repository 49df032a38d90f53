"""Where an owner asks from: her archive, her keys and what she has seen; and how she says it."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.clips.client import ArchiveClient
from listener.clips.http import HttpClient, parse_address
from listener.clips.schema import ArchiveReply, KeysReply, ListedClip, ListReply
from listener.clips.trust_store import TrustStore
from listener.config import Config
from listener.envelope import format as form
from listener.envelope.open import Identity, OpenedClip, open_envelope
from listener.errors import BadEnvelope, NotForYou, Unavailable, UsageError
from listener.rights import receipts, requests
from listener.rights.hash_chain import LogHead
from listener.storage.owner_files import read_identities

SOCKET: Final = "archive.sock"


@dataclass(frozen=True, slots=True)
class Session:
    """What every action works with. For one thread."""

    asker: ArchiveClient
    known: TrustStore

    @classmethod
    def create(cls, arguments: argparse.Namespace, settings: Config) -> "Session":
        """Sit down, and ask nothing yet.

        Raises:
            UsageError: owner, identity or archive are not named, or not as they must be.
            ConfigError: a file that is named is not what it should be.
        """
        if arguments.owner is None or arguments.identity is None:
            raise UsageError(
                "whose clips, and with which key?", "--owner NAME --identity FILE say both"
            )
        home = Path(settings.home)
        ca = home / "tls" / "ca.crt"
        if arguments.ca is not None:
            ca = Path(arguments.ca)
        has_ca = arguments.ca is not None or ca.exists()
        address = parse_address(arguments.archive or str(home / SOCKET), ca if has_ca else None)
        identities = read_identities(Path(arguments.identity))
        return cls(
            ArchiveClient(HttpClient(address), arguments.owner, identities), TrustStore(home)
        )

    def request(self, op: str, **fields: Any) -> requests.Request:  # noqa: ANN401 - each has its schema
        """Return a request as the archive will read it.

        Args:
            op: its name.
            fields: as in ``docs/reference/http-api.md``; None is left out.

        Raises:
            UsageError: it is none.
        """
        given = {name: value for name, value in fields.items() if value is not None}
        body = {"owner": self.asker.owner, "request": {"op": op} | given}
        return requests.parse(msgspec.json.encode(body)).request

    def archive_key(self) -> Ed25519PublicKey:
        """Return the key with which the archive signs: as seen before, or as seen now.

        Raises:
            EarmarkError: it is another than before.
            Unavailable: the archive does not answer as one.
        """
        return self.known.archive or self.known.pin_archive(
            self.asker.get_archive(ArchiveReply).archive
        )

    def known_heads(self) -> list[LogHead]:
        """Return where the log ended when it was last seen."""
        return [] if self.known.head is None else [self.known.head]

    def list_clips(
        self, arguments: argparse.Namespace, limit: int = requests.MOST_LISTED
    ) -> Iterator[ListedClip]:
        """Yield the clips that the command line selects, page by page.

        Args:
            arguments: the command line's.
            limit: how many clips a page has.

        Raises:
            EarmarkError: the answer is no.
            Unavailable: the archive does not answer as one.
        """
        after = ""
        while True:
            request = self.request(
                "list", **selection_fields(arguments), after=after or None, limit=limit
            )
            page = self.asker.request(request, ListReply)
            yield from page.clips
            if page.next is None:
                return
            if page.next <= after:
                raise Unavailable("the archive's list goes in circles", "try again later")
            after = page.next

    def open(self, data: bytes) -> OpenedClip:
        """Open a clip here.

        Args:
            data: the envelope, which nobody has checked.

        Raises:
            NotForYou: it is sealed to a key that is not in her identity.
            BadEnvelope: it is not a clip of hers that a known speaker made.
            EarmarkError: a speaker's key is another than before.
        """
        header = form.parse_envelope(data).header
        if header.device not in self.known.devices():
            reply = self.asker.request(self.request("keys"), KeysReply)
            self.known.pin_devices(reply.devices)
        return open_own_clip(data, self.asker.owner, self.asker.identities, self.known.devices())


def open_own_clip(
    data: bytes, owner: str, identities: Sequence[Identity], devices: Mapping[str, Ed25519PublicKey]
) -> OpenedClip:
    """Open a clip, offline; raises as ``Session.open``.

    Args:
        data: the envelope.
        owner: whose it must be.
        identities: her keys.
        devices: whose signatures to believe.
    """
    header = form.parse_envelope(data).header
    if header.owner != owner:
        raise BadEnvelope(f"this clip is not {owner}'s")
    if header.okey not in {identity.okey for identity in identities}:
        raise NotForYou(
            "this clip is sealed to a key that is not in the identity",
            "an identity file may hold several, a line each: put the older ones into it too",
        )
    recipients = [identity.recipient for identity in identities]
    return open_envelope(data, identities, devices, {owner: recipients})


def selection_fields(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Return the fields of a request that say which clips."""
    return {
        name: getattr(arguments, field, None)
        for name, field in (
            ("day", "day"),
            ("from", "from_t"),
            ("until", "until_t"),
            ("device", "device"),
        )
    }


def read_receipt(path: Path, archive: Ed25519PublicKey) -> receipts.Receipt:
    """Read a receipt's file, and check who signed it.

    Raises:
        EarmarkError: it is none, or another archive's.
        Unavailable: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read((64 << 20) + 1)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    return receipts.parse_receipt(data, archive)


def parse_moment(text: str) -> str:
    """Read a day or a moment, in UTC where it does not say otherwise, for argparse."""
    try:
        found = datetime.fromisoformat(text)
        return form.format_timestamp(found.replace(tzinfo=UTC) if found.tzinfo is None else found)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment such as 2026-11-22 or 2026-11-22T08:00Z"
        ) from None


def argument_type(kind: Any, what: str) -> Callable[[str], str]:  # noqa: ANN401 - an annotated type
    """Return what lets argparse take words of one kind only.

    Args:
        kind: the annotated type.
        what: names it, for the message.
    """

    def read(text: str) -> str:
        try:
            found: str = msgspec.convert(text, kind)
        except msgspec.ValidationError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {what}") from None
        return found

    return read
