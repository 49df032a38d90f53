"""A spoken command through real hear, send and mosquitto; the test plays owner and assist."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion

from listener.envelope import keys
from listener.envelope.open import parse_identities
from listener.mqtt.paho_thread import stop_network_thread
from listener.voice.command_copy import parse_copy
from listener.voice.consent import Consent, encode_consents, make_consent
from listener.voice.messages import POKE, Answer, Ask, Outcome, parse_ask, sign_message
from listener.voice.open_copy import open_copy

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

Wait = Callable[[Callable[[], object], str], None]
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


class PlayedAssist:
    """An assist that answers every ask with a key, and every copy with an outcome."""

    def __init__(self, port: int, household: "Household") -> None:
        self.key = Ed25519PrivateKey.generate()
        self.asks: list[Ask] = []
        self.said: list[bytes] = []
        self.copies: list[bytes] = []
        self.outcomes: list[str] = []
        self.status: dict[str, object] = {}
        self.command_key = pyrage.x25519.Identity.generate()
        self._device_key = household.device_key.public_key()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("earmark/v1/#")
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def consent(self, household: "Household", n: int, *, on: int) -> None:
        """Say ada's word, as the archive carries it."""
        (identity,) = parse_identities(household.identities["ada"].encode(), "ada's")
        consent = Consent(
            assist=keys.device_text(self.key.public_key()),
            device="hall",
            n=n,
            okey=identity.okey,
            on=on,
            owner="ada",
        )
        proven = make_consent(consent, identity.agreement(), self._device_key)
        self._client.publish("earmark/v1/consents/hall", encode_consents([proven]), 1, retain=True)

    def close(self) -> None:
        self._client.disconnect()
        stop_network_thread(self._client)

    def _take(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        payload = bytes(message.payload)
        match message.topic.split("/")[2]:
            case "ask":
                asked = parse_ask(payload).verify(self._device_key)
                answer = Answer(
                    ask=asked.ask,
                    device="hall",
                    key=str(self.command_key.to_public()),
                    verdict="speak",
                )
                self._answer(sign_message(answer, self.key.sign))
                self.asks.append(asked)
            case "spoken":
                ask = message.topic.split("/")[4]
                self._answer(
                    sign_message(Outcome(ask=ask, device="hall", outcome="done"), self.key.sign)
                )
                self.copies.append(payload)
            case "event":
                event = json.loads(payload)
                if event["event_type"] == "command":
                    self.outcomes.append(event["outcome"])
            case "status":
                self.status = json.loads(payload)
            case _:
                pass

    def repeat(self) -> None:
        """Say everything again that was said so far, and poke behind it."""
        for payload in [*self.said, POKE]:
            self._client.publish("earmark/v1/answer/hall", payload)

    def _answer(self, payload: bytes) -> None:
        self.said.append(payload)
        self._client.publish("earmark/v1/answer/hall", payload)


@pytest.fixture
def assist(mosquitto: "Mosquitto", household: "Household") -> Iterator[PlayedAssist]:
    mosquitto.start()
    made = PlayedAssist(mosquitto.port, household)
    yield made
    made.close()


def is_poked(assist: PlayedAssist, asks: int) -> bool:
    """Repeat everything until a poke behind it is answered: one in 5 s at most."""
    assist.repeat()
    time.sleep(0.5)
    return len(assist.asks) >= asks


def test_command_reaches_assist_and_its_outcome_the_broker(
    earmark: "Earmark",
    assist: PlayedAssist,
    household: "Household",
    tmp_path: Path,
    wait_until: Wait,
) -> None:
    names = itertools.chain(["quiet", "alexa_command", "talk"], ["quiet"] * 60)
    files = [str(FIXTURES / f"{name}.flac") for name in names]
    with (tmp_path / "earmark.toml").open("a") as config:
        config.write(f'attribution.keeper = "ada"\nmicrophone.files = {json.dumps(files)}\n')
        # The played assist answers the first copy, which has to be the whole command.
        config.write("clip.provisional_parts = false\n")
    spool = household.home.path / "spool"
    assist.consent(household, 7, on=1)
    earmark.start("send")
    wait_until((spool / "consents.json").exists, "the consent is stored")
    earmark.start("hear", "--json")

    wait_until(lambda: assist.outcomes, "the outcome of the command")

    assert assist.outcomes == ["done"]
    (ask,) = assist.asks
    (data,) = assist.copies
    assist_id = keys.device_id(assist.key.public_key())
    device_key = household.device_key.public_key()
    opened = open_copy(parse_copy(data), device_key, assist.command_key, assist_id)
    assert (opened.header.ask, opened.header.last) == (ask.ask, 1)
    assert (opened.fields.owner, opened.fields.word, opened.fields.n) == ("ada", "alexa", 7)
    assert len(opened.samples) > 2 * 16_000, "the sentence"
    assert list((household.home.path / "run" / "voice" / "copies").iterdir()) == []
    assert len(list(spool.glob("*.ada.*.earmark"))) == 1, "the history copy waits for the archive"

    def counts() -> list[tuple[object, object, object]]:
        statuses = assist.status.get("voice", [])
        assert isinstance(statuses, list)
        stated = [one["voice"] for one in statuses]
        return [(one["on"], one["asks"], one["copies"]) for one in stated]

    wait_until(lambda: counts() == [(1, 1, 1)], "the signed counts")
    # What was recorded makes no copy again, nor does an answer to a poke.
    wait_until(lambda: is_poked(assist, 2), "the ask of the poke")
    earmark.kill("send")
    wait_until(lambda: assist.status == {"state": "offline"}, "the last will")
    earmark.start("send")
    wait_until(lambda: assist.status.get("hearing"), "send is connected again")
    wait_until(lambda: is_poked(assist, 3), "the ask of a later poke")
    assert [asked.why for asked in assist.asks] == ["wake", "poke", "poke"]

    assist.consent(household, 8, on=0)
    wait_until(lambda: counts() == [(0, 3, 1)], "the off has arrived, and is shown")
    assert (len(assist.copies), assist.outcomes) == (1, ["done"])
