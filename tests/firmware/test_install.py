"""install.sh on a fake system: install, install again, uninstall; and the block in config.txt."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.wheels import ROOT

SCRIPT = ROOT / "firmware" / "install.sh"
BLOCK = ROOT / "firmware" / "deb" / "lib" / "boot-block"
CONFIG = b"dtparam=audio=on\n[pi5]\ndtoverlay=vc4-kms-v3d"
CARDS = """ 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones
                      bcm2835 Headphones
 1 [Mic            ]: USB-Audio - USB PnP Sound Device
                      C-Media USB PnP Sound Device at usb-1.2
"""
Install = Callable[..., subprocess.CompletedProcess[str]]


def sh(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", *map(str, words)], check=False, capture_output=True, text=True
    )


def snapshot(root: Path) -> dict[str, str]:
    """Say of each path under ``root`` what it is: mode, and digest, target or nothing."""
    found = {}
    for path in sorted(root.rglob("*")):
        what = oct(path.lstat().st_mode)
        if path.is_symlink():
            what += f" -> {path.readlink()}"
        elif path.is_file():
            what += f" {hashlib.sha256(path.read_bytes()).hexdigest()}"
        found[str(path.relative_to(root))] = what
    return found


def times(root: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in root.rglob("*")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A card of Raspberry Pi OS, as far as the installer looks."""
    root = tmp_path / "root"
    boot = root / "boot" / "firmware"
    (boot / "overlays").mkdir(parents=True)
    (boot / "config.txt").write_bytes(CONFIG)
    (boot / "cmdline.txt").write_bytes(b"console=tty1 root=PARTUUID=12 rootwait\n")
    (root / "etc" / "udev" / "rules.d").mkdir(parents=True)
    return root


