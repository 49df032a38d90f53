import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from listener.errors import ModelRefused, UsageError
from listener.evaluate.engines.peers import PeerRecipe, microwakeword_recipe, openwakeword_recipe

pytestmark = pytest.mark.system  # real engines

HOME = Path("/nonexistent")

Make = Callable[[str, Path, tuple[str, ...]], PeerRecipe]


@pytest.mark.parametrize("make", [openwakeword_recipe, microwakeword_recipe])
def test_a_recipe_can_be_sent_and_rests_on_its_models(make: Make) -> None:
    recipe = make("one", HOME, ("alexa",))

    again = pickle.loads(pickle.dumps(recipe))

    assert again == recipe
    assert hash(again) == hash(recipe)
    assert all(len(value) == 64 for value in recipe.hashes().values())
    other = make("other", HOME, ("hey-jarvis",))
    assert other.key != recipe.key
    assert make("other", HOME, ("alexa",)).key == recipe.key


def test_a_model_that_an_engine_does_not_have_is_said() -> None:
    with pytest.raises(UsageError, match="no model timer"):
        microwakeword_recipe("micro", HOME, ("timer",))
    with pytest.raises((ModelRefused, UsageError)):
        openwakeword_recipe("theirs", HOME, ("no-such-word",))
