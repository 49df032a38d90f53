"""Key cards, words and recovery sheets, without files and without an archive."""

import base64
import contextlib
import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import mnemonic
import numpy as np
import pyrage
import pytest
import zxingcpp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from listener.envelope import keys
from listener.envelope.open import Identity, parse_identities
from listener.errors import ConfigError, Unavailable
from listener.owner_key.key_card import (
    LIMIT_BYTES,
    QR_LIMIT_BYTES,
    CardSpeaker,
    KeyCard,
    parse_card,
)
from listener.owner_key.protected_copy import MOST_BYTES, PAUSES_S, protect, unprotect
from listener.owner_key.recovery_sheet import read_sheet, sheet_html
from listener.owner_key.recovery_words import WORDS, identity_of, words_of

ROOT = Path(__file__).resolve().parents[2]


def new_identity() -> Identity:
    (made,) = parse_identities(str(pyrage.x25519.Identity.generate()).encode(), "new")
    return made


def device_key() -> str:
    return keys.device_text(Ed25519PrivateKey.generate().public_key())


def card_of(speakers: int = 2) -> KeyCard:
    return KeyCard(
        (new_identity(), new_identity()),
        owner="ada",
        archive=device_key(),
        speakers=tuple(
            CardSpeaker(f"room-{number}", device_key(), None if number else 412)
            for number in range(speakers)
        ),
    )


def test_card_is_read_as_it_was_written() -> None:
    card = card_of()

    assert parse_card(card.text().encode(), "a card") == card
    assert [one.okey for one in parse_identities(card.text().encode(), "a card")] == [
        one.okey for one in card.identities
    ]
    assert "AGE-SECRET" not in repr(card)


def test_documented_card_has_the_form_that_is_written() -> None:
    document = (ROOT / "docs/reference/browser-page.md").read_text("utf-8")
    sample = document.split("## Key card")[1].split("```")[1].strip()
    card = card_of()

    written = card.text()

    forms = [re.sub(r"…", r"[^ ]+", line) for line in sample.splitlines()]
    assert forms[0] == written.splitlines()[0]
    for form in forms[1:]:
        name = form.replace("kitchen", "room-1").replace("hall", "room-0")
        assert any(re.fullmatch(name, line) for line in written.splitlines()), form


def test_identity_file_of_age_keygen_is_a_card(tmp_path: Path) -> None:
    if (tool := shutil.which("age-keygen")) is None:
        pytest.skip("age-keygen is not installed: make debian")
    file = tmp_path / "a.key"
    subprocess.run([tool, "-o", file], check=True, capture_output=True)

    card = parse_card(file.read_bytes(), "a.key")

    assert (card.owner, card.archive, card.speakers) == (None, None, ())


def test_joined_cards_of_one_owner_are_one_card() -> None:
    old, new = card_of(), card_of()
    joined = KeyCard(new.identities, owner="ada", archive=old.archive).text() + old.text()

    card = parse_card(joined.encode(), "joined")

    assert card.identities == (*new.identities, *old.identities)
    assert card.speakers == old.speakers
    with pytest.raises(ConfigError, match="is malformed"):
        parse_card((new.text() + old.text()).encode(), "two archives")


def test_a_file_keeps_its_other_lines_when_its_card_is_written_again() -> None:
    secret = str(pyrage.x25519.Identity.generate())
    other = "AGE-SECRET-KEY-PQ-1QQQQ"
    file = f"# created: 2026\n# owner bob\n{secret}\n# my old key\n{other}\n"
    card = KeyCard(parse_identities(secret.encode(), "a"), owner="ada")

    text = card.text_in(file)

    assert text == (
        f"# Earmark key card 1\n# owner ada\n# created: 2026\n{secret}\n# my old key\n{other}\n"
    )
    assert parse_card(text.encode(), "a") == card
    assert card.text_in(text) == text


