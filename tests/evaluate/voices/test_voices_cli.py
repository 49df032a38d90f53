"""``earmark evaluate voices`` on tones in place of voices: from recordings to the report.

The network is replaced by the levels of eight bands, so that the run takes a second. Real voices:
docs/research/voices.md.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.cli import voices
from listener.cli.main import main
from listener.voiceprint.scoring import Embedding

BANDS_HZ = (200, 400, 700, 1100, 1600, 2400, 3600, 5200)
UTTERANCES = 6


class Bands:
    """An encoder: the level of each band, with the mean removed."""

    model_sha256 = "00" * 32
    loaded = 0

    @classmethod
    def load(cls) -> Self:
        cls.loaded += 1
        return cls()

    def embed(self, samples: Samples) -> Embedding:
        spectrum = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
        places = [round(hz * len(samples) / SAMPLE_RATE_HZ) for hz in BANDS_HZ]
        width = len(samples) // 200
        levels = np.log([spectrum[at - width : at + width].sum() + 1 for at in places])
        levels -= levels.mean()
        vector: Embedding = (levels / np.linalg.norm(levels)).astype(np.float32)
        return vector


class Always:
    """A detector that takes everything for speech."""

    def __init__(self, _model: object) -> None:
        pass

    def reset(self) -> None:
        pass

    def probability(self, _samples: Samples) -> float:
        return 1.0


@pytest.fixture(autouse=True)
def _no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "SpeakerEmbedding", Bands)
    monkeypatch.setattr(voices, "SpeechNet", Always)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Ten speakers of two groups; each has a few tones of their own, at changing levels."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = []
    random = np.random.default_rng(1)
    for speaker in range(10):
        group = "ab"[speaker % 2]
        tones = random.choice(BANDS_HZ, 3, replace=False)
        for number in range(UTTERANCES):
            at = np.arange(3 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
            sound = random.normal(scale=30, size=len(at))
            for hz in tones:
                sound += random.uniform(500, 3000) * np.sin(2 * np.pi * hz * at + number)
            name = f"{group}/{speaker}-{number}.wav"
            (folder / group).mkdir(exist_ok=True)
            soundfile.write(folder / name, sound.astype(np.int16), SAMPLE_RATE_HZ, "PCM_16")
            rows.append(f"{name}\tspeaker {speaker}")
    (folder / "list.tsv").write_text("path\tspeaker\n" + "\n".join(rows) + "\n")
    return folder


def evaluate(corpus: Path, out: Path, *options: str, only: Sequence[str] = ("a/*", "b/*")) -> int:
    first, second = only
    return main(
        [
            *("evaluate", "voices", "--corpus", str(corpus / "list.tsv"), "--out", str(out)),
            *("--calibrate", first, "--judge", second, *options),
        ]
    )


def test_report_has_both_directions(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    assert evaluate(corpus, out, "--length-s", "1") == 0

    printed = capsys.readouterr().out
    result = json.loads((out / "result.json").read_text())
    assert result["format"] == "earmark-voices/1"
    assert [each["judged_on"] for each in result["directions"]] == ["b/*", "a/*"]
    assert [each["calibrated_on"] for each in result["directions"]] == ["a/*", "b/*"]
    assert [group["speakers"] for group in result["groups"]] == [5, 5]
    for direction in result["directions"]:
        assert direction["cohort"] == 5
        assert [each["length_s"] for each in direction["verification"]] == [1.0, 2.0]
        # Households are judged where a clip would be made: not at 1 s.
        assert {each["length_s"] for each in direction["households"]} == {2.0}
        assert {each["owners"] for each in direction["households"]} == {2}
        assert direction["refused_households"] == [
            {"owners": 4, "missing": 1},
            {"owners": 8, "missing": 5},
        ]
        assert {each["place"] for each in direction["second_voice"]} == {"after", "over"}
        for each in direction["verification"]:
            rate = each["equal_error"]
            assert rate["low"] <= rate["value"] <= rate["high"]
    assert "b/*, calibrated on a/*" in printed
    assert "8 owners and guests: refused, 5 speakers missing" in printed
    page = (out / "report.html").read_text()
    assert "<script" not in page
    assert "Strangers accepted" in page or "strangers accepted" in page
    figures = sorted(path.name for path in (out / "figures").glob("*.svg"))
    assert figures[0].startswith("figure-01-det-b")
    assert len(figures) == 8
    for name in ("verification", "households", "second-voice"):
        assert (out / f"{name}.csv").read_text().count("\n") > 2


def test_tones_that_differ_are_told_apart(corpus: Path, tmp_path: Path) -> None:
    evaluate(corpus, tmp_path / "out", "--length-s", "2")

    result = json.loads((tmp_path / "out" / "result.json").read_text())
    for direction in result["directions"]:
        (clean,) = direction["verification"]
        assert clean["equal_error"]["value"] < 0.2


def test_same_inputs_give_the_same_bytes_and_the_cache_is_used(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = str(tmp_path / "cache")
    evaluate(corpus, tmp_path / "one", "--length-s", "2", "--cache", cache)

    def not_again(_self: Bands, _samples: Samples) -> Embedding:
        pytest.fail("an embedding was computed twice")

    monkeypatch.setattr(Bands, "embed", not_again)
    evaluate(corpus, tmp_path / "two", "--length-s", "2", "--cache", cache)

    for path in sorted((tmp_path / "one").rglob("*.*")):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes(), path.name


def test_noise_and_rooms_are_conditions_of_their_own(corpus: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    noise, room = tmp_path / "noise.wav", tmp_path / "room.wav"
    soundfile.write(noise, random.normal(scale=0.1, size=SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    response = np.zeros(800)
    response[[0, 400]] = 1.0, 0.3
    soundfile.write(room, response, SAMPLE_RATE_HZ)

    evaluate(
        corpus,
        tmp_path / "out",
        *("--length-s", "2", "--noise", str(noise), "--snr-db", "10", "--room", str(room)),
    )

    result = json.loads((tmp_path / "out" / "result.json").read_text())
    (first, _) = result["directions"]
    assert [each["condition"] for each in first["verification"]] == [
        "clean",
        "10 dB",
        "room",
        "room, 10 dB",
    ]
    assert {each["condition"] for each in first["second_voice"]} == {"clean", "10 dB"}
    assert set(result["hashes"]) >= {"sound noise.wav", "sound room.wav", "corpus", "code"}


def test_json_is_one_object_a_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(corpus, tmp_path / "out", "--length-s", "2", "--json")

    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["group"]["name"] for each in objects if "group" in each] == ["a/*", "b/*"]
    (rate, _) = [each for each in objects if "verification" in each]
    assert (rate["judged_on"], rate["verification"]["condition"]) == ("b/*", "clean")
    assert "curve" not in rate["verification"]


def test_requested_household_that_cannot_be_formed_is_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(corpus, tmp_path / "out", "--length-s", "2", "--household", "6") == 1

    assert "6 owners and guests: refused, 3 speakers missing" in capsys.readouterr().out


def test_speakers_are_divided_in_halves(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        [
            *("evaluate", "voices", "--corpus", str(corpus / "list.tsv"), "--length-s", "2"),
            *("--out", str(tmp_path / "out")),
        ]
    )

    assert code == 0
    assert "first half: 5 speakers enrolled with 5 recordings" in capsys.readouterr().out


def test_speakers_with_too_little_speech_to_enrol_are_guests(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A household of four needs two guests beside them, who need no enrolment."""
    for speaker in (4, 5):
        for number in range(2, UTTERANCES):
            (corpus / "ab"[speaker % 2] / f"{speaker}-{number}.wav").unlink()
    for sheet in corpus.glob("*.tsv"):
        lines = sheet.read_text().splitlines()
        kept = [line for line in lines if not line[2:].startswith(("4-", "5-")) or line[4] in "01"]
        sheet.write_text("\n".join(kept) + "\n")

    assert evaluate(corpus, tmp_path / "out", "--length-s", "2", "--household", "3") == 0

    assert "a/*: 4 speakers enrolled with 5 recordings, 1 as guests only" in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    for direction in result["directions"]:
        assert direction["cohort"] == 5
        (clean,) = direction["verification"]
        assert clean["owners_refused"]["exposure"] == 4 * 4
        assert clean["strangers_accepted"]["exposure"] == 4 * 4 * 3 + 2 * 4
        (house,) = direction["households"]
        assert house["guests_accepted"]["exposure"] == 4 * 4 + 2


