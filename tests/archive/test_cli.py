"""``earmark archive list`` and ``open``, in this process."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from listener.archive.store import FileStore
from listener.cli import main
from listener.envelope import format as form

if TYPE_CHECKING:
    from tests.conftest import Household


def flac(comment: str) -> bytes:
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", 16_000, 1, "PCM_16", format="FLAC") as file:
        file.comment = comment
        file.write(np.zeros(4_000, np.int16))
    return out.getvalue()


@pytest.fixture
def clips(household: "Household") -> dict[str, form.PublicHeader]:
    """One archived clip of each owner."""
    store = FileStore(household.home.path / "archive")
    made = {}
    for seq, owner in enumerate(("ada", "bob"), 1):
        header = household.header(seq, owner, t=f"2026-11-22T08:00:0{seq}.000Z")
        data = household.seal(header, flac)
        store.keep(form.parse_envelope(data), data, 1_795_334_400)
        made[owner] = header
    store.close()
    return made


@pytest.fixture
def identity(household: "Household", tmp_path: Path) -> Path:
    path = tmp_path / "ada.key"
    path.write_text(household.identities["ada"] + "\n", "utf-8")
    return path


def archive(home: Path, *words: str) -> int:
    return main.main(["archive", *words, "--home", str(home)])


def test_list_prints_stored_clips(
    home: Path, clips: dict[str, form.PublicHeader], capsys: pytest.CaptureFixture[str]
) -> None:
    assert archive(home, "list") == 0

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"2026-11-22T08:00:01.000Z  {clips['ada'].clip}  ada  hall  ")
    assert clips["bob"].clip in second


def test_list_as_json_and_by_owner(
    home: Path, clips: dict[str, form.PublicHeader], capsys: pytest.CaptureFixture[str]
) -> None:
    assert archive(home, "list", "--json", "--owner", "bob") == 0

    told = json.loads(capsys.readouterr().out)
    assert told["clip"] == clips["bob"].clip
    assert told["ttl_s"] == 86_400


def test_list_counts_quarantined_files(
    home: Path, clips: dict[str, form.PublicHeader], capsys: pytest.CaptureFixture[str]
) -> None:
    del clips
    for owner, number in (("ada", 2), ("bob", 1)):
        folder = home / "archive" / "quarantine" / owner
        folder.mkdir(parents=True)
        for each in range(number):
            (folder / f"{each}.earmark").write_bytes(b"junk")

    assert archive(home, "list") == 0
    assert "3 more do not verify" in capsys.readouterr().err
    assert archive(home, "list", "--owner", "ada", "--json") == 0
    assert "2 more do not verify" in capsys.readouterr().err


def test_list_without_an_archive_is_empty(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert archive(home, "list") == 0

    assert capsys.readouterr().out == "no clips\n"
    assert not (home / "archive").exists()


def test_owner_opens_a_clip_by_id_and_again(
    home: Path,
    clips: dict[str, form.PublicHeader],
    identity: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip = clips["ada"].clip
    out = tmp_path / "out"
    for _ in range(2):
        assert archive(home, "open", clip, "--identity", str(identity), "--to", str(out)) == 0

    (path,) = out.iterdir()
    assert path.name == f"{clip}.flac"
    assert path.stat().st_mode & 0o777 == 0o600
    assert soundfile.info(path).frames == 4_000
    said = capsys.readouterr().out.splitlines()[0]
    assert said == f"{path}: 0.2 s, ada, alexa at 0.93, hall, 2026-11-22T08:00:01.000Z"


def test_open_takes_a_file_and_prints_json(
    home: Path,
    clips: dict[str, form.PublicHeader],
    identity: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = home / "archive" / "clips" / "ada" / f"{clips['ada'].clip}.earmark"
    alone = source.rename(tmp_path / "mine.earmark")
    out = ("--to", str(tmp_path / "out"), "--json")

    assert archive(home, "open", "--identity", str(identity), *out, str(alone)) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(tmp_path / "out" / f"{clips['ada'].clip}.flac")
    assert (told["word"], told["owner"], told["ms"]) == ("alexa", "ada", 250)


def test_clip_of_another_owner_is_not_opened(
    home: Path,
    clips: dict[str, form.PublicHeader],
    identity: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"

    words = ("--identity", str(identity), "--to", str(out))
    assert archive(home, "open", clips["bob"].clip, *words) == 1

    assert "this clip is sealed to another key" in capsys.readouterr().err
    assert not out.exists()


def test_open_tries_each_of_several_clips(
    home: Path,
    clips: dict[str, form.PublicHeader],
    identity: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = (clips["bob"].clip, clips["ada"].clip)
    words = ("--identity", str(identity), "--to", str(tmp_path))

    assert archive(home, "open", *names, *words) == 1

    said = capsys.readouterr()
    assert clips["ada"].clip in said.out
    assert f"earmark: error: {clips['bob'].clip}: this clip is sealed" in said.err


def test_a_relabelled_copy_is_refused(
    home: Path,
    clips: dict[str, form.PublicHeader],
    identity: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = home / "archive" / "clips" / "bob" / f"{clips['bob'].clip}.earmark"
    copy = tmp_path / "copy.earmark"
    copy.write_bytes(source.read_bytes().replace(b'"owner":"bob"', b'"owner":"ada"'))

    assert archive(home, "open", str(copy), "--identity", str(identity)) == 1

    assert "signature is not valid" in capsys.readouterr().err


def test_existing_file_is_not_overwritten(
    home: Path,
    clips: dict[str, form.PublicHeader],
    identity: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / f"{clips['ada'].clip}.flac"
    words = ("open", clips["ada"].clip, "--identity", str(identity), "--to", str(tmp_path))
    target.write_text("mine", "utf-8")
    assert archive(home, *words) == 1
    assert target.read_text("utf-8") == "mine"

    target.unlink()
    target.symlink_to(tmp_path / "elsewhere")
    assert archive(home, *words) == 1
    assert not (tmp_path / "elsewhere").exists()

    assert capsys.readouterr().err.count("exists with other content") == 2


@pytest.mark.parametrize(
    "case",
    [
        (("open", "nothing", "--identity", "{key}"), 2, "neither a clip in the archive nor a file"),
        (("open", "nothing", "--identity", "/nowhere"), 78, "cannot read the identity"),
        (("open", "{clip}", "--identity", "{key}", "--to", "{key}"), 69, "cannot write"),
        (("open", "{pipe}", "--identity", "{key}"), 2, "neither a clip in the archive nor a file"),
    ],
)
def test_open_errors_are_reported(
    home: Path,
    clips: dict[str, form.PublicHeader],
    identity: Path,
    capsys: pytest.CaptureFixture[str],
    case: tuple[tuple[str, ...], int, str],
) -> None:
    words, code, said = case
    named = {"key": str(identity), "clip": clips["ada"].clip, "pipe": "/dev/null"}

    assert archive(home, *(word.format(**named) for word in words)) == code

    assert said in capsys.readouterr().err


def test_an_envelope_behind_a_link_is_not_read(
    home: Path, identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(identity)

    assert archive(home, "open", str(tmp_path / "link"), "--identity", str(identity)) == 69

    assert "cannot read" in capsys.readouterr().err


def test_serve_never_loads_decryption() -> None:
    code = (
        "import sys, listener.cli.archive;"
        "print([name for name in ('listener.envelope.open', 'soundfile') if name in sys.modules])"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout == "[]\n"


def test_open_on_a_computer_without_a_roster_names_what_to_do(
    household: "Household",
    clips: dict[str, form.PublicHeader],
    identity: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = household.home.path / "archive" / "clips" / "ada" / f"{clips['ada'].clip}.earmark"

    code = archive(tmp_path / "laptop", "open", str(path), "--identity", str(identity))

    errors = capsys.readouterr().err
    assert code == 1
    assert "this computer does not know the key of the speaker hall" in errors
    assert "pass --archive https://HOST:PORT" in errors


def test_missing_identity_is_not_replaced_by_a_new_key(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = archive(home, "open", "x", "--identity", str(tmp_path / "lost.key"))

    errors = capsys.readouterr().err
    assert code == 78
    assert "age-keygen" not in errors
    assert "only this key opens the owner's clips" in errors


def fleet_configuration(home: Path) -> str:
    path = home / "fleet.toml"
    path.write_text(
        '[archive]\ndatabase = "postgresql://127.0.0.1:1/none"\nobjects = "s3://none"\n', "utf-8"
    )
    return str(path)


@pytest.mark.parametrize("action", ["serve", "list"])
def test_fleet_without_its_packages_names_the_extra(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("listener.archive.fleet")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)

    assert archive(home, action, "--config", fleet_configuration(home)) == 2
    assert "pip install 'earmark[fleet]'" in capsys.readouterr().err


def test_fleet_without_its_servers_is_unavailable(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert archive(home, "list", "--config", fleet_configuration(home)) == 69
    assert "cannot use the database" in capsys.readouterr().err


def test_clock_of_a_fleet_is_in_its_logs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert archive(home, "clock", "--config", fleet_configuration(home)) == 2
    assert "journalctl" in capsys.readouterr().err


def test_archive_on_files_loads_no_package_of_a_fleet() -> None:
    code = (
        "import sys, listener.cli.archive, listener.cli.archive_storage;"
        "print({'psycopg', 'obstore'} & set(sys.modules))"
    )
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, check=True)
    assert done.stdout == b"set()\n"
