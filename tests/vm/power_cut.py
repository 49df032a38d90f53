"""``make power-cut``: the power is cut while a speaker and its archive write, again and again.

Always the same state disk, so that what one cut broke the next would find. A machine that boots
takes a while, so most cuts are glimpses: the disk as it would be found if the power were cut now,
taken from the running machine, and read here. Every so often it is cut: the machine is killed, and
boots again from what it left. A cut comes with a write, since between writes nothing is at stake.
What was told to be safe before a cut must be there after it, to the byte.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.vm.build import BUILD, GUEST, ROOT, build
from tests.vm.card import Card, CardServer, Cut
from tests.vm.machine import Built, Machine
from tests.vm.transcript import Transcript

STATE_MIB: Final = 96
BOOT_S: Final = 600.0
MOST_WRITES: Final = 400
"""Between two cuts; a clip, from its number to the index, is some fifty."""
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

    def copy(self) -> "Known":
        """Return what is known now."""
        return Known(dict(self.put), dict(self.kept), self.most_seq, self.device)

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
    parser.add_argument("--each", type=int, default=5, help="of how many cuts one is a kill")
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
                cuts.run(arguments.cuts, arguments.each)
            except Broken as broken:
                told.say(f"BROKEN: {broken}")
                card.power_up()
                (BUILD / "power-cut-broken.ext4").write_bytes(card.read(0, card.size_bytes))
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
        self._number = 0
        self._kills = 0

    def run(self, count: int, each: int) -> None:
        """Cut so many times; one cut in ``each`` is a kill. Then boot as a whole.

        Raises:
            Broken: something was lost.
        """
        began_s = time.monotonic()
        self._told.say(
            " cut  unflushed sectors  kept of them  puts told  acks told  found after it"
        )
        while self._number < count:
            self._life(min(each, count - self._number) - 1)
        self._whole_boot()
        minutes = (time.monotonic() - began_s) / 60
        self._told.say(
            f"{count} cuts, {self._kills} of them kills, in {minutes:.0f} min:"
            f" {len(self._known.put)} clips were told to be in the spool and"
            f" {len(self._known.kept)} to be in the archive. None is lost, no number was given"
            " twice, each file system was whole once its journal was replayed."
        )
        self._told.say(
            f"{self._unflushed} unflushed sectors were on the way; {self._kept} of them survived."
        )

    def _life(self, glimpses: int) -> None:
        """Boot, look at what is there, write; take glimpses; die; look at all of them."""
        self._card.power_up()
        found = Found()
        seen: list[tuple[Known, bytes, Cut]] = []
        with Machine(self._built, self._disk(), WORDS) as machine:
            for line in machine.lines(BOOT_S):
                self._listen(line, machine)
                found.take(line)
                if "cut: checked" in line:
                    break
            else:
                raise Broken("it does not boot:\n" + "\n".join(machine.console[-20:]))
            found.compare(self._known)
            self._told.say(
                f"      booted: {len(found.spool)} in the spool, {len(found.archive)} archived"
            )
            seen.extend(self._caught(machine, is_cut=False) for _ in range(glimpses))
            seen.append(self._caught(machine, is_cut=True))
            machine.kill()
            self._kills += 1
            for line in machine.lines(0.1):
                self._known.take(line)
        for at, (known, contents, cut) in enumerate(seen):
            self._look(contents, known, cut, "kill" if at == glimpses else "glimpse")

    def _caught(self, machine: Machine, *, is_cut: bool) -> tuple[Known, bytes, Cut]:
        """Let it write until a random write; return what was known before, and what remains."""
        self._card.arm(self._random.randint(1, MOST_WRITES), self._random, is_cut=is_cut)
        before = self._known.copy()
        until_s = time.monotonic() + BOOT_S
        while time.monotonic() < until_s:
            now = self._known.copy()
            if (caught := self._card.caught()) is not None:
                # What is told from the cut on may be there or not.
                return before, *caught
            before = now
            for line in machine.lines(0.05):
                self._listen(line, machine)
        raise Broken("it does not write")

    def _listen(self, line: str, machine: Machine) -> None:
        self._known.take(line)
        if "WRONG" in line:
            raise Broken("\n".join(machine.console[-20:]))

    def _look(self, contents: bytes, known: Known, cut: Cut, kind: str) -> None:
        """Hold a disk against what was known when its power went, by the code as it is here."""
        disk, tree = self._folder / "look.ext4", self._folder / "look"
        disk.write_bytes(contents)
        # The journal is replayed; then nothing may be left to mend.
        for words, allowed in ((("-p",), {0, 1}), (("-fn",), {0})):
            done = subprocess.run(
                ["e2fsck", *words, str(disk)], capture_output=True, text=True, check=False
            )
            if done.returncode not in allowed:
                raise Broken(f"e2fsck {' '.join(words)}: {done.stdout}{done.stderr}")
        tree.mkdir()
        _run("debugfs", "-R", f"rdump / {tree}", str(disk))
        done = subprocess.run(
            [sys.executable, str(GUEST / "writes.py"), str(tree), "--check"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Broken(done.stdout[-2000:] + done.stderr[-2000:])
        found = Found()
        for line in done.stdout.splitlines():
            found.take(line)
        found.compare(known)
        shutil.rmtree(tree)
        disk.unlink()
        self._number += 1
        self._unflushed += cut.unflushed_sectors
        self._kept += cut.kept_sectors
        self._told.say(
            f"{self._number:4d}  {cut.unflushed_sectors:17d}  {cut.kept_sectors:12d}"
            f"  {len(known.put):9d}  {len(known.kept):9d}"
            f"  {len(found.spool)} + {len(found.archive)}, {kind}"
        )

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
                " && chmod 2710 /run/state/earmark /run/state/earmark/send"
                " && chmod 2770 /run/state/earmark/spool"
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
    # Which debugfs forgets, and which says that hear and send share the folder.
    for shared, mode in (("", 0o2710), ("spool", 0o2770), ("send", 0o2710)):
        (tree / "earmark" / shared).chmod(mode)
    # The household's own files have no part in this.
    shutil.rmtree(tree / "earmark-archive" / "household", ignore_errors=True)
    _run("mke2fs", "-q", "-t", "ext4", "-L", "STATE", "-d", str(tree), str(disk), f"{STATE_MIB}M")
    contents = disk.read_bytes()
    disk.unlink()
    shutil.rmtree(tree)
    return contents


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
