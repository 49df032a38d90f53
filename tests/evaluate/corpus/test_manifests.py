"""Manifests: what a line may say, and that no line brings more than one error, by name."""

import json
import unicodedata
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.evaluate.corpus.items import InvalidItem, Item, Label
from listener.evaluate.corpus.manifests import LONGEST_LINE, ManifestCorpus

Form = Literal["NFC", "NFD"]


def tsv(folder: Path, *lines: str) -> Path:
    path = folder / "list.tsv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def jsonl(folder: Path, *rows: object) -> Path:
    path = folder / "list.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_tsv_gives_word_times_and_speakers(tmp_path: Path) -> None:
    path = tsv(
        tmp_path,
        "path\tword_start_s\tword_duration_s\tword\tspeaker\tcondition\ttranscript",
        "a/1.wav\t1.5\t0.6\talexa\tada\t3 m\talexa what time is it",
        "a/2.wav\t\t\t\tbob\tkitchen\tgood morning",
    )

    first, second = ManifestCorpus(path)

    assert first == Item(
        name="a/1.wav",
        path=tmp_path / "a/1.wav",
        labels=(Label("alexa", 1.5, 2.1),),
        speaker="ada",
        condition="3 m",
        transcript="alexa what time is it",
        origin="list.tsv line 2",
    )
    assert isinstance(second, Item)
    assert (second.labels, second.speaker, second.origin) == ((), "bob", "list.tsv line 3")


def test_json_lines_give_word_times_and_speakers(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"path": "1.wav", "word": "alexa", "offset_s": 1, "duration_s": 0.5, "speaker": 7},
        {"file": "2.wav", "start_s": 10.0, "length_s": 5.0, "unknown": [1, 2]},
    )

    first, second = ManifestCorpus(path)

    assert isinstance(first, Item)
    assert (first.labels, first.speaker) == ((Label("alexa", 1.0, 1.5),), "7")
    assert isinstance(second, Item)
    assert (second.name, second.start_s, second.length_s) == ("2.wav@10", 10.0, 5.0)


def test_consecutive_lines_about_one_file_are_one_item(tmp_path: Path) -> None:
    path = tsv(
        tmp_path,
        "path\tword\toffset_s\tduration_s",
        "long.wav\talexa\t1\t0.5",
        "long.wav\talexa\t9\t0.5",
        "other.wav\t\t\t",
    )

    first, second = ManifestCorpus(path)

    assert isinstance(first, Item)
    assert [label.start_s for label in first.labels] == [1.0, 9.0]
    assert isinstance(second, Item)
    assert second.name == "other.wav"


