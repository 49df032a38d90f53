"""The demonstration's clips in a browser: a copy of its archive, and ``earmark demo --browse``."""

import argparse
import contextlib
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.browser_page.page_files import INDEX, built_folder
from listener.cli import clips_browse
from listener.config import Config
from listener.demo.households import KEEPER, DemoHouseholds
from listener.envelope.open import parse_identities
from listener.errors import Unavailable, UsageError
from listener.owner_key.key_card import CardSpeaker, KeyCard
from listener.storage.atomic import SECRET_MODE, make_folders, write_atomic

FOLDER: Final = "household"
"""Folder in that of the decrypted clips: the archive, and the owner's key."""
READY_S: Final = 120.0
_TURN_S: Final = 0.1
_LEFT_OUT: Final = ("*.sock", "*.lock", "lock", "*.log")


def keep_household(homes: DemoHouseholds, to: Path) -> None:
    """Copy the archive, with its ciphertext, and write the key card of the keeper.

    Args:
        homes: the demonstration's, with no archive running.
        to: folder of the decrypted clips.

    Raises:
        Unavailable: it cannot be written.
    """
    folder = to / FOLDER
    try:
        if _archive(folder).exists():
            shutil.rmtree(folder)  # of an earlier demonstration
        make_folders(folder)
        shutil.copytree(homes.archive, _archive(folder), ignore=shutil.ignore_patterns(*_LEFT_OUT))
    except (OSError, shutil.Error) as error:
        raise Unavailable(f"cannot write {folder}", "choose another folder with --to") from error
    devices = homes.run_checked(homes.archive, "household", "devices", "--json").out
    card = KeyCard(
        parse_identities(homes.identity(KEEPER).read_bytes(), KEEPER),
        owner=KEEPER,
        speakers=tuple(
            CardSpeaker(row["device"], row["key"]) for row in map(json.loads, devices.splitlines())
        ),
    )
    write_atomic(_key(folder), card.text().encode(), SECRET_MODE)


def command(to: Path, default: str) -> str:
    """Return the line that shows the clips in a browser.

    Args:
        to: folder of the decrypted clips.
        default: its default.
    """
    if not (built_folder() / INDEX).exists():
        return "this installation has no page; in the repository, make page builds it"
    program = sys.argv[0] if Path(sys.argv[0]).name == "earmark" else "earmark"
    words = [program, "demo", "--browse", *([] if str(to) == default else ["--to", str(to)])]
    return f"to see {KEEPER}'s clips in a browser: {shlex.join(words)}"


def browse(arguments: argparse.Namespace) -> int:
    """Serve the copied archive and the page until Ctrl-C.

    Raises:
        UsageError: there is no copy.
        Unavailable: the archive does not start, or the port is in use.
    """
    folder = (Path(arguments.to) / FOLDER).absolute()
    if not _archive(folder).exists():
        raise UsageError(f"{arguments.to} is not the folder of a demonstration", "earmark demo")
    with _running_archive(_archive(folder)) as socket:
        print(f"the key that the page asks for: {_key(folder)}", flush=True)
        asked = argparse.Namespace(
            owner=KEEPER,
            identity=None,
            archive=str(socket),
            ca=None,
            port=None,
            language=None,
            page=None,
            no_open=arguments.no_open,
            json=False,
        )
        return clips_browse.browse(asked, Config(home=str(folder / "computer")))


@contextlib.contextmanager
def _running_archive(folder: Path) -> Iterator[Path]:
    """Run the archive on a folder; yield its socket, whose path may have 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="earmark-") as short:
        home = Path(short) / "archive"
        home.symlink_to(folder)
        with _archive_process(home) as socket:
            yield socket


@contextlib.contextmanager
def _archive_process(home: Path) -> Iterator[Path]:
    socket = home / "archive.sock"
    words = [sys.executable, "-m", "listener", "archive"]
    words += ["--config", str(home / "earmark.toml"), "--home", str(home)]
    with (home / "archive.log").open("wb") as log:
        # Without a broker, which a list of the clips does not need.
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - a list, never a shell: this program on a home of the demo's
    try:
        until_s = time.monotonic() + READY_S
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > until_s:
                raise Unavailable(
                    "the demonstration's archive does not start",
                    f"read {home.resolve() / 'archive.log'}",
                )
            time.sleep(_TURN_S)
        yield socket
    finally:
        process.terminate()
        process.wait()


def _archive(folder: Path) -> Path:
    return folder / "archive"


def _key(folder: Path) -> Path:
    return folder / f"{KEEPER}.key"
