"""What is scan in one place, each with a watermark that is there or is not."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from listener.selftest import checks
from listener.selftest.checks import CheckResult, Event, SkippedCheck, Verdict, to_json, to_text
from listener.selftest.memory import Scan
from listener.selftest.syscalls import SentData
from listener.selftest.watermark import FoundBlocks, Watermark


@pytest.fixture(scope="module")
def watermark() -> Watermark:
    return Watermark(7)


def found(*numbers: int) -> FoundBlocks:
    return FoundBlocks({"int16": set(numbers)} if numbers else {})


def test_memory_check_names_the_mappings() -> None:
    scan = Scan(found=found(1, 2), places={"[heap]": 2}, scanned_bytes=4096)

    result = checks.check_memory("recording", "muted", "hear", scan, must_find=False)

    assert (result.where, result.moment, result.process) == ("memory", "muted", "hear")
    assert (result.looked_bytes, result.blocks, result.forms) == (4096, 2, {"int16": 2})
    assert result.places == {"[heap]": 2}
    assert not result.is_good


def test_calls_of_all_threads_are_summed_by_destination() -> None:
    sent = [
        SentData(thread=1, kind="file", sent_bytes=10, found=found(1, 2)),
        SentData(thread=2, kind="file", sent_bytes=20, found=found(2, 3)),
        SentData(thread=2, kind="socket", sent_bytes=30),
    ]

    result = checks.check_calls("control", "leaky", sent, must_find=True)

    assert (result.where, result.moment, result.looked_bytes) == ("calls", "ended", 60)
    assert (result.blocks, result.places) == (3, {"file": 4})
    assert result.is_good


def scan(*sent: tuple[str, SentData]) -> Sequence[tuple[str, bool]]:
    return [(result.process, result.is_good) for result in checks.check_all_calls("device", sent)]


def test_audio_leaves_the_microphone_only_by_its_pipe() -> None:
    pipe = SentData(thread=1, kind="pipe", found=found(1))
    null = SentData(thread=1, kind="nowhere", found=found(1))
    hear = SentData(thread=2, kind="file")

    assert scan(("microphone", pipe), ("microphone", null), ("hear", hear)) == [
        ("microphone, pipe", True),
        ("microphone", True),
        ("hear", True),
    ]
    assert ("microphone, pipe", False) in scan(("microphone", null))
    assert ("microphone", False) in scan(
        ("microphone", pipe), ("microphone", SentData(thread=1, kind="file", found=found(1)))
    )
    assert ("hear", False) in scan(("hear", SentData(thread=2, kind="pipe", found=found(1))))


def test_hear_may_write_audio_to_the_pipe_of_the_embedding_process_alone() -> None:
    pipe = SentData(thread=1, kind="pipe", found=found(1))
    answer = SentData(thread=2, kind="pipe")

    assert scan(("hear", pipe), ("embedding", answer)) == [
        ("hear, pipe", True),
        ("hear", True),
        ("embedding", True),
    ]
    assert ("hear, pipe", False) in scan(("hear", answer), ("embedding", answer))
    assert ("embedding", False) in scan(("hear", pipe), ("embedding", pipe))
    file = SentData(thread=1, kind="file", found=found(1))
    assert ("hear", False) in scan(("hear", pipe), ("hear", file), ("embedding", answer))


@pytest.mark.parametrize("is_there", [True, False])
def test_file_check_names_the_files_with_blocks(
    watermark: Watermark, tmp_path: Path, *, is_there: bool
) -> None:
    files = [tmp_path / "log", tmp_path / "state"]
    files[0].write_bytes(watermark.signal(0, 3).tobytes() if is_there else b"quiet")
    files[1].write_bytes(b"nothing")

    result = checks.check_files("control", "two files", files, watermark, must_find=is_there)

    assert (result.where, result.process) == ("disk", "two files")
    assert result.looked_bytes == sum(file.stat().st_size for file in files)
    assert result.places == ({"log": 3} if is_there else {})
    assert result.is_good


RESULT = CheckResult(
    path="recording",
    moment="muted",
    where="memory",
    process="hear",
    looked_bytes=3 << 20,
    blocks=0,
    forms={},
    places={},
    must_find=False,
)
replace = msgspec.structs.replace


@pytest.mark.parametrize(
    ("result", "mark"),
    [
        (RESULT, "ok"),
        (replace(RESULT, blocks=1), "FAIL"),
        (replace(RESULT, must_find=True), "FAIL"),
        (replace(RESULT, must_find=True, blocks=9), "ok"),
    ],
)
def test_check_passes_when_blocks_are_where_expected(result: CheckResult, mark: str) -> None:
    assert result.is_good is (mark == "ok")
    assert json.loads(to_json(result))["good"] is (mark == "ok")
    assert to_text(result).startswith(mark)


def test_line_has_count_format_and_place_of_blocks() -> None:
    result = replace(RESULT, blocks=33, forms={"float32": 33}, places={"[heap]": 33})

    words = " ".join(to_text(result).split())
    assert words == (
        "FAIL recording after mute memory of hear 3.0 MiB 33 blocks: 33 as float32, in [heap]"
    )


def test_positive_control_without_blocks_is_reported() -> None:
    assert to_text(replace(RESULT, must_find=True)).endswith("but the search must find some here")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (SkippedCheck(what="device", why="no PortAudio"), "device: skipped: no PortAudio"),
        (
            Verdict(looks=9, failed=0, good=True, complete=True, took_s=3.2),
            "selftest: 9 checks passed in 3 s",
        ),
        (
            Verdict(looks=9, failed=0, good=True, complete=False, took_s=3.2),
            "some checks were skipped",
        ),
        (
            Verdict(looks=9, failed=2, good=False, complete=True, took_s=3.2),
            "2 of 9 checks failed",
        ),
    ],
)
def test_skipped_checks_and_the_verdict_have_a_line(event: Event, text: str) -> None:
    assert text in to_text(event)
    assert json.loads(to_json(event))["event"] in {"skipped", "verdict"}


def test_disk_check_does_not_name_a_process() -> None:
    result = replace(RESULT, where="disk", moment="ended", process="the home's files")

    assert "disk of" not in to_text(result)
    assert "the home's files" in to_text(result)
