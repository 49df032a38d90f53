import json
from pathlib import Path

import pytest
import soundfile

from listener.demo import checks, scene
from listener.demo.broker import CapturedMessage
from listener.demo.checks import ClaimChecks
from listener.demo.households import WORD
from listener.demo.player import Event
from listener.errors import EarmarkError

STAGE = scene.load_scene()


def events(**total: float) -> list[Event]:
    """What a hear that does everything right says."""
    changed: list[Event] = [{"event": "started"}]
    for cue in STAGE.wakes:
        changed.append({"event": "wake", "time_s": cue.from_s + 0.6, "word": WORD, "score": 0.9})
        changed.append({"event": "sealed", "time_s": cue.from_s, "length_s": 3.0, "owner": "ada"})
    changed += [{"event": "near_miss", "time_s": cue.to_s} for cue in STAGE.near_misses]
    heard_s = STAGE.length_s - STAGE.muted_s
    ended = {"heard_s": heard_s, "discarded_s": heard_s - 6.0, "sealed_s": 6.0}
    return [*changed, {"event": "ended", "muted_s": STAGE.muted_s} | ended | total]


def failed_claims(changed: list[Event]) -> str:
    checked = ClaimChecks()
    checks.check_hearing(checked, STAGE, changed, "ada")
    with pytest.raises(EarmarkError, match="the demo did not show that") as caught:
        checked.raise_on_failure()
    return str(caught.value)


def test_successful_run_passes() -> None:
    checked = ClaimChecks()

    checks.check_hearing(checked, STAGE, events(), "ada")

    checked.raise_on_failure()


def test_every_failed_claim_is_named() -> None:
    checked = ClaimChecks()
    checked.check("one", when=False)
    checked.check("two", when=True)
    checked.check("three", when=False)

    with pytest.raises(EarmarkError, match="the demo did not show that: one; three"):
        checked.raise_on_failure()


@pytest.mark.parametrize("kind", ["wake", "near_miss", "sealed", "ended"])
def test_missing_event_is_reported(kind: str) -> None:
    changed = events()
    changed.remove(next(event for event in changed if event["event"] == kind))

    assert failed_claims(changed)


def test_false_wake_is_reported() -> None:
    extra = {"event": "wake", "time_s": STAGE.near_misses[0].to_s, "word": WORD, "score": 0.6}

    assert "nothing else did" in failed_claims([*events(), extra])


def test_wake_while_muted_is_reported() -> None:
    extra = {"event": "wake", "time_s": STAGE.muted_words[0].to_s, "word": WORD, "score": 0.9}

    assert "while muted" in failed_claims([*events(), extra])


def test_clip_of_another_owner_is_reported() -> None:
    changed = events()
    next(event for event in changed if event["event"] == "sealed")["owner"] = "bo"

    assert "one owner" in failed_claims(changed)


@pytest.mark.parametrize(
    ("total", "claim"),
    [
        ({"muted_s": 0.0}, "while muted"),
        ({"heard_s": 1.0}, "every second"),
        ({"discarded_s": 1.0}, "discarded or sealed"),
    ],
)
def test_inconsistent_totals_are_reported(total: dict[str, float], claim: str) -> None:
    assert claim in failed_claims(events(**total))


@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.ogg"])
def test_unencrypted_audio_is_found(name: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    soundfile.write(tmp_path / "deep" / name, [0.0] * 160, 16_000)
    checked = ClaimChecks()

    checks.check_disk(checked, tmp_path)

    with pytest.raises(EarmarkError, match="no file holds unencrypted audio"):
        checked.raise_on_failure()


def test_files_without_audio_pass(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"fLaC, says the text")
    checked = ClaimChecks()

    checks.check_disk(checked, tmp_path)

    checked.raise_on_failure()


SEALED = CapturedMessage("earmark/v1/clips/ada/kitchen/1", b"EARMARK/1\n...")


@pytest.mark.parametrize(
    ("passed", "claim"),
    [
        ([SEALED, CapturedMessage("earmark/v1/event/kitchen", b'{"event_type":"wake"}')], ""),
        ([], "carried each clip"),
        ([SEALED, CapturedMessage("earmark/v1/clips/ada/kitchen/2", b"fLaC")], "was sealed"),
        ([SEALED, CapturedMessage("a", b"EARMARK/1\nfLaC\0\0\0\x22")], "was sealed"),
        ([SEALED, CapturedMessage("earmark/v1/status/kitchen", b"\0" * 3000)], "small"),
        (
            [SEALED, CapturedMessage("earmark/v1/event/kitchen", b'{"owner":"ada"}')],
            "named no owner",
        ),
    ],
)
def test_messages_on_the_broker_are_checked(passed: list[CapturedMessage], claim: str) -> None:
    checked = ClaimChecks()

    checks.check_wire(checked, passed, 1, ["ada", "bo"])

    if claim:
        with pytest.raises(EarmarkError, match=claim):
            checked.raise_on_failure()
    else:
        checked.raise_on_failure()


@pytest.mark.parametrize("shift_s", [0.0, 0.08])
def test_opened_clip_is_compared_with_the_scene(shift_s: float, tmp_path: Path) -> None:
    samples, rate_hz = soundfile.read(STAGE.file, dtype="int16")
    soundfile.write(tmp_path / "clip.flac", samples[16_000:32_000], rate_hz)
    event = {"event": "sealed", "time_s": 1.0 + shift_s, "length_s": 1.0, "clip": "clip"}
    checked = ClaimChecks()

    checks.check_sound(checked, STAGE, [event], [tmp_path / "clip.flac"])

    if shift_s:
        with pytest.raises(EarmarkError, match="the opened clips equal the recording"):
            checked.raise_on_failure()
    else:
        checked.raise_on_failure()


def test_relabelled_copy_differs_only_in_its_header() -> None:
    header = {"clip": "x", "okey": "k", "owner": "ada"}
    line = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    envelope = b"\n".join([b"EARMARK/1", line, b"{}", b"signature", b"cipher\ntext"])

    copy = checks.relabel(envelope, owner="bo", okey="l")

    assert copy == envelope.replace(b'"ada"', b'"bo"').replace(b'"k"', b'"l"')
