"""Voice control from the wake to the command copy, with a real sealer and a played assist."""

import io
import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, GapReason
from listener.config import ClipSettings
from listener.envelope import keys
from listener.hear import events
from listener.hear.open_ask import Rejection
from listener.ipc.notices import LONGEST_BYTES, AskNotice, CommandNotice, encode
from listener.voice import messages
from listener.voice.messages import POKE
from listener.wakeword.detector import Wake
from tests.hear.test_clip_capture import ScriptedChime
from tests.hear.voice_fixture import CLIP, SILENCE, SPEECH, VoiceFixture

FIRST = 30
"""Frame of the first wake."""


def wake(frame: int = FIRST) -> Wake:
    return Wake("alexa", 0.9, frame * FRAME_SAMPLES, 0.5)


@pytest.fixture
def pipeline(tmp_path: Path) -> VoiceFixture:
    """Pipeline just after a wake."""
    made = VoiceFixture(tmp_path, wake())
    made.play(FIRST)
    return made


def finish(pipeline: VoiceFixture) -> None:
    """Answer, play the command to its endpoint and the next turn."""
    pipeline.arrive(pipeline.answer())
    pipeline.say_command()


def test_wake_is_asked_about_with_a_signature(pipeline: VoiceFixture) -> None:
    (ask,) = pipeline.asks()

    assert (ask.device, ask.why, ask.since_ms) == ("speaker", "wake", 0)
    assert ask.assist == keys.device_id(pipeline.assist.public_key())
    assert ask.dkey == keys.device_id(pipeline.device.key.public_key())
    assert ask.reply == pipeline.reply_key
    assert ask.level_db == -96, "the level of a constant is that of silence"
    assert pipeline.reserved == 1
    assert pipeline.player.latest is not None
    assert (pipeline.player.latest.ask, pipeline.player.latest.reply) == (ask.ask, ask.reply)


def test_largest_ask_fits_a_notice(pipeline: VoiceFixture) -> None:
    largest = msgspec.structs.replace(
        pipeline.asks()[0], device="x" * 32, level_db=-96, since_ms=1_000
    )
    payload = messages.sign_message(largest, pipeline.device.key.sign)

    assert len(encode(AskNotice(message=msgspec.Raw(payload)))) <= LONGEST_BYTES


