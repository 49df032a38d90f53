"""What makes releases: a key, once, and a file of wheels and locks. No speaker needs any of it."""

import argparse
import platform
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.actions import Subcommands
from listener.config import Config
from listener.envelope import keys
from listener.errors import Unavailable, UsageError
from listener.release import file
from listener.release.file import ReleaseManifest
from listener.storage.atomic import write_atomic
from listener.update import unpacking

_FIRST: Final = "0.1.0"


def add_release_actions(actions: Subcommands) -> None:
    """Add ``key`` and ``pack`` to the actions of ``earmark update``."""
    key_ = actions.add("key", "make a key that signs releases, for who makes them")
    key_.add_argument("file", metavar="FILE", help="where it goes; it must not be there yet")
    pack_ = actions.add("pack", "make a release of wheels and locks, for who makes them")
    pack_.add_argument("source", metavar="SOURCE", help="holds make-environment, wheels/ and lock/")
    pack_.add_argument("--key", required=True, metavar="FILE", help="the key that signs")
    pack_.add_argument("--to", required=True, metavar="FILE", help="the release")
    pack_.add_argument("--least", default=_FIRST, metavar="V", help="the oldest it can follow")
    pack_.add_argument("--summary", default="", metavar="TEXT", help="what is new, in one line")
    pack_.add_argument(
        "--machine",
        default=platform.machine(),
        choices=("aarch64", "x86_64"),
        help="what it runs on (default: this one)",
    )


def make_key(arguments: argparse.Namespace, settings: Config) -> int:
    """Make a key that signs, and print the half that speakers pin.

    Raises:
        UsageError: there is a file of this name already.
        Unavailable: it cannot be written.
    """
    del settings
    path = Path(arguments.file)
    if path.exists():
        raise UsageError(f"{path} is there already", "a release key is never replaced")
    made = Ed25519PrivateKey.generate()
    write_atomic(path, keys.device_pem(made))
    print(keys.device_text(made.public_key()))
    return 0


def make_release(arguments: argparse.Namespace, settings: Config) -> int:
    """Make a release of a folder, and say what is in it.

    Raises:
        ConfigError: the key is none.
        UsageError: the folder makes no release.
        BadRelease: what was asked for contradicts itself.
        Unavailable: a file cannot be read or written.
    """
    del settings
    source = Path(arguments.source)
    try:
        signer = keys.parse_device_pem(Path(arguments.key).read_bytes(), arguments.key)
    except OSError as error:
        raise Unavailable(f"cannot read {arguments.key}: {error.strerror}") from error
    given: dict[str, Any] = {
        "version": _only_version(source),
        "least": arguments.least,
        "machine": arguments.machine,
        "pythons": [
            path.name.partition("-")[0]
            for path in sorted(source.glob(f"lock/*-{arguments.machine}.txt"))
        ],
        "summary": arguments.summary,
        "parts": [{"name": file.MAKER, "bytes": 1, "sha256": "0" * 64}],
    }
    try:
        manifest = msgspec.convert(given, ReleaseManifest)
    except msgspec.ValidationError as error:
        raise UsageError(f"this makes no release: {error}") from error
    whole = unpacking.pack_release(source, Path(arguments.to), signer, manifest)
    print(
        f"{arguments.to}: {whole.version} for {whole.machine}, Python {', '.join(whole.pythons)},"
        f" {len(whole.parts)} parts, {whole.total_bytes} bytes"
    )
    return 0


def _only_version(source: Path) -> str:
    found = [path.name.split("-")[1] for path in source.glob("wheels/earmark-*.whl")]
    if len(found) != 1:
        raise UsageError(f"there must be one wheel of earmark in {source / 'wheels'}")
    return found[0]
