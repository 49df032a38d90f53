"""The verb ``score``: the device's own scores of recordings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ
from listener.cli.main import main

RNG = np.random.default_rng(3)
NOISE = RNG.integers(-3000, 3000, 2 * SAMPLE_RATE_HZ, np.int16)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    path = tmp_path / "noise.wav"
    soundfile.write(path, NOISE, SAMPLE_RATE_HZ)
    return path


def objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def words_in(recordings: Path, count: int) -> list[str]:
    """Paths of clips in which "alexa" is said."""
    return sorted(map(str, (recordings / "positive" / "alexa").glob("*.flac")))[:count]


def test_every_step_has_a_line(noise: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["score", str(noise), "--model", "alexa", "--json"])

    lines = objects(capsys)
    assert code == 0
    assert [line["first_sample"] for line in lines] == list(range(0, 32_000, FRAME_SAMPLES))
    assert {line["end_sample"] - line["first_sample"] for line in lines} == {FRAME_SAMPLES}
    assert {line["file"] for line in lines} == {str(noise)}
    assert all(list(line) == ["file", "first_sample", "end_sample", "scores"] for line in lines)
    assert all(list(line["scores"]) == ["alexa"] for line in lines)
    assert [line["scores"]["alexa"] for line in lines[:5]] == [0.0] * 5
    assert all(0 < line["scores"]["alexa"] < 1 for line in lines[5:])


def test_incomplete_frame_at_the_end_is_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, NOISE[: 3 * FRAME_SAMPLES - 1], SAMPLE_RATE_HZ)

    main(["score", str(path), "--json"])

    assert [line["end_sample"] for line in objects(capsys)] == [1280, 2560]


def test_at_a_hop_of_40_ms_there_are_twice_as_many_steps(
    noise: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["score", str(noise), "--json", "--hop-ms", "40"])

    lines = objects(capsys)
    assert [line["end_sample"] for line in lines] == list(range(640, 32_001, 640))


def test_several_models_and_labels_have_a_score_each(
    noise: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["score", str(noise), "--json", "--model", "timer", "--model", "alexa"])

    scores = objects(capsys)[-1]["scores"]
    assert list(scores)[:2] == ["timer", "alexa"]
    labels = [score for name, score in scores.items() if name.endswith("_timer")]
    assert len(labels) == 6
    assert scores["timer"] == max(labels)


def test_detector_is_reset_for_each_file(noise: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["score", str(noise), str(noise), "--json"])

    lines = objects(capsys)
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


def test_folder_is_expanded_to_its_audio_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name in ("b/c/3.flac", "b/2.WAV", "a.wav"):
        soundfile.write(tmp_path / name, NOISE[:2000], SAMPLE_RATE_HZ)
    (tmp_path / "notes.txt").write_text("not a sound")

    main(["score", str(tmp_path), "--json"])

    names = [str(tmp_path / name) for name in ("a.wav", "b/2.WAV", "b/c/3.flac")]
    assert [line["file"] for line in objects(capsys)] == names


def test_skipped_files_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.wav", NOISE[:2000], SAMPLE_RATE_HZ)
    for name in ("b.m4a", "c.webm", "._a.wav"):
        (tmp_path / name).write_bytes(b"other")

    assert main(["score", str(tmp_path), "--json"]) == 0

    shown = capsys.readouterr()
    assert {json.loads(line)["file"] for line in shown.out.splitlines()} == {
        str(tmp_path / "a.wav")
    }
    assert (
        f"3 files of other kinds were skipped in {tmp_path}: ._ (macOS) 1, .m4a 1, .webm 1"
    ) in shown.err


def test_folder_without_audio_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["score", str(tmp_path)])

    assert code == 2
    assert "there is no audio file in" in capsys.readouterr().err


def test_damaged_file_is_reported_and_others_are_scored(
    noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.flac"
    soundfile.write(cut, NOISE, SAMPLE_RATE_HZ)
    cut.write_bytes(cut.read_bytes()[:-9000])
    absent = tmp_path / "absent.wav"

    code = main(["score", str(cut), str(absent), str(noise)])

    shown = capsys.readouterr()
    assert code == 1
    assert f"earmark: error: {cut} is damaged" in shown.err
    assert f"earmark: error: there is no file {absent}" in shown.err
    assert [line.split()[0] for line in shown.out.splitlines()] == ["file", str(noise)]


def test_file_name_that_is_not_utf8_is_scored(
    noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "odd\udcff.wav"
    noise.rename(odd)

    codes = [main(["score", str(odd), *options]) for options in ([], ["--json"])]

    assert codes == [0, 0]
    assert "odd\ufffd.wav" in capsys.readouterr().out


def test_text_output_has_a_line_for_each_file(
    noise: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["score", str(noise), "--model", "alexa", "--model", "weather"])

    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["file", "seconds", "alexa", "weather", "wakes"]
    assert line.split()[:2] == [str(noise), "2.00"]


@pytest.mark.parametrize("length", [0, 1, 1279])
@pytest.mark.parametrize("option", [[], ["--json"], ["--wakes"]])
def test_file_shorter_than_a_step_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], length: int, option: list[str]
) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, NOISE[:length], SAMPLE_RATE_HZ)

    code = main(["score", str(path), *option])

    assert code == 1
    assert f"contains {length} sample" in capsys.readouterr().err


def test_an_empty_file_has_no_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, NOISE[:0], SAMPLE_RATE_HZ)

    code = main(["score", str(path)])

    assert code == 1
    assert capsys.readouterr().out.splitlines()[1].split() == [str(path), "0.00", "-"]


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (["--threshold", "7"], 2, "--threshold 7.0: the range is over 0 and under 1"),
        (["--model", "pineapple"], 78, "there is no model 'pineapple'"),
        (["--model", "silero-vad"], 2, "silero-vad is not a wake-word model"),
    ],
)
def test_invalid_arguments_fail_before_scoring(
    options: list[str],
    code: int,
    reason: str,
    noise: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = main(["score", str(noise), *options])

    shown = capsys.readouterr()
    assert found == code
    assert reason in shown.err
    assert shown.out == ""


def test_configured_channel_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stereo, mono = tmp_path / "stereo.wav", tmp_path / "mono.wav"
    soundfile.write(stereo, np.stack([NOISE[::-1], NOISE], axis=1), SAMPLE_RATE_HZ)
    soundfile.write(mono, NOISE, SAMPLE_RATE_HZ)
    second = tmp_path / "second.toml"
    second.write_text("[microphone]\nchannel = 1\n")

    main(["score", str(stereo), "--json", "--config", str(second)])
    from_stereo = [line["scores"] for line in objects(capsys)]
    main(["score", str(mono), "--json"])
    from_mono = [line["scores"] for line in objects(capsys)]

    assert from_stereo == from_mono


@pytest.mark.recordings
def test_wakes_option_prints_only_wakes(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = words_in(recordings, 5)

    main(["score", *files, "--model", "alexa", "--wakes", "--json"])
    wakes = objects(capsys)
    main(["score", *files, "--model", "alexa", "--wakes"])
    lines = capsys.readouterr().out.splitlines()
    main(["score", *files, "--model", "alexa"])
    table = capsys.readouterr().out.splitlines()

    assert {wake["file"] for wake in wakes} == set(files)
    assert all(wake["score"] >= wake["threshold"] == 0.5 for wake in wakes)
    assert all(wake["seconds"] * SAMPLE_RATE_HZ == wake["end_sample"] for wake in wakes)
    assert [line.split("  ")[0] for line in lines] == [wake["file"] for wake in wakes]
    assert all(line.endswith(" s") for line in table[1:])


@pytest.mark.recordings
def test_a_higher_threshold_wakes_no_more_often(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = words_in(recordings, 20)
    counts = []

    for threshold in ("0.05", "0.5", "0.99"):
        main(["score", *files, "--wakes", "--threshold", threshold])
        counts.append(len(capsys.readouterr().out.splitlines()))

    assert counts == sorted(counts, reverse=True)


@pytest.mark.recordings
def test_second_opinion_decides_unless_it_is_off(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = words_in(recordings, 5)
    scores = {}

    for option in ((), ("--second-opinion", "on"), ("--second-opinion", "off")):
        main(["score", *files, "--model", "alexa", "--json", *option])
        scores[option] = [line["scores"]["alexa"] for line in objects(capsys)]

    assert scores[()] == scores["--second-opinion", "on"]
    # It is asked at a head's score of 0.004 and for two frames after; elsewhere the head decides.
    heads = scores["--second-opinion", "off"]
    changed = [at for at, mean in enumerate(scores[()]) if mean != heads[at]]
    assert changed
    assert all(max(heads[max(at - 2, 0) : at + 1]) >= 0.004 for at in changed)


@pytest.mark.recordings
@pytest.mark.filterwarnings("ignore")  # openwakeword's and its libraries' own
@pytest.mark.timeout(300)
def test_wakes_equal_those_of_openwakeword(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    openwakeword = pytest.importorskip("openwakeword")
    files = words_in(recordings, 20)

    main(["score", *files, "--model", "alexa", "--second-opinion", "off", "--json"])
    ours = objects(capsys)

    theirs: list[float] = []
    expected = []
    for file in files:
        sound, _ = soundfile.read(file, dtype="int16")
        # Its reset keeps what it heard, so that only a new one starts afresh.
        model = openwakeword.Model([openwakeword.models["alexa"]["model_path"]])
        for first in range(0, len(sound) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            scores = model.predict(sound[first : first + FRAME_SAMPLES])
            theirs.append(float(next(iter(scores.values()))))
            expected.append((file, first))
    assert [(line["file"], line["first_sample"]) for line in ours] == expected
    differences = [
        abs(line["scores"]["alexa"] - score) for line, score in zip(ours, theirs, strict=True)
    ]
    assert max(differences) <= 1e-4
    assert events(expected, [line["scores"]["alexa"] for line in ours]) == events(expected, theirs)


def events(steps: list[tuple[str, int]], scores: list[float]) -> list[tuple[str, int]]:
    """Where the score rises to 0.5, by file and sample."""
    rises = []
    before: tuple[str, float] = ("", 0.0)
    for (file, first), score in zip(steps, scores, strict=True):
        if score >= 0.5 and not (before[0] == file and before[1] >= 0.5):
            rises.append((file, first))
        before = (file, score)
    assert rises
    return rises
