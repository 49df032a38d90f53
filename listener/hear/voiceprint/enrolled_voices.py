"""Enrolled voices of this speaker, from the verified voiceprint files."""

import logging
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.owner.roster import Roster
from listener.storage.voiceprints import VoiceprintStore
from listener.voiceprint.scoring import EnrolledVoice

_log = logging.getLogger(__name__)


class EnrolledVoices:
    """Reader of the voiceprints, for each clip anew. For one thread.

    Args:
        store: the voiceprint files.
        device: public key of this device.
        model: SHA-256 of the embedding model, in hex.
        threshold: least similarity of any owner; see ``attribution.threshold``.
    """

    def __init__(
        self, store: VoiceprintStore, device: Ed25519PublicKey, model: str, threshold: float
    ) -> None:
        self._store: Final = store
        self._device: Final = device
        self._model: Final = model
        self._threshold: Final = threshold
        self._logged: frozenset[str] = frozenset()

    def __call__(self, roster: Roster) -> Mapping[str, EnrolledVoice]:
        """Return the voices by owner, all of active owners.

        While the voiceprint of an active owner is refused there is none: without it, that owner's
        voice could pass for another owner's. A voiceprint of an owner who is not active any
        more does not count. Each refusal is logged once.

        Args:
            roster: the current roster.

        Raises:
            Unavailable: the voiceprints cannot be read.
        """
        loaded = self._store.load(roster, self._device, self._model)
        for error in loaded.refused:
            if str(error) not in self._logged:
                _log.error("%s; %s", error, error.hint)
        self._logged = frozenset(map(str, loaded.refused))
        for error in loaded.refused:
            owner = roster.owner(error.owner)
            if owner is not None and owner.active:
                return {}
        return {
            name: EnrolledVoice(voiceprint.embedding, max(self._threshold, voiceprint.threshold))
            for name, voiceprint in loaded.accepted.items()
        }
