import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, Gap, GapReason
from listener.hear.counters import ClipOutcome, Counters, PendingClip
from tests.fakes import told

RING = 5 * FRAME_SAMPLES


class Reference:
    """The same counts with one entry for every sample that was ever heard."""

    def __init__(self) -> None:
        self.heard: set[int] = set()
        self.sealed: set[int] = set()
        self.held: set[int] = set()
        self.cut = 0

    def settle(self, ring: range, claims: list[PendingClip]) -> None:
        kept = set(ring)
        for claim in claims:
            end = 10**6 if claim.end_sample is None else claim.end_sample
            kept |= {place for place in self.held if claim.first_sample <= place < end}
        self.held &= kept


@given(st.data())
def test_counters_equal_a_per_sample_reference(data: st.DataObject) -> None:
    counters, reference = Counters("speaker", "00" * 8), Reference()
    claims: list[PendingClip] = []
    position = ring_first = 0
    wakes = 0

    for _ in range(data.draw(st.integers(1, 25))):
        event = data.draw(st.sampled_from(["frame", "frame", "frame", "gap", "claim", "decide"]))
        if event == "frame":
            (frame,) = told(1, position)
            position = frame.end_sample
            ring_first = max(ring_first, position - RING)
            reference.heard |= set(range(frame.first_sample, position))
            reference.held |= set(range(frame.first_sample, position))
            counters.count_frame(frame, ring_first)
        elif event == "gap":
            cut, length = data.draw(st.integers(0, 99)), data.draw(st.integers(0, 9_999))
            counters.count_gap(Gap(GapReason.MUTED, position, cut + length, cut))
            position += cut + length
            ring_first = position
            reference.cut += cut
        elif event == "claim":
            claims.append(counters.begin_clip(max(0, position - data.draw(st.integers(0, RING)))))
            wakes += 1
        elif claims:
            claim = claims.pop(data.draw(st.integers(0, len(claims) - 1)))
            end = data.draw(st.integers(claim.first_sample, position + 1))
            counters.end_clip(claim, end)
            reference.settle(range(ring_first, position), [*claims, claim])
            fate = data.draw(st.sampled_from(ClipOutcome))
            counters.set_outcome(claim, fate)
            if fate is ClipOutcome.SEALED:
                fresh = {p for p in reference.held if claim.first_sample <= p < end}
                reference.sealed |= fresh
                reference.held -= fresh
        reference.settle(range(ring_first, position), claims)

        tally = counters.tally()
        assert tally.heard_samples == len(reference.heard) + reference.cut
        assert tally.sealed_samples == len(reference.sealed)
        assert tally.held_samples == len(reference.held)
        assert tally.heard_samples == (
            tally.discarded_samples + tally.sealed_samples + tally.held_samples
        )
        decided = tally.sealed + tally.unattributed + tally.abandoned + tally.lost
        assert decided == wakes - len(claims)


def test_audio_in_two_clips_is_counted_as_sealed_once() -> None:
    counters = Counters("speaker", "00" * 8)
    frames = told(4)
    first, second = counters.begin_clip(0), counters.begin_clip(FRAME_SAMPLES)
    for frame in frames:
        counters.count_frame(frame, 0)
    counters.end_clip(first, 3 * FRAME_SAMPLES)
    counters.end_clip(second, 4 * FRAME_SAMPLES)

    counters.set_outcome(first, ClipOutcome.SEALED, seq=7)
    counters.set_outcome(second, ClipOutcome.SEALED, seq=8)

    tally = counters.tally()
    assert tally.sealed_samples == 4 * FRAME_SAMPLES
    assert (tally.sealed, tally.seq, tally.held_samples) == (2, 8, 0)


def test_outcome_is_set_only_once() -> None:
    counters = Counters("speaker", "00" * 8)
    claim = counters.begin_clip(0)
    counters.end_clip(claim, 10)

    counters.set_outcome(claim, ClipOutcome.ABANDONED)
    counters.set_outcome(claim, ClipOutcome.SEALED)

    tally = counters.tally()
    assert (tally.abandoned, tally.sealed) == (1, 0)


def test_only_a_muted_gap_counts_as_muted() -> None:
    counters = Counters("speaker", "00" * 8)

    counters.count_gap(Gap(GapReason.MUTED, 0, 500, 20))
    counters.count_gap(Gap(GapReason.LOST, 500, 500))

    tally = counters.tally()
    assert (tally.muted_samples, tally.heard_samples, tally.discarded_samples) == (480, 20, 20)


def test_wakes_and_near_misses_are_counted() -> None:
    counters = Counters("speaker", "00" * 8)

    counters.count_wake()
    counters.count_near_miss()
    counters.count_near_miss()

    assert (counters.tally().wakes, counters.tally().near_misses) == (1, 2)


def test_wiping_the_ring_buffer_discards_its_samples() -> None:
    counters = Counters("speaker", "00" * 8)
    (frame,) = told(1)
    counters.count_frame(frame, 0)

    counters.count_wipe()

    assert counters.tally().discarded_samples == len(np.asarray(frame.samples))


def test_narrowed_clip_holds_its_part_and_the_rest_is_discarded() -> None:
    counters = Counters("speaker", "00" * 8)
    pending = counters.begin_clip(0)
    for frame in told(4):
        counters.count_frame(frame, frame.end_sample)
    counters.end_clip(pending, 4 * FRAME_SAMPLES)

    counters.narrow_clip(pending, FRAME_SAMPLES, 3 * FRAME_SAMPLES)

    assert counters.tally().held_samples == 2 * FRAME_SAMPLES
    assert counters.tally().discarded_samples == 2 * FRAME_SAMPLES
    counters.set_outcome(pending, ClipOutcome.SEALED)
    assert counters.tally().sealed_samples == 2 * FRAME_SAMPLES