def test_default_label_applies_to_lines_without_a_word(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"path": "1.wav"}, {"path": "2.wav", "word": "jarvis"})

    first, second = ManifestCorpus(path, "alexa")

    assert isinstance(first, Item)
    assert first.labels == (Label("alexa"),)
    assert isinstance(second, Item)
    assert second.labels == (Label("jarvis"),)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"offset": -1, "duration": 1}, "offset of -1 s"),
        ({"offset": 1, "duration": 0}, "duration of 0 s"),
        ({"offset": 1e300, "duration": 1}, "offset of 1e+300 s"),
        ({"duration": 0}, "duration of 0 s"),
        ({"word_start_s": -1, "word_duration_s": 1}, "start of the word of -1 s"),
        ({"word_start_s": 1, "word_duration_s": 0}, "duration of the word of 0 s"),
        ({"start_s": -0.5}, "start of -0.5 s"),
        ({"length_s": float("inf")}, "length of inf s"),
    ],
)
def test_number_out_of_range_is_a_fault_of_its_line_only(
    tmp_path: Path, row: dict[str, Any], why: str
) -> None:
    path = jsonl(tmp_path, {"path": "1.wav", "word": "alexa", **row}, {"path": "2.wav"})

    fault, item = ManifestCorpus(path)

    assert isinstance(fault, InvalidItem)
    assert fault.name == "list.jsonl line 1"
    assert why in fault.why
    assert isinstance(item, Item)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "line 1 is not JSON"),
        ('[\n  {"path": "a"}\n]', "line 1 is not JSON"),
        ('[{"path": "a"}]', "line 1 is not a JSON object"),
        ('{"path": "a", "word_start_s": 1}', "only one of word_start_s and word_duration_s"),
        ('{"path": "a", "offset": 1, "duration": 1, "start_s": 1}', "both start_s and offset"),
        ('{"path": "a", "offset": 1, "duration": 1, "length_s": 1}', "both length_s and duration"),
        ('{"path": "a", "duration": 1, "start_s": 1}', "both start_s and duration"),
        ('{"path": "a", "word_start_s": 1, "offset_s": 1}', "both word_start_s and offset_s"),
        ("[]", "line 1 is not a JSON object"),
        ("{}", "line 1 has no path"),
        ('{"path": 1.5}', "line 1: path is not text"),
        ('{"path": true}', "line 1: path is not text"),
        ('{"path": "a\\u0000b"}', "line 1: path contains control characters"),
        ('{"path": "\\ud800"}', "line 1: path contains control characters"),
        ('{"path": "a", "offset": 1}', "has only one of offset and duration"),
        ('{"path": "a", "offset": "x", "duration": 1}', "line 1: offset is not a number"),
        ('{"path": "a", "offset": NaN, "duration": 1}', "line 1: offset is not a number"),
        ('{"path": "a", "offset": [], "duration": 1}', "line 1: offset is not a number"),
        ('{"path": "a", "start_s": ' + "9" * 5000 + "}", "line 1 is not JSON"),
        ('\n\n{"path": "a"}\n}', "line 4 is not JSON"),
        ("[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_malformed_line_is_an_error_with_its_number(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(text, "utf-8")

    with pytest.raises(ConfigError, match=why.replace("[", r"\[")) as caught:
        list(ManifestCorpus(path))

    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("a.wav\tada",), "line 1 is not a header"),
        (("path\tword", "a\tb\tc"), "line 2 has 3 columns, its header 2"),
        (("path,word", "a.wav,alexa"), "line 1 is not a header"),
        (("path\toffset\tduration", "a.wav\t1,25\t1"), "line 2: offset is not a number"),
    ],
)
def test_malformed_table_is_an_error(tmp_path: Path, lines: tuple[str, ...], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        list(ManifestCorpus(tsv(tmp_path, *lines)))


def test_invalid_utf_8_and_long_lines_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_bytes(b'{"path": "a"}\n\xff\xfe\n')
    with pytest.raises(ConfigError, match="line 2 is not UTF-8"):
        list(ManifestCorpus(path))

    path.write_bytes(b" " * (LONGEST_LINE + 1))
    with pytest.raises(ConfigError, match="line 1 is longer"):
        list(ManifestCorpus(path))


def test_byte_order_mark_and_crlf_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_bytes(b"\xef\xbb\xbfpath\tspeaker\r\na.wav\tada\r\n")

    (item,) = ManifestCorpus(path)

    assert isinstance(item, Item)
    assert (item.name, item.speaker) == ("a.wav", "ada")


def test_lines_that_end_with_cr_alone_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_bytes(b"path\tspeaker\ra.wav\tada\rb.wav\tbo\r")

    items = list(ManifestCorpus(path))

    assert [item.name for item in items] == ["a.wav", "b.wav"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "list.tsv"
    path.write_bytes("path\tword\r\na.wav\talexa\r\n".encode(encoding))

    with pytest.raises(ConfigError, match="is UTF-16 text"):
        list(ManifestCorpus(path))


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("path,word", "separate the columns by tabs"),
        ("path;word", "separate the columns by tabs"),
        ('"path"\t"word"', "without quotation marks"),
        ("filename\tword", "give path"),
    ],
)
def test_header_that_is_not_read_has_a_hint(tmp_path: Path, header: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        list(ManifestCorpus(tsv(tmp_path, header, "a.wav")))

    assert hint in (caught.value.hint or "")


def items(path: Path, word: str | None = None) -> list[Item]:
    return [item for item in ManifestCorpus(path, word) if isinstance(item, Item)]


def test_offset_and_duration_are_the_segment(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"path": "1.wav", "offset": 1.5, "duration": 2, "text": "as in NeMo"},
        {"path": "1.wav", "offset": 4, "duration": 2, "word": "alexa"},
        {"path": "1.wav", "offset": 8, "duration": 2, "word": "alexa", "word_start_s": 0.5}
        | {"word_duration_s": 0.6},
    )

    first, second, third = items(path)

    assert (first.name, first.start_s, first.length_s) == ("1.wav@1.5", 1.5, 2.0)
    assert (first.labels, first.transcript) == ((), "as in NeMo")
    assert (second.start_s, second.labels) == (4.0, (Label("alexa"),))
    assert (third.start_s, third.labels) == (8.0, (Label("alexa", 0.5, 1.1),))
    (note,) = ManifestCorpus(path).notes()
    assert "2 lines with a word have offset and duration" in note


def test_duration_alone_is_the_length_of_the_file(tmp_path: Path) -> None:
    (item,) = items(tsv(tmp_path, "path\tduration", "a.wav\t6.7"))

    assert (item.name, item.start_s, item.length_s) == ("a.wav", 0.0, 6.7)


