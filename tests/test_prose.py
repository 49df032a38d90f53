"""The words of documents, errors and help texts, and how module docstrings begin."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BANNED = re.compile(
    r"\b(?:nobody|whoever|hers|riddle|mends?|mended|mending)\b|(?<!there )\bis no\b", re.IGNORECASE
)
HELP = {"help", "description", "epilog", "hint"}
"""Keyword arguments and names of variables whose text a user reads."""
QUESTION_WORDS = ("What", "Who", "Whose", "Whether", "How", "Which")
LISTENER = sorted((ROOT / "listener").rglob("*.py"))


def documents() -> list[Path]:
    """Every Markdown file that is part of the project."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git clone, so the project's files are not known")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def banned(text: str, where: str) -> list[str]:
    """Each banned word with its line; ``where`` names the text."""
    return [
        f"{where}:{text.count(chr(10), 0, hit.start()) + 1}: {hit[0]}"
        for hit in BANNED.finditer(text)
    ]


def prose(file: Path) -> str:
    """A document without inline code, which quotes names that cannot change.

    In the engineering log, fenced blocks are left out too: they quote what a command printed.
    """
    text = file.read_text("utf-8")
    if file.parent.name == "engineering-log":
        text = re.sub(r"```.*?```", blank, text, flags=re.DOTALL)
    return re.sub(r"(?<!`)`[^`\n]+`(?!`)", blank, text)


def blank(hit: re.Match[str]) -> str:
    """As many lines as were matched, and no word."""
    return "\n" * hit[0].count("\n")


def strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string literal below a node, with its line; of an f-string its constant parts."""
    for below in ast.walk(node):
        if isinstance(below, ast.Constant) and isinstance(below.value, str):
            yield below.lineno, below.value


def read_by_users(source: str) -> Iterator[tuple[int, str]]:
    """Strings of a module that are errors, hints or help, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from strings(node.exc)
        elif isinstance(node, ast.Call):
            yield from in_call(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(is_help(target) for target in targets):
                yield from strings(node.value)


def in_call(node: ast.Call) -> Iterator[tuple[int, str]]:
    """The help among the arguments of ``add_argument``, ``add_parser`` or ``Actions.add``."""
    for keyword in node.keywords:
        if keyword.arg in HELP:
            yield from strings(keyword.value)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "add":
        for argument in node.args:
            yield from strings(argument)


def is_help(target: ast.expr) -> bool:
    """Whether what is assigned here is read by users: ``parser.epilog``, ``_HINT``, ``VERBS``."""
    name = target.attr if isinstance(target, ast.Attribute) else ""
    name = target.id if isinstance(target, ast.Name) else name
    return not {*HELP, "verbs", "commands"}.isdisjoint(name.lower().split("_"))


def test_documents_use_no_banned_word() -> None:
    found = [
        line for file in documents() for line in banned(prose(file), str(file.relative_to(ROOT)))
    ]

    assert found == []


def test_errors_and_help_use_no_banned_word() -> None:
    found = {
        f"{file.relative_to(ROOT)}:{number}: {hit[0]}"
        for file in LISTENER
        for number, text in read_by_users(file.read_text("utf-8"))
        for hit in BANNED.finditer(text)
    }

    assert sorted(found) == []


def test_no_module_docstring_begins_with_a_question_word() -> None:
    found = []
    for file in LISTENER:
        about = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        if about.split(maxsplit=1)[:1] and about.split(maxsplit=1)[0] in QUESTION_WORDS:
            found.append(f"{file.relative_to(ROOT)}: {about.splitlines()[0]}")

    assert found == []


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("Nobody reads it", ["Nobody"]),
        ("this is no file", ["is no"]),
        ("there is no file; it is not a file", []),
        ("There is no file", []),
        ("it is now done; this is normal", []),
        ("an amendment recommends", []),
        ("mend it, and it is mended", ["mend", "mended"]),
        ("a key of\nhers", ["hers"]),
    ],
)
def test_banned_words_match_whole_words(text: str, hits: list[str]) -> None:
    assert [hit[0] for hit in BANNED.finditer(text)] == hits


def test_inline_code_is_left_out(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a `not-hers` row\n```\nis no\n```\nhers")

    assert banned(prose(page), "page") == ["page:3: is no", "page:5: hers"]


def test_transcripts_in_the_engineering_log_are_left_out(tmp_path: Path) -> None:
    page = tmp_path / "engineering-log" / "page.md"
    page.parent.mkdir()
    page.write_text("```\nis no\n```\nhers")

    assert banned(prose(page), "page") == ["page:4: hers"]


def test_every_kind_of_user_visible_text_is_found() -> None:
    source = """
raise ConfigError(f"first {x}", "second")
parser.add_argument("--x", help="third")
parser.epilog = "fourth"
_HINT: Final = "fifth"
actions.add("name", "sixth")
hint = "seventh" if a else "eighth"
VERBS = {"a": ("b", "ninth")}
complain(hint="tenth")
"""

    found = {text for _, text in read_by_users(source)}

    assert found >= {
        *("first ", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"),
        *("ninth", "tenth"),
    }
