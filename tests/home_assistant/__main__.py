"""``python -m tests.home_assistant``: a household with a real Home Assistant."""

import argparse
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from listener.errors import EarmarkError
from tests.home_assistant import install, pictures
from tests.home_assistant.home import ROOT, House, open_house
from tests.home_assistant.scenes import SCENES
from tests.vm.transcript import Transcript

PAGE: Final = ROOT / "docs" / "engineering-log" / "home-assistant.md"
_NAME: Final = "make home-assistant"


def main(words: Sequence[str]) -> int:
    """Install Home Assistant, run the scenes and print what was seen; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", action="append", choices=tuple(SCENES), metavar="NAME")
    releases = tuple(install.RELEASES)
    parser.add_argument("--release", choices=releases, default=releases[0])
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("--pictures", action="store_true", help="only draw the guide's pictures")
    arguments = parser.parse_args(words)
    try:
        release = install.RELEASES[arguments.release]
        folder = ROOT / "build" / f"home-assistant-{arguments.release}"
        program = install.install(folder, release)
        if arguments.pictures:
            pictures.draw(program, release)
            return 0
    except EarmarkError as error:
        print(f"earmark: error: {error}\nearmark: {error.hint}", file=sys.stderr)
        return error.exit_code
    transcript = Transcript()
    with (
        tempfile.TemporaryDirectory() as name,
        open_house(program, release, Path(name) / "house") as house,
    ):
        if not _run(house, transcript, arguments.scene or tuple(SCENES)):
            return 1
    if arguments.page and not arguments.scene:
        transcript.write(f"{_NAME} HA={arguments.release}", PAGE)
    return 0


def _run(house: House, transcript: Transcript, scenes: Sequence[str]) -> bool:
    load = os.getloadavg()[0]
    took_s = house.assistant.start()
    house.assistant.onboard()
    with house.assistant.socket() as socket:
        transcript.say(
            f"Home Assistant {socket.version} on Python {house.assistant.release.python_text},"
            f" {platform.system()}"
            f" with {os.cpu_count()} processors, load {load:.0f}"
        )
    transcript.say(f"first start: it answers after {took_s:.0f} s")
    for number, name in enumerate(scenes, 1):
        scene = SCENES[name]
        begun_s = time.monotonic()
        transcript.say()
        transcript.say(f"{number}. {(scene.__doc__ or '').splitlines()[0]}")
        try:
            scene(house, lambda text: transcript.say(f"   {text}"))
        except AssertionError:
            traceback.print_exc()
            for log in (house.folder / "ha" / "hass.log", *house.folder.rglob("*.log")):
                print(f"{log.name}:\n{log.read_text('utf-8', 'replace')[-2500:]}", file=sys.stderr)
            return False
        print(f"   {time.monotonic() - begun_s:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
