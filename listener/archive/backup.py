"""Backup of the hub: a consistent copy of the archive's data directory, and its restore.

A backup contains the encrypted clips, the index, the access log, the erasures and settings of
owners, the archive's key, the roster, the household's certificate authority and the archive's
configuration. It contains no key that decrypts a clip, and nothing of a speaker in the same
directory: a restored sequence number or signing key of a speaker would be used twice.

The archive may run meanwhile. The index is copied first and the erasures last: a clip that arrives
during the copy has a file and no row, and `IndexRepair` creates the row; a clip that is erased
during the copy has a tombstone, and `IndexRepair` erases it again.
"""

import contextlib
import errno
import io
import os
import re
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from listener import digests
from listener.archive.backup_file import (
    CONFIGURATION,
    DATABASES,
    INDEX_MEMBER,
    MEMBERS,
    BackupReader,
    BackupWriter,
    BadBackup,
    Member,
    write_backup,
)
from listener.archive.files import SUFFIX, read_envelope_file
from listener.archive.owner_state import ORDERS, OwnerState
from listener.config import LIMIT_BYTES, parse_settings
from listener.envelope.format import parse_envelope
from listener.errors import BadEnvelope, ConfigError
from listener.owner import roster as rosters
from listener.owner.roster import Roster
from listener.storage.atomic import (
    PART,
    PUBLIC_MODE,
    SECRET_MODE,
    chown_to_folder_owner,
    create_file,
    hold_lock,
    make_folder,
    part_file,
    read_plain_file,
    single_instance,
    sync_folder,
    translate_os_errors,
    write_atomic,
)
from listener.storage.home import Home
from listener.storage.locations import CLIPS, QUARANTINE, walk
from listener.storage.sqlite import translate_sqlite_errors
from listener.text_encoding import NotUtf8Error, decode_text

UNFINISHED: Final = "restore-unfinished"
"""File in the data directory while a restore replaces it."""
_LOCK_VERB: Final = "restore"
_SMALL_FILES: Final = ("archive.key", "archive.pub", "roster.json")
_HOUSEHOLD: Final = "household"
_HOUSEHOLD_FILES: Final = ("ca.crt", "ca.key", "register.json", "crl.pem")
_SMALL_LIMIT_BYTES: Final = 16 << 20
_STEP: Final = 1000
"""Added to the numbers of the owners' retention limits by a restore; see `_skip_numbers`."""
_PUBLIC_SUFFIXES: Final = (".crt", ".pub", ".pem")
KEPT_SUFFIX: Final = ".before-restore"
"""End of the name under which a restore keeps the configuration that it replaces."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup contains, or what a restore wrote."""

    clips: int
    """Number of encrypted clips."""
    owners: tuple[str, ...]
    devices: tuple[str, ...]
    length_bytes: int
    """Length of the backup in bytes."""
    left_out: tuple[str, ...] = ()
    """Paths of damaged clips, which a backup leaves out; relative to the data directory."""
    is_merged: bool = False
    """True if the archive was there already, and only clips without a file were restored."""
    has_configuration: bool = False
    """True if the backup contains the archive's configuration."""
    restored_configuration: bool = False
    """True if a restore wrote that configuration, or it was there."""


