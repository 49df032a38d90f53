import json
import shutil
from pathlib import Path

import pytest
import soundfile

from listener.cli.main import main

pytestmark = pytest.mark.system  # real programs and models

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed; make debian brings it"
)


def voices(home: Path, *words: str) -> int:
    return main(["voices", *words, "--home", str(home)])


def test_list_has_every_engine_or_what_installs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert voices(tmp_path, "list", "--json") == 0

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["name"] for row in rows} == {
        *("espeak-ng", "flite", "festival", "rhvoice", "kokoro", "piper"),
    }
    assert all(row.get("version") or row.get("hint") for row in rows)
    assert voices(tmp_path, "list") == 0
    assert "run earmark voices add kokoro" in capsys.readouterr().out


@needs_espeak
def test_samples_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("say", "hey lumen", "--voices", "fast", "--engine", "espeak-ng")

    assert voices(tmp_path, *words, "--to", str(tmp_path / "out")) == 0

    printed = capsys.readouterr().out
    assert printed.startswith("hey lumen: hˈeɪ lˈuːmɛn\n")
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"{number}-espeak-ng.wav" for number in (1, 2, 3)]
    assert all(soundfile.info(file).samplerate == 16_000 for file in files)
    assert all(str(file) in printed for file in files)
    (tmp_path / "file").touch()
    assert voices(tmp_path, *words, "--to", str(tmp_path / "file")) == 69


@needs_espeak
def test_check_shows_the_share_that_a_model_detects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert voices(tmp_path, "check", "--engine", "espeak-ng", "--clips", "6", "--json") == 0

    row = json.loads(capsys.readouterr().out)
    assert (row["engine"], row["clips"]) == ("espeak-ng", 6)
    assert row["share"] == pytest.approx(row["detected"] / 6, abs=1e-3)
    assert row["detected"] >= 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("say", "hey 5"), 2, "is not a phrase of English letters"),
        (("check", "--clips", "0"), 2, "--clips 0 is out of range"),
        (("check", "--word", "nothing"), 78, "nothing"),
        (("add", "kokoro", "--from", "/nonexistent"), 69, "there is no file"),
        (("say", "hey", "--engine", "piper"), 69, "the voice piper was not added"),
        (("add", "nemo"), 2, "invalid choice"),
    ],
)
def test_errors(
    words: tuple[str, ...],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        status = voices(tmp_path, *words)
    except SystemExit as end:  # argparse's way
        status = int(str(end.code))

    assert status == code
    assert message in capsys.readouterr().err
