"""Files of replies: any bytes and any kind of file, and division of sounds at pauses."""

import itertools
import os
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.player.replies import take_reply_files
from listener.player.segments import PAUSE_S, split_at_pauses
from listener.voice.limits import LONGEST_FILE_BYTES
from tests.player.player_fixture import PlayerFixture, tone

RATE_HZ = 1_000


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=600), st.integers(0, 400), st.integers(0, 255))
def test_any_bytes_are_refused(bench: PlayerFixture, data: bytes, at: int, change: int) -> None:
    bench.open()
    whole = bytearray(bench.sealed(bench.asked(), tone(0.05)))
    was_changed = whole[at] != change
    whole[at] = change
    before = len(bench.output.sounds)

    bench.lay(data)
    bench.lay(bytes(whole))

    assert len(bench.output.sounds) == before + (not was_changed)


def test_only_plain_files_of_bounded_size_are_read_and_all_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"reply")
    (tmp_path / "b").write_bytes(bytes(LONGEST_FILE_BYTES + 1))
    os.mkfifo(tmp_path / "c")
    (tmp_path / "d").symlink_to("/dev/zero")
    (tmp_path / ".e.part").write_bytes(b"half")

    assert take_reply_files(tmp_path) == [b"reply"]
    assert [path.name for path in tmp_path.iterdir()] == [".e.part"]
    assert take_reply_files(tmp_path / "missing") == []


def test_flood_of_replies_is_bounded(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number:032x}").write_bytes(b"x")

    assert len(take_reply_files(tmp_path)) == 8
    assert not any(tmp_path.iterdir())


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3_000)), max_size=6))
def test_all_sound_is_in_a_segment_and_every_pause_outside(parts: list[tuple[int, int]]) -> None:
    samples = np.concatenate(
        [
            np.zeros(0, np.int16),
            *(np.repeat([500, 0], [loud, quiet]).astype(np.int16) for loud, quiet in parts),
        ]
    )

    segments = split_at_pauses(samples, RATE_HZ)

    assert sum(int((samples[s.first_sample : s.end_sample] != 0).sum()) for s in segments) == int(
        (samples != 0).sum()
    )
    for segment, following in itertools.pairwise(segments):
        assert segment.end_sample + segment.pause_samples == following.first_sample
        assert segment.pause_samples >= PAUSE_S * RATE_HZ
    assert all(
        not (
            np.diff(np.flatnonzero(samples[s.first_sample : s.end_sample])) > PAUSE_S * RATE_HZ
        ).any()
        for s in segments
    )
