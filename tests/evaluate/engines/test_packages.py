"""Packages of other engines, which may not be there."""

from importlib.metadata import version
from pathlib import Path

import pytest

from listener.errors import ConfigError
from listener.evaluate.engines.packages import folder_of, imported, versions_of


def test_a_package_that_is_there_is_found() -> None:
    assert imported("json.decoder").__name__ == "json.decoder"
    assert (folder_of("numpy", "numpy") / "__init__.py").is_file()
    assert versions_of("numpy", "msgspec") == (
        ("numpy", version("numpy")),
        ("msgspec", version("msgspec")),
    )


def test_a_package_that_is_not_there_is_named_with_what_brings_it() -> None:
    with pytest.raises(ConfigError, match="no_such_engine cannot be used") as refused:
        imported("no_such_engine.model")
    assert refused.value.hint == "pip install 'earmark[peers]' brings it"
    with pytest.raises(ConfigError, match="no-such-engine is not installed"):
        folder_of("no_such_engine", "no-such-engine")
    with pytest.raises(ConfigError, match="no-such-engine is not installed"):
        versions_of("numpy", "no-such-engine")


def test_a_package_that_lacks_what_it_needs_itself_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_an_engine.py").write_text("import the_other_half\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match=r"half_an_engine cannot be used: .*the_other_half"):
        imported("half_an_engine")
