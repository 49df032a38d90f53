"""The card's image in an emulated 64-bit Arm computer, as a person would set it up.

First start with a key on the boot partition: the speaker answers with a riddle. Second start with
the answer: the owner is confirmed, and the units are up. The board is QEMU's ``virt``, the card is
the real one with its partitions, kernel and initrd; the boot code of the GPU is what is left out.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pyrage

from tests.vm.build import BUILD
from tests.vm.machine import VmError
from tests.vm.transcript import Transcript

IMAGE: Final = BUILD / "image" / "disk.img"
FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "image.md"
FAT: Final = "@@4M"
"""Where the boot partition begins, for mtools."""
LONGEST_S: Final = 1500.0
WORDS: Final = (
    *("root=LABEL=ROOT", "net.ifnames=0", "console=ttyAMA0", "quiet", "panic=-1"),
    # What is not on this board, and would be waited for.
    *(
        "systemd.mask=wpa_supplicant@wlan0.service",
        "systemd.mask=systemd-networkd-wait-online.service",
    ),
    *("systemd.journald.forward_to_console=1", "systemd.journald.max_level_console=info"),
)
UNITS: Final = ("earmark-hear", "earmark-send")


class Failed(Exception):
    """Something that must hold does not."""


def main() -> int:
    """Start twice; write the transcript; 1 when it went wrong."""
    told = Transcript()
    folder = Path(tempfile.mkdtemp(prefix="boot-", dir=BUILD))
    try:
        card = Card(folder)
        _first_start(card, told)
        _second_start(card, told)
    except (Failed, VmError) as failed:
        told.say(f"FAILED: {failed}")
        return 1
    finally:
        shutil.rmtree(folder)
    told.write("image", FILE)
    return 0


def _first_start(card: "Card", told: Transcript) -> None:
    identity = pyrage.x25519.Identity.generate()
    card.put(
        "earmark.toml",
        '[device]\nname = "kitchen"\n\n[mute]\nswitch = "none"\n\n[owner]\nname = "ada"\n'
        f'key = "{identity.to_public()}"\n',
    )
    told.say("first start, earmark.toml with ada's public key on the boot partition:")
    card.start(told, lambda line: "Finished earmark-first-boot.service" in line)
    names = card.names()
    told.say(f"on the boot partition afterwards: {', '.join(names)}")
    _must("earmark-result.txt" in names, "there is a result")
    _must("earmark.toml" not in names, "what was taken in is gone from the boot partition")
    for line in card.get("earmark-result.txt").splitlines():
        told.say(f"  {line}")
    riddle = card.get("earmark-challenge.txt")
    start = riddle.index("-----BEGIN AGE ENCRYPTED FILE-----")
    answer = bytes(pyrage.decrypt(riddle[start:].replace("\r", "").encode(), [identity])).decode()
    card.put("earmark.toml", f'[owner]\nname = "ada"\nanswer = "{answer.strip()}"\n')


def _second_start(card: "Card", told: Transcript) -> None:
    told.say()
    told.say("second start, with her answer:")
    seen: set[str] = set()
    is_done = False

    def is_up(line: str) -> bool:
        nonlocal is_done
        is_done = is_done or "Finished earmark-first-boot.service" in line
        for unit in UNITS:
            if is_done and f"Started {unit}.service" in line:
                seen.add(unit)
        return seen == set(UNITS)

    card.start(told, is_up)
    for line in card.get("earmark-result.txt").splitlines():
        told.say(f"  {line}")
    told.say(f"up: {', '.join(sorted(seen))}")


class Card:
    """A copy of the image, as a computer with a card reader sees it, and a board that starts it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._image = folder / "card.img"
        subprocess.run(["cp", "--sparse=always", str(IMAGE), str(self._image)], check=True)
        self._kernel, self._initrd = folder / "vmlinuz", folder / "initrd.img"
        for name, to in (("vmlinuz", self._kernel), ("initrd.img", self._initrd)):
            self._mtools("mcopy", "-o", f"::/{name}", str(to))

    def put(self, name: str, text: str) -> None:
        """Write a file to the boot partition."""
        path = self._folder / name
        path.write_text(text)
        self._mtools("mcopy", "-o", str(path), f"::/{name}")

    def get(self, name: str) -> str:
        """Read a file of the boot partition."""
        return self._mtools("mtype", f"::/{name}").replace("\r", "")

    def names(self) -> list[str]:
        """Return what a person would see there of ours."""
        listed = self._mtools("mdir", "-b", "::/").splitlines()
        names = sorted(line.strip().removeprefix("::/") for line in listed)
        return [name for name in names if name.startswith("earmark")]

    def start(self, told: Transcript, is_enough: Callable[[str], bool]) -> None:
        """Start the board, tell what is ours on its console, and switch it off some time after.

        Raises:
            Failed: it did not come so far.
        """
        began_s = time.monotonic()
        for line in self._console():
            if ours := re.search(r"\[ *([0-9.]+)\] (?:systemd|earmark)\[[0-9]+\]: (.*arm.*)", line):
                text = re.sub(r"\x1b\[[0-9;]*m", "", ours[2])
                if "earmark" in text.lower() or "hear" in text:
                    told.say(f"  {float(ours[1]):6.1f} s  {text}")
            if is_enough(line):
                return
            if time.monotonic() - began_s > LONGEST_S:
                break
        raise Failed("it did not come so far")

    def _console(self) -> Iterator[str]:
        process = subprocess.Popen(
            [
                "qemu-system-aarch64",
                *("-M", "virt,gic-version=3", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024"),
                *("-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"),
                *("-kernel", str(self._kernel), "-initrd", str(self._initrd)),
                *("-append", " ".join(WORDS), "-device", "virtio-rng-pci"),
                *("-drive", f"file={self._image},format=raw,if=virtio,cache=writeback"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            assert process.stdout is not None
            with (BUILD / "image-console.log").open("ab") as log:
                for line in process.stdout:
                    log.write(line)
                    yield line.decode(errors="replace").rstrip()
        finally:
            process.kill()
            process.wait()

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


def _must(holds: bool, what: str) -> None:  # noqa: FBT001 - a sentence reads so
    if not holds:
        raise Failed(what)


if __name__ == "__main__":
    sys.exit(main())
