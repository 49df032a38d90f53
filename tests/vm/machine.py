"""An emulated computer: its console, the hand in it, its end."""

import contextlib
import json
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

KERNEL_WORDS: Final = (
    *("root=LABEL=ROOT", "console=ttyS0", "quiet", "panic=-1", "mitigations=off"),
    # The kernel compares its two timers at the start, and panics where a busy host delays one.
    "no_timer_check",
)
CPU: Final = "Nehalem"
"""Without AVX, which the emulator does in a helper for each lane; and the same everywhere."""


class VmError(Exception):
    """The machine did not do what was asked, or did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a machine is started from."""

    kernel: Path
    initrd: Path
    root: Path
    """A disk; never written to, and the guest mounts it read-only besides."""


class Machine:
    """An x86-64 computer under plain emulation, from the power switch on.

    Args:
        built: kernel, initrd and root.
        options: more for the emulator.
        words: more for the kernel.
    """

    def __init__(
        self, built: Built, options: Sequence[str] = (), words: Sequence[str] = ()
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="earmark-vm-"))
        self._socket = self._folder / "agent"
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            [
                "qemu-system-x86_64",
                *("-accel", "tcg", "-cpu", CPU, "-m", "1024", "-display", "none"),
                *("-nodefaults", "-no-reboot", "-serial", "stdio"),
                *("-kernel", str(built.kernel), "-initrd", str(built.initrd)),
                *("-append", " ".join((*KERNEL_WORDS, *words))),
                *("-drive", f"file={built.root},format=raw,if=virtio,snapshot=on,file.locking=off"),
                *("-device", "virtio-serial-pci", "-device", "virtio-rng-pci"),
                *("-chardev", f"socket,id=agent,path={self._socket},server=on,wait=off"),
                *("-device", "virtserialport,chardev=agent,name=earmark"),
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.console: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="console", daemon=True)
        self._reader.start()
        self._agent: socket.socket | None = None
        self._left = b""

    def lines(self, longest_s: float) -> Iterator[str]:
        """Yield what the console says, until the machine's end or for so long."""
        until_s = time.monotonic() + longest_s
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left_s)
            except queue.Empty:
                return
            if line is None:
                return
            yield line

    def wait_ready(self, longest_s: float) -> float:
        """Wait for the agent; return for how many of its seconds the guest had been up."""
        until_s = time.monotonic() + longest_s
        while not self._socket.exists():
            self._pause(until_s)
        self._agent = socket.socket(socket.AF_UNIX)
        self._agent.connect(str(self._socket))
        return float(self._take(until_s)["up_s"])

    def ask(self, do: str, *, longest_s: float = 120.0, **what: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Have the agent do something, and return its answer."""
        if self._agent is None:
            raise VmError("the agent was not waited for")
        self._agent.sendall(json.dumps({"do": do} | what).encode() + b"\n")
        return self._take(time.monotonic() + longest_s)

    def run(self, command: str, *, timeout_s: float = 120.0, check: bool = True) -> str:
        """Run a shell's command as root; return what it printed.

        Raises:
            VmError: it failed, and ``check`` is set.
        """
        # The guest's seconds may be longer than ours.
        done = self.ask("run", command=command, timeout_s=timeout_s, longest_s=4 * timeout_s)
        if check and done["code"]:
            raise VmError(f"{command!r} ended with {done['code']}: {done['out']}")
        return str(done["out"])

    def power_off(self, longest_s: float) -> None:
        """Have it shut down."""
        with contextlib.suppress(VmError, OSError):
            self.ask("run", command="systemctl poweroff", timeout_s=30, longest_s=5)
        try:
            self._process.wait(longest_s)
        finally:
            self.kill()

    def pull_the_plug(self) -> None:
        """Kill it at once with SIGKILL, from any thread."""
        self._process.kill()

    def kill(self) -> None:
        """Pull the plug, and clear away what is left."""
        self.pull_the_plug()
        self._process.wait()
        if self._agent is not None:
            self._agent.close()
        self._reader.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """Nothing to do: it runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, however things went."""
        self.kill()

    def _take(self, until_s: float) -> dict[str, Any]:
        if self._agent is None:
            raise VmError("the agent was not waited for")
        while b"\n" not in self._left:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or self._process.poll() is not None:
                told = "\n".join(self.console[-20:])
                raise VmError(f"the agent does not answer; the console said last:\n{told}")
            self._agent.settimeout(min(left_s, 1.0))
            with contextlib.suppress(TimeoutError):
                self._left += self._agent.recv(65536)
        line, _, self._left = self._left.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _pause(self, until_s: float) -> None:
        if time.monotonic() > until_s or self._process.poll() is not None:
            raise VmError("the emulator did not start: " + "\n".join(self.console[-5:]))
        time.sleep(0.05)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode(errors="replace").rstrip("\r\n")
            self.console.append(text)
            self._lines.put(text)
        self._lines.put(None)
