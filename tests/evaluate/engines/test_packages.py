"""Packages of other engines, which may not be there."""

from importlib.metadata import version
from pathlib import Path

import pytest

from listener.errors import ConfigError
from listener.evaluate.engines.packages import find_package, import_package, package_versions


def test_a_package_that_is_there_is_found() -> None:
    assert import_package("json.decoder").__name__ == "json.decoder"
    assert (find_package("numpy", "numpy") / "__init__.py").is_file()
    assert package_versions("numpy", "msgspec") == (
        ("numpy", version("numpy")),
        ("msgspec", version("msgspec")),
    )


def test_a_package_that_is_not_there_is_named_with_what_brings_it() -> None:
    with pytest.raises(ConfigError, match="no_such_engine cannot be used") as refused:
        import_package("no_such_engine.model")
    assert refused.value.hint == "pip install 'earmark[peers]' brings it"
    with pytest.raises(ConfigError, match="no-such-engine is not installed"):
        find_package("no_such_engine", "no-such-engine")
    with pytest.raises(ConfigError, match="no-such-engine is not installed"):
        package_versions("numpy", "no-such-engine")


def test_a_package_that_lacks_what_it_needs_itself_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_an_engine.py").write_text("import the_other_half\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match=r"half_an_engine cannot be used: .*the_other_half"):
        import_package("half_an_engine")
