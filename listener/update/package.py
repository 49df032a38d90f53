"""Release files: packing, unpacking with verification, compatibility with this machine, and keys.

A release is compatible if it is for this machine and Python and not older than a version that ran.
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
from listener.release import file as release_file
from listener.release.file import Part, ReleaseManifest
from listener.release.versions import version_key
from listener.update.versions import Versions

_PIECE_BYTES: Final = 1 << 20
_ROOM: Final = 4
"""Disk space needed during installation, as a multiple of a release's size."""
FILE: Final = "release-keys.txt"
"""Resource with the release keys that ship with the program."""


def unpack_release(
    path: Path, trusted: Iterable[Ed25519PublicKey], into: Path | None = None
) -> ReleaseManifest:
    """Read a release file once, and verify its signature and the hash of every part.

    Args:
        path: of the file.
        trusted: the release keys.
        into: folder for the parts, which does not exist yet; it then holds exactly the verified
            bytes, even if the file changes meanwhile. None to verify only.

    Returns:
        The signed manifest.

    Raises:
        BadRelease: the file is damaged, or not signed by a trusted key. ``into`` may then hold
            some parts.
        Unavailable: the file cannot be read, or the disk has no room.
    """
    with _available(path), path.open("rb") as file:
        manifest, start = release_file.parse(file.read(release_file.HEAD_LIMIT_BYTES), trusted)
        if os.fstat(file.fileno()).st_size != start + manifest.total_bytes:
            raise BadRelease("this release is incomplete or damaged", "download it again")
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
    """Write a release file from a folder. The same folder gives the same bytes.

    Args:
        source: folder with ``make-environment``, ``wheels/`` and ``lock/``; other files and the
            locks of other machines are left out.
        target: the release file.
        key: signs the manifest.
        manifest: all of its fields but the parts are used.

    Returns:
        The signed manifest.

    Raises:
        UsageError: the folder has no ``make-environment``.
        BadRelease: the manifest is inconsistent.
        Unavailable: a file cannot be read or written.
    """
    with _available(source):
        names = (path.relative_to(source).as_posix() for path in source.rglob("*"))
        included = sorted(name for name in names if _matches_machine(name, manifest.machine))
        if release_file.MAKER not in included:
            raise UsageError(
                f"there is no {release_file.MAKER} in {source}",
                "run make deb, which makes such a folder",
            )
        parts = tuple(_describe(name, source / name) for name in included)
    complete = msgspec.structs.replace(manifest, parts=parts)
    head = release_file.sign(complete, key)
    with _available(target), target.open("wb") as out:
        out.write(head)
        for part in complete.parts:
            with (source / part.name).open("rb") as file:
                _copy(file, out, part)
    return complete


def check_allowed(
    manifest: ReleaseManifest, versions: Versions, *, allow_downgrade: bool = False
) -> None:
    """Check that a release may be installed here.

    Args:
        manifest: of a verified release.
        versions: the current version, and the highest one that ran.
        allow_downgrade: also accept a version that is older than one that ran.

    Raises:
        EarmarkError: it may not; the message gives the reason.
    """
    here = platform.machine()
    if manifest.machine != here:
        raise EarmarkError(f"this release is for {manifest.machine}, and this machine is {here}")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python not in manifest.pythons:
        raise EarmarkError(
            f"this release is for Python {', '.join(manifest.pythons)}, and this is {python}"
        )
    current = versions.current()
    if manifest.version == current:
        raise EarmarkError(f"{current} is installed already")
    if version_key(current) < version_key(manifest.least):
        raise EarmarkError(
            f"{manifest.version} can be installed over {manifest.least} and newer, and this is"
            f" {current}",
            f"install {manifest.least} first",
        )
    floor = max(current, versions.read().highest or current, key=version_key)
    if version_key(manifest.version) < version_key(floor) and not allow_downgrade:
        raise EarmarkError(
            f"{manifest.version} is older than {floor}, which ran here",
            "pass --allow-downgrade to install it; it may have known vulnerabilities",
        )


def release_keys(pinned: Sequence[str]) -> tuple[Ed25519PublicKey, ...]:
    """Return the keys that may sign a release: those of the configuration and of the program.

    Args:
        pinned: keys in the configuration, ``ed25519:…``.

    Raises:
        ConfigError: a key is not valid, or there is none.
    """
    text = resources.files("listener.update").joinpath(FILE).read_text("utf-8")
    own = (line.strip() for line in text.splitlines())
    texts = [*pinned, *(line for line in own if line and not line.startswith("#"))]
    if not texts:
        raise ConfigError(
            "no release key is pinned, so no release can be verified",
            "set update.keys to the key of the release's maker",
        )
    return tuple(keys.parse_device(text) for text in texts)


def _matches_machine(name: str, machine: str) -> bool:
    is_lock = name.startswith("lock/")
    return release_file.is_valid_part_name(name) and (
        not is_lock or name.endswith(f"-{machine}.txt")
    )


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
            raise BadRelease("this release is incomplete or damaged", "download it again")
        left -= len(piece)
        digest.update(piece)
        if out is not None:
            out.write(piece)
    if digest.hexdigest() != part.sha256:
        raise BadRelease(f"{part.name} in this release is damaged", "download it again")


def _make_room(into: Path, manifest: ReleaseManifest) -> None:
    into.mkdir(mode=0o700)
    if shutil.disk_usage(into).free < _ROOM * manifest.total_bytes:
        raise Unavailable(
            f"there is no room for this release in {into.parent}",
            f"free {_ROOM * manifest.total_bytes >> 20} MiB for the installation",
        )


@contextlib.contextmanager
def _file(path: Path) -> Iterator[BinaryIO]:
    # The manifest's parser has checked the names: at most one folder deep, and inside ``into``.
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as out:
        yield out
    path.chmod(0o700 if path.name == release_file.MAKER else 0o600)


@contextlib.contextmanager
def _available(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise Unavailable(f"cannot use {where}: {error.strerror}") from error
