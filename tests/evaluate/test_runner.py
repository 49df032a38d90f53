"""Plans run from end to end, with everything that a corpus of strangers may hold.

What cannot be used is named before the first item, or there is no run at all.
"""

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from listener.errors import EarmarkError, UsageError
from listener.evaluate.metrics.results import EventKind, Result
from listener.evaluate.plan import EngineSettings
from listener.evaluate.runner import open_all
from tests.evaluate.spoken import FIXTURES, evaluate, manifest, plan

pytestmark = pytest.mark.system  # real models, whole runs


def figures(result: Result) -> tuple[float, float, float, float]:
    """Misses, words, false wakes and hours of the first word."""
    word = result.words[0]
    return (
        word.misses.count,
        word.misses.exposure,
        word.false_wakes.count,
        word.false_wakes.exposure,
    )


def encoded(result: Result) -> bytes:
    return msgspec.json.encode(result)


def test_fixtures_have_no_misses_or_false_wakes(tmp_path: Path) -> None:
    result = evaluate(plan(manifest(tmp_path)))

    word = result.words[0]
    assert figures(result)[:3] == (0, 5, 0)
    rows = (tmp_path / "spoken.jsonl").read_text("utf-8").splitlines()
    sound_s = sum(
        soundfile.info(path).duration for path in {json.loads(row)["path"] for row in rows}
    )
    assert word.hours == pytest.approx((sound_s - 5 * (0.7 + 0.5)) / 3600, abs=2e-5)
    assert word.threshold_from == "manifest"
    # The model fires while the last vowel is still sounding.
    late = [event.latency_s for event in word.events if event.kind is EventKind.HIT]
    assert all(s is not None and -0.3 < s < 0 for s in late)
    assert word.false_wakes_per_10000_words is not None
    assert result.missing == ()


def test_result_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    made = plan(manifest(tmp_path), plays=2)

    alone = evaluate(made)

    assert encoded(evaluate(made, tmp_path / "scores", jobs=2)) == encoded(alone)
    assert encoded(evaluate(made, tmp_path / "scores")) == encoded(alone)


def test_interrupted_run_continues_from_the_cache(tmp_path: Path) -> None:
    made = plan(manifest(tmp_path))
    cache = tmp_path / "scores"
    whole = evaluate(made, cache)
    kept = sorted(cache.rglob("*.scores"))

    # Half of it is gone, and one of the rest was cut short by the power.
    for path in kept[::2]:
        path.unlink()
    kept[1].write_bytes(kept[1].read_bytes()[:-7])
    untouched = kept[3].stat().st_mtime_ns

    assert encoded(evaluate(made, cache)) == encoded(whole)
    assert sorted(cache.rglob("*.scores")) == kept
    assert kept[3].stat().st_mtime_ns == untouched


def test_cached_scores_are_reused_for_thresholds_not_models(tmp_path: Path) -> None:
    listed, cache = manifest(tmp_path), tmp_path / "scores"
    evaluate(plan(listed), cache)
    kept = len(list(cache.rglob("*.scores")))

    strict = EngineSettings(thresholds={"alexa": 0.9999}, patience_frames=3)
    result = evaluate(plan(listed, strict), cache)
    assert len(list(cache.rglob("*.scores"))) == kept
    assert result.words[0].threshold_from == "settings"

    evaluate(plan(listed, EngineSettings(words=("hey-jarvis",))), cache)
    assert len(list(cache.rglob("*.scores"))) == 2 * kept


