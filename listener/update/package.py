"""Release files on the disk: written by whoever makes them, unpacked where they are installed.

Whether a release belongs here: this machine, this Python, and nothing older than what ran.

Whose signature counts.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.envelope import keys
from listener.errors import BadRelease, ConfigError, EarmarkError, Unavailable, UsageError
from listener.release import file as form
from listener.release.file import Part, ReleaseManifest
from listener.release.versions import version_key
from listener.update.versions import Versions

_PIECE_BYTES: Final = 1 << 20
_ROOM: Final = 4
"""Times its parts is what a release needs while its environment is made."""


def unpack_release(
    path: Path, trusted: Iterable[Ed25519PublicKey], into: Path | None = None
) -> ReleaseManifest:
    """Read a release file whole, once, and compare every part with the manifest.

    Args:
        path: of the file; only read.
        trusted: the release keys.
        into: a folder that does not exist yet: receives the parts. What it holds afterwards is
            what was compared, whatever becomes of the file meanwhile.

    Returns:
        What was signed.

    Raises:
        BadRelease: it is not whole, or not signed. ``into`` may then hold some of it.
        Unavailable: it cannot be read, or the disk has no room.
    """
    with _available(path), path.open("rb") as file:
        manifest, start = form.parse(file.read(form.HEAD_LIMIT_BYTES), trusted)
        if os.fstat(file.fileno()).st_size != start + manifest.total_bytes:
            raise BadRelease("this release is cut off or damaged", "fetch it again")
        file.seek(start)
        if into is not None:
            _make_room(into, manifest)
        for part in manifest.parts:
            target = contextlib.nullcontext() if into is None else _file(into / part.name)
            with target as out:
                _copy(file, out, part)
    return manifest


def pack_release(
    source: Path, target: Path, key: Ed25519PrivateKey, manifest: ReleaseManifest
) -> ReleaseManifest:
    """Write a release file of what a folder holds. The same folder gives the same bytes.

    Args:
        source: holds ``make-environment``, ``wheels/`` and ``lock/``; what else it holds, and
            locks of other machines, stay out.
        target: the file.
        key: signs.
        manifest: of it, all but the parts is used.

    Returns:
        What was signed.

    Raises:
        UsageError: the folder holds no release.
        BadRelease: the manifest contradicts itself.
        Unavailable: a file cannot be read or written.
    """
    with _available(source):
        names = (path.relative_to(source).as_posix() for path in source.rglob("*"))
        mine = sorted(name for name in names if _matches_machine(name, manifest.machine))
        if form.MAKER not in mine:
            raise UsageError(
                f"there is no {form.MAKER} in {source}", "make deb leaves such a folder"
            )
        parts = tuple(_describe(name, source / name) for name in mine)
    whole = msgspec.structs.replace(manifest, parts=parts)
    head = form.sign(whole, key)
    with _available(target), target.open("wb") as out:
        out.write(head)
        for part in whole.parts:
            with (source / part.name).open("rb") as file:
                _copy(file, out, part)
    return whole


def _matches_machine(name: str, machine: str) -> bool:
    is_lock = name.startswith("lock/")
    return form.is_valid_part_name(name) and (not is_lock or name.endswith(f"-{machine}.txt"))


def _describe(name: str, path: Path) -> Part:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(name=name, bytes=path.stat().st_size, sha256=digest)


def _copy(file: BinaryIO, out: BinaryIO | None, part: Part) -> None:
    digest = hashlib.sha256()
    left = part.bytes
    while left:
        piece = file.read(min(_PIECE_BYTES, left))
        if not piece:
            raise BadRelease("this release is cut off or damaged", "fetch it again")
        left -= len(piece)
        digest.update(piece)
        if out is not None:
            out.write(piece)
    if digest.hexdigest() != part.sha256:
        raise BadRelease(f"{part.name} of this release is damaged", "fetch it again")


def _make_room(into: Path, manifest: ReleaseManifest) -> None:
    into.mkdir(mode=0o700)
    if shutil.disk_usage(into).free < _ROOM * manifest.total_bytes:
        raise Unavailable(
            f"there is no room for this release in {into.parent}",
            f"it needs {_ROOM * manifest.total_bytes >> 20} MiB while it is installed",
        )


@contextlib.contextmanager
def _file(path: Path) -> Iterator[BinaryIO]:
    # Names are checked when the manifest is read: one folder deep, and none leads out of it.
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as out:
        yield out
    path.chmod(0o700 if path.name == form.MAKER else 0o600)


@contextlib.contextmanager
def _available(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise Unavailable(f"cannot use {where}: {error.strerror}") from error


def check_allowed(
    manifest: ReleaseManifest, versions: Versions, *, allow_downgrade: bool = False
) -> None:
    """Say whether a release may be installed here.

    Args:
        manifest: of a release whose signature holds.
        versions: what runs here, and what ran.
        allow_downgrade: take one that is older than what ran, too.

    Raises:
        EarmarkError: no; the message says why.
    """
    here = platform.machine()
    if manifest.machine != here:
        raise EarmarkError(f"this release is for {manifest.machine}, and this is {here}")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python not in manifest.pythons:
        raise EarmarkError(
            f"this release is for Python {', '.join(manifest.pythons)}, and this is {python}"
        )
    current = versions.current()
    if manifest.version == current:
        raise EarmarkError(f"{current} runs already")
    if version_key(current) < version_key(manifest.least):
        raise EarmarkError(
            f"{manifest.version} can follow {manifest.least} and newer, and this is {current}",
            f"install {manifest.least} first",
        )
    floor = max(current, versions.read().highest or current, key=version_key)
    if version_key(manifest.version) < version_key(floor) and not allow_downgrade:
        raise EarmarkError(
            f"{manifest.version} is older than {floor}, which ran here",
            "an old release may have holes that are known; --allow-downgrade takes it all the same",
        )


FILE: Final = "release-keys.txt"


def release_keys(pinned: Sequence[str]) -> tuple[Ed25519PublicKey, ...]:
    """Return the keys that may sign a release: those of the settings, and the program's own.

    Args:
        pinned: as the settings have them.

    Raises:
        ConfigError: one is no key, or there is none at all.
    """
    text = resources.files("listener.update").joinpath(FILE).read_text("utf-8")
    own = (line.strip() for line in text.splitlines())
    found = [*pinned, *(line for line in own if line and not line.startswith("#"))]
    if not found:
        raise ConfigError(
            "no release key is pinned, so no release can be believed",
            "update.keys in the settings takes the key of who makes your releases",
        )
    return tuple(keys.parse_device(text) for text in found)
