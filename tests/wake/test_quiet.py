import numpy as np
import pytest

from listener.wake.features import BANDS, Floats
from listener.wake.quiet import EnergyGate


def room(level: float, steps: int, hop: int, seed: int = 0) -> list[Floats]:
    random = np.random.default_rng(seed)
    # What the logarithm of a steady noise's power scatters like, after a band has averaged a few
    # bins of its spectrum.
    scatter = np.log10(random.gamma(3, 1 / 3, (steps, hop, BANDS)))
    return list((level + scatter).astype(np.float32))


@pytest.fixture(params=[8, 4])
def hop(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_a_steady_noise_is_quiet_at_any_level(hop: int) -> None:
    for level in (-8, 0, 3, 6):
        quiet = EnergyGate(hop)

        loud = [quiet.is_loud(mel) for mel in room(level, 2000, hop)]

        assert sum(loud[100:]) <= 2


def test_the_first_80_ms_count_as_loud(hop: int) -> None:
    quiet = EnergyGate(hop)

    loud = [quiet.is_loud(mel) for mel in room(3, 10, hop)]

    assert loud[: 8 // hop] == [True] * (8 // hop)


@pytest.mark.parametrize("bands", [slice(0, 8), slice(8, 16), slice(24, 32)])
def test_a_rise_in_a_quarter_of_the_bands_is_loud(hop: int, bands: slice) -> None:
    quiet = EnergyGate(hop)
    for mel in room(3, 500, hop):
        quiet.is_loud(mel)
    risen = room(3, 20, hop, seed=1)
    for mel in risen:
        mel[:, bands] += 0.9

    assert any(quiet.is_loud(mel) for mel in risen)


def test_a_single_loud_frame_is_loud(hop: int) -> None:
    quiet = EnergyGate(hop)
    for mel in room(3, 500, hop):
        quiet.is_loud(mel)
    click = room(3, 1, hop)[0]
    click[1] += 2

    assert quiet.is_loud(click)


def test_a_room_that_stays_louder_becomes_quiet_again(hop: int) -> None:
    quiet = EnergyGate(hop)
    for mel in room(2, 500, hop):
        quiet.is_loud(mel)

    # 10 dB louder, for 20 s.
    loud = [quiet.is_loud(mel) for mel in room(3, 2000 // hop, hop, seed=2)]

    assert all(loud[1 : 200 // hop])
    assert not any(loud[1500 // hop :])


def test_after_digital_silence_the_floor_comes_up_in_seconds(hop: int) -> None:
    quiet = EnergyGate(hop)
    silence = np.full((hop, BANDS), -8, np.float32)
    for _ in range(200):
        quiet.is_loud(silence)

    loud = [quiet.is_loud(mel) for mel in room(1, 4000 // hop, hop)]

    assert not any(loud[2500 // hop :])


def test_after_a_restart_the_room_is_unknown(hop: int) -> None:
    quiet = EnergyGate(hop)
    for mel in room(0, 100, hop):
        quiet.is_loud(mel)

    quiet.restart()

    loud = [quiet.is_loud(mel) for mel in room(5, 200, hop)]
    assert sum(loud[8 // hop :]) <= 2
