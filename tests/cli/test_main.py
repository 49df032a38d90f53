import contextlib
import errno
import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from listener import __version__
from listener.cli import main
from listener.errors import Unavailable
from listener.system.log_limit import MOST_PER_KIND

COMMANDS = tuple(main.COMMANDS)


def earmark(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "listener", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main.main([command, "--help"])

    out = capsys.readouterr().out
    assert code == 0
    assert f"usage: earmark {command}" in out
    assert "--home" in out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code = main.main(["--help"])

    out = capsys.readouterr().out
    assert code == 0
    assert all(f"\n  {command} " in out for command in main.COMMANDS)


def test_every_command_is_in_one_group() -> None:
    grouped = [command for group in main.GROUPS.values() for command in group]

    assert sorted(grouped) == sorted(main.COMMANDS)
    assert grouped == list(main.COMMANDS)


def test_help_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["--help"])

    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    code = main.main(["--version"])

    assert code == 0
    assert capsys.readouterr().out == f"earmark {__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "earmark --help"),
        (["demmo"], "did you mean demo?"),
        (["listen"], "did you mean hear?"),
        (["record"], "did you mean hear?"),
        (["start"], "did you mean run?"),
        (["status"], "did you mean doctor?"),
        (["export"], "did you mean clips?"),
        (["xyzzy"], "the commands are demo, run, hear"),
        (["--frobnicate"], "earmark --help"),
        (["owner"], "earmark owner --help"),
        (["owner", "add"], "earmark owner add --help"),
        (["models", "list", "--frobnicate"], "earmark models --help"),
    ],
)
def test_wrong_command_line_is_a_usage_error_with_a_hint(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main.main(words)

    captured = capsys.readouterr()
    error, second = captured.err.splitlines()
    assert code == 2
    assert not captured.out
    assert error.startswith("earmark: error: ")
    assert second.startswith("earmark: hint: ")
    assert hint in second


def test_unknown_key_is_a_configuration_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "earmark.toml"
    file.write_text("[clip]\nrefractory_s = 2.0\n")

    code = main.main(["owner", "list", "--config", str(file)])

    assert code == 78
    assert "earmark: hint: did you mean wake.refractory_s?" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"home = "])
def test_unreadable_configuration_is_a_configuration_error(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "earmark.toml"
    if content is not None:
        file.write_bytes(content)

    code = main.main(["owner", "list", "--config", str(file)])

    assert code == 78
    assert str(file) in capsys.readouterr().err


def test_configuration_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "earmark.toml"
    file.write_bytes(f'home = "{tmp_path / "home"}"\n'.encode("utf-8-sig"))

    assert main.main(["owner", "list", "--config", str(file)]) == 0


def test_configuration_in_utf_16_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "earmark.toml"
    file.write_bytes("[clip]\r\n".encode("utf-16"))

    assert main.main(["owner", "list", "--config", str(file)]) == 78
    assert f"{file}: it is UTF-16 text; save it as UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["option", "setting", "environment", "data folder"])
def test_home_is_resolved_in_order_of_precedence(
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = tmp_path / "earmark"
    file = tmp_path / "settings.toml"
    file.write_text(f'home = "{there}"\n' if way == "setting" else "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path if way == "data folder" else "/nowhere"))
    monkeypatch.setenv("EARMARK_HOME", str(there) if way == "environment" else "")
    words = ["household", "this-device", "--config", str(file)]
    if way == "option":
        words += ["--home", str(there)]

    code = main.main(words)

    capsys.readouterr()
    assert code == 0
    assert (there / "device.key").is_file()


def test_tilde_in_home_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('home = "~/mine"\n')
    monkeypatch.setenv("HOME", str(tmp_path))

    code = main.main(["household", "this-device", "--config", str(file)])

    capsys.readouterr()
    assert code == 0
    assert (tmp_path / "mine" / "device.key").is_file()


def test_unusable_home_is_unavailable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")

    code = main.main(["household", "this-device", "--home", str(tmp_path / "file" / "home")])

    captured = capsys.readouterr().err
    assert code == 69
    assert captured.startswith("earmark: error: ")


def test_missing_package_is_named(tmp_path: Path) -> None:
    # A stand-in that fails as an absent one does; PYTHONPATH comes before site-packages.
    (tmp_path / "pyrage.py").write_text("raise ModuleNotFoundError('no pyrage', name='pyrage')\n")

    done = earmark("owner", "list", "--home", str(tmp_path / "home"), PYTHONPATH=str(tmp_path))

    assert done.returncode == 78
    assert "owner needs the package pyrage" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [("assist", "assist"), ("wyoming", "wyoming"), ("hear", "device,household,demo")],
)
def test_hint_has_the_extra_of_the_command(
    command: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "command_without_a_package.py").write_text("import absent_package\n")

    main.main([command], {command: ("command_without_a_package", "do it")})

    assert f"pip install 'earmark[{extra}]'" in capsys.readouterr().err


def test_only_the_chosen_command_is_imported() -> None:
    asked = (
        "import sys; from listener.cli import main; main.main(['owner', '--help']);"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'onnxruntime', 'paho')))"
    )

    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=False)

    assert done.returncode == 0


