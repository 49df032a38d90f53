"""What a model claims, and bytes that are proven to be it."""

import contextlib
import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ModelRefused
from listener.wakeword.manifest import File, Manifest, Model, Package, parse_manifest, to_toml

DATA = b"weights"
SHA256 = hashlib.sha256(DATA).hexdigest()
GOOD = f"""
name = "pineapple"
kind = "wake-word"
origin = "somebody"
licence = "CC0-1.0"
input_shape = [1, 16, 96]
window_frames = 16
threshold = 0.5

[[files]]
path = "model.onnx"
sha256 = "{SHA256}"
bytes = {len(DATA)}
"""


def test_manifest_fields_are_parsed() -> None:
    manifest = parse_manifest(GOOD, "here")

    assert manifest.name == "pineapple"
    assert manifest.file == "model.onnx"
    assert manifest.sha256 == SHA256
    assert manifest.window_frames == 16
    assert manifest.package is None


def test_labels_figures_and_package_are_parsed() -> None:
    text = (
        GOOD
        + '[package]\nname = "openwakeword"\nversion = "0.4.0"\n'
        + '[labels]\n1 = "1_minute_timer"\n[figures]\nmisses = [1, 2.5]\n'
    )

    manifest = parse_manifest(text, "here")

    assert manifest.package == Package(name="openwakeword", version="0.4.0")
    assert manifest.labels == {1: "1_minute_timer"}
    assert manifest.figures == {"misses": [1, 2.5]}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("", "colour = 1\n", "unknown field `colour`"),
        ('licence = "CC0-1.0"\n', "", "missing required field `licence`"),
        ("pineapple", "../pineapple", "matching regex"),
        ("pineapple", "pineapple\\n", "matching regex"),
        ("somebody", "some\\u0007body", "matching regex"),
        ("wake-word", "spell", "Invalid enum value"),
        ("model.onnx", "/etc/passwd", "matching regex"),
        ("model.onnx", "a/../b", "matching regex"),
        ("model.onnx", "a//b", "matching regex"),
        (SHA256, SHA256[:-1], "matching regex"),
        (f"bytes = {len(DATA)}", "bytes = 0", ">= 1"),
        (f"bytes = {len(DATA)}", "bytes = 1_000_000_000", "<= 33554432"),
        ("threshold = 0.5", "threshold = 1.5", "< 1"),
        ("threshold = 0.5", "threshold = nan", "> 0"),
        ("threshold = 0.5\n", "", "need a threshold"),
        ("window_frames = 16\n", "", "needs window_frames"),
        ("window_frames = 16", "window_frames = 17", "input_shape is"),
        ("wake-word", "speech", "only a wake word has window_frames"),
        ("= [1, 16, 96]", "= [1, 16, 97]", "input_shape is"),
        (GOOD, "name = ", "is not TOML"),
        (GOOD, "day = 2025-02-31", "is not TOML"),
        (GOOD, "x = " + "[" * 30_000, "here"),
        (GOOD, "#" * 70_000, "longer than 65536 characters"),
    ],
)
def test_invalid_manifest_field_is_refused(old: str, new: str, why: str) -> None:
    text = new + GOOD if old == "" else GOOD.replace(old, new)

    with pytest.raises(ModelRefused, match=why):
        parse_manifest(text, "here")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            f'[[files]]\npath = "model.onnx"\nsha256 = "{SHA256}"\nbytes = 7\n',
            "a file is listed twice",
        ),
        ('[labels]\n0 = "a"\n1 = "a"\n', "a label is listed twice"),
        ('[labels]\n999 = "a"\n', "<= 255"),
        ('[labels]\nfirst = "a"\n', "Expected `int`"),
    ],
)
def test_contradicting_manifest_tables_are_refused(more: str, why: str) -> None:
    with pytest.raises(ModelRefused, match=why):
        parse_manifest(GOOD + more, "here")


def test_labels_of_another_model_kind_are_refused() -> None:
    text = GOOD.replace("wake-word", "speech").replace("window_frames = 16\n", "")

    with pytest.raises(ModelRefused, match="only a wake word has labels"):
        parse_manifest(text + '[labels]\n0 = "a"\n', "here")


@given(st.text())
def test_arbitrary_text_raises_only_model_refused(text: str) -> None:
    with contextlib.suppress(ModelRefused):
        parse_manifest(text, "here")


