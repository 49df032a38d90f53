"""``earmark household backup`` and ``restore``: the hub's data in one file, and back."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from listener import config
from listener.archive import backup
from listener.archive.backup import BackupReport
from listener.archive.backup_file import CONFIGURATION
from listener.cli.main import Subcommands, find_hub_config
from listener.quantities import quantity
from listener.storage.home import Home

_MIB_BYTES = 1 << 20


def add_arguments(actions: Subcommands) -> None:
    """Add the actions."""
    saving = actions.add(
        "backup",
        "copy the hub's data into one file; the archive may run meanwhile",
        "sudo earmark household backup /media/usb/hub.tar",
        description=(
            "Copy the hub's data into one file, consistently, while the archive may run: the\n"
            "encrypted clips with their index, the access log, the owners' erasures and settings,\n"
            "the roster, the archive's key, the household's certificate authority, and the\n"
            "archive's configuration. No key that decrypts a clip is on the hub, so none is in a\n"
            "backup. A person who has one can control the household: keep it locked away."
        ),
    )
    saving.add_argument("file", metavar="FILE", help="the new file; an existing one is refused")
    restoring = actions.add(
        "restore",
        "restore a backup on a new hub, or lost clips on the same one; stop the archive first",
        "earmark household restore --check /media/usb/hub.tar",
        "sudo earmark household restore /media/usb/hub.tar",
        description=(
            "Verify a backup, and restore it while the archive is stopped. On a hub where only\n"
            "install.sh --hub has run, it restores everything; a configuration of the archive\n"
            "that it replaces is kept as archive.toml.before-restore. On the hub that made the\n"
            "backup it restores only clips whose files are missing and that were not erased;\n"
            "roster, erasures, access log and configuration stay as they are. It refuses the hub\n"
            "of another household."
        ),
    )
    restoring.add_argument("file", metavar="FILE", help="the backup")
    restoring.add_argument(
        "--check", action="store_true", help="verify the backup and print what it contains only"
    )
    for action in (saving, restoring):
        action.add_argument("--json", action="store_true", help="print one JSON object")


def save(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Write a backup; return 1 if a file of the archive is not whole and was left out."""
    del settings
    report = backup.back_up(home.path, Path(arguments.file), find_hub_config(arguments))
    _show(report, arguments, f"wrote {arguments.file}")
    for name in report.left_out:
        print(f"earmark: not a whole clip, left out: {name}", file=sys.stderr)
    return 1 if report.left_out else 0


def restore(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Restore or verify a backup."""
    del settings
    path = Path(arguments.file)
    if arguments.check:
        _show(backup.inspect(path), arguments, f"{path} is complete")
        return 0
    configuration = find_hub_config(arguments)
    report = backup.restore(home.path, path, configuration)
    _show(report, arguments, f"restored {path}" if not report.is_merged else "restored")
    is_left_out = report.has_configuration and not report.restored_configuration
    if is_left_out and not report.is_merged:
        _say_without_configuration(configuration)
    if arguments.json:
        return 0
    if report.is_merged:
        print("this is the hub of the backup: only clips whose files were missing were restored")
        print("next: sudo systemctl start earmark-archive")
    else:
        if report.restored_configuration:
            print(f"restored {configuration}")
        print("next: sudo earmark household init --system, then restart mosquitto and the archive")
        print(
            "each owner: earmark clips erase --receipts, which erases again what was erased since"
        )
    return 0


def _say_without_configuration(path: Path | None) -> None:
    """Print why the archive's configuration was not restored."""
    print(
        f"earmark: {CONFIGURATION} was not restored: "
        + (
            "no --config names the archive's configuration file"
            if path is None
            else f"this version cannot read it, or it is of another data directory; {path} stays"
            " as it is"
        ),
        file=sys.stderr,
    )


def _show(report: BackupReport, arguments: argparse.Namespace, done: str) -> None:
    if arguments.json:
        print(json.dumps(asdict(report)))
        return
    print(
        f"{done}: {quantity(report.clips, 'clip')}, {quantity(len(report.owners), 'owner')},"
        f" {quantity(len(report.devices), 'speaker')}, {report.length_bytes / _MIB_BYTES:.1f} MiB"
    )
