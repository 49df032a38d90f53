"""``earmark update``: installs a signed release, tries it, and rolls back if hear fails.

``key`` and ``pack`` make the releases; a speaker does not need them.
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

from listener.cli.main import Subcommands, with_examples
from listener.config import Config
from listener.envelope import keys
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.quantities import quantity
from listener.release import file, state
from listener.release.file import ReleaseManifest
from listener.storage.atomic import write_atomic
from listener.update import install, package
from listener.update.health import Systemd
from listener.update.install import Trial
from listener.update.package import release_keys
from listener.update.versions import Versions

_FIRST: Final = "0.1.0"
"""First version that can be updated."""
_HEALTH_WAIT_S: Final = 60.0


def add_release_actions(actions: Subcommands) -> None:
    """Add ``key`` and ``pack`` to the actions of ``earmark update``."""
    key = actions.add(
        "key",
        "for release managers: create a signing key, print its public key",
        "earmark update key release.key",
    )
    key.add_argument("file", metavar="FILE", help="path of the new key; must not exist")
    key.add_argument("--json", action="store_true", help="print one JSON object")
    pack = actions.add(
        "pack",
        "for release managers: make a signed release of wheels and lock files",
        "earmark update pack build/release --key release.key --to earmark-0.2.0-aarch64.release"
        " --machine aarch64",
    )
    pack.add_argument(
        "source", metavar="SOURCE", help="folder with make-environment, wheels/ and lock/"
    )
    pack.add_argument("--key", required=True, metavar="FILE", help="signing key")
    pack.add_argument("--to", required=True, metavar="FILE", help="path of the release")
    pack.add_argument(
        "--least",
        default=_FIRST,
        metavar="V",
        help=f"oldest version that it can replace (default: {_FIRST})",
    )
    pack.add_argument(
        "--summary", default="", metavar="TEXT", help="changes in one line (default: none)"
    )
    pack.add_argument(
        "--machine",
        default=platform.machine(),
        choices=("aarch64", "x86_64"),
        help="architecture (default: this machine's)",
    )
    pack.add_argument("--json", action="store_true", help="print one JSON object")


def make_key(arguments: argparse.Namespace, settings: Config) -> int:
    """Create a signing key and print its public key.

    Raises:
        UsageError: the file exists already.
        Unavailable: it cannot be written.
    """
    del settings
    path = Path(arguments.file)
    if path.exists():
        raise UsageError(f"{path} exists already", "choose another file name")
    key = Ed25519PrivateKey.generate()
    write_atomic(path, keys.device_pem(key))
    public = keys.device_text(key.public_key())
    print(json.dumps({"file": str(path), "key": public}) if arguments.json else public)
    return 0


def make_release(arguments: argparse.Namespace, settings: Config) -> int:
    """Make a release of a folder, and print its content.

    Raises:
        ConfigError: the key file is invalid.
        UsageError: the folder or an option does not make a valid release.
        BadRelease: version, wheels and lock files contradict each other.
        Unavailable: a file cannot be read or written.
    """
    del settings
    source = Path(arguments.source)
    try:
        signer = keys.parse_device_pem(Path(arguments.key).read_bytes(), arguments.key)
    except OSError as error:
        raise Unavailable(f"cannot read {arguments.key}: {error.strerror}") from error
    fields: dict[str, Any] = {
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
        manifest = msgspec.convert(fields, ReleaseManifest)
    except msgspec.ValidationError as error:
        raise UsageError(f"cannot make a release: {error}") from error
    release = package.pack_release(source, Path(arguments.to), signer, manifest)
    if arguments.json:
        print(
            json.dumps(
                {
                    "file": arguments.to,
                    "version": release.version,
                    "machine": release.machine,
                    "pythons": list(release.pythons),
                    "files": len(release.parts),
                    "bytes": release.total_bytes,
                }
            )
        )
        return 0
    print(
        f"{arguments.to}: {release.version} for {release.machine},"
        f" Python {', '.join(release.pythons)}, {quantity(len(release.parts), 'file')},"
        f" {release.total_bytes} bytes"
    )
    return 0


def _only_version(source: Path) -> str:
    versions = [path.name.split("-")[1] for path in source.glob("wheels/earmark-*.whl")]
    if len(versions) != 1:
        raise UsageError(
            f"{source / 'wheels'} has {len(versions)} wheels of earmark instead of one"
        )
    return versions[0]


_ROUND: Final = """\
A release is a signed file. Its key must be pinned in the configuration (update.keys) or be included
in the installed version. It is unpacked beside the installed version, tried on a recording, and
then activated; if hear does not score within the time of --wait, the previous version is restored
and the exit code is 1. After a power cut the previous version runs. No network is used.

