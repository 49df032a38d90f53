"""One table of topics."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.mqtt import topics
from listener.mqtt.topics import ACK, CLIP, EVENT, STATUS, ArchiveAnswer, EventPayload

levels = st.from_regex(r"[a-z0-9-]{1,36}", fullmatch=True)


@given(levels, levels, levels)
def test_levels_reverse_name(owner: str, device: str, clip: str) -> None:
    name = CLIP.name(owner=owner, device=device, clip=clip)

    assert name == f"earmark/v1/clips/{owner}/{device}/{clip}"
    assert CLIP.levels(name) == {"owner": owner, "device": device, "clip": clip}
    assert ACK.levels(name) is None


@given(st.text())
def test_any_text_is_a_known_topic_or_none(text: str) -> None:
    found = ACK.levels(text)

    assert found is None or ACK.name(**found) == text


@pytest.mark.parametrize("level", ["", "+", "#", "a/b", "Ada", "ada\n", "a" * 41, "ä"])
def test_level_with_separators_is_refused(level: str) -> None:
    with pytest.raises(ValueError, match="not a valid topic level"):
        STATUS.name(device=level)
    assert STATUS.levels(f"earmark/v1/status/{level}") is None


def test_filter_has_wildcards_for_missing_levels() -> None:
    assert CLIP.topic_filter() == "earmark/v1/clips/+/+/+"
    assert ACK.topic_filter(device="hall") == "earmark/v1/ack/hall/+"


def test_only_the_status_is_retained() -> None:
    assert [topic for topic in (CLIP, ACK, STATUS, EVENT) if topic.retain] == [STATUS]


@given(st.from_regex(r"[0-9a-f]{64}", fullmatch=True), st.sampled_from(["", "form", "replay"]))
def test_answer_survives_encoding(sha256: str, refused: str) -> None:
    answer = ArchiveAnswer(sha256, refused)

    assert topics.parse_answer(answer.encode()) == answer


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_none(payload: bytes) -> None:
    answer = topics.parse_answer(payload)

    assert answer is None or answer.encode() == payload


@pytest.mark.parametrize(
    "payload", [b"", b"0" * 63, b"0" * 65, b"G" * 64, b"0" * 64 + b"\n", b"refused::" + b"0" * 64]
)
def test_malformed_answer_is_none(payload: bytes) -> None:
    assert topics.parse_answer(payload) is None


def test_deferral_is_read_by_this_version_and_ignored_by_earlier_ones() -> None:
    payload = ArchiveAnswer("0" * 64, is_deferred=True).encode()

    assert payload == b"deferred:" + b"0" * 64
    assert topics.parse_answer(payload) == ArchiveAnswer("0" * 64, is_deferred=True)
    earlier = re.compile(rb"(?:refused:([a-z]{1,16}):)?([0-9a-f]{64})")
    assert earlier.fullmatch(payload) is None
    assert topics.parse_answer(b"refused:form:" + payload) is None


def test_event_has_no_other_fields() -> None:
    assert EventPayload(event_type="wake", word="alexa").encode() == (
        b'{"event_type":"wake","word":"alexa"}'
    )
    assert EventPayload(event_type="mute", state="open").encode() == (
        b'{"event_type":"mute","state":"open"}'
    )


def test_reason_for_which_a_clip_waits_is_an_answer_of_its_own() -> None:
    payload = ArchiveAnswer("0" * 64, waiting="owner").encode()

    assert payload == b"waiting:owner:" + b"0" * 64
    assert topics.parse_answer(payload) == ArchiveAnswer("0" * 64, waiting="owner")
    for wrong in (b"waiting:" + b"0" * 64, b"waiting::" + b"0" * 64, b"waiting:a b:" + b"0" * 64):
        assert topics.parse_answer(wrong) is None
