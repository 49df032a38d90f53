"""The card's image in emulated 64-bit Arm computers, as a person would set it up.

First start with a key on the boot partition: the speaker writes a challenge. Second start with the
answer: the owner is confirmed, and the units are up. The card is the real one with its
partitions, kernel and initrd; the boot code of the GPU is what is left out. QEMU's ``raspi3b`` has
the processor's own card reader, pins and our overlays; ``virt`` is no Raspberry Pi, and faster.
"""

import argparse
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyrage

from tests.vm.board import Board, Card, Failed
from tests.vm.build import BUILD
from tests.vm.machine import VmError
from tests.vm.transcript import Transcript

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "engineering-log" / "image.md"
UNITS: Final = ("earmark-hear", "earmark-send")
WORDS: Final = (
    *("panic=-1", "loglevel=7"),
    # What is not on these boards, and would be waited for.
    *(
        "systemd.mask=wpa_supplicant@wlan0.service",
        "systemd.mask=systemd-networkd-wait-online.service",
    ),
    *("systemd.journald.forward_to_console=1", "systemd.journald.max_level_console=info"),
)
VIRT: Final = Board(
    name="virt",
    machine="virt,gic-version=3",
    options=(
        *("-cpu", "cortex-a72", "-smp", "2", "-m", "1024"),
        *("-serial", "stdio", "-device", "virtio-rng-pci", "if=virtio,cache=writeback"),
    ),
    words=("console=ttyAMA0", *WORDS),
    hears=r"lost +[0-9.]+ s  the microphone: ",
)
RASPI3B: Final = Board(
    name="raspi3b",
    machine="raspi3b",
    # The console is the second serial line, as on the board.
    options=("-serial", "null", "-serial", "stdio", "if=sd,cache=writeback"),
    words=WORDS,
    # With nothing connected the switch's pin reads as shut.
    hears=r"mute +[0-9.]+ s  microphone closed, audio wiped; the switch",
    tree="bcm2837-rpi-3-b.dtb",
)
BOARDS: Final = {board.name: board for board in (VIRT, RASPI3B)}


def main(words: Sequence[str] = ()) -> int:
    """Start twice on each board; write the transcripts; 1 when it went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm image")
    parser.add_argument("--board", choices=BOARDS, help="this one alone")
    arguments = parser.parse_args(words)
    boards = [BOARDS[arguments.board]] if arguments.board else BOARDS.values()
    return 0 if all(_is_set_up(board) for board in boards) else 1


def _is_set_up(board: Board) -> bool:
    told = Transcript()
    folder = Path(tempfile.mkdtemp(prefix="boot-", dir=BUILD))
    try:
        card = Card(board, folder)
        as_built = card.root()
        _first_start(card, board, told)
        _second_start(card, board, told)
        _must(card.root() == as_built, "nothing was written to the root")
        told.say("the root's partition has the image's bytes after both starts")
    except (Failed, VmError) as failed:
        told.say(f"FAILED: {failed}")
        return False
    finally:
        shutil.rmtree(folder)
    told.write(board.name, FILE)
    return True


def _first_start(card: Card, board: Board, told: Transcript) -> None:
    identity = pyrage.x25519.Identity.generate()
    # The switch of the image's own settings is on the board that takes our overlays.
    mute = "" if board.tree else '[mute]\nswitch = "none"\n\n'
    card.put(
        "earmark.toml",
        f'[device]\nname = "kitchen"\n\n{mute}[owner]\nname = "ada"\n'
        f'key = "{identity.to_public()}"\n',
    )
    told.say("first start, earmark.toml with ada's public key on the boot partition:")
    card.start(told, lambda line: "Finished earmark-first-boot.service" in line)
    names = card.names()
    told.say(f"on the boot partition afterwards: {', '.join(names)}")
    _must("earmark-result.txt" in names, "there is a result")
    _must("earmark.toml" not in names, "the applied file is removed from the boot partition")
    for line in card.get("earmark-result.txt").splitlines():
        told.say(f"  {line}")
    challenge = card.get("earmark-challenge.txt")
    start = challenge.index("-----BEGIN AGE ENCRYPTED FILE-----")
    answer = bytes(
        pyrage.decrypt(challenge[start:].replace("\r", "").encode(), [identity])
    ).decode()
    card.put("earmark.toml", f'[owner]\nname = "ada"\nanswer = "{answer.strip()}"\n')


def _second_start(card: Card, board: Board, told: Transcript) -> None:
    told.say()
    told.say("second start, with the owner's answer:")
    # First boot restarts hear and send: lines before its end do not count.
    first = r"Finished earmark-first-boot\.service"
    awaited = {first, board.hears, *(rf"Started {unit}\.service" for unit in UNITS)}

    def is_up(line: str) -> bool:
        for pattern in {first} & awaited or set(awaited):
            if re.search(pattern, line):
                awaited.remove(pattern)
        return not awaited

    card.start(told, is_up)
    for line in card.get("earmark-result.txt").splitlines():
        told.say(f"  {line}")
    told.say(f"up: {', '.join(UNITS)}")


def _must(holds: bool, what: str) -> None:  # noqa: FBT001 - a sentence reads so
    if not holds:
        raise Failed(what)
