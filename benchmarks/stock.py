"""Contents of an archive: real envelopes of five owners over thirty days.

Files and rows are as the store writes them, except that all rows are one transaction.
"""

import hashlib
import sqlite3
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyrage

from listener.archive.records import ClipRecord, RowMac
from listener.archive.store import FileStore
from listener.envelope import format as envelope_format
from listener.envelope import keys
from listener.envelope.seal import seal
from listener.storage.home import Home

SHARES: Final = {"ada": 0.1, "bob": 0.5, "cleo": 0.01, "dora": 0.19, "emil": 0.2}
"""Part of the clips of each owner."""
DAYS: Final = 30
SOUND_BYTES: Final = 3_500


def fill(home: Home, clips: int) -> tuple[dict[str, Any], str]:
    """Store ``clips`` clips; return the owners' identities and a day in the middle."""
    device_key = home.device_key()
    home.change_roster(
        lambda roster: roster.with_device("hall", keys.device_text(device_key.public_key()))
    )
    people = {name: pyrage.x25519.Identity.generate() for name in SHARES}
    for name, identity in people.items():
        _enrol(home, name, str(identity.to_public()))
    begin = datetime.now(UTC).replace(hour=0, minute=0, second=0) - timedelta(days=DAYS - 1)
    private = envelope_format.PrivateFields(
        word="alexa",
        model="0" * 64,
        score=0.9,
        spk=None,
        pre_ms=0,
        ms=1000,
        rate=16_000,
        end_reason="silence",
        boot="0" * 16,
    )
    FileStore(home.path / "archive").close()
    row_mac = RowMac.for_key(home.archive_key())
    dkey = keys.device_id(device_key.public_key())
    seq = 0
    with closing(sqlite3.connect(home.path / "archive" / "index.sqlite")) as index, index:
        for name, share in SHARES.items():
            recipient = str(people[name].to_public())
            folder = home.path / "archive" / "clips" / name
            folder.mkdir(mode=0o700)
            number = round(clips * share)
            for at in range(number):
                seq += 1
                taken = begin + timedelta(days=DAYS) * at / number
                header = envelope_format.PublicHeader(
                    clip=str(uuid.uuid4()),
                    device="hall",
                    dkey=dkey,
                    owner=name,
                    okey=keys.owner_id(recipient),
                    seq=seq,
                    t=envelope_format.format_timestamp(taken),
                    ttl_s=90 * 86_400,
                )
                data = seal(header, private, lambda _: bytes(SOUND_BYTES), recipient, device_key)
                (folder / f"{header.clip}.earmark").write_bytes(data)
                _index(index, row_mac, header, data)
    return people, (begin + timedelta(days=DAYS // 2)).date().isoformat()


def _enrol(home: Home, name: str, recipient: str) -> None:
    now_s = int(time.time())
    home.change_roster(
        lambda roster: (
            roster.with_owner(name, recipient)
            .with_challenge(name, "answer", now_s)
            .with_confirmation(name, "answer", now_s)
        )
    )


def _index(
    index: sqlite3.Connection, row_mac: RowMac, header: envelope_format.PublicHeader, data: bytes
) -> None:
    """Insert a clip's row as the store does, without a transaction of its own."""
    taken_s = int(datetime.fromisoformat(header.t).timestamp())
    row: dict[str, Any] = {
        "clip": header.clip,
        "owner": header.owner,
        "device": header.device,
        "dkey": header.dkey,
        "seq": header.seq,
        "t": header.t,
        "ttl_s": header.ttl_s,
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "ciphertext_sha256": envelope_format.parse_envelope(data).seal.sha256,
        "received_s": taken_s,
        "expires_s": taken_s + header.ttl_s,
    }
    fields = {field: row[field] for field in ClipRecord.__dataclass_fields__}
    row["code"] = row_mac.compute(ClipRecord(**fields))
    index.execute(
        "insert into clip (clip, owner, device, dkey, seq, t, ttl_s, size_bytes, sha256,"
        " ciphertext_sha256, received_s, expires_s, code) values (:clip, :owner, :device, :dkey,"
        " :seq, :t, :ttl_s, :size_bytes, :sha256, :ciphertext_sha256, :received_s, :expires_s,"
        " :code)",
        row,
    )