def test_missing_recording_is_reported(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "a" / "0-0.wav").unlink()

    assert evaluate(corpus, tmp_path / "out", "--length-s", "2") == 1

    assert "missing: a/0-0.wav: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "only", "message"),
    [
        ((), ("a/*", "*"), "5 speakers in both groups"),
        ((), ("a/0-*", "b/*"), "2 speakers missing"),
        ((), ("c/*", "b/*"), "3 speakers missing"),
        (("--household", "1"), ("a/*", "b/*"), "--household 1 is out of range"),
        (("--length-s", "9"), ("a/*", "b/*"), "--length-s 9 is out of range"),
        (("--accepted", "0.5"), ("a/*", "b/*"), "--accepted 0.5 is out of range"),
        (("--accepted", "0"), ("a/*", "b/*"), "--accepted 0 is out of range"),
        (("--margin", "nan"), ("a/*", "b/*"), "--margin nan is out of range"),
        (("--snr-db", "10"), ("a/*", "b/*"), "--noise and --snr-db need each other"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: Sequence[str],
    only: Sequence[str],
    message: str,
) -> None:
    assert evaluate(corpus, tmp_path / "out", *options, only=only) == 2

    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "result.json").exists()


def test_short_commands_make_no_clip(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "commands"
    folder.mkdir()
    for name, seconds in (("off", 1.0), ("on", 1.2), ("long", 2.0)):
        sound = np.random.default_rng(len(name)).normal(scale=0.1, size=int(seconds * 16_000))
        soundfile.write(folder / f"{name}.wav", sound, SAMPLE_RATE_HZ)

    evaluate(corpus, tmp_path / "out", "--length-s", "2", "--commands", str(folder))

    assert "short commands: 2 of 3 make no clip" in capsys.readouterr().out
