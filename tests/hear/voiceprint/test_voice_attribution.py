"""Decision for a clip from its speech and the embeddings of it; every doubt gives no owner."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyrage
import pytest

from listener.audio.clip import Clip, EndReason
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.config import AttributionSettings
from listener.errors import Unavailable
from listener.hear.voiceprint.embedding_protocol import (
    LONGEST_REQUEST_SAMPLES,
    SPEECH_STEP_SAMPLES,
)
from listener.hear.voiceprint.voice_attribution import VoiceAttribution
from listener.inference.speaker_embedding import SHORTEST_SAMPLES
from listener.owner.attribution import AttributionResult, NoOwner
from listener.owner.roster import Roster
from listener.voiceprint.scoring import DEFAULT_MARGIN, DEFAULT_THRESHOLD, EnrolledVoice
from listener.voiceprint.speech import MIN_SPEECH_SAMPLES
from listener.wakeword.features import Floats

ADA, BOB, GUEST = 1, 2, 3
"""Values of the samples that stand for a voice; 0 is silence."""
SECOND = SAMPLE_RATE_HZ


def unit(axis: int) -> Floats:
    vector: Floats = np.eye(1, 192, axis, dtype=np.float32)[0]
    return vector


VOICES = {
    "ada": EnrolledVoice(unit(ADA), DEFAULT_THRESHOLD),
    "bob": EnrolledVoice(unit(BOB), DEFAULT_THRESHOLD),
}


@dataclass
class FakeComparer:
    """Voices as values of samples: speech is not 0, and an embedding is the share of each value."""

    fails_at: int = 10_000
    asked: int = 0
    resets: int = 0
    embedded: list[int] = field(default_factory=list)

    def detect_speech(self, samples: Samples, deadline_s: float) -> Floats:
        self._ask(deadline_s)
        steps = len(samples) // SPEECH_STEP_SAMPLES
        whole = samples[: steps * SPEECH_STEP_SAMPLES].reshape(steps, SPEECH_STEP_SAMPLES)
        shares: Floats = (whole != 0).mean(axis=1).astype(np.float32)
        return shares

    def embed(self, pieces: Sequence[Samples], deadline_s: float) -> Floats:
        self._ask(deadline_s)
        speech = np.concatenate(pieces)
        assert SHORTEST_SAMPLES <= len(speech) <= LONGEST_REQUEST_SAMPLES
        self.embedded.append(len(speech))
        counts = np.bincount(speech, minlength=192).astype(np.float32)
        counts[0] = 0
        return np.asarray(counts / np.linalg.norm(counts), np.float32)

    def reset(self) -> None:
        self.resets += 1

    def _ask(self, deadline_s: float) -> None:
        assert deadline_s == 6.0
        self.asked += 1
        if self.asked > self.fails_at:
            raise Unavailable("it ended")


def roster(*active: str) -> Roster:
    made = Roster()
    for name in ("ada", "bob"):
        made = made.with_owner(name, str(pyrage.x25519.Identity.generate().to_public()))
        if name in active:
            made = made.with_challenge(name, "yes", 0).with_confirmation(name, "yes", 1)
    return made


ROSTER = roster("ada", "bob")


def clip(*parts: tuple[int, float]) -> Clip:
    """Return a clip of parts: a voice and the time in seconds."""
    samples = np.concatenate([np.full(round(s * SECOND), voice, np.int16) for voice, s in parts])
    return Clip(
        samples=samples,
        first_sample=1_000,
        wake_sample=2_000,
        end_sample=1_000 + len(samples),
        pre_roll_samples=1_000,
        end_reason=EndReason.SILENCE,
    )


def attribute(
    heard: Clip,
    *,
    mode: str = "voice",
    bystanders: str = "drop",
    voices: dict[str, EnrolledVoice] | None = None,
    owners: Roster = ROSTER,
    comparer: FakeComparer | None = None,
) -> AttributionResult | NoOwner:
    settings = AttributionSettings(mode=mode, bystanders=bystanders)  # type: ignore[arg-type]  # a text of a parametrised test
    used = comparer or FakeComparer()
    result = VoiceAttribution(
        settings,
        keeper="ada",
        roster=lambda: owners,
        voices=lambda _: VOICES if voices is None else voices,
        comparer=used,
        monotonic_s=lambda: 0.0,
    ).attribute(heard)
    assert used.resets == (0 if voices == {} else 1), "what is left of the clip is overwritten"
    return result


def test_defaults_are_those_of_the_evaluation() -> None:
    settings = AttributionSettings()

    assert settings.mode == "keeper"
    assert (settings.threshold, settings.margin) == (DEFAULT_THRESHOLD, DEFAULT_MARGIN)


@pytest.mark.parametrize(("voice", "name"), [(ADA, "ada"), (BOB, "bob")])
def test_clip_belongs_to_the_owner_of_the_voice(voice: int, name: str) -> None:
    result = attribute(clip((0, 0.5), (voice, 2.0), (0, 0.5)))

    assert isinstance(result, AttributionResult)
    assert (result.owner.name, result.kept) == (name, None)
    assert result.spk == pytest.approx(1)


@pytest.mark.parametrize(
    ("heard", "reason"),
    [
        (clip((GUEST, 2.0)), NoOwner.GUEST),
        (clip((ADA, 1.0), (0, 1.0)), NoOwner.UNSURE),
        (clip((0, 3.0)), NoOwner.UNSURE),
        (clip((ADA, 0.01)), NoOwner.UNSURE),
        (clip((ADA, 1.5), (BOB, 1.5)), NoOwner.UNSURE),
        (clip((ADA, 4.0), (GUEST, 1.5)), NoOwner.BYSTANDER),
    ],
)
def test_any_other_clip_has_no_owner(heard: Clip, reason: NoOwner) -> None:
    assert attribute(heard) is reason


@pytest.mark.parametrize("missing", [-1, 0])
def test_speech_of_one_and_a_half_seconds_is_needed(missing: int) -> None:
    # The padding of 0.1 s (4 steps) on both sides counts as speech.
    steps = MIN_SPEECH_SAMPLES // SPEECH_STEP_SAMPLES + 1 + missing - 8
    speech = steps * SPEECH_STEP_SAMPLES / SECOND
    second = 40 * SPEECH_STEP_SAMPLES / SECOND

    result = attribute(clip((0, second), (ADA, speech), (0, second)), bystanders="keep")

    assert (result is NoOwner.UNSURE) is (missing < 0)


def test_keeper_voice_accepts_the_keeper_alone() -> None:
    own = attribute(clip((ADA, 2.0)), mode="keeper-voice")

    assert isinstance(own, AttributionResult)
    assert own.owner.name == "ada"
    assert attribute(clip((BOB, 2.0)), mode="keeper-voice") is NoOwner.GUEST
    assert attribute(clip((GUEST, 2.0)), mode="keeper-voice") is NoOwner.GUEST


def test_keeper_who_is_not_enrolled_has_no_clip() -> None:
    voices = {"bob": VOICES["bob"]}

    assert attribute(clip((ADA, 2.0)), mode="keeper-voice", voices=voices) is NoOwner.GUEST


def test_threshold_of_the_owner_applies() -> None:
    voices = {"ada": EnrolledVoice(unit(ADA), 0.999)}
    heard = clip((ADA, 2.0), (GUEST, 0.3))

    assert attribute(heard, voices=voices, bystanders="keep") is NoOwner.GUEST
    assert isinstance(attribute(heard, bystanders="keep"), AttributionResult)


def test_owner_who_is_not_active_has_no_clip() -> None:
    assert attribute(clip((BOB, 2.0)), owners=roster("ada")) is NoOwner.UNSURE
    assert attribute(clip((ADA, 2.0)), owners=Roster()) is NoOwner.UNSURE


def test_without_voices_nothing_is_asked() -> None:
    comparer = FakeComparer()

    assert attribute(clip((ADA, 2.0)), voices={}, comparer=comparer) is NoOwner.UNSURE
    assert not comparer.asked


def test_failure_at_any_request_gives_no_owner(caplog: pytest.LogCaptureFixture) -> None:
    heard = clip((ADA, 3.0))
    whole = FakeComparer()
    attribute(heard, comparer=whole)

    for count in range(whole.asked):
        assert attribute(heard, comparer=FakeComparer(fails_at=count)) is NoOwner.UNSURE
    assert set(caplog.messages) == {"a voice was not compared: it ended"}


def test_clip_with_another_voice_is_trimmed_to_the_owner() -> None:
    heard = clip((ADA, 4.0), (0, 0.5), (GUEST, 1.5))

    result = attribute(heard, bystanders="trim")

    assert isinstance(result, AttributionResult)
    assert result.kept is not None
    first, end = result.kept
    assert result.owner.name == "ada"
    assert first == 0
    assert 3 * SECOND <= end <= 4.5 * SECOND
    assert (heard.samples[first:end] == GUEST).sum() == 0
    assert result.spk == pytest.approx(1)


def test_part_of_the_owner_that_is_too_short_is_not_kept() -> None:
    heard = clip((ADA, 1.2), (0, 1.0), (GUEST, 1.1), (0, 1.0), (ADA, 1.2))

    assert attribute(heard, bystanders="trim") is NoOwner.BYSTANDER


def test_clip_with_another_voice_is_kept_where_the_configuration_says_so() -> None:
    comparer = FakeComparer()

    result = attribute(clip((ADA, 4.0), (GUEST, 1.5)), bystanders="keep", comparer=comparer)

    assert isinstance(result, AttributionResult)
    assert result.kept is None
    assert comparer.asked == 2, "no window is compared"
