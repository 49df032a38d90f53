"""Draw the pictures of the documents: ``python -m benchmarks.pictures`` writes docs/pictures/.

The flow and the monitor are the same bytes in each run, and a test compares them. The report is a
screenshot by chromium of a page with made-up results; its bytes depend on chromium and fonts.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from html import escape
from io import StringIO
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.terminal_theme import MONOKAI

from benchmarks.processes import finished, untuned
from benchmarks.sounds import ROOT
from listener import notices
from listener.errors import EarmarkError, Unavailable
from listener.evaluate.report import page
from listener.monitor.picture import Picture
from listener.monitor.view import render
from listener.notices import Level, Tally, Word
from tests.evaluate import sample

FOLDER: Final = ROOT / "docs" / "pictures"
REPORT: Final = "report.png"
REPORT_PX: Final = (1200, 940)
MONITOR_COLUMNS: Final = 100
NOW: Final = datetime(2026, 11, 28, 19, 30, tzinfo=UTC)

_LIMIT_S: Final = 60
# Rich's own format names a font on a content delivery network; a system font needs no request.
_TERMINAL: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;
font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> int:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FOLDER / name).write_text(draw(), "utf-8")
    try:
        write_report(FOLDER / REPORT)
    except EarmarkError as error:
        print(f"pictures: {error}", file=sys.stderr)
        return 1
    return 0


def monitor() -> str:
    """Return ``earmark monitor`` one second after a wake, as SVG."""
    state = Picture()
    for up_s in (1260.0, 1264.0):
        state.take(
            Level(
                level_dbfs=-31,
                floor_dbfs=-62,
                words=(Word(name="alexa", score=0.94, threshold=0.5),),
                mute="open",
                lamp="hearing",
                cpu_s=up_s * 0.012,
                up_s=up_s,
            ),
            up_s,
        )
    tally = Tally(
        device="kitchen",
        boot="0" * 16,
        seq=3,
        heard_samples=20_160_000,
        discarded_samples=19_936_000,
        sealed_samples=176_000,
        held_samples=48_000,
        wakes=4,
        near_misses=2,
        sealed=3,
    )
    state.take(notices.signed(tally, lambda _: bytes(64)), 1264.0)
    state.take(notices.Wake(word="alexa", score=0.94), 1264.0)
    console = Console(
        record=True,
        file=StringIO(),
        width=MONITOR_COLUMNS,
        force_terminal=True,
        legacy_windows=False,
    )
    console.print(render(state, 1265.0, NOW, "/var/lib/earmark"))
    return console.export_svg(
        title="earmark monitor", theme=MONOKAI, code_format=_TERMINAL, unique_id="monitor"
    )


def flow() -> str:
    """Return the way of the audio from the microphone to its owner, as SVG."""
    return "\n".join(_flow()) + "\n"


def write_report(file: Path) -> None:
    """Write a screenshot of an evaluation's page with made-up results.

    Args:
        file: the PNG to write.

    Raises:
        Unavailable: chromium is missing or failed.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise Unavailable("chromium is not installed", "apt install chromium")
    recordings = ("kitchen, Monday", "kitchen, Tuesday", "living room, Monday")
    words = (
        sample.word_result("engine A", 1.0, recordings),
        sample.word_result("engine B", 2.0, recordings),
    )
    result = msgspec.structs.replace(sample.result(*recordings), words=words)
    width, height = REPORT_PX
    with tempfile.TemporaryDirectory(prefix="earmark-pictures-") as folder:
        source = Path(folder) / "report.html"
        source.write_text(page.render(result, "Example with made-up results"), "utf-8")
        command = [
            chromium,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            f"--window-size={width},{height}",
            f"--user-data-dir={folder}/profile",
            f"--screenshot={file}",
            source.as_uri(),
        ]
        done = finished(command, untuned(), limit_s=_LIMIT_S)
    if done.returncode or not file.exists():
        raise Unavailable(f"chromium failed with exit code {done.returncode}")


DRAWINGS: Final[Mapping[str, Callable[[], str]]] = {"flow.svg": flow, "monitor.svg": monitor}
"""The pictures that are the same bytes in each run."""

