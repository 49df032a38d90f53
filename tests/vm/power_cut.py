"""``make power-cut``: the power is cut while a speaker and its archive write, again and again.

Always the same state disk, so that what one cut broke the next would find. After each cut the disk
is looked at twice: by e2fsck here, and by the installed code in the next boot of the machine. What
was told to be safe before any cut must be there, to the byte.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.vm.build import BUILD, build
from tests.vm.card import Card, CardServer, Cut
from tests.vm.machine import Built, Machine
from tests.vm.transcript import Transcript

WHOLE_BOOT_EACH: Final = 17
STATE_MIB: Final = 192
UNITS: Final = "mosquitto earmark-archive earmark-send earmark-hear"
WORDS: Final = ("init=/usr/lib/earmark-vm/cut",)
FULL_WORDS: Final = ("systemd.unit=basic.target", "systemd.wants=earmark-vm.service")
_TOLD: Final = re.compile(
    r"cut: (?:(put) ([0-9]+)|(kept|spool|archive)) ([0-9a-f-]{36}) ([0-9a-f]{16})$"
)
_SAID: Final = re.compile(r"cut: (next|device|mended|strays|roster|counts) (.+)$")


class Broken(Exception):
    """A cut broke something that must hold."""


@dataclass(slots=True)
class Known:
    """What the machine told before it was killed, over all its lives."""

    put: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    most_seq: int = 0
    device: str = ""

    def take(self, line: str) -> None:
        """Note what a line promises."""
        if told := _TOLD.search(line):
            put, seq, kind, clip, digest = told.groups()
            if put:
                if int(seq) <= self.most_seq:
                    raise Broken(f"the number {seq} was given twice")
                self.most_seq = int(seq)
                self.put[clip] = digest
            elif kind == "kept":
                self.kept[clip] = digest


@dataclass(slots=True)
class Found:
    """What one boot found on the disk."""

    spool: dict[str, str] = field(default_factory=dict)
    archive: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """Note what a line says to be there."""
        told = _TOLD.search(line)
        if told and told[3] in ("spool", "archive"):
            {"spool": self.spool, "archive": self.archive}[told[3]][told[4]] = told[5]
        elif said := _SAID.search(line):
            self.said[said[1]] = said[2].strip()

    def compare(self, known: Known) -> None:
        """Hold it against what was promised.

        Raises:
            Broken: something is lost, changed, repeated or set aside.
        """
        here = self.spool | self.archive
        lost = [clip for clip, digest in known.put.items() if here.get(clip) != digest]
        unkept = [clip for clip, digest in known.kept.items() if self.archive.get(clip) != digest]
        if lost or unkept:
            raise Broken(f"lost: {len(lost)} clips of the spool, {len(unkept)} of the archive")
        if int(self.said["next"]) <= known.most_seq:
            raise Broken("the sequence went back")
        if known.device not in ("", self.said["device"]):
            raise Broken("the device has another key")
        if self.said["strays"] != "0":
            raise Broken(f"set aside or unfinished: {self.said['strays']}")
        known.device = self.said["device"]
        known.most_seq = int(self.said["next"])


def main(words: Sequence[str] = ()) -> int:
    """Cut, look, and cut again; write the transcript; 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm power-cut")
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=6)
    arguments = parser.parse_args(words)
    told = Transcript()
    built = build()
    folder = Path(tempfile.mkdtemp(prefix="cut-", dir=BUILD))
    try:
        built = _held(built, folder)
        card = Card(_state(built, folder))
        with closing(CardServer(card, folder / "card")):
            cuts = Cuts(built, card, folder, Random(arguments.seed), told)
            try:
                cuts.run(arguments.cuts)
            except Broken as broken:
                told.say(f"BROKEN: {broken}")
                card.save(BUILD / "power-cut-broken.ext4")
                return 1
    finally:
        shutil.rmtree(folder)
    told.write("make power-cut")
    return 0


