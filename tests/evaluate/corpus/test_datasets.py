"""Folders and published collections, read as they are.

Folders are walked in one order, and read within bounds.
"""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.cli import score
from listener.errors import ConfigError, Unavailable, UsageError
from listener.evaluate.corpus import datasets
from listener.evaluate.corpus.datasets import open_corpus
from listener.evaluate.corpus.items import InvalidItem, Item, Label, NotedCorpus
from listener.storage.recordings import open_recording

KEYS = st.sampled_from(["clips", "streams", "file", "segments", "start"])
JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)


def sound(path: Path, seconds: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * 16_000), np.int16), 16_000)
    return path


def items(path: Path, word: str | None = None) -> list[Item]:
    return [item for item in open_corpus(path, word) if isinstance(item, Item)]


def test_folder_gives_its_audio_files_by_name(tmp_path: Path) -> None:
    for name in ("b/2.wav", "b/1.flac", "a/3.wav", "a/notes.txt"):
        sound(tmp_path / "set" / name) if not name.endswith("txt") else None
    (tmp_path / "set/a/notes.txt").write_text("no sound")

    found = items(tmp_path / "set", "alexa")

    assert [item.name for item in found] == ["set/a/3.wav", "set/b/1.flac", "set/b/2.wav"]
    assert {item.labels for item in found} == {(Label("alexa"),)}


def test_a_single_file_is_a_corpus_of_one(tmp_path: Path) -> None:
    (item,) = items(sound(tmp_path / "one.wav"))

    assert (item.name, item.labels) == (f"{tmp_path.name}/one.wav", ())


def test_librispeech_layout_is_read(tmp_path: Path) -> None:
    chapter = tmp_path / "dev-clean" / "84" / "121123"
    for number in (0, 1):
        sound(chapter / f"84-121123-000{number}.flac")
    (chapter / "84-121123.trans.txt").write_text(
        "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IN LESS\n", "utf-8"
    )

    first, second = items(tmp_path)

    assert first.name == "dev-clean/84/121123/84-121123-0000.flac"
    assert (first.speaker, first.transcript) == ("84", "GO DO YOU HEAR")
    assert (second.transcript, second.labels) == ("BUT IN LESS", ())


@pytest.mark.parametrize("named", ["", "test.tsv"])
def test_common_voice_layout_is_read(tmp_path: Path, named: str) -> None:
    sound(tmp_path / "clips" / "common_voice_en_1.flac")
    (tmp_path / "test.tsv").write_text(
        "client_id\tpath\tsentence\tup_votes\tage\tgender\taccents\n"
        + "a" * 128
        + '\tcommon_voice_en_1.flac\tHe said "no".\t2\t\tfemale\tScottish English\n'
        + "b" * 128
        + "\t\tNothing.\t2\t\t\t\n",
        "utf-8",
    )

    first, second = open_corpus(tmp_path / named)

    assert isinstance(first, Item)
    assert first.name == "clips/common_voice_en_1.flac"
    assert first.path.is_file()
    assert first.speaker == "a" * 16
    assert (first.condition, first.transcript) == ("Scottish English", 'He said "no".')
    assert second == InvalidItem("test.tsv line 3", "it has no path")


