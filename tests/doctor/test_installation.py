import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from listener.config import AttributionSettings, BrokerSettings, Config, SpoolSettings, WakeSettings
from listener.doctor import installation
from listener.inference.add_model import add_model
from listener.inference.catalogue import Catalogue
from listener.mqtt.client import (
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    Message,
)
from listener.spool.queue import Spool
from listener.storage.home import Home
from listener.system.findings import Finding
from listener.train.report import manifest_text
from listener.wakeword.manifest import KnownWord


class Household(Protocol):
    home: Home


def run_checks(settings: Config) -> dict[str, Finding]:
    return {finding.check: finding for finding in installation.check_installation(settings)}


def settings_of(home: Path, keeper: str | None = "ada") -> Config:
    return Config(home=str(home), attribution=AttributionSettings(keeper=keeper))


def test_empty_home_lacks_only_a_keeper_and_stays_empty(home: Path) -> None:
    checks = run_checks(settings_of(home, None))

    assert {name: each.verdict for name, each in checks.items()} == {
        "keeper": "fail",
        "key": "ok",
        "models": "ok",
        "spool": "ok",
    }
    assert "earmark owner add" in checks["keeper"].hint
    assert list(home.iterdir()) == []


def test_missing_home_is_not_created(home: Path) -> None:
    checks = run_checks(settings_of(home / "later"))

    assert checks["spool"].verdict == "ok"
    assert not (home / "later").exists()


def test_complete_household_is_ok(household: Household) -> None:
    checks = run_checks(settings_of(household.home.path))

    assert {each.verdict for each in checks.values()} == {"ok"}
    assert "ada" in checks["keeper"].text


def test_unknown_keeper_fails(household: Household) -> None:
    assert run_checks(settings_of(household.home.path, "eve"))["keeper"].verdict == "fail"


def test_key_that_others_can_read_fails(household: Household) -> None:
    (household.home.path / "device.key").chmod(0o644)

    key = run_checks(settings_of(household.home.path))["key"]

    assert key.verdict == "fail"
    assert "chmod 600" in key.hint


def test_word_without_a_model_fails(home: Path) -> None:
    settings = msgspec.structs.replace(settings_of(home), wake=WakeSettings(words=("xyzzy",)))

    assert run_checks(settings)["models"].verdict == "fail"


def test_first_stage_that_knows_no_word_is_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Catalogue, "first_stage", lambda _self, _words: None)
    wake = WakeSettings(words=("alexa",), first_stage=True)

    models = run_checks(msgspec.structs.replace(settings_of(home), wake=wake))["models"]

    assert models.verdict == "warn"
    assert "no first stage was trained for all of alexa" in models.text
    assert "earmark train" in models.hint


def test_first_stage_that_is_used_is_named(home: Path) -> None:
    catalogue = Catalogue(home)
    lumen = catalogue.load("hey-lumen")
    own = msgspec.structs.replace(lumen.manifest, name="my-lumen")
    add_model(catalogue, own, lumen.data)
    shipped = catalogue.load("first-stage")
    entry = KnownWord(sha256=own.sha256, bound=0.1, speech_share=0.01)
    manifest = msgspec.structs.replace(
        shipped.manifest,
        name="first-stage-added",
        files=shipped.manifest.files[:1],
        words={"my-lumen": entry},
        figures={"real_people_measured": False},
    )
    beside = {"manifest.toml": manifest_text(manifest).encode()}
    add_model(catalogue, manifest, shipped.data, beside)

    texts = []
    for words, first_stage in ((("alexa",), True), (("my-lumen",), True), (("alexa",), False)):
        wake = WakeSettings(words=words, first_stage=first_stage)
        models = run_checks(msgspec.structs.replace(settings_of(home), wake=wake))["models"]
        assert models.verdict == "ok"
        texts.append(models.text)

    assert texts[0].endswith("; first stage: first-stage")
    assert texts[1].endswith("; first stage: first-stage-added, measured on synthetic speech alone")
    assert "first stage" not in texts[2]


def test_spool_path_that_is_a_file_fails(home: Path) -> None:
    (home / "spool").write_text("in the way")

    assert run_checks(settings_of(home))["spool"].verdict == "fail"


def fill(home: Path, clips: int) -> None:
    spool = Spool(home / "spool", SpoolSettings())
    for seq in range(1, clips + 1):
        spool.put(str(uuid.uuid4()), "ada", seq, b"sealed")


def quarantined(home: Path) -> None:
    fill(home, 1)
    spool = Spool(home / "spool", SpoolSettings())
    entry = spool.oldest()
    assert entry is not None
    spool.quarantine(entry)


def suspended(home: Path, reason: str) -> None:
    fill(home, 1)
    Spool(home / "spool", SpoolSettings()).set_suspended(reason)


def not_stored(home: Path, reason: str) -> None:
    fill(home, 1)
    Spool(home / "spool", SpoolSettings()).set_not_stored(reason)


