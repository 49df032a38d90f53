"""Make the golden envelopes anew: ``python tests/vectors/make.py [FOLDER]``.

Age is randomised, so this makes other files of the same kinds. The committed ones are the golden
ones: run it only when a kind is added, and never to make a failing test pass.
"""

import base64
import hashlib
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyrage
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.clip import encode_clip
from listener.envelope import keys

HERE: Final = Path(__file__).resolve().parent
RATE_HZ: Final = 16_000
Fields = dict[str, Any]


def plain_json(fields: Fields) -> bytes:
    """Canonical for every value used here, and written without the code under test."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def armour(data: bytes, recipients: list[str], *, text: bool = False) -> bytes:
    keys_ = [pyrage.x25519.Recipient.from_str(recipient) for recipient in recipients]
    sealed: bytes = pyrage.encrypt(data, keys_, text)
    return sealed


@dataclass
class Cast:
    """Two owners, one who never confirmed, one stranger; two devices and one nobody knows."""

    owners: dict[str, str] = field(default_factory=dict)
    devices: dict[str, Ed25519PrivateKey] = field(default_factory=dict)

    @classmethod
    def read_or_make(cls) -> "Cast":
        cast = cls()
        for name in ("ada", "bob", "cleo"):
            path = HERE / f"{name}.key"
            if not path.exists():
                path.write_text(
                    f"# TEST KEY, known to everyone\n{pyrage.x25519.Identity.generate()}\n", "ascii"
                )
            secret = path.read_text("ascii").splitlines()[1]
            cast.owners[name] = str(pyrage.x25519.Identity.from_str(secret).to_public())
        for name in ("kitchen", "hall", "unknown"):
            path = HERE / f"{name}.pem"
            if not path.exists():
                path.write_bytes(keys.device_pem(Ed25519PrivateKey.generate()))
            cast.devices[name] = keys.parse_device_pem(path.read_bytes(), name)
        return cast


class Maker:
    """Writes envelopes piece by piece, so that each piece can be wrong."""

    def __init__(self, cast: Cast, folder: Path) -> None:
        self.cast = cast
        self.folder = folder
        self.index: list[Fields] = []
        time = np.arange(RATE_HZ // 4) / RATE_HZ
        self.samples = (3000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
        self._made = 0

    def header(self, owner: str = "ada", device: str = "kitchen", **changes: object) -> Fields:
        self._made += 1
        fields = {
            "v": 1,
            "clip": f"00000000-0000-4000-8000-{self._made:012}",
            "device": device,
            "dkey": keys.device_id(self.cast.devices[device].public_key()),
            "owner": owner,
            "okey": keys.owner_id(self.cast.owners[owner]),
            "seq": self._made,
            "t": "2026-11-22T08:00:00.000Z",
            "ttl_s": 2_592_000,
            "codec": "flac",
        }
        return fields | changes

    def private(self, **changes: object) -> Fields:
        fields = {
            "word": "alexa",
            "model": hashlib.sha256(b"a model").hexdigest(),
            "score": 0.9312,
            "spk": None,
            "pre_ms": 100,
            "ms": 250,
            "rate": RATE_HZ,
            "end_reason": "silence",
            "boot": "0123456789abcdef",
        }
        return fields | changes

    def flac(self, header: Fields, private: Fields | None = None) -> bytes:
        return encode_clip(self.samples, plain_json(header | (private or self.private())).decode())

    def ciphertext(self, header: Fields, private: Fields | None = None) -> bytes:
        return armour(self.flac(header, private), [self.cast.owners[str(header["owner"])]])

    def join(
        self,
        header: bytes,
        ciphertext: bytes,
        signer: str = "kitchen",
        *,
        magic: bytes = b"EARMARK/1\n",
        content: bytes | None = None,
    ) -> bytes:
        if content is None:
            content = plain_json(
                {"bytes": len(ciphertext), "sha256": hashlib.sha256(ciphertext).hexdigest()}
            )
        signed = magic + header + b"\n" + content + b"\n"
        signature = base64.b64encode(self.cast.devices[signer].sign(signed))
        return signed + signature + b"\n" + ciphertext

    def good(self, header: Fields | None = None, private: Fields | None = None) -> bytes:
        header = header or self.header()
        return self.join(
            plain_json(header), self.ciphertext(header, private), str(header["device"])
        )

    def inside(self, payload: Callable[[Fields], bytes]) -> bytes:
        """Return an envelope that is well outside and holds ``payload``."""
        header = self.header()
        return self.join(plain_json(header), armour(payload(header), [self.cast.owners["ada"]]))

    def write(self, name: str, outcome: str, reason: str, data: bytes, **more: object) -> None:
        """Keep a vector.

        ``archive`` in the index says whether checking without a secret accepts it.
        """
        (self.folder / "envelopes" / f"{name}.earmark").write_bytes(data)
        entry = {"file": f"envelopes/{name}.earmark", "identity": "ada.key", "outcome": outcome}
        self.index.append(entry | {"archive": outcome != "bad-envelope", "reason": reason} | more)


def good(make: Maker) -> None:
    def ok(name: str, reason: str, data: bytes, **more: object) -> None:
        make.write(name, "ok", reason, data, **more)

    ok("ok", "as every device makes them", make.good())
    ok("ok-bob", "another owner", make.good(make.header("bob")), identity="bob.key")
    ok("ok-hall", "another device", make.good(make.header(device="hall")))
    ok("ok-voice", "with a voice score", make.good(private=make.private(spk=-0.25, score=1.0)))
    ok("ok-small", "smallest numbers", make.good(make.header(ttl_s=1), make.private(score=0.0001)))
    largest = make.header(seq=999_999_999_999, ttl_s=315_360_000, t="9999-12-31T23:59:59.999Z")
    ok("ok-large", "largest numbers", make.good(largest))
    make.write(
        "not-for-bob",
        "not-for-you",
        "sealed to ada, opened by bob",
        make.good(),
        identity="bob.key",
    )


def bad_headers(make: Maker) -> None:
    """Headers that are no headers, each with a signature that holds."""

    def refuse(name: str, reason: str, data: bytes) -> None:
        make.write(name, "bad-envelope", reason, data)

    def header(name: str, reason: str, line: Callable[[Fields], bytes]) -> None:
        fields = make.header()
        refuse(f"header-{name}", reason, make.join(line(fields), make.ciphertext(fields)))

    def changed(name: str, reason: str, **changes: object) -> None:
        header(name, reason, lambda fields: plain_json(fields | changes))

    def replaced(name: str, reason: str, old: bytes, new: bytes) -> None:
        header(name, reason, lambda fields: plain_json(fields).replace(old, new, 1))

    changed("unknown-field", "a field more", word="alexa")
    header("missing-field", "a field less", lambda f: plain_json({k: f[k] for k in f if k != "t"}))
    header("missing-v", "no version", lambda f: plain_json({k: f[k] for k in f if k != "v"}))
    changed("bool", "true is not 1", seq=True)
    replaced("float", "1.0 is not an integer", b'"v":1', b'"v":1.0')
    changed("text-number", "a number as text", seq="5")
    changed("null", "null is no name", owner=None)
    replaced("nan", "NaN is not JSON", b'"ttl_s":2592000', b'"ttl_s":NaN')
    replaced("huge", "5,000 digits", b'"ttl_s":2592000', b'"ttl_s":' + b"9" * 1500)
    changed("v2", "another version", v=2)
    changed("seq-zero", "numbers begin at 1", seq=0)
    changed("seq-13-digits", "numbers have 12 digits at most", seq=10**12)
    changed("ttl-negative", "a time to live below 1", ttl_s=-1)
    changed("codec", "another codec", codec="opus")
    changed("clip-upper", "a UUID in upper case", clip="AAAAAAAA-AAAA-4AAA-8AAA-AAAAAAAAAAAA")
    changed("clip-v1", "a UUID of version 1", clip="00000000-0000-1000-8000-000000000000")
    changed(
        "clip-newline", "a newline after the UUID", clip="00000000-0000-4000-8000-000000000000\n"
    )
    changed("owner-upper", "a name with a capital", owner="Ada")
    changed("owner-path", "a name with a slash", owner="../ada")
    changed("owner-empty", "no name", owner="")
    changed("t-month-13", "no such month", t="2026-13-01T00:00:00.000Z")
    changed("t-zone", "not UTC", t="2026-11-22T08:00:00.000+01:00")
    changed("t-seconds", "without milliseconds", t="2026-11-22T08:00:00Z")
    replaced("spaces", "spaces in the JSON", b":", b": ")
    header(
        "unsorted",
        "fields in another order",
        lambda f: json.dumps(f, separators=(",", ":")).encode(),
    )
    replaced("escaped", "a letter written as an escape", b'"ada"', b'"\\u0061da"')
    replaced("twice", "a field twice", b'{"clip"', b'{"v":1,"clip"')
    replaced("not-utf8", "bytes that are no text", b'"ada"', b'"ad\xff"')
    header("array", "not an object", lambda f: b"[" + plain_json(f) + b"]")
    header("deep", "1,000 brackets", lambda _: b"[" * 1000)
    header("empty", "an empty line", lambda _: b"")
    changed("long", "more than 2,048 bytes", owner="a" * 2100)
    header("crlf", "a carriage return", lambda f: plain_json(f) + b"\r")


def bad_shapes(make: Maker) -> None:
    """Seals, signatures, beginnings and ends that are wrong."""

    def refuse(name: str, reason: str, data: bytes) -> None:
        make.write(name, "bad-envelope", reason, data)

    fields = make.header()
    line, body = plain_json(fields), make.ciphertext(fields)
    digest = hashlib.sha256(body).hexdigest()
    for name, reason, content in (
        ("bytes", "another length", plain_json({"bytes": len(body) + 1, "sha256": digest})),
        ("sha256", "another hash", plain_json({"bytes": len(body), "sha256": "0" * 64})),
        (
            "upper",
            "the hash in capitals",
            plain_json({"bytes": len(body), "sha256": digest.upper()}),
        ),
        ("unsorted", "another order", b'{"sha256":"%s","bytes":%d}' % (digest.encode(), len(body))),
        ("more", "a field more", plain_json({"bytes": len(body), "sha256": digest, "x": 1})),
    ):
        refuse(f"seal-{name}", reason, make.join(line, body, content=content))
    refuse("magic-2", "another format", make.join(line, body, magic=b"EARMARK/2\n"))
    whole = make.join(line, body)
    first, second, third, signature, rest = whole.split(b"\n", 4)
    loose = signature[:-3] + bytes([signature[-3] + 1]) + b"=="
    for name, reason, other in (
        ("loose", "base64 with a spare bit set", loose),
        ("short", "63 bytes", base64.b64encode(base64.b64decode(signature)[:-1])),
        ("space", "a space before it", b" " + signature[1:]),
        ("zero", "64 zero bytes", base64.b64encode(bytes(64))),
        ("empty", "none", b""),
    ):
        refuse(f"signature-{name}", reason, b"\n".join((first, second, third, other, rest)))
    for name, length in (
        ("nothing", 0),
        ("magic", 9),
        ("header", 100),
        ("seal", len(first + second) + 20),
        ("signature", len(first + second + third) + 20),
        ("ciphertext-all", len(whole) - len(rest)),
        ("age-header", len(whole) - len(rest) + 60),
        ("ciphertext", len(whole) - 1),
    ):
        refuse(f"cut-{name}", f"cut off: {name}", whole[:length])
    refuse("extended", "a byte after the end", whole + b"\n")
    refuse("not-an-envelope", "a FLAC file", make.flac(fields))


def bad_keys(make: Maker) -> None:
    """Labels, keys and ciphertexts that do not belong together."""

    def refuse(name: str, reason: str, data: bytes, **more: object) -> None:
        make.write(name, "bad-envelope", reason, data, **more)

    owners = make.cast.owners
    fields = make.header()
    line, body = plain_json(fields), make.ciphertext(fields)
    whole = make.join(line, body)
    okey = keys.owner_id(owners["bob"])
    for name, reason, label in (
        ("owner", "ada's clip with bob's name", {"owner": "bob"}),
        ("owner-okey", "ada's clip with bob's name and key", {"owner": "bob", "okey": okey}),
    ):
        other = plain_json(fields | label)
        refuse(f"relabelled-{name}", reason, whole.replace(line, other, 1), identity="bob.key")
        refuse(
            f"relabelled-{name}-signed",
            f"{reason}, signed by the device",
            make.join(other, body),
            identity="bob.key",
            archive="okey" in label,
        )
    his = make.good(make.header("bob")).split(b"\n", 4)
    hers = whole.split(b"\n", 4)
    refuse("swapped", "bob's ciphertext under ada's header", b"\n".join([*hers[:4], his[4]]))
    refuse(
        "swapped-seal",
        "bob's ciphertext and seal under ada's header",
        b"\n".join([*hers[:2], his[2], hers[3], his[4]]),
    )
    hall = make.header(device="hall")
    refuse(
        "resigned",
        "kitchen's clip, relabelled and signed by hall as its own",
        make.join(plain_json(fields | {k: hall[k] for k in ("device", "dkey")}), body, "hall"),
        archive=True,
    )
    refuse("signed-by-hall", "kitchen's header, hall's signature", make.join(line, body, "hall"))
    refuse("unknown-device", "a device nobody knows", make.good(make.header(device="unknown")))
    stranger = make.header() | {"dkey": make.header(device="unknown")["dkey"]}
    refuse(
        "wrong-dkey",
        "a known device's name with another key",
        make.join(plain_json(stranger), make.ciphertext(stranger), "unknown"),
    )
    refuse(
        "inactive-owner",
        "cleo never confirmed her key",
        make.good(make.header("cleo")),
        identity="cleo.key",
    )
    refuse(
        "wrong-key-inside",
        "labelled for ada, encrypted to bob: nobody opens it",
        make.join(line, armour(make.flac(fields), [owners["bob"]])),
        archive=True,
    )
    flac = make.flac(fields)
    noise, end = body.index(b"\n-> ", 40), body.index(b"\n--- ")
    for name, reason, ciphertext in (
        ("two-recipients", "sealed to ada and bob", armour(flac, [owners["ada"], owners["bob"]])),
        ("twice-ada", "sealed to ada twice", armour(flac, [owners["ada"], owners["ada"]])),
        ("armored", "age's text form", armour(flac, [owners["ada"]], text=True)),
        ("passphrase", "sealed with a passphrase", pyrage.passphrase.encrypt(flac, "secret")),
        ("two-noises", "two stanzas of grease", body[:end] + body[noise:end] + body[end:]),
        ("plain", "not encrypted at all", flac),
    ):
        refuse(f"age-{name}", reason, make.join(line, ciphertext))


def bad_inside(make: Maker) -> None:
    """Only the owner's side can tell: the archive accepts these, and she does not."""

    def refuse(name: str, reason: str, payload: Callable[[Fields], bytes]) -> None:
        make.write(f"inside-{name}", "bad-envelope", reason, make.inside(payload), archive=True)

    def private(name: str, reason: str, **changes: object) -> None:
        refuse(name, reason, lambda h: make.flac(h, make.private(**changes)))

    refuse("nothing", "an empty file", lambda _: b"")
    refuse("text", "not a FLAC file", lambda _: b"hello")
    refuse("other-clip", "another clip's header inside", lambda _: make.flac(make.header()))
    refuse(
        "other-owner",
        "bob's header inside",
        lambda h: make.flac(make.header("bob", clip=h["clip"])),
    )
    refuse("other-seq", "another number inside", lambda h: make.flac(h | {"seq": 99}))
    refuse("no-comment", "no fields inside", lambda _: encode_clip(make.samples, "-"))
    refuse(
        "public-only",
        "no private fields",
        lambda h: encode_clip(make.samples, plain_json(h).decode()),
    )
    refuse(
        "spaces",
        "another spelling",
        lambda h: encode_clip(make.samples, json.dumps(h | make.private())),
    )
    private("unknown-field", "a field more", who="Ada")
    private("score-2", "a score above 1", score=2.0)
    private("score-int", "a score without a point", score=1)
    private("score-digits", "a score with five decimals", score=0.12345)
    private("ms", "longer than its fields say", ms=240)
    private("pre-ms", "a wake behind the end", pre_ms=251)
    private("rate", "another rate than its fields say", rate=8_000)
    refuse("cut", "sound that breaks off", lambda h: make.flac(h)[:-500])

    def stereo(fields: Fields) -> bytes:
        out = io.BytesIO()
        with soundfile.SoundFile(out, "w", RATE_HZ, 2, "PCM_16", format="FLAC") as file:
            file.comment = plain_json(fields | make.private()).decode()
            file.write(np.stack([make.samples, make.samples], axis=1))
        return out.getvalue()

    def wav(fields: Fields) -> bytes:
        out = io.BytesIO()
        with soundfile.SoundFile(out, "w", RATE_HZ, 1, "PCM_16", format="WAV") as file:
            file.comment = plain_json(fields | make.private()).decode()
            file.write(make.samples)
        return out.getvalue()

    refuse("stereo", "two channels", stereo)
    refuse("wav", "a WAV file", wav)


