import json

import msgspec
import pytest

from listener.selftest.report import CheckResult, Event, SkippedCheck, Verdict, to_json, to_text

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
