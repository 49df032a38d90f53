"""Each stretch of audio is one item, however a corpus lists it.

What overlaps is joined, cut or refused, and each of these is in a note.
"""

import json
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.corpus.datasets import open_corpus
from listener.evaluate.corpus.deduplication import DeduplicatedCorpus, Listing, join_listings
from listener.evaluate.corpus.items import CombinedCorpus, InvalidItem, Item, Label
from listener.evaluate.corpus.playback import ROUNDING_S, open_item

SECONDS = 10.0


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """A folder with a recording and its copy."""
    made = tmp_path_factory.mktemp("copies")
    for name in ("a.wav", "copy.wav"):
        shutil.copy(folder / "a.wav", made / name)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two recordings of ten seconds."""
    made = tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(5)
    for name in ("a.wav", "b.wav"):
        noise = random.integers(-500, 500, round(SECONDS * SAMPLE_RATE_HZ), np.int16)
        soundfile.write(made / name, noise, SAMPLE_RATE_HZ)
    return made


def corpus(*paths: Path, word: str | None = None, words: tuple[str, ...] = ("alexa",)) -> "Found":
    made = DeduplicatedCorpus(CombinedCorpus([open_corpus(path, word) for path in paths]), words)
    return Found(made)


class Found:
    """What a corpus gives."""

    def __init__(self, made: DeduplicatedCorpus) -> None:
        entries = list(made)
        self.items = [entry for entry in entries if isinstance(entry, Item)]
        self.invalid = [entry for entry in entries if isinstance(entry, InvalidItem)]
        self.notes = " | ".join(made.notes())
        self.repeated = made.repeated()
        assert list(made) == entries
        self.stretches = sorted(
            (str(item.path), first, first + open_item(item, 0).length_samples)
            for item in self.items
            for first in (round(item.start_s * SAMPLE_RATE_HZ),)
        )
        self.seconds = sum(end - first for _, first, end in self.stretches) / SAMPLE_RATE_HZ

    @property
    def labels(self) -> list[tuple[Label, ...]]:
        return [item.labels for item in self.items]


def listed(folder: Path, *rows: Mapping[str, object]) -> Path:
    path = folder / "list.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_same_line_three_times_is_one_item(folder: Path) -> None:
    found = corpus(listed(folder, *[{"path": "a.wav"}] * 3))

    assert found.seconds == SECONDS
    assert found.notes == (
        "2 listings of audio that is listed before, counted once: a.wav#2, a.wav#3"
    )
    assert found.repeated == ("a.wav#2", "a.wav#3")


def test_positive_listed_a_hundred_times_is_one_word(folder: Path) -> None:
    rows: list[dict[str, object]] = [{"path": "a.wav", "word": "alexa"}, {"path": "b.wav"}] * 100

    found = corpus(listed(folder, *rows))

    assert found.labels == [(Label("alexa"),), ()]
    assert found.seconds == 2 * SECONDS
    assert "198 listings" in found.notes


def test_adjacent_equal_lines_are_one_word(folder: Path) -> None:
    found = corpus(listed(folder, *[{"path": "a.wav", "word": "alexa"}] * 3))

    assert found.labels == [(Label("alexa"),)]
    assert found.notes.startswith("2 labels repeating or overlapping another of the same word")


def test_copy_and_folder_inside_a_folder_are_played_once(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "set" / "inner").mkdir(parents=True)
    shutil.copy(folder / "a.wav", tmp_path / "set" / "a.wav")
    shutil.copy(folder / "a.wav", tmp_path / "set" / "inner" / "copy.wav")
    (tmp_path / "set" / "link.wav").symlink_to(folder / "b.wav")
    shutil.copy(folder / "b.wav", tmp_path / "set" / "b.wav")

    found = corpus(tmp_path / "set", tmp_path / "set" / "inner")

    assert [item.name for item in found.items] == ["set/a.wav", "set/b.wav"]
    assert "3 listings" in found.notes


def test_lossless_copies_in_other_formats_are_one_recording(tmp_path: Path, folder: Path) -> None:
    samples, _ = soundfile.read(folder / "a.wav", dtype="int16")
    for name in ("a.wav", "a.flac", "a.aiff", "b/a.w64"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, samples, SAMPLE_RATE_HZ)
    samples[-1] += 1
    soundfile.write(tmp_path / "other.flac", samples, SAMPLE_RATE_HZ)

    found = corpus(tmp_path)

    assert [item.path.name for item in found.items] == ["a.aiff", "other.flac"]
    assert found.notes.startswith("3 listings of audio that is listed before")


def test_damaged_files_of_one_length_stay(tmp_path: Path, folder: Path) -> None:
    samples, _ = soundfile.read(folder / "a.wav", dtype="int16")
    for name in ("a.flac", "b.flac"):
        soundfile.write(tmp_path / name, samples, SAMPLE_RATE_HZ)
        data = bytearray((tmp_path / name).read_bytes())
        data[len(data) // 2 :] = (b"x" if name == "a.flac" else b"y") * (len(data) // 3)
        (tmp_path / name).write_bytes(data)

    made = DeduplicatedCorpus(CombinedCorpus([open_corpus(tmp_path)]), ("alexa",))

    assert len(list(made)) == 2


def test_files_of_one_length_and_other_content_are_both_played(folder: Path) -> None:
    found = corpus(folder / "a.wav", folder / "b.wav")

    assert (folder / "a.wav").stat().st_size == (folder / "b.wav").stat().st_size
    assert found.seconds == 2 * SECONDS
    assert found.notes == ""


def test_segments_in_nemo_style_are_separate_items(folder: Path) -> None:
    rows = [{"path": "a.wav", "offset": at, "duration": 1.0} for at in range(10)]

    found = corpus(listed(folder, *rows))

    assert len(found.items) == 10
    assert found.seconds == SECONDS
    assert found.notes == ""


def test_overlapping_negatives_are_joined(folder: Path) -> None:
    rows = [
        {"path": "a.wav", "offset": number / 10, "duration": 5.0, "text": "one two"}
        for number in range(12)
    ]

    found = corpus(listed(folder, *rows))

    (item,) = found.items
    assert found.seconds == pytest.approx(6.1)
    # The words of the overlap would be counted several times.
    assert item.transcript is None
    assert found.notes.startswith("11 listings overlapping others of the same file, played as 1")


def test_segment_inside_a_whole_file_adds_nothing(folder: Path) -> None:
    whole: dict[str, object] = {"path": "a.wav", "text": "good morning", "speaker": "ada"}
    part = {"path": "a.wav", "offset": 2, "duration": 3, "text": "morning", "speaker": "bob"}

    found = corpus(listed(folder, part, whole))

    (item,) = found.items
    assert (found.seconds, item.transcript, item.speaker) == (SECONDS, "good morning", "ada")
    assert item.name == "a.wav"


def test_words_of_overlapping_segments_keep_their_places(folder: Path) -> None:
    rows = [
        {"path": "a.wav", "offset": 4, "duration": 4, "word": "alexa", **place(2.5)},
        {"path": "a.wav", "offset": 1, "duration": 5, "word": "alexa", **place(1.0)},
        {"path": "a.wav", "offset": 0, "duration": 3, "word": "alexa", **place(2.0)},
    ]

    found = corpus(listed(folder, *rows))

    assert found.stretches[0][1:] == (0, 8 * SAMPLE_RATE_HZ)
    # The second and the third line are about the same word.
    assert found.labels == [(Label("alexa", 2.0, 2.5), Label("alexa", 6.5, 7.0))]


def place(start_s: float) -> dict[str, float]:
    return {"word_start_s": start_s, "word_duration_s": 0.5}


def test_overlap_with_a_word_at_an_unknown_time_is_refused(folder: Path) -> None:
    rows: list[dict[str, object]] = [
        {"path": "a.wav", "offset": 0, "duration": 5, "word": "alexa"},
        {"path": "a.wav", "offset": 4, "duration": 4},
        {"path": "a.wav", "offset": 8, "duration": 2},
    ]

    found = corpus(listed(folder, *rows))

    assert [item.name for item in found.items] == ["a.wav@0", "a.wav@8"]
    (refused,) = found.invalid
    assert refused.name == "a.wav@4"
    assert "list.jsonl line 2: it overlaps a.wav@0" in refused.why


def test_rounded_times_overlap_by_a_little(folder: Path) -> None:
    rows = [
        {"path": "a.wav", "offset": at, "duration": 2.05, "word": "alexa"} for at in (0.0, 2.0, 4.0)
    ]

    found = corpus(listed(folder, *rows))

    assert len(found.items) == 3
    assert found.invalid == []
    assert found.seconds == pytest.approx(6.05)
    assert f"2 listings beginning up to {ROUNDING_S:g} s before the end" in found.notes


def test_word_on_the_edge_of_two_segments_is_one_word(folder: Path) -> None:
    rows = [
        {"path": "a.wav", "offset": 0, "duration": 5, "word": "alexa", **place(4.5)},
        {"path": "a.wav", "offset": 4.95, "duration": 3, "word": "alexa", **place(0.0)},
    ]

    found = corpus(listed(folder, *rows))

    ((label,),) = found.labels
    assert label.start_s == 4.5
    assert label.end_s == pytest.approx(5.45)


def test_file_with_a_word_and_without_counts_with_it(folder: Path) -> None:
    found = corpus(
        listed(folder, {"path": "a.wav"}, {"path": "b.wav"}, {"path": "a.wav", "word": "alexa"})
    )

    assert found.labels == [(Label("alexa"),), ()]
    assert "1 item listed with a word and without, counted with it: a.wav" in found.notes


def test_overlapping_labels_are_one_word(folder: Path) -> None:
    rows = [{"path": "a.wav", "word": "alexa", **place(at)} for at in (1.0, 1.3, 3.0, 3.5, 1.0)]

    found = corpus(listed(folder, *rows))

    assert found.labels == [
        (Label("alexa", 1.0, 1.8), Label("alexa", 3.0, 3.5), Label("alexa", 3.5, 4.0))
    ]
    assert found.notes.startswith("2 labels repeating or overlapping")


def test_labels_of_different_words_may_overlap(folder: Path) -> None:
    rows = [{"path": "a.wav", "word": word, **place(1.0)} for word in ("alexa", "timer")]

    found = corpus(listed(folder, *rows), words=("alexa", "timer"))

    assert found.labels == [(Label("alexa", 1.0, 1.5), Label("timer", 1.0, 1.5))]
    assert found.notes == ""


def test_listing_that_cannot_be_played_does_not_spoil_the_others(folder: Path) -> None:
    rows: list[dict[str, object]] = [
        {"path": "a.wav"},
        {"path": "b.wav"},
        {"path": "a.wav", "word": "alexa", **place(60)},
        {"path": "a.wav", "offset": 8, "duration": 9},
        {"path": "a.wav", "offset": 70, "duration": 1},
        {"path": "none.wav"},
        {"path": "none.wav"},
    ]

    made = DeduplicatedCorpus(CombinedCorpus([open_corpus(listed(folder, *rows))]), ("alexa",))

    # Each is reported when it is opened.
    assert [entry.name for entry in made] == [
        *("a.wav", "b.wav", "a.wav#2", "a.wav@8", "a.wav@70", "none.wav", "none.wav#2")
    ]
    assert list(made.notes()) == []


def test_labels_in_other_spellings_are_the_word(folder: Path) -> None:
    rows = [
        {"path": "a.wav", "word": "Hey_Jarvis "},
        {"path": "a.wav", "word": "hey-jarvis"},
        {"path": "b.wav", "word": "hey jarvis"},
    ]

    found = corpus(listed(folder, *rows), words=("hey-jarvis",))

    assert found.labels == [(Label("hey-jarvis"),)] * 2
    assert (
        "labels counted as the word they spell: 'Hey_Jarvis' 1 as hey-jarvis,"
        " 'hey jarvis' 1 as hey-jarvis"
    ) in found.notes


def test_labels_of_no_model_are_counted_in_a_note(folder: Path) -> None:
    rows = [{"path": "a.wav", "word": "timer"}, {"path": "b.wav", "word": "alexia"}]

    found = corpus(listed(folder, *rows))

    assert found.notes == (
        "labels of no model of this run, counted as negative: 'alexia' 1 (alexa?), 'timer' 1"
    )


def test_first_play_of_a_plain_corpus_is_unchanged(folder: Path) -> None:
    source = CombinedCorpus([open_corpus(folder)])

    assert list(DeduplicatedCorpus(source, ("alexa",))) == list(source)


PLACES = st.tuples(st.integers(0, 90), st.integers(1, 40)).map(
    lambda place: (place[0] * 1_000, (place[0] + place[1]) * 1_000)
)


@given(st.lists(st.tuples(PLACES, st.booleans()), max_size=12))
def test_joined_stretches_never_cover_more_than_their_listings(
    made: list[tuple[tuple[int, int], bool]],
) -> None:
    listings = [
        Listing(number, first, end, is_placed)
        for number, ((first, end), is_placed) in enumerate(made)
    ]

    stretches = join_listings(listings)

    for before, after in pairwise(stretches):
        assert before.end_sample <= after.first_sample
    covered = {
        at for listing in listings for at in range(listing.first_sample, listing.end_sample, 500)
    }
    played = {at for each in stretches for at in range(each.first_sample, each.end_sample, 500)}
    assert played <= covered
    if all(listing.is_placed for listing in listings):
        assert played == covered
    numbers = [one.number for each in stretches for one in (*each.listings, *each.refused)]
    assert sorted(numbers) == list(range(len(listings)))


ROWS = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["a.wav", "./a.wav", "copy.wav"]),
        "offset": st.sampled_from([0, 0.3, 1, 2, 2.05, 4, 5.95, 6]),
        "duration": st.sampled_from([0.5, 1, 1.05, 2, 4]),
        "word": st.sampled_from([None, "alexa", "Alexa"]),
        "at": st.sampled_from([None, 0, 0.1, 0.3]),
    }
)


@given(st.lists(ROWS, min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_listing_of_segments_counts_audio_or_words_twice(
    copies: Path, rows: list[dict[str, object]]
) -> None:
    lines = []
    union: set[int] = set()
    for row in rows:
        at, word = row.pop("at"), row["word"]
        if word is not None and at is not None:
            row |= {"word_start_s": at, "word_duration_s": 0.2}
        lines.append(row)
        first = round(float(str(row["offset"])) * 100)
        union |= set(range(first, first + round(float(str(row["duration"])) * 100)))

    found = corpus(listed(copies, *lines))

    assert found.seconds <= len(union) / 100 + 1e-9
    for (_, _, end), (_, first, _) in pairwise([("", *each[1:]) for each in by_time(found)]):
        assert end <= first
    # What was listed is played, joined or refused by name.
    assert len(found.items) + len(found.invalid) + len(found.repeated) >= len(
        {(row["offset"], row["duration"]) for row in lines}
    )
    spans = []
    for item in found.items:
        length_s = open_item(item, 0).length_samples / SAMPLE_RATE_HZ
        for label in item.labels:
            from_s = item.start_s + (label.start_s or 0.0)
            to_s = item.start_s + min(label.end_s or length_s, length_s)
            spans.append((from_s, to_s))
    for (_, end_s), (begin_s, _) in pairwise(sorted(spans)):
        assert end_s <= begin_s + 1e-3


def by_time(found: Found) -> list[tuple[str, int, int]]:
    return sorted(found.stretches, key=lambda each: each[1:])
