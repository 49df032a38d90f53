"""``earmark household backup`` and ``restore``: the hub's data in one file, and back."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from listener import config
from listener.archive import backup
from listener.archive.backup import BackupReport
from listener.cli.main import Subcommands
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
            "the roster, the archive's key and the household's certificate authority. No key that\n"
            "decrypts a clip is on the hub, so none is in a backup. A person who has one\n"
            "can control the household: keep it locked away."
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
            "install.sh --hub has run, it restores everything. On the hub that made the backup it\n"
            "restores only clips whose files are missing and that were not erased; roster,\n"
            "erasures and access log stay as they are. It refuses the hub of another household."
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
    report = backup.back_up(home.path, Path(arguments.file))
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
    report = backup.restore(home.path, path)
    _show(report, arguments, f"restored {path}" if not report.is_merged else "restored")
    if arguments.json:
        return 0
    if report.is_merged:
        print("this is the hub of the backup: only clips whose files were missing were restored")
        print("next: sudo systemctl start earmark-archive")
    else:
        print("next: sudo earmark household init --system, then restart mosquitto and the archive")
        print(
            "each owner: earmark clips erase --receipts, which erases again what was erased since"
        )
    return 0


def _show(report: BackupReport, arguments: argparse.Namespace, done: str) -> None:
    if arguments.json:
        print(json.dumps(asdict(report)))
        return
    print(
        f"{done}: {quantity(report.clips, 'clip')}, {quantity(len(report.owners), 'owner')},"
        f" {quantity(len(report.devices), 'speaker')}, {report.length_bytes / _MIB_BYTES:.1f} MiB"
    )
