"""Man pages and shell completion: rendered, parsed and run by the real programs."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from firmware import manual
from firmware.deb import contents
from firmware.programs import BuildError
from firmware.wheels import ROOT
from listener.cli import main

PAGES = sorted(manual.FOLDER.glob("*.1"))


def test_every_command_has_a_page() -> None:
    names = {f"earmark-{command}.1" for command in main.COMMANDS}

    assert {page.name for page in PAGES} == {"earmark.1", *names}


def test_the_folder_has_no_other_file() -> None:
    assert {path.name for path in manual.FOLDER.iterdir()} == {
        *(page.name for page in PAGES),
        *manual.COMPLETIONS.values(),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_ascii_and_name_their_sections(page: Path) -> None:
    text = page.read_text("ascii")

    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES"):
        assert text.count(f"\n.SH {section}\n") == 1


@pytest.mark.system
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_render_without_a_warning(page: Path) -> None:
    done = subprocess.run(
        ["groff", "-Tutf8", "-P-cbou", "-man", "-ww", str(page)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "SYNOPSIS" in done.stdout


@pytest.mark.system
def test_a_page_shows_what_is_typed() -> None:
    done = subprocess.run(
        ["groff", "-Tascii", "-P-cbou", "-man", str(manual.FOLDER / "earmark-hear.1")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "--microphone FILE" in done.stdout
    assert "earmark hear --microphone kitchen.flac --mute 12.5-20" in done.stdout


def test_roff_escapes_what_roff_interprets() -> None:
    assert manual.to_roff(".nf") == "\\&.nf"
    assert manual.to_roff("'x' -a \\ …") == "\\(aqx\\(aq \\-a \\e \\[u2026]"


def complete(folder: Path, *words: str) -> set[str]:
    """Return what bash offers for the last of ``words``."""
    script = (
        'source "$1"; shift\n'
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()\n'
        'COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}\n'
        "function=$(complete -p earmark | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
        '"$function" earmark "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    completion = manual.FOLDER / manual.COMPLETIONS["bash"]
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", script, "bash", str(completion), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.strip() for line in done.stdout.splitlines() if line.strip()}


@pytest.mark.system
@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (["earmark", "cli"], {"clips"}),
        (["earmark", "clips", "exp"], {"export"}),
        (["earmark", "hear", "--micro"], {"--microphone"}),
        (["earmark", "clips", "list", "--ident"], {"--identity"}),
        (["earmark", "hear", "--microphone", "kit"], {"kitchen.flac"}),
        (["earmark", "archive", "open", "kit"], {"kitchen.flac"}),
        (["earmark", "demo", "--to", "cl"], {"clips"}),
        (["earmark", "mute", "st"], {"status"}),
    ],
)
def test_bash_completes(words: list[str], offers: set[str], tmp_path: Path) -> None:
    (tmp_path / "kitchen.flac").touch()
    (tmp_path / "clips").mkdir()

    assert {name.rstrip("/") for name in complete(tmp_path, *words)} == offers


@pytest.mark.system
@pytest.mark.parametrize(
    ("program", "option"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")]
)
def test_completions_are_valid_scripts(program: str, option: str) -> None:
    script = manual.FOLDER / manual.COMPLETIONS[program]

    done = subprocess.run(
        [program, option, str(script)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.system
def test_fish_completes(tmp_path: Path) -> None:
    script = manual.FOLDER / manual.COMPLETIONS["fish"]
    words = [f"source {script}; complete --do-complete 'earmark cli'"]
    done = subprocess.run(
        ["fish", "--no-config", "-c", *words],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )

    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["clips"]


def test_the_package_gets_pages_and_completions(tmp_path: Path) -> None:
    contents.place_manual(ROOT, tmp_path, "1.2.3", 1_700_000_000)

    page = gzip.decompress((tmp_path / "usr/share/man/man1/earmark-hear.1.gz").read_bytes())
    assert b'"2023-11-14" "Earmark 1.2.3"' in page
    assert b"@" not in page
    assert len(list((tmp_path / "usr/share/man/man1").iterdir())) == len(PAGES)
    for name, place in contents.COMPLETIONS.items():
        assert (tmp_path / place).read_bytes() == (manual.FOLDER / name).read_bytes()


def test_the_package_has_the_same_pages_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        contents.place_manual(ROOT, tmp_path / name, "1.2.3", 1_700_000_000)

    first, second = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in files(tmp_path / name)}
        for name in ("a", "b")
    )
    assert first == second


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def test_a_file_without_a_place_is_refused(tmp_path: Path) -> None:
    shutil.copytree(manual.FOLDER, tmp_path / "firmware" / "manual")
    (tmp_path / "firmware" / "manual" / "notes.txt").touch()

    with pytest.raises(BuildError, match=r"notes\.txt has no place"):
        contents.place_manual(tmp_path, tmp_path / "tree", "1.2.3", 1_700_000_000)