def back_up(home: Path, path: Path, configuration: Path | None = None) -> BackupReport:
    """Copy the archive's data directory into a new file, while the archive may run.

    Args:
        home: the archive's data directory.
        path: the backup; never replaced.
        configuration: the archive's configuration file; left out if it does not exist.

    Raises:
        ConfigError: there is no archive here, or a restore did not finish.
        BadBackup: ``path`` exists.
        Unavailable: another backup or a restore runs, or a file cannot be read or written.
    """
    if not (home / "archive.key").exists():
        raise ConfigError(
            f"{home} is not the data directory of an archive",
            "name it: sudo earmark household backup FILE --home /var/lib/earmark-archive",
        )
    with single_instance(home, _LOCK_VERB):
        check_complete(home)
        whole: list[Path] = []
        damaged: list[Path] = []
        settings = _read_configuration(configuration)

        def fill(writer: BackupWriter, scratch: Path) -> None:
            if settings is not None:
                writer.add(CONFIGURATION, io.BytesIO(settings), len(settings), time.time())
            for name, data in _read_small_files(home).items():
                mtime_s = (home / name).stat().st_mtime
                writer.add(name, io.BytesIO(data), len(data), mtime_s)
            _add_database(writer, home, INDEX_MEMBER, scratch)
            for file in walk(home / "archive", CLIPS):
                if file.suffix != PART:  # a clip that is arriving
                    (whole if _add_clip(writer, home, file) else damaged).append(file)
            for file in walk(home / "archive", QUARANTINE):
                _add_quarantined(writer, home, file)
            for name in DATABASES[1:]:
                _add_database(writer, home, name, scratch)

        length_bytes = write_backup(path, fill)
        roster = Home(home).roster()
    return BackupReport(
        clips=len(whole),
        owners=tuple(owner.name for owner in roster.owners),
        devices=tuple(device.name for device in roster.devices),
        length_bytes=length_bytes,
        # The others were erased meanwhile.
        left_out=tuple(str(file.relative_to(home)) for file in damaged if os.path.lexists(file)),
        has_configuration=settings is not None,
    )


def inspect(path: Path) -> BackupReport:
    """Verify a backup and return what it contains.

    Raises:
        BadBackup: it is not complete.
        Unavailable: it cannot be read.
    """
    with BackupReader(path) as backup:
        return _inspect(backup, path)[0]


def restore(home: Path, path: Path, configuration: Path | None = None) -> BackupReport:
    """Restore a backup into the archive's data directory, which no archive uses meanwhile.

    Into a directory of a new installation, everything is restored. Where the same archive is
    already, its newer roster, settings, erasures, access log and configuration remain, and only
    clips whose file is missing and that were not erased are restored.

    Args:
        home: the archive's data directory.
        path: the backup.
        configuration: where the archive's configuration belongs. Another one there is kept beside
            it, with `KEPT_SUFFIX`. One that this version cannot read, or that names another data
            directory than ``home``, is not restored.

    Raises:
        BadBackup: it is not complete; nothing was changed.
        ConfigError: another household with members is here; nothing was changed.
        Unavailable: the archive, a backup or another restore runs, or a file cannot be written. A
            restore that failed meanwhile can be repeated.
    """
    with (
        single_instance(home, "archive"),
        single_instance(home, _LOCK_VERB),
        BackupReader(path) as backup,
    ):
        report, key = _inspect(backup, path)
        if not (home / UNFINISHED).exists():
            if _read_key(home) == key:
                return _merge(home, backup, report)
            _check_unused(home)
        write_atomic(home / UNFINISHED, b"", SECRET_MODE)
        _clear(home)
        is_configured = False
        for member in backup.members():
            if member.name != CONFIGURATION:
                _write(home / member.name, member)
            elif configuration is not None:
                is_configured = _restore_configuration(configuration, member, home)
        _skip_numbers(home)
        with translate_os_errors(home):
            (home / UNFINISHED).unlink()
            sync_folder(home)
    return replace(report, restored_configuration=is_configured)


def check_complete(home: Path) -> None:
    """Check that no restore was interrupted.

    Raises:
        ConfigError: one was; a part of the data directory is missing.
    """
    if (home / UNFINISHED).exists():
        raise ConfigError(
            f"a restore into {home} did not finish",
            "run it again: sudo earmark household restore FILE",
        )


def _read_configuration(path: Path | None) -> bytes | None:
    if path is None:
        return None
    with translate_os_errors(path), contextlib.suppress(FileNotFoundError):
        return read_plain_file(path, LIMIT_BYTES, follow_links=True)
    return None


