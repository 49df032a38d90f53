"""Attribution by voice with its embedding process.

Imported only in a voice mode, because hear's memory is limited.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from listener.config import Config
from listener.hear.voiceprint.embedding_client import EmbeddingClient, embedding_command
from listener.hear.voiceprint.enrolled_voices import EnrolledVoices
from listener.hear.voiceprint.voice_attribution import (
    LONGEST_FAST_S,
    LONGEST_S,
    VoiceAttribution,
)
from listener.inference.speaker_embedding import read_model_sha256
from listener.owner.roster import Roster
from listener.storage.home import Home
from listener.storage.voiceprints import VoiceprintStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VoiceMode:
    """What hear uses in a voice mode."""

    attribution: VoiceAttribution
    comparison: EmbeddingClient
    """The embedding process; close it at the end."""
    longest_s: float
    """Longest time for the attribution of one clip, in seconds."""


def open_voice_mode(
    settings: Config, home: Home, keeper: str, roster: Callable[[], Roster], *, is_fast: bool
) -> VoiceMode:
    """Return attribution by voice; a warning is logged while no voice is enrolled.

    Args:
        settings: mode, threshold and speech threshold.
        home: where the voiceprints are.
        keeper: name of the keeper.
        roster: returns the roster at each clip.
        is_fast: whether recordings are processed as fast as possible.

    Raises:
        ModelRefused: the model of the embeddings is missing.
    """
    store = VoiceprintStore(home.path)
    if not store.names():
        _log.warning("no voice is enrolled, so no clip is made; run earmark owner enrol NAME")
    comparison = EmbeddingClient(embedding_command())
    longest_s = LONGEST_FAST_S if is_fast else LONGEST_S
    attribution = VoiceAttribution(
        settings.attribution,
        keeper=keeper,
        roster=roster,
        voices=EnrolledVoices(
            store,
            home.device_key().public_key(),
            read_model_sha256(),
            settings.attribution.threshold,
        ),
        comparer=comparison,
        speech_threshold=settings.clip.speech_threshold,
        longest_s=longest_s,
    )
    return VoiceMode(attribution, comparison, longest_s)
