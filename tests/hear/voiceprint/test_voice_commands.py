"""Voice control with attribution by voice: only what an owner said reaches assist."""

from pathlib import Path

import msgspec
import pytest

from listener.audio.clip import Clip
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ
from listener.config import ClipSettings
from listener.owner.attribution import AttributionResult, NoOwner
from listener.wakeword.detector import Wake
from tests.hear.voice_fixture import CLIP, SILENCE, SPEECH, VoiceFixture

FIRST = 30
WITH_PARTS = msgspec.structs.replace(CLIP, silence_s=0.8, provisional_parts=True)
PAUSE, END = 5, 12
"""Frames of a pause with a part, and of an endpoint."""


class ScriptedVoices(VoiceFixture):
    """Pipeline after a wake and its answer, whose voices are given: one a comparison."""

    def __init__(self, folder: Path, *voices: NoOwner | str, settings: ClipSettings = CLIP) -> None:
        self.voices = list(voices)
        self.compared: list[Clip] = []
        self.kept: tuple[int, int] | None = None
        super().__init__(
            folder,
            Wake("alexa", 0.9, FIRST * FRAME_SAMPLES, 0.5),
            settings=settings,
            attribution=self,
        )
        self.play(FIRST)
        self.arrive(self.answer())

    def attribute(self, clip: Clip) -> AttributionResult | NoOwner:
        self.compared.append(clip)
        voice = self.voices.pop(0)
        if isinstance(voice, NoOwner):
            return voice
        return AttributionResult(self.device.roster.known_owner(voice), spk=0.75, kept=self.kept)


@pytest.mark.parametrize("reason", NoOwner)
def test_command_of_a_guest_is_not_sent_and_that_is_said(tmp_path: Path, reason: NoOwner) -> None:
    pipeline = ScriptedVoices(tmp_path, reason)

    pipeline.say_command()
    pipeline.play(1, SILENCE)

    assert pipeline.files() == []
    assert pipeline.copy_notices() == 0
    assert pipeline.spool.envelopes == []
    assert pipeline.ends() == ["not-allowed"]
    assert pipeline.player.sounds == ["refused"]


def test_command_of_an_owner_is_sent(tmp_path: Path) -> None:
    pipeline = ScriptedVoices(tmp_path, "ada")

    pipeline.say_command()

    (copy,) = pipeline.open_copies()
    assert copy.fields.owner == "ada"
    assert len(pipeline.spool.envelopes) == 1


def test_part_is_sealed_only_after_its_own_comparison(tmp_path: Path) -> None:
    pipeline = ScriptedVoices(tmp_path, NoOwner.UNSURE, NoOwner.UNSURE, "ada", settings=WITH_PARTS)

    pipeline.play(10, SPEECH)
    pipeline.play(PAUSE, SILENCE)
    assert len(pipeline.compared) == 1
    assert pipeline.files() == [], "the speech so far is of no owner"
    pipeline.play(10, SPEECH)
    pipeline.play(END, SILENCE)

    (copy,) = pipeline.open_copies()
    assert (copy.header.last, copy.fields.owner) == (1, "ada")
    assert pipeline.counters.voices().unsure == 0, "clips are counted, not parts"


def test_part_and_clip_of_a_guest_are_not_sent(tmp_path: Path) -> None:
    pipeline = ScriptedVoices(tmp_path, NoOwner.GUEST, NoOwner.GUEST, settings=WITH_PARTS)

    pipeline.play(10, SPEECH)
    pipeline.play(PAUSE, SILENCE)
    pipeline.play(END, SILENCE)
    pipeline.play(1, SILENCE)

    assert len(pipeline.compared) == 2
    assert pipeline.files() == []
    assert pipeline.ends() == ["not-allowed"]
    assert pipeline.counters.voices().guests == 1


def test_copy_of_a_trimmed_clip_holds_the_part_of_the_owner_alone(tmp_path: Path) -> None:
    pipeline = ScriptedVoices(tmp_path, "ada")
    end = 8 * FRAME_SAMPLES
    pipeline.kept = (0, end)

    pipeline.say_command()

    (copy,) = pipeline.open_copies()
    assert copy.fields.ms == end * 1_000 // SAMPLE_RATE_HZ
    assert len(pipeline.compared[0].samples) > end
