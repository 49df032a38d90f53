"""Which models are here, and that only verified bytes leave the catalogue."""

import base64
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from listener.errors import ModelRefused
from listener.inference.add_model import add_model
from listener.inference.catalogue import ADDED_FIRST_STAGE, FIRST_STAGE, Catalogue
from listener.wakeword.manifest import to_toml
from tests.sample_model import DATA, add_pineapple
from tests.wakeword.students import first_stage, random_student

WORDS = ("alexa", "hey-jarvis", "hey-marvin", "hey-mycroft", "timer", "weather")


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@pytest.fixture
def added(home: Path) -> Path:
    """The folder of a model ``pineapple`` that was added to the home."""
    return add_pineapple(home)


def test_catalogue_has_six_wake_words_and_a_speech_network(home: Path) -> None:
    catalogue = Catalogue(home)

    models = [catalogue.load(name) for name in WORDS]

    assert set(WORDS) < set(catalogue.names())
    assert {model.manifest.kind for model in models} == {"wake-word"}
    assert catalogue.speech().manifest.kind == "speech"
    assert [model.manifest.window_frames for model in models] == [16, 16, 16, 16, 34, 22]


def test_timer_labels_are_those_of_openwakeword(home: Path) -> None:
    labels = Catalogue(home).manifest("timer").labels

    assert labels == {
        1: "1_minute_timer",
        2: "5_minute_timer",
        3: "10_minute_timer",
        4: "20_minute_timer",
        5: "30_minute_timer",
        6: "1_hour_timer",
    }


def test_manifest_hashes_equal_the_wheel_record(home: Path) -> None:
    recorded = {
        str(file): base64.urlsafe_b64decode(file.hash.value + "=").hex()
        for file in importlib.metadata.files("openwakeword") or []
        if file.hash is not None
    }

    claimed = [
        file
        for manifest in Catalogue(home).manifests()
        if manifest.package is not None
        for file in manifest.files
    ]

    assert len(claimed) == len(WORDS)
    assert all(recorded[file.path] == file.sha256 for file in claimed)


def test_every_shipped_model_has_a_card_with_its_licence(home: Path) -> None:
    catalogue = Catalogue(home)

    for manifest in catalogue.manifests():
        card = (catalogue.folder(manifest.name) / "card.md").read_text("utf-8")

        assert card.startswith(f"# {manifest.name}\n")
        assert manifest.licence.replace("-", " ") in card.replace("-", " ")
        assert "figures" in card.lower()


def test_listing_models_imports_no_model_package(home: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from listener.inference.catalogue import Catalogue;"
        "catalogue = Catalogue(Path(sys.argv[1]));"
        "[catalogue.load(name) for name in catalogue.names()];"
        "print({'openwakeword', 'sklearn', 'scipy', 'onnxruntime', 'numpy'} & {*sys.modules})"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(home)], check=True, capture_output=True, text=True
    )

    assert done.stdout == "set()\n"


def test_added_model_loads(home: Path, added: Path) -> None:
    model = Catalogue(home).load("pineapple")

    assert model.data == DATA
    assert (added / "manifest.toml").read_text("utf-8") == to_toml(model.manifest)
    assert not [entry for entry in added.parent.iterdir() if entry.name.startswith(".")]


def test_added_folder_does_not_shadow_a_shipped_model(home: Path, added: Path) -> None:
    added.rename(added.parent / "alexa")
    rewrite(added.parent / "alexa" / "manifest.toml", "pineapple", "alexa")

    model = Catalogue(home).load("alexa")

    assert model.data != DATA


def test_unknown_model_name_is_refused(home: Path) -> None:
    for name in ("pineapple", "../alexa", "", "alexa\n"):
        with pytest.raises(ModelRefused, match="there is no model") as caught:
            Catalogue(home).load(name)

        assert "hey-jarvis" in caught.value.hint


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"!", DATA.upper(), b""])
def test_changed_model_file_is_refused(home: Path, added: Path, data: bytes) -> None:
    (added / "model.onnx").write_bytes(data)

    with pytest.raises(ModelRefused, match="differs from its manifest"):
        Catalogue(home).load("pineapple")


