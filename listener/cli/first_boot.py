"""``earmark first-boot``: a speaker set up by a file on its boot partition."""

import argparse
from pathlib import Path
from typing import Final

from listener.cli.main import SYSTEM_CONFIG
from listener.config import Config
from listener.firstboot.partition import CHALLENGE, NAME, RESULT, Partition
from listener.firstboot.steps import FirstBoot
from listener.storage.home import Home

BOOT: Final = "/boot/firmware"

_ROUND: Final = f"""\
no keyboard and no SSH are needed; systemd runs this at each start of the speaker:

  1  on any computer, put a file {NAME} on the card's boot partition:

       [household]
       line = "earmark-join-1:..."     printed by: earmark household add-device kitchen

       [owner]
       name = "ada"
       key = "age1..."                 printed by: age-keygen -y ada.key

       [wake]
       words = ["hey-jarvis"]

     and any other setting of docs/reference/earmark.example.toml, such as
     [microphone] device; or let
     earmark household add-device kitchen --card DIR --keeper ada write it there
  2  start the speaker with the card, wait two minutes, shut it down
  3  {RESULT} on the card says what was taken in, what is wrong, and what to do;
     {CHALLENGE} is for ada: age -d -i ada.key {CHALLENGE}
  4  put her answer on the card, in a file {NAME}, and start the speaker again:

       [owner]
       answer = "ada:..."

The file is moved off the card, and overwritten there. One that is wrong stays, to be mended.
Exit codes: 0 done or nothing to do, 1 something is wrong, 69 the household cannot be reached yet
(to be run again), 78 the file is wrong.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``first-boot`` takes."""
    parser.epilog = _ROUND
    parser.add_argument(
        "--boot", default=BOOT, metavar="DIR", help=f"the boot partition (default: {BOOT})"
    )
    parser.add_argument(
        "--settings",
        metavar="FILE",
        help="the settings that are written (default: those of --config)",
    )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Take in what there is; return the exit code.

    Raises:
        Unavailable: the boot partition or the disk cannot be used.
        ConfigError: the settings that are there already are damaged.
    """
    path = Path(arguments.settings or arguments.config or SYSTEM_CONFIG)
    outcome = FirstBoot(Partition(Path(arguments.boot)), path, Home(Path(settings.home))).run()
    if outcome.report is None:
        print(f"there is nothing on {arguments.boot} to take in")
    else:
        print(outcome.report.text(), end="")
    return outcome.exit_code
