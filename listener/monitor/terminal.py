"""Live panel in a terminal, drawn by rich."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from listener.monitor.state import HearState
from listener.monitor.text import (
    NO_HEAR,
    START_HEAR,
    format_counters,
    format_duration,
    format_level,
    format_percent,
    format_states,
)

LOWEST_DBFS: Final = -80
"""Level at the left end of the bar; rooms and microphones are louder."""

_HIGHLIGHT_S: Final = 3.0
"""Seconds for which the last detection is shown in bold."""
_LAMPS: Final = {
    "idle": "green",
    "hearing": "bright_cyan",
    "muted": "red",
    "fault": "bold yellow",
    "done": "bold green",
    "refused": "magenta",
}


@contextlib.contextmanager
def create_view(home: str, *, is_live: bool) -> Iterator[Callable[[HearState, float], None]]:
    """Yield a function that draws a state on this terminal.

    Args:
        home: data directory of hear.
        is_live: redraw in place instead of printing one panel after the other.
    """
    console = Console()

    def panel(state: HearState, now_s: float) -> Panel:
        return render(state, now_s, datetime.now().astimezone(), home)

    if not is_live:
        yield lambda state, now_s: console.print(panel(state, now_s))
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda state, now_s: live.update(panel(state, now_s), refresh=True)


class Bar:
    """Horizontal bar with a mark, of the available width.

    Args:
        value: filled part, 0 to 1.
        mark: position of the mark, 0 to 1; None for no mark.
        style: of the filled part.
    """

    def __init__(self, value: float, mark: float | None, style: str) -> None:
        self._value = min(1.0, max(0.0, value))
        self._mark = mark
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        full, empty, line = ("#", "-", "|") if options.ascii_only else ("█", "·", "│")
        width = options.max_width
        filled = round(self._value * width)
        bar = Text(full * filled, self._style, no_wrap=True)
        bar.append(empty * (width - filled), "dim")
        if self._mark is not None:
            column = min(width - 1, round(min(1.0, max(0.0, self._mark)) * width))
            before, after = bar[:column], bar[column + 1 :]
            bar = before + Text(line, "bold") + after
        yield bar


class Dot:
    """Coloured dot with a text beside it.

    Args:
        style: colour of the dot.
        text: beside the dot.
    """

    def __init__(self, style: str, text: Text) -> None:
        self._style = style
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(" * " if options.ascii_only else " ● ", self._style) + self._text


def render(state: HearState, now_s: float, now: datetime, home: str) -> Panel:
    """Return a state as a panel.

    Args:
        state: state of hear.
        now_s: current time on the state's clock, in seconds.
        now: current wall clock time, from which the start time is computed.
        home: data directory of hear.
    """
    if not state.is_current(now_s):
        return Panel(
            Text(f"{NO_HEAR} at {home}; waiting: {START_HEAR}", "yellow"),
            title="earmark",
            safe_box=True,
        )
    return Panel(
        Group(_bars(state), Text(), _states(state), _counters(state, now_s)),
        title=_title(state, now),
        title_align="left",
        safe_box=True,
    )


def _title(state: HearState, now: datetime) -> str:
    name = "earmark" if state.tally is None else state.tally.device
    up_s = state.up_s or 0.0
    since = now - timedelta(seconds=up_s)
    return f"{name}: running since {since:%Y-%m-%d %H:%M:%S}, {format_duration(up_s)}"


def _bars(state: HearState) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    if state.level_dbfs is None:
        grid.add_row("level", Bar(0, None, "dim"), _pad(format_level(state)))
    else:
        floor = None if state.floor_dbfs is None else _bar_position(state.floor_dbfs)
        bar = Bar(_bar_position(state.level_dbfs), floor, "blue")
        grid.add_row("level", bar, _pad(format_level(state)))
    for word in state.words.values():
        style = "bold bright_green" if word.score >= word.threshold else "green"
        grid.add_row(
            word.name,
            Bar(word.score, word.threshold, style),
            _pad(f"{word.score:.2f}, wakes at {word.threshold:.2f}"),
        )
    return grid


def _states(state: HearState) -> Dot:
    style = _LAMPS[state.lamp]
    text = Text("; ".join(format_states(state)), style)
    return Dot(style, text + Text(f"; cpu {format_percent(state.cpu_percent)}"))


def _counters(state: HearState, now_s: float) -> Text:
    text = Text()
    for line in format_counters(state):
        text.append(f"   {line}\n")
    if (detection := state.detection) is not None:
        ago_s = now_s - detection.at_s
        kind = "wake" if detection.kind == "wake" else "near miss"
        text.append(
            f"   last {kind}: {detection.word} {detection.score:.2f}, {format_duration(ago_s)} ago",
            "bold" if ago_s < _HIGHLIGHT_S else "dim",
        )
    text.rstrip()
    return text


def _pad(text: str) -> str:
    """Pad a text to the widest one, so that the bars beside it keep their width."""
    return text.ljust(len("level -96 dB, floor -96 dB"))


def _bar_position(level_dbfs: int) -> float:
    return 1 - level_dbfs / LOWEST_DBFS
