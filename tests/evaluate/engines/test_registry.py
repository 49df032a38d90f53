"""Engine kinds of a plan."""

from pathlib import Path

import pytest

from listener.errors import ConfigError
from listener.evaluate.engines.earmark import EarmarkRecipe
from listener.evaluate.engines.registry import KINDS, build_recipe
from listener.evaluate.plan import EngineSettings

HOME = Path("/nonexistent")


def test_earmark_is_the_default_engine() -> None:
    recipe = build_recipe(EngineSettings(name="x"), HOME)

    assert isinstance(recipe, EarmarkRecipe)
    assert (recipe.name, recipe.words, recipe.stepwise) == ("x", ("alexa",), False)


@pytest.mark.parametrize("kind", ["openwakeword", "microwakeword"])
def test_external_engines_have_recipes(kind: str) -> None:
    recipe = build_recipe(EngineSettings(name="x", kind=kind), HOME)

    assert recipe.name == "x"
    assert len(recipe.key) == 64


def test_command_engine_without_a_command_is_an_error() -> None:
    with pytest.raises(ConfigError, match="needs a command"):
        build_recipe(EngineSettings(kind="command"), HOME)


def test_unknown_engine_kind_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown engine kind 'other'") as caught:
        build_recipe(EngineSettings(kind="other"), HOME)

    assert all(kind in caught.value.hint for kind in KINDS)
