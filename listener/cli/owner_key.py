"""``earmark owner key``: make an owner's key, restore it, and check its copies."""

import argparse
import getpass
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pyrage

from listener.cli.input_file import read_input
from listener.clips.client import ArchiveClient
from listener.clips.http import HttpClient, parse_address
from listener.clips.session import SOCKET, Session, choose, open_own_clip
from listener.clips.trust_store import TrustStore
from listener.config import Config, ShortName
from listener.envelope import keys
from listener.envelope.format import ENVELOPE_LIMIT_BYTES
from listener.envelope.open import OpenedClip, parse_identities
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.owner_key.key_card import CardSpeaker, KeyCard, parse_card
from listener.owner_key.protected_copy import protect, unprotect
from listener.owner_key.recovery_sheet import ReadSheet, read_sheet, sheet_html
from listener.owner_key.recovery_words import WORDS, choose_passphrase
from listener.storage.atomic import SECRET_MODE, create_file, make_folders, write_atomic
from listener.storage.owner_files import read_identities
from listener.text_encoding import decode_text

LEAST_PASSPHRASE: Final = 10
"""Characters of a passphrase that the owner chooses."""
_LONGEST_BYTES: Final = 64 << 10
_AGE_FILE: Final = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")


def _make(arguments: argparse.Namespace, settings: Config) -> int:
    name = arguments.source or arguments.owner
    if name is None:
        raise UsageError("the owner's name is missing", "earmark owner key make NAME")
    try:
        name = msgspec.convert(name, ShortName)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{name!r} is not a short name", "use 1 to 32 of a-z, 0-9 and the hyphen"
        ) from error
    folder = Path(arguments.to or ".")
    for path in _files(folder / f"{name}.key"):
        if path.exists():
            raise UsageError(
                f"{path} exists already",
                "choose another folder with --to; a key that is overwritten cannot be restored",
            )
    identities = parse_identities(str(pyrage.x25519.Identity.generate()).encode(), name)
    card = _with_pins(KeyCard(identities, owner=name), Path(settings.home))
    _write(card, card.text(), folder / f"{name}.key", arguments, is_new=True)
    return 0


def _update(arguments: argparse.Namespace, settings: Config) -> int:
    home = Path(settings.home)
    if arguments.source is None:
        raise UsageError("the key's file is missing", "earmark owner key update FILE")
    path = Path(arguments.source)
    read_identities(path)  # its error has the hint for a key that is not there
    data = read_input(str(path), _LONGEST_BYTES)
    card = parse_card(data, str(path))
    owner = arguments.owner or card.owner or choose(_no_options(arguments), home).owner
    if owner is None:
        raise UsageError(f"{path} names no owner", "pass --owner NAME")
    card = _with_pins(replace(card, owner=owner), home)
    _write(card, card.text_in(decode_text(data)), path, arguments, is_new=False)
    return 0


def _check(arguments: argparse.Namespace, settings: Config) -> int:
    home = Path(settings.home)
    sheet = _read_source(arguments)
    arguments.owner = arguments.owner or sheet.owner
    arguments.identity = None
    chosen = choose(arguments, home)
    if chosen.owner is None:
        raise UsageError("the sheet names no owner", "pass --owner NAME")
    known = TrustStore(home)
    if arguments.clip is not None:
        data = read_input(arguments.clip, ENVELOPE_LIMIT_BYTES)
        opened = open_own_clip(data, chosen.owner, sheet.identities, known.signers())
    else:
        address = parse_address(
            chosen.archive or str(home / SOCKET), None if chosen.ca is None else Path(chosen.ca)
        )
        client = ArchiveClient(HttpClient(address), chosen.owner, sheet.identities)
        opened = _open_newest(Session(client, known))
    header, private = opened.header, opened.private
    if arguments.json:
        row = {"owner": header.owner, "clip": header.clip, "device": header.device, "t": header.t}
        print(json.dumps(row | {"okey": header.okey, "ms": private.ms}))
        return 0
    print(
        f"the sheet opens clips of {header.owner}: opened {header.clip} of {header.t} at"
        f" {header.device}, {private.ms / 1000:.1f} s; no sound was written"
    )
    return 0


def _open_newest(session: Session) -> OpenedClip:
    """Open the owner's newest clip.

    Raises:
        EarmarkError: there is none, or it does not open.
    """
    newest = None
    for clip in session.list_clips(argparse.Namespace()):
        newest = clip.clip
    if newest is None:
        raise EarmarkError(
            f"the archive accepted the key of {session.asker.owner}, and has no clip to open",
            "say the wake word at a speaker, and check the sheet again",
        )
    return session.open(session.asker.get_envelope(newest))


def _restore(arguments: argparse.Namespace, settings: Config) -> int:
    home = Path(settings.home)
    sheet = _read_source(arguments)
    owner = arguments.owner or sheet.owner or choose(_no_options(arguments), home).owner
    if owner is None:
        raise UsageError("the sheet names no owner", "pass --owner NAME")
    card = _with_pins(KeyCard(sheet.identities, owner=owner), home)
    path = Path(arguments.to or f"{owner}.key")
    _create(path, card.text().encode())
    active = card.identities[0]
    if arguments.json:
        print(json.dumps({"owner": owner, "okey": active.okey, "file": str(path)}))
        return 0
    print(f"wrote {path}, the key of {owner} with the fingerprint {active.okey}")
    print(f"  earmark clips list --owner {owner} --identity {path} --archive ADDRESS --remember")
    return 0


