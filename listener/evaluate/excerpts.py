"""Audio excerpts around events, augmented as they were scored."""

from typing import Final

import numpy as np

from listener.audio.clip import encode_clip
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import EarmarkError
from listener.evaluate.corpus.augmentation import Condition, Mixer, choose_mix
from listener.evaluate.corpus.items import Corpus, Item
from listener.evaluate.corpus.playback import list_phases
from listener.evaluate.corpus.stream import open_playable
from listener.evaluate.metrics.results import DetectionEvent, WordResult
from listener.evaluate.plan import EvaluationPlan
from listener.evaluate.runner import open_all, resolve_condition

BEFORE_S: Final = 5.0
"""Seconds before the event."""
AFTER_S: Final = 2.0
"""Seconds after the event."""


class ExcerptCutter:
    """Cuts excerpts out of a plan's corpus. Use from one thread."""

    def __init__(self, plan: EvaluationPlan, corpus: Corpus | None = None) -> None:
        """Open the corpus and the conditions of a plan.

        Args:
            plan: the completed plan that was run.
            corpus: its corpus, if it is open already.

        Raises:
            EarmarkError: the corpus, a noise or an impulse response cannot be read.
        """
        self._plan = plan
        self._items = {
            item.name: item for item in corpus or open_all(plan) if isinstance(item, Item)
        }
        conditions = [resolve_condition(each, {}, []) for each in plan.condition]
        self._conditions: dict[str, Condition] = {each.name: each for each in conditions}

    def __call__(self, word: WordResult, event: DetectionEvent) -> bytes | None:
        """Return the audio around an event as FLAC; None if it cannot be read any more.

        Args:
            word: result that has the event.
            event: an event of the plan's run.
        """
        item, condition = self._items.get(event.item), self._conditions.get(word.condition)
        if item is None or condition is None:
            return None
        try:
            sound = self._cut(item, condition, event)
        except EarmarkError:
            return None
        return encode_clip(sound, "earmark evaluate") if len(sound) else None

    def _cut(self, item: Item, condition: Condition, event: DetectionEvent) -> Samples:
        phase = list_phases(self._plan.plays)[event.play]
        playable, _ = open_playable(item, self._plan.channel)
        choice = choose_mix(condition, self._plan.seed, item.name, event.play)
        first = max(0, round((event.at_s - BEFORE_S) * SAMPLE_RATE_HZ) - phase)
        end = round((event.at_s + AFTER_S) * SAMPLE_RATE_HZ) - phase
        pieces, at = [np.zeros(0, np.int16)], 0
        for block in Mixer().mix(lambda: playable.play(phase), choice):
            pieces.append(block[max(0, first - at) : max(0, end - at)].copy())
            at += len(block)
            if at >= end:
                break
        return np.concatenate(pieces)
