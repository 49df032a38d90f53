"""Draw the pictures of the documents: ``python -m benchmarks.pictures`` writes docs/pictures/.

The flow and the monitor are the same bytes in each run, and a test compares them. The report is a
screenshot by chromium of a page with made-up results; its bytes depend on chromium and fonts.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.terminal_theme import MONOKAI

from benchmarks.flow import flow
from benchmarks.processes import finished, untuned
from benchmarks.sounds import ROOT
from listener.errors import EarmarkError, Unavailable
from listener.evaluate.report import html
from listener.ipc import notices
from listener.ipc.notices import LevelNotice, Tally, WakeNotice, WordScore
from listener.monitor.state import HearState
from listener.monitor.terminal import render
from tests.evaluate import sample

FOLDER: Final = ROOT / "docs" / "pictures"
REPORT: Final = "report.png"
BROWSER: Final = ("browser-key.png", "browser-clips.png", "browser-log.png", "browser-phone.png")
"""Photographs of the browser page, which ``tests/page/test_pictures.py`` takes."""
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
    state = HearState()
    for up_s in (1260.0, 1264.0):
        state.update(
            LevelNotice(
                level_dbfs=-31,
                floor_dbfs=-62,
                words=(WordScore(name="alexa", score=0.94, threshold=0.5),),
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
    state.update(notices.sign_tally(tally, lambda _: bytes(64)), 1264.0)
    state.update(WakeNotice(word="alexa", score=0.94), 1264.0)
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
        source.write_text(html.render_page(result, "Example with made-up results"), "utf-8")
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
        # Under libfaketime (`faketime make test`) chromium waits for ever for its first frame.
        environment = {
            name: value
            for name, value in untuned().items()
            if name != "LD_PRELOAD" and not name.startswith("FAKETIME")
        }
        done = finished(command, environment, limit_s=_LIMIT_S)
    if done.returncode or not file.exists():
        raise Unavailable(f"chromium failed with exit code {done.returncode}")


DRAWINGS: Final[Mapping[str, Callable[[], str]]] = {"flow.svg": flow, "monitor.svg": monitor}
"""The pictures that are the same bytes in each run."""

if __name__ == "__main__":
    sys.exit(main())
