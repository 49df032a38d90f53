"""The session of a command: archive client, keys, trust store, and parsers of arguments."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.argument_types import argument_type
from listener.clips.client import ArchiveClient
from listener.clips.http import HttpClient, parse_address
from listener.clips.remembered import RememberedClips, read_remembered
from listener.clips.schema import ArchiveReply, KeysReply, ListedClip, ListReply
from listener.clips.trust_store import TrustStore
from listener.config import Config
from listener.envelope import format as form
from listener.envelope.open import Identity, OpenedClip, open_envelope
from listener.envelope.verify import DeviceKeys
from listener.errors import BadEnvelope, NotForYou, Unavailable, UsageError
from listener.rights import receipts, requests
from listener.rights.hash_chain import LogHead
from listener.storage.owner_files import read_identities

SOCKET: Final = "archive.sock"
ID_LENGTH: Final = 36
"""Characters of a clip's whole id."""
_SHOWN: Final = 8
RELATIVE_DAYS: Final = {"today": 0, "yesterday": 1}
"""Days by name, with how many days before today they are."""


@dataclass(frozen=True, slots=True)
class Session:
    """An owner's client and trust store. For one thread."""

    asker: ArchiveClient
    """Client of the archive."""
    known: TrustStore
    """Pinned keys and the last log head."""

    @classmethod
    def create(cls, arguments: argparse.Namespace, settings: Config) -> "Session":
        """Create a session; sends no request.

        Args:
            arguments: the command line's ``owner``, ``identity``, ``archive`` and ``ca``.
            settings: the configuration.

        Raises:
            UsageError: owner or identity is missing and not remembered, or the archive's address is
                malformed.
            ConfigError: a file is damaged.
        """
        home = Path(settings.home)
        chosen = choose(arguments, home)
        arguments.identity = chosen.identity  # commands that are printed name it
        if chosen.owner is None or chosen.identity is None:
            raise UsageError(
                "--owner and --identity are required",
                "pass --owner NAME --identity FILE; with --remember they are the defaults from"
                " then on",
            )
        address = parse_address(
            chosen.archive or str(home / SOCKET), None if chosen.ca is None else Path(chosen.ca)
        )
        identities = read_identities(Path(chosen.identity))
        return cls(ArchiveClient(HttpClient(address), chosen.owner, identities), TrustStore(home))

    def request(self, op: str, **fields: Any) -> requests.Request:  # noqa: ANN401 - each has its schema
        """Build a request and validate it as the archive does.

        Args:
            op: name of the operation.
            fields: as in ``docs/reference/http-api.md``; None is left out.

        Raises:
            UsageError: the request is malformed.
        """
        present = {name: value for name, value in fields.items() if value is not None}
        body = {"owner": self.asker.owner, "request": {"op": op} | present}
        return requests.parse(msgspec.json.encode(body)).request

    def find_clip(self, text: str) -> str:
        """Return the id of the only clip whose id begins with a text.

        Args:
            text: a whole id, which is returned unchanged, or its first characters.

        Raises:
            UsageError: no clip of the owner, or more than one, has such an id.
            EarmarkError: the archive refuses the request.
            Unavailable: no archive answers.
        """
        if len(text) == ID_LENGTH:
            return text
        found = [one for one in self.list_clips(argparse.Namespace()) if one.clip.startswith(text)]
        if not found:
            raise UsageError(
                f"no clip of {self.asker.owner} has an id that begins with {text}",
                "list them: earmark clips list",
            )
        if len(found) > 1:
            shown = "; ".join(f"{one.clip} of {one.t} at {one.device}" for one in found[:_SHOWN])
            more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise UsageError(
                f"{len(found)} clips have an id that begins with {text}",
                f"pass more of the id: {shown}{more}",
            )
        return found[0].clip

    def archive_key(self) -> Ed25519PublicKey:
        """Return the archive's public key; pin it at the first use.

        Raises:
            EarmarkError: the key differs from the pinned one.
            Unavailable: no archive answers.
        """
        return self.known.archive or self.known.pin_archive(
            self.asker.get_archive(ArchiveReply).archive
        )

    def known_heads(self) -> list[LogHead]:
        """Return the last verified log head, if any."""
        return [] if self.known.head is None else [self.known.head]

    def list_clips(
        self,
        arguments: argparse.Namespace,
        limit: int = requests.MOST_LISTED,
        on_page: Callable[[ListReply], None] | None = None,
    ) -> Iterator[ListedClip]:
        """Yield the clips that the command line selects, page by page.

        Args:
            arguments: the command line's.
            limit: largest number of clips in a page.
            on_page: called with each page before its clips are yielded.

        Raises:
            EarmarkError: the archive refuses the request.
            Unavailable: no archive answers.
        """
        after = ""
        while True:
            request = self.request(
                "list", **selection_fields(arguments), after=after or None, limit=limit
            )
            page = self.asker.request(request, ListReply)
            if on_page is not None:
                on_page(page)
            yield from page.clips
            if page.next is None:
                return
            if page.next <= after:
                raise Unavailable(
                    "the archive returned the same page twice", "report this as a bug"
                )
            after = page.next

    def open(self, data: bytes) -> OpenedClip:
        """Verify and decrypt a clip on this machine.

        Args:
            data: the envelope, unverified.

        Raises:
            NotForYou: it is sealed to a key that is not in the identity file.
            BadEnvelope: it is not a clip of the owner from a known speaker.
            EarmarkError: a speaker's key differs from the pinned one.
        """
        header = form.parse_envelope(data).header
        if not self.known.knows_signer(header.device, header.dkey):
            reply = self.asker.request(self.request("keys"), KeysReply)
            self.known.pin_devices(reply.devices, reply.retired_devices)
        return open_own_clip(data, self.asker.owner, self.asker.identities, self.known.signers())


