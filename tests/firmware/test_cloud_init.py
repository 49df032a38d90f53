"""The sample for cloud-init: it follows the schema, and first-boot accepts the file it writes."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope.keys import device_text
from listener.firstboot import plan
from listener.household.invitation import Invitation

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "firmware" / "cloud-init" / "user-data"
ARCHIVE = device_text(Ed25519PrivateKey.generate().public_key())
INVITED = Invitation(
    cn="d-hall", host="home.lan", port=8884, fingerprint="0" * 64, token="s" * 22, archive=ARCHIVE
)


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


def test_first_boot_accepts_the_file_in_user_data(told: dict[str, Any]) -> None:
    (file,) = told["write_files"]
    key = str(pyrage.x25519.Identity.generate().to_public())
    text = file["content"].replace("age1...", key).replace("earmark-join-1:...", INVITED.line())

    found = plan.parse(plan.parse_tables(text, "earmark.toml"), "earmark.toml")

    assert file["path"] == "/boot/firmware/earmark.toml"
    assert (found.owner.name, found.owner.key, found.line) == ("ada", key, INVITED)


def test_user_data_runs_the_installer_and_reboots(told: dict[str, Any]) -> None:
    (install,) = told["runcmd"]

    assert install[:2] == ["sh", "/boot/firmware/earmark/install.sh"]
    assert install[2] in (ROOT / "firmware" / "install.sh").read_text("utf-8")
    assert (ROOT / "firmware" / "install.sh").is_file()
    assert told["power_state"]["mode"] == "reboot"


def test_user_data_has_no_password_and_no_login(told: dict[str, Any]) -> None:
    assert told["ssh_pwauth"] is False
    assert not told.keys() & {"users", "password", "chpasswd", "ssh_authorized_keys"}
