"""Output of the demo: plain lines, and on a terminal one progress line that is overwritten."""

import os
import shutil
import sys

from listener.config import ClipSettings
from listener.demo.player import Event
from listener.demo.scene import Scene

WIDTH = 80


class Transcript:
    """Printer of lines, with a progress line below them on a terminal. For one thread.

    Args:
        is_terminal: whether standard output is a terminal; None to find out.
    """

    def __init__(self, *, is_terminal: bool | None = None) -> None:
        is_watched = sys.stdout.isatty() if is_terminal is None else is_terminal
        self._has_progress = is_watched and os.environ.get("TERM", "dumb") != "dumb"
        self._progress = ""

    def line(self, about: str, text: str) -> None:
        """Print a line."""
        self._wipe()
        print(f"{about:<9}{text}".rstrip(), flush=True)  # noqa: T201 - the command's output

    def moving(self, text: str) -> None:
        """Replace the progress line."""
        if not self._has_progress or text == self._progress:
            return
        width = min(WIDTH, shutil.get_terminal_size().columns) - 1
        self._progress = text
        sys.stdout.write(f"\r\x1b[K{text[:width]}")
        sys.stdout.flush()

    def close(self) -> None:
        """Remove the progress line."""
        self._wipe()

    def _wipe(self) -> None:
        if self._progress:
            self._progress = ""
            sys.stdout.write("\r\x1b[K")


def describe_moment(scene: Scene, time_s: float) -> str:
    """Return the time, mute and speech at a moment of the scene, as a line.

    Args:
        scene: that is played.
        time_s: seconds from its beginning.
    """
    now = min(time_s, scene.length_s)
    begin = f"{format_clock(now)} of {format_clock(scene.length_s)}  "
    if scene.muted_from_s <= now < scene.muted_to_s:
        begin += "(muted) "
    cue = scene.at(now)
    return begin + (f"{cue.who}: {cue.text}" if cue else "")


def format_event(event: Event) -> str:
    """Return an event of hear as a line, or an empty string if it needs none."""
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
            text = "muted      microphone closed, audio in memory overwritten"
        case "unmuted":
            text = (
                f"unmuted    after {event['muted_s']:.1f} s;"
                " the wake word meanwhile was not detected"
            )
        case "not_kept":
            at_s += ClipSettings().pre_roll_s  # the wake, in place of the begin of the clip
            text = f"not kept   {event['reason']}"
        case _:  # the start, the totals and the joints between files have their own lines, or none
            return ""
    return f"{format_clock(at_s)}  {text}"


def format_clock(time_s: float) -> str:
    """Return seconds as minutes and seconds."""
    return f"{int(time_s) // 60}:{int(time_s) % 60:02d}"
