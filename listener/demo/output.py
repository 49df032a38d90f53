"""How the demo looks: plain lines for everybody, and one line that moves where people watch."""

import os
import shutil
import sys

from listener.demo.player import Event
from listener.demo.scene import Scene

WIDTH = 80


class Transcript:
    """Prints lines, and on a terminal one moving line below them. For one thread."""

    def __init__(self, *, is_terminal: bool | None = None) -> None:
        watched = sys.stdout.isatty() if is_terminal is None else is_terminal
        self._moves = watched and os.environ.get("TERM", "dumb") != "dumb"
        self._moving = ""

    def line(self, about: str, text: str) -> None:
        """Print a line that stays."""
        self._wipe()
        print(f"{about:<9}{text}".rstrip(), flush=True)  # noqa: T201 - a verb's face

    def moving(self, text: str) -> None:
        """Show what goes on now; the next thing shown takes its place."""
        if not self._moves or text == self._moving:
            return
        width = min(WIDTH, shutil.get_terminal_size().columns) - 1
        self._moving = text
        sys.stdout.write(f"\r\x1b[K{text[:width]}")
        sys.stdout.flush()

    def close(self) -> None:
        """Leave no moving line behind."""
        self._wipe()

    def _wipe(self) -> None:
        if self._moving:
            self._moving = ""
            sys.stdout.write("\r\x1b[K")


def describe_moment(scene: Scene, time_s: float) -> str:
    """Say what is to be heard at a moment of the scene."""
    now = min(time_s, scene.length_s)
    begin = f"{format_clock(now)} of {format_clock(scene.length_s)}  "
    if scene.muted_from_s <= now < scene.muted_to_s:
        begin += "(muted) "
    cue = scene.at(now)
    return begin + (f"{cue.who}: {cue.text}" if cue else "")


def format_event(event: Event) -> str:
    """Say in a line what hear reports; an empty string for what needs none."""
    at_s = event.get("time_s", 0.0)
    match event["event"]:
        case "wake":
            text = f"wake       {event['word']} {event['score']:.2f}"
        case "near_miss":
            text = f"near miss  {event['word']} {event['score']:.2f}, so nothing is kept"
        case "sealed":
            at_s += event["length_s"]
            text = (
                f"sealed     {event['length_s']:.1f} s to {event['owner']}'s key,"
                f" {event['bytes']:,} bytes"
            )
        case "muted":
            text = "muted      microphone shut, memory wiped"
        case "unmuted":
            text = f"open       {event['muted_s']:.1f} s, and the word in it, were heard by nobody"
        case "not_kept":
            text = f"not kept   {event['reason']}"
        case _:  # the start, the sums and the seams between files have lines of their own, or none
            return ""
    return f"{format_clock(at_s)}  {text}"


def format_clock(time_s: float) -> str:
    """Return minutes and seconds."""
    return f"{int(time_s) // 60}:{int(time_s) % 60:02d}"
