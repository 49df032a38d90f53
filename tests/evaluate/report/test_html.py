import base64
import html as html_module
import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from listener.evaluate.metrics.cost import detection_costs
from listener.evaluate.metrics.results import (
    Breakdown,
    DetectionEvent,
    EngineSpeed,
    EventKind,
    Target,
    WordResult,
)
from listener.evaluate.report import charts, html
from tests.evaluate import sample

FLAC = b"fLaC as far as anybody here knows"


class Reader(HTMLParser):
    """Counts tags, and keeps what they point at and what they say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [v or "" for k, v in attrs if k in ("src", "href", "action", "srcset")]
        assert not [k for k, _ in attrs if k.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def render(*names: str, sound: html.Sound | None = None) -> str:
    return html.render_page(sample.result(*names), "a test", sound)


def test_same_result_gives_the_same_page() -> None:
    assert render("a.flac", "b.flac") == render("a.flac", "b.flac")


def test_hostile_name_is_escaped() -> None:
    result = sample.result(sample.HOSTILE)

    text = html.render_page(result, sample.HOSTILE, None)

    found = Reader(text)
    assert "script" not in found.tags
    assert "<script" not in text
    assert "\u202e" not in text
    assert "\x07" not in text
    assert any("<script>alert(1)</script>" in words for words in found.words)


def test_name_with_invalid_utf_8_does_not_break_the_page() -> None:
    text = render("half \ud800 of a pair")

    assert "half \ufffd of a pair" in text
    text.encode("utf-8")


def test_page_loads_no_external_resource() -> None:
    text = render("a.flac", sound=lambda _word, _event: FLAC)

    found = Reader(text)
    assert found.sources
    assert all(source.startswith("data:") for source in found.sources)
    assert "http://" not in text.replace('"http://www.w3.org/2000/svg"', "")
    assert "https://" not in text
    assert {"script", "iframe", "object", "form", "base"}.isdisjoint(found.tags)


def test_page_has_no_audio_by_default() -> None:
    silent = render("a.flac")
    loud = render("a.flac", sound=lambda _word, _event: FLAC)

    assert "audio" not in Reader(silent).tags
    assert "This page contains no audio." in silent
    assert base64.b64encode(FLAC).decode() in loud
    assert "share it only as the corpus may be shared" in loud


def test_audio_is_read_only_for_the_false_wakes_on_the_page() -> None:
    asked: list[DetectionEvent] = []

    def sound(_word: WordResult, event: DetectionEvent) -> None:
        asked.append(event)

    render(*(f"{n}.flac" for n in range(50)), sound=sound)

    assert len(asked) == 2 * html.MOST_CARDS
    assert {event.kind for event in asked} == {EventKind.FALSE_WAKE}


def test_every_rate_on_the_page_has_its_interval() -> None:
    result = sample.result("a.flac")

    text = html.render_page(result, "a test", None)

    rate = result.words[0].false_wakes
    assert rate.value is not None
    assert rate.low is not None
    assert rate.high is not None
    assert f"<b>{rate.value:.1f}</b> ({rate.low:.1f} to {rate.high:.1f})" in text
    assert "95 % interval" in text


def test_missing_items_and_warnings_are_shown() -> None:
    result = sample.result("a.flac")

    text = html.render_page(result, "a test", None)

    assert result.warnings[0] in text
    assert "it is damaged" in text
    for value in (*result.hashes.values(), *result.definitions.values()):
        assert value in text


def test_events_are_sorted_by_plays_and_listed_once() -> None:
    result = sample.result("a.flac", "b.flac")
    word = result.words[0]
    again = [
        msgspec.convert(
            msgspec.to_builtins(event) | {"play": play, "item": "b.flac"}, DetectionEvent
        )
        for play in range(1, 4)
        for event in word.events
        if event.kind is EventKind.FALSE_WAKE and event.item == "b.flac"
    ]
    repeat = msgspec.structs.replace(
        word.repeatability[0], item="b.flac", at_s=again[0].at_s + 0.5, fired=4, plays=8
    )
    word = msgspec.structs.replace(
        word, events=(*word.events, *again), repeatability=(*word.repeatability, repeat)
    )

    text = html.render_page(msgspec.structs.replace(result, words=(word,)), "a test", None)

    cards = text.split('<article class="card">')[1:]
    assert "woke in 4 of 8 plays" in cards[0]
    assert "woke in 3 of 8 plays" in cards[1]
    assert sum("woke in 4 of 8" in card for card in cards) == 1


def test_engines_with_the_same_curve_are_named() -> None:
    result = sample.result("a.flac")
    words = [
        msgspec.structs.replace(result.words[0], engine=name)
        for name in ("earmark: alexa", "openwakeword: alexa")
    ]

    same = html.render_page(msgspec.structs.replace(result, words=tuple(words)), "a test", None)

    assert "The curves of earmark: alexa and openwakeword: alexa are the same" in same
    assert "are the same" not in render("a.flac")


def test_a_single_miss_is_not_plural() -> None:
    assert "<summary>the miss with the lowest score</summary>" in render("a.flac")


def test_costs_and_speeds_have_columns_where_they_were_measured() -> None:
    result = sample.result("a.flac")
    word = result.words[0]
    costs = detection_costs(
        *(word.threshold, word.misses, word.false_wakes, word.curve, (0.0001,)),
        cost_miss=1,
        cost_false_wake=0.1,
    )
    speed = EngineSpeed(
        engine="earmark",
        audio_s=60,
        real_time_factor=0.0042,
        cpu_share=0.0031,
        runs=3,
        machine="a board",
    )
    with_both = msgspec.structs.replace(
        result,
        words=(msgspec.structs.replace(word, costs=costs), result.words[1]),
        speeds=(speed,),
    )

    text = html.render_page(with_both, "a test", None)

    assert "<th>detection cost</th><th>speed</th>" in text
    assert "<b>0.0042</b> real-time factor<small>0.31 % of a core" in text
    assert "not measured" in text
    assert "<th>detection cost</th>" not in render("a.flac")
    assert "<th>speed</th>" not in render("a.flac")


def test_result_without_labelled_words_has_no_miss_curve() -> None:
    result = sample.result("a.flac")
    word = msgspec.structs.replace(
        result.words[0],
        words_said=0,
        misses=sample.misses(0, 0),
        speakers=(),
        groups=(),
        histogram=None,
        latency_s=(),
        activation_s=(),
        misses_by_speaker=None,
        false_wakes_by_recording=None,
        events=(),
    )

    text = html.render_page(msgspec.structs.replace(result, words=(word,)), "a test", None)

    assert "Misses against false wakes" not in text
    assert "False wakes against the threshold" in text
    assert "False wakes in time" not in text
    assert "no labelled word" in text


def test_pairs_are_compared_and_a_target_has_its_interval() -> None:
    result = sample.result("a.flac")
    pair = msgspec.structs.replace(
        sample.COMPARISON,
        second="<b>other</b>",
        only_first_false=4,
        only_second_false=5,
        ratio_high=None,
    )
    target = Target(
        per_hour=0.5, threshold=0.71, low=0.43, high=None, carried=False, still_needed_h=7
    )
    word = msgspec.structs.replace(result.words[0], target=target)

    text = html.render_page(
        msgspec.structs.replace(result, words=(word,), comparisons=(pair,)), "a test", None
    )

    assert "Comparison on the same recordings" in text
    assert "2, 9, 1" in text
    assert "0.065" in text
    assert "&lt;b&gt;other&lt;/b&gt;" in text
    assert "for 0.5 per hour, from 0.43; upper end unknown" in text


def test_long_lists_are_truncated_with_a_note() -> None:
    text = render(*(f"{n}.flac" for n in range(50)))

    assert f"{100 - html.MOST_CARDS} more false wakes are in events.csv" in text
    assert f"({50 - charts.MOST_LANES} more recordings in events.csv)" in text


BROWSER = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--allow-file-access-from-files",
    "--enable-logging=stderr",
    "--virtual-time-budget=10000",
)
LONG = "negative/speech_commands/a_folder_with_a_long_name/2021-03-04_recording_00017.wav"


def browse(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    chromium = shutil.which("chromium")
    assert chromium, "make debian installs it"
    return subprocess.run(
        [chromium, *BROWSER, f"--user-data-dir={folder / 'profile'}", *options],
        # Under libfaketime chromium never draws its first frame.
        env={
            name: value
            for name, value in os.environ.items()
            if name != "LD_PRELOAD" and not name.startswith("FAKETIME")
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )


@pytest.mark.system
@pytest.mark.parametrize("px", [1200, 500, 320])
def test_browser_shows_the_page_at_any_width_without_errors(tmp_path: Path, px: int) -> None:
    file = tmp_path / "report.html"
    names = ("a.flac", sample.HOSTILE, LONG)
    result = sample.result(*names)
    words = (
        *(sample.word_result(engine, 1.0, names) for engine in ("earmark: alexa", "other: alexa")),
        msgspec.structs.replace(
            sample.word_result("openwakeword: alexa", 2.0, names),
            speakers=(
                Breakdown(
                    name=LONG, misses=sample.misses(1, 9), false_wakes=sample.false_wakes(1, 1)
                ),
            ),
        ),
    )
    page = html.render_page(
        msgspec.structs.replace(result, words=words), "a test", lambda _word, _event: FLAC
    )
    file.write_text(page, "utf-8")
    # A page of our own around it, which measures it; the page itself may run no script.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"""<!DOCTYPE html><iframe id="f" src="report.html" style="width:{px}px;height:800px">
        </iframe>"""
        """<script>f.onload = () => {
            const page = f.contentDocument, root = page.documentElement;
            const seen = [...page.querySelectorAll("figure > svg, .card > svg")];
            const cut = seen.flatMap(svg => {
                const frame = svg.getBoundingClientRect();
                return [...svg.querySelectorAll("text")].filter(text => {
                    const box = text.getBoundingClientRect();
                    return box.left < frame.left - 1 || box.right > frame.right + 1;
                }).map(text => text.textContent);
            });
            const table = page.querySelector(".wide");
            document.title = JSON.stringify([root.scrollWidth, root.clientWidth, seen.length,
                seen.filter(s => s.getBoundingClientRect().height < 40).length,
                page.querySelectorAll("script").length, cut,
                table.scrollWidth - table.clientWidth]);
            document.body.textContent = document.title;
        }</script>""",
        "utf-8",
    )

    done = browse(tmp_path, "--dump-dom", "--window-size=1300,900", frame.as_uri())

    width, room, drawn, flat, scripts, cut, hidden = msgspec.json.decode(
        html_module.unescape(done.stdout.partition("<body>")[2].partition("</body>")[0])
    )
    assert width <= room <= px
    assert drawn > 10
    assert flat == 0
    assert scripts == 0
    assert cut == []
    assert hidden == 0
    assert "CONSOLE" not in done.stderr


@pytest.mark.system
def test_printed_page_loses_no_column_and_has_no_background(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    page = render("a.flac", sample.HOSTILE, LONG)
    # The rules for print apply to the screen here, at the width of A4 within its margins.
    file.write_text(page.replace("@media print", "@media all").replace("@page", "@media none"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        """<!DOCTYPE html><iframe id="f" src="report.html" style="width:703px;height:900px">
        </iframe><script>f.onload = () => {
            const page = f.contentDocument, view = f.contentWindow;
            const hidden = [...page.querySelectorAll(".wide")].map(
                e => e.scrollWidth - e.clientWidth);
            document.body.textContent = JSON.stringify([Math.max(...hidden),
                page.querySelectorAll(".rates tr:nth-child(1) td").length,
                view.getComputedStyle(page.querySelector(".rates td")).display,
                view.getComputedStyle(page.body).backgroundColor,
                page.documentElement.scrollWidth]);
        }</script>""",
        "utf-8",
    )

    done = browse(tmp_path, "--dump-dom", "--window-size=800,1000", frame.as_uri())

    hidden, columns, display, background, width = msgspec.json.decode(
        html_module.unescape(done.stdout.partition("<body>")[2].partition("</body>")[0])
    )
    assert hidden == 0
    assert (columns, display) == (6, "table-cell")
    assert background == "rgba(0, 0, 0, 0)"
    assert width <= 703
