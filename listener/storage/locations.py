"""Every place where a clip, or data about clips, is stored below a home: one list for both sides.

Erasure, retention, repair, counting and ``earmark doctor`` walk the places of ``CLIP_FOLDERS``; an
export reads the first of them, whose files it verifies. A test compares the lists with what the
archive and send really write. Pure but for ``walk``.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

CLIPS: Final = "clips"
"""Folder of the archived clips, in the archive's folder; in it one folder for each owner."""
QUARANTINE: Final = "quarantine"
"""Folder of the files that do not verify, in the archive's folder, or in the spool's."""
UNKNOWN_OWNER: Final = "_unknown"
"""Folder in the quarantine for files whose owner is not known; not a valid name of an owner."""
CLIP_FOLDERS: Final = (CLIPS, QUARANTINE)
"""Folders of the archive that hold envelopes, in ``<folder>/<owner>/``."""

VOICEPRINTS: Final = "voiceprints"
"""Folder of a speaker's voiceprints: ``OWNER.json``."""

Content = Literal["clip", "metadata", "voiceprint", "none"]

_OWNER: Final = r"[a-z0-9-]{1,32}"
_CONNECTION: Final = r"archive(?:-[0-9]{1,2})?\.connection(?:-[2-8])?"
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True)
class Location:
    """Files of one kind below a home.

    Attributes:
        pattern: regular expression of their paths, relative to the home.
        content: ``clip``: ciphertext with its header; ``metadata``: owner, device, time or id of
            clips; ``voiceprint``: a voiceprint, in the clear; ``none``: none of them.
        end: what removes the content.
    """

    pattern: str
    content: Content
    end: str


def _database(name: str, end: str) -> Location:
    return Location(rf"{re.escape(name)}(?:-wal|-shm|-journal)?", "metadata", end)


ARCHIVE_LOCATIONS: Final = (
    Location(
        rf"archive/{CLIPS}/{_OWNER}/{_UUID}\.earmark", "clip", "erasure and expiry: overwritten"
    ),
    Location(
        rf"archive/{CLIPS}/{_OWNER}/\.{_UUID}\.earmark\.part",
        "clip",
        "the end of the write; after a crash the next repair overwrites it",
    ),
    Location(
        rf"archive/{QUARANTINE}/(?:{_OWNER}|{UNKNOWN_OWNER})/[^/]+",
        "clip",
        "erasure, and expiry by the file's own header: overwritten",
    ),
    _database("archive/index.sqlite", "erasure and expiry: row deleted, log overwritten"),
    _database("orders.sqlite", "never: it lists the erased clips"),
    _database("access.sqlite", "never: it is the owners' record of access"),
    Location(r"archive/limits\.json", "metadata", "devices over a limit; a day later"),
    Location(r"(?:archive/)?reserve", "none", "a full disk"),
    Location(
        r"archive\.key|archive\.pub|archive(?:-[0-9]{1,2})?\.(?:lock|sock)|restore\.lock|lock|roster\.json",
        "none",
        "never",
    ),
    Location(rf"{_CONNECTION}\.json", "none", "the next change of the connection"),
    Location(r"restore-unfinished", "none", "the end of the restore"),
    Location(
        rf"\.(?:archive\.key|archive\.pub|(?:roster|{_CONNECTION})\.json)\.part"
        r"|archive/\.(?:limits\.json|link|linked)\.part",
        "none",
        "write",
    ),
)
"""Files that the archive writes below its home."""

_ENVELOPE: Final = rf"[0-9]{{12}}\.{_OWNER}\.{_UUID}\.earmark"

_COPY: Final = r"[0-9a-f]{32}\.[1-3]"
"""Name of a command copy; only a home without systemd has the folder of voice control in it."""

SPEAKER_LOCATIONS: Final = (
    Location(rf"spool/{_ENVELOPE}", "clip", "acknowledgement, limits, owner's retention, erasure"),
    Location(rf"spool/{_ENVELOPE}\.part", "clip", "the end of the write, or the next start"),
    Location(
        rf"spool/{QUARANTINE}/{_ENVELOPE}",
        "clip",
        "limits, owner's retention, erasure; --release moves it back",
    ),
    Location(r"spool/counts", "none", "never: counts only"),
    Location(
        r"spool/(?:retention|following|sequence|consents|owner-answers|published)\.json",
        "none",
        "the archive's next message",
    ),
    Location(r"spool/owner-challenges\.json", "none", "a change of this device's owners"),
    Location(r"spool/replayed\.json(?:\.part)?", "metadata", "erasure, or 1,000 more such clips"),
    Location(r"spool/suspended", "none", "the end of the suspension"),
    Location(r"spool/not-stored", "none", "the archive's next acknowledgement"),
    Location(
        r"spool/\.(?:(?:retention|following|sequence|consents|owner-answers|owner-challenges|published)\.json"
        r"|suspended|not-stored)\.part",
        "none",
        "write",
    ),
    Location(
        rf"{VOICEPRINTS}/(?:{_OWNER}\.json|\.{_OWNER}\.json\.(?:part|old))",
        "voiceprint",
        "earmark owner forget, earmark owner voiceprint erase: overwritten",
    ),
    Location(
        r"send/(?:send\.lock|notices\.sock|false_wakes\.json)"
        r"|device\.key|archive\.pub|sequence|lock|(?:roster|consent)\.json",
        "none",
        "never",
    ),
    Location(r"send/send\.connection\.json", "none", "the next change of the connection"),
    Location(
        r"\.(?:device\.key|sequence|(?:roster|consent)\.json)\.part"
        r"|send/\.(?:false_wakes|send\.connection)\.json\.part",
        "none",
        "write",
    ),
    Location(
        rf"run/voice/copies/(?:{_COPY}|\.{_COPY}\.part)",
        "clip",
        "publication, a mute, 10 s, or the next start of hear or send",
    ),
    Location(
        r"run/voice/replies/(?:[0-9a-f]{32}|\.[0-9a-f]{32}\.part)",
        "none",
        "the player, 10 s, or the next start of send",
    ),
    Location(
        r"run/voice/(?:(?:voice|player)\.sock|player\.json|playback\.lock|reply\.key|another-assist)"
        r"|run/voice/\.[^/]+\.part",
        "none",
        "the next start",
    ),
)
"""Files that the spool and send write below a speaker's home."""


def find_location(path: str, locations: tuple[Location, ...]) -> Location | None:
    """Return the location of a file, or None if it is on no list.

    Args:
        path: relative to the home.
        locations: one of the lists.
    """
    return next((one for one in locations if re.fullmatch(one.pattern, path)), None)


def walk(archive: Path, folder: str, owner: str | None = None) -> Iterator[Path]:
    """Yield the files in one of the archive's ``CLIP_FOLDERS``, in no order.

    Args:
        archive: the archive's folder.
        folder: one of ``CLIP_FOLDERS``.
        owner: only this owner's files, if given.

    Raises:
        OSError: a folder cannot be read.
    """
    top = archive / folder
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for place in [top / owner] if owner is not None else sorted(top.iterdir()):
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(place) as listing,
            ):
                for item in listing:
                    yield Path(item.path)
