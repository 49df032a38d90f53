"""Access of an owner from another computer: over TLS, and with stock tools."""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from listener.archive.store import FileStore
from listener.audio.clip import encode_clip
from listener.envelope import format as form
from tests.ports import find_free_port

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]


@pytest.fixture
def kept(household: "Household", home: Path) -> list[str]:
    """Ids of ada's clips, which lie in the archive before it starts."""
    store = FileStore(home / "archive")
    made = []
    for seq in range(1, 4):
        header = household.header(seq, ttl_s=86_400)
        sound = np.zeros(4000, np.int16)
        data = household.seal(header, partial(encode_clip, sound))
        assert store.keep(form.parse_envelope(data), data, 1_795_348_800)
        made.append(header.clip)
    store.close()
    return made


@pytest.fixture
def key(household: "Household", tmp_path: Path) -> Path:
    path = tmp_path / "ada.key"
    path.write_text(household.identities["ada"] + "\n", "utf-8")
    return path


@pytest.fixture
def https(earmark: "Earmark", home: Path, tmp_path: Path, wait_until: Wait) -> tuple[str, Path]:
    """The archive's address, and the authority."""
    port = find_free_port()
    made = earmark.run("household", "init", "--host", "localhost")
    assert made.returncode == 0, made.stderr
    issued = home / "household" / "issued"
    with (tmp_path / "earmark.toml").open("a") as file:
        file.write(
            f'archive.port = {port}\narchive.certificate_file = "{issued}/s-api.crt"\n'
            f'archive.key_file = "{issued}/s-api.key"\n'
        )
    earmark.start("archive")
    wait_until((home / "archive.sock").exists, "the archive is up")
    return f"https://localhost:{port}", home / "household" / "ca.crt"


def test_owner_exports_and_erases_clips_over_tls(
    earmark: "Earmark", kept: list[str], key: Path, https: tuple[str, Path], tmp_path: Path
) -> None:
    address, ca = https
    away = tmp_path / "away"

    def clips(action: str, *words: str) -> list[dict[str, object]]:
        who = ("--owner", "ada", "--identity", str(key), "--archive", address, "--ca", str(ca))
        done = earmark.run("clips", action, *words, *who, "--json", "--home", str(away))
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    assert [row["word"] for row in clips("list", "--open")] == ["alexa"] * 3
    (taken,) = clips("export", "--to", str(tmp_path / "ada.zip"), "--open", str(tmp_path / "in"))
    (erased,) = clips("erase", "--all", "--yes")

    assert (taken["count"], taken["opened"]) == (3, 3)
    assert sorted(file.stem for file in (tmp_path / "in").glob("*.flac")) == sorted(kept)
    assert erased["count"] == 3
    assert clips("list") == []
    clips("log", "--verify", "--receipt", str(erased["receipt"]))
    checked = earmark.run("clips", "verify", str(tmp_path / "ada.zip"), "--home", str(away))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.usefixtures("key")
def test_stock_curl_and_age_list_and_export(
    kept: list[str], https: tuple[str, Path], tmp_path: Path
) -> None:
    address, ca = https
    script = f"""
        set -eu
        rights() {{
            curl -sS --fail --tlsv1.3 --cacert {ca} {address}/v1/tickets \\
                -H 'content-type: application/json' -d "$1" > ticket.json
            jq -r .challenge ticket.json | age -d -i ada.key |
                curl -sS --fail --tlsv1.3 --cacert {ca} \\
                    {address}/v1/tickets/$(jq -r .ticket ticket.json) \\
                    -H 'content-type: text/plain' --data-binary @- -o "$2"
        }}
        rights '{{"owner":"ada","request":{{"op":"list"}}}}' list.json
        jq -r '.clips[].clip' list.json > ids
        rights '{{"owner":"ada","request":{{"op":"export"}}}}' ada.zip
        python3 -m zipfile -e ada.zip out
        for f in out/clips/*.earmark; do
            tail -n +5 "$f" | age -d -i ada.key > "${{f%.earmark}}.flac"
        done
        flac -s -t out/clips/*.flac
    """

    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "ids").read_text().split()) == sorted(kept)
    found = sorted(file.stem for file in (tmp_path / "out" / "clips").glob("*.flac"))
    assert found == sorted(kept)
