"""Type the lines of the guide: on a laptop (a chroot) and on a board (systemd in namespaces).

`ssh` and `scp` are played here: they change the computer, and copy files between the two. The card
is carried once, from the laptop to the board. Needs root.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import soundfile

from tests.first_day import guide, systems
from tests.first_day.guide import Line
from tests.units import machine as machines
from tests.units.machine import ROOT, Machine

PATIENCE_S: Final = 900.0
"""Longest time for one line, on a busy machine; not a measurement."""
_SSH: Final = "ssh ada@kitchen.local"
_SCENE: Final = ROOT / "listener" / "demo" / "scene.flac"
_SCP: Final = re.compile(r"scp (?:ada@kitchen\.local:)?(\S+) (\S+)")


class Day:
    """The laptop, and the board once the card is in it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.laptop = systems.make_root("laptop", "laptop")
        shutil.copytree(ROOT / "dist", self.laptop / "home/ada/dist")
        self.card = self.laptop / systems.CARD.lstrip("/")
        self.card.mkdir(parents=True)
        # A computer in use knows Debian's packages; the board does not yet.
        systems.must("chroot", str(self.laptop), "apt-get", "update")
        systems.must("chroot", str(self.laptop), "chown", "-R", "ada:", "/home/ada", systems.CARD)
        self.board: Machine | None = None
        self.printed = ""
        """What the lines printed so far."""

    def start_board(self) -> None:
        """Carry the card to the board, and start it."""
        root = systems.make_root("board", "kitchen")
        systems.make_card(root)
        shutil.copytree(self.card, root / systems.BOOT.lstrip("/"), dirs_exist_ok=True)
        systems.plug_in_recording(root, _said())
        self.board = self._stack.enter_context(machines.started(root))

    def type(self, line: Line) -> None:
        """Type a line and wait until it ends; `…` stands for what was printed before."""
        text = line.text.replace("age1…", self._public_key())
        print(f"{line.place}$ {text}", flush=True)
        if text == _SSH:
            self.start_board()
            return
        if text == "yes":
            return  # the answer to ssh
        if copied := _SCP.fullmatch(text):
            self._copy(copied[1], copied[2])
            return
        done = subprocess.run(
            self._words(line.place, text),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )
        self.printed += done.stdout + done.stderr
        print(done.stdout + done.stderr, flush=True)
        if done.returncode != 0:
            if self.board is not None:
                print(self.board.ask("journalctl", "--no-pager", "--lines", "80").stdout)
            sys.exit(f"first day: error: exit code {done.returncode}: {text}")

    def wait_for_speaker(self) -> None:
        """Wait until the services of the board run, as a person does who reads what was printed."""
        board = self._running_board()
        for unit in ("mosquitto", "earmark-archive", "earmark-send", "earmark-hear"):
            _wait(partial(_is_active, board, unit), unit, board)

    def wait_for_clip(self) -> None:
        """Wait until the archive has the clip."""
        board = self._running_board()
        words = ("earmark", "archive", "list", "--json")
        _wait(lambda: board.ask(*words, user="earmark-archive").stdout, "a clip", board)

    def exported_sounds(self) -> list[Path]:
        """Return the sounds that the owner can play."""
        return sorted((self.laptop / "home/ada/my-clips").rglob("*.flac"))

    def _running_board(self) -> Machine:
        if self.board is None:
            sys.exit("first day: error: the board is not running")
        return self.board

    def _public_key(self) -> str:
        found = re.findall(r"age1[0-9a-z]{58}", self.printed)
        return found[0] if found else "age1…"

    def _words(self, place: str, text: str) -> list[str]:
        first = None if self.board is None else self.board.first
        if place == "your computer":
            return list(systems.in_root(self.laptop, text, first))
        text = f"export HOME=/home/ada; cd; {text}"
        return self._running_board().words("sh", "-c", text, user="ada")

    def _copy(self, source: str, target: str) -> None:
        """Copy a file between ada's folders on the two computers."""
        board = self._running_board()
        if target == ".":
            data = board.run("cat", f"/home/ada/{source}")
            (self.laptop / "home/ada" / source).write_text(data)
            systems.must("chroot", str(self.laptop), "chown", "ada:", f"/home/ada/{source}")
            return
        board.write(f"/home/ada/{source}", (self.laptop / "home/ada" / source).read_text())


def main() -> int:
    """Type the guide; return 0 when the owner has a clip to hear."""
    if os.geteuid() != 0:
        sys.exit("first day: error: root is required: it makes namespaces and chroots")
    lines = guide.read_lines(guide.GUIDE.read_text("utf-8"))
    if found := guide.faults(lines):
        sys.exit(f"first day: error: {'; '.join(found)}")
    systems.build_package()
    with ExitStack() as stack:
        day = Day(stack)
        for line in lines:
            if "add-owner" in line.text:
                day.wait_for_speaker()
            if "clips" in line.text:
                day.wait_for_clip()
            day.type(line)
        seconds = list(_audible_s(day.exported_sounds()))
    if not seconds:
        sys.exit("first day: error: no clip with sound was exported")
    print(f"{len(lines)} lines, one trip of the card: a clip of {seconds[0]:.1f} s is heard")
    return 0


def _audible_s(sounds: list[Path]) -> Iterator[float]:
    """Yield the length of each sound that is not silent, in seconds."""
    for path in sounds:
        samples, rate_hz = soundfile.read(path)
        if abs(samples).max() > 0.01:  # of full scale
            yield len(samples) / rate_hz


def _said() -> bytes:
    """Return a recording of "Alexa, set a timer for ten minutes", as FLAC."""
    sound, rate_hz = soundfile.read(_SCENE, dtype="int16", start=192_000, stop=288_000)
    said = io.BytesIO()
    soundfile.write(said, sound, rate_hz, format="FLAC", subtype="PCM_16")
    return said.getvalue()


def _is_active(board: Machine, unit: str) -> bool:
    return board.show(unit, "ActiveState") == "active"


def _wait(holds: Callable[[], object], what: str, board: Machine) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > until_s:
            print(board.ask("journalctl", "--no-pager", "--lines", "80").stdout)
            sys.exit(f"first day: error: never: {what}")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
