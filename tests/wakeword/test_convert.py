import subprocess
import sys
from pathlib import Path

import pytest

from listener.inference.catalogue import Catalogue
from models.embedding.convert import MODELS, PRODUCTS, convert


def test_converter_reproduces_the_committed_files(models_folder: Path) -> None:
    made = convert(models_folder)

    assert {name: len(data) for name, data in made.items()} == {
        name: (MODELS / name).stat().st_size for name in PRODUCTS
    }
    assert made == {name: (MODELS / name).read_bytes() for name in PRODUCTS}


def test_manifest_has_the_hash_of_every_file(catalogue: Catalogue) -> None:
    models = {name: catalogue.load(name) for name in ("embedding", "embedding-long")}

    vouched = [
        (f"{name}/{file.path}", data)
        for name, model in models.items()
        for file, data in zip(model.manifest.files, model.contents, strict=True)
    ]
    assert vouched == [(name, (MODELS / name).read_bytes()) for name in PRODUCTS]


@pytest.mark.system
def test_command_writes_to_the_output_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "models.embedding.convert", str(tmp_path / "out")]

    done = subprocess.run(command, capture_output=True, check=True, cwd=MODELS.parent, text=True)

    assert all((tmp_path / "out" / name).is_file() for name in PRODUCTS)
    assert "stream-80.onnx" in done.stdout
