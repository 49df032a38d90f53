import sys

import pytest

from listener.config import Config, MicrophoneSettings
from listener.doctor import hearing
from listener.system.findings import Finding, to_json

FINDING = Finding(check="memory", verdict="ok", text="enough")


def program(*lines: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", "import os, sys\n" + "\n".join(lines)]


SAYS = f"print({to_json(FINDING)!r}, flush=True)"


def found(*lines: str, prove_mute: bool = False) -> list[Finding]:
    settings = Config(microphone=MicrophoneSettings(device="kitchen"))
    return list(hearing.check_microphone(settings, prove_mute=prove_mute, command=program(*lines)))


def test_findings_are_handed_on() -> None:
    assert found("sys.stdin.read()", SAYS, SAYS) == [FINDING, FINDING]


def test_the_settings_go_in_and_the_question_too() -> None:
    (finding,) = found(
        "text = sys.stdin.read()",
        "assert 'kitchen' in text and sys.argv[1:] == ['--prove-mute']",
        SAYS,
        prove_mute=True,
    )

    assert finding == FINDING


@pytest.mark.parametrize(
    "lines",
    [
        ("sys.stdin.read()", SAYS, "os.abort()"),
        ("sys.stdin.read()", SAYS, "sys.exit(3)"),
        ("sys.stdin.read()", SAYS, "print('Traceback', flush=True)", "os.read(0, 1)", "os.abort()"),
        ("sys.stdin.read()", SAYS, "print('x' * 9_999, flush=True)", "os.abort()"),
    ],
)
def test_a_process_that_breaks_off_is_itself_a_finding(lines: tuple[str, ...]) -> None:
    first, last = found(*lines)

    assert first == FINDING
    assert (last.check, last.verdict) == ("microphone", "fail")


def test_a_process_that_ends_before_it_reads_is_one_too() -> None:
    (finding,) = found("sys.exit(1)")

    assert finding.verdict == "fail"
