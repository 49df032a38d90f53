"""The overlays, compiled and applied to the device trees of Debian's kernel package.

What fdtoverlay cannot show stands in docs/guides/mute-switch.md: no board has booted with them.
"""

import subprocess
from pathlib import Path

import pytest

from tests.firmware.trees import Refused, Tree, compiled, merged, parameters

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "firmware" / "mute"
TREES = HERE.parents[1] / "build" / "device-trees"
BOARDS = ("bcm2837-rpi-3-b", "bcm2711-rpi-4-b", "bcm2837-rpi-zero-2-w")
ACTIVE_LOW = 1
EV_SW, SW_MUTE_DEVICE = 5, 14
INPUT, ALT0 = 0, 4
NONE, DOWN = 0, 1

# The first run downloads the kernel package, which can take minutes.
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="session")
def trees() -> Path:
    """Device trees of Debian's kernel; a failure if they cannot be fetched."""
    done = subprocess.run(
        [HERE / "device-trees", TREES], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(
            "Debian's device trees cannot be fetched, so no overlay was tested:\n" + done.stderr
        )
    return TREES


@pytest.fixture(params=BOARDS)
def board(request: pytest.FixtureRequest, trees: Path) -> Tree:
    return Tree(trees / f"{request.param}.dtb")


@pytest.fixture
def switch(tmp_path: Path) -> Tree:
    return compiled(SOURCES / "earmark-mute.dts", tmp_path)


@pytest.fixture
def microphone(tmp_path: Path) -> Tree:
    return compiled(SOURCES / "earmark-microphone.dts", tmp_path)


def test_switch_overlay_is_an_input_device_for_mute_only(board: Tree, switch: Tree) -> None:
    tree = merged(board, switch)

    node = "/earmark-mute"
    assert tree.text(node, "compatible") == "gpio-keys"
    assert tree.text(node, "label") == "earmark-mute"
    assert [path for path in tree.nodes if path.startswith(f"{node}/")] == [f"{node}/switch"]
    assert tree.cells(f"{node}/switch", "linux,input-type") == [EV_SW]
    assert tree.cells(f"{node}/switch", "linux,code") == [SW_MUTE_DEVICE]
    assert tree.cells(f"{node}/switch", "debounce-interval") == [10]


def test_switch_line_is_pulled_down_and_low_is_muted(board: Tree, switch: Tree) -> None:
    tree = merged(board, switch)

    chip, line, flags = tree.cells("/earmark-mute/switch", "gpios")
    assert (tree.at(chip), line, flags) == (tree.labelled("gpio"), 27, ACTIVE_LOW)
    pins = tree.at(*tree.cells("/earmark-mute", "pinctrl-0"))
    assert pins.startswith(tree.labelled("gpio"))
    assert tree.cells(pins, "brcm,pins") == [27]
    assert tree.cells(pins, "brcm,function") == [INPUT]
    assert tree.cells(pins, "brcm,pull") == [DOWN]


def test_switch_is_not_a_wakeup_source(board: Tree, switch: Tree) -> None:
    tree = merged(board, switch)

    assert "wakeup-source" not in tree.nodes["/earmark-mute/switch"]
    assert "autorepeat" not in tree.nodes["/earmark-mute"]


@pytest.mark.parametrize(
    ("name", "sets", "default"),
    [
        ("gpio", ["brcm,pins", "gpios"], 27),
        ("debounce", ["debounce-interval"], 10),
    ],
)
def test_overlay_parameters_set_their_properties(
    switch: Tree, name: str, sets: list[str], default: int
) -> None:
    found = parameters(switch, name)

    assert [property_name for _, property_name, _ in found] == sets
    for node, property_name, offset in found:
        assert switch.cells(node, property_name)[offset // 4] == default


def test_switch_and_microphone_share_no_pin(board: Tree, switch: Tree, microphone: Tree) -> None:
    tree = merged(board, microphone, switch)

    mine = tree.cells(tree.labelled("earmark_mute_pins"), "brcm,pins")
    sound = tree.cells(tree.labelled("earmark_i2s_pins"), "brcm,pins")
    assert not {*mine} & {*sound}


def test_microphone_overlay_is_a_card_named_earmark(board: Tree, microphone: Tree) -> None:
    tree = merged(board, microphone)

    card = "/earmark-card"
    assert tree.text(card, "compatible") == "simple-audio-card"
    assert tree.text(card, "simple-audio-card,name") == "earmark"
    cpu, codec = f"{card}/simple-audio-card,cpu", f"{card}/simple-audio-card,codec"
    assert tree.at(*tree.cells(cpu, "sound-dai")) == tree.labelled("i2s")
    assert tree.text(tree.at(*tree.cells(codec, "sound-dai")), "compatible") == "adi,adau7002"


def test_board_is_clock_master_with_64_clocks_a_frame(board: Tree, microphone: Tree) -> None:
    tree = merged(board, microphone)

    cpu = "/earmark-card/simple-audio-card,cpu"
    for master in ("bitclock-master", "frame-master"):
        assert tree.at(*tree.cells("/earmark-card", f"simple-audio-card,{master}")) == cpu
    slots = tree.cells(cpu, "dai-tdm-slot-num") + tree.cells(cpu, "dai-tdm-slot-width")
    assert slots == [2, 32]


def test_overlay_enables_i2s_with_pins_and_dma(board: Tree, microphone: Tree) -> None:
    tree = merged(board, microphone)

    i2s = tree.labelled("i2s")
    assert tree.text(i2s, "status") == "okay"
    assert tree.cells(i2s, "#sound-dai-cells") == [0]
    to, to_line, back, back_line = tree.cells(i2s, "dmas")
    assert {tree.at(to), tree.at(back)} == {tree.labelled("dma")}
    assert (to_line, back_line, tree.text(i2s, "dma-names")) == (2, 3, "tx rx")
    pins = tree.at(*tree.cells(i2s, "pinctrl-0"))
    assert tree.cells(pins, "brcm,pins") == [18, 19, 20, 21]
    assert tree.cells(pins, "brcm,function") == [ALT0]
    assert tree.cells(pins, "brcm,pull") == [NONE, NONE, DOWN, NONE]


def test_debian_has_no_device_tree_of_the_pi_5_for_overlays(trees: Path, switch: Tree) -> None:
    # When this fails, docs/guides/mute-switch.md has news to tell.
    board = Tree(trees / "bcm2712-rpi-5-b.dtb")

    with pytest.raises(Refused):
        merged(board, switch)