class Cuts:
    """A machine that is killed again and again, and its one disk."""

    def __init__(
        self, built: Built, card: Card, folder: Path, random: Random, told: Transcript
    ) -> None:
        self._built = built
        self._card = card
        self._folder = folder
        self._random = random
        self._told = told
        self._known = Known()
        self._unflushed = 0
        self._kept = 0

    def run(self, count: int) -> None:
        """Cut so many times; and now and then boot as a whole, with all units.

        Raises:
            Broken: something was lost.
        """
        began_s = time.monotonic()
        self._told.say(" cut  after      unflushed     kept of it  puts told  acks told")
        for number in range(1, count + 1):
            when, cut = self._life(is_hasty=self._random.random() < 0.2)
            self._check_disk()
            self._unflushed += cut.unflushed_sectors
            self._kept += cut.kept_sectors
            self._told.say(
                f"{number:4d}  {when}  {cut.unflushed_sectors:5d} sectors  {cut.kept_sectors:5d}"
                f"          {len(self._known.put):5d}      {len(self._known.kept):5d}"
            )
            if number % WHOLE_BOOT_EACH == 0 or number == count:
                self._whole_boot()
        minutes = (time.monotonic() - began_s) / 60
        self._told.say(
            f"{count} cuts in {minutes:.0f} min: {len(self._known.put)} clips were told to be in"
            f" the spool and {len(self._known.kept)} to be in the archive; none is lost, no"
            f" number was given twice, every file system was whole after its journal."
        )
        self._told.say(
            f"{self._unflushed} unflushed sectors were on the way; {self._kept} of them survived"
        )

    def _life(self, *, is_hasty: bool) -> tuple[str, Cut]:
        """Boot, look at what is there, write, and die."""
        self._card.power_up()
        found, is_checked = Found(), False
        with Machine(self._built, self._disk(), WORDS) as machine:
            until_s = 4 + 12 * self._random.random() if is_hasty else 300.0
            for line in machine.lines(until_s):
                found.take(line)
                self._known.take(line)
                if "WRONG" in line:
                    raise Broken("\n".join(machine.console[-20:]))
                if "cut: checked" in line:
                    is_checked = True
                    found.compare(self._known)
                    if not is_hasty:
                        break
            if not is_hasty and not is_checked:
                raise Broken("it does not boot:\n" + "\n".join(machine.console[-20:]))
            writing_s = 0.3 + 5 * self._random.random()
            if not is_hasty:
                for line in machine.lines(writing_s):
                    self._known.take(line)
                    if "WRONG" in line:
                        raise Broken("\n".join(machine.console[-20:]))
            cut = self._card.cut(self._random)
            machine.kill()
            for line in machine.lines(0.1):
                self._known.take(line)
        when = f"{until_s:4.1f} s boot " if is_hasty else f"{writing_s:4.1f} s write"
        return when, cut

    def _whole_boot(self) -> None:
        """Boot with systemd and all units; what waits in the spool goes to the archive."""
        self._card.power_up()
        began_s = time.monotonic()
        with Machine(self._built, self._disk(), FULL_WORDS) as machine:
            machine.wait_ready(300)
            # The writer is root; the units are not.
            machine.run(
                "mkdir -p /run/state && mount -t ext4 /dev/vdb /run/state"
                " && chown -R earmark-hear:earmark-spool /run/state/earmark"
                " && chown -R earmark-send:earmark-spool /run/state/earmark/send"
                " && chown -R earmark-archive: /run/state/earmark-archive"
                " && mount --bind /run/state/earmark /var/lib/earmark"
                " && mount --bind /run/state/earmark-archive /var/lib/earmark-archive"
            )
            waiting = int(machine.run("ls /var/lib/earmark/spool | grep -c 'earmark$' || :"))
            machine.run(f"systemctl start {UNITS}", timeout_s=300)
            for _ in range(120):
                if (
                    machine.run("ls /var/lib/earmark/spool | grep -c 'earmark$' || :").strip()
                    == "0"
                ):
                    break
                machine.ask("sleep", s=1)
            states = machine.run(f"systemctl is-active {UNITS}", check=False).split()
            if set(states) != {"active"}:
                raise Broken(f"units: {states}\n" + machine.run("journalctl -b -u 'earmark-*'"))
            machine.run("systemctl stop earmark-hear earmark-send earmark-archive", timeout_s=200)
            found = Found()
            checked = machine.run(
                "/opt/earmark/current/bin/python3 /usr/lib/earmark-vm/writes.py /run/state --check",
                timeout_s=300,
            )
            for line in checked.splitlines():
                found.take(line)
            found.compare(self._known)
            if found.spool:
                raise Broken(f"{len(found.spool)} clips never left the spool")
            machine.run("sync; umount -l /var/lib/earmark /var/lib/earmark-archive; sync")
            self._card.flush()
        self._told.say(
            f"      whole boot, {UNITS.replace(' ', ', ')} active: {waiting} waiting clips went to"
            f" the archive, which has {len(found.archive)} ({time.monotonic() - began_s:.0f} s)"
        )

    def _disk(self) -> tuple[str, ...]:
        where = f"nbd+unix:///?socket={self._folder / 'card'}"
        return ("-drive", f"file={where},format=raw,if=virtio,cache=none")

    def _check_disk(self) -> None:
        """Replay the journal of a copy, and have the whole file system looked at."""
        copy = self._folder / "copy.ext4"
        self._card.save(copy)
        for words, allowed in ((("-p",), {0, 1}), (("-fn",), {0})):
            done = subprocess.run(
                ["e2fsck", *words, str(copy)], capture_output=True, text=True, check=False
            )
            if done.returncode not in allowed:
                raise Broken(f"e2fsck {' '.join(words)}: {done.stdout}{done.stderr}")
        copy.unlink()


def _held(built: Built, folder: Path) -> Built:
    """Return the same by names of its own: whoever builds anew meanwhile replaces the others."""
    for path in (built.kernel, built.initrd, built.root):
        (folder / path.name).hardlink_to(path)
    return Built(
        kernel=folder / built.kernel.name,
        initrd=folder / built.initrd.name,
        root=folder / built.root.name,
    )


def _state(built: Built, folder: Path) -> bytes:
    """Return the state disk: the two homes as they were set up."""
    tree, disk = folder / "tree", folder / "state.ext4"
    tree.mkdir()
    for home in ("earmark", "earmark-archive"):
        _run("debugfs", "-R", f"rdump /var/lib/{home} {tree}", str(built.root))
    # The household's own files have no part in this.
    shutil.rmtree(tree / "earmark-archive" / "household", ignore_errors=True)
    _run("mke2fs", "-q", "-t", "ext4", "-L", "STATE", "-d", str(tree), str(disk), f"{STATE_MIB}M")
    contents = disk.read_bytes()
    disk.unlink()
    shutil.rmtree(tree)
    return contents


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