def _restore_configuration(path: Path, member: Member, home: Path) -> bool:
    """Write the archive's configuration if it fits; return whether it did.

    It does not if this version cannot read it, or if it names another data directory than the
    restored one: the archive would serve that one.
    """
    if member.size_bytes > LIMIT_BYTES:
        return False
    data = member.content.read()
    try:
        settings = parse_settings(decode_text(data), member.name)
    except (ConfigError, NotUtf8Error):
        return False
    if settings.home and Path(settings.home) != home:
        return False
    present = _read_configuration(path)
    if present == data:
        return True
    mode = PUBLIC_MODE
    if present is None:
        make_folder(path.parent)
    else:
        with translate_os_errors(path):
            mode = stat.S_IMODE(path.stat().st_mode)
        write_atomic(path.with_name(path.name + KEPT_SUFFIX), present, mode)
    write_atomic(path, data, mode)
    return True


def _read_small_files(home: Path) -> dict[str, bytes]:
    """Return keys, roster and the household's files by name, none of them half changed."""
    names = [name for name in _SMALL_FILES if (home / name).exists()]
    with contextlib.ExitStack() as stack, translate_os_errors(home):
        folder = home / _HOUSEHOLD
        if folder.is_dir():
            stack.enter_context(hold_lock(folder / "lock"))
            names += [
                f"{_HOUSEHOLD}/{name}" for name in _HOUSEHOLD_FILES if (folder / name).exists()
            ]
            issued = sorted((folder / "issued").iterdir()) if (folder / "issued").is_dir() else []
            names += [f"{_HOUSEHOLD}/issued/{file.name}" for file in issued]
        return {
            name: read_plain_file(home / name, _SMALL_LIMIT_BYTES)
            for name in names
            if MEMBERS.fullmatch(name)
        }


def _add_database(writer: BackupWriter, home: Path, name: str, scratch: Path) -> None:
    """Add a consistent copy of a database that a process may write to."""
    path = home / name
    if not path.exists():
        return
    with translate_sqlite_errors(str(path), "restore it from a backup", path):
        with contextlib.suppress(FileNotFoundError):
            scratch.unlink()
        with (
            contextlib.closing(
                sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
            ) as source,
            contextlib.closing(sqlite3.connect(scratch)) as target,
        ):
            source.backup(target)  # in one step, so that no writer comes between
            target.execute("pragma journal_mode = delete")
        with scratch.open("rb") as file:
            writer.add(name, file, scratch.stat().st_size, path.stat().st_mtime)
        scratch.unlink()


def _add_clip(writer: BackupWriter, home: Path, file: Path) -> bool:
    """Add a clip if it is whole; return whether it was. One that is being erased is not whole."""
    try:
        data, mtime_s = read_envelope_file(file), file.stat().st_mtime
    except OSError:
        return False
    name = str(file.relative_to(home))
    if not MEMBERS.fullmatch(name) or not _is_whole(data, file.name.removesuffix(SUFFIX)):
        return False
    writer.add(name, io.BytesIO(data), len(data), mtime_s)
    return True


def _is_whole(data: bytes, clip: str) -> bool:
    try:
        envelope = parse_envelope(data)
    except BadEnvelope:
        return False
    is_undamaged = digests.sha256(envelope.ciphertext).hex() == envelope.seal.sha256
    return is_undamaged and envelope.header.clip == clip


def _add_quarantined(writer: BackupWriter, home: Path, file: Path) -> None:
    """Add a file of the quarantine as it is, unless it is gone meanwhile."""
    name = str(file.relative_to(home))
    with contextlib.suppress(OSError):
        data, mtime_s = read_envelope_file(file), file.stat().st_mtime
        if MEMBERS.fullmatch(name):
            writer.add(name, io.BytesIO(data), len(data), mtime_s)


