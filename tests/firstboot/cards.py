"""A card with its boot partition, and the person who carries it between two computers."""

from dataclasses import dataclass, field
from pathlib import Path

import pyrage

from listener.config import Config, parse_settings
from listener.firstboot.partition import CHALLENGE, NAME, RESULT, Partition
from listener.firstboot.steps import FirstBoot
from listener.owner.records import Owner
from listener.storage.home import Home


def decrypt_challenge(text: str, identity: pyrage.x25519.Identity | None) -> str:
    """Return what age -d prints of a challenge; nothing without the key."""
    if identity is None:
        return ""
    plain: bytes = pyrage.decrypt(text.encode(), [identity])
    return plain.decode().strip()


@dataclass(frozen=True, slots=True)
class Card:
    """A speaker's card: its boot partition, and what only the speaker reads."""

    folder: Path
    ada: pyrage.x25519.Identity = field(default_factory=pyrage.x25519.Identity.generate)

    @property
    def boot(self) -> Path:
        return self.folder / "boot"

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    @property
    def settings_file(self) -> Path:
        return self.folder / "etc" / "earmark.toml"

    @property
    def settings(self) -> Config:
        return parse_settings(self.settings_file.read_text(), "settings")

    @property
    def owner(self) -> Owner | None:
        return self.home.roster().owner("ada")

    @property
    def result(self) -> str:
        return (self.boot / RESULT).read_bytes().decode().replace("\r\n", "\n")

    @property
    def words(self) -> str:
        """The result, however its lines are broken."""
        return " ".join(self.result.split())

    @property
    def keys(self) -> str:
        return f'[owner]\nname = "ada"\nkey = "{self.ada.to_public()}"\n'

    def write(self, text: str, name: str = NAME) -> None:
        self.boot.mkdir(exist_ok=True)
        (self.boot / name).write_text(text)

    def start(self) -> int:
        """Start the speaker; return what the verb says."""
        return FirstBoot(Partition(self.boot), self.settings_file, self.home).run().exit_code

    def answer(self) -> str:
        """Do what the result says: open the challenge, and write the answer down."""
        text = (self.boot / CHALLENGE).read_bytes().decode()
        return f'[owner]\nanswer = "{decrypt_challenge(text, self.ada)}"\n'

    def everything(self) -> bytes:
        """Return all that lies on the boot partition, which everybody can read."""
        return b"".join(path.read_bytes() for path in self.boot.iterdir())
