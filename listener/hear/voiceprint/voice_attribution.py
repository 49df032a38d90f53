"""Attribution of clips by voice: the owner whose voiceprint the speech of a clip resembles.

The embeddings come from the embedding process. Whatever is missing or uncertain gives no owner: too
little speech, a process that gives no answer, a voiceprint that is refused. Similarities stay in
this process and in the envelope: they are not logged.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from listener.audio.clip import Clip
from listener.audio.pcm import Samples
from listener.config import AttributionSettings
from listener.errors import Unavailable
from listener.hear.voiceprint.embedding_protocol import SPEECH_STEP_SAMPLES
from listener.owner.attribution import AttributionResult, NoOwner
from listener.owner.roster import Roster
from listener.voiceprint.bystander import find_bystander, list_windows
from listener.voiceprint.scoring import DecisionReason, EnrolledVoice, VoiceDecision, decide
from listener.voiceprint.speech import (
    MIN_SPEECH_SAMPLES,
    SPEECH_PROBABILITY,
    Stretch,
    choose_loudest,
    cut_stretches,
    find_speech,
    measure_stretches,
)
from listener.wakeword.features import Floats

LONGEST_S: Final = 6.0
"""Longest time for the attribution of one clip, in seconds; then it has no owner. The sealer wipes
a clip that is not encrypted after 8 s."""
LONGEST_FAST_S: Final = 60.0
"""The same for a recording that is processed as fast as possible: it has no command."""
SHORTEST_WINDOW_SAMPLES: Final = 8_000
"""Least speech in a window that is compared, 0.5 s; a shorter one tells no voices apart."""

_log = logging.getLogger(__name__)


class VoiceComparer(Protocol):
    """Embeddings of speech; see `embedding_client.EmbeddingClient`. For one thread."""

    def detect_speech(self, samples: Samples, deadline_s: float) -> Floats:
        """Return the probability of speech of each whole step of a clip.

        Raises:
            Unavailable: there is no answer.
        """

    def embed(self, pieces: Sequence[Samples], deadline_s: float) -> Floats:
        """Return the embedding of speech in pieces, together 0.5 to 3 s.

        Raises:
            Unavailable: there is no answer.
        """

    def reset(self) -> None:
        """Overwrite what is left of the clip."""


class VoiceAttribution:
    """Attribution of each clip by the voice in it. For the sealer thread.

    Args:
        settings: mode ``keeper-voice`` or ``voice``, thresholds and what is done about bystanders.
        keeper: name of the keeper.
        roster: returns the current roster; called for each clip.
        voices: returns the enrolled voices by owner for this roster; empty while one is refused.
        comparer: computes embeddings.
        speech_threshold: probability from which audio is speech; see ``clip.speech_threshold``.
        longest_s: longest time for one clip, in seconds.
        monotonic_s: the comparer's clock, in seconds.
    """

    def __init__(  # noqa: PLR0913 - configuration, three sources and a clock, all but one by name
        self,
        settings: AttributionSettings,
        *,
        keeper: str | None,
        roster: Callable[[], Roster],
        voices: Callable[[Roster], Mapping[str, EnrolledVoice]],
        comparer: VoiceComparer,
        speech_threshold: float = SPEECH_PROBABILITY,
        longest_s: float = LONGEST_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._longest_s: Final = longest_s
        self._speech_threshold: Final = speech_threshold
        self._settings: Final = settings
        self._keeper: Final = keeper
        self._roster: Final = roster
        self._voices: Final = voices
        self._comparer: Final = comparer
        self._monotonic_s: Final = monotonic_s

    def attribute(self, clip: Clip) -> AttributionResult | NoOwner:
        """Return the owner of the voice in a clip, or the reason why there is none.

        Raises:
            ConfigError: the roster is damaged.
            Unavailable: the roster or the voiceprints cannot be read.
        """
        roster = self._roster()
        voices = self._voices(roster)
        if not voices:
            return NoOwner.UNSURE
        try:
            return self._compare(clip, roster, voices)
        except Unavailable as error:
            # Not passed on: the caller could not tell it from a roster that cannot be read.
            _log.error("a voice was not compared: %s", error)
            return NoOwner.UNSURE
        finally:
            self._comparer.reset()

    def _compare(
        self, clip: Clip, roster: Roster, voices: Mapping[str, EnrolledVoice]
    ) -> AttributionResult | NoOwner:
        deadline_s = self._monotonic_s() + self._longest_s
        probabilities = self._comparer.detect_speech(clip.samples, deadline_s)
        speech = find_speech(probabilities.tolist(), SPEECH_STEP_SAMPLES, self._speech_threshold)
        decision = self._decide(clip, speech, voices, deadline_s)
        if isinstance(decision, NoOwner):
            return decision
        if self._settings.bystanders == "keep":
            return self._result(decision, roster, None)
        kept = self._find_own_part(clip, speech, voices[str(decision.owner)], deadline_s)
        if kept is None:
            return self._result(decision, roster, None)
        if self._settings.bystanders == "drop":
            return NoOwner.BYSTANDER
        own = self._decide(clip, cut_stretches(speech, *kept), voices, deadline_s)
        if isinstance(own, NoOwner) or own.owner != decision.owner:
            return NoOwner.BYSTANDER
        return self._result(own, roster, kept)

    def _decide(
        self,
        clip: Clip,
        speech: Sequence[Stretch],
        voices: Mapping[str, EnrolledVoice],
        deadline_s: float,
    ) -> VoiceDecision | NoOwner:
        """Compare the loudest 3 s of speech with every enrolled voice."""
        if measure_stretches(speech) < MIN_SPEECH_SAMPLES:
            return NoOwner.UNSURE
        loudest = choose_loudest(clip.samples, speech, SPEECH_STEP_SAMPLES)
        pieces = [clip.samples[first:end] for first, end in loudest]
        decision = decide(self._comparer.embed(pieces, deadline_s), voices, self._settings.margin)
        match decision.reason:
            case DecisionReason.ACCEPTED:
                return decision
            case DecisionReason.GUEST:
                return NoOwner.GUEST
            case DecisionReason.UNSURE:
                return NoOwner.UNSURE

    def _find_own_part(
        self,
        clip: Clip,
        speech: Sequence[Stretch],
        voice: EnrolledVoice,
        deadline_s: float,
    ) -> Stretch | None:
        """Return the part of the clip without another voice; None if it is all of it."""
        embeddings: list[Floats | None] = []
        for first, end in list_windows(len(clip.samples)):
            stretches = cut_stretches(speech, first, end)
            if measure_stretches(stretches) < SHORTEST_WINDOW_SAMPLES:
                embeddings.append(None)
                continue
            pieces = [clip.samples[low:high] for low, high in stretches]
            embeddings.append(self._comparer.embed(pieces, deadline_s))
        verdict = find_bystander(embeddings, voice, len(clip.samples))
        return (verdict.first_sample, verdict.end_sample) if verdict.has_bystander else None

    def _result(
        self, decision: VoiceDecision, roster: Roster, kept: Stretch | None
    ) -> AttributionResult | NoOwner:
        owner = roster.owner(str(decision.owner))
        if owner is None or not owner.active:
            return NoOwner.UNSURE
        if self._settings.mode == "keeper-voice" and owner.name != self._keeper:
            return NoOwner.GUEST
        return AttributionResult(owner, spk=decision.similarity, kept=kept)
