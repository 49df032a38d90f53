"""What is seen in one place, each with a watermark that is there or is not."""

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


def test_of_memory_the_mappings_are_named() -> None:
    seen = Scan(found=found(1, 2), places={"[heap]": 2}, scanned_bytes=4096)

    look = checks.check_memory("recording", "muted", "hear", seen, must_find=False)

    assert (look.where, look.moment, look.process) == ("memory", "muted", "hear")
    assert (look.looked_bytes, look.blocks, look.forms) == (4096, 2, {"int16": 2})
    assert look.places == {"[heap]": 2}
    assert not look.is_good


def test_of_calls_all_threads_are_summed_by_destination() -> None:
    sent = [
        SentData(thread=1, kind="file", sent_bytes=10, found=found(1, 2)),
        SentData(thread=2, kind="file", sent_bytes=20, found=found(2, 3)),
        SentData(thread=2, kind="socket", sent_bytes=30),
    ]

    look = checks.check_calls("control", "leaky", sent, must_find=True)

    assert (look.where, look.moment, look.looked_bytes) == ("calls", "ended", 60)
    assert (look.blocks, look.places) == (3, {"file": 4})
    assert look.is_good


def seen(*sent: tuple[str, SentData]) -> Sequence[tuple[str, bool]]:
    return [(look.process, look.is_good) for look in checks.check_all_calls("device", sent)]


def test_sound_leaves_the_microphone_by_its_pipe_alone() -> None:
    pipe = SentData(thread=1, kind="pipe", found=found(1))
    null = SentData(thread=1, kind="nowhere", found=found(1))
    hear = SentData(thread=2, kind="file")

    assert seen(("microphone", pipe), ("microphone", null), ("hear", hear)) == [
        ("microphone, pipe", True),
        ("microphone", True),
        ("hear", True),
    ]
    assert ("microphone, pipe", False) in seen(("microphone", null))
    assert ("microphone", False) in seen(
        ("microphone", pipe), ("microphone", SentData(thread=1, kind="file", found=found(1)))
    )
    assert ("hear", False) in seen(("hear", SentData(thread=2, kind="pipe", found=found(1))))


@pytest.mark.parametrize("is_there", [True, False])
def test_of_files_those_that_hold_it_are_named(
    watermark: Watermark, tmp_path: Path, *, is_there: bool
) -> None:
    files = [tmp_path / "log", tmp_path / "state"]
    files[0].write_bytes(watermark.signal(0, 3).tobytes() if is_there else b"quiet")
    files[1].write_bytes(b"nothing")

    look = checks.check_files("control", "two files", files, watermark, must_find=is_there)

    assert (look.where, look.process) == ("disk", "two files")
    assert look.looked_bytes == sum(file.stat().st_size for file in files)
    assert look.places == ({"log": 3} if is_there else {})
    assert look.is_good


LOOK = CheckResult(
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
    ("look", "mark"),
    [
        (LOOK, "ok"),
        (replace(LOOK, blocks=1), "FAIL"),
        (replace(LOOK, must_find=True), "FAIL"),
        (replace(LOOK, must_find=True, blocks=9), "ok"),
    ],
)
def test_a_look_is_good_when_what_must_be_found_is_and_nothing_else(
    look: CheckResult, mark: str
) -> None:
    assert look.is_good is (mark == "ok")
    assert json.loads(to_json(look))["good"] is (mark == "ok")
    assert to_text(look).startswith(mark)


def test_a_line_says_what_was_found_as_what_and_where() -> None:
    look = replace(LOOK, blocks=33, forms={"float32": 33}, places={"[heap]": 33})

    words = " ".join(to_text(look).split())
    assert words == (
        "FAIL recording after mute memory of hear 3.0 MiB 33 blocks: 33 as float32, in [heap]"
    )


def test_a_search_that_is_blind_is_told_so() -> None:
    assert to_text(replace(LOOK, must_find=True)).endswith("but some must be found")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (SkippedCheck(what="device", why="no PortAudio"), "device: not looked at: no PortAudio"),
        (
            Verdict(looks=9, failed=0, good=True, complete=True, took_s=3.2),
            "selftest: 9 looks in 3 s, each as it must be",
        ),
        (
            Verdict(looks=9, failed=0, good=True, complete=False, took_s=3.2),
            "not everything was looked at",
        ),
        (
            Verdict(looks=9, failed=2, good=False, complete=True, took_s=3.2),
            "2 of 9 looks are not as they must be",
        ),
    ],
)
def test_what_is_not_a_look_has_its_line_too(event: Event, text: str) -> None:
    assert text in to_text(event)
    assert json.loads(to_json(event))["event"] in {"skipped", "verdict"}


def test_what_is_on_the_disk_is_no_process() -> None:
    look = replace(LOOK, where="disk", moment="ended", process="the home's files")

    assert "disk of" not in to_text(look)
    assert "the home's files" in to_text(look)
