"""Schema of the result of ``earmark evaluate voices``.

As ``metrics/results.py``: the report and the tables are built from it alone.
"""

from typing import Final

from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.metrics.results import ResultTable, SkippedItem

VOICES_FORMAT: Final = "earmark-voices/1"


class SpeakerGroup(ResultTable, frozen=True, kw_only=True):
    """A group of speakers."""

    name: str
    speakers: int
    """Speakers with enough speech to enrol and to judge."""
    guests: int
    """Speakers with enough speech to be guests, and too little to enrol."""
    left_out: int
    """Speakers with less speech."""
    speech_s: float
    """Speech of the speakers, in seconds, without silence."""
    recordings: tuple[int, int]
    """Fewest and most recordings of 3 s that enrol a voice."""


class FixedThreshold(ResultTable, frozen=True, kw_only=True):
    """One threshold for all voices, for a rate of false acceptances on the other speakers."""

    accepted: float
    """Share of comparisons with strangers that the calibration speakers accept at it."""
    threshold: float
    owners_refused: Rate
    strangers_accepted: Rate


class CurvePoint(ResultTable, frozen=True, kw_only=True):
    """A point of the curve, as shares."""

    threshold: float
    refused: float
    accepted: float


class VerificationResult(ResultTable, frozen=True, kw_only=True):
    """Verification of one voice at a time: speech of one length under one condition."""

    condition: str
    length_s: float
    equal_error: Rate
    """Equal error rate; its count is the rate times the owners' trials."""
    equal_error_threshold: float
    owners_refused: Rate
    """At the calibrated thresholds."""
    strangers_accepted: Rate
    """Comparisons with a stranger that are accepted, at the calibrated thresholds."""
    fixed: tuple[FixedThreshold, ...]
    curve: tuple[CurvePoint, ...]


class HouseholdResult(ResultTable, frozen=True, kw_only=True):
    """Open-set identification in households of one size."""

    owners: int
    households: int
    """Households that were drawn."""
    condition: str
    length_s: float
    wrong_owner: Rate
    guests_accepted: Rate
    owners_refused: Rate


class RefusedHousehold(ResultTable, frozen=True, kw_only=True):
    """A size of households that the speakers cannot form."""

    owners: int
    missing: int
    """Speakers that are missing."""


class SecondVoiceResult(ResultTable, frozen=True, kw_only=True):
    """Clips with a second voice."""

    condition: str
    place: str
    """``after`` the owner, or ``over`` their speech."""
    dropped: Rate
    own_dropped: Rate
    left_s: Rate
    own_cut_s: Rate


class JudgedDirection(ResultTable, frozen=True, kw_only=True):
    """Speakers judged by what was calibrated on others."""

    calibrated_on: str
    judged_on: str
    threshold: float
    """Least threshold of an owner, from the calibration speakers."""
    drop: float
    """Allowed drop below the similarity of an owner's recordings, from the same speakers."""
    cohort: int
    """Background voices."""
    thresholds: tuple[float, float, float]
    """Lowest, median and highest threshold of the judged speakers."""
    verification: tuple[VerificationResult, ...]
    households: tuple[HouseholdResult, ...]
    refused_households: tuple[RefusedHousehold, ...]
    second_voice: tuple[SecondVoiceResult, ...]


class ShortCommands(ResultTable, frozen=True, kw_only=True):
    """Recordings of short commands."""

    no_clip: Rate
    """Recordings with too little speech for an attribution, of which no clip is made."""
    speech_s: tuple[float, ...]
    """Speech of each, in seconds."""


class VoicesResult(ResultTable, frozen=True, kw_only=True):
    """Result of an evaluation of attribution by voice."""

    format: str = VOICES_FORMAT
    plan: dict[str, object]
    """Options of the run, with all defaults."""
    hashes: dict[str, str]
    """SHA-256 of the model, of the sounds and of the code."""
    versions: dict[str, str]
    definitions: dict[str, str]
    warnings: tuple[str, ...]
    """Limits of the results that a reader must know before quoting them."""
    missing: tuple[SkippedItem, ...]
    """Items that could not be read."""
    groups: tuple[SpeakerGroup, ...]
    directions: tuple[JudgedDirection, ...]
    commands: ShortCommands | None = None