_key = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
_scalar = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(['"alexa"', "1979-05-27", "07:32:00", "[]", "{}", "''", "nan", "[[1]]"]),
)
_lines = st.lists(
    st.one_of(
        st.sampled_from(GOOD.splitlines()),
        st.builds("{} = {}".format, st.sampled_from(Manifest.__struct_fields__), _scalar),
        st.builds("{} = {}".format, _key, _scalar),
        st.builds("[{}]".format, st.sampled_from(Manifest.__struct_fields__)),
        st.builds("[[{}]]".format, _key),
    )
)


@given(_lines)
def test_arbitrary_toml_raises_only_model_refused(lines: list[str]) -> None:
    with contextlib.suppress(ModelRefused):
        parse_manifest("\n".join(lines), "here")


_line = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)


@given(
    origin=_line,
    licence=_line,
    threshold=st.floats(0, 1, exclude_min=True, exclude_max=True),
    window=st.integers(1, 1024),
    labels=st.lists(st.text(string.ascii_letters + "-_09", min_size=1, max_size=64), unique=True),
    package=st.none() | st.just(Package(name="openwakeword", version="0.4.0")),
)
def test_manifest_round_trip(
    *,
    origin: str,
    licence: str,
    threshold: float,
    window: int,
    labels: list[str],
    package: Package | None,
) -> None:
    manifest = Manifest(
        name="pineapple",
        kind="wake-word",
        origin=origin,
        licence=licence,
        input_shape=(1, window, 96),
        window_frames=window,
        threshold=threshold,
        files=(File(path="a/model.onnx", sha256=SHA256, bytes=7),),
        labels=dict(enumerate(labels)),
        package=package,
    )

    again = parse_manifest(to_toml(manifest), "here")

    assert again == manifest


def test_embedding_manifest_has_no_window_or_threshold() -> None:
    manifest = Manifest(
        name="embedding",
        kind="embedding",
        origin="somebody",
        licence="Apache-2.0",
        input_shape=(1, 8, 32, 1),
        files=(File(path="net.onnx", sha256=SHA256, bytes=7),),
    )

    again = parse_manifest(to_toml(manifest), "here")

    assert again == manifest


def test_model_has_the_verified_bytes() -> None:
    model = Model(parse_manifest(GOOD, "here"), (DATA,))

    assert model.name == "pineapple"
    assert model.data == DATA


@pytest.mark.parametrize("data", [b"", b"Weights", DATA + b"\0"])
def test_model_with_other_bytes_is_refused(data: bytes) -> None:
    manifest = parse_manifest(GOOD, "here")

    with pytest.raises(
        ModelRefused, match=r"pineapple: model\.onnx differs from its manifest"
    ) as caught:
        Model(manifest, (data,))

    assert "add the model again" in caught.value.hint


def test_hash_mismatch_in_a_package_names_the_package() -> None:
    text = GOOD + '[package]\nname = "openwakeword"\nversion = "0.4.0"\n'

    with pytest.raises(ModelRefused) as caught:
        Model(parse_manifest(text, "here"), (b"",))

    assert "openwakeword==0.4.0" in caught.value.hint


@pytest.mark.parametrize("contents", [(), (DATA, DATA)])
def test_model_file_count_must_match_the_manifest(contents: tuple[bytes, ...]) -> None:
    with pytest.raises(ModelRefused, match="has 1 file"):
        Model(parse_manifest(GOOD, "here"), contents)


STAGE = f"""
name = "first-stage"
kind = "first-stage"
origin = "somebody"
licence = "CC0-1.0"
input_shape = [1, 1, 8, 32]

[[files]]
path = "student.npy"
sha256 = "{SHA256}"
bytes = {len(DATA)}

[[files]]
path = "head-pineapple.npy"
sha256 = "{SHA256}"
bytes = {len(DATA)}

[words.pineapple]
sha256 = "{SHA256}"
bound = 0.01
speech_share = 0.01
head = "head-pineapple.npy"
"""


def test_student_head_of_a_word_survives_the_text() -> None:
    manifest = parse_manifest(STAGE, "here")

    assert manifest.words["pineapple"].head == "head-pineapple.npy"
    assert parse_manifest(to_toml(manifest), "here") == manifest


@pytest.mark.parametrize("other", ["head-papaya.npy", "student.npy"])
def test_student_head_that_is_no_file_of_the_model_is_refused(other: str) -> None:
    text = STAGE.replace('head = "head-pineapple.npy"', f'head = "{other}"')

    with pytest.raises(ModelRefused, match="not one of the files behind the first"):
        parse_manifest(text, "here")
