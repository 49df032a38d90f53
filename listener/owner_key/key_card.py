"""The key card: an identity file of age whose comments name the owner, the archive and speakers.

``docs/reference/browser-page.md`` specifies it. Every reader of an identity file accepts it.
"""

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from listener.config import ShortName
from listener.envelope import keys
from listener.envelope.open import Identity, parse_identities
from listener.errors import ConfigError
from listener.text_encoding import UTF8_MARK, decode_text

LIMIT_BYTES: Final = 64 << 10
QR_LIMIT_BYTES: Final = 900
"""Longest text of a QR code that is still read from paper."""
_TITLE: Final = "# Earmark key card"
_VERSION: Final = "1"
_WORDS: Final = ("owner", "archive", "speaker")
_HINT: Final = "write the card again: earmark owner key update FILE"
_MOST_SEQ: Final = 999_999_999_999


@dataclass(frozen=True, slots=True)
class CardSpeaker:
    """A public key of a speaker on a card."""

    name: str
    key: str
    """``ed25519:…``."""
    last_seq: int | None = None
    """Highest number that counts for a retired key; None for a key in use."""


@dataclass(frozen=True, slots=True)
class KeyCard:
    """A key card; ``repr`` omits the secret keys."""

    identities: tuple[Identity, ...]
    """The active key first, then retired ones."""
    owner: str | None = None
    archive: str | None = None
    """Public key of the archive, ``ed25519:…``."""
    speakers: tuple[CardSpeaker, ...] = ()

    def text(self) -> str:
        """Return the text of a card of these keys."""
        lines = self._head(self.speakers)
        for identity in self.identities:
            lines += [f"# public key: {identity.recipient}", str(identity.secret)]
        return "\n".join(lines) + "\n"

    def text_in(self, file: str) -> str:
        """Return the text of an identity file with this card's lines in place of its own.

        Args:
            file: the file's text; its keys and all other lines stay as they are.
        """
        lines = [
            line
            for line in file.splitlines()
            if not line.strip().startswith(_TITLE) and not _own_words(line.strip())
        ]
        return "\n".join([*self._head(self.speakers), *lines]) + "\n"

    def qr_text(self) -> str:
        """Return the text of its QR code: the active key alone, with the speakers if they fit."""
        secret = str(self.identities[0].secret)
        whole = "\n".join([*self._head(self.speakers), secret]) + "\n"
        if len(whole.encode()) <= QR_LIMIT_BYTES:
            return whole
        return "\n".join([*self._head(()), secret]) + "\n"

    def _head(self, speakers: tuple[CardSpeaker, ...]) -> list[str]:
        lines = [f"{_TITLE} {_VERSION}"]
        lines += [f"# owner {self.owner}"] if self.owner is not None else []
        lines += [f"# archive {self.archive}"] if self.archive is not None else []
        for one in speakers:
            last = "" if one.last_seq is None else f" {one.last_seq}"
            lines.append(f"# speaker {one.name} {one.key}{last}")
        return lines


def parse_card(data: bytes, source: str) -> KeyCard:
    """Parse a key card, or any other identity file of age.

    Args:
        data: content of the file.
        source: its name for messages, which never quote a secret key.

    Raises:
        ConfigError: it holds no key, or a line of a card is malformed. Nothing else is raised.
    """
    if len(data) > LIMIT_BYTES:
        raise ConfigError(f"the key card {source} is longer than {LIMIT_BYTES} bytes")
    card = KeyCard(parse_identities(data, source))
    lines = [line.strip() for line in decode_text(data.removeprefix(UTF8_MARK)).splitlines()]
    if {line for line in lines if line.startswith(_TITLE)} - {f"{_TITLE} {_VERSION}"}:
        raise ConfigError(
            f"the key card {source} is of another version of Earmark", "update Earmark"
        )
    for number, line in enumerate(lines, 1):
        if words := _own_words(line):
            try:
                card = _with_line(card, words[0], words[1:])
            except (ValueError, ConfigError) as error:
                raise ConfigError(f"{source}, line {number}, is malformed", _HINT) from error
    return card


def _with_line(card: KeyCard, word: str, values: list[str]) -> KeyCard:
    """Return the card with one more comment.

    A file may be several cards, one after the other: an owner joins the card of the next key and
    that of the last one.

    Raises:
        ValueError: the line has another form, or contradicts an earlier one.
        ConfigError: a key is not valid.
    """
    match word, values:
        case "owner", [name] if card.owner in {None, name}:
            return replace(card, owner=_short_name(name))
        case "archive", [key] if card.archive in {None, key}:
            return replace(card, archive=keys.device_text(keys.parse_device(key)))
        case "speaker", [name, key, *rest]:
            last = None
            if rest:
                (text,) = rest
                if not text.isascii() or not text.isdecimal() or int(text[:13]) > _MOST_SEQ:
                    raise ValueError(text)
                last = int(text)
            speaker = CardSpeaker(_short_name(name), keys.device_text(keys.parse_device(key)), last)
            others = [one for one in card.speakers if (one.name, one.key) != (name, speaker.key)]
            return replace(card, speakers=(*others, speaker))
        case _:
            raise ValueError(word)


def _short_name(text: str) -> str:
    return msgspec.convert(text, ShortName)


def _own_words(line: str) -> list[str]:
    """Return the words of a comment that belongs to the card, else nothing."""
    words = line.removeprefix("#").split() if line.startswith("#") else []
    return words if words[:1] and words[0] in _WORDS else []