@pytest.mark.parametrize(
    ("arrange", "bounds", "hint"),
    [
        (lambda home: suspended(home, "refusals"), SpoolSettings(), "the archive's log"),
        (lambda home: suspended(home, "deferred"), SpoolSettings(), "archive.clips_per_hour"),
        (lambda home: not_stored(home, "owner"), SpoolSettings(), "earmark owner list"),
        (lambda home: not_stored(home, "device"), SpoolSettings(), "earmark household devices"),
        (lambda home: not_stored(home, "later"), SpoolSettings(), "the archive's log"),
        (lambda home: fill(home, 3), SpoolSettings(most_clips=4), "more than half full"),
        (quarantined, SpoolSettings(), "earmark send --release"),
        (lambda _: None, SpoolSettings(longest_bytes=1 << 32), ""),
    ],
)
def test_spool_warning_has_a_hint(
    home: Path, arrange: Callable[[Path], None], bounds: SpoolSettings, hint: str
) -> None:
    arrange(home)

    spool = run_checks(msgspec.structs.replace(settings_of(home), spool=bounds))["spool"]

    assert spool.verdict == ("warn" if spool.hint else "ok")
    assert hint in spool.hint


@pytest.mark.parametrize("is_pinned", [True, False])
def test_replays_are_reported_with_their_cause(household: Household, *, is_pinned: bool) -> None:
    home = household.home.path
    quarantined(home)
    if is_pinned:
        household.home.pin_archive(household.home.archive_key().public_key())
    spool = Spool(home / "spool", SpoolSettings())
    (clip,) = spool.quarantined()
    spool.count_replay(clip)

    once = run_checks(settings_of(home))
    spool.count_replay(clip)
    twice = run_checks(settings_of(home))

    for checks in (once, twice):
        assert checks["replays"].verdict == "warn"
        assert "its card was restored from a copy" in checks["replays"].text
        assert "another machine has its key" in checks["replays"].text
        assert ("archive.pub" in checks["replays"].hint) == (not is_pinned)
        assert "remove device.key" in checks["replays"].hint
    assert "--release" in once["spool"].hint
    assert "--release" not in twice["spool"].hint
    assert "1 was dropped, refused or quarantined" in twice["spool"].text


def test_damaged_pin_of_the_archive_fails(household: Household) -> None:
    (household.home.path / "archive.pub").write_text("ed25519:???")

    assert run_checks(settings_of(household.home.path))["archive"].verdict == "fail"


class FakeBroker:
    """Answers each connection with what it is told; its clock moves while it is waited for."""

    def __init__(self, *answers: Sequence[BrokerEvent]) -> None:
        self._answers = list(answers)
        self._now: list[BrokerEvent] = []
        self.now_s = 100.0
        self.is_closed = False
        self.connections = 0

    def connect(self) -> None:
        self.connections += 1
        self._now = list(self._answers.pop(0)) if self._answers else []

    def subscribe(self, pattern: str) -> None:
        assert pattern == "$SYS/broker/retained messages/count"

    def publish(self, message: Message) -> int:
        raise AssertionError(message)

    def poll(self, longest_s: float, also: Sequence[object] = ()) -> list[BrokerEvent]:
        del also
        self.now_s += longest_s
        happened, self._now = self._now[:1], self._now[1:]
        return happened

    def close(self) -> None:
        self.is_closed = True

    def monotonic_s(self) -> float:
        return self.now_s


WELCOME = ConnectedEvent(BrokerLimits(), "5")


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([[WELCOME]], "here:1883 answers, in MQTT 5"),
        ([[], [WELCOME]], "here:1883: no answer"),
        (
            [[ConnectionLostEvent("it hung up")], [ConnectedEvent(BrokerLimits(), "3.1.1")]],
            "answers, in MQTT 3.1.1",
        ),
        (
            [[ConnectionLostEvent("it hung up")], [ConnectionLostEvent("not authorized")]],
            "here:1883: not authorized",
        ),
    ],
)
def test_broker_answer_is_reported(answers: list[list[BrokerEvent]], text: str) -> None:
    broker = FakeBroker(*answers)

    finding = installation.try_connection(broker, "here:1883", broker.monotonic_s)

    assert text in finding.text
    assert finding.verdict == ("ok" if "answers" in finding.text else "fail")
    assert broker.is_closed
    assert broker.connections <= installation.TRIES


def test_closed_port_fails(free_port: int) -> None:
    finding = installation.check_broker(BrokerSettings(port=free_port))

    assert finding.verdict == "fail"
    assert "refused" in finding.text


def test_invalid_broker_settings_fail_without_connecting() -> None:
    finding = installation.check_broker(BrokerSettings(ca_file="/nowhere/ca.crt"))

    assert finding.verdict == "fail"
    assert "broker.ca_file" in finding.hint


def retained(payload: bytes) -> Message:
    return Message("$SYS/broker/retained messages/count", payload, 0, retain=True)


@pytest.mark.parametrize(
    ("events", "verdict", "number"),
    [
        ([], "ok", None),
        ([retained(b"61")], "ok", 61),
        ([retained(b"1001")], "warn", 1001),
        ([retained(b"many"), retained(b"9" * 5000), retained(b"")], "ok", None),
        ([Message("elsewhere", b"5000", 0, retain=True)], "ok", None),
    ],
)
def test_many_retained_messages_are_a_warning(
    events: list[BrokerEvent], verdict: str, number: int | None
) -> None:
    broker = FakeBroker([WELCOME, *events])

    finding = installation.try_connection(broker, "here:1883", broker.monotonic_s)

    assert finding.verdict == verdict
    assert finding.facts.get("retained") == number
    assert ("earmark household revoke" in finding.hint) == (verdict == "warn")
