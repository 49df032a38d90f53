"""Parsers of external bytes, with extreme nesting and size.

Whatever the bytes, a parser returns or raises the error that it names: no RecursionError, and no
time that grows with more than the length.
"""

import contextlib
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener import config
from listener.clips import schema
from listener.envelope import format as form
from listener.errors import EarmarkError
from listener.firstboot import plan
from listener.hear import events
from listener.hear.mute.state import MuteFiles
from listener.household import invitation, registry
from listener.ipc import control, notices
from listener.mqtt import retention, topics
from listener.owner import key_rotation, roster
from listener.release import file as release_file
from listener.release import state
from listener.rights import receipts, requests
from listener.system import findings
from listener.voice import command_copy, consent, messages, reply
from listener.wakeword import manifest, trace

KEY = Ed25519PrivateKey.generate().public_key()


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def read_mute_file(data: bytes) -> None:
    path = Path(f"/dev/shm/earmark-{id(data)}")  # noqa: S108 - a file of this test, which removes it
    path.mkdir()
    try:
        (path / "mute.json").write_bytes(data)
        MuteFiles(path).software.read()
    finally:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()


PARSERS: dict[str, Callable[[bytes], object]] = {
    "configuration": lambda data: config.parse_settings(text(data), "a file"),
    "manifest": lambda data: manifest.parse_manifest(text(data), "a file"),
    "card": lambda data: plan.parse(plan.parse_tables(text(data), "a card"), "a card"),
    "roster": lambda data: roster.parse(data, "a file"),
    "registry": lambda data: registry.parse(data, "a file"),
    "key rotation": key_rotation.parse,
    "update state": lambda data: state.parse(data, "a file"),
    "release": lambda data: release_file.parse(data, [KEY]),
    "signed release": lambda data: release_file.parse(release_file.MAGIC + data, [KEY]),
    "envelope": form.parse_envelope,
    "envelope with magic": lambda data: form.parse_envelope(b"EARMARK/1\n" + data),
    "header": form.parse_header,
    "comment": form.parse_comment,
    "request": requests.parse,
    "receipt": lambda data: receipts.parse_receipt(data, KEY),
    "head": lambda data: receipts.parse_head(data, KEY),
    "answer of the archive": lambda data: schema.parse(data, dict[str, int]),
    "invitation": lambda data: invitation.parse_line(text(data)),
    "retention": lambda data: retention.parse(data, lambda _signature, _data: False),
    "acknowledgement": topics.parse_answer,
    "command": topics.parse_command,
    "control": control.decode,
    "notice": notices.decode,
    "event": events.from_json,
    "finding": findings.from_json,
    "trace": trace.decode,
    "mute state": read_mute_file,
    "ask": messages.parse_ask,
    "answer or outcome of assist": messages.parse_from_assist,
    "voice status": messages.parse_voice_status,
    "consents": consent.parse_consents,
    "command copy": command_copy.parse_copy,
    "command copy with its first line": lambda data: command_copy.parse_copy(
        command_copy.MAGIC + data
    ),
    "reply": reply.parse_reply,
    "reply with its first line": lambda data: reply.parse_reply(reply.MAGIC + data),
}

SIZE = 60_000
DEEP = {
    "lists": b"[" * SIZE,
    "closed lists": b"[" * (SIZE // 2) + b"]" * (SIZE // 2),
    "objects": b'{"a":' * (SIZE // 5) + b"1" + b"}" * (SIZE // 5),
    "list in a field": b'{"v":1,"a":' + b"[" * (SIZE // 2) + b"]" * (SIZE // 2) + b"}",
    "lists of a thousand": b"[" * 900 + b"]" * 900,
    "dotted key": b"a" + b".a" * (SIZE // 2) + b" = 1",
    "dotted key with spaces": b"a" + b" . a" * (SIZE // 4) + b" = 1",
    "dotted key in quotes": b'"a"' + b'."a"' * (SIZE // 4) + b" = 1",
    "dotted key in a section": b"wake" + b".a" * (SIZE // 2) + b" = 1",
    "dotted key of a thousand": b"a" + b".a" * 990 + b" = 1",
    "table": b"[" + b".".join([b"a"] * (SIZE // 2)) + b"]\nx = 1",
    "inline tables": b"x = " + b"{a=" * (SIZE // 4) + b"1" + b"}" * (SIZE // 4),
    "dotted inline table": b"x = {a" + b".a" * (SIZE // 2) + b" = 1}",
    "inline list": b"x = " + b"[" * SIZE,
    "nested section": b"[wake]\nwords = " + b"[" * 90 + b'"a"' + b"]" * 90,
}
HUGE = {
    "zeros": bytes(1 << 20),
    "digits": b"9" * (1 << 20),
    "number": b'{"v":' + b"9" * SIZE + b"}",
    "toml number": b"[wake]\npatience_steps = " + b"9" * SIZE,
    "string": b'"' + b"a" * (1 << 20) + b'"',
    "letters": b"a" * SIZE,
    "letters and spaces": b"a " * (SIZE // 2),
    "quotes": b'"' * SIZE,
    "dots": b"." * SIZE,
    "keys": b"".join(b"k%d=1\n" % number for number in range(6_000)),
    "tables": b"".join(b"[t%d]\n" % number for number in range(6_000)),
}


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize("data", (DEEP | HUGE).values(), ids=DEEP | HUGE)
def test_bytes_are_parsed_or_refused_with_an_error_of_their_own(
    parse: Callable[[bytes], object], data: bytes
) -> None:
    with contextlib.suppress(EarmarkError, ValueError):
        parse(data)


def test_toml_takes_no_time_that_grows_with_the_square_of_its_length() -> None:
    """One minute of CPU for each of these, before; the limit is of CPU time, not of the clock."""
    code = """
        import sys
        from listener.config import parse_toml
        from tests.adversary.test_parsers import DEEP, HUGE
        for data in (DEEP | HUGE).values():
            try:
                parse_toml(data.decode())
            except ValueError:
                pass
        print("done")
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (40, 40)),
    )

    assert done.stdout == b"done\n"


@pytest.mark.parametrize("parts", [31, 32, 33])
def test_keys_of_reasonable_length_are_parsed(parts: int) -> None:
    key = ".".join(["a"] * parts)
    if parts <= 32:  # the limit
        assert config.parse_toml(f"{key} = 1")
    else:
        with pytest.raises(ValueError, match="more than 32 parts"):
            config.parse_toml(f"{key} = 1")


def test_dots_in_values_are_not_keys() -> None:
    value = ".".join(["host"] * 20)

    assert config.parse_toml(f'x = "{value}"\ny = 1.5\n') == {"x": value, "y": 1.5}
