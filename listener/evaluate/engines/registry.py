"""Which engine each kind of a plan names."""

from pathlib import Path
from typing import Final

from listener.errors import ConfigError
from listener.evaluate.engines.earmark import earmark_recipe
from listener.evaluate.engines.external import external_recipe
from listener.evaluate.engines.interface import EngineRecipe
from listener.evaluate.engines.peers import microwakeword_recipe, openwakeword_recipe
from listener.evaluate.plan import EngineSettings

KINDS: Final = ("earmark", "openwakeword", "microwakeword", "command")


def build_recipe(settings: EngineSettings, home: Path) -> EngineRecipe:
    """Prepare the engine of one table of a plan.

    Args:
        settings: says its kind and its words.
        home: where models were added.

    Raises:
        ConfigError: there is no such kind, or its package is not installed.
        ModelRefused: a model is not there, or not what its manifest says.
        UsageError: a model is no wake word.
    """
    match settings.kind:
        case "earmark":
            return earmark_recipe(
                settings.name,
                home,
                settings.words,
                settings.hop_ms,
                stepwise=settings.stepwise,
            )
        case "openwakeword":
            return openwakeword_recipe(settings.name, home, settings.words)
        case "microwakeword":
            return microwakeword_recipe(settings.name, home, settings.words)
        case "command":
            return external_recipe(settings.name, settings.command, settings.words)
        case _:
            raise ConfigError(
                f"there is no kind of engine {settings.kind!r}", f"there are {', '.join(KINDS)}"
            )
