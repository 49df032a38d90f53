import base64
import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from listener.evaluate.metrics.results import DetectionEvent, EventKind, Target, WordResult
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
    assert f"<b>{rate.value:.3g}</b> ({rate.low:.3g} to {rate.high:.3g})" in text
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


@pytest.mark.system
def test_browser_shows_the_page_at_phone_width_without_errors(
    tmp_path: Path,
) -> None:
    chromium = shutil.which("chromium")
    assert chromium, "make debian installs it"
    file = tmp_path / "report.html"
    file.write_text(render("a.flac", sample.HOSTILE, sound=lambda _word, _event: FLAC), "utf-8")
    # A page of our own around it, which measures it; the page itself may run no script.
    frame = tmp_path / "frame.html"
    frame.write_text(
        """<!DOCTYPE html><iframe id="f" src="report.html" style="width:375px;height:800px">
        </iframe><script>f.onload = () => {
            const page = f.contentDocument, root = page.documentElement;
            const seen = [...page.querySelectorAll("figure > svg, .card > svg")];
            document.title = JSON.stringify([root.scrollWidth, root.clientWidth, seen.length,
                seen.filter(s => s.getBoundingClientRect().height < 40).length,
                page.querySelectorAll("script").length]);
            document.body.textContent = document.title;
        }</script>""",
        "utf-8",
    )

    done = subprocess.run(
        [
            chromium,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            "--virtual-time-budget=10000",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            frame.as_uri(),
        ],
        # Under libfaketime chromium never draws its first frame.
        env={
            name: value
            for name, value in os.environ.items()
            if name != "LD_PRELOAD" and not name.startswith("FAKETIME")
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )

    width, room, drawn, flat, scripts = msgspec.json.decode(
        done.stdout.partition("<body>")[2].partition("</body>")[0]
    )
    assert width <= room <= 375
    assert drawn > 10
    assert flat == 0
    assert scripts == 0
    assert "CONSOLE" not in done.stderr
