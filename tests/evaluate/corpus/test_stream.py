"""Items as one stream."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import Samples
from listener.evaluate.corpus.deduplication import DeduplicatedCorpus
from listener.evaluate.corpus.items import CombinedCorpus, Corpus, InvalidItem, Item, Label, Segment
from listener.evaluate.corpus.selection import WithoutText
from listener.evaluate.corpus.stream import SpanLabel, StreamCorpus, StreamItem, open_playable
from listener.evaluate.metrics.counting import hit_windows


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    made = []
    for number, length in enumerate((20_000, 33_333, 16_001)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.full(length, number + 1, np.int16), 16_000)
        made.append(Item(f"{number}.wav", path, (Label("alexa"),), speaker=f"speaker {number}"))
    return made


def streams(items: Corpus | list[Item], seed: int = 1) -> list[Item | InvalidItem]:
    listed = DeduplicatedCorpus(CombinedCorpus([items]), ["alexa"])
    return list(StreamCorpus(listed, channel=0, seed=seed, pause_s=0.5))


def played(item: Item, phase: int = 0) -> Samples:
    playable, _ = open_playable(item, 0)
    return np.concatenate(list(playable.play(phase)))


def test_stream_has_every_part_at_its_place_with_pauses(items: list[Item]) -> None:
    (stream,) = streams(items)

    assert isinstance(stream, StreamItem)
    sound = played(stream)
    assert len(sound) == stream.length_samples == 20_000 + 33_333 + 16_001 + 3 * 8000
    rest = sound.copy()
    for part in stream.parts:
        end = part.first_sample + part.length_samples
        assert (sound[part.first_sample : end] == int(part.item.name[0]) + 1).all()
        rest[part.first_sample : end] = 0
    assert not rest.any()
    assert np.array_equal(played(stream, 12_345), sound[12_345:])


def test_order_is_drawn_from_the_seed(items: list[Item]) -> None:
    orders = set()
    for seed in range(12):
        (stream,) = streams(items, seed)
        assert streams(items, seed) == [stream]
        assert isinstance(stream, StreamItem)
        orders.add(tuple(part.item.name for part in stream.parts))

    assert len(orders) > 2


def test_labels_and_segments_move_with_their_part(items: list[Item]) -> None:
    timed = Item(
        *("timed.wav", items[0].path, (Label("alexa", 0.25, 0.75),)),
        segments=(Segment(0.0, 0.5, "ada", "clip 1", "one two"),),
    )
    (stream,) = streams([timed, items[1]])

    assert isinstance(stream, StreamItem)
    starts_s = {part.item.name: part.first_sample / 16_000 for part in stream.parts}
    exact, span = sorted(stream.labels, key=lambda label: isinstance(label, SpanLabel))
    assert exact.start_s == pytest.approx(starts_s["timed.wav"] + 0.25)
    assert isinstance(span, SpanLabel)
    assert span.end_s == pytest.approx(starts_s["1.wav"] + 33_333 / 16_000)
    windows = hit_windows(stream, "alexa", stream.length_samples, 0.5)
    ends = {window.word_end_sample is None for window in windows}
    assert ends == {True, False}  # no latency from the end of a part
    named = {segment.clip: segment.speaker for segment in stream.segments}
    assert named == {"timed.wav clip 1": "ada", "1.wav": "speaker 1"}


def test_damaged_part_is_left_out_and_reported(items: list[Item], tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    label_too_late = Item("late.wav", items[0].path, (Label("alexa", 0.5, 99.0),))

    found = streams([items[0], Item("broken.wav", tmp_path / "broken.wav"), label_too_late])

    stream, *invalid = found
    assert isinstance(stream, StreamItem)
    assert [part.item.name for part in stream.parts] == ["0.wav"]
    assert [each.name for each in invalid] == ["broken.wav", "late.wav"]


def test_hash_of_a_stream_covers_audio_and_places(items: list[Item]) -> None:
    hashes = {
        open_playable(each, 0)[1]
        for seed in range(8)
        for each in streams(items, seed)
        if isinstance(each, StreamItem)
    }
    (whole,) = streams(items)
    assert isinstance(whole, StreamItem)
    before = open_playable(whole, 0)[1]
    soundfile.write(items[2].path, np.full(16_001, 99, np.int16), 16_000)

    assert 2 < len(hashes) <= 6
    assert open_playable(whole, 0)[1] != before


def test_long_corpus_has_several_streams(
    items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.evaluate.corpus.stream.LONGEST_S", 1.2)

    assert [each.name for each in streams(items)] == ["stream 1", "stream 2", "stream 3"]


def test_items_whose_transcript_has_the_word_are_left_out() -> None:
    path = Path("x")
    items: list[Item | InvalidItem] = [
        Item("a", path, transcript="SHE CALLED ALEXA TWICE"),
        Item("b", path, transcript="nothing"),
        Item("c", path),
        InvalidItem("d", "no path"),
    ]

    assert [each.name for each in WithoutText(items, "alexa")] == ["b", "c", "d"]


def test_audio_that_is_listed_twice_is_once_in_the_stream(items: list[Item]) -> None:
    again = replace(items[1], name="again.wav")
    listed = DeduplicatedCorpus(CombinedCorpus([[*items, again]]), ["alexa"])
    corpus = StreamCorpus(listed, channel=0, seed=1, pause_s=0.5)

    (stream,) = corpus

    assert isinstance(stream, StreamItem)
    assert sorted(part.item.name for part in stream.parts) == ["0.wav", "1.wav", "2.wav"]
    assert corpus.repeated() == ("again.wav",)
    (note,) = corpus.notes()
    assert note == "1 listing of audio that is listed before, counted once: again.wav"


def test_file_that_changes_is_measured_and_hashed_again(items: list[Item]) -> None:
    (before,) = streams(items)
    assert isinstance(before, StreamItem)
    _, hash_before = open_playable(before, 0)
    soundfile.write(items[0].path, np.full(20_001, 9, np.int16), 16_000)

    (after,) = streams(items)

    assert isinstance(after, StreamItem)
    assert after.length_samples == before.length_samples + 1
    assert open_playable(after, 0)[1] != hash_before