def test_invalid_items_are_listed_and_the_others_evaluated(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(-3000, 3000, 44_100 * 2, np.int16)
    soundfile.write(tmp_path / "stereo.wav", noise.reshape(-1, 2), 44_100)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.int16), 16_000)
    (tmp_path / "words.wav").write_bytes(b"no sound at all")
    damaged = (FIXTURES / "alexa.flac").read_bytes()
    (tmp_path / "damaged.flac").write_bytes(damaged[: len(damaged) // 2])
    listed = manifest(
        tmp_path,
        {"path": "stereo.wav"},
        {"path": "empty.wav"},
        {"path": "words.wav"},
        {"path": "damaged.flac", "word": "alexa"},
        {"path": "absent.wav"},
        {"path": str(FIXTURES / "alexa.flac"), "word": "alexa", "offset_s": 60, "duration_s": 1},
        {"path": "stereo.wav", "word": "alexa", "offset": -1, "duration": 1},
        {"path": "stereo.wav", "start_s": 0.5, "length_s": 9},
        {"path": "stereo.wav", "start_s": 7},
    )

    lines = len(listed.read_text("utf-8").splitlines())

    result = evaluate(plan(listed))

    whole = evaluate(plan(manifest(tmp_path)))
    assert figures(result)[:3] == figures(whole)[:3]
    assert result.words[0].items == whole.words[0].items + 1
    assert {trouble.item: trouble.why for trouble in result.missing}.keys() == {
        "empty.wav",
        "words.wav",
        "damaged.flac",
        "absent.wav",
        f"{FIXTURES}/alexa.flac#2",
        f"spoken.jsonl line {lines - 2}",
        "stereo.wav@0.5",
        "stereo.wav@7",
    }
    why = {trouble.item: trouble.why for trouble in result.missing}
    assert "less than one step" in why["empty.wav"]
    assert "damaged" in why["damaged.flac"]
    assert "the label alexa ends at 61.00 s" in why[f"{FIXTURES}/alexa.flac#2"]
    assert "offset of -1 s is out of range" in why[f"spoken.jsonl line {lines - 2}"]
    assert "the segment ends at 9.50 s, the audio at 1.00 s" in why["stereo.wav@0.5"]
    assert any("missing" in warning for warning in result.warnings)


def test_audio_that_is_listed_again_changes_no_figure(tmp_path: Path) -> None:
    """Hours, misses, words of transcripts, pairs of engines and groups of the bootstrap."""
    engines = EngineSettings(), EngineSettings(name="deaf", thresholds={"alexa": 0.99999})
    once = evaluate(plan(manifest(tmp_path), *engines))
    shutil.copytree(FIXTURES, tmp_path / "copies")
    rows = [json.loads(line) for line in manifest(tmp_path).read_text("utf-8").splitlines()]
    copies = [row | {"path": f"copies/{Path(row['path']).name}"} for row in rows]

    again = evaluate(plan(manifest(tmp_path, *rows, *copies, *rows[::-1]), *engines))

    assert msgspec.json.encode(again.words) == msgspec.json.encode(once.words)
    assert again.comparisons == once.comparisons
    assert again.missing == ()
    notes = set(again.warnings) - set(once.warnings)
    assert len(notes) == 1
    assert notes.pop().startswith("corpus: ")
    assert again.hashes["corpus"] != once.hashes["corpus"]


def test_segments_of_one_file_are_one_recording_of_the_bootstrap(tmp_path: Path) -> None:
    loose = EngineSettings(thresholds={"alexa": 0.0005}, refractory_s=0.0)
    rows = [{"path": str(FIXTURES / "talk.flac"), "offset": at, "duration": 1.0} for at in range(8)]
    listed = tmp_path / "segments.jsonl"
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    word = evaluate(plan(listed, loose)).words[0]

    assert word.items == 8
    assert word.hours == pytest.approx(8 / 3600)
    assert word.false_wakes.count > 0
    assert word.false_wakes_by_recording is None


def test_labels_in_another_spelling_are_hits(tmp_path: Path) -> None:
    listed = tmp_path / "cased.jsonl"
    row = {"path": str(FIXTURES / "alexa.flac"), "word": "Alexa "}
    other = {"path": str(FIXTURES / "talk.flac"), "word": "timer"}
    listed.write_text(f"{json.dumps(row)}\n{json.dumps(other)}\n", "utf-8")

    result = evaluate(plan(listed))

    assert figures(result)[:3] == (0, 1, 0)
    assert "corpus: labels counted as the word they spell: 'Alexa' 1 as alexa" in result.warnings
    assert any("labels of no model of this run" in warning for warning in result.warnings)


def test_unwritable_cache_does_not_change_the_result(tmp_path: Path) -> None:
    made = plan(manifest(tmp_path))
    (tmp_path / "scores").write_text("a file stands where the folder should be")

    result = evaluate(made, tmp_path / "scores")

    assert result.words == evaluate(made).words
    ((item, why),) = [(trouble.item, trouble.why) for trouble in result.missing]
    assert item == "score cache"
    assert "it could not be written" in why


def test_noise_and_room_conditions_have_separate_figures(tmp_path: Path) -> None:
    noises = tmp_path / "noises"
    noises.mkdir()
    shutil.copy(FIXTURES / "talk.flac", noises / "talk.flac")
    (noises / "broken.wav").write_bytes(b"none")
    conditions = [{}, {"noise": str(noises), "snr_db": -10.0}]

    result = evaluate(plan(manifest(tmp_path), condition=conditions))

    clean, noisy = result.words
    assert (clean.condition, noisy.condition) == ("clean", "-10 dB noises")
    assert noisy.misses.count > clean.misses.count
    assert [trouble.item for trouble in result.missing] == [str(noises / "broken.wav")]
    assert encoded(evaluate(plan(manifest(tmp_path), condition=conditions))) == encoded(result)


def test_target_sets_the_threshold_and_the_missing_hours(tmp_path: Path) -> None:
    listed = manifest(tmp_path)
    loose = EngineSettings(thresholds={"alexa": 0.0005}, refractory_s=0.0)

    before = evaluate(plan(listed, loose)).words[0]
    after = evaluate(plan(listed, loose, target_false_wakes_per_hour=1.0))

    word = after.words[0]
    assert before.false_wakes.count > 0
    assert word.false_wakes.count == 0
    assert word.threshold_from == "target"
    assert word.target is not None
    assert (word.target.threshold, word.target.carried) == (word.threshold, False)
    assert word.target.still_needed_h == pytest.approx(2.9957 - word.hours, abs=1e-3)
    assert any("chosen on these recordings" in warning for warning in after.warnings)
    assert any("do not support" in warning for warning in after.warnings)


def test_repeated_plays_count_detections_of_a_word(tmp_path: Path) -> None:
    result = evaluate(plan(manifest(tmp_path), plays=4))

    word = result.words[0]
    assert (word.plays, word.words_said, word.misses.count) == (4, 5, 0)
    assert word.hours == evaluate(plan(manifest(tmp_path))).words[0].hours
    assert [(each.kind, each.fired, each.plays) for each in word.repeatability] == [
        (EventKind.HIT, 4, 4)
    ] * 5
    # The word is where it is, whatever the phase.
    times: dict[str, list[float]] = {}
    for event in word.events:
        if event.kind is EventKind.HIT:
            times.setdefault(f"{event.item} {event.at_s // 3}", []).append(event.at_s)
    assert all(max(each) - min(each) < 0.25 for each in times.values())


def test_two_engines_for_one_word_have_a_paired_comparison(tmp_path: Path) -> None:
    deaf = EngineSettings(name="deaf", thresholds={"alexa": 0.99999})

    result = evaluate(plan(manifest(tmp_path), EngineSettings(), deaf))

    (found,) = result.comparisons
    assert (found.first, found.second, found.word) == ("earmark: alexa", "deaf", "alexa")
    assert found.words_said == 5
    assert found.only_second_missed == result.words[1].misses.count > 0
    assert found.only_first_missed == 0


def test_model_may_have_a_different_label(tmp_path: Path) -> None:
    other = EngineSettings(words=("hey-jarvis",), said={"hey-jarvis": "alexa"})

    word = evaluate(plan(manifest(tmp_path), other)).words[0]

    assert (word.word, word.said, word.words_said) == ("hey-jarvis", "alexa", 5)


def test_stepwise_detector_has_the_same_events(tmp_path: Path) -> None:
    listed = manifest(tmp_path)
    at_once = EngineSettings(words=("alexa", "hey-mycroft"))
    stepwise = EngineSettings(words=("alexa", "hey-mycroft"), stepwise=True)

    found, expected = evaluate(plan(listed, at_once)), evaluate(plan(listed, stepwise))

    for one, other in zip(found.words, expected.words, strict=True):
        assert [(event.kind, event.item, event.at_s) for event in one.events] == [
            (event.kind, event.item, event.at_s) for event in other.events
        ]


def test_a_hop_of_40_ms_has_twice_the_steps(tmp_path: Path) -> None:
    result = evaluate(plan(manifest(tmp_path), EngineSettings(hop_ms=40, patience_frames=2)))

    assert figures(result)[:3] == (0, 5, 0)
    assert any(
        event.at_s % 0.08 > 0.03 for event in result.words[0].events if event.kind is EventKind.HIT
    )


def test_result_has_hashes_and_versions(tmp_path: Path) -> None:
    result = evaluate(plan(manifest(tmp_path)))

    assert {"settings", "corpus", "code", "model alexa"} <= result.hashes.keys()
    assert all(len(value) == 64 for value in result.hashes.values())
    assert "numpy" in result.versions
    assert json.loads(encoded(result))["plan"]["hit_tail_s"] == 0.5
    other = evaluate(plan(manifest(tmp_path, {"path": str(FIXTURES / "quiet.flac")})))
    assert other.hashes["corpus"] != result.hashes["corpus"]


def test_refused_model_is_listed_and_others_are_evaluated(tmp_path: Path) -> None:
    listed = manifest(tmp_path)

    result = evaluate(plan(listed, EngineSettings(), EngineSettings(words=("no-such",))))

    assert [word.word for word in result.words] == ["alexa"]
    assert [(trouble.item, "no model" in trouble.why) for trouble in result.missing] == [
        ("earmark: no-such", True)
    ]


def test_plan_without_a_usable_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="there is no model 'no-such'"):
        evaluate(plan(manifest(tmp_path), EngineSettings(words=("no-such",))))
    with pytest.raises(EarmarkError, match="embedding is not a wake-word model"):
        evaluate(plan(manifest(tmp_path), EngineSettings(words=("embedding",))))


def test_plan_without_a_corpus_is_an_error(tmp_path: Path) -> None:
    made = plan(manifest(tmp_path))

    with pytest.raises(UsageError, match="no corpus is given"):
        open_all(msgspec.structs.replace(made, corpus=()))


def test_condition_without_usable_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"none")

    with pytest.raises(UsageError, match=r"no audio file in .* can be used"):
        evaluate(plan(manifest(tmp_path), condition=[{"room": str(tmp_path / "broken.wav")}]))