@pytest.mark.parametrize(
    "line",
    [
        "# owner",
        "# owner Ada",
        "# owner ada ben",
        "# archive",
        "# archive ed25519:AAAA",
        "# speaker kitchen",
        "# speaker KITCHEN ed25519:" + base64.b64encode(bytes(32)).decode(),
        "# speaker kitchen ed25519:" + base64.b64encode(bytes(32)).decode() + " -1",
        "# speaker kitchen ed25519:" + base64.b64encode(bytes(32)).decode() + " 9999999999999",
        "# speaker kitchen ed25519:" + base64.b64encode(bytes(32)).decode() + " ²",
        "# speaker kitchen ed25519:" + base64.b64encode(bytes(32)).decode() + " 1 2",
        "# Earmark key card 2",
    ],
)
def test_malformed_line_of_a_card_is_named(line: str) -> None:
    text = f"# a comment\n{line}\n{new_identity().secret}\n"

    with pytest.raises(ConfigError) as refused:
        parse_card(text.encode(), "a card")

    assert re.search(r"line 2, is malformed|another version", str(refused.value))


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
@example(b"# owner ada\n")
@example(b"\xff\xfe#\x00")
@example(bytes(LIMIT_BYTES + 1))
@example(b"# speaker a ed25519:\n" * 100)
@example(b"<!doctype html>" + b"<li>abandon</li>" * 24)
@example(b"AGE-")
def test_any_bytes_raise_one_error(data: bytes) -> None:
    for read in (parse_card, read_sheet):
        with pytest.raises(ConfigError):
            read(data, "bytes")


def test_text_of_the_code_leaves_speakers_out_where_they_do_not_fit() -> None:
    small, large = card_of(8), card_of(40)

    assert parse_card(small.qr_text().encode(), "code").speakers == small.speakers
    read = parse_card(large.qr_text().encode(), "code")
    assert read == KeyCard(large.identities[:1], owner="ada", archive=large.archive)
    assert max(len(one.qr_text()) for one in (small, large)) <= QR_LIMIT_BYTES


def test_words_are_those_of_bip_39_and_name_the_key() -> None:
    identity = new_identity()
    words = words_of(identity)

    assert len(words) == WORDS
    entropy = mnemonic.Mnemonic("english").to_entropy(" ".join(words))
    assert keys.age_secret_text(bytes(entropy)) == str(identity.secret)
    for typed in (
        " ".join(words),
        "\n".join(f"{n}. {word.upper()}" for n, word in enumerate(words, 1)),
        " ".join(word[:4] for word in words),
    ):
        assert identity_of(typed) == identity


def test_wrong_words_are_refused_without_quoting_them() -> None:
    words = list(words_of(new_identity()))
    exchanged = [words[1], words[0], *words[2:]] if words[0] != words[1] else words[::-1]

    for typed, text in (
        (words[:-1], "23 words"),
        ([*words[:6], "xylophone", *words[7:]], "word 7 is not one"),
        ([words[0][:4] + "qqq", *words[1:]], "word 1 is not one"),
    ):
        with pytest.raises(ConfigError, match=text) as refused:
            identity_of(" ".join(typed))
        assert "xylophone" not in str(refused.value) + refused.value.hint
    # The checksum has 8 bits: some exchanged words pass as another key, and never as this one.
    with contextlib.suppress(ConfigError):
        assert identity_of(" ".join(exchanged)) != identity_of(" ".join(words))


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=50)
def test_secret_text_is_the_one_that_age_reads(raw: bytes) -> None:
    text = keys.age_secret_text(raw)

    assert str(pyrage.x25519.Identity.from_str(text)) == text
    assert keys.age_bytes(text) == raw


def code_of(page: str) -> str:
    """Read the QR code of a sheet as a camera does, from its modules drawn as pixels."""
    path = re.search(r'<svg[^>]*viewBox="0 0 (\d+) \d+".*?<path[^>]* d="([^"]*)"', page, re.DOTALL)
    assert path is not None
    size = int(path[1])
    image = np.full((size, size), 255, np.uint8)
    x = y = 0.0
    for command, values in re.findall(r"([MmHh])([-\d. ]*)", path[2]):
        numbers = [float(one) for one in re.findall(r"-?[\d.]+", values)]
        if command == "M":
            x, y = numbers
        elif command == "m":
            x, y = x + numbers[0], y + numbers[1]
        else:
            image[int(y), int(x) : int(x + numbers[0])] = 0
            x += numbers[0]
    (read,) = zxingcpp.read_barcodes(np.kron(image, np.ones((4, 4), np.uint8)))
    return str(read.text)