def test_answered_command_has_a_copy_beside_its_envelope(pipeline: VoiceFixture) -> None:
    finish(pipeline)

    (copy,) = pipeline.open_copies()
    (envelope,) = pipeline.spool.envelopes
    history = pipeline.device.open(envelope)
    assert (copy.fields.owner, copy.fields.n, copy.fields.word) == ("ada", 7, "alexa")
    assert (copy.header.part, copy.header.last) == (1, 1)
    assert copy.header.ask == pipeline.asks()[0].ask
    # The same sound from 1.0 s before the wake on, where the envelope has 1.5 s.
    assert (history.private.pre_ms, copy.fields.pre_ms) == (1_500, 1_000)
    samples, _ = soundfile.read(io.BytesIO(history.flac), dtype="int16")
    np.testing.assert_array_equal(copy.samples, samples[SAMPLE_RATE_HZ // 2 :])
    assert pipeline.copy_notices() == 1


def test_nothing_ties_the_copy_to_the_envelope(pipeline: VoiceFixture) -> None:
    finish(pipeline)
    (envelope,) = pipeline.spool.envelopes
    header = pipeline.device.open(envelope).header

    (file,) = pipeline.files()
    public = file.read_bytes().split(b"\n", 4)[1]

    for value in (header.clip, header.t, header.okey, header.owner):
        assert value.encode() not in public
    assert b"seq" not in public


def test_copy_is_laid_before_the_envelope_is_spooled(pipeline: VoiceFixture) -> None:
    seen: list[int] = []
    pipeline.spool.call_before_put(lambda: seen.append(len(pipeline.files())))

    finish(pipeline)

    assert seen == [1]


def test_full_spool_does_not_stop_the_command_and_leaves_a_hole(pipeline: VoiceFixture) -> None:
    pipeline.spool.fill()

    finish(pipeline)

    assert len(pipeline.files()) == 1
    tally = pipeline.counters.tally()
    assert (tally.lost, tally.seq, pipeline.spool.envelopes) == (1, 1, [])


@pytest.mark.parametrize(
    ("outcome", "lamp"),
    [("done", "done"), ("failed", "refused"), ("not-understood", "refused"), ("late", "refused")],
)
def test_outcome_is_shown_sounded_and_published(
    pipeline: VoiceFixture, outcome: str, lamp: str
) -> None:
    finish(pipeline)

    pipeline.arrive(pipeline.outcome(outcome))
    pipeline.play(1, SILENCE)

    assert pipeline.ends() == [outcome]
    assert pipeline.player.sounds == [outcome]
    assert pipeline.loop.lamp_state == lamp
    assert CommandNotice(end=outcome) in pipeline.post.notices  # type: ignore[arg-type]  # one of the literals
    pipeline.play(26, SILENCE)
    assert pipeline.loop.lamp_state == "idle"


def test_missing_outcome_is_not_known_whether(pipeline: VoiceFixture) -> None:
    finish(pipeline)

    pipeline.files()[0].unlink()  # send has taken it
    pipeline.play(190, SILENCE)

    assert pipeline.ends() == ["unknown"]
    assert pipeline.player.sounds == ["unknown"]


def test_second_outcome_is_dropped(pipeline: VoiceFixture) -> None:
    finish(pipeline)
    pipeline.arrive(pipeline.outcome("done"), pipeline.outcome("failed"))

    pipeline.play(1, SILENCE)

    assert pipeline.ends() == ["done"]
    assert pipeline.voice.rejected[Rejection.NOT_OPEN] == 1  # type: ignore[union-attr]  # it has voice control


@pytest.mark.parametrize("verdict", ["elsewhere", "busy"])
def test_speaker_that_is_not_chosen_makes_no_copy(pipeline: VoiceFixture, verdict: str) -> None:
    pipeline.arrive(pipeline.answer(verdict))
    pipeline.say_command()

    assert pipeline.files() == []
    assert len(pipeline.spool.envelopes) == 1, "the envelope goes its way"
    assert pipeline.ends() == [verdict]
    assert pipeline.player.sounds == ([] if verdict == "elsewhere" else ["refused"])


def test_command_without_an_answer_is_said_at_once(pipeline: VoiceFixture) -> None:
    pipeline.say_command()

    assert pipeline.files() == []
    assert pipeline.ends() == ["no-answer"]
    assert pipeline.player.sounds == ["refused"]
    assert len(pipeline.spool.envelopes) == 1


def test_wake_without_speech_makes_no_copy(pipeline: VoiceFixture) -> None:
    pipeline.arrive(pipeline.answer())
    pipeline.play(20, SILENCE)

    assert len(pipeline.spool.envelopes) == 1
    assert pipeline.files() == []
    assert pipeline.ends() == ["no-speech"]
    assert pipeline.player.sounds == []


def test_answer_of_another_assist_is_refused_and_logged(
    pipeline: VoiceFixture, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.assist, true = Ed25519PrivateKey.generate(), pipeline.assist
    for _ in range(5):
        pipeline.arrive(pipeline.answer())
    pipeline.play(1)
    pipeline.assist = true
    pipeline.arrive(pipeline.answer())

    pipeline.say_command()

    assert pipeline.files() == []
    assert pipeline.ends() == ["no-answer"]
    assert caplog.text.count("another assist answers") == 1
    assert pipeline.voice.rejected[Rejection.FORGED] == 6  # type: ignore[union-attr]  # it has voice control


def test_answer_later_than_three_seconds_after_the_wake_is_not_used(
    pipeline: VoiceFixture,
) -> None:
    pipeline.play(38)
    finish(pipeline)

    assert pipeline.files() == []
    assert pipeline.ends() == ["no-answer"]


def test_clock_that_is_set_during_a_command_ends_it(pipeline: VoiceFixture) -> None:
    pipeline.arrive(pipeline.answer())
    pipeline.play(2)
    pipeline.moved_s = 40 * 365 * 86_400.0

    pipeline.say_command()

    assert pipeline.files() == []
    assert pipeline.ends() == ["clock"]


def test_command_longer_than_15_s_is_not_sent(tmp_path: Path) -> None:
    clip = ClipSettings(
        pre_roll_s=1.5, post_roll_s=0.1, silence_s=0.32, no_speech_s=1.0, longest_s=15.0
    )
    pipeline = VoiceFixture(tmp_path, wake(), settings=clip)
    pipeline.play(FIRST)
    pipeline.arrive(pipeline.answer())

    pipeline.play(200)
    pipeline.play(1, SILENCE)

    assert len(pipeline.spool.envelopes) == 1
    assert pipeline.files() == []
    assert pipeline.ends() == ["too-long"]


def test_third_copy_has_no_place(tmp_path: Path) -> None:
    frames = (FIRST, FIRST + 40, FIRST + 80)
    pipeline = VoiceFixture(tmp_path, *map(wake, frames))
    for frame in frames:
        pipeline.play(frame - pipeline.position // FRAME_SAMPLES, SILENCE)
        finish(pipeline)

    pipeline.play(1, SILENCE)

    assert len(pipeline.files()) == 2
    assert pipeline.ends() == ["unknown", "unknown", "no-place"]
    assert len(pipeline.spool.envelopes) == 3


def test_copy_that_send_does_not_take_is_removed_after_10_s(pipeline: VoiceFixture) -> None:
    finish(pipeline)

    pipeline.play(130, SILENCE)

    assert pipeline.files() == []
    assert pipeline.ends() == ["not-sent"]
    assert pipeline.statuses()[-1].copies == 0


def test_clip_of_an_owner_without_a_consent_has_no_copy(pipeline: VoiceFixture) -> None:
    pipeline.arrive(pipeline.answer())
    pipeline.play(2)
    other = msgspec.structs.replace(pipeline.consent(), owner="bo")
    pipeline.consents.set(other)

    pipeline.say_command()

    assert pipeline.files() == []
    assert pipeline.ends() == ["not-allowed"]


def test_consent_under_a_key_that_was_replaced_meanwhile_makes_no_copy(
    pipeline: VoiceFixture,
) -> None:
    pipeline.arrive(pipeline.answer())
    pipeline.play(2)
    other = VoiceFixture(pipeline.folder.parent / "other")
    recipient = str(other.device.identity.to_public())
    pipeline.device.roster = pipeline.device.roster.with_new_key("ada", recipient)

    pipeline.say_command()

    assert pipeline.files() == []
    assert pipeline.ends() == ["not-allowed"]


def test_off_during_a_command_counts_at_once(pipeline: VoiceFixture) -> None:
    pipeline.arrive(pipeline.answer())
    pipeline.play(2)
    pipeline.consents.set(pipeline.consent(on=0, n=8))

    pipeline.say_command()

    assert pipeline.files() == []
    assert pipeline.ends() == ["not-allowed"]
    assert [one.on for one in pipeline.events if isinstance(one, events.ConsentEvent)] == [False]


def test_without_a_consent_nothing_is_asked(tmp_path: Path) -> None:
    pipeline = VoiceFixture(tmp_path, wake())
    pipeline.consents.set(pipeline.consent(on=0))

    pipeline.play(FIRST)
    pipeline.say_command()

    assert pipeline.asks() == []
    assert pipeline.reserved == 0
    assert pipeline.player.latest is None
    assert pipeline.ends() == []


# Mute.

MutePoint = Callable[[VoiceFixture], None]


def mute_before_the_answer(pipeline: VoiceFixture) -> None:
    pipeline.play(2)
    pipeline.gap(GapReason.MUTED)
    pipeline.arrive(pipeline.answer())


def mute_after_the_answer(pipeline: VoiceFixture) -> None:
    pipeline.arrive(pipeline.answer())
    pipeline.play(2)
    pipeline.gap(GapReason.MUTED)


def mute_before_send_takes_it(pipeline: VoiceFixture) -> None:
    finish(pipeline)
    assert len(pipeline.files()) == 1
    pipeline.gap(GapReason.MUTED)


def mute_while_it_is_sealed(pipeline: VoiceFixture) -> None:
    pipeline.device.call_before_seq(pipeline.sealer.wipe)
    finish(pipeline)


@pytest.mark.parametrize(
    ("mute", "envelopes"),
    [
        (mute_before_the_answer, 0),
        (mute_after_the_answer, 0),
        (mute_while_it_is_sealed, 0),
        (mute_before_send_takes_it, 1),
    ],
)
def test_no_copy_leaves_after_a_mute_and_the_counters_agree(
    pipeline: VoiceFixture, mute: MutePoint, envelopes: int
) -> None:
    mute(pipeline)
    pipeline.gap(GapReason.MUTED)
    pipeline.play(20, SILENCE)

    assert pipeline.files() == []
    assert pipeline.ends() == ["muted"]
    assert pipeline.player.sounds == []
    tally = pipeline.counters.tally()
    assert len(pipeline.spool.envelopes) == envelopes == tally.sealed
    assert tally.abandoned == 1 - envelopes
    used = next(pipeline.device.sequence) - 1
    assert tally.seq == used, "a number without an envelope is in the signed counters"
    assert pipeline.statuses()[-1].copies == 0


def test_mute_between_sealing_and_laying_leaves_no_copy(pipeline: VoiceFixture) -> None:
    """A wipe during the encryption of the copy: the envelope is whole, the copy is not laid."""
    encrypted = 0
    clear = pipeline.copies.lay

    def lay(
        ask: str, part: int, data: bytes, is_allowed: Callable[[], bool], *, is_last: bool = True
    ) -> bool:
        assert is_last
        nonlocal encrypted
        encrypted += 1
        pipeline.sealer.wipe()
        return clear(ask, part, data, is_allowed)

    pipeline.copies.lay = lay  # type: ignore[method-assign]  # a mute at this moment
    finish(pipeline)
    pipeline.play(1, SILENCE)

    assert encrypted == 1
    assert pipeline.files() == []
    assert pipeline.ends() == ["muted"]
    (envelope,) = pipeline.spool.envelopes
    samples, _ = soundfile.read(io.BytesIO(pipeline.device.open(envelope).flac), dtype="int16")
    assert samples.all()


@pytest.mark.parametrize("reason", [GapReason.OVERRUN, GapReason.LOST])
def test_interrupted_command_makes_no_copy(pipeline: VoiceFixture, reason: GapReason) -> None:
    pipeline.arrive(pipeline.answer())
    pipeline.play(2)
    pipeline.gap(reason)
    pipeline.play(20, SILENCE)

    assert pipeline.files() == []
    assert pipeline.ends() == ["interrupted"]


# Pokes and floods.


def test_poke_is_answered_with_an_ask_once_in_five_seconds(tmp_path: Path) -> None:
    pipeline = VoiceFixture(tmp_path)
    pipeline.play(1, SILENCE)
    for _ in range(12):
        pipeline.arrive(POKE, POKE)
        pipeline.play(10, SILENCE)

    assert [ask.why for ask in pipeline.asks()] == ["poke", "poke"]
    assert pipeline.reserved == 0
    pipeline.arrive(pipeline.answer())
    pipeline.play(1, SILENCE)
    assert pipeline.voice.rejected[Rejection.NOT_OPEN] == 1  # type: ignore[union-attr]  # it has voice control
    assert pipeline.ends() == []


def test_poke_during_an_ask_or_a_mute_is_ignored(pipeline: VoiceFixture) -> None:
    pipeline.arrive(POKE)
    finish(pipeline)
    pipeline.arrive(POKE)
    pipeline.play(1, SILENCE)
    pipeline.arrive(pipeline.outcome(), POKE)
    pipeline.gap(GapReason.MUTED)

    assert [ask.why for ask in pipeline.asks()] == ["wake"]


def test_reply_key_is_null_without_a_player(tmp_path: Path) -> None:
    pipeline = VoiceFixture(tmp_path, wake())
    pipeline.reply_key = None

    pipeline.play(FIRST)

    assert pipeline.asks()[0].reply is None
    assert pipeline.player.latest is None


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"\xff" * 512, b"[" * 512, b'{"poke":"say" }', b'{"outcome":1}']
)
def test_datagram_that_is_no_message_is_counted(pipeline: VoiceFixture, payload: bytes) -> None:
    pipeline.arrive(payload)
    finish(pipeline)

    assert pipeline.voice.malformed == 1  # type: ignore[union-attr]  # it has voice control
    assert len(pipeline.files()) == 1


# Consents and the signed status.


def test_status_is_signed_for_each_owner_with_a_consent(pipeline: VoiceFixture) -> None:
    finish(pipeline)
    pipeline.play(1, SILENCE)

    last = pipeline.statuses()[-1]
    assert (last.owner, last.on, last.n, last.asks, last.copies) == ("ada", 1, 7, 1, 1)


def test_change_of_a_consent_is_shown_and_sounded(tmp_path: Path) -> None:
    pipeline = VoiceFixture(tmp_path)
    pipeline.consents.set()
    pipeline.play(1, SILENCE)

    for n, on in enumerate((1, 1, 0), 1):
        pipeline.consents.set(pipeline.consent(on=on, n=n))
        pipeline.play(14, SILENCE)

    told = [one for one in pipeline.events if isinstance(one, events.ConsentEvent)]
    assert [(one.on, one.n) for one in told] == [(True, 1), (True, 2), (False, 2)]
    assert pipeline.player.sounds == ["consent"] * 3
    assert [one.on for one in pipeline.statuses()] == [1, 1, 0]


def test_consent_at_the_start_of_hear_is_not_a_change(tmp_path: Path) -> None:
    pipeline = VoiceFixture(tmp_path)

    pipeline.play(30, SILENCE)

    assert pipeline.player.sounds == []


@pytest.mark.parametrize(
    "order", [*itertools.permutations(("answer", "command", "outcome"))], ids="-".join
)
def test_recorded_traffic_of_an_earlier_command_makes_no_copy(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    """Everything of the first command, given again after it, and at the second wake."""
    second = FIRST + 60
    pipeline = VoiceFixture(tmp_path, wake(), wake(second))
    pipeline.play(FIRST)
    recorded = {"answer": pipeline.answer(), "outcome": pipeline.outcome()}
    finish(pipeline)
    pipeline.arrive(recorded["outcome"])
    pipeline.play(1, SILENCE)
    for file in pipeline.files():
        file.unlink()
    pipeline.arrive(*recorded.values())
    pipeline.play(second - pipeline.position // FRAME_SAMPLES, SILENCE)

    for step in order:
        if step == "command":
            pipeline.say_command()
        else:
            pipeline.arrive(recorded[step])
            pipeline.play(1, SPEECH)
    pipeline.play(1, SILENCE)

    assert pipeline.files() == []
    assert pipeline.ends() == ["done", "no-answer"]


def test_settings_of_the_fixture_are_within_the_protocol() -> None:
    assert CLIP.pre_roll_s + CLIP.longest_s < 15


def test_clip_that_the_sealer_cannot_take_has_no_copy(tmp_path: Path) -> None:
    """The disk holds the sealer for longer than the audio may wait."""
    pipeline = VoiceFixture(tmp_path, wake(), is_blocking=False)
    reached, resumed = threading.Event(), threading.Event()

    def hang() -> None:
        reached.set()
        assert resumed.wait(60)

    pipeline.device.call_before_seq(hang)
    pipeline.play(FIRST)
    finish(pipeline)
    assert reached.wait(60)

    pipeline.play(110, SILENCE)

    assert pipeline.ends() == ["not-sealed"]
    assert pipeline.counters.tally().lost == 1
    resumed.set()
    pipeline.sealer.close()
    pipeline.play(1, SILENCE)
    assert pipeline.files() == []
    assert pipeline.spool.envelopes == []
    assert pipeline.ends() == ["not-sealed"]


def test_copy_that_takes_too_long_is_not_laid_and_the_envelope_is_stored(tmp_path: Path) -> None:
    pipeline = VoiceFixture(tmp_path, wake(), is_blocking=False)
    reached, resumed = threading.Event(), threading.Event()
    lay = pipeline.copies.lay

    def hang(
        ask: str, part: int, data: bytes, is_allowed: Callable[[], bool], *, is_last: bool = True
    ) -> bool:
        assert is_last
        reached.set()
        assert resumed.wait(60)
        return lay(ask, part, data, is_allowed)

    pipeline.copies.lay = hang  # type: ignore[method-assign]  # a slow folder
    pipeline.play(FIRST)
    finish(pipeline)
    assert reached.wait(60)

    pipeline.play(110, SILENCE)
    resumed.set()
    pipeline.sealer.close()
    pipeline.play(1, SILENCE)

    assert pipeline.files() == []
    assert pipeline.ends() == ["not-sealed"]
    assert (pipeline.counters.tally().sealed, pipeline.counters.tally().lost) == (1, 0)
    (envelope,) = pipeline.spool.envelopes
    samples, _ = soundfile.read(io.BytesIO(pipeline.device.open(envelope).flac), dtype="int16")
    assert samples.all()


def test_answer_during_the_chime_is_used(tmp_path: Path) -> None:
    chime = ScriptedChime()
    pipeline = VoiceFixture(tmp_path, wake(), chime=chime)
    pipeline.play(FIRST)
    assert [ask.why for ask in pipeline.asks()] == ["wake"]
    pipeline.arrive(pipeline.answer())
    pipeline.play(5, SILENCE)
    chime.is_playing = False
    pipeline.play(7, SILENCE)

    pipeline.say_command()

    (copy,) = pipeline.open_copies()
    assert copy.fields.pre_ms == 0


def test_wake_without_a_free_buffer_after_the_chime_ends_its_ask(tmp_path: Path) -> None:
    chime = ScriptedChime()
    pipeline = VoiceFixture(tmp_path, wake(), chime=chime)
    pipeline.play(FIRST)
    while pipeline.buffers.take() is not None:
        pass
    chime.is_playing = False

    pipeline.play(7, SILENCE)

    assert pipeline.ends() == ["interrupted"]
    assert pipeline.counters.tally().abandoned == 1
