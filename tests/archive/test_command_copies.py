"""Command copies and replies at the archive's intake: refused as ``form``, and nothing is kept."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listener.archive.receiver import Receiver, Refusal
from listener.archive.store import FileStore
from listener.envelope import format as form
from listener.envelope import seal
from listener.errors import VoiceError
from listener.mqtt.client import Message
from listener.voice import command_copy, reply
from tests.voice.conftest import ASK, World

if TYPE_CHECKING:
    from tests.conftest import Household

CLIP = "7b0c38cc-8b6c-4f43-9d3a-0d5a4ad4e1f1"
TOPIC = f"earmark/v1/clips/ada/hall/{CLIP}"


@pytest.fixture
def world(household: "Household") -> World:
    """The household's device and owner, so that only the kind of the message is wrong."""
    made = World()
    return World(hall=household.home.device_key(), assist=made.assist)


def kept(folder: Path) -> dict[str, bytes]:
    """Each file of the archive, but for its index."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("index.sqlite")
    }


def test_command_copy_and_reply_are_refused_as_form(
    receiver: Receiver, store: FileStore, folder: Path, world: World
) -> None:
    before = kept(folder)
    as_envelope = world.copy().replace(command_copy.MAGIC, form.MAGIC, 1)
    signed_again = seal.sign_ciphertext(
        form.MAGIC, world.copy_header(), world.copy().split(b"\n", 4)[4], world.hall
    )

    for data in (world.copy(), world.reply(), as_envelope, signed_again):
        answer = receiver.receive(Message(TOPIC, data))
        assert answer is not None
        assert answer.payload.startswith(b"refused:form:")

    assert receiver.refused == {Refusal.FORM: 4}
    assert list(store.clips()) == []
    assert kept(folder) == before


def test_command_copy_on_its_own_topic_is_not_stored(
    receiver: Receiver, store: FileStore, world: World
) -> None:
    for topic, data in (
        (f"earmark/v1/spoken/hall/{ASK}", world.copy()),
        ("earmark/v1/say/hall", world.reply()),
    ):
        assert receiver.receive(Message(topic, data)) is None

    assert receiver.refused == {Refusal.TOPIC: 2}
    assert list(store.clips()) == []


def test_envelope_that_the_archive_stores_is_not_a_command_copy(
    receiver: Receiver, household: "Household"
) -> None:
    header = household.header(1)
    data = household.seal(header)
    topic = f"earmark/v1/clips/{header.owner}/{header.device}/{header.clip}"
    assert receiver.receive(Message(topic, data)) is not None
    assert receiver.stored == 1

    for parse in (command_copy.parse_copy, reply.parse_reply):
        with pytest.raises(VoiceError) as caught:
            parse(data)
        assert caught.value.reason == "form"