def test_missing_model_file_is_refused(home: Path, added: Path) -> None:
    (added / "model.onnx").unlink()

    with pytest.raises(ModelRefused, match="there is no file"):
        Catalogue(home).load("pineapple")


def test_manifest_name_must_match_its_folder(home: Path, added: Path) -> None:
    added.rename(added.parent / "papaya")

    with pytest.raises(ModelRefused, match="names the model pineapple, but its folder is papaya"):
        Catalogue(home).load("papaya")


def test_manifest_that_is_not_utf8_is_refused(home: Path, added: Path) -> None:
    (added / "manifest.toml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ModelRefused, match="not UTF-8"):
        Catalogue(home).manifest("pineapple")


@pytest.mark.parametrize(
    ("package", "why"),
    [
        ('name = "pineapple-words"\nversion = "1"', "which is not installed"),
        ('name = "msgspec"\nversion = "0.0.1"', r"but .* is installed"),
    ],
)
def test_missing_model_package_is_an_error_with_a_hint(
    home: Path, added: Path, package: str, why: str
) -> None:
    with (added / "manifest.toml").open("a", encoding="utf-8") as stream:
        stream.write(f"\n[package]\n{package}\n")

    with pytest.raises(ModelRefused, match=why) as caught:
        Catalogue(home).load("pineapple")

    assert "pip install" in caught.value.hint


def test_unrelated_files_and_folders_are_not_models(home: Path, added: Path) -> None:
    (added.parent / ".adding-abc").mkdir()
    (added.parent / "Upper").mkdir()
    (added.parent / "empty").mkdir()
    (added.parent / "notes.txt").write_text("hello")

    names = Catalogue(home).names()

    assert [name for name in names if not Catalogue(home).is_shipped(name)] == ["pineapple"]


def add_first_stage(home: Path, name: str, *words: str) -> None:
    """Add a first stage that knows some words."""
    catalogue = Catalogue(home)
    known = {f"word{number}": (catalogue.load(word), 0.1) for number, word in enumerate(words)}
    stage = first_stage(random_student(8, (2,)), **known)
    manifest = msgspec.structs.replace(stage.manifest, name=name)
    add_model(catalogue, manifest, stage.data)


def used(catalogue: Catalogue, *words: str) -> str | None:
    found = catalogue.first_stage([catalogue.load(word) for word in words])
    return None if found is None else found.name


def test_first_stage_must_know_every_word(home: Path) -> None:
    catalogue = Catalogue(home)
    add_pineapple(home)
    before = used(catalogue, "pineapple")

    add_first_stage(home, ADDED_FIRST_STAGE, "alexa", "pineapple")

    assert before is None
    assert used(catalogue, "pineapple") == ADDED_FIRST_STAGE
    assert used(catalogue, "alexa", "pineapple") == ADDED_FIRST_STAGE
    assert used(catalogue, "timer", "pineapple") is None


def test_shipped_first_stage_comes_before_the_tuned_one(home: Path) -> None:
    add_first_stage(home, ADDED_FIRST_STAGE, "alexa", "timer")

    assert used(Catalogue(home), "alexa", "timer") == FIRST_STAGE


def test_first_stage_of_another_name_is_not_used(home: Path) -> None:
    add_pineapple(home)
    add_first_stage(home, "papaya", "pineapple")

    assert used(Catalogue(home), "pineapple") is None


def test_first_stage_knows_a_word_by_the_hash_of_its_head(home: Path) -> None:
    add_pineapple(home)
    add_first_stage(home, ADDED_FIRST_STAGE, "pineapple")
    catalogue = Catalogue(home)
    before = used(catalogue, "pineapple")

    rewrite(
        home / "models" / ADDED_FIRST_STAGE / "manifest.toml",
        catalogue.manifest("pineapple").sha256,
        "0" * 64,
    )

    assert before == ADDED_FIRST_STAGE
    assert used(catalogue, "pineapple") is None
