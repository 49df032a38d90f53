"""Records of the owner's computer for the page: pinned keys, receipts, consents, the log's head.

The same files as those of the other actions of ``earmark clips``.
"""

import threading
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

import listener
from listener.clips.client import ArchiveClient
from listener.clips.http import Address, HttpClient
from listener.clips.schema import ArchiveReply
from listener.clips.trust_store import TrustStore, receipt_name
from listener.clips.voice_record import GivenConsent, VoiceRecord
from listener.envelope import keys
from listener.envelope.format import ShortName
from listener.errors import EarmarkError
from listener.rights import receipts
from listener.rights.hash_chain import LogHead

VERSION: Final = 1
COMPUTER: Final = "computer"
Language = Literal["en", "de", "es", "fr"]


class SpeakerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A pinned key of a speaker in the start document."""

    name: str
    key: str
    last_seq: int | None


class NewSpeaker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The key of a speaker that the owner agreed to trust."""

    name: ShortName
    key: Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=\Z")]


class NewConsents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Consents to voice control that the owner gave in the page, by speaker."""

    consents: Annotated[dict[ShortName, GivenConsent], Meta(min_length=1, max_length=32)]


class LocalRecords:
    """The records of one owner. Safe for several threads.

    Each call reads the files anew, since another command may have changed them.

    Args:
        home: the data directory.
        owner: the owner's name.
        address: address of the archive, whose key is pinned at the first contact.
        language: language of the page; None for the browser's.
    """

    def __init__(
        self, home: Path, owner: str, address: Address, language: Language | None = None
    ) -> None:
        self._home = home
        self._owner = owner
        self._address = address
        self._language = language
        self._lock = threading.Lock()

    def start(self) -> dict[str, Any]:
        """Return the start document.

        Raises:
            ConfigError: a file is damaged.
            Unavailable: a file cannot be read.
        """
        with self._lock:
            known = TrustStore(self._home)
            consents = VoiceRecord(self._home, self._owner).consents()
        return {
            "v": VERSION,
            "entry": COMPUTER,
            "earmark": listener.__version__,
            "owner": self._owner,
            "language": self._language,
            "archive": None if known.archive is None else keys.device_text(known.archive),
            "log_head": msgspec.to_builtins(known.head),
            "speakers": _speakers(known),
            "consents": msgspec.to_builtins(dict(consents)),
        }

    def store_receipt(self, data: bytes) -> Path:
        """Verify and store the receipt of an erasure; return its path.

        Raises:
            BadSignature: the archive did not sign it.
            EarmarkError: it is another owner's, or the archive's key differs from the pinned one.
            Unavailable: the archive is needed for its key and does not answer, or it cannot be
                stored.
        """
        with self._lock:
            known = TrustStore(self._home)
            key = known.archive
            if key is None:
                client = ArchiveClient(HttpClient(self._address), self._owner, ())
                key = known.pin_archive(client.get_archive(ArchiveReply).archive)
            receipt = receipts.parse_receipt(data, key)
            if (receipt.kind, receipt.owner) != ("erase", self._owner):
                raise EarmarkError(f"this is not the receipt of an erasure of {self._owner}")
            return known.save_receipt(receipt_name(receipt), data)

    def store_head(self, head: LogHead) -> None:
        """Store the head of a log that the page verified; see ``TrustStore.record_head``."""
        with self._lock:
            TrustStore(self._home).record_head(head)

    def pin_speaker(self, speaker: NewSpeaker) -> list[dict[str, Any]]:
        """Pin the key of a speaker; return the rows of all.

        Raises:
            ConfigError: it is not a device's key.
            EarmarkError: another key of this name is pinned.
            Unavailable: it cannot be stored.
        """
        with self._lock:
            known = TrustStore(self._home)
            known.pin_devices({speaker.name: speaker.key})
            return _speakers(known)

    def store_consents(self, given: NewConsents) -> None:
        """Store consents; see ``VoiceRecord.add``."""
        with self._lock:
            VoiceRecord(self._home, self._owner).add(given.consents)


def _speakers(known: TrustStore) -> list[dict[str, Any]]:
    rows = [
        SpeakerRow(name=name, key=keys.device_text(one.key), last_seq=one.last_seq)
        for name, trusted in sorted(known.signers().items())
        for one in trusted
    ]
    return [msgspec.to_builtins(row) for row in rows]
