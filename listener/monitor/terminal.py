"""A picture in a terminal, by rich."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from listener.monitor import text as lines
from listener.monitor.state import HearState

LOWEST_DBFS: Final = -80
"""Where the bar of the level begins: no room and no microphone is quieter."""

_SHOWN_S: Final = 3.0  # so long the last wake stays bright
_LAMPS: Final = {"idle": "green", "hearing": "bright_cyan", "muted": "red", "fault": "bold yellow"}


@contextlib.contextmanager
def create_view(home: str, *, is_live: bool) -> Iterator[Callable[[HearState, float], None]]:
    """Give what draws a picture on this terminal at a time of the picture's clock.

    Args:
        home: whose hear it is.
        is_live: whether each picture takes the place of the one before.
    """
    console = Console()

    def panel(picture: HearState, now_s: float) -> Panel:
        return render(picture, now_s, datetime.now().astimezone(), home)

    if not is_live:
        yield lambda picture, now_s: console.print(panel(picture, now_s))
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda picture, now_s: live.update(panel(picture, now_s), refresh=True)


class Bar:
    """A horizontal bar with a mark, as wide as there is room.

    Args:
        value: how much of it is full, 0 to 1.
        mark: where the mark stands, 0 to 1; None for none.
        style: of the full part.
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
            at = min(width - 1, round(min(1.0, max(0.0, self._mark)) * width))
            before, after = bar[:at], bar[at + 1 :]
            bar = before + Text(line, "bold") + after
        yield bar


class Dot:
    """A lamp, with what is said beside it.

    Args:
        style: the lamp's colour.
        text: what is said.
    """

    def __init__(self, style: str, text: Text) -> None:
        self._style = style
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(" * " if options.ascii_only else " ● ", self._style) + self._text


def render(picture: HearState, now_s: float, now: datetime, home: str) -> Panel:
    """Return a picture as a panel.

    Args:
        picture: what is known.
        now_s: the time now, on the picture's clock.
        now: the wall clock, to say since when.
        home: whose hear it is.
    """
    if not picture.is_current(now_s):
        return Panel(
            Text(f"{lines.NO_HEAR} at {home}; waiting", "yellow"), title="earmark", safe_box=True
        )
    return Panel(
        Group(_bars(picture), Text(), _states(picture), _sums(picture, now_s)),
        title=_title(picture, now),
        title_align="left",
        safe_box=True,
    )


def _title(picture: HearState, now: datetime) -> str:
    name = "earmark" if picture.tally is None else picture.tally.device
    up_s = picture.up_s or 0.0
    since = now - timedelta(seconds=up_s)
    return f"{name} hears since {since:%Y-%m-%d %H:%M:%S}, {lines.format_duration(up_s)}"


def _bars(picture: HearState) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    if picture.level_dbfs is None:
        grid.add_row("level", Bar(0, None, "dim"), _pad(lines.format_level(picture)))
    else:
        floor = None if picture.floor_dbfs is None else _place(picture.floor_dbfs)
        bar = Bar(_place(picture.level_dbfs), floor, "blue")
        grid.add_row("level", bar, _pad(lines.format_level(picture)))
    for word in picture.words.values():
        style = "bold bright_green" if word.score >= word.threshold else "green"
        grid.add_row(
            word.name,
            Bar(word.score, word.threshold, style),
            _pad(f"{word.score:.2f}, wakes at {word.threshold:.2f}"),
        )
    return grid


def _states(picture: HearState) -> Dot:
    style = _LAMPS[picture.lamp]
    text = Text("; ".join(lines.format_states(picture)), style)
    return Dot(style, text + Text(f"; cpu {lines.format_percent(picture.cpu_percent)}"))


def _sums(picture: HearState, now_s: float) -> Text:
    text = Text()
    for line in lines.format_counters(picture):
        text.append(f"   {line}\n")
    if (found := picture.found) is not None:
        ago_s = now_s - found.at_s
        what = "wake" if found.kind == "wake" else "near miss"
        text.append(
            f"   last {what}: {found.word} {found.score:.2f}, {lines.format_duration(ago_s)} ago",
            "bold" if ago_s < _SHOWN_S else "dim",
        )
    text.rstrip()
    return text


def _pad(text: str) -> str:
    """Return a text as wide as the widest, so that the bars beside it keep their width."""
    return text.ljust(len("level -96 dB, floor -96 dB"))


def _place(level_dbfs: int) -> float:
    return 1 - level_dbfs / LOWEST_DBFS
