"""The sample for cloud-init: it follows the schema, and leaves the configuration to one writer."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml

from listener.cli import main
from listener.config import Config
from listener.firstboot import plan
from listener.firstboot.partition import NAME

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "firmware" / "cloud-init" / "user-data"


@pytest.fixture
def told() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(SAMPLE.read_text("utf-8"))
    return found


def test_first_line_is_the_cloud_config_header() -> None:
    assert SAMPLE.read_text("utf-8").startswith("#cloud-config\n")


@pytest.mark.system
def test_user_data_follows_the_cloud_init_schema(tmp_path: Path) -> None:
    command = shutil.which("cloud-init")
    if command is None:
        pytest.skip("apt-get install cloud-init: its schema is then asked as well")
    copy = shutil.copy(SAMPLE, tmp_path)

    done = subprocess.run(
        [command, "schema", "--config-file", str(copy)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Valid" in done.stdout


def test_user_data_has_no_configuration_of_its_own(told: dict[str, Any]) -> None:
    text = SAMPLE.read_text("utf-8")

    assert "write_files" not in told
    assert not [section for section in Config.__struct_fields__ if f"[{section}]" in text]
    assert "[household]" not in text


@pytest.mark.system
def test_command_in_user_data_writes_what_first_boot_accepts(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(SAMPLE.read_text("utf-8").replace("\n#", "\n").split())
    (words,) = re.findall(r"earmark (household add-device .*?) or by hand", text)
    card = tmp_path / "bootfs"
    card.mkdir()
    shutil.copy(SAMPLE, card)
    key = str(pyrage.x25519.Identity.generate().to_public())
    command = [word if word != "DIR" else str(card) for word in words.split()]
    assert main.main(["household", "--home", str(home), "init", "--host", "home.lan"]) == 0

    code = main.main(
        [command[0], "--home", str(home), *command[1:], "--no-wait", "--keeper-key", key]
    )

    assert code == 0, capsys.readouterr().err
    found = plan.parse(plan.parse_tables((card / NAME).read_text("utf-8"), NAME), NAME)
    assert (found.owner.name, found.owner.key) == ("ada", key)
    assert found.line is not None
    assert found.line.cn == "d-kitchen"


def test_user_data_runs_the_installer_and_reboots(told: dict[str, Any]) -> None:
    (install,) = told["runcmd"]

    assert install[:2] == ["sh", "/boot/firmware/earmark/install.sh"]
    assert install[2] in (ROOT / "firmware" / "install.sh").read_text("utf-8")
    assert (ROOT / "firmware" / "install.sh").is_file()
    assert told["power_state"]["mode"] == "reboot"


def test_user_data_has_no_password_and_no_login(told: dict[str, Any]) -> None:
    assert told["ssh_pwauth"] is False
    assert not told.keys() & {"users", "password", "chpasswd", "ssh_authorized_keys"}
