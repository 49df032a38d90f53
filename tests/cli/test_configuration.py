"""``earmark config``: every value, and where it comes from."""

import json
from pathlib import Path

import msgspec
import pytest

from listener.cli import main
from listener.config import Config, Settings


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, tuple[object, str]]:
    assert main.main(["config", *words, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {row["key"]: (row["value"], row["origin"]) for row in found}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "earmark.toml"
    path.write_text('[wake]\nwords = ["hey-jarvis"]\n[broker]\npassword_file = "/etc/secret"\n')
    return path


def test_every_key_is_shown_with_its_origin(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, "--config", str(file))

    known = {"home"} | {
        f"{section.name}.{field.name}"
        for section in msgspec.structs.fields(Config)
        if isinstance(section.type, type) and issubclass(section.type, Settings)
        for field in msgspec.structs.fields(section.type)
    }
    assert found.keys() == known
    assert found["wake.words"] == (["hey-jarvis"], str(file))
    assert found["broker.password_file"] == ("/etc/secret", str(file))
    assert found["clip.ring_s"] == (2.0, "default")


def test_home_names_the_option_the_file_or_the_variable(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EARMARK_HOME", raising=False)
    common = ("home", "--config", str(file))
    assert rows(capsys, *common)["home"][1] == "default"
    monkeypatch.setenv("EARMARK_HOME", "/srv/one")
    assert rows(capsys, *common)["home"] == ("/srv/one", "$EARMARK_HOME")
    assert rows(capsys, *common, "--home", "/srv/two")["home"] == ("/srv/two", "--home")
    file.write_text('home = "/srv/three"\n')
    assert rows(capsys, *common)["home"] == ("/srv/three", str(file))


def test_text_is_toml_with_origins(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["config", "--config", str(file), "--changed", "wake", "broker"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        f'wake.words = ["hey-jarvis"]           {file}',
        f'broker.password_file = "/etc/secret"  {file}',
    ]


def test_no_changed_value_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text("")

    assert main.main(["config", "--config", str(empty), "--changed", "wake"]) == 0
    assert capsys.readouterr().out == "every value is the default\n"
    assert main.main(["config", "--config", str(empty)]) == 0
    assert "microphone.files = []" in capsys.readouterr().out


def test_unknown_key_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["config", "--config", str(file), "wake.wrods"]) == 2
    assert "no key or section wake.wrods" in capsys.readouterr().err


@pytest.mark.parametrize("is_speaker", [False, True])
def test_hub_shows_its_own_file_where_it_is_the_only_one(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_speaker: bool,
) -> None:
    speaker, hub = tmp_path / "earmark.toml", tmp_path / "archive.toml"
    monkeypatch.setattr(main, "SYSTEM_CONFIG", str(speaker))
    monkeypatch.setattr(main, "HUB_CONFIG", str(hub))
    hub.write_text("[archive]\nport = 8443\n")
    if is_speaker:
        speaker.write_text("[archive]\nport = 9443\n")

    shown = rows(capsys, "archive.port")["archive.port"]

    assert shown == ((9443, str(speaker)) if is_speaker else (8443, str(hub)))
    assert rows(capsys, "archive.port", "--config", str(hub))["archive.port"] == (8443, str(hub))
