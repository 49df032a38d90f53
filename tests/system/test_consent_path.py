"""A consent from the owner's computer to the speaker and back, with real processes and a broker."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.hear.consent_follower import ConsentFollower
from listener.ipc.notice_socket import SOCKET, NoticeSender
from listener.ipc.notices import VoiceNotice
from listener.voice.messages import VoiceStatus, sign_message

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]


class HearSide:
    """What hear does with consents: follow the stored message, and sign a status of it."""

    def __init__(self, household: "Household") -> None:
        self._key = household.device_key
        self._notices = NoticeSender(household.home.path / SOCKET)
        self._follower = ConsentFollower(
            household.home, "hall", self._key, "ada", lambda save: save()
        )

    def close(self) -> None:
        self._notices.close()

    def followed(self) -> dict[str, str]:
        """Follow, state it, and return the assist that is asked for each owner."""
        self._follower.follow()
        for owner, one in self._follower.active.items():
            status = VoiceStatus(
                asks=0,
                assist=keys.device_id(keys.parse_device(one.assist)),
                boot="0" * 16,
                copies=0,
                device="hall",
                n=one.n,
                on=int(owner in self._follower.counting),
                owner=owner,
            )
            message = msgspec.Raw(sign_message(status, self._key.sign))
            self._notices.send(VoiceNotice(message=message))
        return {name: one.assist for name, one in self._follower.counting.items()}


@pytest.fixture
def hear(household: "Household") -> Iterator[HearSide]:
    made = HearSide(household)
    yield made
    made.close()


def test_consent_reaches_the_speaker_and_its_status_the_owner(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    hear: HearSide,
    tmp_path: Path,
    wait_until: Wait,
) -> None:
    assist = keys.device_text(Ed25519PrivateKey.generate().public_key())
    identity = tmp_path / "ada.key"
    identity.write_text(household.identities["ada"])
    who = ("--owner", "ada", "--identity", str(identity))
    socket = household.home.path / "archive.sock"
    mosquitto.start()
    earmark.start("archive")
    earmark.start("send")
    wait_until(socket.exists, "the archive answers")

    def shown() -> dict[str, Any]:
        row: dict[str, Any] = json.loads(earmark.run("clips", "voice", "--json", *who).stdout)
        time.sleep(0.2)
        return row

    given = earmark.run(*("clips", "voice", "on", "--speaker", "hall", "--assist", assist, *who))
    assert given.returncode == 0, given.stderr
    wait_until(lambda: hear.followed() == {"ada": assist}, "the speaker follows on")
    wait_until(lambda: shown()["state"] == "follows", "the owner sees it")

    # The broker is away: the off waits in the archive, and the owner sees who stays behind.
    mosquitto.kill()
    assert earmark.run("clips", "voice", "off", *who).returncode == 0
    assert shown()["state"] == "behind"
    assert hear.followed() == {"ada": assist}
    at_speaker = earmark.run("owner", "voice", "off", "ada")
    assert at_speaker.returncode == 0, at_speaker.stderr
    assert hear.followed() == {}

    mosquitto.start()
    wait_until(lambda: hear.followed() == {} and shown()["state"] != "behind", "the speaker is off")
    assert shown()["follows"]["on"] == 0
    assert "Traceback" not in earmark.said("send") + earmark.said("archive")