@pytest.fixture
def install(root: Path, package: Path) -> Install:
    """Run install.sh on ``root`` with the small package."""

    def run(*words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = sh(
            *(SCRIPT, "--root", root, "--offline", package.parent, "--architecture", "amd64"),
            *words,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run


def plug_in(root: Path, cards: str = CARDS, recording: tuple[str, ...] = ("Mic",)) -> None:
    """Make the kernel's folder of sound cards."""
    asound = root / "proc" / "asound"
    asound.mkdir(parents=True)
    (asound / "cards").write_text(cards)
    for number, name in enumerate(("Headphones", "Mic", "Loopback")):
        card = asound / f"card{number}"
        card.mkdir()
        (card / "id").write_text(f"{name}\n")
        (card / ("pcm0c" if name in recording else "pcm0p")).mkdir()
        (asound / name).symlink_to(card.name)


@pytest.mark.system
def test_second_run_changes_nothing(root: Path, install: Install) -> None:
    install()
    before, ages = snapshot(root), times(root)

    done = install()

    assert snapshot(root) == before
    assert times(root) == ages
    assert "nothing to change" in done.stdout


@pytest.mark.system
def test_uninstall_restores_the_system(root: Path, install: Install) -> None:
    plug_in(root)
    before = snapshot(root)
    install()
    assert snapshot(root) != before

    install("--uninstall")

    assert snapshot(root) == before


@pytest.mark.system
def test_installer_changes_only_its_own_files(root: Path, install: Install) -> None:
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc" / "udev" / "rules.d" / "10-mine.rules").write_text("# mine\n")
    before = snapshot(root)

    install()

    after = snapshot(root)
    changed = {path for path in before if after.get(path) != before[path]}
    assert changed == {"boot/firmware/config.txt", "boot/firmware/cmdline.txt"}


@pytest.mark.system
def test_board_without_a_sound_card_is_set_up_for_i2s(root: Path, install: Install) -> None:
    install()

    boot = root / "boot" / "firmware"
    config = (boot / "config.txt").read_bytes()
    assert config.startswith(CONFIG)
    assert config.removeprefix(CONFIG).decode().splitlines()[2:] == [
        "[all]",
        "dtoverlay=earmark-mute",
        "dtoverlay=adau7002-simple,card-name=earmark",
        "# earmark end",
    ]
    assert (boot / "overlays" / "earmark-mute.dtbo").is_file()
    assert (boot / "cmdline.txt").read_text().endswith("rootwait cgroup_enable=memory\n")
    settings = (root / "etc" / "earmark" / "earmark.toml").read_text()
    assert 'device = "earmark_microphone"' in settings
    assert 'input = "/dev/input/earmark-mute"' in settings


@pytest.mark.system
def test_written_configuration_is_valid(root: Path, install: Install) -> None:
    from listener.config import parse_settings  # noqa: PLC0415 - only this test reads them

    plug_in(root)
    install("--no-switch")

    path = root / "etc" / "earmark" / "earmark.toml"
    found = parse_settings(path.read_text(), str(path))
    assert (found.home, found.microphone.device, found.mute.switch) == (
        "/var/lib/earmark",
        "USB PnP Sound Device",
        "none",
    )


@pytest.mark.system
def test_hear_waits_for_the_switch_only_if_fitted(root: Path, install: Install) -> None:
    waiting = root / "etc/systemd/system/earmark-hear.service.d/switch.conf"

    install("--switch")
    there = waiting.exists()
    install("--no-switch")

    assert there
    assert not waiting.exists()


@pytest.mark.system
def test_usb_card_is_configured_by_its_name(root: Path, install: Install) -> None:
    plug_in(root)

    install()

    rule = (root / "etc/udev/rules.d/71-earmark-card.rules").read_text()
    assert 'ATTRS{id}=="Mic"' in rule
    assert 'KERNEL=="pcmC*D0c"' in rule
    assert "@" not in rule
    assert (root / "boot/firmware/config.txt").read_bytes() == CONFIG


@pytest.mark.system
def test_several_cards_require_an_explicit_choice(root: Path, install: Install) -> None:
    plug_in(root, recording=("Mic", "Loopback"))
    before = snapshot(root)

    done = install(expect=2)

    assert done.stderr == (
        "earmark: error: several sound cards found: Mic Loopback\n"
        "earmark: hint: choose one with --card NAME\n"
    )
    assert snapshot(root) == before
    install("--card", "Mic")


@pytest.mark.system
def test_unknown_card_is_refused_with_a_list_of_cards(root: Path, install: Install) -> None:
    plug_in(root)

    done = install("--card", "Other", expect=69)

    assert "earmark: hint: choose one of: Mic\n" in done.stderr


@pytest.mark.system
def test_existing_configuration_is_never_changed(root: Path, install: Install) -> None:
    settings = root / "etc" / "earmark" / "earmark.toml"
    settings.parent.mkdir()
    settings.write_text("# mine\n")

    install()
    install("--uninstall")

    assert settings.read_text() == "# mine\n"


@pytest.mark.system
def test_unedited_package_configuration_is_completed(root: Path, install: Install) -> None:
    install()
    settings = root / "etc" / "earmark" / "earmark.toml"
    shutil.copy(root / "usr" / "lib" / "earmark" / "earmark.toml", settings)

    install()

    assert 'device = "earmark_microphone"' in settings.read_text()


@pytest.mark.system
def test_edited_configuration_survives_uninstall(root: Path, install: Install) -> None:
    install()
    settings = root / "etc" / "earmark" / "earmark.toml"
    settings.write_text(settings.read_text() + "# and mine\n")

    done = install("--uninstall")

    assert "# and mine" in settings.read_text()
    assert "--erase" in done.stdout
    install("--uninstall", "--erase")
    assert not settings.parent.exists()


@pytest.mark.system
def test_next_run_keeps_earlier_options(root: Path, install: Install) -> None:
    install("--gpio", "22")
    before = snapshot(root)

    install()

    assert snapshot(root) == before
    assert b"dtoverlay=earmark-mute,gpio=22\n" in (root / "boot/firmware/config.txt").read_bytes()


@pytest.mark.system
def test_debian_also_gets_the_block_in_its_firmware_defaults(root: Path, install: Install) -> None:
    config = root / "boot" / "firmware" / "config.txt"
    config.write_text("# Do not modify this file!\nupstream_kernel=1\n")
    before = snapshot(root)

    install()

    custom = (root / "etc" / "default" / "raspi-firmware-custom").read_text()
    assert "dtoverlay=earmark-microphone\n" in custom
    assert "dtoverlay=earmark-microphone\n" in config.read_text()
    assert "cgroup" not in (config.parent / "cmdline.txt").read_text()
    install("--uninstall")
    assert snapshot(root) == before


@pytest.mark.system
def test_damaged_markers_stop_the_installer_before_any_change(root: Path, install: Install) -> None:
    with (root / "boot" / "firmware" / "config.txt").open("a") as config:
        config.write("\n# earmark begin\ndtoverlay=earmark-mute\n")
    before = snapshot(root)

    done = install(expect=78)

    assert "earmark markers in" in done.stderr
    assert snapshot(root) == before
    install("--uninstall", expect=78)


@pytest.mark.system
def test_system_without_config_txt_gets_no_overlay(root: Path, install: Install) -> None:
    shutil.rmtree(root / "boot")

    done = install()

    assert "not a Raspberry Pi" in done.stdout
    assert not (root / "boot").exists()


@pytest.mark.system
@pytest.mark.parametrize(
    "words",
    [
        ("--quick",),
        ("--root",),
        ("--microphone", "telephone"),
        ("--gpio", "28"),
        ("--gpio", "20"),
        ("--card", "a/b"),
        ("--erase",),
    ],
)
def test_wrong_command_line_is_an_error_and_changes_nothing(
    root: Path, install: Install, words: tuple[str, ...]
) -> None:
    before = snapshot(root)

    done = install(*words, expect=2)

    assert done.stderr.startswith("earmark: error: ")
    assert snapshot(root) == before


@pytest.mark.system
def test_32_bit_system_is_refused_with_a_hint(install: Install) -> None:
    done = install("--architecture", "armhf", expect=69)

    assert "earmark: hint: use Raspberry Pi OS Lite (64-bit)" in done.stderr


@pytest.mark.system
def test_folder_without_a_package_is_refused_with_a_hint(root: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(SCRIPT, alone)

    done = sh(alone / "install.sh", "--root", root, "--architecture", "arm64")

    assert done.returncode == 69
    assert "make deb" in done.stderr


@pytest.mark.system
def test_installer_needs_only_the_package_beside_it(
    root: Path, package: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(SCRIPT, alone)
    shutil.copy(package, alone)

    sh(alone / "install.sh", "--root", root, "--architecture", "amd64")

    assert b"earmark-mute" in (root / "boot/firmware/config.txt").read_bytes()


@pytest.mark.system
def test_help_lists_every_option() -> None:
    done = sh(SCRIPT, "--help")

    options = set(re.findall(r"--[a-z-]+(?==)|^ +(--[a-z-]+)\)", SCRIPT.read_text(), re.MULTILINE))
    assert len(options) > 3
    assert done.returncode == 0
    assert all(option in done.stdout for option in options)


def block(*words: str) -> int:
    return sh(BLOCK, *words).returncode


# Whatever a person or another program may have left there, line ends of other systems included.
LINES = st.lists(
    st.sampled_from(
        [
            b"dtparam=audio=on\n",
            b"[pi5]\r\n",
            b"# earmarks\n",
            b"#earmark\n",
            b"\n",
            b"a\0b\n",
            b"\xff\xfe\n",
            b"   \n",
            b"x=1",
        ]
    ),
    max_size=6,
).map(b"".join)


@pytest.mark.system
@settings(max_examples=30)
@given(foreign=LINES, first=st.integers(0, 9), second=st.integers(0, 9))
def test_boot_block_keeps_other_text_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, foreign: bytes, first: int, second: int
) -> None:
    file = tmp_path_factory.mktemp("boot") / "config.txt"
    file.write_bytes(foreign)

    assert block(str(file), "[all]", f"gpio={first}") == 0
    once = file.read_bytes()
    assert once.startswith(foreign)
    assert block(str(file), "[all]", f"gpio={first}") == 0
    assert file.read_bytes() == once
    assert block(str(file), "[all]", f"gpio={second}") == 0
    assert file.read_bytes().count(b"gpio=") == 1
    file.write_bytes(file.read_bytes() + b"later=1\n")
    assert block(str(file)) == 0

    # What was written behind the block begins a line of its own still.
    end = b"" if foreign.endswith(b"\n") or not foreign else b"\n"
    assert file.read_bytes() == foreign + end + b"later=1\n"


@pytest.mark.system
@settings(max_examples=30)
@given(foreign=LINES)
def test_removing_the_block_restores_the_file(
    tmp_path_factory: pytest.TempPathFactory, foreign: bytes
) -> None:
    file = tmp_path_factory.mktemp("boot") / "config.txt"
    file.write_bytes(foreign)
    file.chmod(0o640)

    assert block(str(file), "x=1") == 0
    assert block(str(file)) == 0

    assert file.read_bytes() == foreign
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["config.txt"]


@pytest.mark.system
@settings(max_examples=30)
@given(
    marks=st.lists(
        st.sampled_from(
            [
                b"# earmark begin\n",
                b"# earmark end\n",
                b"#earmark begin\n",
                b"# Earmark End\n",
                b"# earmark begin\r\n",
                b"x=1\n",
            ]
        ),
        min_size=1,
        max_size=5,
    )
)
def test_unpaired_markers_are_refused_without_a_change(
    tmp_path_factory: pytest.TempPathFactory, marks: list[bytes]
) -> None:
    file = tmp_path_factory.mktemp("boot") / "config.txt"
    file.write_bytes(b"".join(marks))
    ours = [mark for mark in marks if mark != b"x=1\n"]
    is_whole = ours in ([], [b"# earmark begin\n", b"# earmark end\n"])

    code = block(str(file), "y=2")

    assert code == (0 if is_whole else 78)
    assert is_whole or file.read_bytes() == b"".join(marks)


@pytest.mark.system
def test_file_created_for_the_block_is_removed_with_it(tmp_path: Path) -> None:
    file = tmp_path / "raspi-firmware-custom"

    assert block(str(file), "x=1") == 0
    assert file.is_file()
    assert block(str(file)) == 0

    assert not file.exists()


EDITED = """\
# mine
home = "/var/lib/earmark"

[device]
name = "kitchen"

[microphone]
device = "earmark_microphone"
channel = 1

[mute]   # fitted by ada
switch = "input"
input = "/dev/input/earmark-mute"
"""


@pytest.mark.system
def test_named_option_of_a_second_run_changes_our_configuration(
    root: Path, install: Install
) -> None:
    install()

    install("--microphone", "usb", "--no-switch")

    text = (root / "etc/earmark/earmark.toml").read_text()
    assert 'switch = "none"' in text
    assert "earmark_microphone" not in text
    assert (root / "boot/firmware/config.txt").read_bytes() == CONFIG
    before, ages = snapshot(root), times(root)
    assert "nothing to change" in install().stdout
    assert (snapshot(root), times(root)) == (before, ages)


@pytest.mark.system
def test_named_option_changes_only_its_keys_in_an_edited_configuration(
    root: Path, install: Install
) -> None:
    plug_in(root)
    config = root / "etc" / "earmark" / "earmark.toml"
    config.parent.mkdir()
    config.write_text(EDITED)

    install("--microphone", "usb", "--no-switch")

    wanted = EDITED.replace('"earmark_microphone"', '"USB PnP Sound Device"')
    assert config.read_text() == wanted.replace('switch = "input"', 'switch = "none"')
    assert config.with_name("earmark.toml.before").read_text() == EDITED
    install("--switch")
    assert 'switch = "input"' in config.read_text()


@pytest.mark.system
def test_missing_sections_of_an_edited_configuration_are_added(
    root: Path, install: Install
) -> None:
    from listener.config import parse_settings  # noqa: PLC0415 - only two tests read them

    config = root / "etc" / "earmark" / "earmark.toml"
    config.parent.mkdir()
    config.write_text('[device]\nname = "kitchen"')

    install("--microphone", "i2s")
    install("--switch")

    found = parse_settings(config.read_text(), "edited")
    assert (found.device.name, found.microphone.device) == ("kitchen", "earmark_microphone")
    assert (found.mute.switch, found.mute.input) == ("input", "/dev/input/earmark-mute")


@pytest.mark.system
@pytest.mark.parametrize(
    "text", ['mute.switch = "input"\n', 'mute = { switch = "input" }\n', "[mute\nswitch = 1\n"]
)
def test_configuration_that_cannot_be_changed_is_refused_before_any_change(
    root: Path, install: Install, text: str
) -> None:
    config = root / "etc" / "earmark" / "earmark.toml"
    config.parent.mkdir()
    config.write_text(text)
    before = snapshot(root)

    install("--no-switch", expect=78)

    assert snapshot(root) == before


@pytest.mark.system
@pytest.mark.parametrize(
    "words",
    [
        ("--microphone", "usb", "--no-switch", "--gpio", "22"),
        ("--microphone", "i2s", "--card", "Mic"),
        ("--hub", "--microphone", "usb"),
        ("--hub",),
        ("--host", "home.lan"),
        ("--hub", "--host", "a b"),
        ("--name", "kitchen"),
        ("--uninstall", "--microphone", "usb"),
        ("--hub", "--speaker"),
    ],
)
def test_option_without_effect_is_an_error_and_changes_nothing(
    root: Path, install: Install, words: tuple[str, ...]
) -> None:
    plug_in(root)
    before = snapshot(root)

    done = install(*words, expect=2)

    assert done.stderr.startswith("earmark: error: ")
    assert snapshot(root) == before


@pytest.mark.system
def test_choice_of_an_earlier_run_outlasts_the_card(root: Path, install: Install) -> None:
    install("--microphone", "usb", "--no-switch")
    before = snapshot(root)

    install()

    assert snapshot(root) == before


@pytest.mark.system
def test_switch_of_a_file_for_the_first_boot_counts(root: Path, install: Install) -> None:
    plug_in(root)
    (root / "boot/firmware/earmark.toml").write_text('[mute]\nswitch = "input"\n')

    install()

    assert b"dtoverlay=earmark-mute\n" in (root / "boot/firmware/config.txt").read_bytes()


@pytest.mark.system
def test_offline_folder_with_neither_package_nor_wheels_is_an_error(
    root: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    before = snapshot(root)

    done = sh(SCRIPT, "--root", root, "--offline", empty, "--architecture", "amd64")

    assert done.returncode == 69
    assert "has neither earmark_*_amd64.deb nor wheels" in done.stderr
    assert snapshot(root) == before


@pytest.mark.system
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change a system in a folder")
def test_missing_packages_are_all_named_before_dpkg_runs(root: Path, package: Path) -> None:
    status = root / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.touch()
    before = snapshot(root)

    done = sh(*(SCRIPT, "--root", root, "--offline", package.parent, "--architecture", "amd64"))

    assert done.returncode == 69
    assert "not installed, and not in" in done.stderr
    for name in ("python3", "libportaudio2", "systemd", "udev"):
        assert name in done.stderr
    assert snapshot(root) == before


BUILDER = """\
#!/bin/sh
# python3 -m firmware.deb ARCHITECTURE --into DIR
echo built >>"$LOG"
cp "$PACKAGE" "$5/"
"""


@pytest.mark.system
def test_nothing_is_built_again_from_the_same_sources(
    root: Path, package: Path, tmp_path: Path
) -> None:
    source, programs, log = tmp_path / "source", tmp_path / "bin", tmp_path / "log"
    for name in ("listener", "models", "systemd", "docs", "firmware/deb/lib"):
        (source / name).mkdir(parents=True)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "firmware/deb/__main__.py"):
        (source / name).touch()
    shutil.copy(SCRIPT, source / "firmware")
    shutil.copy(BLOCK, source / "firmware/deb/lib")
    programs.mkdir()
    (programs / "python3").write_text(BUILDER)
    (programs / "python3").chmod(0o755)
    environment = os.environ | {"LOG": str(log), "PACKAGE": str(package)}
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    words = [source / "firmware/install.sh", "--root", root, "--architecture", "amd64"]

    def run() -> str:
        done = subprocess.run(
            ["/bin/sh", *map(str, words)],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run()
    before = times(root)
    assert "nothing to change" in run()
    assert log.read_text() == "built\n"
    assert times(root) == before

    (source / "listener" / "new.py").touch()
    run()
    assert log.read_text() == "built\nbuilt\n"


def capture_card(root: Path, name: str, stream: str) -> None:
    """Make the kernel's folder of one card whose capture device has an id."""
    asound = root / "proc" / "asound"
    (asound / "card0" / "pcm0c").mkdir(parents=True)
    (asound / "card0" / "id").write_text(f"{name}\n")
    (asound / "card0" / "pcm0c" / "info").write_text(
        f"card: 0\ndevice: 0\nsubdevice: 0\nstream: CAPTURE\nid: {stream}\nname: \n"
    )
    (asound / name).symlink_to("card0")
    (asound / "cards").write_text(
        f" 0 [{name:<15}]: simple-card - {name}\n                      {name}\n"
    )


V1 = "bcm2835-i2s-wm8960-hifi wm8960-hifi-0"
V2 = "fe203000.i2s-tlv320aic3x-hifi tlv320aic3x-hifi-0"


@pytest.mark.system
@pytest.mark.parametrize(
    ("name", "stream", "fits"),
    [
        ("seeed2micvoicec", V1, True),
        ("wm8960soundcard", V1, True),
        ("seeed2micvoicec", V2, False),
        ("seeed2micvoicec", "", False),
    ],
)
def test_gains_are_set_only_for_the_codec_of_the_mixer_file(
    tmp_path: Path, name: str, stream: str, *, fits: bool
) -> None:
    capture_card(tmp_path, name, stream)
    mixer = tmp_path / "usr" / "share" / "earmark" / "alsa" / "respeaker-2mic.mixer"
    mixer.parent.mkdir(parents=True)
    shutil.copy(ROOT / "firmware" / "alsa" / mixer.name, mixer)
    (body,) = re.findall(
        r"^set_gains\(\) \{$.*?^\}$", SCRIPT.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    stubs = (
        'note() { echo "note $*"; }\n'
        'amixer() { echo "amixer $*"; cat; }\n'
        f"how=here microphone=respeaker root={tmp_path} cards={tmp_path}/proc/asound card={name}\n"
    )

    done = sh("-c", f"set -eu\n{stubs}{body}\nset_gains")

    assert done.returncode == 0, done.stderr
    if fits:
        assert done.stdout == f"amixer -q -c {name} -s\n" + mixer.read_text("utf-8")
    else:
        assert done.stdout.startswith(f"note card {name} has no WM8960")


@pytest.mark.system
def test_second_version_of_the_hat_is_installed_without_the_mixer_file(
    root: Path, install: Install
) -> None:
    capture_card(root, "seeed2micvoicec", V2)

    done = install()

    assert "seeed2micvoicec has no WM8960" in done.stdout
    config = (root / "etc" / "earmark" / "earmark.toml").read_text("utf-8")
    assert 'device = "seeed2micvoicec"' in config
    assert 'switch = "none"' in config
