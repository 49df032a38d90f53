"""What docs/reference/envelope.md says can be done without our code, done as it stands there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.open import Identity

PAGE: Final = (
    Path(__file__).resolve().parents[2] / "docs" / "reference" / "envelope.md"
).read_text("utf-8")
COMMANDS: Final = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TOOLS: Final = ("age", "age-keygen", "openssl", "metaflac", "flac")

VECTORS: Final = Path(__file__).resolve().parents[1] / "vectors"
ONE_READING: Final = ["fLaC", "0 (STREAMINFO)", "4 (VORBIS_COMMENT)", "1"]
UNDETECTED: Final = {"flac-bytes-behind-tags", "flac-samples-fewer", "flac-padding-of-bytes"}
"""Forms that the page says only Earmark detects."""

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in TOOLS), reason="needs age, openssl and flac"
    ),
]


def shell(folder: Path, *blocks: str) -> subprocess.CompletedProcess[str]:
    script = "set -eu -o pipefail\n" + "".join(blocks)
    return subprocess.run(
        ["/bin/bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder(tmp_path: Path, sealed: bytes, ada: Identity, kitchen: Ed25519PrivateKey) -> Path:
    (tmp_path / "clip.earmark").write_bytes(sealed)
    (tmp_path / "ada.key").write_text(f"# created: today\n{ada.secret}\n")
    (tmp_path / "kitchen.txt").write_text(f"kitchen {keys.device_text(kitchen.public_key())}\n")
    return tmp_path


def test_reference_page_has_eight_commands() -> None:
    assert len(COMMANDS) == 8


def test_stock_tools_decrypt_and_verify_a_clip(
    folder: Path,
    header: form.PublicHeader,
    private: form.PrivateFields,
    ada: Identity,
    kitchen: Ed25519PrivateKey,
) -> None:
    done = shell(folder, *COMMANDS)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"COMMENT={form.build_comment(header, private).decode()}",
        "Signature Verified Successfully",
        "-: OK",
        "1",
        *ONE_READING,
        ada.okey,
        keys.device_id(kitchen.public_key()),
    ]


def test_stock_tools_detect_a_changed_header(folder: Path, sealed: bytes) -> None:
    changed = sealed.replace(b'"owner":"ada"', b'"owner":"bob"', 1)
    (folder / "clip.earmark").write_bytes(changed)

    signature = shell(folder, COMMANDS[0], COMMANDS[2])
    label = shell(folder, COMMANDS[1], COMMANDS[5])

    assert signature.returncode != 0
    assert "Signature Verification Failure" in signature.stdout
    assert '"owner":"bob"' in label.stdout


@pytest.mark.parametrize(
    "vector", sorted(path.stem for path in (VECTORS / "envelopes").glob("flac-*.earmark"))
)
def test_stock_tools_detect_a_clip_with_two_readings(tmp_path: Path, vector: str) -> None:
    (tmp_path / "clip.earmark").write_bytes(
        (VECTORS / "envelopes" / f"{vector}.earmark").read_bytes()
    )
    (tmp_path / "ada.key").write_bytes((VECTORS / "ada.key").read_bytes())
    decrypt, test, _ = COMMANDS[1].splitlines(keepends=True)
    with_padding = [*ONE_READING[:2], "1 (PADDING)", *ONE_READING[2:]]

    shell(tmp_path, decrypt)
    tested = shell(tmp_path, test)
    label = shell(tmp_path, COMMANDS[5])
    reading = shell(tmp_path, COMMANDS[6]).stdout.splitlines()

    is_detected = (
        tested.returncode != 0
        or label.returncode != 0
        or label.stdout != ""
        or sorted(reading) not in (sorted(ONE_READING), sorted(with_padding))
    )
    assert is_detected == (vector not in UNDETECTED)


def test_stock_tools_detect_a_changed_ciphertext(folder: Path, sealed: bytes) -> None:
    (folder / "clip.earmark").write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))

    assert shell(folder, COMMANDS[3]).returncode != 0
    assert shell(folder, COMMANDS[1]).returncode != 0


def test_age_with_another_key_decrypts_nothing(folder: Path, bob: Identity) -> None:
    (folder / "ada.key").write_text(f"{bob.secret}\n")

    done = shell(folder, COMMANDS[1])

    assert done.returncode != 0
    assert done.stdout == ""
    assert (folder / "clip.flac").read_bytes() == b""


def test_age_tool_decrypts_a_challenge(folder: Path, ada: Identity) -> None:
    (folder / "earmark").write_text(f'#!/bin/sh\nexec {sys.executable} -m listener "$@"\n')
    (folder / "earmark").chmod(0o700)

    done = shell(
        folder,
        "export PATH=$PWD:$PATH EARMARK_HOME=$PWD/home\n",
        f"earmark owner add ada --key {ada.recipient}\n",
        "earmark owner confirm ada $(earmark owner challenge ada | age -d -i ada.key)\n",
        "earmark owner list\n",
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"ada  {ada.okey}  active"