def _inspect(backup: BackupReader, path: Path) -> tuple[BackupReport, bytes]:
    """Verify a backup; return what it contains, and the bytes of the archive's key."""
    lengths = backup.verify()
    key, roster = b"", Roster()
    for member in backup.members():
        if member.size_bytes > _SMALL_LIMIT_BYTES:
            continue
        if member.name == "archive.key":
            key = member.content.read()
        if member.name == "roster.json":
            roster = rosters.parse(member.content.read(), f"roster.json in {path}")
    if not key:
        raise BadBackup(f"{path} is not a complete backup: archive.key is missing")
    clips = sum(name.startswith(f"archive/{CLIPS}/") for name in lengths)
    report = BackupReport(
        clips=clips,
        owners=tuple(owner.name for owner in roster.owners),
        devices=tuple(device.name for device in roster.devices),
        length_bytes=path.stat().st_size,
        has_configuration=CONFIGURATION in lengths,
    )
    return report, key


def _read_key(home: Path) -> bytes | None:
    with translate_os_errors(home), contextlib.suppress(FileNotFoundError):
        return read_plain_file(home / "archive.key", _SMALL_LIMIT_BYTES)
    return None


def _check_unused(home: Path) -> None:
    """Check that a directory has nothing that a restore would destroy.

    Raises:
        ConfigError: it has a speaker, an owner or a clip.
    """
    roster = Home(home).roster()
    has_clips = any(next(walk(home / "archive", place), None) for place in (CLIPS, QUARANTINE))
    if roster.owners or roster.devices or roster.retired_devices or has_clips:
        raise ConfigError(
            f"{home} belongs to another household, which has members or clips",
            "restore on a computer where only install.sh --hub has run",
        )


def _clear(home: Path) -> None:
    """Remove what a new installation, or a restore that was interrupted, has written."""
    with translate_os_errors(home):
        for name in (*DATABASES, *_SMALL_FILES):
            for suffix in ("", "-wal", "-shm", "-journal"):
                (home / f"{name}{suffix}").unlink(missing_ok=True)
        for folder in (_HOUSEHOLD, f"archive/{CLIPS}", f"archive/{QUARANTINE}"):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(home / folder)


def _write(path: Path, member: Member) -> None:
    """Write a file durably, for the owner of the data directory, with its time."""
    mode = PUBLIC_MODE if path.suffix in _PUBLIC_SUFFIXES else SECRET_MODE
    make_folder(path.parent)
    with translate_os_errors(path):
        with part_file(path) as part:
            with create_file(part, mode) as file:
                shutil.copyfileobj(member.content, file)
                chown_to_folder_owner(file.fileno(), path.parent)
            if part.stat().st_size != member.size_bytes:
                raise OSError(errno.EIO, f"{member.name} ends early")
            os.utime(part, (member.mtime_s, member.mtime_s))
            part.replace(path)
        sync_folder(path.parent)


def _skip_numbers(home: Path) -> None:
    """Continue the numbered statements to speakers above those made since the backup.

    A speaker ignores a retention limit with a lower number than the last it accepted.
    """
    with contextlib.closing(OwnerState(home / ORDERS)) as owner_state:
        owner_state.skip_retention_numbers(_STEP)


def _merge(home: Path, backup: BackupReader, report: BackupReport) -> BackupReport:
    """Restore the clips whose file is missing; everything else here is newer than the backup."""
    _write_missing(home, backup, lambda match: match["clip"] is None)
    # After it: the erasures may have been missing.
    with contextlib.closing(OwnerState(home / ORDERS)) as erased:
        clips = _write_missing(
            home,
            backup,
            lambda match: match["clip"] is not None and not erased.is_erased(match["clip"]),
        )
    return BackupReport(
        clips=clips,
        owners=report.owners,
        devices=report.devices,
        length_bytes=report.length_bytes,
        is_merged=True,
        has_configuration=report.has_configuration,
    )


def _write_missing(
    home: Path, backup: BackupReader, is_wanted: Callable[[re.Match[str]], bool]
) -> int:
    """Write the files that are not there; return their number. The index is made from the files."""
    written = 0
    for member in backup.members():
        match = MEMBERS.fullmatch(member.name)
        path = home / member.name
        if match is None or member.name in {INDEX_MEMBER, CONFIGURATION}:
            continue
        if path.exists() or not is_wanted(match):
            continue
        _write(path, member)
        written += 1
    return written