def test_closed_pipe_prints_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)

    done = subprocess.run(
        [sys.executable, "-m", "listener", "--help"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )

    with contextlib.suppress(OSError):
        os.close(write)
    assert done.returncode == 128 + 13
    assert not done.stderr


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Run a command defined by the test, in a new module."""
    monkeypatch.syspath_prepend(tmp_path)

    def run(body: str) -> int:
        name = f"body_{abs(hash(body))}"
        (tmp_path / f"{name}.py").write_text(
            "from listener.errors import Unavailable\n"
            "def add_arguments(parser): pass\n"
            f"def run(arguments, settings):\n    {body}\n"
        )
        return main.main(["command"], {"command": (name, "do it")})

    return run


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("return 1", 1, ""),
        ("raise KeyboardInterrupt", 130, ""),
        ("raise Unavailable('gone', 'go')", 69, "earmark: error: gone\nearmark: hint: go\n"),
        ("open('/nowhere/at/all')", 69, "earmark: error: cannot use /nowhere/at/all: "),
        ("import absent_package", 78, "earmark: error: command needs the package absent_package"),
    ],
)
def test_exit_codes_and_messages_of_a_command(
    do: Callable[[str], int], body: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = do(body)

    captured = capsys.readouterr()
    assert ended == code
    assert not captured.out
    assert captured.err.startswith(message)
    assert bool(captured.err) == bool(message)


@pytest.mark.parametrize(
    ("cause", "hint"),
    [
        (OSError(errno.ENOSPC, "full"), "free some space on that disk"),
        (OSError(errno.EACCES, "not yours"), "check owner and permissions with ls -l"),
        (
            OSError(errno.ENOENT, "not there"),
            "check the spelling, and that the file system is mounted",
        ),
        (OSError(errno.EOVERFLOW, "rare"), ""),
        (OSError("no number"), ""),
        # Numbers of their own: this 1 is not the system's "not permitted".
        (ssl.SSLError(1, "bad record"), ""),
        (ValueError(errno.ENOSPC), ""),
    ],
)
def test_system_error_gives_a_default_hint(cause: Exception, hint: str) -> None:
    with pytest.raises(Unavailable) as silent:
        raise Unavailable("cannot use it") from cause
    with pytest.raises(Unavailable) as captured:
        raise Unavailable("cannot use it", "use the other") from cause

    assert silent.value.hint == hint
    assert captured.value.hint == "use the other"
    assert Unavailable("cannot use it").hint == ""


@pytest.mark.parametrize("body", ["raise OSError('what is this')", "import listener.absent", "1/0"])
def test_unexpected_errors_are_raised(do: Callable[[str], int], body: str) -> None:
    with pytest.raises((OSError, ModuleNotFoundError, ZeroDivisionError)):
        do(body)


def test_log_lines_of_every_command_are_bounded() -> None:
    code = (
        "import logging; from listener.cli import main; main.main(['models', 'list']);"
        "[logging.getLogger('listener.archive').warning('refused %d', n) for n in range(1000)]"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert 0 < done.stderr.count("earmark: refused") <= MOST_PER_KIND
