"""Recipes of other engines by the same ruler: openWakeWord's own code, and microWakeWord.

Each is driven as its makers drive it, in a module of its own, and its scores are judged by the
same rule as ours. Both are extras; ``piped.py`` runs any other engine as a process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.errors import UsageError
from listener.evaluate.corpus.playing import file_hash
from listener.evaluate.engines import microwakeword
from listener.evaluate.engines.engine import Engine
from listener.evaluate.engines.microwakeword import MicroWakeWord
from listener.evaluate.engines.openwakeword import OpenWakeWord
from listener.evaluate.engines.packages import package_versions
from listener.evaluate.engines.provenance import digest_of
from listener.inference.catalogue import Catalogue

OPENWAKEWORD: Final = "openwakeword"
MICROWAKEWORD: Final = "microwakeword"


@dataclass(frozen=True, slots=True)
class PeerRecipe:
    """How to make an engine of somebody else's package; see ``EngineRecipe``."""

    kind: str
    name: str
    home: Path
    words: tuple[str, ...]
    key: str
    model_hashes: tuple[tuple[str, str], ...]

    def hashes(self) -> Mapping[str, str]:
        """See ``EngineRecipe.hashes``."""
        return dict(self.model_hashes)

    def build(self) -> Engine:
        """Make it.

        Raises:
            ConfigError: its package is not installed.
            ModelRefused: a model is not there any more, or is another.
        """
        if self.kind == OPENWAKEWORD:
            catalogue = Catalogue(self.home)
            return OpenWakeWord([catalogue.load(word) for word in self.words])
        return MicroWakeWord(self.words)


def openwakeword_recipe(name: str, home: Path, words: tuple[str, ...]) -> PeerRecipe:
    """Prepare openWakeWord's own code with models of our catalogue.

    Raises:
        ConfigError: the package is not installed.
        ModelRefused: a model is not there, or not what its manifest says.
    """
    catalogue = Catalogue(home)
    models = [catalogue.load(word) for word in words]
    hashes = tuple((model.name, model.manifest.sha256) for model in models)
    packages = package_versions(OPENWAKEWORD, "onnxruntime", "numpy")
    key = digest_of(OPENWAKEWORD, hashes, packages)
    return PeerRecipe(OPENWAKEWORD, name, home, words, key, hashes)


def microwakeword_recipe(name: str, home: Path, words: tuple[str, ...]) -> PeerRecipe:
    """Prepare microWakeWord with the models of its package.

    Args:
        name: what results call it.
        home: not looked at; as the others.
        words: names of its models; hyphens stand for underscores.

    Raises:
        ConfigError: the package is not installed.
        UsageError: it has no such model.
    """
    packages = package_versions("pymicro-wakeword", "pymicro-features", "numpy")
    folder = microwakeword.models_folder()
    hashes = []
    for word in words:
        file = folder / f"{microwakeword.file_name(word)}.tflite"
        if not file.is_file():
            known = ", ".join(sorted(path.stem for path in folder.glob("*.tflite")))
            raise UsageError(f"microWakeWord has no model {word}", f"it has {known}")
        hashes.append((word, file_hash(file)))
        # Threshold and window stand beside it.
        hashes.append((f"{word}.json", file_hash(file.with_suffix(".json"))))
    key = digest_of(MICROWAKEWORD, tuple(hashes), packages)
    return PeerRecipe(MICROWAKEWORD, name, home, words, key, tuple(hashes))
