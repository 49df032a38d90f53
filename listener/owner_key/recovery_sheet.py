"""The recovery sheet: one printable page of HTML with a QR code and words; it needs no network."""

import html
import re
from dataclasses import dataclass
from typing import Final

import segno

from listener.envelope.open import Identity
from listener.errors import ConfigError
from listener.owner_key.key_card import LIMIT_BYTES, KeyCard, parse_card
from listener.owner_key.recovery_words import WORDS, identity_of, words_of
from listener.text_encoding import NotUtf8Error, decode_text

_WORD: Final = re.compile(r"<li>([a-z]{3,8})</li>")
_IS_HTML: Final = re.compile(rb"\s*<!doctype html", re.IGNORECASE)

_STYLE: Final = """\
@page { size: A4; margin: 14mm; }
* { box-sizing: border-box; }
body { font: 10.5pt/1.4 sans-serif; color: #000; background: #fff; margin: 0 auto; }
body { max-width: 182mm; }
h1 { font-size: 18pt; margin: 0 0 2mm; }
h2 { font-size: 11.5pt; margin: 4mm 0 1.5mm; }
p, ol, ul { margin: 0 0 2mm; }
.warning { border: 0.6mm solid #000; padding: 2mm 3mm; font-weight: bold; }
.two { display: flex; gap: 6mm; align-items: flex-start; }
.qr { flex: none; width: 84mm; height: 84mm; }
.two > div { flex: 1; }
.words { columns: 2; column-gap: 4mm; padding: 0; font: 12pt/1.55 monospace; margin: 0; }
.words li { margin-left: 11mm; }
code { font: 9pt monospace; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True, slots=True)
class ReadSheet:
    """What was read of a sheet, or of one of the other forms of a key."""

    identities: tuple[Identity, ...]
    """The active key first."""
    owner: str | None
    """The owner's name, where the form has it."""


def sheet_html(card: KeyCard, day: str) -> str:
    """Return the sheet of the active key of a card.

    Args:
        card: with an owner.
        day: date to print, such as ``2026-11-22``.

    Raises:
        ConfigError: the card names no owner.
    """
    if card.owner is None:
        raise ConfigError("the key card names no owner", "pass --owner NAME")
    active, owner = card.identities[0], html.escape(card.owner)
    text = card.qr_text()
    code = segno.make(text.encode(), error="m", micro=False, boost_error=False)
    picture = code.svg_inline(
        scale=1, border=4, svgclass="qr", lineclass=None, omitsize=True, title="key card"
    )
    words = "".join(f"<li>{word}</li>" for word in words_of(active))
    speakers = ", ".join(sorted({one.name for one in card.speakers})) or "none yet"
    if card.speakers and "# speaker" not in text:
        speakers = "too many for the code; they are in the file of the key"
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Recovery sheet of {owner}</title>
<style>
{_STYLE}</style>
</head>
<body>
<h1>Recovery sheet of {owner}</h1>
<p class="warning">This sheet opens every clip of {owner}. Print it, keep it where you keep your
passport, and erase this file. Take no photo of it, and give it to no other person.</p>
<div class="two">
{picture}
<div>
<h2>{WORDS} words</h2>
<ol class="words">{words}</ol>
</div>
</div>
<h2>On a new phone</h2>
<p>Open the page of your clips, choose the QR code, and hold the code above before the camera.</p>
<h2>On a computer with Earmark</h2>
<p>Type <code>earmark owner key restore --owner {owner}</code>, and then the words in their order.
It writes <code>{owner}.key</code>.</p>
<h2>Once a year</h2>
<p>Type <code>earmark owner key check</code>, and then the words. It opens your newest clip with
them, and writes no sound.</p>
<h2>If this sheet is lost or was seen by another person</h2>
<p>Make a new key and replace this one: <code>earmark clips new-key</code>. Without any copy of
this key, clips that are sealed to it can never be opened.</p>
<h2>For comparison</h2>
<p>Public key: <code>{active.recipient}</code><br>
Fingerprint: <code>{active.okey}</code><br>
Speakers in the code: {html.escape(speakers)}<br>
Made on {html.escape(day)}</p>
</body>
</html>
"""


def read_sheet(data: bytes, source: str) -> ReadSheet:
    """Read a key from a sheet's file, from words, or from a key card.

    Args:
        data: the file of a sheet; the text of its QR code; its words; or an identity file.
        source: its name for messages, which never quote a key or a word.

    Raises:
        ConfigError: it is none of them. Nothing else is raised.
    """
    if len(data) > LIMIT_BYTES:
        raise ConfigError(f"{source} is longer than {LIMIT_BYTES} bytes")
    try:
        text = decode_text(data)
    except NotUtf8Error as error:
        raise ConfigError(f"{source} is not text", "pass the sheet, or type its words") from error
    if _IS_HTML.match(data):
        identity = identity_of(" ".join(_WORD.findall(text)))
        owner = re.search(r"<title>Recovery sheet of ([a-z0-9-]{1,32})</title>", text)
        return ReadSheet((identity,), owner[1] if owner else None)
    if "AGE-" in text.upper():
        card = parse_card(data, source)
        return ReadSheet(card.identities, card.owner)
    return ReadSheet((identity_of(text),), None)
