import json
import shutil
from pathlib import Path

import pytest

from listener.cli.main import main

pytestmark = pytest.mark.system  # real models and a synthesiser's process

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed; make debian brings it"
)


def neighbours(home: Path, *words: str) -> int:
    return main(["evaluate", "neighbours", "--home", str(home), *words])


def test_silent_mode_ranks_neighbours_by_distance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = neighbours(tmp_path, "alexa", "--silent", "--most", "20", "--json")

    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert len(found) == 20
    assert [each["distance"] for each in found] == sorted(each["distance"] for each in found)
    assert {"alexi", "a lex"} <= {each["phrase"] for each in found}
    assert not any("alexa" in each["phrase"].split() for each in found)


def test_single_words_have_no_spaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    neighbours(tmp_path, "timer", "--silent", "--single", "--most", "15")

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15
    assert not any(" " in line[:24].strip() for line in lines)


def test_word_missing_from_the_dictionary_is_given_in_phones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert neighbours(tmp_path, "hey-mycroft", "--silent") == 2
    assert "--phones" in capsys.readouterr().err

    code = neighbours(
        tmp_path, "hey-mycroft", "--silent", "--phones", "HH EY1 M AY1 K R AO2 F T", "--most", "9"
    )

    assert code == 0
    assert len(capsys.readouterr().out.splitlines()) == 9


@needs_espeak
def test_spoken_phrases_are_ranked_after_the_word_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["alexa", "--most", "8", "--voice", "en+f2", "--voice", "en-us+f2:160:45"]

    code = neighbours(tmp_path, *arguments, "--json")

    itself, *rest = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert (itself["phrase"], itself["distance"]) == ("alexa", 0)
    assert itself["woke"] >= 1
    assert list(itself["scores"]) == ["en+f2:150:50", "en-us+f2:160:45"]
    assert [each["woke"] for each in rest] == sorted((e["woke"] for e in rest), reverse=True)
    assert len(rest) == 8
    neighbours(tmp_path, "alexa", "--most", "1", "--voice", "en+f2")
    assert "the wake word" in capsys.readouterr().out.splitlines()[0]


@needs_espeak
def test_threshold_above_all_scores_gives_no_wakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    neighbours(
        *(tmp_path, "alexa", "--most", "2", "--voice", "en+f2", "--json"),
        *("--threshold", "0.999999"),
    )

    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["woke"] for each in found] == [0, 0, 0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("alexa", "--most", "0"), "--most 0 is out of range"),
        (("alexa", "--phones", "QQ"), "not a phone"),
        (("alexa", "--voice", "a b"), "is not a valid voice"),
        (("alexa", "--threshold", "2"), "--threshold 2"),
    ],
)
def test_invalid_arguments_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert neighbours(tmp_path, *words) == 2
    assert said in capsys.readouterr().err


def test_missing_espeak_is_an_error_with_install_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert neighbours(tmp_path, "alexa") == 69
    assert "apt install espeak-ng" in capsys.readouterr().err
