"""What the reference says can be done without our code, done as it stands there."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from listener.envelope import keys
from tests.voice.conftest import World

REFERENCE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference"
TOOLS: Final = ("age", "age-keygen", "openssl", "metaflac", "flac", "jq")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in TOOLS), reason="needs age, openssl, flac and jq"
    ),
]


def commands(page: str) -> list[str]:
    text = (REFERENCE / page).read_text("utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shell(folder: Path, *blocks: str) -> subprocess.CompletedProcess[str]:
    script = "set -eu -o pipefail\n" + "".join(blocks)
    return subprocess.run(
        ["/bin/bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )


def test_stock_tools_verify_an_ask(world: World, tmp_path: Path) -> None:
    (lines,) = commands("voice-protocol.md")
    key = f"device_key={keys.device_text(world.hall.public_key())}\n"
    message = world.signed()["ask"]

    (tmp_path / "message").write_bytes(message)
    done = shell(tmp_path, key, lines)
    assert (done.returncode, done.stdout) == (0, "Signature Verified Successfully\n"), done.stderr

    (tmp_path / "message").write_bytes(message.replace(b'"since_ms":12', b'"since_ms":13'))
    assert shell(tmp_path, key, lines).returncode != 0


def test_lines_for_a_clip_check_and_open_a_command_copy(world: World, tmp_path: Path) -> None:
    (tmp_path / "clip.earmark").write_bytes(world.copy())
    (tmp_path / "ada.key").write_text(f"# the command key\n{world.command_key}\n")
    key = keys.device_text(world.hall.public_key())
    (tmp_path / "kitchen.txt").write_text(f"hall {key}\n")

    done = shell(tmp_path, *commands("envelope.md"))

    assert done.returncode == 0, done.stderr
    comment, verified, is_signed_one, recipients, *rest = done.stdout.splitlines()
    assert comment.startswith('COMMENT={"age_ms":1234,"ask":')
    assert (verified, is_signed_one, recipients) == (
        "Signature Verified Successfully",
        "-: OK",
        "1",
    )
    assert rest == [
        *("fLaC", "0 (STREAMINFO)", "4 (VORBIS_COMMENT)", "1 (PADDING)", "1"),
        *(keys.owner_id(world.command_recipient), world.hall_id),
    ]