_STEPS: Final = (
    "microphone",
    "gate",
    "ring buffer",
    "features",
    "model",
    "trigger",
    "clip",
    "attribution",
    "envelope",
)
_LEFT: Final = 24
_PITCH: Final = 104
_WIDE: Final = 88
_HIGH: Final = 36
_WIDTH: Final = 2 * _LEFT + _PITCH * len(_STEPS) - (_PITCH - _WIDE)
_HEIGHT: Final = 424
_SPAN: Final = (12, _WIDTH - 12)
_STYLE: Final = """\
<style>
text { font: 13px sans-serif; fill: #1c2b2d; text-anchor: middle; }
.left { text-anchor: start; } .name { font-weight: bold; } .note { fill: #51666a; }
.border { fill: #9c2f1f; } .box { fill: #fff; stroke: #35696f; }
.owner { fill: #e4f3e2; stroke: #3f7a3a; } .switch { fill: #fbe7e2; stroke: #9c2f1f; }
.band { fill: #e8f1f2; } .line { stroke: #35696f; fill: none; marker-end: url(#head); }
.rule { stroke: #9c2f1f; stroke-dasharray: 6 4; }
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"\
 orient="auto"><path d="M0 0L8 4L0 8z" fill="#35696f"/></marker></defs>"""


def _flow() -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Audio goes from the microphone through hear to an encrypted envelope, '
        'through send and the broker to the archive; the owner decrypts it">'
    )
    yield _STYLE
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#f7fafa"/>'
    last = _LEFT + _PITCH * (len(_STEPS) - 1)
    owner = _LEFT + _PITCH * 3
    yield from _band(12, 146, "hear", "no network, no key that decrypts")
    yield from _band(194, 66, "send", "no microphone, no key")
    yield from _band(306, 106, "owner's computer", "", (_SPAN[0], owner + _WIDE + 12))
    yield from _band(306, 106, "archive", "no key that decrypts", (owner + _PITCH + 12, _SPAN[1]))
    yield from _border(180, "encrypted files only: the spool")
    yield from _border(288, "encrypted messages only: MQTT through a broker")
    for index, step in enumerate(_STEPS):
        x = _LEFT + _PITCH * index
        yield from _box(x, 44, step)
        if index:
            yield _arrow(x - (_PITCH - _WIDE), 62, x, 62)
    gate = _LEFT + _PITCH
    yield from _box(gate, 112, "mute switch", "switch")
    yield _arrow(gate + _WIDE / 2, 112, gate + _WIDE / 2, 80)
    yield from _box(last, 209, "send")
    yield _arrow(last + _WIDE / 2, 80, last + _WIDE / 2, 209)
    yield from _box(last, 344, "store")
    yield _arrow(last + _WIDE / 2, 245, last + _WIDE / 2, 344)
    yield from _box(owner, 344, "private key", "owner")
    yield _arrow(last, 362, owner + _WIDE, 362)
    yield from _box(owner - 2 * _PITCH, 344, "clip", "owner")
    yield _arrow(owner, 362, owner - 2 * _PITCH + _WIDE, 362)
    yield "</svg>"


def _band(
    y: float, height: float, name: str, note: str, span: tuple[float, float] = _SPAN
) -> Iterator[str]:
    x, end = span
    yield f'<rect class="band" x="{x:g}" y="{y}" width="{end - x:g}" height="{height}" rx="6"/>'
    yield (
        f'<text class="left" x="{x + 12:g}" y="{y + 20}">'
        f'<tspan class="name">{escape(name)}</tspan>'
        f'<tspan class="note" dx="10">{escape(note)}</tspan></text>'
    )


def _box(x: float, y: float, text: str, kind: str = "box") -> Iterator[str]:
    yield f'<rect class="{kind}" x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="5"/>'
    yield _text(x + _WIDE / 2, y + 23, text)


def _border(y: float, text: str) -> Iterator[str]:
    yield f'<path class="rule" d="M12 {y}H{_WIDTH - 12}"/>'
    yield f'<text class="left border" x="{_LEFT}" y="{y - 5}">{escape(text)}</text>'


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path class="line" d="M{x:g} {y:g}L{to_x:g} {to_y:g}"/>'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:g}" y="{y:g}">{escape(text)}</text>'


if __name__ == "__main__":
    sys.exit(main())
