import pytest

from tests.vm.board import OURS
from tests.vm.transcript import plain


@pytest.mark.parametrize(
    "line",
    [
        "[    0.000000] Machine model: Raspberry Pi 3 Model B",
        "[    5.612483] EXT4-fs (mmcblk0p2): mounted filesystem 0ea1 ro without journal.",
        "[  100.107020] input: earmark-mute as /devices/platform/earmark-mute/input/input0",
        "[  171.012345] systemd[1]: Started earmark-hear.service - Earmark: hear the wake word.",
        "[  111.000000] systemd[1]: \x1b[0;1;31mTimed out waiting for device earmark-mute.",
        "[  173.000000] earmark[391]: mute   0.00 s  microphone closed, audio wiped; the switch",
    ],
)
def test_boot_lines_that_show_success_are_kept(line: str) -> None:
    assert OURS.search(plain(line))


@pytest.mark.parametrize(
    "line",
    [
        "[   84.717253] systemd-resolved[251]: Defaulting to hostname 'linux'.",
        "[  145.000000] earmark[365]:   - device.name = kitchen",
        "[   21.420349] systemd[1]: Expecting device /dev/input/earmark-mute...",
        "[    4.738161] sdhost-bcm2835 3f202000.mmc: loaded - DMA enabled (>1)",
    ],
)
def test_boot_lines_without_information_are_left_out(line: str) -> None:
    assert OURS.search(plain(line)) is None
