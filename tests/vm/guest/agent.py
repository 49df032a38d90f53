"""The tests' hand in the machine: runs commands, holds the mute switch, and plays the sound.

Requests and answers are JSON, one object a line, on a virtio port. The standard library alone, and
the system's Python: what is tested is not used to test it.
"""

import fcntl
import json
import os
import queue
import random
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

PORT = "/dev/virtio-ports/earmark"
CARD = "hw:Loopback,0,0"
BLOCK_BYTES = 1280  # 40 ms of 16 kHz int16
PIPE_BYTES = 4096

EV_SYN, EV_SW, SW_MUTE_DEVICE = 0, 5, 14
UI_SET_EVBIT, UI_SET_SWBIT = 0x40045564, 0x4004556D
UI_DEV_SETUP, UI_DEV_CREATE = 0x405C5503, 0x5501
FAINT = [struct.pack("<h", level) for level in range(-3, 4)]
EVENT = struct.Struct("@LLHHi")


class Switch:
    """A switch of the kernel's own, as the overlay's is, thrown from here."""

    def __init__(self) -> None:
        self.put_in()

    def put_in(self) -> None:
        self._node = os.open("/dev/uinput", os.O_WRONLY | os.O_NONBLOCK)
        fcntl.ioctl(self._node, UI_SET_EVBIT, EV_SW)
        fcntl.ioctl(self._node, UI_SET_SWBIT, SW_MUTE_DEVICE)
        setup = struct.pack("@HHHH80sI", 0x06, 0, 0, 0, b"earmark-mute", 0)
        fcntl.ioctl(self._node, UI_DEV_SETUP, setup)
        fcntl.ioctl(self._node, UI_DEV_CREATE)

    def take_out(self) -> None:
        os.close(self._node)  # the device goes with it

    def throw(self, *, shut: bool) -> None:
        os.write(self._node, EVENT.pack(0, 0, EV_SW, SW_MUTE_DEVICE, shut))
        os.write(self._node, EVENT.pack(0, 0, EV_SYN, 0, 0))


class Room:
    """What the microphone would hear: faint noise for ever, and what is played into it."""

    def __init__(self) -> None:
        self._sounds: queue.Queue[bytes] = queue.Queue()
        self.underruns = 0
        threading.Thread(target=self._fill, daemon=True).start()

    def play(self, path: str, *, wait: bool) -> None:
        self._sounds.put(Path(path).read_bytes())
        if wait:
            self._sounds.join()
            time.sleep(0.4)  # what the pipe and the card still hold

    def _fill(self) -> None:
        noise = bytes(byte for _ in range(16_000) for byte in random.choice(FAINT))
        words = ["aplay", "-q", "-t", "raw", "-f", "S16_LE", "-r", "16000", "-c", "1"]
        words += ["--buffer-time", "200000", "-D", CARD, "-"]
        player = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert player.stdin
        assert player.stderr
        fcntl.fcntl(player.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        threading.Thread(target=self._count, args=(player.stderr,), daemon=True).start()
        while True:
            try:
                sound, is_played = self._sounds.get_nowait(), True
            except queue.Empty:
                sound, is_played = noise, False
            for at in range(0, len(sound), BLOCK_BYTES):
                player.stdin.write(sound[at : at + BLOCK_BYTES])
                player.stdin.flush()
                if not is_played and not self._sounds.empty():
                    break
            if is_played:
                self._sounds.task_done()

    def _count(self, told: IO[bytes]) -> None:
        for line in told:
            self.underruns += b"underrun" in line
            sys.stderr.write(line.decode(errors="replace"))


def run(command: str, timeout_s: float) -> dict[str, object]:
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return {"code": -1, "out": (late.stdout or b"").decode(errors="replace")}
    return {"code": done.returncode, "out": done.stdout.decode(errors="replace")}


def throw_at(says: str, path: str, switch: Switch, room: Room) -> dict[str, object]:
    """Play, and shut the switch at the moment in which hear says so much."""
    words = ["journalctl", "-u", "earmark-hear", "-o", "cat", "-n", "0", "-f"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as journal:
        time.sleep(2)  # it follows by then
        room.play(path, wait=False)
        assert journal.stdout
        for line in journal.stdout:
            if line.decode(errors="replace").startswith(says):
                switch.throw(shut=True)
                break
        journal.kill()
    return {}


def obey(asked: dict[str, Any], switch: Switch, room: Room) -> dict[str, object]:
    match asked["do"]:
        case "run":
            return run(asked["command"], asked["timeout_s"])
        case "switch":
            switch.throw(shut=asked["shut"])
        case "take-out":
            switch.take_out()
        case "put-in":
            switch.put_in()
        case "throw-at":
            return throw_at(asked["says"], asked["path"], switch, room)
        case "play":
            room.play(asked["path"], wait=asked["wait"])
            return {"underruns": room.underruns}
        case _:
            time.sleep(asked["s"])
    return {}


def main() -> None:
    for module in ("snd-aloop", "uinput"):
        subprocess.run(["modprobe", module], check=True)
    switch, room = Switch(), Room()
    while not Path(PORT).exists():  # udev makes it, some seconds after the start
        time.sleep(0.2)
    with open(PORT, "r+b", buffering=0) as port:  # noqa: PTH123 - a character device
        left = b""

        def answer(words: dict[str, object]) -> None:
            line = json.dumps(words | {"up_s": time.monotonic()}).encode() + b"\n"
            while line:  # a port takes as much as it has room for
                line = line[port.write(line) :]

        answer({"ready": True})
        while True:
            more = port.read(4096)
            if not more:
                time.sleep(0.2)  # the other end is not open
                continue
            *lines, left = (left + more).split(b"\n")
            for line in lines:
                answer(obey(json.loads(line), switch, room))


if __name__ == "__main__":
    main()
