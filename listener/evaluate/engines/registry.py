"""Registry of engine kinds: builds the recipe that a plan names."""

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
    """Return the recipe of one engine of a plan.

    Args:
        settings: kind, words and options of the engine.
        home: data directory with added models.

    Raises:
        ConfigError: the kind is unknown, or its package is not installed.
        ModelRefused: a model is missing, or does not match its manifest.
        UsageError: a model is not a wake-word model.
    """
    match settings.kind:
        case "earmark":
            return earmark_recipe(
                settings.name,
                home,
                settings.words,
                settings.hop_ms,
                stepwise=settings.stepwise,
                first_stage=settings.first_stage,
                second_opinion=settings.second_opinion,
            )
        case "openwakeword":
            return openwakeword_recipe(settings.name, home, settings.words)
        case "microwakeword":
            return microwakeword_recipe(settings.name, home, settings.words)
        case "command":
            return external_recipe(settings.name, settings.command, settings.words)
        case _:
            raise ConfigError(
                f"unknown engine kind {settings.kind!r}", f"use one of {', '.join(KINDS)}"
            )