@pytest.mark.parametrize(
    "place", [{"start_s": 1, "length_s": 2}, {"length_s": 2}, {"start_s": 1, "length_s": 2.0}]
)
def test_duration_beside_start_s_and_length_s_is_ignored(
    tmp_path: Path, place: dict[str, float]
) -> None:
    (item,) = items(jsonl(tmp_path, {"path": "a.wav", "duration": 60, **place}))

    assert (item.start_s, item.length_s) == (place.get("start_s", 0), 2)


def test_place_of_a_word_without_a_word_is_a_fault_of_its_line(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"path": "a.wav", "offset_s": 1, "duration_s": 1}, {"path": "b.wav"})

    fault, item = ManifestCorpus(path)

    assert isinstance(fault, InvalidItem)
    assert "the place of a word, but no word" in fault.why
    assert isinstance(item, Item)
    assert items(path, "alexa")[0].labels == (Label("alexa", 1.0, 2.0),)


@pytest.mark.parametrize(
    ("written", "read"), [(12.0, "12"), (12.5, "12.5"), (12, "12"), (" ada ", "ada")]
)
def test_speaker_may_be_a_number_as_pandas_writes_it(
    tmp_path: Path, written: object, read: str
) -> None:
    (item,) = items(jsonl(tmp_path, {"path": "a.wav", "speaker": written}))

    assert item.speaker == read


def test_missing_values_of_pandas_are_no_text(tmp_path: Path) -> None:
    row = dict.fromkeys(("word", "speaker", "condition", "transcript"), float("nan"))

    (item,) = items(jsonl(tmp_path, {"path": "a.wav", **row}))

    assert (item.labels, item.speaker, item.condition, item.transcript) == ((), None, None, None)


def test_line_ends_in_a_transcript_are_blanks(tmp_path: Path) -> None:
    row = {"path": "a.wav", "text": "\n good\nmorning\v\u2028all\r\n", "speaker": "ada\n"}

    (item,) = items(jsonl(tmp_path, row))

    assert (item.transcript, item.speaker) == ("good morning all", "ada")


def test_blanks_around_a_word_are_removed(tmp_path: Path) -> None:
    (item,) = items(tsv(tmp_path, "path\tword", "a.wav\talexa "))

    assert item.labels == (Label("alexa"),)


def test_tabs_at_the_end_of_a_line_are_ignored(tmp_path: Path) -> None:
    (item,) = items(tsv(tmp_path, "path\tword", "a.wav\talexa\t\t"))

    assert item.labels == (Label("alexa"),)


@pytest.mark.parametrize(("disk", "table"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_name_in_another_normal_form_is_found(tmp_path: Path, disk: Form, table: Form) -> None:
    stored = tmp_path / unicodedata.normalize(disk, "Grüße") / unicodedata.normalize(disk, "é.wav")
    stored.parent.mkdir()
    stored.write_bytes(b"audio")

    (item,) = items(jsonl(tmp_path, {"path": unicodedata.normalize(table, "Grüße/é.wav")}))

    assert item.path == stored
    assert item.name == unicodedata.normalize(table, "Grüße/é.wav")


def test_name_that_does_not_exist_stays(tmp_path: Path) -> None:
    (item,) = items(jsonl(tmp_path, {"path": "Grüße/é.wav"}))

    assert item.path == tmp_path / "Grüße" / "é.wav"


def test_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        list(ManifestCorpus(tmp_path / "none.tsv"))
    with pytest.raises(Unavailable):
        list(ManifestCorpus(tmp_path / "a\0.tsv"))


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
)
KEYS = st.sampled_from(
    [
        *("path", "file", "word", "offset", "duration", "duration_s", "start_s", "length_s"),
        *("word_start_s", "word_duration_s", "speaker", "text"),
    ]
)


@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=6), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_rows_give_items_faults_or_one_error(
    tmp_path: Path, found: list[dict[str, Any]]
) -> None:
    try:
        items = list(ManifestCorpus(jsonl(tmp_path, *found)))
    except ConfigError as error:
        assert "list.jsonl line " in str(error)  # noqa: PT017 - items are as good
    else:
        assert all(isinstance(item, Item | InvalidItem) for item in items)


@given(st.binary(max_size=200), st.sampled_from([".tsv", ".jsonl"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_give_items_faults_or_one_error(
    tmp_path: Path, data: bytes, suffix: str
) -> None:
    path = tmp_path / f"list{suffix}"
    path.write_bytes(b"path\tword\n" + data if suffix == ".tsv" else data)

    try:
        items = list(ManifestCorpus(path))
    except EarmarkError as error:
        assert str(path) in str(error)  # noqa: PT017 - items are as good
    else:
        assert all(isinstance(item, Item | InvalidItem) for item in items)
