"""``earmark models``: lists wake-word models, verifies their files, and adds new ones."""

import argparse
import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from listener.cli.main import Subcommands, with_examples
from listener.config import Config, Probability, ShortName
from listener.errors import EarmarkError, ModelRefused, Unavailable, UsageError
from listener.inference import add_model
from listener.inference.catalogue import Catalogue
from listener.quantities import quantity
from listener.wakeword.manifest import (
    DEFAULT_THRESHOLD,
    EMBEDDING_FEATURES,
    LARGEST_FILE_BYTES,
    File,
    Manifest,
    parse_manifest,
    to_toml,
    verify,
)

if TYPE_CHECKING:
    from listener.inference.onnx import HeadNet

UNSTATED: Final = "LicenseRef-unstated"
_VERSION: Final = re.compile(r"[-_ ]v?\d+(\.\d+)*$")  # most files are named word_v0.1.onnx


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``earmark models``."""
    actions = Subcommands(
        parser,
        epilog=with_examples(
            "models/README.md describes the models that are included.",
            "earmark models list",
            "earmark models add hey_kitchen_v0.1.onnx",
        ),
    )
    show = actions.add(
        "list",
        "list the models with threshold, licence and origin",
        "earmark models list",
        "earmark models list --json",
    )
    check = actions.add(
        "check",
        "verify the files of all models; exit code 1 if one is missing or differs",
        "earmark models check",
        description="Compare the SHA-256 of every model file with its manifest.",
    )
    for action in (show, check):
        action.add_argument("--json", action="store_true", help="print one JSON object a line")
    add = actions.add(
        "add",
        "add your own wake word in openWakeWord format",
        "earmark models add hey_kitchen_v0.1.onnx",
        "earmark models add model.onnx --name hey-kitchen --threshold 0.6 --licence CC-BY-4.0",
        description="Add an ONNX classifier in openWakeWord format: input [1, N, 96], output one"
        " probability.",
    )
    add.add_argument("file", metavar="FILE.onnx", help="the ONNX file")
    add.add_argument(
        "--name",
        help="name of the wake word: 1 to 32 of a-z, 0-9, hyphen (default: from the file's name)",
    )
    add.add_argument(
        "--threshold",
        type=float,
        default=DEFAULT_THRESHOLD,
        help="score at or above which it wakes, over 0 and under 1 (default: %(default)s)",
    )
    add.add_argument("--licence", default=UNSTATED, help="SPDX identifier (default: %(default)s)")
    add.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """List, check or add models.

    Raises:
        EarmarkError: the file to add cannot be read or is not a wake-word model, or its name is in
            use.
    """
    catalogue = Catalogue(Path(settings.home))
    if arguments.action == "list":
        return _list(catalogue, as_json=arguments.json)
    if arguments.action == "check":
        return _check(catalogue, as_json=arguments.json)
    return _add(catalogue, arguments)


def _list(catalogue: Catalogue, *, as_json: bool) -> int:
    """Print each manifest without reading the model files; return 1 if a manifest is invalid."""
    rows: list[tuple[str, ...]] = []
    refused = False
    for name in catalogue.names():
        try:
            manifest = catalogue.manifest(name)
        except ModelRefused as error:
            # One invalid manifest must not hide the others.
            print(f"earmark: error: {error}", file=sys.stderr)
            refused = True
            continue
        shown = {
            "name": manifest.name,
            "kind": manifest.kind,
            "threshold": manifest.threshold,
            "window_frames": manifest.window_frames,
            "labels": list(manifest.labels.values()),
            "words": sorted(manifest.words),
            "licence": manifest.licence,
            "origin": manifest.origin,
            "shipped": catalogue.is_shipped(manifest.name),
        }
        if as_json:
            _print_json(shown)
        threshold = "-" if manifest.threshold is None else f"{manifest.threshold:g}"
        rows.append((manifest.name, manifest.kind, threshold, manifest.licence, manifest.origin))
        if manifest.words:
            rows.append(("", "", "", "", f"knows {', '.join(sorted(manifest.words))}"))
    if not as_json:
        _print_table(("name", "kind", "threshold", "licence", "origin"), rows)
    return int(refused)


def _check(catalogue: Catalogue, *, as_json: bool) -> int:
    """Print the state of each file; return 1 if one is missing or differs."""
    wrong = False
    rows = []
    for name in catalogue.names():
        for path, state, error in _findings(catalogue, name):
            wrong |= error is not None
            reason, hint = (str(error), error.hint) if error else ("", "")
            if as_json:
                shown = {"name": name, "file": path, "state": state}
                _print_json(shown | ({"reason": reason, "hint": hint} if error else {}))
            rows.append((name, state, path))
            rows += [("", "", line) for line in (reason, hint) if line]
    if not as_json:
        _print_table(("name", "state", "file"), rows)
    return int(wrong)


def _findings(catalogue: Catalogue, name: str) -> Iterable[tuple[str, str, EarmarkError | None]]:
    """Yield path, state and error of each file of the model ``name``."""
    try:
        manifest = catalogue.manifest(name)
    except ModelRefused as error:
        yield "manifest.toml", "refused", error
        return
    for file in manifest.files:
        try:
            place = catalogue.locate(manifest, file)
        except ModelRefused as error:
            yield file.path, "not installed", error
            continue
        if not place.is_file():
            yield file.path, "missing", ModelRefused(f"{place} does not exist")
            continue
        try:
            verify(manifest, file, catalogue.read(place, file))
        except ModelRefused as error:
            yield file.path, "different", error
        else:
            yield file.path, "right", None


def _add(catalogue: Catalogue, arguments: argparse.Namespace) -> int:
    """Validate a classifier and copy it into the data directory."""
    from listener.inference.onnx import HeadNet  # noqa: PLC0415 - list does not need its 60 MiB

    path = Path(arguments.file)
    name = _name(path) if arguments.name is None else arguments.name
    _check_option("--name", name, ShortName, "use 1 to 32 of a-z, 0-9 and hyphen")
    _check_option(
        "--threshold", arguments.threshold, Probability, "use a number over 0 and under 1"
    )
    if catalogue.is_shipped(name):
        raise UsageError(
            f"{name} is the name of an included model",
            f"choose another name: --name my-{name}"[:60],
        )
    data = _read_bounded(path)
    head = HeadNet(data, path.name)
    _check_output(head, path.name)
    window = head.window_frames
    proposed = Manifest(
        name=name,
        kind="wake-word",
        origin="added with earmark models add",
        licence=arguments.licence,
        input_shape=(1, window, EMBEDDING_FEATURES),
        window_frames=window,
        threshold=arguments.threshold,
        files=(File(path="model.onnx", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)),),
    )
    # The options are free text: the manifest must be readable again.
    manifest = parse_manifest(to_toml(proposed), "the new manifest")
    is_added = add_model.add_model(catalogue, manifest, data)
    takes_one = head.has_batch_axis and not head.takes_batches(2)
    if arguments.json:
        _print_json(
            {
                "name": name,
                "added": is_added,
                "window_frames": window,
                "threshold": manifest.threshold,
                "one_by_one": takes_one,
            }
        )
    elif is_added:
        print(f"added {name}: window {quantity(window, 'frame')}, threshold {manifest.threshold:g}")
        if takes_one:
            print(
                f"note: {name} scores several windows at once differently from one; evaluate"
                " runs it window by window, which is slower"
            )
    else:
        print(f"{name} exists already; nothing changed")
    return 0


def _check_output(head: "HeadNet", name: str) -> None:
    """Run the classifier on silence and on noise; its output must be one probability.

    Raises:
        ModelRefused: the output is something else, or it does not run.
    """
    import numpy as np  # noqa: PLC0415 - list does not need it

    if head.outputs != 1:
        raise ModelRefused(
            f"{name} has {head.outputs} outputs instead of one probability",
            "a model of several phrases needs a manifest with labels: models/README.md",
        )
    shape = (head.window_frames, EMBEDDING_FEATURES)
    for window in (np.zeros(shape), 20 * np.random.default_rng(1).standard_normal(shape)):
        try:
            score = float(head.score(window.astype(np.float32))[0])
        except Exception as error:  # onnxruntime raises its own kinds, by version
            raise ModelRefused(f"{name} cannot be run") from error
        if not 0 <= score <= 1:
            raise ModelRefused(
                f"{name} gives the score {score:g}, which is not a probability",
                "end the network with a sigmoid",
            )


def _name(path: Path) -> str:
    """Derive a name from the file's name: no version, only a-z, 0-9 and hyphen."""
    stem = _VERSION.sub("", path.stem.lower())
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:32]


def _check_option(option: str, value: str | float, kind: object, rule: str) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{option} {value!r} is not valid", rule) from error


def _read_bounded(path: Path) -> bytes:
    """Read the file, up to one byte more than the largest allowed."""
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise UsageError(f"{str(path)!r} is not a valid file name") from error
    if len(data) > LARGEST_FILE_BYTES:
        raise ModelRefused(
            f"{path} is larger than {LARGEST_FILE_BYTES >> 20} MiB",
            "use a classifier in openWakeWord format; they have 0.1 to 2 MiB",
        )
    return data


def _print_json(shown: object) -> None:
    print(msgspec.json.encode(shown).decode())


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
