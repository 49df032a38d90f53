"""Sequence numbers above both the device's own and those that the archive accepted."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.hear.sequence import MOST_SKIPPED, SequenceNumbers
from listener.mqtt import sequence
from listener.mqtt.sequence import AcceptedSequence
from listener.storage.home import Home

ARCHIVE = Ed25519PrivateKey.generate()


class Speaker:
    """A device that joined the household of ARCHIVE."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        self.key = self.home.device_key().public_key()
        self.home.pin_archive(ARCHIVE.public_key())
        self.statement = path / "spool" / "sequence.json"
        self.statement.parent.mkdir()
        self.numbers = SequenceNumbers(self.home, "hall", self.key)

    def state(self, seq: int, signer: Ed25519PrivateKey = ARCHIVE, **fields: str) -> None:
        """Store a statement as send does; the process that sends is not trusted."""
        given = {"device": "hall", "dkey": keys.device_id(self.key)} | fields
        stated = AcceptedSequence(device=given["device"], dkey=given["dkey"], seq=seq)
        self.statement.write_bytes(sequence.encode(stated, signer.sign))


@pytest.fixture
def speaker(home: Path) -> Speaker:
    return Speaker(home)


def test_restored_number_continues_above_the_accepted_one(
    speaker: Speaker, caplog: pytest.LogCaptureFixture
) -> None:
    copy = (speaker.home.path / "sequence").read_bytes()
    assert [speaker.numbers.next_seq() for _ in range(4)] == [1, 2, 3, 4]
    speaker.state(4)
    assert speaker.numbers.next_seq() == 5
    assert caplog.text == ""

    (speaker.home.path / "sequence").write_bytes(copy)
    speaker.state(5)
    restored = SequenceNumbers(speaker.home, "hall", speaker.key)

    assert [restored.next_seq() for _ in range(2)] == [6, 7]
    assert caplog.text.count("skipped 5 numbers") == 1
    assert "this card was restored from a copy, or another machine has the same key" in caplog.text


def test_older_statement_does_not_lower_the_number(speaker: Speaker) -> None:
    speaker.state(10)
    assert speaker.numbers.next_seq() == 11

    speaker.state(3)

    assert speaker.numbers.next_seq() == 12


def test_statement_that_is_not_the_archives_does_not_move_the_number(speaker: Speaker) -> None:
    speaker.state(900, Ed25519PrivateKey.generate())
    assert speaker.numbers.next_seq() == 1
    speaker.state(900, device="bath")
    assert speaker.numbers.next_seq() == 2
    speaker.state(900, dkey="a" * 24)
    assert speaker.numbers.next_seq() == 3
    for data in (b"", b"{}", b"900", b"x" * 5000):
        speaker.statement.write_bytes(data)
        assert speaker.numbers.next_seq() < 900


@pytest.mark.parametrize("pin", [None, b"ed25519:???"])
def test_statement_without_a_pinned_key_is_ignored(speaker: Speaker, pin: bytes | None) -> None:
    path = speaker.home.path / "archive.pub"
    path.unlink() if pin is None else path.write_bytes(pin)
    speaker.state(900)

    assert speaker.numbers.next_seq() == 1


def test_hostile_archive_cannot_use_up_the_numbers(speaker: Speaker) -> None:
    speaker.state(999_999_999_999)

    assert speaker.numbers.next_seq() == MOST_SKIPPED + 1
    assert speaker.numbers.next_seq() == 2 * MOST_SKIPPED + 2


def test_pipe_or_link_in_place_of_the_statement_is_ignored(
    speaker: Speaker, tmp_path: Path
) -> None:
    os.mkfifo(speaker.statement)
    assert speaker.numbers.next_seq() == 1
    speaker.statement.unlink()
    speaker.statement.symlink_to(tmp_path / "elsewhere")
    assert speaker.numbers.next_seq() == 2


def test_reserved_number_is_on_the_disk_before_it_is_used(speaker: Speaker) -> None:
    speaker.numbers.reserve()
    assert (speaker.home.path / "sequence").read_bytes() == b"1\n"

    speaker.numbers.reserve()
    assert [speaker.numbers.next_seq() for _ in range(2)] == [1, 2]
    speaker.numbers.reserve()
    restarted = SequenceNumbers(speaker.home, "hall", speaker.key)

    assert restarted.next_seq() == 4, "a number that was reserved before a restart is a gap"


def test_reserved_number_that_the_archive_has_accepted_meanwhile_is_not_used(
    speaker: Speaker,
) -> None:
    speaker.numbers.reserve()
    speaker.state(7)

    assert speaker.numbers.next_seq() == 8
