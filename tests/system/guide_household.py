"""A household of several computers on this one, on which the lines of a guide are typed.

What is played and not real: sudo (nothing), ssh and scp (files between the folders of two
computers), systemctl (real processes, started and ended here), nmcli, and the installer (its
commands for a hub). mosquitto, archive, send and hear are real, with a recording as microphone.
"""

import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

from tests.first_day.guide import Line
from tests.ports import find_free_port
from tests.system.conftest import PATIENCE_S, Mosquitto, wait_until

ROOT = Path(__file__).resolve().parents[2]
SOUND = ROOT / "tests" / "fixtures" / "alexa_command.flac"
QUIET_S = 600
LINE_PATIENCE_S = 200.0
"""Longest time for one line, on a busy machine; not a measurement."""
_SCP = re.compile(r"scp (?:([a-z]+)@([\w.]+):)?(\S+) (?:([a-z]+)@([\w.]+):)?(\S*)")
_SYSTEMCTL = re.compile(r"systemctl (start|stop|restart) ([a-z -]+)")


class Computer:
    """One computer: folders for its system and for the person who types, and its services."""

    def __init__(self, folder: Path, ports: tuple[int, int, int]) -> None:
        self.folder = folder
        self.person = folder / "person"
        self.person.mkdir(parents=True)
        (folder / "etc" / "earmark").mkdir(parents=True)
        (folder / "boot" / "firmware").mkdir(parents=True)
        tools = folder / "bin"
        tools.mkdir()
        script = f'#!/bin/sh\nexec {sys.executable} -m tests.system.computer "$@"\n'
        for name, text in {
            "earmark": script,
            "sudo": '#!/bin/sh\nexec "$@"\n',
            "aplay": "#!/bin/sh\ncat > /dev/null\n",
            "nmcli": "#!/bin/sh\nexit 0\n",
        }.items():
            (tools / name).write_text(text, "utf-8")
            (tools / name).chmod(0o755)
        self.environment = os.environ | {
            "HOME": str(self.person),
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
            "EARMARK_HOME": str(folder / "data"),
            "EARMARK_COMPUTER": str(folder),
            "EARMARK_PORTS": " ".join(map(str, ports)),
        }
        self._services: dict[str, subprocess.Popen[bytes]] = {}

    def popen(self, *words: str, output: "IO[bytes] | int", stdin: int) -> subprocess.Popen[bytes]:
        """Start a command in the folder of the person."""
        return subprocess.Popen(
            words,
            cwd=self.person,
            env=self.environment,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, text: str, answer: str = "") -> str:
        """Run one line to its end at a terminal, and return what it printed.

        Args:
            text: the line.
            answer: what is typed at its question.

        Raises:
            AssertionError: its exit code is not 0.
        """
        code, printed = self.ask(text, answer)
        assert code == 0, f"exit code {code}: {text}\n{printed}\n{self.logs()}"
        return printed

    def ask(self, text: str, answer: str = "") -> tuple[int, str]:
        """Run one line to its end; return its exit code and what it printed."""
        keyboard, terminal = pty.openpty()
        try:
            os.write(keyboard, f"{answer}\n".encode() if answer else b"")
            process = self.popen(
                "sh", "-c", text, output=subprocess.PIPE, stdin=terminal if answer else -3
            )
            try:
                printed, _ = process.communicate(timeout=LINE_PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        finally:
            os.close(keyboard)
            os.close(terminal)
        return process.returncode, printed.decode()

    def start(self, service: str, *words: str) -> None:
        """Start a service; it writes to a log."""
        self.stop(service)
        with (self.folder / f"{service}.log").open("ab") as log:
            self._services[service] = self.popen(
                "earmark", *words, output=log, stdin=subprocess.DEVNULL
            )

    def stop(self, service: str) -> None:
        """End a service, if it runs, as systemd does."""
        process = self._services.pop(service, None)
        if process is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
            process.kill()

    def close(self) -> None:
        """End every service."""
        for service in list(self._services):
            self.stop(service)

    def logs(self) -> str:
        """Return what the services wrote lately."""
        return "".join(
            f"{path.name}: {path.read_text('utf-8', 'replace')[-2000:]}\n"
            for path in sorted(self.folder.glob("*.log"))
        )


class GuideHousehold:
    """A hub, a speaker kitchen and an owner ada, who is its keeper; more by the guides' lines."""

    def __init__(self, folder: Path, mosquitto: str) -> None:
        self.folder = folder
        port = find_free_port()
        self.ports = (port, _other(port), find_free_port())
        self.broker = Mosquitto(mosquitto, folder, port)
        self.host = "127.0.0.2"
        self.computers: dict[str, Computer] = {}
        self._printed = ""
        self._waiting: list[subprocess.Popen[bytes]] = []
        self._usb = folder / "usb"
        self._usb.mkdir()
        self._quiet = folder / "quiet.flac"
        """What the speakers hear between the test's sentences: a room at night."""
        night = np.random.default_rng(1).integers(-2, 3, 16_000 * QUIET_S, np.int16)
        soundfile.write(self._quiet, night, 16_000)

    def computer(self, place: str) -> Computer:
        """Return a computer by its place in a guide; it is new when it is named first."""
        name = place.removeprefix("the speaker ").replace("the ", "").replace("'s computer", "")
        if name == "speaker":
            name = "kitchen"
        if name not in self.computers:
            self.computers[name] = Computer(self.folder / name.replace(" ", "-"), self.ports)
        return self.computers[name]

    def replace(self, name: str, new: str) -> None:
        """Take a computer away; another one, which is empty, has its place in the file system.

        As on real computers, whose configuration is at the same path on each.
        """
        old = self.computers.pop(name)
        old.close()
        old.folder.rename(old.folder.with_name(f"{old.folder.name}-gone"))
        self.computers[new] = Computer(old.folder, self.ports)

    def set_up(self) -> None:
        """Make the household that each guide begins with."""
        self.install_hub("the hub")
        ada = self.computer("ada's computer")
        public = ada.run("age-keygen -o ada.key && age-keygen -y ada.key")
        self._printed += public
        adding = "sudo earmark household add-device kitchen --card ."
        for place, text in (
            ("the hub", f"{adding} --keeper ada --keeper-key age1…"),
            ("the speaker kitchen", "sudo scp ada@home.lan:earmark.toml /boot/firmware/"),
            ("the speaker kitchen", "sudo systemctl start earmark-first-boot"),
            ("the hub", "sudo earmark household add-owner ada --bundle ada.bundle"),
            ("ada's computer", "scp ada@home.lan:ada.bundle ."),
            ("ada's computer", "earmark owner answer ada.bundle --identity ada.key"),
            ("ada's computer", "scp ada.answers ada@home.lan:"),
            ("the hub", "sudo earmark household confirm-owner ada.answers --patience 60"),
        ):
            self.type(Line(place, text))

    def install_hub(self, place: str) -> None:
        """Do what ``install.sh --hub`` does after it has installed the package."""
        hub = self.computer(place)
        ports = "--port {} --join-port {} --archive-port {}".format(*self.ports)
        self._printed += hub.run(f"earmark household init --system --host {self.host} {ports}")
        for service in ("mosquitto", "earmark-archive"):
            self._control(hub, "restart", service)

    def type_all(self, lines: list[Line], before: Callable[[Line], object] = bool) -> None:
        """Type lines in order; a line that is `y` answers the question of the one before.

        Args:
            lines: the lines.
            before: called before each line.
        """
        for line, following in zip(lines, [*lines[1:], Line("", "")], strict=True):
            if line.text != "y":
                before(line)
                self.type(line, "y" if following.text == "y" else "")
        self._end_waiting()

    def type(self, line: Line, answer: str = "") -> str:
        """Type one line and wait until it ends; return what it printed."""
        computer = self.computer(line.place)
        text = self.fill(line.text, computer)
        words = text.removeprefix("sudo ")
        if match := _SCP.fullmatch(words):
            self._copy(computer, match)
            return ""
        if match := _SYSTEMCTL.fullmatch(words):
            for service in match[2].split():
                self._control(computer, match[1], service)
            return ""
        if words.startswith("sh dist/install.sh --hub"):
            self.install_hub(line.place)
            return ""
        if words.startswith("earmark household add-device"):
            self._begin_waiting(computer, text)
            return ""
        printed = computer.run(text, answer)
        self._printed += printed
        return printed

    def fill(self, text: str, computer: Computer) -> str:
        """Return a line with what the person chooses or was told in place of the placeholders."""
        keys = re.findall(r"age1[0-9a-z]{58}", self._printed)
        clips = re.findall(r"^\S+ \S+ +\S+ +([0-9a-f]{8})-", self._printed, re.MULTILINE)
        for placeholder, value in (
            ("age1…", keys[-1] if keys else ""),
            ("CLIP", clips[-1] if clips else ""),
            ("/media/usb", str(self._usb)),
            ("~/.local/share/earmark", f"{computer.folder}/data"),
            ("/etc/earmark/", f"{computer.folder}/etc/earmark/"),
            ("/boot/firmware/", f"{computer.folder}/boot/firmware/"),
            ("home.lan", self.host),
            ("new.lan", "127.0.0.3"),
            (":8443", f":{self.ports[2]}"),
        ):
            text = text.replace(placeholder, value)
        return text

    def speak(self, place: str) -> None:
        """Say the wake word and a sentence at a speaker; wait until its clip is in the archive."""
        before = self.archived()
        self.record(place)
        wait_until(lambda: self.archived() > before, "the clip is in the archive")

    def record(self, place: str) -> None:
        """Say the wake word and a sentence at a speaker; its clip is in the spool then."""
        speaker = self.computer(place)
        speaker.stop("earmark-hear")  # one at a time
        speaker.run(f"earmark hear --fast --microphone {SOUND}")

    def listen(self, place: str) -> None:
        """Let hear run at a speaker, as it does all day."""
        speaker = self.computer(place)
        self._control(speaker, "restart", "earmark-hear")
        wait_until((speaker.folder / "data" / "control.sock").exists, "hear listens")

    def archived(self) -> int:
        """Return the number of clips in the archive."""
        hub = self.computer("the hub")
        return len(list((hub.folder / "archive" / "archive" / "clips").rglob("*.earmark")))

    def close(self) -> None:
        """End all that runs."""
        for computer in self.computers.values():
            computer.close()
        for process in self._waiting:
            process.kill()
            process.communicate()
        self.broker.kill()

    def _end_waiting(self) -> None:
        """Wait for the commands that waited for a speaker."""
        for process in self._waiting:
            printed, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, printed.decode()
        self._waiting.clear()

    def _control(self, computer: Computer, verb: str, service: str) -> None:
        """Do what systemctl does to a service."""
        if service == "mosquitto":
            self.broker.kill()
            if verb != "stop":
                self.broker.start_with(computer.folder / "etc" / "mosquitto" / "earmark")
        elif service == "earmark-first-boot":
            # It exits with 1: this machine has no microphone that a speaker could open.
            code, printed = computer.ask("earmark first-boot")
            assert code in (0, 1), printed
            assert "joined" in printed, printed
            self._end_waiting()
            self.broker.reload()  # as the command on the hub does where systemd runs
            for started in ("earmark-send", "earmark-hear"):
                self._control(computer, "restart", started)
        elif verb == "stop":
            computer.stop(service)
        elif service == "earmark-archive":
            data = str(computer.folder / "archive")
            config = str(computer.folder / "etc" / "earmark" / "archive.toml")
            computer.start(service, "archive", "--config", config, "--home", data)
            wait_until((Path(data) / "archive.sock").exists, "the archive answers")
        elif service == "earmark-hear":
            computer.start(service, "hear", "--microphone", str(self._quiet))
        else:
            computer.start(service, service.removeprefix("earmark-"))

    def _begin_waiting(self, hub: Computer, text: str) -> None:
        """Start a command that waits for a speaker in a terminal of its own."""
        process = hub.popen("sh", "-c", text, output=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self._waiting.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            self._printed += line.decode()
            if b"waiting for" in line:
                return
        raise AssertionError(f"it ended: {text}\n{self._printed[-2000:]}")

    def _copy(self, computer: Computer, match: re.Match[str]) -> None:
        """Copy a file between the person's folders on two computers."""
        _, from_host, source, _, to_host, target = match.groups()
        hub = self.computer("the hub")
        begin = (hub if from_host else computer).person / source
        if to_host:
            shutil.copy(begin, hub.person / (target or begin.name))
        else:
            to = computer.person / target
            shutil.copy(begin, to / begin.name if to.is_dir() else to)
        if begin.name == "earmark.toml":
            begin.unlink()  # the guide says so


def _other(port: int) -> int:
    return port - 1 if port > 32_769 else port + 1


@contextlib.contextmanager
def household(folder: Path) -> Iterator[GuideHousehold]:
    """Set a household up for the block."""
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    assert program is not None
    made = GuideHousehold(folder, program)
    try:
        made.set_up()
        yield made
    finally:
        made.close()