def block_of(kind: int, data: bytes) -> bytes:
    """Return a metadata block that is not the last one."""
    return bytes([kind]) + len(data).to_bytes(3, "big") + data


def string_of(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text


STREAMINFO_END: Final = 4 + 4 + 34
"""Position behind the first block of every FLAC file."""


def with_blocks(flac: bytes, *blocks: bytes) -> bytes:
    return flac[:STREAMINFO_END] + b"".join(blocks) + flac[STREAMINFO_END:]


def comments_of(*tags: bytes, behind: bytes = b"") -> bytes:
    return (
        string_of(b"x")
        + len(tags).to_bytes(4, "little")
        + b"".join(string_of(tag) for tag in tags)
        + behind
    )


def with_comments(flac: bytes, comments: bytes) -> bytes:
    """Put another block in place of the comments, which are the second and last one."""
    old = int.from_bytes(flac[STREAMINFO_END + 1 : STREAMINFO_END + 4], "big")
    new = bytes([0x84]) + len(comments).to_bytes(3, "big") + comments
    return flac[:STREAMINFO_END] + new + flac[STREAMINFO_END + 4 + old :]


def with_samples(flac: bytes, count: int) -> bytes:
    """Let STREAMINFO claim another number of samples."""
    packed = int.from_bytes(flac[18:26], "big") >> 36 << 36 | count
    return flac[:18] + packed.to_bytes(8, "big") + flac[26:]


def bad_flac(make: Maker) -> None:
    """FLAC files in which two readers see different things."""
    flac = make.flac
    picture = b"".join(
        [bytes([0, 0, 0, 3, 0, 0, 0, 9]), b"image/png", bytes(20), (9000).to_bytes(4, "big")]
    ) + bytes(9000)

    def tag(fields: Fields, name: bytes = b"COMMENT") -> bytes:
        return name + b"=" + plain_json(fields | make.private())

    def refuse(name: str, reason: str, payload: Callable[[Fields], bytes]) -> None:
        make.write(f"flac-{name}", "bad-envelope", reason, make.inside(payload), archive=True)

    def comments(name: str, reason: str, build: Callable[[Fields], bytes]) -> None:
        refuse(name, reason, lambda h: with_comments(flac(h), build(h)))

    def added(name: str, reason: str, kind: int, data: bytes) -> None:
        refuse(name, reason, lambda h: with_blocks(flac(h), block_of(kind, data)))

    comments(
        "two-comments",
        "a second comment for bob",
        lambda h: comments_of(tag(h), tag(h | {"owner": "bob"})),
    )
    comments(
        "two-comments-first",
        "a first comment for bob",
        lambda h: comments_of(tag(h | {"owner": "bob"}), tag(h, b"comment")),
    )
    comments("other-tag", "a title", lambda h: comments_of(tag(h), b"TITLE=hello"))
    comments("no-tag", "no comment", lambda _: comments_of())
    comments(
        "bytes-behind-tags", "bytes behind the tags", lambda h: comments_of(tag(h), behind=b"x")
    )
    comments(
        "claimed-tags",
        "4 billion tags claimed",
        lambda h: string_of(b"x") + b"\xff" * 4 + string_of(tag(h)),
    )
    refuse(
        "two-comment-blocks",
        "a second block of comments for bob",
        lambda h: with_blocks(flac(h), block_of(4, comments_of(tag(h | {"owner": "bob"})))),
    )
    added("picture", "a picture", 6, picture)
    added("application", "data of an application", 2, b"evil" + bytes(100))
    added("seek-table", "a seek table", 3, b"\xff" * 18)
    added("cue-sheet", "a cue sheet", 5, bytes(396))
    added("unknown-block", "a block of an unknown type", 126, b"hidden")
    added("padding-of-bytes", "padding that is not 0", 1, b"hidden")
    added("two-streaminfos", "a second STREAMINFO", 0, bytes(34))
    refuse(
        "many-paddings",
        "1,000 blocks of padding",
        lambda h: with_blocks(flac(h), *[block_of(1, b"")] * 1000),
    )
    refuse("behind", "a ZIP file behind the sound", lambda h: flac(h) + b"PK\5\6" + bytes(18))
    refuse("twice", "the sound of another file behind it", lambda h: flac(h) + flac(h)[200:])
    refuse("id3", "an ID3 tag before it", lambda h: b"ID3\3" + bytes(6) + flac(h))
    for name, count in (("more", 4001), ("fewer", 3999), ("none", 0), ("most", (1 << 36) - 1)):
        refuse(
            f"samples-{name}",
            f"{count} samples claimed of 4000",
            lambda h, count=count: with_samples(flac(h), count),  # type: ignore[misc]  # mypy infers no default
        )
    refuse("md5", "another MD5 of the samples", lambda h: flac(h)[:26] + bytes(16) + flac(h)[42:])
    make.write(
        "ok-padding",
        "ok",
        "padding of zeros",
        make.inside(lambda h: with_blocks(flac(h), block_of(1, bytes(100)))),
    )


def main(folder: Path) -> None:
    cast = Cast.read_or_make()
    shutil.rmtree(folder / "envelopes", ignore_errors=True)
    (folder / "envelopes").mkdir()
    make = Maker(cast, folder)
    good(make)
    bad_headers(make)
    bad_shapes(make)
    bad_keys(make)
    bad_inside(make)
    bad_flac(make)
    index = {
        "owners": {name: cast.owners[name] for name in ("ada", "bob")},
        "inactive_owners": {"cleo": cast.owners["cleo"]},
        "devices": {
            name: keys.device_text(cast.devices[name].public_key()) for name in ("kitchen", "hall")
        },
        "envelopes": make.index,
    }
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n", "ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
