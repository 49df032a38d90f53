"""Output of samples: formats, stopping and wiping, with a fake of sounddevice."""

from typing import Any

import numpy as np
import pytest

from listener.player.loudspeaker import LATENCY_S, PIECE_S, Loudspeaker, LoudspeakerError
from tests.player.player_fixture import tone


class FakeStream:
    def __init__(self, card: "FakeCard", rate_hz: int, channels: int) -> None:
        self._card = card
        self.samplerate, self.channels, self.latency = float(rate_hz), channels, LATENCY_S

    def start(self) -> None:
        self._card.calls.append("start")

    def write(self, data: bytes) -> None:
        self._card.calls.append("write")
        if self._card.breaks_after == len(self._card.written):
            raise self._card.PortAudioError("unplugged")
        self._card.written.append(np.frombuffer(data, np.int16).copy())

    def abort(self) -> None:
        self._card.calls.append("abort")
        if self._card.breaks_after is not None:
            raise self._card.PortAudioError("unplugged")

    def close(self) -> None:
        self._card.calls.append("close")


class FakeCard:
    """A fake sounddevice whose card supports some rates and channels."""

    class PortAudioError(Exception):
        pass

    def __init__(self, rates: tuple[int, ...] = (16_000,), channels: int = 1) -> None:
        self._rates, self._channels = rates, channels
        self.devices: list[object] = []
        self.written: list[Any] = []
        self.calls: list[str] = []
        self.breaks_after: int | None = None

    def RawOutputStream(self, **options: Any) -> FakeStream:  # noqa: ANN401, N802 - sounddevice's
        self.devices.append(options["device"])
        if options["samplerate"] not in self._rates or options["channels"] != self._channels:
            raise self.PortAudioError("not supported")
        return FakeStream(self, options["samplerate"], options["channels"])


def test_samples_sound_at_the_volume_with_silence_behind() -> None:
    card = FakeCard()

    assert Loudspeaker(card, "", 0.5).play(tone(0.1), 16_000, lambda: True)

    sounded = np.concatenate(card.written)
    assert np.array_equal(sounded[:1_600], np.rint(tone(0.1) * 0.5).astype(np.int16))
    assert len(sounded) >= 1_600 + LATENCY_S * 16_000
    assert not sounded[1_600:].any()
    assert (card.calls[0], card.calls[-2:]) == ("start", ["abort", "close"])


def test_card_without_mono_or_the_rate_gets_what_it_supports() -> None:
    card = FakeCard(rates=(48_000,), channels=2)

    assert Loudspeaker(card, "", 1.0).play(tone(0.2), 16_000, lambda: True)

    sounded = np.concatenate(card.written).reshape(-1, 2)
    assert np.array_equal(sounded[:, 0], sounded[:, 1])
    loud = np.flatnonzero(sounded[:, 0])
    assert len(loud) == pytest.approx(0.2 * 48_000, rel=0.05)


def test_sound_stops_with_the_next_piece() -> None:
    card = FakeCard()
    answers = iter([True, True, False])

    assert not Loudspeaker(card, "", 1.0).play(tone(1.0), 16_000, lambda: next(answers))

    assert len(card.written) == 2
    assert len(card.written[0]) == PIECE_S * 16_000
    assert card.calls[-2:] == ["abort", "close"]


def test_own_copies_are_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    prepare = "listener.player.loudspeaker._prepare"
    from listener.player import loudspeaker  # noqa: PLC0415 - the private function that is watched

    original = loudspeaker._prepare  # noqa: SLF001 - as above

    def watched(*arguments: Any) -> Any:  # noqa: ANN401 - as the function's
        made.append(original(*arguments))
        return made[-1]

    monkeypatch.setattr(prepare, watched)

    Loudspeaker(FakeCard(), "", 1.0).play(tone(0.1), 16_000, lambda: True)

    assert made
    assert not made[0].any()


@pytest.mark.parametrize(("name", "device"), [("3", 3), ("USB", "USB"), ("", None)])
def test_device_is_selected_by_index_or_name(name: str, device: object) -> None:
    card = FakeCard(rates=())

    with pytest.raises(LoudspeakerError, match="cannot be opened"):
        Loudspeaker(card, name, 1.0).play(tone(0.1), 16_000, lambda: True)

    assert set(card.devices) == {device}


def test_card_that_is_unplugged_is_an_error() -> None:
    card = FakeCard()
    card.breaks_after = 1

    with pytest.raises(LoudspeakerError, match="unplugged"):
        Loudspeaker(card, "", 1.0).play(tone(1.0), 16_000, lambda: True)

    assert card.calls[-2:] == ["abort", "close"]
