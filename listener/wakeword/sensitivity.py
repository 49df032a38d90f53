"""Thresholds and wake words that messages may choose, within the configuration. Pure.

A message may make a speaker less sensitive: raise a threshold, or choose one of the configured
words. It may take that back. It may not make the speaker more sensitive than its configuration,
unless ``wake.remote_threshold`` allows that. ``docs/decisions/0057`` gives the reasons.
"""

from collections.abc import Callable, Mapping


class Sensitivity:
    """Thresholds and words in force. For one thread.

    Args:
        configured: threshold by word, 0 to 1, as the configuration or the model sets it.
        may_lower: whether a message may set a threshold below the configured one.
        apply: sets the threshold of a word; None for no detection of it.
    """

    def __init__(
        self,
        configured: Mapping[str, float],
        *,
        may_lower: bool,
        apply: Callable[[str, float | None], object],
    ) -> None:
        self._configured = dict(configured)
        self._may_lower = may_lower
        self._apply = apply
        self.thresholds = dict(configured)
        """Threshold by word, also of a word that is not chosen."""
        self.only: str | None = None
        """The one word that is detected; None for all."""

    def set_threshold(self, word: str, threshold: float) -> bool:
        """Set the threshold of a word; return whether that is allowed.

        Args:
            word: any text.
            threshold: 0 to 1.
        """
        floor = self._configured.get(word)
        if floor is None or (threshold < floor and not self._may_lower):
            return False
        self.thresholds[word] = threshold
        if self.only in {None, word}:
            self._apply(word, threshold)
        return True

    def choose(self, only: str | None) -> bool:
        """Detect one word, or all of the configuration; return whether that is allowed.

        Args:
            only: any text; None for all words.
        """
        if only is not None and only not in self._configured:
            return False
        self.only = only
        for word, threshold in self.thresholds.items():
            self._apply(word, threshold if only in {None, word} else None)
        return True
