"""Check what the last power cut left, then write as a speaker and its archive do, until the next.

Every step goes through the code that is installed: sequence, seal, spool, receiver, store, index.
A line is printed once the call behind it has returned, so what is told has to be there ever after.
"""

import hashlib
import logging
import os
import random
import sqlite3
import sys
import time
import uuid
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from listener.archive.receiver import Receiver
from listener.archive.store import FileStore
from listener.config import SpoolSettings
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.seal import seal
from listener.mqtt import topics
from listener.mqtt.client import Message
from listener.spool.queue import Spool
from listener.storage.home import Home

OWNER = "ada"
DEVICE = "kitchen"
WAITING = 8
"""So many clips at most wait in the spool: then some are taken."""


def tell(*words: object) -> None:
    print("cut:", *words, flush=True)


def short(clip: str, data: bytes) -> str:
    return f"{clip} {hashlib.sha256(data).hexdigest()[:16]}"


def check(home: Home, archive: Path, spool: Spool, receiver: Receiver, store: FileStore) -> None:
    """Say what is there; what cannot be read or does not hold is an exception, and the end."""
    key = home.device_key()
    tell("device", keys.device_id(key.public_key()))
    tell("roster", len(home.roster().owners), len(home.roster().devices))
    tell("mended", store.repair(receiver.verify))
    numbers: dict[int, str] = {}
    for entry in spool.waiting():
        data = spool.read(entry)
        assert data is not None
        header = receiver.verify(data).header
        assert (header.clip, header.owner, header.seq) == (entry.clip, entry.owner, entry.seq)
        assert header.seq not in numbers, "a number came twice"
        numbers[header.seq] = header.clip
        tell("spool", short(entry.clip, data))
    index = sqlite3.connect(f"file:{archive / 'index.sqlite'}?mode=ro", uri=True)
    assert index.execute("pragma integrity_check").fetchall() == [("ok",)]
    index.close()
    rows = list(store.clips())
    files = {path.stem for path in (archive / "clips").glob("*/*.earmark")}
    assert files == {row.clip for row in rows}, "files and rows of the archive differ"
    for row in rows:
        data = store.path(row.owner, row.clip).read_bytes()
        header = receiver.verify(data).header
        assert header.clip == row.clip
        # A clip may lie on both sides; two clips never have one number, told of or not.
        assert numbers.setdefault(header.seq, header.clip) == header.clip, "a number came twice"
        tell("archive", short(row.clip, data))
    strays = [
        str(path.relative_to(archive))
        for path in archive.rglob("*")
        if path.is_file() and ("quarantine" in path.parts or path.suffix == ".part")
    ]
    tell("strays", len(strays), *strays)
    tell("counts", spool.counts().acked)
    following = home.next_seq()
    assert following > max(numbers, default=0), "the sequence went back"
    tell("next", following)
    tell("checked")


def write(home: Home, spool: Spool, receiver: Receiver) -> None:
    """Put clips into the spool and take them into the archive, for ever."""
    device_key = home.device_key()
    owner = home.roster().owner(OWNER)
    assert owner is not None
    random.seed()
    while True:
        if random.random() < 0.6 and len(spool.waiting()) < WAITING:
            seq = home.next_seq()
            header = form.PublicHeader(
                clip=str(uuid.uuid4()),
                device=DEVICE,
                dkey=keys.device_id(device_key.public_key()),
                owner=OWNER,
                okey=owner.okey,
                seq=seq,
                t=form.format_timestamp(datetime.now(UTC)),
                ttl_s=30 * 86_400,
            )
            private = form.PrivateFields(
                word="alexa",
                model="0" * 64,
                score=0.9,
                spk=None,
                pre_ms=1500,
                ms=3000,
                rate=16_000,
                end_reason="silence",
                boot="0" * 16,
            )
            sound = os.urandom(random.randrange(1_000, 30_000))
            data = seal(
                header,
                private,
                partial(passing, sound),
                owner.recipient,
                device_key,
            )
            spool.put(header.clip, OWNER, seq, data)
            tell("put", seq, short(header.clip, data))
        elif (entry := spool.oldest()) is not None:
            taken = spool.read(entry)
            assert taken is not None
            topic = topics.CLIP.name(owner=entry.owner, device=DEVICE, clip=entry.clip)
            answer = receiver.receive(Message(topic, taken, topics.CLIP.qos, topics.CLIP.retain))
            assert answer is not None, "the archive did not take it"
            tell("kept", short(entry.clip, taken))
            spool.remove(entry)


def passing(sound: bytes, comment: str) -> bytes:
    return b"fLaC" + sound + comment.encode()


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="cut: log %(message)s", stream=sys.stdout)
    state = Path(sys.argv[1])
    home = Home(state / "earmark")
    archive = Home(state / "earmark-archive")
    store = FileStore(archive.path / "archive")
    receiver = Receiver(store, archive.roster, time.time)
    spool = Spool(home.path / "spool", SpoolSettings())
    check(home, archive.path / "archive", spool, receiver, store)
    if sys.argv[2:] != ["--check"]:
        write(home, spool, receiver)


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:
        tell("WRONG", repr(error))
        raise
