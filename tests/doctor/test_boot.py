from pathlib import Path

import pytest

from listener.config import MuteSettings
from listener.doctor import boot

FITTED = MuteSettings(switch="input", input="/dev/input/earmark-mute")
NONE = MuteSettings(switch="none")
OURS = "# earmark begin\n[all]\ndtoverlay=earmark-mute,gpio=22\n# earmark end\n"
DEBIAN = "# Do not modify this file!\nupstream_kernel=1\n"


def board(root: Path, config: str, *overlays: str) -> Path:
    folder = root / "boot" / "firmware"
    (folder / "overlays").mkdir(parents=True)
    (folder / "config.txt").write_text(config, "utf-8")
    for name in overlays:
        (folder / "overlays" / f"{name}.dtbo").write_bytes(b"\xd0\x0d\xfe\xed")
    return root


def kept(root: Path, text: str) -> None:
    (root / "etc" / "default").mkdir(parents=True)
    (root / "etc" / "default" / "raspi-firmware-custom").write_text(text, "utf-8")


def tree(root: Path, *nodes: str) -> Path:
    for name in ("", *nodes):
        (root / "proc" / "device-tree" / name).mkdir(parents=True)
    return root


def inputs(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        folder = root / "sys" / "class" / "input" / f"event{number}" / "device"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n", "utf-8")
    return root


def test_machine_without_config_txt_is_ok(tmp_path: Path) -> None:
    assert boot.check_boot(tmp_path, FITTED).verdict == "ok"


def test_enabled_overlay_with_its_file_is_ok(tmp_path: Path) -> None:
    finding = boot.check_boot(board(tmp_path, f"dtparam=audio=on\n{OURS}", "earmark-mute"), FITTED)

    assert (finding.verdict, finding.text) == ("ok", "config.txt enables earmark-mute")


def test_enabled_overlay_without_its_file_fails(tmp_path: Path) -> None:
    finding = boot.check_boot(board(tmp_path, OURS), FITTED)

    assert finding.verdict == "fail"
    assert "earmark-mute" in finding.text


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[pi5]\ndtoverlay=earmark-mute\n",
        "#dtoverlay=earmark-mute\n",
        "[all]\ndtoverlay=gpio-key\n",
    ],
)
def test_switch_without_an_overlay_line_warns(tmp_path: Path, config: str) -> None:
    finding = boot.check_boot(board(tmp_path, config), FITTED)

    assert finding.verdict == "warn"
    assert "dtoverlay=earmark-mute" in finding.hint


def test_no_switch_needs_no_overlay_line(tmp_path: Path) -> None:
    assert boot.check_boot(board(tmp_path, ""), NONE).verdict == "ok"


@pytest.mark.parametrize(
    "config", ["# earmark begin\n", "# earmark end\n", OURS + OURS, OURS + "# earmark end\n"]
)
def test_damaged_markers_fail(tmp_path: Path, config: str) -> None:
    finding = boot.check_boot(board(tmp_path, config, "earmark-mute"), FITTED)

    assert finding.verdict == "fail"
    assert "markers" in finding.text


def test_line_that_the_next_kernel_removes_fails(tmp_path: Path) -> None:
    finding = boot.check_boot(board(tmp_path, DEBIAN + OURS, "earmark-mute"), FITTED)

    assert finding.verdict == "fail"
    assert "/etc/default/raspi-firmware-custom" in finding.hint


def test_line_in_both_files_is_ok(tmp_path: Path) -> None:
    root = board(tmp_path, DEBIAN + OURS, "earmark-mute")
    kept(root, OURS)

    assert boot.check_boot(root, FITTED).verdict == "ok"


def test_switch_that_the_kernel_reads_is_ok(tmp_path: Path) -> None:
    root = inputs(tree(tmp_path, "earmark-mute"), "Power Button", "earmark-mute")

    assert boot.check_overlay(root, FITTED).verdict == "ok"


def test_switch_without_a_driver_fails(tmp_path: Path) -> None:
    finding = boot.check_overlay(inputs(tree(tmp_path, "earmark-mute"), "Power Button"), FITTED)

    assert finding.verdict == "fail"
    assert "gpio_keys" in finding.hint


def test_input_device_not_from_the_overlay_warns(tmp_path: Path) -> None:
    finding = boot.check_overlay(inputs(tree(tmp_path), "earmark-mute"), FITTED)

    assert finding.verdict == "warn"
    assert "not from the overlay" in finding.text


def test_board_that_was_not_restarted_warns(tmp_path: Path) -> None:
    finding = boot.check_overlay(tree(tmp_path), FITTED)

    assert finding.verdict == "warn"
    assert "restart the board" in finding.hint


def test_machine_without_a_device_tree_is_ok(tmp_path: Path) -> None:
    finding = boot.check_overlay(tmp_path, MuteSettings(switch="input"))

    assert finding.verdict == "ok"
    assert "the only input device that can mute" in finding.text


@pytest.mark.parametrize("settings", [NONE, MuteSettings(), MuteSettings(switch="gpio", line=27)])
def test_other_switches_need_no_overlay(tmp_path: Path, settings: MuteSettings) -> None:
    assert boot.check_overlay(tree(tmp_path), settings).verdict == "ok"


def test_switch_missing_from_the_configuration_warns(tmp_path: Path) -> None:
    finding = boot.check_overlay(tree(tmp_path, "earmark-mute"), NONE)

    assert finding.verdict == "warn"
    assert 'mute.switch = "input"' in finding.hint
