"""The queue of erased clips, by owner."""

import pytest

from listener.archive import erased_clips
from listener.archive.erased_clips import ErasedClip, ErasedClips


def test_owners_take_turns_and_displace_only_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erased_clips, "MOST_CLIPS_PER_OWNER", 3)
    queue = ErasedClips()
    queue.append(ErasedClip("ada", "hall", "a1", ""))
    for number in range(9):
        queue.append(ErasedClip("bob", "hall", f"b{number}", ""))
    queue.append(ErasedClip("ada", "hall", "a2", ""))

    assert len(queue) == 5
    assert [queue.popleft().clip for _ in range(len(queue))] == ["a1", "b6", "a2", "b7", "b8"]
    with pytest.raises(IndexError):
        queue.popleft()
