"""Check of the voiceprints, where clips are attributed by voice."""

from pathlib import Path
from typing import Final

from listener.config import Config
from listener.errors import EarmarkError
from listener.inference.speaker_embedding import load_model
from listener.quantities import quantity
from listener.storage.home import Home
from listener.storage.voiceprints import VoiceprintStore
from listener.system.findings import Check, Finding

_ENROL: Final = "run earmark owner enrol NAME at this speaker"


def check_voiceprints(config: Config) -> Finding | None:
    """Check that the enrolled owners' voices can be compared.

    Args:
        config: of the installation.

    Returns:
        None where ``attribution.mode`` compares no voices.
    """
    settings = config.attribution
    if settings.mode == "keeper":
        return None
    check = Check("voiceprints")
    home = Home(Path(config.home))
    store = VoiceprintStore(home.path)
    try:
        if not store.names() or not (home.path / "device.key").exists():
            return check.fail("no owner is enrolled, so no clip is made", _ENROL)
        loaded = store.load(
            home.roster(),
            home.device_key().public_key(),
            # The whole model is verified, as the process that compares voices does.
            load_model().manifest.sha256,
        )
    except EarmarkError as error:
        return check.fail_with(error)
    if loaded.refused:
        return check.fail_with(loaded.refused[0])
    if settings.mode == "keeper-voice" and settings.keeper not in loaded.accepted:
        return check.fail(f"the keeper {settings.keeper} is not enrolled", _ENROL)
    names = ", ".join(loaded.accepted)
    return check.ok(
        f"{quantity(len(loaded.accepted), 'owner')} enrolled: {names}",
        enrolled=len(loaded.accepted),
    )
