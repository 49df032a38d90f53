"""Assist of the self-test: answers the ask of hear, so that it encrypts the clip a second time.

It needs no broker: the nonce of the ask is in the file that hear writes for the player, and the
answer goes to hear's socket, as send passes it on.
"""

from pathlib import Path
from typing import Final

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.ipc.datagrams import Outbox
from listener.ipc.player_state import read_player_state
from listener.ipc.voice_folder import locate_voice_folder
from listener.ipc.voice_paths import REPLY_KEY, VOICE_SOCKET
from listener.storage.atomic import make_folder
from listener.storage.home import Home
from listener.voice.consent_table import ConsentTable, KeptConsent
from listener.voice.messages import Answer, Outcome, VoiceStatement, sign_message

_DEVICE: Final = "selftest"


class FakeAssist:
    """Assist that the keeper of the self-test allowed; its keys are in memory only. One thread.

    Args:
        home: data directory of the run.
        keeper: name of the keeper, who is in the roster.
    """

    def __init__(self, home: Path, keeper: str) -> None:
        self._folder = locate_voice_folder(home)
        self._key = Ed25519PrivateKey.generate()
        self._command_key = str(pyrage.x25519.Identity.generate().to_public())
        self._ask = ""
        assist = keys.device_text(self._key.public_key())
        roster = Home(home).roster()
        consent = KeptConsent(
            assist=assist, n=1, okey=roster.known_owner(keeper).okey, on=1, owner=keeper
        )
        Home(home).change_consents(lambda _table: ConsentTable((consent,)))
        make_folder(self._folder)
        # Hear states an ask with a reply key only; nothing is ever sealed to this one.
        reply = str(pyrage.x25519.Identity.generate().to_public())
        (self._folder / REPLY_KEY).write_text(f"{reply}\n", "ascii")

    def answer(self) -> bool:
        """Answer the open ask; return whether there is a new one."""
        state = read_player_state(self._folder)
        if state is None or state.latest is None or state.latest.ask == self._ask:
            return False
        self._ask = state.latest.ask
        return self._send(
            Answer(ask=self._ask, device=_DEVICE, key=self._command_key, verdict="speak")
        )

    def state_outcome(self) -> bool:
        """State that the command was carried out; return whether hear received it."""
        return self._send(Outcome(ask=self._ask, device=_DEVICE, outcome="done"))

    def _send(self, statement: VoiceStatement) -> bool:
        outbox = Outbox(self._folder / VOICE_SOCKET)
        try:
            return outbox.send(sign_message(statement, self._key.sign))
        finally:
            outbox.close()
