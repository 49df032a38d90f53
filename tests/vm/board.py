"""The card's image in a card reader, and the emulated boards that start from it."""

import hashlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.vm.build import BUILD
from tests.vm.transcript import Transcript, plain

IMAGE: Final = BUILD / "image" / "disk.img"
FAT: Final = "@@4M"
"""Offset of the boot partition, in mtools' notation."""
LONGEST_S: Final = 900.0
OURS: Final = re.compile(
    r"^\[ *([0-9.]+)\] (?:"
    r"(Machine model.*|EXT4-fs \([a-z0-9]+\): mounted.*|input: earmark.*)"
    r"|systemd\[1\]: ((?:Found|Timed out|Mounted|Starting|Started|Finished|Failed).*earmark.*)"
    r"|earmark\[[0-9]+\]: ((?:hear|mute|lost|found|earmark:) .*))"
)
"""Console lines for the transcript: mounts and devices of the kernel, and Earmark's own lines."""


class Failed(Exception):
    """A condition does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What is emulated.

    Args:
        name: as people call it.
        machine: as QEMU does.
        options: for QEMU besides; the last is the drive without its file.
        words: for the kernel, after those of the card.
        hears: what hear says once it is up, as a regular expression; there is no sound on any.
        tree: of the card's device trees; overlays are put into it as the card's config.txt says.
    """

    name: str
    machine: str
    options: tuple[str, ...]
    words: tuple[str, ...]
    hears: str
    tree: str = ""


class Card:
    """A copy of the image, as a computer with a card reader sees it, and a board that starts it."""

    def __init__(self, board: Board, folder: Path) -> None:
        self._board = board
        self._folder = folder
        self._image = folder / "card.img"
        subprocess.run(["cp", "--sparse=always", str(IMAGE), str(self._image)], check=True)
        boot = folder / "boot"
        boot.mkdir()
        self._mtools("mcopy", "-s", "::/*", str(boot))
        self._boot = boot
        self._log = BUILD / f"image-console-{board.name}.log"
        self._log.unlink(missing_ok=True)

    def put(self, name: str, text: str) -> None:
        """Write a file to the boot partition."""
        path = self._folder / name
        path.write_text(text)
        self._mtools("mcopy", "-o", str(path), f"::/{name}")

    def get(self, name: str) -> str:
        """Read a file of the boot partition."""
        return self._mtools("mtype", f"::/{name}").replace("\r", "")

    def names(self) -> list[str]:
        """Return the names of Earmark's files on the boot partition."""
        listed = self._mtools("mdir", "-b", "::/").splitlines()
        names = sorted(line.strip().removeprefix("::/") for line in listed)
        return [name for name in names if name.startswith("earmark")]

    def root(self) -> str:
        """Return the second partition's digest."""
        done = subprocess.run(
            ["sfdisk", "--json", str(self._image)], capture_output=True, text=True, check=True
        )
        root = json.loads(done.stdout)["partitiontable"]["partitions"][1]
        return _digest(self._image, root["start"] * 512, root["size"] * 512)

    def start(self, told: Transcript, is_enough: Callable[[str], bool]) -> None:
        """Start the board, tell what is ours on its console, and cut its power when it is enough.

        Raises:
            Failed: it did not come so far.
        """
        began_s = time.monotonic()
        for line in self._console():
            if ours := OURS.search(line):
                told.say(f"  {float(ours[1]):6.1f} s  {next(filter(None, ours.groups()[1:]))}")
            if is_enough(line):
                told.say(f"  power off, {time.monotonic() - began_s:.0f} s of ours after it was on")
                return
            if time.monotonic() - began_s > LONGEST_S:
                break
        raise Failed("it did not come so far")

    def _console(self) -> Iterator[str]:
        words = (self._boot / "cmdline.txt").read_text().split()
        *options, drive = self._board.options
        process = subprocess.Popen(
            [
                *("qemu-system-aarch64", "-M", self._board.machine),
                *("-nodefaults", "-display", "none", "-no-reboot", *options),
                *("-kernel", str(self._boot / "vmlinuz")),
                *("-initrd", str(self._boot / "initrd.img"), *self._tree()),
                *("-append", " ".join((*words, *self._board.words))),
                *("-drive", f"file={self._image},format=raw,{drive}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            assert process.stdout is not None
            with self._log.open("ab") as log:
                for line in process.stdout:
                    log.write(line)
                    log.flush()
                    yield plain(line.decode(errors="replace").rstrip())
        finally:
            process.kill()
            process.wait()

    def _tree(self) -> tuple[str, ...]:
        """Do what the GPU's boot code would: the overlays of config.txt, into the board's tree."""
        if not self._board.tree:
            return ()
        tree = self._folder / "board.dtb"
        config = (self._boot / "config.txt").read_text()
        names = re.findall(r"^dtoverlay=([a-z0-9-]+)$", config, re.MULTILINE)
        overlays = [str(self._boot / "overlays" / f"{name}.dtbo") for name in names]
        base = str(self._boot / self._board.tree)
        subprocess.run(["fdtoverlay", "-i", base, "-o", str(tree), *overlays], check=True)
        return "-dtb", str(tree)

    def _mtools(self, *words: str) -> str:
        command = [words[0], "-i", f"{self._image}{FAT}", *words[1:]]
        done = subprocess.run(
            command,
            env={"PATH": "/usr/bin:/bin", "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{words[0]}: {done.stderr.strip()}")
        return done.stdout


def _digest(path: Path, offset: int, length: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(offset)
        while length and (data := file.read(min(length, 1 << 22))):
            digest.update(data)
            length -= len(data)
    return digest.hexdigest()