def _read_source(arguments: argparse.Namespace) -> ReadSheet:
    """Read the key from a file, or from words that are typed."""
    if arguments.source is not None:
        data = read_input(arguments.source, _LONGEST_BYTES)
        if data.lstrip().startswith(_AGE_FILE):
            data = _unlock(data, arguments)
        return read_sheet(data, arguments.source)
    if sys.stdin.isatty():
        print(f"type the {WORDS} words of the sheet, in one line or several:", file=sys.stderr)
    typed: list[str] = []
    while len(typed) < WORDS and (line := sys.stdin.readline(_LONGEST_BYTES)):
        typed += [word for word in line.split() if not word.strip(".").isdecimal()]
    return read_sheet(" ".join(typed).encode("utf-8", "replace"), "what was typed")


def _unlock(data: bytes, arguments: argparse.Namespace) -> bytes:
    """Decrypt the protected copy."""
    passphrase = _given_passphrase(arguments)
    if passphrase is None:
        if not sys.stdin.isatty():
            raise UsageError(
                f"{arguments.source} is protected by a passphrase", "pass --passphrase-file FILE"
            )
        passphrase = getpass.getpass(f"passphrase of {arguments.source}: ")
    return unprotect(data, passphrase, arguments.source)


def _given_passphrase(arguments: argparse.Namespace) -> str | None:
    if arguments.passphrase_file is None:
        return None
    lines = read_input(arguments.passphrase_file, _LONGEST_BYTES).decode("utf-8", "replace")
    return next(iter(lines.splitlines()), "").strip()


def _with_pins(card: KeyCard, home: Path) -> KeyCard:
    """Return the card with the archive and the speakers that this computer knows, too."""
    known = TrustStore(home)
    pinned = [
        CardSpeaker(name, keys.device_text(one.key), one.last_seq)
        for name, trusted in sorted(known.signers().items())
        for one in trusted
    ]
    have = {(one.name, one.key) for one in pinned}
    kept = [one for one in card.speakers if (one.name, one.key) not in have]
    archive = card.archive if known.archive is None else keys.device_text(known.archive)
    return replace(card, archive=archive, speakers=(*kept, *pinned))


def _no_options(arguments: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(owner=arguments.owner, identity=None, archive=None, ca=None)


def _files(key: Path) -> tuple[Path, Path, Path]:
    """Return the paths of a key, its protected copy, and its sheet."""
    return key, key.with_name(f"{key.name}.age"), key.with_name(f"{key.stem}-recovery.html")


def _write(
    card: KeyCard, file: str, key: Path, arguments: argparse.Namespace, *, is_new: bool
) -> None:
    """Write the card, its protected copy and its sheet; the sheet is read again first.

    Args:
        card: the card.
        file: text of the key's file.
        key: path of the key's file.
        arguments: of the command line.
        is_new: refuse to replace a file.
    """
    given = _given_passphrase(arguments)
    if given is not None and len(given) < LEAST_PASSPHRASE:
        raise UsageError(
            f"the passphrase has fewer than {LEAST_PASSPHRASE} characters",
            "choose a longer one: a person who finds the copy can try many",
        )
    passphrase = given or choose_passphrase()
    plain, locked, sheet = _files(key)
    text = file.encode()
    copy = protect(text, passphrase)
    day = datetime.now(UTC).astimezone().date().isoformat()
    page = sheet_html(card, day).encode()
    active = card.identities[0]
    if read_sheet(page, str(sheet)).identities[0].okey != active.okey:
        raise EarmarkError("the sheet does not agree with the key", "report this as a bug")
    for path, data in ((plain, text), (locked, copy), (sheet, page)):
        if is_new:
            _create(path, data)
        else:
            write_atomic(path, data, SECRET_MODE)
    if arguments.json:
        row = {"owner": card.owner, "okey": active.okey, "recipient": active.recipient}
        row |= {"key": str(plain), "copy": str(locked), "sheet": str(sheet)}
        print(json.dumps(row | ({} if given else {"passphrase": passphrase})))
        return
    print(f"{plain}: the secret key; it stays on this computer")
    print(f"{locked}: the same key, protected by a passphrase")
    if not given:
        print(f"  passphrase: {passphrase}")
    print(f"{sheet}: print this page, keep it in a safe place, and erase the file")
    if not is_new:
        names = ", ".join(sorted({one.name for one in card.speakers}))
        print(f"  speakers in it: {names or 'none, because this computer knows none'}")
        if not names:
            print("  hint: earmark clips list --open learns them; then run this again")
    if is_new:
        print("public key, for the person who runs your household:")
        print(f"  {active.recipient}")


def _create(path: Path, data: bytes) -> None:
    try:
        make_folders(path.parent)
        with create_file(path) as file:
            file.write(data)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already", "choose another name") from error
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from error


ACTIONS: Final[dict[str, Callable[[argparse.Namespace, Config], int]]] = {
    "make": _make,
    "update": _update,
    "check": _check,
    "restore": _restore,
}
