import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import EarmarkError
from listener.system.findings import (
    LONGEST_BYTES,
    Check,
    Finding,
    by_weight,
    from_json,
    summary,
    to_json,
    to_text,
)


@given(
    st.builds(
        Finding,
        check=st.from_regex(r"[a-z-]{1,16}", fullmatch=True),
        verdict=st.sampled_from(["ok", "warn", "fail"]),
        text=st.text(max_size=80),
        hint=st.text(max_size=80),
        facts=st.dictionaries(
            st.text(max_size=8), st.one_of(st.booleans(), st.integers(-9, 9), st.text(max_size=8))
        ),
    )
)
def test_finding_survives_a_round_trip(finding: Finding) -> None:
    line = to_json(finding)

    assert "\n" not in line
    assert from_json(line.encode()) == finding


@given(st.binary(max_size=200))
def test_any_bytes_parse_as_a_finding_or_raise_value_error(data: bytes) -> None:
    try:
        from_json(data)
    except ValueError:
        return


@pytest.mark.parametrize(
    "line",
    [
        b'{"check":"swap","verdict":"perhaps","text":""}',
        b'{"check":"swap","verdict":"ok","text":"","more":1}',
        b'{"check":"SWAP","verdict":"ok","text":""}',
        b'{"check":"swap","verdict":"ok","text":"' + b"x" * LONGEST_BYTES + b'"}',
        b"[" * 3_000,
    ],
)
def test_line_that_is_not_a_finding_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a finding|longer"):
        from_json(line)


def test_hint_is_printed_below_the_finding() -> None:
    finding = Finding(check="swap", verdict="warn", text="it is on", hint="swapoff -a")

    assert to_text(finding) == "warn  swap        it is on\n                  swapoff -a"
    assert to_text(Finding(check="key", verdict="ok", text="there")) == "ok    key         there"


def test_check_adds_its_common_facts_to_every_finding() -> None:
    look = Check("swap", {"areas": 1, "known": False})

    assert look.ok("off") == Finding(
        check="swap", verdict="ok", text="off", facts={"areas": 1, "known": False}
    )
    assert look.warn("on", "swapoff -a", known=True) == Finding(
        check="swap",
        verdict="warn",
        text="on",
        hint="swapoff -a",
        facts={"areas": 1, "known": True},
    )
    assert Check("key").fail_with(EarmarkError("it is gone", "make one")) == Finding(
        check="key", verdict="fail", text="it is gone", hint="make one"
    )


def test_failures_come_first_and_what_does_not_concern_is_left_out() -> None:
    found = [
        Check("boot").not_here("no config.txt"),
        Check("key").ok("there"),
        Check("clock").warn("wrong"),
        Check("keeper").fail("none"),
        Check("broker").fail("away"),
    ]

    assert [one.check for one in by_weight(found)] == ["keeper", "broker", "clock", "key"]
    assert summary(found) == (
        "2 failures (keeper, broker), 1 warning, 1 passed, 1 does not concern this machine"
    )
    assert summary(found[1:2]) == "no failures, no warnings, 1 passed"
    assert from_json(to_json(found[0]).encode()) == found[0]
