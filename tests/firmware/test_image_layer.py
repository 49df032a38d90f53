"""The source folder of rpi-image-gen; the tests read it and cannot build it."""

import re
from pathlib import Path

import pytest
import yaml

from firmware.wheels import ROOT

FOLDER = ROOT / "firmware" / "image" / "rpi-image-gen"
CONFIG = FOLDER / "config" / "earmark.yaml"
LAYER = FOLDER / "layer" / "earmark.yaml"
HEADER = re.compile(r"^# (X-Env-Layer-[A-Za-z]+): (.+)$", re.MULTILINE)


def header() -> dict[str, str]:
    text = LAYER.read_text("utf-8")
    begin, end = text.index("# METABEGIN"), text.index("# METAEND")
    return dict(HEADER.findall(text[begin:end]))


def test_configuration_names_an_existing_layer() -> None:
    config = yaml.safe_load(CONFIG.read_text("utf-8"))

    assert config["layer"] == {"app": header()["X-Env-Layer-Name"]}
    assert config["include"] == {"file": "trixie-minbase.yaml"}
    assert set(config) == {"include", "device", "image", "layer"}


def test_layer_runs_the_installer_with_valid_options() -> None:
    layer = yaml.safe_load(LAYER.read_text("utf-8"))
    (hook,) = layer["mmdebstrap"]["customize-hooks"]
    script = (FOLDER / "install.sh").read_text("utf-8")

    assert hook.startswith('sh install.sh --root "$1" --offline pkgs ')
    for option in re.findall(r"--[a-z]+", hook):
        assert f"  {option}" in script
    assert (FOLDER / "install.sh").resolve() == ROOT / "firmware" / "install.sh"
    assert (FOLDER / "pkgs").is_dir()


def test_layer_installs_the_package_dependencies() -> None:
    layer = yaml.safe_load(LAYER.read_text("utf-8"))
    control = (ROOT / "firmware" / "deb" / "control.in").read_text("utf-8")

    needed = re.search(r"^Depends: (.+)$", control, re.MULTILINE)
    assert needed is not None
    names = {one.split()[0] for one in needed[1].split(",")}
    assert names <= set(layer["mmdebstrap"]["packages"])


def test_layer_has_the_version_of_the_program() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")

    assert f'version = "{header()["X-Env-Layer-Version"]}"' in pyproject


@pytest.mark.parametrize("file", [CONFIG, LAYER], ids=lambda file: file.parent.name)
def test_layer_presets_no_secret(file: Path) -> None:
    text = file.read_text("utf-8").lower()

    assert not re.search(r"pass(word|wd)?\s*:|psk|ssid|authorized|user1", text)


def test_readme_states_that_the_image_was_never_flashed() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")

    assert "never flashed" in text
    assert "built elsewhere" in text