def choose(arguments: argparse.Namespace, home: Path) -> RememberedClips:
    """Return owner, paths and archive: from the command line, else as remembered.

    Args:
        arguments: the command line's ``owner``, ``identity``, ``archive`` and ``ca``.
        home: the data directory.

    Raises:
        ConfigError: the file of remembered options is damaged.
        Unavailable: it cannot be read.
    """
    before = read_remembered(home)
    if arguments.owner is not None and arguments.owner != before.owner:
        before = RememberedClips()  # the key and the archive of another owner
    joined = home / "tls" / "ca.crt"
    return RememberedClips(
        owner=arguments.owner or before.owner,
        identity=arguments.identity or before.identity,
        archive=arguments.archive or before.archive,
        ca=arguments.ca or before.ca or (str(joined) if joined.exists() else None),
    )


def open_own_clip(
    data: bytes, owner: str, identities: Sequence[Identity], devices: DeviceKeys
) -> OpenedClip:
    """Verify and decrypt a clip offline; raises as ``Session.open``.

    Args:
        data: the envelope.
        owner: the owner it must belong to.
        identities: the owner's secret keys.
        devices: public keys of the trusted devices, by name.
    """
    header = form.parse_envelope(data).header
    if header.owner != owner:
        raise BadEnvelope(f"this clip does not belong to {owner}")
    if header.okey not in {identity.okey for identity in identities}:
        raise NotForYou(
            "this clip is sealed to a key that is not in the identity file",
            "add the older key to the identity file, one key a line",
        )
    recipients = [identity.recipient for identity in identities]
    return open_envelope(data, identities, devices, {owner: recipients})


def selection_fields(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Return the selection fields of a request from the command line."""
    fields: dict[str, str | None] = {
        name: getattr(arguments, field, None)
        for name, field in (
            ("day", "day"),
            ("from", "from_t"),
            ("until", "until_t"),
            ("device", "device"),
        )
    }
    day = fields["day"]
    if day in RELATIVE_DAYS and fields["from"] is None and fields["until"] is None:
        today = datetime.now(UTC).astimezone().date()
        fields["day"] = None
        fields["from"], fields["until"] = local_day(day, today)
    return fields


def read_receipt(path: Path, archive: Ed25519PublicKey) -> receipts.Receipt:
    """Read a receipt's file and verify its signature.

    Args:
        path: the file.
        archive: public key of the archive that must have signed it.

    Raises:
        EarmarkError: it is malformed, or not signed by this archive.
        Unavailable: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read((64 << 20) + 1)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    return receipts.parse_receipt(data, archive)


def parse_day(text: str) -> str:
    """Parse ``today``, ``yesterday`` or a day in UTC for argparse; return it unchanged."""
    if text in RELATIVE_DAYS:
        return text
    return argument_type(requests.Day, "day such as 2026-11-22, today or yesterday")(text)


def local_day(day: str, today: date) -> tuple[str, str]:
    """Return the first moment of a relative day and that of the next, as headers have them.

    Args:
        day: a key of `RELATIVE_DAYS`.
        today: the date in the local time zone.
    """
    first = today - timedelta(days=RELATIVE_DAYS[day])
    # A day of a change of the clocks has 23 or 25 hours: both ends are midnight there.
    ends = (datetime.combine(at, time.min).astimezone() for at in (first, first + timedelta(1)))
    start, end = (form.format_timestamp(at.astimezone(UTC)) for at in ends)
    return start, end


def parse_moment(text: str) -> str:
    """Parse a date or time (ISO 8601; UTC by default) for argparse; return it as headers do."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return form.format_timestamp(moment)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date or time such as 2026-11-22 or 2026-11-22T08:00Z"
        ) from None
