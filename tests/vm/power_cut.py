"""``make power-cut``: the power is cut while a speaker and its archive write, again and again.

Always the same state disk, so that what one cut broke the next would find. Each cut is a kill of
the emulator (SIGKILL) at a random write, since between writes nothing is at stake. The boot after
it looks at everything, and is the run in which the next cut comes. What was told to be safe before
a cut must be there after it, to the byte.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Final

from tests.vm.build import BUILD, build
from tests.vm.card import Card
from tests.vm.machine import Built, Machine
from tests.vm.nbd import CardServer
from tests.vm.promises import Broken, Found, Known
from tests.vm.transcript import Transcript

CUTS: Final = 50
STATE_MIB: Final = 96
BOOT_S: Final = 600.0
MOST_WRITES: Final = 400
"""Between two cuts; a clip, from its number to the index, is some fifty."""
UNITS: Final = "mosquitto earmark-archive earmark-send earmark-hear earmark-play"
WORDS: Final = ("init=/usr/lib/earmark-vm/cut",)
FULL_WORDS: Final = ("systemd.unit=basic.target", "systemd.wants=earmark-vm.service")


def main(words: Sequence[str] = ()) -> int:
    """Cut, look, and cut again; write the transcript; 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm power-cut")
    parser.add_argument("--cuts", type=int, default=CUTS, help="other numbers write no page")
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
                card.power_up()
                (BUILD / "power-cut-broken.ext4").write_bytes(card.read(0, card.size_bytes))
                return 1
    finally:
        shutil.rmtree(folder)
    if arguments.cuts == CUTS:
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
        self._boots_s: list[float] = []

    def run(self, count: int) -> None:
        """Cut so many times, and boot after each. The last boot is one with systemd and all units.

        Raises:
            Broken: something was lost.
        """
        began_s = time.monotonic()
        self._told.say(
            " cut  found before it: spool + archive  boot s  puts told  acks told"
            "  unflushed sectors  kept of them"
        )
        for number in range(1, count + 1):
            self._life(number)
        self._whole_boot()
        minutes = (time.monotonic() - began_s) / 60
        self._told.say(
            f"{count} kills, {count + 1} boots, in {minutes:.0f} min:"
            f" {len(self._known.put)} clips were told to be in the spool and"
            f" {len(self._known.kept)} to be in the archive. None is lost, no number was given"
            " twice, each file system was whole once its journal was replayed."
        )
        self._told.say(
            f"{self._unflushed} unflushed sectors were on the way; {self._kept} of them survived."
            " From the power switch to the end of the look:"
            f" {statistics.median(self._boots_s):.0f} s (median),"
            f" {max(self._boots_s):.0f} s at most."
        )

    def _life(self, number: int) -> None:
        """Boot, hold what is there against what was told, write, and be killed."""
        self._card.power_up()
        found = Found()
        with Machine(self._built, self._disk(), WORDS) as machine:
            for line in machine.lines(BOOT_S):
                self._listen(line, machine)
                found.take(line)
                if "cut: checked" in line:
                    break
            else:
                raise Broken("it does not boot:\n" + "\n".join(machine.console[-20:]))
            boot_s = time.monotonic() - machine.started_s
            self._boots_s.append(boot_s)
            found.compare(self._known)
            self._card.arm(
                self._random.randint(1, MOST_WRITES), self._random, machine.pull_the_plug
            )
            # A plug that is pulled ends the console, and this.
            for line in machine.lines(BOOT_S):
                self._listen(line, machine)
        if (cut := self._card.cut()) is None:
            raise Broken("it does not write:\n" + "\n".join(machine.console[-20:]))
        self._look()
        self._unflushed += cut.unflushed_sectors
        self._kept += cut.kept_sectors
        self._told.say(
            f"{number:4d}  {len(found.spool):23d} + {len(found.archive):7d}  {boot_s:6.0f}"
            f"  {len(self._known.put):9d}  {len(self._known.kept):9d}"
            f"  {cut.unflushed_sectors:17d}  {cut.kept_sectors:12d}"
        )

    def _listen(self, line: str, machine: Machine) -> None:
        self._known.take(line)
        if "WRONG" in line:
            raise Broken("\n".join(machine.console[-20:]))

    def _look(self) -> None:
        """Replay the journal of a copy; after that fsck must find no error."""
        disk = self._folder / "look.ext4"
        self._card.power_up()
        disk.write_bytes(self._card.read(0, self._card.size_bytes))
        for words, allowed in ((("-p",), {0, 1}), (("-fn",), {0})):
            done = subprocess.run(
                ["e2fsck", *words, str(disk)], capture_output=True, text=True, check=False
            )
            if done.returncode not in allowed:
                raise Broken(f"e2fsck {' '.join(words)}: {done.stdout}{done.stderr}")
        disk.unlink()

    def _whole_boot(self) -> None:
        """Boot with systemd and all units; what waits in the spool goes to the archive."""
        self._card.power_up()
        began_s = time.monotonic()
        with Machine(self._built, self._disk(), FULL_WORDS) as machine:
            machine.wait_ready(BOOT_S)
            machine.run("mkdir -p /run/state && mount -t ext4 /dev/vdb /run/state")
            self._check(machine)
            # The writer is root; the units are not.
            machine.run(
                "chown -R earmark-hear:earmark-spool /run/state/earmark"
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
            found = self._check(machine)
            if found.spool:
                raise Broken(f"{len(found.spool)} clips never left the spool")
            machine.run("sync; umount -l /var/lib/earmark /var/lib/earmark-archive; sync")
            self._card.flush()
        self._told.say(
            f"      whole boot, {UNITS.replace(' ', ', ')} active: {waiting} waiting clips went to"
            f" the archive, which has {len(found.archive)} ({time.monotonic() - began_s:.0f} s)"
        )

    def _check(self, machine: Machine) -> Found:
        found = Found()
        checked = machine.run(
            "/opt/earmark/current/bin/python3 /usr/lib/earmark-vm/writes.py /run/state --check",
            timeout_s=300,
        )
        for line in checked.splitlines():
            found.take(line)
        found.compare(self._known)
        return found

    def _disk(self) -> tuple[str, ...]:
        where = f"nbd+unix:///?socket={self._folder / 'card'}"
        return ("-drive", f"file={where},format=raw,if=virtio,cache=none")


def _held(built: Built, folder: Path) -> Built:
    """Return copies under other names, because a new build replaces the originals."""
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
