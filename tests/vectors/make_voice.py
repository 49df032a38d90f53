"""Make the golden messages of voice control anew: ``python tests/vectors/make_voice.py [FOLDER]``.

Age is randomised, so this makes other files of the same kinds. The committed ones are the golden
ones: run it only when a kind is added, and never to make a failing test pass.
"""

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyrage
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from listener.audio.flac import to_flac
from listener.envelope import keys

HERE: Final = Path(__file__).resolve().parent
KEYS: Final = HERE / "voice"
ASK: Final = "0123456789abcdef" * 2
FILL_BYTES: Final = 32_768
RATE_HZ: Final = 16_000
LAST_N: Final = 5
Fields = dict[str, Any]
Sign = Callable[[bytes], bytes]


def plain_json(value: object) -> bytes:
    """Canonical for every value used here, and written without the code under test."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def read_or_make_age(path: Path) -> pyrage.x25519.Identity:
    if not path.exists():
        text = f"# TEST KEY, known to everyone\n{pyrage.x25519.Identity.generate()}\n"
        path.write_text(text, "ascii")
    return pyrage.x25519.Identity.from_str(path.read_text("ascii").splitlines()[1])


def read_or_make_pem(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        path.write_bytes(keys.device_pem(Ed25519PrivateKey.generate()))
    return keys.parse_device_pem(path.read_bytes(), path.name)


@dataclass
class Cast:
    """One owner, two speakers, two assists, and the keys of one ask."""

    ada: pyrage.x25519.Identity = field(default_factory=lambda: read_or_make_age(HERE / "ada.key"))
    bob: pyrage.x25519.Identity = field(default_factory=lambda: read_or_make_age(HERE / "bob.key"))
    kitchen: Ed25519PrivateKey = field(
        default_factory=lambda: read_or_make_pem(HERE / "kitchen.pem")
    )
    hall: Ed25519PrivateKey = field(default_factory=lambda: read_or_make_pem(HERE / "hall.pem"))
    assist: Ed25519PrivateKey = field(default_factory=lambda: read_or_make_pem(KEYS / "assist.pem"))
    command: pyrage.x25519.Identity = field(
        default_factory=lambda: read_or_make_age(KEYS / "command.key")
    )
    reply: pyrage.x25519.Identity = field(
        default_factory=lambda: read_or_make_age(KEYS / "reply.key")
    )

    @property
    def assist_id(self) -> str:
        return keys.device_id(self.assist.public_key())

    @property
    def kitchen_id(self) -> str:
        return keys.device_id(self.kitchen.public_key())


def okey(identity: pyrage.x25519.Identity) -> str:
    return keys.fingerprint(str(identity.to_public()).encode())


class Maker:
    """Writes messages piece by piece, so that each piece can be wrong."""

    def __init__(self, cast: Cast, folder: Path) -> None:
        self.cast = cast
        self.folder = folder
        self.index: list[Fields] = []
        time = np.arange(RATE_HZ // 4) / RATE_HZ
        self.samples = (3000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)

    def write(self, kind: str, name: str, data: bytes, outcome: str, reason: str) -> None:
        file = f"{kind}-{name}"
        (self.folder / file).write_bytes(data)
        self.index.append({"file": file, "kind": kind, "outcome": outcome, "reason": reason})

    # Signed messages.

    def ask(self, **changes: object) -> Fields:
        return {
            "ask": ASK,
            "assist": self.cast.assist_id,
            "device": "kitchen",
            "dkey": self.cast.kitchen_id,
            "level_db": -31,
            "reply": str(self.cast.reply.to_public()),
            "since_ms": 12,
            "v": 1,
            "why": "wake",
        } | changes

    def answer(self, **changes: object) -> Fields:
        return {
            "ask": ASK,
            "device": "kitchen",
            "key": str(self.cast.command.to_public()),
            "v": 1,
            "verdict": "speak",
        } | changes

    def outcome(self, **changes: object) -> Fields:
        return {"ask": ASK, "device": "kitchen", "outcome": "done", "v": 1} | changes

    def confirmation(self, **changes: object) -> Fields:
        return {"ask": ASK, "device": "kitchen", "part": 1, "v": 1} | changes

    def status(self, **changes: object) -> Fields:
        return {
            "asks": 3,
            "assist": self.cast.assist_id,
            "boot": "0123456789abcdef",
            "copies": 2,
            "device": "kitchen",
            "n": 7,
            "on": 1,
            "owner": "ada",
            "v": 1,
        } | changes

    @staticmethod
    def signed(name: str, first_line: bytes, body: bytes, sign: Sign) -> bytes:
        signature = base64.b64encode(sign(first_line + body))
        parts = sorted([b'"' + name.encode() + b'":' + body, b'"signature":"' + signature + b'"'])
        return b"{" + b",".join(parts) + b"}"

    # Consents.

    def consent(
        self,
        secret: pyrage.x25519.Identity | None = None,
        speaker: Ed25519PublicKey | None = None,
        /,
        **changes: object,
    ) -> Fields:
        fields: Fields = {
            "assist": keys.device_text(self.cast.assist.public_key()),
            "device": "kitchen",
            "n": 7,
            "okey": okey(self.cast.ada),
            "on": 1,
            "owner": "ada",
            "v": 1,
        } | changes
        text = str(secret or self.cast.ada)
        mine = X25519PrivateKey.from_private_bytes(keys.age_bytes(text))
        theirs = keys.agreement_public(speaker or self.cast.kitchen.public_key())
        salt = mine.public_key().public_bytes_raw() + theirs.public_bytes_raw()
        context = b"EARMARK/VOICE/1\n"
        derived = HKDF(hashes.SHA256(), 32, salt, context).derive(mine.exchange(theirs))
        code = hmac.digest(derived, context + plain_json(fields), hashlib.sha256)
        return fields | {"code": base64.b64encode(code).decode()}

    # Command copies and replies.

    def copy_header(self, **changes: object) -> Fields:
        return {
            "age_ms": 1234,
            "ask": ASK,
            "codec": "flac",
            "device": "kitchen",
            "dkey": self.cast.kitchen_id,
            "key": okey(self.cast.command),
            "last": 1,
            "part": 1,
            "v": 1,
        } | changes

    def copy_fields(self, **changes: object) -> Fields:
        return {
            "assist": self.cast.assist_id,
            "ms": 250,
            "n": 7,
            "okey": okey(self.cast.ada),
            "owner": "ada",
            "pre_ms": 100,
            "rate": RATE_HZ,
            "word": "alexa",
        } | changes

    def reply_header(self, **changes: object) -> Fields:
        return {
            "age_ms": 2345,
            "ask": ASK,
            "codec": "flac",
            "device": "kitchen",
            "key": okey(self.cast.reply),
            "v": 1,
        } | changes

    def flac(self, comment: bytes, rate_hz: int = RATE_HZ, fill_bytes: int = FILL_BYTES) -> bytes:
        """Write a FLAC file with a PADDING block before its frames."""
        plain = to_flac(self.samples, rate_hz, comment.decode("ascii"))
        about = 4 + 4 + 34
        length = int.from_bytes(plain[about + 1 : about + 4], "big")
        end = about + 4 + length
        if fill_bytes == 1:
            return plain
        padding = bytes(-(len(plain) + 4) % fill_bytes)
        block = b"\x81" + len(padding).to_bytes(3, "big") + padding
        return plain[:about] + b"\x04" + plain[about + 1 : end] + block + plain[end:]

    @staticmethod
    def encrypt(plain: bytes, *recipients: pyrage.x25519.Identity) -> bytes:
        sealed: bytes = pyrage.encrypt(plain, [one.to_public() for one in recipients])
        return sealed

    @staticmethod
    def file(
        first_line: bytes,
        header: bytes,
        ciphertext: bytes,
        sign: Sign,
        *,
        claimed_bytes: int | None = None,
    ) -> bytes:
        seal = {
            "bytes": len(ciphertext) if claimed_bytes is None else claimed_bytes,
            "sha256": hashlib.sha256(ciphertext).hexdigest(),
        }
        signed = first_line + header + b"\n" + plain_json(seal) + b"\n"
        return signed + base64.b64encode(sign(signed)) + b"\n" + ciphertext


def make_messages(maker: Maker) -> None:
    cast = maker.cast
    device, assist = cast.kitchen.sign, cast.assist.sign
    lines = {
        "ask": ("ask", b"EARMARK/ASK/1\n", maker.ask, device),
        "confirmation": ("confirmation", b"EARMARK/CONFIRMATION/1\n", maker.confirmation, device),
        "answer": ("answer", b"EARMARK/ANSWER/1\n", maker.answer, assist),
        "outcome": ("outcome", b"EARMARK/OUTCOME/1\n", maker.outcome, assist),
        "voice-status": ("voice", b"EARMARK/VOICE-STATUS/1\n", maker.status, device),
    }

    def fields(kind: str, name: str, result: str, reason: str, /, **changes: object) -> None:
        json_name, line, usual, sign = lines[kind]
        body = plain_json(usual(**changes))
        maker.write(kind, name, maker.signed(json_name, line, body, sign), result, reason)

    for kind, (json_name, line, usual, sign) in lines.items():
        fields(kind, "usual", "ok", "the usual fields")
        body = plain_json(usual())
        good = maker.signed(json_name, line, body, sign)
        for name, bad, reason in (
            ("space", good.replace(b",", b", ", 1), "white space"),
            ("unknown", maker.signed(json_name, line, plain_json(usual(x=1)), sign), "a field x"),
            ("twice", good.replace(b'"v":1', b'"v":1,"v":1'), "v occurs twice"),
            ("true", good.replace(b'"v":1', b'"v":true'), "true is not an integer"),
            ("version", maker.signed(json_name, line, plain_json(usual(v=2)), sign), "v is 2"),
            ("bits", good.replace(b'=="', b'x=="', 1), "a signature that is too long"),
            ("long", good + b" " * 512, "longer than 512 bytes"),
            ("more", good[:-1] + b',"x":1}', "a third name beside the signature"),
        ):
            maker.write(kind, name, bad, "form", reason)
        other = assist if sign is device else device
        for name, first_line, signer, reason in (
            ("no-line", b"", sign, "signed without its first line"),
            ("other-line", b"EARMARK/VOICE/1\n", sign, "signed under another first line"),
            ("other-signer", line, other, "signed by the other party"),
            ("other-device", line, cast.hall.sign, "signed by another device"),
        ):
            made = maker.signed(json_name, first_line, body, signer)
            maker.write(kind, name, made, "signature", reason)
    fields("ask", "poke", "ok", "without a reply key, after a poke", reply=None, why="poke")
    fields("ask", "level", "form", "level_db is 1", level_db=1)
    fields("ask", "since", "form", "since_ms is 1001", since_ms=1001)
    fields("ask", "id", "form", "the ask id has capitals", ask=ASK.upper())
    fields("ask", "why", "form", "another cause", why="idle")
    fields("confirmation", "second", "ok", "of the second part", part=2)
    fields("confirmation", "part-0", "form", "part is 0", part=0)
    fields("confirmation", "part-3", "form", "part is 3, which is never provisional", part=3)
    fields("answer", "elsewhere", "ok", "no key", key=None, verdict="elsewhere")
    fields("answer", "busy", "ok", "no key", key=None, verdict="busy")
    fields("answer", "speak-no-key", "form", "speak without a key", key=None)
    fields("answer", "busy-key", "form", "busy with a key", verdict="busy")
    for word in ("failed", "not-understood", "late", "again"):
        fields("outcome", word, "ok", word, outcome=word)
    fields("outcome", "other", "form", "another outcome", outcome="maybe")
    fields("voice-status", "on", "form", "on is 2", on=2)


def make_consents(maker: Maker) -> None:
    cast = maker.cast
    good = maker.consent()

    def one(name: str, outcome: str, reason: str, *consents: Fields) -> None:
        maker.write("consents", name, plain_json(list(consents)), outcome, reason)

    one("usual", "ok", "proven", good)
    one("off", "ok", "proven, off", maker.consent(on=0))
    one("empty", "ok", "no consent")
    one("device", "device", "for another speaker", maker.consent(device="hall"))
    one("inactive", "owner", "of an owner without a roster entry", maker.consent(owner="bob"))
    one("old-key", "owner", "okey is not the active key", maker.consent(okey=okey(cast.bob)))
    spare = good["assist"][:-2] + chr(ord(good["assist"][-2]) + 1) + "="
    one("assist", "assist", "the service key has spare bits", maker.consent(assist=spare))
    one("stranger", "code", "proven by another's key", maker.consent(cast.bob))
    one(
        "other-speaker",
        "code",
        "proven to another key",
        maker.consent(None, cast.hall.public_key()),
    )
    one("changed", "code", "n was changed", good | {"n": 8})
    one("old", "old", "n is not above the last one", maker.consent(n=LAST_N))
    one("zero", "form", "n is 0", maker.consent(n=0))
    one("beyond", "form", "n is 2^53 + 1", maker.consent(n=(1 << 53) + 1))
    one("flag", "form", "on is 2", maker.consent(on=2))
    one("unknown", "form", "a field x", good | {"x": 1})
    one("repeated", "form", "two of one owner for one speaker", good, maker.consent(n=8))
    many = [maker.consent(owner=f"owner-{number}") for number in range(40)]
    one("long", "form", "longer than 7 KiB", *many)
    maker.write("consents", "space", plain_json([good]) + b"\n", "form", "a newline")


def make_copies(maker: Maker) -> None:
    cast = maker.cast
    line, sign = b"EARMARK-COMMAND/1\n", cast.kitchen.sign
    small = maker.encrypt(maker.flac(b"{}", fill_bytes=1), cast.command)

    def outside(name: str, outcome: str, reason: str, **changes: object) -> None:
        header = plain_json(maker.copy_header(**changes))
        maker.write("command-copy", name, maker.file(line, header, small, sign), outcome, reason)

    def inside(name: str, outcome: str, reason: str, comment: Fields, **how: int) -> None:
        header = plain_json(maker.copy_header())
        sealed = maker.encrypt(maker.flac(plain_json(comment), **how), cast.command)
        maker.write("command-copy", name, maker.file(line, header, sealed, sign), outcome, reason)

    for name, changes in (("usual", {}), ("last-part", {"part": 3}), ("provisional", {"last": 0})):
        header = maker.copy_header(**changes)
        flac = maker.flac(plain_json(header | maker.copy_fields()))
        made = maker.file(line, plain_json(header), maker.encrypt(flac, cast.command), sign)
        maker.write("command-copy", name, made, "ok", "opens")
    usual = plain_json(maker.copy_header())
    for name, first_line in (
        ("envelope-line", b"EARMARK/1\n"),
        ("reply-line", b"EARMARK-REPLY/1\n"),
    ):
        made = maker.file(first_line, usual, small, sign)
        maker.write("command-copy", name, made, "form", "the first line of another kind")
    outside("age", "form", "age_ms is 15001", age_ms=15_001)
    outside("part", "form", "part is 4", part=4)
    outside("last", "form", "last is true", last=True)
    outside("seq", "form", "a field seq", seq=1)
    outside("owner", "form", "the owner outside", owner="ada")
    made = maker.file(line, usual, small, sign, claimed_bytes=524_289)
    maker.write("command-copy", "claim", made, "form", "a ciphertext over 512 KiB is claimed")
    outside("dkey", "device", "dkey of another device", dkey=keys.device_id(cast.hall.public_key()))
    made = maker.file(line, usual, small, cast.hall.sign)
    maker.write("command-copy", "signer", made, "signature", "signed by another device")
    made = maker.file(line, usual, small, sign)
    changed = made[:-1] + bytes([made[-1] ^ 1])
    maker.write("command-copy", "changed", changed, "ciphertext", "its last bit was changed")
    two = maker.encrypt(b"x", cast.command, cast.ada)
    made = maker.file(line, usual, two, sign)
    maker.write("command-copy", "two", made, "ciphertext", "two recipients")
    outside("key", "key", "key is the owner's", key=okey(cast.ada))
    made = maker.file(line, usual, maker.encrypt(b"x", cast.ada), sign)
    maker.write("command-copy", "elsewhere", made, "sealed", "sealed to another key than key says")
    both = maker.copy_header() | maker.copy_fields()
    inside("unfilled", "content", "not filled to 32 KiB", both, fill_bytes=1)
    inside("inner-age", "content", "age_ms differs inside", both | {"age_ms": 1233})
    inside("inner-score", "content", "a score inside", both | {"score": 1})
    inside("inner-ms", "content", "ms contradicts the sound", both | {"ms": 249})
    inside("inner-pre", "content", "pre_ms is above ms", both | {"pre_ms": 251})
    inside("inner-rate", "content", "8 kHz", both | {"rate": 8000, "ms": 500}, rate_hz=8000)
    inside("inner-none", "content", "only the header inside", maker.copy_header())
    inside("assist", "assist", "another assist was allowed", both | {"assist": "a" * 24})


def make_replies(maker: Maker) -> None:
    cast = maker.cast
    line, sign = b"EARMARK-REPLY/1\n", cast.assist.sign
    usual = plain_json(maker.reply_header())
    small = maker.encrypt(b"x", cast.reply)
    for name, rate_hz in (("usual", RATE_HZ), ("rate", 22_050)):
        fields = {"ms": len(maker.samples) * 1000 // rate_hz, "rate": rate_hz}
        flac = maker.flac(plain_json(maker.reply_header() | fields), rate_hz)
        made = maker.file(line, usual, maker.encrypt(flac, cast.reply), sign)
        maker.write("reply", name, made, "ok", f"{rate_hz} Hz")
    for name, data, outcome, reason in (
        ("command-line", maker.file(b"EARMARK-COMMAND/1\n", usual, small, sign), "form", "a copy"),
        (
            "age",
            maker.file(line, plain_json(maker.reply_header(age_ms=30_001)), small, sign),
            "form",
            "age_ms is 30001",
        ),
        ("device-signs", maker.file(line, usual, small, cast.kitchen.sign), "signature", "device"),
        (
            "two",
            maker.file(line, usual, maker.encrypt(b"x", cast.reply, cast.ada), sign),
            "ciphertext",
            "two recipients",
        ),
        (
            "key",
            maker.file(line, plain_json(maker.reply_header(key=okey(cast.command))), small, sign),
            "key",
            "the command key",
        ),
        (
            "elsewhere",
            maker.file(line, usual, maker.encrypt(b"x", cast.command), sign),
            "sealed",
            "sealed to another key",
        ),
        ("no-sound", maker.file(line, usual, small, sign), "content", "no FLAC file"),
    ):
        maker.write("reply", name, data, outcome, reason)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else KEYS
    KEYS.mkdir(exist_ok=True)
    maker = Maker(Cast(), folder)
    make_messages(maker)
    make_consents(maker)
    make_copies(maker)
    make_replies(maker)
    cast = maker.cast
    index = {
        "assist": keys.device_text(cast.assist.public_key()),
        "device": "kitchen",
        "device_key": keys.device_text(cast.kitchen.public_key()),
        "last_n": LAST_N,
        "messages": maker.index,
        "owner": "ada",
        "recipient": str(cast.ada.to_public()),
    }
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n", "ascii")


if __name__ == "__main__":
    main()
