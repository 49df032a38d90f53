import pytest

from listener.demo import output, scene
from listener.demo.output import Transcript

STAGE = scene.load_scene()


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (
            {"event": "wake", "time_s": 61.2, "word": "hey-lumen", "score": 0.987},
            "1:01  wake       hey-lumen 0.99",
        ),
        (
            {"event": "near_miss", "time_s": 5.0, "word": "hey-lumen", "score": 0.42},
            "0:05  near miss  hey-lumen 0.42, so nothing is kept",
        ),
        (
            {"event": "sealed", "time_s": 1.0, "length_s": 3.25, "owner": "ada", "bytes": 70830},
            "0:04  sealed     3.2 s to ada's key, 70,830 bytes",
        ),
        (
            {"event": "muted", "time_s": 33.6},
            "0:33  muted      microphone closed, audio in memory overwritten",
        ),
        (
            {"event": "unmuted", "time_s": 42.0, "muted_s": 8.4},
            "0:42  unmuted    after 8.4 s; the wake word meanwhile was not detected",
        ),
        ({"event": "not_kept", "time_s": 2.0, "reason": "gap"}, "0:03  not kept   gap"),
        ({"event": "started"}, ""),
    ],
)
def test_event_is_formatted_as_a_line(event: dict[str, object], shown: str) -> None:
    assert output.format_event(event) == shown
    assert len(shown) <= output.WIDTH - 9


def test_moment_shows_the_phrase() -> None:
    said = STAGE.said[0]

    shown = output.describe_moment(STAGE, said.from_s)

    assert shown == f"0:01 of 1:00  {said.who}: {said.text}"


def test_moment_shows_mute() -> None:
    assert "(muted)" in output.describe_moment(STAGE, STAGE.muted_words[0].from_s)


def test_clock_stops_at_the_end_of_the_scene() -> None:
    assert output.describe_moment(STAGE, 1000.0).startswith("1:00 of 1:00")


def test_no_progress_line_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    page = Transcript()

    page.moving("on the way")
    page.line("hear", "something")
    page.close()

    assert capsys.readouterr().out == "hear     something\n"


def test_progress_line_is_removed_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    page = Transcript(is_terminal=True)

    page.moving("x" * 200)
    page.moving("x" * 200)
    page.line("hear", "something")
    page.close()

    shown = capsys.readouterr().out
    assert shown.startswith("\r\x1b[K" + "x" * 40)
    assert shown.count("x") < output.WIDTH
    assert shown.endswith("\r\x1b[Khear     something\n")


def test_no_progress_line_on_a_dumb_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    page = Transcript(is_terminal=True)

    page.moving("on the way")

    assert not capsys.readouterr().out