@pytest.mark.parametrize("speakers", [0, 8, 40])
def test_sheet_has_the_card_as_a_code_and_the_key_as_words(speakers: int) -> None:
    card = card_of(speakers)
    page = sheet_html(card, "2026-11-22")

    read = read_sheet(page.encode(), "a sheet")

    assert (read.identities, read.owner) == (card.identities[:1], "ada")
    assert code_of(page) == card.qr_text()
    assert read_sheet(code_of(page).encode(), "a code").identities == card.identities[:1]
    assert ("too many for the code" in page) == (speakers == 40)


def test_sheet_asks_nothing_of_the_network() -> None:
    page = sheet_html(card_of(), "2026-11-22")

    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert re.findall(r"https?://[^\"' ]+", page) in ([], ["http://www.w3.org/2000/svg"])
    assert not re.search(r"<script|<img|<link|<iframe|url\(|@import|\son\w+=", page)
    assert card_of().identities[1].recipient not in page


def test_copy_is_tried_again_while_the_computer_is_busy() -> None:
    copy = protect(b"a key", "a passphrase")
    factor = re.search(rb"\n-> scrypt (\S+) (\d+)\n", b"\n" + unarmored(copy))
    assert factor is not None
    slow = unarmored(copy).replace(factor[0].strip(), b"-> scrypt " + factor[1] + b" 40")
    slept: list[float] = []

    with pytest.raises(Unavailable, match="too slow or too busy"):
        unprotect(slow, "a passphrase", "a.key.age", slept.append)

    assert tuple(slept) == PAUSES_S


def test_copy_has_the_work_factor_of_stock_age_at_any_length() -> None:
    for length in (0, 1, 48 - len(unarmored(protect(b"", "a passphrase"))) % 48):
        copy = protect(bytes(length), "a passphrase")
        assert re.search(rb"\n-> scrypt \S{22} 18\n", unarmored(copy))
        assert max(map(len, copy.splitlines())) <= 64
        assert unprotect(copy, "a passphrase", "a.key.age") == bytes(length)
    with pytest.raises(ConfigError, match="at most"):
        protect(bytes(MOST_BYTES + 1), "a passphrase")


@pytest.mark.system
def test_copy_is_opened_by_stock_age(tmp_path: Path) -> None:
    for tool in ("age", "setsid"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: make debian")
    text = card_of().text().encode()
    (tmp_path / "a.key.age").write_bytes(protect(text, "six words of ümlaut"))
    keyboard, terminal = pty.openpty()
    try:
        process = subprocess.Popen(
            ["setsid", "--ctty", "age", "-d", "-o", "a.key", "a.key.age"],
            cwd=tmp_path,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        asked = b""
        while b":" not in asked:
            asked += os.read(keyboard, 1000)
        os.write(keyboard, "six words of ümlaut\n".encode())
        assert process.wait(50) == 0
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert (tmp_path / "a.key").read_bytes() == text


@pytest.mark.parametrize("data", [b"", b"age-encryption.org/v1\n", b"x" * 500])
def test_damaged_copy_raises_one_error(data: bytes) -> None:
    with pytest.raises(ConfigError, match="does not decrypt"):
        unprotect(data, "a passphrase", "a.key.age")


def unarmored(copy: bytes) -> bytes:
    return base64.b64decode(b"".join(copy.strip().splitlines()[1:-1]))


def test_sheet_without_an_owner_is_refused() -> None:
    with pytest.raises(ConfigError, match="names no owner"):
        sheet_html(KeyCard((new_identity(),)), "2026-11-22")


@pytest.mark.system
@pytest.mark.parametrize("speakers", [0, 40])
def test_sheet_is_printed_on_one_page(tmp_path: Path, speakers: int) -> None:
    from tests.evaluate.report.test_html import browse  # noqa: PLC0415 - the browser's options

    names = tuple(
        CardSpeaker(f"{'long-name-of-a-room-'}{number:02}", device_key())
        for number in range(speakers)
    )
    card = KeyCard((new_identity(),), owner="a" * 32, archive=device_key(), speakers=names)
    (tmp_path / "sheet.html").write_text(sheet_html(card, "2026-11-22"), "utf-8")

    browse(tmp_path, f"--print-to-pdf={tmp_path / 'sheet.pdf'}", str(tmp_path / "sheet.html"))

    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "sheet.pdf").read_bytes())) == 1
