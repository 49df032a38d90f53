"""Type the lines of a guide: on a laptop (a chroot) and on boards (systemd in namespaces).

``python -m tests.first_day`` types docs/guides/first-day.md, with one board; with the word ``hub``
it types docs/guides/first-day-hub.md, with a hub and a speaker and a network between them.

`ssh` and `scp` are played here: they change the computer, and copy files between two. The card is
carried once, from the laptop to the board. Needs root.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import soundfile

from tests.first_day import guide, systems
from tests.first_day.guide import Line
from tests.units import machine as machines
from tests.units.machine import ROOT, Machine

PATIENCE_S: Final = 900.0
"""Longest time for one line, on a busy machine; not a measurement."""
_SSH: Final = re.compile(r"ssh ada@(hub|kitchen)\.local")
_RECORDING: Final = ROOT / "tests" / "fixtures" / "alexa_twice.flac"
_SCP: Final = re.compile(
    r"scp (?:-r )?(?:ada@(\w+)\.local:)?(\S+) (?:(?:ada@(\w+)\.local:)(\S*)|(\S+))"
)
_BOARDS: Final = {"the board": "kitchen", "the speaker": "kitchen", "the hub": "hub"}
"""Names of the boards by the places in the guides."""
_HUB_UNITS: Final = ("mosquitto", "earmark-archive")
_SPEAKER_UNITS: Final = ("earmark-send", "earmark-hear")


class Day:
    """The laptop, and each board once it has started."""

    def __init__(self, stack: ExitStack, hosts: Mapping[str, str]) -> None:
        self._stack = stack
        self._hosts = hosts
        self._has_hub = "hub.local" in hosts
        self.laptop = systems.make_root("laptop", "laptop", hosts)
        shutil.copytree(ROOT / "dist", self.laptop / "home/ada/dist")
        self.card = self.laptop / systems.CARD.lstrip("/")
        self.card.mkdir(parents=True)
        # A computer in use knows Debian's packages; the boards do not yet.
        systems.must("chroot", str(self.laptop), "apt-get", "update")
        systems.must("chroot", str(self.laptop), "chown", "-R", "ada:", "/home/ada", systems.CARD)
        self.boards: dict[str, Machine] = {}
        """The boards that run, by name."""
        self.printed = ""
        """What the lines printed so far."""
        self._waiting: subprocess.Popen[str] | None = None
        """A line that waits for the speaker in a terminal of its own."""
        if self._has_hub:
            self._start_board("hub")  # it is always on

    def type(self, line: Line) -> None:
        """Type a line and wait until it ends; `…` stands for what was printed before."""
        text = line.text.replace("age1…", self._public_key())
        print(f"{line.place}$ {text}", flush=True)
        if entered := _SSH.fullmatch(text):
            if entered[1] not in self.boards:
                self._start_board(entered[1])
            return
        if text == "yes":
            return  # the answer to ssh
        if copied := _SCP.fullmatch(text):
            self._copy(*copied.groups())
            return
        words = self._words(line.place, text)
        if " --card " in text:
            self._begin_waiting(words)
            return
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )
        self.printed += done.stdout + done.stderr
        print(done.stdout + done.stderr, flush=True)
        if done.returncode != 0:
            self._fail(f"exit code {done.returncode}: {text}")

    def wait_for_speaker(self) -> None:
        """Wait until the services of the boards run, as a person does who reads what is printed."""
        kitchen = self.boards["kitchen"]
        hub = self.boards.get("hub", kitchen)
        if self._waiting is not None:
            printed, _ = self._waiting.communicate(timeout=PATIENCE_S)
            print(printed, flush=True)
            if self._waiting.returncode != 0:
                self._fail("the hub's line that waited for the speaker failed")
        for board, units in ((hub, _HUB_UNITS), (kitchen, _SPEAKER_UNITS)):
            for unit in units:
                self._wait(partial(_is_active, board, unit), unit)

    def wait_for_clip(self) -> None:
        """Wait until the archive has the clip."""
        hub = self.boards.get("hub", self.boards["kitchen"])
        words = ("earmark", "archive", "list", "--json")
        self._wait(lambda: hub.ask(*words, user="earmark-archive").stdout, "a clip")

    def exported_sounds(self) -> list[Path]:
        """Return the sounds that the owner can play."""
        return sorted((self.laptop / "home/ada/my-clips").rglob("*.flac"))

    def _start_board(self, name: str) -> None:
        """Start a board; carry the card to it before, if it is the speaker."""
        root = systems.make_root(name, name, self._hosts)
        if name == "kitchen":
            systems.make_card(root)
            boot = root / systems.BOOT.lstrip("/")
            shutil.copytree(self.card, boot, dirs_exist_ok=True)
            systems.plug_in_recording(root, _said())
        self.boards[name] = self._stack.enter_context(machines.started(root))
        if name == "kitchen" and self._has_hub:
            systems.connect(self.boards["hub"].first, self.boards["kitchen"].first)

    def _public_key(self) -> str:
        found = re.findall(r"age1[0-9a-z]{58}", self.printed)
        return found[0] if found else "age1…"

    def _words(self, place: str, text: str) -> list[str]:
        if place == "your computer":
            # It is in the network of a board that runs, if there is one.
            first = next((board.first for board in self.boards.values()), None)
            return list(systems.in_root(self.laptop, text, first))
        text = f"export HOME=/home/ada; cd; {text}"
        return self.boards[_BOARDS[place]].words("sh", "-c", text, user="ada")

    def _begin_waiting(self, words: list[str]) -> None:
        """Start a line that waits for the speaker in a terminal of its own."""
        self._waiting = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if self._waiting.stdout is None:
            raise TypeError(words)
        for printed in self._waiting.stdout:
            print(printed, end="", flush=True)
            if "waiting for" in printed:
                return
        self._fail("the hub does not wait for the speaker")

    def _copy(
        self, from_board: str | None, source: str, to_board: str | None, target: str, local: str
    ) -> None:
        """Copy a file or a folder between ada's folders on two computers."""
        if from_board is not None:
            data = self.boards[from_board].run("cat", f"/home/ada/{source}")
            folder = self.card if local.startswith(systems.CARD) else self.laptop / "home/ada"
            (folder / source).write_text(data)
            systems.must("chroot", str(self.laptop), "chown", "-R", "ada:", "/home/ada")
            return
        if to_board is None:
            self._fail(f"scp of {source} to the same computer")
        board = self.boards[to_board]
        start = self.laptop / "home/ada" / source
        for path in [*start.rglob("*")] if start.is_dir() else [start]:
            to = f"/home/ada/{target}{path.relative_to(start.parent)}"
            board.run("install", "-D", "-m", "0644", "/dev/null", to)
            board.put(to, path.read_bytes())

    def _wait(self, holds: Callable[[], object], what: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > until_s:
                self._fail(f"never: {what}")
            time.sleep(0.5)

    def _fail(self, message: str) -> NoReturn:
        for name, board in self.boards.items():
            lately = board.ask("journalctl", "--no-pager", "--lines", "80").stdout
            print(f"{name}:\n{lately}")
        sys.exit(f"first day: error: {message}")


def main() -> int:
    """Type the guide; return 0 when the owner has a clip to hear."""
    if os.geteuid() != 0:
        sys.exit("first day: error: root is required: it makes namespaces and chroots")
    if sys.argv[1:] == ["hub"]:
        file, most, hosts = guide.HUB_GUIDE, guide.MOST_HUB_LINES, systems.TWO_BOARDS
    else:
        file, most, hosts = guide.GUIDE, guide.MOST_LINES, systems.ONE_BOARD
    lines = guide.read_lines(file.read_text("utf-8"))
    if found := guide.faults(lines, most):
        sys.exit(f"first day: error: {'; '.join(found)}")
    systems.build_package()
    with ExitStack() as stack:
        day = Day(stack, hosts)
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
    sound, rate_hz = soundfile.read(_RECORDING, dtype="int16", start=17_920, stop=113_920)
    said = io.BytesIO()
    soundfile.write(said, sound, rate_hz, format="FLAC", subtype="PCM_16")
    return said.getvalue()


def _is_active(board: Machine, unit: str) -> bool:
    return board.show(unit, "ActiveState") == "active"


if __name__ == "__main__":
    sys.exit(main())
