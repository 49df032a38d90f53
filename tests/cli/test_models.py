"""The verb ``models``: list, check, add."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.cli.main import main
from listener.inference.catalogue import Catalogue
from listener.wakeword.manifest import LARGEST_FILE_BYTES

Add = Callable[..., int]


def head(window: int = 20, *, outputs: int = 1, last: str = "Sigmoid", bias: float = 0.0) -> bytes:
    """Make a head of one layer."""
    rng = np.random.default_rng(window)
    weights = rng.standard_normal((window * 96, outputs)).astype(np.float32) / 96
    nodes = [
        onnx.helper.make_node("Flatten", ["x"], ["flat"]),
        onnx.helper.make_node("Gemm", ["flat", "weights", "bias"], ["logit"]),
        onnx.helper.make_node(last, ["logit"], ["score"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "head",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, window, 96])],
        [onnx.helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, [1, outputs])],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(np.full(outputs, bias, np.float32), "bias"),
        ],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8
    )
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture
def add(home: Path, tmp_path: Path) -> Add:
    """Add a file of these bytes; returns the exit code."""

    def _add(data: bytes, *options: str, file: str = "pineapple_v0.1.onnx") -> int:
        path = tmp_path / file
        path.write_bytes(data)
        return main(["models", "add", "--home", str(home), str(path), *options])

    return _add


def objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_added_model_as_json(add: Add, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [add(head(), "--json"), add(head(), "--json")]

    first, second = objects(capsys)
    assert codes == [0, 0]
    assert (first["name"], first["added"], first["threshold"]) == ("pineapple", True, 0.5)
    assert second == first | {"added": False}


def test_list_shows_licence_and_threshold(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["models", "list", "--home", str(home)])

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert rows[0] == ["name", "kind", "threshold", "licence", "origin"]
    assert ["alexa", "wake-word", "0.5", "CC-BY-NC-SA-4.0"] in [row[:4] for row in rows]
    assert ["silero-vad", "speech", "0.5", "MIT"] in [row[:4] for row in rows]
    assert ["embedding", "embedding", "-", "Apache-2.0"] in [row[:4] for row in rows]


def test_list_as_json_has_an_object_for_each_model(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["models", "--home", str(home), "list", "--json"])

    shown = {row["name"]: row for row in objects(capsys)}
    assert code == 0
    assert set(shown) == set(Catalogue(home).names())
    assert shown["timer"]["window_frames"] == 34
    assert shown["timer"]["labels"] == [
        "1_minute_timer",
        "5_minute_timer",
        "10_minute_timer",
        "20_minute_timer",
        "30_minute_timer",
        "1_hour_timer",
    ]


def test_list_names_the_words_of_a_first_stage(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = sorted(Catalogue(home).manifest("first-stage").words)

    main(["models", "list", "--home", str(home)])
    lines = capsys.readouterr().out.splitlines()
    main(["models", "list", "--home", str(home), "--json"])
    shown = {row["name"]: row for row in objects(capsys)}

    assert "alexa" in words
    (place,) = [number for number, line in enumerate(lines) if line.split()[0] == "first-stage"]
    assert lines[place + 1].strip() == f"knows {', '.join(words)}"
    assert shown["first-stage"]["words"] == words
    assert shown["alexa"]["words"] == []


def test_invalid_manifest_does_not_hide_others(
    home: Path, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    add(head())
    (home / "models" / "pineapple" / "manifest.toml").write_text("colour = 1")
    capsys.readouterr()

    code = main(["models", "list", "--home", str(home)])

    shown = capsys.readouterr()
    assert code == 1
    assert "weather" in shown.out
    assert "pineapple/manifest.toml" in shown.err


def test_check_finds_every_file_right(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["models", "check", "--home", str(home), "--json"])

    found = objects(capsys)
    assert code == 0
    assert {row["state"] for row in found} == {"right"}
    assert {row["name"] for row in found} == set(Catalogue(home).names())


def _remove(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def _change(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"other")


def _spoil(folder: Path) -> None:
    (folder / "manifest.toml").write_text("[")


def _outsource(folder: Path) -> None:
    with (folder / "manifest.toml").open("a", encoding="utf-8") as stream:
        stream.write('\n[package]\nname = "pineapple-words"\nversion = "1"\n')


@pytest.mark.parametrize(
    ("harm", "state"),
    [
        (_remove, "missing"),
        (_change, "different"),
        (_spoil, "refused"),
        (_outsource, "not installed"),
    ],
)
def test_check_reports_wrong_files_and_exits_with_1(
    harm: Callable[[Path], None],
    state: str,
    home: Path,
    add: Add,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add(head())
    harm(home / "models" / "pineapple")
    capsys.readouterr()

    code = main(["models", "check", "--home", str(home), "--json"])
    found = [row for row in objects(capsys) if row["state"] != "right"]
    text_code = main(["models", "check", "--home", str(home)])

    assert code == text_code == 1
    assert [(row["name"], row["state"]) for row in found] == [("pineapple", state)]
    assert found[0]["reason"]
    assert re.search(rf"pineapple +{state}", capsys.readouterr().out)


def test_add_reads_the_window_from_the_file(
    home: Path, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    code = add(head(20), "--threshold", "0.6", "--licence", "CC0-1.0")

    model = Catalogue(home).load("pineapple")
    assert code == 0
    assert model.data == head(20)
    assert model.manifest.window_frames == 20
    assert model.manifest.threshold == 0.6
    assert model.manifest.licence == "CC0-1.0"
    assert "added pineapple: window 20 frames, threshold 0.6" in capsys.readouterr().out


def test_add_accepts_an_included_classifier(
    home: Path, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    code = add(Catalogue(home).load("weather").data, "--name", "my-weather")

    assert code == 0
    assert "window 22 frames, threshold 0.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Hey Pine_Apple-v2.0.1.onnx", "hey-pine-apple"),
        ("pineapple.onnx", "pineapple"),
        ("pineapple 3.onnx", "pineapple"),
        ("x" * 60 + ".onnx", "x" * 32),
    ],
)
def test_the_name_comes_from_the_file(home: Path, add: Add, file: str, name: str) -> None:
    add(head(), file=file)

    assert [one for one in Catalogue(home).names() if not Catalogue(home).is_shipped(one)] == [name]


def test_adding_the_same_file_again_is_harmless(
    add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = [add(head()), add(head())]

    assert codes == [0, 0]
    assert "pineapple exists already; nothing changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\x08\x08 garbage", "is not an ONNX file, or is truncated"),
        (head()[:1000], "is not an ONNX file, or is truncated"),
        (head(outputs=7, last="Softmax"), "has 7 outputs"),
        (head(last="Relu", bias=3.0), "which is not a probability"),
        (head(last="Log"), "which is not a probability"),
        (bytes(LARGEST_FILE_BYTES + 1), "larger than 32 MiB"),
    ],
    ids=["empty", "garbage", "cut", "classes", "logit", "nan", "huge"],
)
def test_add_refuses_other_networks_with_the_reason(
    data: bytes, reason: str, home: Path, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    code = add(data)

    shown = capsys.readouterr()
    assert code == 78
    assert reason in shown.err
    assert shown.err.count("earmark: error:") == 1
    assert not (home / "models").exists()


def test_add_refuses_the_speech_network(
    home: Path, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    code = add(Catalogue(home).speech().data)

    assert code == 78
    assert "3 inputs and 2 outputs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--name", "alexa"], "name of an included model"),
        (["--name", "My Word"], "--name 'My Word' is not valid"),
        (["--name", ""], "--name '' is not valid"),
        (["--threshold", "1.5"], "--threshold 1.5 is not valid"),
        (["--threshold", "nan"], "--threshold nan is not valid"),
    ],
)
def test_invalid_options_are_usage_errors(
    options: list[str], reason: str, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    code = add(head(), *options)

    assert code == 2
    assert reason in capsys.readouterr().err


def test_licence_of_several_lines_is_refused(add: Add, capsys: pytest.CaptureFixture[str]) -> None:
    code = add(head(), "--licence", "\udcff")

    assert code == 78
    assert "the new manifest" in capsys.readouterr().err


@pytest.mark.parametrize(("file", "code"), [("absent.onnx", 69), (".", 69), ("\0", 2)])
def test_unreadable_file_is_reported(
    file: str, code: int, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "--name=pineapple"

    found = main(["models", "add", "--home", str(home), str(tmp_path / file), name])

    assert found == code
    assert "earmark: error:" in capsys.readouterr().err


@settings(max_examples=30, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_damaged_file_is_refused_or_still_valid(
    home: Path, add: Add, data: st.DataObject, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(head())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
    shutil.rmtree(home / "models", ignore_errors=True)

    code = add(bytes(content))

    assert code in {0, 78}
    assert (code == 78) == ("earmark: error:" in capsys.readouterr().err)