for release managers:
       earmark update key release.key             creates the key, prints its public key
       earmark update pack SOURCE --key release.key --to FILE
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``earmark update``."""
    actions = Subcommands(
        parser,
        epilog=with_examples(
            _ROUND,
            "sudo earmark update check earmark-0.2.0-aarch64.release",
            "sudo earmark update install earmark-0.2.0-aarch64.release",
            "earmark update status",
        ),
    )
    check = actions.add(
        "check",
        "verify a release and whether it can be installed here; change nothing",
        "sudo earmark update check earmark-0.2.0-aarch64.release",
    )
    install_parser = actions.add(
        "install",
        "install a release; restore the previous version if hear fails",
        "sudo earmark update install earmark-0.2.0-aarch64.release",
        "sudo earmark update install earmark-0.1.0-aarch64.release --allow-downgrade",
    )
    for action in (check, install_parser):
        action.add_argument("file", metavar="FILE", help="the release")
        action.add_argument(
            "--allow-downgrade",
            action="store_true",
            help="accept a release older than the newest version that ran here",
        )
    rollback = actions.add(
        "rollback",
        "restore the version before the last update",
        "sudo earmark update rollback",
    )
    recover = actions.add(
        "recover",
        "finish or undo an update that was interrupted by a power cut",
        "sudo earmark update recover",
        "earmark update recover --at-boot",
    )
    recover.add_argument(
        "--at-boot", action="store_true", help="do not restart services; they start later"
    )
    status = actions.add(
        "status",
        "print the installed version and the result of the last update",
        "earmark update status",
        "earmark update status --json",
    )
    for action in (install_parser, rollback):
        action.add_argument(
            "--wait",
            type=_seconds,
            default=_HEALTH_WAIT_S,
            metavar="S",
            help=f"time for hear to score, 1 to 3600 seconds (default: {_HEALTH_WAIT_S:g})",
        )
    for action in (check, install_parser, rollback, recover, status):
        action.add_argument(
            "--folder", metavar="DIR", help="folder of the versions (default: update.folder)"
        )
        action.add_argument("--json", action="store_true", help="print one JSON object a line")
    add_release_actions(actions)


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Run one action and return the exit code.

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
        f"{manifest.version} can be installed over {versions.current()}"
        + (f": {manifest.summary}" if manifest.summary else ""),
        {"version": manifest.version, "summary": manifest.summary, "bytes": manifest.total_bytes},
    )
    return 0


def _install(arguments: argparse.Namespace, settings: Config) -> int:
    trusted = release_keys(settings.update.keys)
    versions = _versions(arguments, settings)
    with versions.lock(), _build_trial(arguments, settings) as trial:
        _finish_previous(arguments, versions)
        outcome = install.install(
            Path(arguments.file),
            trusted,
            versions,
            trial,
            allow_downgrade=arguments.allow_downgrade,
        )
    return _print_outcome(arguments, versions, outcome)


def _roll_back(arguments: argparse.Namespace, settings: Config) -> int:
    versions = _versions(arguments, settings)
    with versions.lock(), _build_trial(arguments, settings) as trial:
        _finish_previous(arguments, versions)
        outcome = install.roll_back(versions, trial)
    return _print_outcome(arguments, versions, outcome)


def _recover(arguments: argparse.Namespace, settings: Config) -> int:
    versions = _versions(arguments, settings)
    with versions.lock():
        done = install.recover(versions, None if arguments.at_boot else Systemd())
    _print_result(arguments, done or "no update was interrupted", {"done": done})
    return 0


def _finish_previous(arguments: argparse.Namespace, versions: Versions) -> None:
    done = install.recover(versions, Systemd())
    if done is not None:
        _print_result(arguments, f"the last update was interrupted: {done}", {"done": done})


def _status(arguments: argparse.Namespace, settings: Config) -> int:
    versions = _versions(arguments, settings)
    update = versions.read()
    report = state.report_version(versions.current(), state.render(update))
    parts = [f"{report.installed} is installed"]
    if update.is_in_progress:
        parts.append(f"{update.target} is being installed ({update.phase})")
    elif update.failed is not None:
        parts.append(f"{update.failed.version} was rolled back: {update.failed.reason}")
    if update.previous is not None and not update.is_in_progress:
        parts.append(f"{update.previous} is kept for a rollback")
    _print_result(
        arguments,
        "; ".join(parts),
        {
            "installed": report.installed,
            "latest": report.latest,
            "in_progress": report.in_progress,
            "phase": update.phase,
            "previous": update.previous,
            "highest": update.highest,
            "failed": None if update.failed is None else msgspec.to_builtins(update.failed),
        },
    )
    return 0


def _print_outcome(
    arguments: argparse.Namespace, versions: Versions, outcome: state.UpdateState
) -> int:
    current = versions.current()
    if outcome.failed is None:
        _print_result(arguments, f"{current} is installed", {"installed": current, "failed": None})
        return 0
    raise EarmarkError(
        f"{outcome.failed.version} was rolled back: {outcome.failed.reason}",
        f"{current} runs again; for the cause see journalctl -u earmark-hear",
    )


@contextlib.contextmanager
def _build_trial(arguments: argparse.Namespace, settings: Config) -> Iterator[Trial]:
    """Yield the trial of a version; its recording is a file inside the block."""
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
    if not 1 <= seconds <= 3600:  # noqa: PLR2004 - a minute is usual, an hour is too long
        raise argparse.ArgumentTypeError("not in the range of 1 to 3600 seconds")
    return seconds
