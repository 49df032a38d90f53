"""What the figures say about 10,000 and 1,000,000 speakers, by calculation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

CLIPS_A_DAY: Final = 20
"""Clips of a speaker a day."""
PEAK_SHARE: Final = 0.25
"""Share of a day's clips that arrives in the busiest hour."""
CLIP_BYTES: Final = 70_000
KEEP_DAYS: Final = 30
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Demand:
    """What so many speakers need."""

    speakers: int

    @property
    def mean_per_s(self) -> float:
        """Clips a second, on average."""
        return self.speakers * CLIPS_A_DAY / _DAY_S

    @property
    def hour_per_s(self) -> float:
        """Clips a second in the busiest hour."""
        return self.speakers * CLIPS_A_DAY * PEAK_SHARE / 3600

    @property
    def stored_clips(self) -> int:
        """Clips that are stored."""
        return self.speakers * CLIPS_A_DAY * KEEP_DAYS

    @property
    def stored_bytes(self) -> int:
        """Bytes of the stored clips."""
        return self.stored_clips * CLIP_BYTES


SHARED_BY: Final = 2.0
"""Factor by which there is more processor time than the busiest hour needs."""


def estimate(clip_ms: float | None) -> Iterator[str]:
    """Yield the lines of the calculation.

    Args:
        clip_ms: measured processor time of a clip, of archives, database, object store and brokers
            together, in milliseconds; None if it was not measured.
    """
    yield (
        f"by calculation, with {CLIPS_A_DAY} clips a speaker and day of {CLIP_BYTES // 1000} kB,"
        f" kept for {KEEP_DAYS} days, a quarter of them in the busiest hour:"
    )
    for speakers in (10_000, 1_000_000):
        demand = Demand(speakers)
        yield (
            f"  {speakers:>9,} speakers: {demand.mean_per_s:.1f} clips a second on average,"
            f" {demand.hour_per_s:.0f} in the busiest hour; {demand.stored_clips / 1e6:.0f} million"
            f" clips, {demand.stored_bytes / 1e12:.1f} TB"
        )
        if clip_ms is not None:
            cores = demand.hour_per_s * clip_ms / 1000 * SHARED_BY
            yield (
                f"    {demand.hour_per_s:.0f} a second x {clip_ms:.1f} ms ="
                f" {cores / SHARED_BY:.2f} cores; {cores:.1f} with half of each free"
            )
