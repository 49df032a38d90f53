"""``earmark first-boot``: sets up a speaker from a file on its boot partition."""

import argparse
import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Final

from listener.cli.main import SYSTEM_CONFIG, with_examples
from listener.config import Config
from listener.doctor.startup import check_startup
from listener.firstboot.partition import CHALLENGE, NAME, RESULT, Partition
from listener.firstboot.steps import FirstBoot
from listener.storage.home import Home

BOOT: Final = "/boot/firmware"

_ROUND: Final = f"""\
Sets up a speaker without keyboard and SSH; systemd runs it at each start:

  1  on any computer, write a file {NAME} to the boot partition of the card:

       [household]
       line = "earmark-join-1:..."     printed by: earmark household add-device kitchen

       [owner]
       name = "ada"
       key = "age1..."                 printed by: age-keygen -y ada.key

       [wake]
       words = ["hey-jarvis"]

     and any other key of docs/reference/earmark.example.toml, such as [microphone]
     device. earmark household add-device kitchen --card DIR --keeper ada writes it, too
  2  start the speaker with the card, wait two minutes, shut it down
  3  read {RESULT} on the card: what was applied, what is wrong, and what to do;
     {CHALLENGE} is the owner's challenge: age -d -i ada.key {CHALLENGE}
  4  write the answer to {NAME} on the card, and start the speaker again:

       [owner]
       answer = "ada:..."

An applied file is overwritten and removed from the card. A wrong file stays, to be corrected.
Exit codes: 0 done or nothing to do, 1 something is wrong, 69 the household cannot be reached now
(try again later), 78 the file is wrong.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark first-boot``."""
    parser.epilog = with_examples(
        _ROUND,
        "sudo earmark first-boot",
        "earmark first-boot --boot /mnt/boot --settings /etc/earmark/earmark.toml",
    )
    parser.add_argument(
        "--boot", default=BOOT, metavar="DIR", help=f"boot partition (default: {BOOT})"
    )
    parser.add_argument(
        "--settings",
        metavar="FILE",
        help="configuration file to write (default: the one of --config)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Apply the file, if there is one, and return the exit code.

    Raises:
        Unavailable: the boot partition or the disk cannot be used.
        ConfigError: the existing configuration is damaged.
    """
    path = Path(arguments.settings or arguments.config or SYSTEM_CONFIG)
    steps = FirstBoot(Partition(Path(arguments.boot)), path, Home(Path(settings.home)))
    outcome = steps.run(partial(check_startup, root=Path("/")))
    if arguments.json:
        report = None if outcome.report is None else dataclasses.asdict(outcome.report)
        print(json.dumps({"exit_code": outcome.exit_code, "report": report}))
    elif outcome.report is None:
        print(f"nothing to apply on {arguments.boot}")
    else:
        print(outcome.report.text(), end="")
    return outcome.exit_code