def listing(folder: Path, text: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(
        text if isinstance(text, str) else json.dumps(text), "utf-8"
    )
    return folder


def test_manifest_in_the_recordings_folder_is_read(tmp_path: Path) -> None:
    stream = {
        "file": "negative/talk.opus",
        "group": "negative/talk",
        "seconds": 9,
        "segments": [
            {"start": 3.4, "end": 6.0, "clip": "b.wav", "speaker": "bob"},
            {"start": 0.0, "end": 3.0, "clip": "a.wav", "speaker": "ada"},
        ],
    }
    clips = [
        {"file": "positive/alexa/0.flac", "group": "positive/alexa", "label": "alexa"},
        {"file": "rir/hall.flac", "group": "rir", "label": "rir"},
        {"file": "speakers/1.flac", "group": "speakers/x", "label": "speaker", "speaker": "1"},
    ]

    first, second = items(listing(tmp_path, {"clips": clips, "streams": [stream]}))

    assert (first.name, first.labels) == ("positive/alexa/0.flac", (Label("alexa"),))
    assert (second.labels, second.condition) == ((), "negative/talk")
    assert [part.speaker for part in second.segments] == ["ada", "bob"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"clips": 1}', '{"clips": [{"group": "x"}]}', "[" * 100_000, "\udcff"]
)
def test_malformed_listing_is_an_error(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(ConfigError, match=r"manifest\.json"):
        items(folder)


@given(JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_listing_gives_items_or_one_error(tmp_path: Path, found: object) -> None:
    try:
        listed = items(listing(tmp_path / "set", found))
    except ConfigError as error:
        assert "manifest.json" in str(error)  # noqa: PT017 - items are as good
    else:
        assert all(isinstance(item, Item) for item in listed)


def test_missing_corpus_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file or folder"):
        open_corpus(tmp_path / "none")


@pytest.mark.recordings
def test_real_recordings_are_read(recordings: Path) -> None:
    found = items(recordings)

    assert sum(item.labels == (Label("alexa"),) for item in found) == 100
    assert sum(not item.labels for item in found) == 15
    assert all(item.path.is_file() for item in found)


def touch_sound(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"nobody listens to it here")
    return path


def notes(path: Path) -> list[str]:
    corpus = open_corpus(path)
    assert isinstance(corpus, NotedCorpus)
    return list(corpus.notes())


def test_files_of_other_kinds_are_counted_by_ending(tmp_path: Path) -> None:
    for name in ("a.flac", "b.mp3", "c.m4a", "sub/d.M4A", "e.webm", "f", "._a.flac"):
        touch_sound(tmp_path / name)

    found = items(tmp_path)

    assert [item.path.name for item in found] == ["a.flac", "b.mp3"]
    (note,) = notes(tmp_path)
    assert note == (
        f"5 files of other kinds were skipped in {tmp_path}:"
        " ._ (macOS) 1, .m4a 2, .webm 1, without an ending 1"
    )
    assert datasets.find_skipped(tmp_path / "sub") == (
        f"1 file of another kind was skipped in {tmp_path / 'sub'}: .m4a 1"
    )
    assert datasets.find_skipped(tmp_path / "a.flac") is None


@pytest.mark.parametrize("ending", ["aiff", "aif", "w64", "caf", "au", "mp3", "rf64", "WAV"])
def test_every_kind_that_is_read_is_found_in_a_folder(tmp_path: Path, ending: str) -> None:
    names = {"aif": "AIFF", "rf64": "RF64"}
    kind = names.get(ending, ending.upper())
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, np.zeros(16_000, np.int16), 16_000, format=kind)

    assert [item.path for item in items(tmp_path)] == [path]
    assert datasets.list_sounds(tmp_path) == (path,)
    assert score.expand([str(tmp_path)]) == [path]
    with open_recording(path) as recording:
        assert recording.length_samples >= 16_000


def test_folder_of_other_kinds_alone_says_which(tmp_path: Path) -> None:
    touch_sound(tmp_path / "a.m4a")

    for listing in (datasets.list_sounds, lambda path: score.expand([str(path)])):
        with pytest.raises(UsageError, match="there is no audio file") as caught:
            listing(tmp_path)
        assert ".m4a 1" in (caught.value.hint or "")


def test_audio_without_a_table_is_reported(tmp_path: Path) -> None:
    sound(tmp_path / "84" / "1" / "84-1-0000.flac")
    sound(tmp_path / "more" / "other.wav")
    (tmp_path / "84" / "1" / "84-1.trans.txt").write_bytes(b"\xef\xbb\xbf84-1-0000 GO\n")
    (tmp_path / "README.md").write_text("about")

    (item,) = items(tmp_path)

    assert item.transcript == "GO"
    assert notes(tmp_path) == [
        f"1 audio files in {tmp_path} were skipped: there is no table *.trans.txt in their folders",
        f"1 file of another kind was skipped in {tmp_path}: .md 1",
    ]


def test_groups_that_are_not_played_are_reported(tmp_path: Path) -> None:
    clips = [{"file": "a.flac", "group": group} for group in ("rir", "positive/a", "noise/x", "")]

    (note,) = notes(listing(tmp_path / "set", {"clips": clips}))

    assert note == (
        f"recordings of {tmp_path / 'set'} in other groups than positive and negative were"
        " skipped: without a group 1, noise 1, rir 1"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("list.csv", "with tabs between the columns"),
        ("list.parquet", "with tabs between the columns"),
        ("list.xlsx", "with tabs between the columns"),
        ("list.json", "one JSON object a line"),
    ],
)
def test_table_of_another_kind_is_named(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / name).write_text('[{"path": "a.wav"}]')

    with pytest.raises(UsageError, match="a table of a kind that is not read") as caught:
        open_corpus(tmp_path / name)

    assert hint in (caught.value.hint or "")


def test_byte_order_mark_of_a_listing_is_accepted(tmp_path: Path) -> None:
    text = json.dumps({"clips": [{"file": "a.flac", "group": "positive/x", "label": "alexa"}]})
    folder = tmp_path / "set"
    folder.mkdir()

    (folder / "manifest.json").write_bytes(text.encode("utf-8-sig"))
    assert [item.name for item in items(folder)] == ["a.flac"]

    (folder / "manifest.json").write_bytes(text.encode("utf-16"))
    with pytest.raises(ConfigError, match="UTF-16"):
        items(folder)


def test_corpus_in_another_normal_form_is_found(tmp_path: Path) -> None:
    sound(tmp_path / unicodedata.normalize("NFD", "café") / "a.wav")

    assert len(items(tmp_path / unicodedata.normalize("NFC", "café"))) == 1
    assert len(datasets.list_sounds(tmp_path / unicodedata.normalize("NFC", "café"))) == 1


def test_noise_is_a_file_or_a_folder_of_files(tmp_path: Path) -> None:
    first, second = touch_sound(tmp_path / "a.wav"), touch_sound(tmp_path / "b" / "c.wav")

    assert datasets.list_sounds(tmp_path) == (first, second)
    assert datasets.list_sounds(first) == (first,)


def test_folder_without_audio_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no sound", "utf-8")

    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match="there is no audio file"):
            datasets.list_sounds(path)


def test_listing_is_sorted_with_case_insensitive_suffixes(tmp_path: Path) -> None:
    for name in ("b/2.WAV", "b/1.wav", "a/3.wav", "0.wav", "a/wav"):
        touch_sound(tmp_path / name)

    found = [
        path.relative_to(tmp_path).as_posix() for path in datasets.list_files(tmp_path, (".wav",))
    ]

    assert found == ["0.wav", "a/3.wav", "b/1.wav", "b/2.WAV"]


def test_unreadable_folder_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot read .*none: No such file"):
        list(datasets.list_files(tmp_path / "none", (".wav",)))


def test_unreadable_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot read .*none"):
        datasets.read_bytes(tmp_path / "none")


def test_table_with_invalid_utf_8_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.trans.txt").write_bytes(b"84-1 CAF\xc9")

    assert datasets.read_text(tmp_path / "a.trans.txt") == "84-1 CAF\ufffd"


def test_name_with_invalid_utf_8_can_be_printed() -> None:
    assert datasets.printable(os.fsdecode(b"caf\xc9.wav")) == "caf\ufffd.wav"
