"""Manifests: what a line may say, and that no line brings more than one error, by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.evaluate.corpus.items import InvalidItem, Item, Label
from listener.evaluate.corpus.manifests import LONGEST_LINE, ManifestCorpus


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
        "path\toffset\tduration\tword\tspeaker\tcondition\ttranscript",
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
    ["path", "file", "word", "offset", "duration_s", "start_s", "length_s", "speaker", "text"]
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
