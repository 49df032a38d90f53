"""``earmark update``: install a signed release, look whether it hears, and go back where not.

What makes releases: a key, once, and a file of wheels and locks. No speaker needs any of it.
"""

import argparse
import contextlib
import json
import platform
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.cli.main import Subcommands
from listener.config import Config
from listener.envelope import keys
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.release import file, state
from listener.release.file import ReleaseManifest
from listener.storage.atomic import write_atomic
from listener.update import install as steps
from listener.update import package
from listener.update.health import Systemd
from listener.update.install import Trial
from listener.update.package import release_keys
from listener.update.versions import Versions

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
    whole = package.pack_release(source, Path(arguments.to), signer, manifest)
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


_PATIENCE_S: Final = 60.0

_ROUND: Final = """\
an update, from a file that you carried here:

       sudo earmark update check earmark-0.2.0-aarch64.release
       sudo earmark update install earmark-0.2.0-aarch64.release

The file is signed; a release key must be pinned in the settings (update.keys) or have come with
the program. It is unpacked beside the version that runs, tried on a recording, and put in its
place; hear must then score within a minute, else the version before is put back by itself, and the
exit code is 1. A power cut on the way leaves the version before. Nothing here uses the network.

who makes releases:
       earmark update key release.key             once; prints the public half, to be pinned
       earmark update pack SOURCE --key release.key --to FILE
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what follows ``earmark update``."""
    actions = Subcommands(parser, epilog=_ROUND)
    check = actions.add("check", "say whether a release may be installed here; change nothing")
    install = actions.add("install", "install a release, and go back where it does not hear")
    for one in (check, install):
        one.add_argument("file", metavar="FILE", help="the release")
        one.add_argument(
            "--allow-downgrade", action="store_true", help="take one that is older than what ran"
        )
    back = actions.add("rollback", "go back to the version before the last update")
    recover = actions.add("recover", "end an update that a power cut interrupted")
    recover.add_argument(
        "--at-boot", action="store_true", help="restart nothing: the services start afterwards"
    )
    status = actions.add("status", "say which version runs, and how the last update went")
    for one in (install, back):
        one.add_argument(
            "--wait",
            type=_seconds,
            default=_PATIENCE_S,
            metavar="S",
            help=f"so long hear may take to score (default: {_PATIENCE_S:g} s)",
        )
    for one in (check, install, back, recover, status):
        one.add_argument("--folder", metavar="DIR", help="of the versions (default: update.folder)")
        one.add_argument("--json", action="store_true", help="one JSON object a line")
    add_release_actions(actions)


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Do one action; return the exit code.

    Raises:
        EarmarkError: for anything foreseeable.
    """
    actions: dict[str, Callable[[argparse.Namespace, Config], int]] = {
        "check": _check,
        "install": _install,
        "rollback": _roll_back,
        "recover": _recover,
        "status": _status,
        "key": make_key,
        "pack": make_release,
    }
    return actions[arguments.action](arguments, settings)


def _check(arguments: argparse.Namespace, settings: Config) -> int:
    manifest = package.unpack_release(Path(arguments.file), release_keys(settings.update.keys))
    versions = _versions(arguments, settings)
    package.check_allowed(manifest, versions, allow_downgrade=arguments.allow_downgrade)
    _print_result(
        arguments,
        f"{manifest.version} may be installed over {versions.current()}"
        + (f": {manifest.summary}" if manifest.summary else ""),
        {"version": manifest.version, "summary": manifest.summary, "bytes": manifest.total_bytes},
    )
    return 0


def _install(arguments: argparse.Namespace, settings: Config) -> int:
    trusted = release_keys(settings.update.keys)
    versions = _versions(arguments, settings)
    with versions.lock(), _build_trial(arguments, settings) as trial:
        _finish_previous(arguments, versions)
        noted = steps.install(
            Path(arguments.file),
            trusted,
            versions,
            trial,
            allow_downgrade=arguments.allow_downgrade,
        )
    return _outcome(arguments, versions, noted)


def _roll_back(arguments: argparse.Namespace, settings: Config) -> int:
    versions = _versions(arguments, settings)
    with versions.lock(), _build_trial(arguments, settings) as trial:
        _finish_previous(arguments, versions)
        noted = steps.roll_back(versions, trial)
    return _outcome(arguments, versions, noted)


def _recover(arguments: argparse.Namespace, settings: Config) -> int:
    versions = _versions(arguments, settings)
    with versions.lock():
        done = steps.recover(versions, None if arguments.at_boot else Systemd())
    _print_result(arguments, done or "no update was interrupted", {"done": done})
    return 0


def _finish_previous(arguments: argparse.Namespace, versions: Versions) -> None:
    done = steps.recover(versions, Systemd())
    if done is not None:
        _print_result(arguments, f"the last update was interrupted: {done}", {"done": done})


def _status(arguments: argparse.Namespace, settings: Config) -> int:
    versions = _versions(arguments, settings)
    noted = versions.read()
    shown = state.report_version(versions.current(), state.render(noted))
    parts = [f"{shown.installed} runs"]
    if noted.is_in_progress:
        parts.append(f"{noted.target} is being installed ({noted.phase})")
    elif noted.failed is not None:
        parts.append(f"{noted.failed.version} was taken back: {noted.failed.reason}")
    if noted.previous is not None and not noted.is_in_progress:
        parts.append(f"{noted.previous} is kept to go back to")
    _print_result(
        arguments,
        "; ".join(parts),
        {
            "installed": shown.installed,
            "latest": shown.latest,
            "in_progress": shown.in_progress,
            "phase": noted.phase,
            "previous": noted.previous,
            "highest": noted.highest,
            "failed": None if noted.failed is None else msgspec.to_builtins(noted.failed),
        },
    )
    return 0


def _outcome(arguments: argparse.Namespace, versions: Versions, noted: state.UpdateState) -> int:
    current = versions.current()
    if noted.failed is None:
        _print_result(arguments, f"{current} runs", {"installed": current, "failed": None})
        return 0
    raise EarmarkError(
        f"{noted.failed.version} was taken back: {noted.failed.reason}",
        f"{current} runs again; journalctl -u earmark-hear says why hear did not",
    )


@contextlib.contextmanager
def _build_trial(arguments: argparse.Namespace, settings: Config) -> Iterator[Trial]:
    """Give what a version is tried with, while its recording is a file."""
    options = ["--home", settings.home]
    if arguments.config:
        options += ["--config", arguments.config]
    word = resources.files("listener.selftest").joinpath("word.flac")
    with resources.as_file(word) as recording:
        yield Trial(
            services=Systemd(),
            options=tuple(options),
            recording=recording,
            longest_s=arguments.wait,
            say=lambda text: _print_result(arguments, text, {"step": text}),
        )


def _versions(arguments: argparse.Namespace, settings: Config) -> Versions:
    return Versions(Path(arguments.folder or settings.update.folder))


def _print_result(arguments: argparse.Namespace, text: str, result: dict[str, Any]) -> None:
    print(json.dumps(result) if arguments.json else text, flush=True)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3600:  # noqa: PLR2004 - a minute is usual, an hour absurd
        raise argparse.ArgumentTypeError("1 to 3600")
    return seconds
