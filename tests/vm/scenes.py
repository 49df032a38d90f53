"""``make vm``: end-to-end scenes with the real units in a virtual machine.

The guest's clock counts instructions, so a slow emulator slows the clock and causes no overruns:
80 ms of audio are 80 ms for every program in the guest.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Final

from tests.vm.build import build, existing
from tests.vm.machine import Machine
from tests.vm.transcript import Transcript

CLOCK: Final = ("-icount", "shift=1,sleep=on")
"""QEMU options: one instruction is 2 ns of the guest's clock."""
CLIPS: Final = "ls /var/lib/earmark-archive/archive/clips/ada 2>/dev/null | grep -c 'earmark$'"
SPOOLED: Final = "ls /var/lib/earmark/spool | grep -c 'earmark$'"
CAPTURE: Final = "cat /proc/asound/card0/pcm1c/sub0/status"
HEAR: Final = "systemctl show --property=MainPID --value earmark-hear"
UNITS: Final = ("mosquitto", "earmark-archive", "earmark-send", "earmark-hear", "earmark-play")
WORD: Final = "/usr/lib/earmark-vm/word.raw"
CLIP_S: Final = 20.0
"""Maximum time from the end of the recording until its clip is in the archive, in seconds."""


class Failed(Exception):
    """A condition of a scene does not hold."""


