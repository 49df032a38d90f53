"""Utterances of a corpus by speaker."""

from pathlib import Path

import numpy as np
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.evaluate.corpus.datasets import open_corpus
from listener.evaluate.corpus.items import InvalidItem, Item, Segment
from listener.evaluate.voices.utterances import list_utterances, read_speech


class Loud:
    """A detector that takes every step with a sample for speech."""

    def __init__(self) -> None:
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def probability(self, samples: Samples) -> float:
        return float(np.abs(samples).max() > 0)


def item(name: str, speaker: str | None = None, segments: tuple[Segment, ...] = ()) -> Item:
    return Item(name, Path(name), speaker=speaker, segments=segments)


def test_segments_and_files_with_a_speaker_are_utterances() -> None:
    stream = item(
        "negative/a.opus",
        segments=(
            Segment(0.0, 1.5, "32", "32-1-0.flac"),
            Segment(2.0, 3.0, None, "x.flac"),
            Segment(3.0, 4.0, "669", None),
        ),
    )

    found = list_utterances([stream, item("b/c.flac", "7"), item("d.flac"), InvalidItem("e", "")])

    assert [(each.speaker, each.name) for each in found] == [
        ("32", "32-1-0"),
        ("669", "negative/a.opus@2"),
        ("7", "b/c"),
    ]
    assert (found[0].first_sample, found[0].end_sample) == (0, 24_000)


def test_segment_of_a_file_that_is_listed_is_left_out() -> None:
    stream = item("negative/a.opus", segments=(Segment(0, 1, "32", "32-1-0.flac"),))

    found = list_utterances([stream, item("speakers/32-1-0.flac", "32")])

    assert [each.item.name for each in found] == ["speakers/32-1-0.flac"]


def test_speech_commands_name_their_speaker() -> None:
    """The folder of a word may stand as the speaker in a list made from paths."""
    stream = item(
        "a.opus",
        segments=(
            Segment(0, 1, "five", "_unknown_/five_0cb74144_nohash_2.wav.wav"),
            Segment(1, 2, "0c40e715", "down/0c40e715_nohash_0.wav"),
        ),
    )

    found = list_utterances([stream, item("go/0d53e045_nohash_0.wav", "go")])

    assert [each.speaker for each in found] == ["0cb74144", "0c40e715", "0d53e045"]


def test_patterns_choose_items() -> None:
    items = [item("a/x.flac", "1"), item("b/x.flac", "2")]

    assert [each.speaker for each in list_utterances(items, ("b/*",))] == ["2"]


def test_speech_is_read_once_and_without_silence(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    speech = random.integers(1, 9000, SAMPLE_RATE_HZ, dtype=np.int16)
    silence = np.zeros(SAMPLE_RATE_HZ, np.int16)
    for name, sound in (("a", np.concatenate([silence, speech, silence])), ("copy", None)):
        whole = np.concatenate([silence, speech, silence]) if sound is None else sound
        soundfile.write(tmp_path / f"{name}.wav", whole, SAMPLE_RATE_HZ, subtype="PCM_16")
    (tmp_path / "list.tsv").write_text(
        "path\tspeaker\na.wav\tanna\ncopy.wav\tanna\ngone.wav\tben\n"
    )
    faults: list[tuple[str, str]] = []
    detector = Loud()

    found = read_speech(list_utterances(open_corpus(tmp_path / "list.tsv")), detector, 0, faults)

    assert set(found) == {"anna"}
    assert len(found["anna"]) == 1
    assert SAMPLE_RATE_HZ <= len(found["anna"][0]) < 1.6 * SAMPLE_RATE_HZ
    assert [name for name, _ in faults] == ["gone.wav"]
    assert detector.resets == 1
