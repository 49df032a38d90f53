"""The commands of the laptop tutorial and of the owner's guide, run as written."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import Mosquitto

ROOT = Path(__file__).resolve().parents[2]
LAPTOP = ROOT / "docs" / "tutorials" / "laptop.md"
CLIPS = ROOT / "docs" / "guides" / "your-clips.md"
BLOCK = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SAMPLE = re.compile(r"^(?:\d{4}-|LOCAL TIME |wake |sealed )", re.MULTILINE)
"""How a block begins that shows what a command prints."""

# The broker's port is the test's; there is no terminal that could confirm, and no loudspeaker.
PRELUDE = """\
set -euo pipefail
trap 'kill $(jobs -p) 2>&- || :' EXIT
earmark() {
    local verb=$1 more=() run=command; shift
    case "$verb ${1-}" in "clips erase") more=(--yes) ;; esac
    [ "$BASHPID" = "$$" ] || run=exec
    "$run" earmark "$verb" --config "$CONFIG" "$@" "${more[@]}"
}
clip() { earmark clips list --owner ada --identity ada.key | awk 'NR == 2 { print $4 }'; }
"""

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(590),
]
PATIENCE_S = 250.0
"""Longest time for the commands of a document; beside other tests they take more than 100 s."""


def commands(page: Path, first: str, last: str) -> str:
    """Return the commands of a page's sections, from one heading through another."""
    text = page.read_text("utf-8")
    begin = text.index(f"\n## {first}\n")
    end = text.find("\n## ", text.index(f"\n## {last}\n") + 1)
    blocks = [block for block in BLOCK.findall(text[begin:end]) if not SAMPLE.match(block)]
    assert blocks
    return re.sub(r"\bCLIP\b", "$(clip)", "".join(blocks))


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for the test of another worker that uses the ports which the documents name."""
    with (Path(tempfile.gettempdir()) / "earmark-tests-of-tutorials.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(script: str, folder: Path, broker: Mosquitto) -> subprocess.CompletedProcess[str]:
    """Run commands in a home and a folder of their own."""
    for tool in ("bash", "age", "awk"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: make debian")
    broker.start()
    home = folder / "home"
    home.mkdir()
    (home / "tests").symlink_to(ROOT / "tests")
    tools = folder / "bin"
    tools.mkdir()
    (tools / "aplay").write_text("#!/bin/sh\ncat > /dev/null\n", "utf-8")
    (tools / "aplay").chmod(0o755)
    config = folder / "earmark.toml"
    config.write_text(f"[broker]\nport = {broker.port}\n", "utf-8")
    with (
        one_at_a_time(),
        subprocess.Popen(
            ["bash", "-c", PRELUDE + script],
            cwd=home,
            env={
                **os.environ,
                "CONFIG": str(config),
                "HOME": str(home),
                "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(script, process.returncode, out, err)


def test_laptop_tutorial(tmp_path: Path, mosquitto: Mosquitto) -> None:
    script = commands(LAPTOP, "2. Make a key and an owner", "5. Use the owner's rights")

    done = run(script, tmp_path, mosquitto)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "ada is active" in done.stdout
    assert (tmp_path / "home" / "clips" / "index.html").is_file()
    assert "erased 1 " in done.stdout


def test_owners_guide(tmp_path: Path, mosquitto: Mosquitto) -> None:
    script = commands(LAPTOP, "2. Make a key and an owner", "4. Record and send a clip")
    script += "earmark clips list --owner ada --identity ada.key --remember\n"
    script += commands(CLIPS, "See which clips there are", "Take all clips home")
    script += commands(CLIPS, "Keep clips for a shorter time", "Change your key")
    script += commands(CLIPS, "Erase clips", "Erase clips")
    # No speaker runs, so that none states what it follows: 1, as the guide's reader would get.
    status = "earmark clips voice  "
    assert script.count(status) == 1
    script = script.replace(status, f"{status} || test $? -eq 1 ")
    # The only clip is erased by then: 2, as without an identifier.
    not_mine = "erase --not-mine $(clip) "
    assert script.count(not_mine) == 1
    script = script.replace(not_mine, f"{not_mine} || test $? -eq 2 ")

    done = run(script, tmp_path, mosquitto)

    home = tmp_path / "home"
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / "clip.flac").read_bytes().startswith(b"fLaC")
    assert (home / "ada.zip").is_file()
    assert (home / "ada.key").read_text("utf-8").count("AGE-SECRET-KEY-") == 2
    assert "erased 1 " in done.stdout