def main(words: Sequence[str] = ()) -> int:
    """Run the scenes and write the transcript; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm scenes")
    parser.add_argument(
        "--as-built", action="store_true", help="use the machine in build/, even if it is stale"
    )
    told = Transcript()
    built = existing() if parser.parse_args(words).as_built else build()
    with Machine(built, CLOCK) as machine:
        scenes = Scenes(machine, told)
        try:
            scenes.run()
        except Failed as failed:
            told.say(f"FAILED: {failed}")
            print(machine.run("journalctl -b --no-pager -o short-monotonic -u 'earmark-*'"))
            return 1
        machine.power_off(120)
    told.write("make vm")
    return 0


class Scenes:
    """Scenes that run one after the other in one machine."""

    def __init__(self, machine: Machine, told: Transcript) -> None:
        self._machine = machine
        self._told = told
        self._heard = 0
        """Number of journal lines of hear that are in the transcript."""

    def run(self) -> None:
        """Run all scenes.

        Raises:
            Failed: a condition of a scene does not hold.
        """
        self._start()
        self._word_becomes_a_clip()
        self._shut_switch()
        self._thrown_meanwhile()
        self._without_broker()
        self._switch_comes_back()
        self._end()

    def _start(self) -> None:
        machine, say = self._machine, self._told.say
        machine.wait_ready(600)
        self._until("the units are up", lambda: self._states() == ["active"] * len(UNITS), 180)
        seconds = machine.ask("sleep", s=0)["up_s"]
        systemd = machine.run("systemctl --version").split(" (")[0]
        say(f"{machine.run('uname -sr').strip()}, {systemd}, card Loopback, switch earmark-mute")
        say(f"{seconds:.0f} s after its start by the guest's clock: {', '.join(UNITS)} are active")
        self._until("the microphone is open", self._listens, 30)
        self._say_heard()

    def _word_becomes_a_clip(self) -> None:
        self._scene('1. "Alexa, set a timer for ten minutes" is played')
        before = self._count(CLIPS)
        self._play()
        self._until("the clip is in the archive", lambda: self._count(CLIPS) == before + 1, CLIP_S)
        self._say_heard()
        clip = self._machine.run(
            "cd /tmp && earmark archive --home /var/lib/earmark-archive open --json"
            " --identity /root/ada.key /var/lib/earmark-archive/archive/clips/ada/*.earmark"
        )
        opened = json.loads(clip.splitlines()[-1])
        self._must(
            opened["word"] == "alexa" and opened["owner"] == "ada",
            "the clip is ada's and has the word",
        )
        self._told.say(
            f"the archive has it; ada's key decrypts it: {opened['ms'] / 1000:.1f} s,"
            f" {opened['word']} at {opened['score']:.2f}, ended by {opened['end_reason']}"
        )

    def _shut_switch(self) -> None:
        self._scene("2. the switch is set to muted, and the same is played")
        before = self._count(CLIPS), self._count(SPOOLED)
        self._throw(shut=True)
        self._until("the microphone is closed", lambda: not self._listens(), 10)
        self._must("closed" in self._machine.run(CAPTURE), "ALSA has no open stream")
        self._play()
        self._wait(8)
        self._must((self._count(CLIPS), self._count(SPOOLED)) == before, "no new clip")
        self._say_heard()
        self._told.say("the capture stream is closed; no clip, no wake, nothing in the spool")
        self._throw(shut=False)
        self._until("the microphone is open again", self._listens, 30)

    def _thrown_meanwhile(self) -> None:
        self._scene("3. the same is played, and the switch set to muted during the command")
        before = self._count(CLIPS), self._count(SPOOLED)
        self._wait(3)  # after a gap the detector has its initial state
        self._say_heard()
        self._machine.ask("throw-at", says="wake", path=WORD, longest_s=300)
        self._wait(10)
        heard = self._say_heard()
        self._must("no clip" in heard and "sealed" not in heard, "the clip was discarded")
        self._must((self._count(CLIPS), self._count(SPOOLED)) == before, "no new clip")
        self._told.say("no clip in the spool, none in the archive")
        self._throw(shut=False)
        self._until("the microphone is open again", self._listens, 30)

    def _without_broker(self) -> None:
        self._scene("4. the broker is stopped for a minute, and the same is played")
        before = self._count(CLIPS)
        self._wait(3)
        self._machine.run("systemctl stop mosquitto")
        stopped_s = self._now_s()
        self._play()
        self._until("the clip is in the spool", lambda: self._count(SPOOLED) == 1, CLIP_S)
        self._say_heard()
        self._wait(60 - (self._now_s() - stopped_s))
        self._must(
            self._count(SPOOLED) == 1 and self._count(CLIPS) == before,
            "the clip waits in the spool",
        )
        self._told.say(
            f"{self._now_s() - stopped_s:.0f} s without a broker: the clip waits in the spool"
        )
        self._machine.run("systemctl start mosquitto")
        started_s = self._now_s()
        self._until("it is in the archive", lambda: self._count(CLIPS) == before + 1, 90)
        self._until("it left the spool", lambda: self._count(SPOOLED) == 0, 20)
        self._told.say(
            f"the archive has it {self._now_s() - started_s:.0f} s after the broker is back"
        )

    def _switch_comes_back(self) -> None:
        self._scene("5. the switch is disconnected, and connected again")
        before, hear = self._count(CLIPS), self._machine.run(HEAR)
        self._machine.ask("take-out")
        self._until("the microphone is closed", lambda: not self._listens(), 10)
        self._play()
        self._wait(8)
        self._must(self._count(CLIPS) == before, "no new clip")
        self._say_heard()
        self._told.say("hear cannot read the switch and is muted; no clip")
        self._machine.ask("put-in")
        # DeviceAllow= is evaluated at the start of a unit, so a udev rule restarts hear.
        self._until("hear was restarted", lambda: self._machine.run(HEAR) != hear, 30)
        self._until("the microphone is open again", self._listens, 60)
        self._wait(3)
        self._play()
        self._until("the clip is in the archive", lambda: self._count(CLIPS) == before + 1, CLIP_S)
        self._say_heard()
        self._told.say("the switch is back: udev restarted hear, and it detects the word")

    def _end(self) -> None:
        self._scene("at the end")
        seen = self._machine.run("earmark monitor --once --json", check=False)
        for line in seen.splitlines():
            told = json.loads(line) if line.startswith("{") else {}
            if microphone := told.get("microphone"):
                self._told.say(
                    f"overruns {microphone['overruns']}, losses {microphone['losses']},"
                    f" {told.get('cpu_percent') or '?'} % of the guest's processor"
                )
            if counters := told.get("counters"):
                self._told.say(f"counters: {json.dumps(counters)}")
        underruns = self._machine.ask("play", path="/dev/null", wait=True)["underruns"]
        self._told.say(f"underruns of the playback: {underruns}")
        failed = self._machine.run("systemctl --failed --no-legend --plain").strip()
        self._must(not failed, f"no unit has failed: {failed}")
        up_s = self._now_s()
        slower = (time.monotonic() - self._machine.started_s) / up_s
        self._told.say(
            f"{up_s:.0f} s by the guest's clock; each took {slower:.1f} s on this machine"
        )

    def _scene(self, title: str) -> None:
        self._told.say()
        self._told.say(f"{title}")

    def _play(self) -> None:
        self._machine.ask("play", path=WORD, wait=True)

    def _throw(self, *, shut: bool) -> None:
        self._machine.ask("switch", shut=shut)

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self._machine.ask("sleep", s=seconds, longest_s=600)

    def _now_s(self) -> float:
        return float(self._machine.ask("sleep", s=0)["up_s"])

    def _count(self, command: str) -> int:
        return int(self._machine.run(command, check=False) or 0)

    def _listens(self) -> bool:
        return "RUNNING" in self._machine.run(CAPTURE)

    def _states(self) -> list[str]:
        return self._machine.run(f"systemctl is-active {' '.join(UNITS)}", check=False).split()

    def _journal(self) -> str:
        """Return the journal of hear since the last call of `_say_heard`."""
        lines = self._machine.run("journalctl -b -u earmark-hear -t earmark -o cat --no-pager")
        return "\n".join(lines.splitlines()[self._heard :])

    def _say_heard(self) -> str:
        heard = self._journal()
        for line in heard.splitlines():
            self._told.say(f"  hear: {line}")
        self._heard += len(heard.splitlines())
        return heard

    def _until(
        self, what: str, holds: Callable[[], bool], longest_s: float, *, pause_s: float = 0.5
    ) -> None:
        until_s = self._now_s() + longest_s
        while not holds():
            if self._now_s() > until_s:
                raise Failed(f"{what}: not within {longest_s:.0f} s by the guest's clock")
            self._wait(pause_s)

    def _must(self, holds: bool, what: str) -> None:  # noqa: FBT001 - a sentence reads so
        if not holds:
            raise Failed(what)
