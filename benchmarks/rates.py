"""Rates of the wake words, for the manifests, the model cards and docs/research/index.md.

``python -m benchmarks.rates`` evaluates and writes; ``--render`` writes the stored rates again.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.report import splice
from benchmarks.sounds import ROOT, recordings_folder
from listener.errors import EarmarkError, Unavailable
from listener.evaluate.engines.earmark import earmark_recipe
from listener.evaluate.metrics.results import Result, WordResult
from listener.evaluate.plan import (
    ConditionSettings,
    CorpusSettings,
    EngineSettings,
    EvaluationPlan,
    complete_plan,
)
from listener.evaluate.pool import Processes
from listener.evaluate.runner import Evaluation

WORDS: Final = ("alexa", "hey-jarvis", "hey-marvin", "hey-mycroft", "timer", "weather")
ONLY: Final = ("positive/alexa/*", "negative/*")
PER_HOUR: Final = 0.5
"""The target rate of openWakeWord's author: one false wake in two hours."""
KEPT: Final = ROOT / "benchmarks" / "rates.json"
DOCS: Final = ROOT / "docs" / "research" / "index.md"
MODELS: Final = ROOT / "models"

Rates = Mapping[str, Any]


def measure(recordings: Path, cache: Path) -> dict[str, Any]:
    """Evaluate every wake word at its manifest's threshold, and at one for ``PER_HOUR``.

    Args:
        recordings: the folder of the development recordings.
        cache: folder of the score cache, which the second run reads.
    """
    default = evaluate(recordings, cache)
    tuned = evaluate(recordings, cache, target=PER_HOUR)
    pairs = zip(default.words, tuned.words, strict=True)
    return {
        "corpus_sha256": default.hashes["corpus"],
        "words": {word.word: _figures(word, goal) for word, goal in pairs},
    }


def table(rates: Rates) -> str:
    """Return the table of docs/research/index.md: a row for each wake word."""
    heads = ["wake word", "threshold", "misses", "false wakes", "per hour"]
    heads += [f"for {PER_HOUR:g} per hour", f"fewer than {PER_HOUR:g} per hour"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, word in rates["words"].items():
        rows.append(
            f"| {name} | {word['threshold']:g} | {_misses(word)} | {word['false_wakes']:g}"
            f" | {_per_hour(word)} | {_aim(word)} | {_claim(word)} |"
        )
    return "\n".join(rows)


def card(word: Mapping[str, Any]) -> str:
    """Return the rates of a model for its card."""
    return (
        f"On {word['hours']:.2f} h of our development recordings without the word, at"
        f" {word['threshold']:g}: false wakes {word['false_wakes']:g}, {_per_hour(word)} per hour"
        f" (95 %).\nMisses: {_misses(word)}.\n"
        f"Threshold for {PER_HOUR:g} per hour: {_aim(word)}."
        f" The claim of fewer than {PER_HOUR:g} per hour: {_claim(word)}."
    )


def manifest(text: str, word: Mapping[str, Any]) -> str:
    """Return a manifest's text with the measured threshold and figures."""
    head = text.partition("\n[figures]\n")[0].rstrip()
    lines = [f"threshold = {_default(word):g}" if _is_threshold(s) else s for s in head.split("\n")]
    figures = {key: value for key, value in word.items() if value is not None and key != "aim"}
    aim = {key: value for key, value in word["aim"].items() if value is not None}
    return "\n".join(
        [
            *lines,
            "",
            "[figures]",
            "# Written by `make rates`; docs/research/index.md defines the terms.",
            f"reason = {json.dumps(_reason(word))}",
            "",
            "[figures.development]",
            *(f"{key} = {json.dumps(value)}" for key, value in figures.items()),
            "",
            "[figures.development.aim]",
            *(f"{key} = {json.dumps(value)}" for key, value in aim.items()),
            "",
        ]
    )


def write(rates: Rates) -> None:
    """Write the rates into all documents that quote them."""
    docs = DOCS.read_text("utf-8")
    DOCS.write_text(splice(docs, "rates", table(rates)), "utf-8")
    for name, word in rates["words"].items():
        for file, text in quote_rates(name, word).items():
            file.write_text(text, "utf-8")


def quote_rates(name: str, word: Mapping[str, Any]) -> dict[Path, str]:
    """Return the texts of a model's manifest and card with its rates, by path."""
    folder = MODELS / name
    manifest_file, card_file = folder / "manifest.toml", folder / "card.md"
    return {
        manifest_file: manifest(manifest_file.read_text("utf-8"), word),
        card_file: splice(card_file.read_text("utf-8"), "rates", card(word)),
    }


def evaluate(  # noqa: PLR0913 - two folders, and four keys of a plan
    recordings: Path,
    cache: Path,
    *,
    words: Sequence[str] = WORDS,
    only: Sequence[str] = ONLY,
    condition: ConditionSettings | None = None,
    target: float | None = None,
) -> Result:
    """Evaluate wake words on the development recordings.

    Args:
        recordings: the folder of the development recordings.
        cache: folder of the score cache.
        words: names of wake-word models.
        only: patterns of the recordings.
        condition: the noise; None: the recordings as they are.
        target: rate of false wakes per hour for which thresholds are chosen; None: the manifests'.
    """
    plan = EvaluationPlan(
        engine=(EngineSettings(words=tuple(words)),),
        corpus=(CorpusSettings(path=str(recordings)),),
        condition=(condition or ConditionSettings(),),
        only=tuple(only),
        claims_per_hour=(PER_HOUR,),
        target_false_wakes_per_hour=target,
    )
    home = cache / "no-home"
    return Evaluation(
        complete_plan(plan, "rates"),
        lambda engine: earmark_recipe(engine.name, home, engine.words),
        Processes(-1),
        cache,
    ).run()


def _figures(word: WordResult, aimed: WordResult) -> dict[str, Any]:
    if aimed.target is None:
        raise EarmarkError("the evaluation returned no target")
    missed, false, (claim,) = word.misses, word.false_wakes, word.claims
    aim = msgspec.to_builtins(aimed.target)
    if aimed.misses.exposure:
        aim |= {"misses": aimed.misses.count}
    return {
        "threshold": word.threshold,
        "words": missed.exposure or None,
        "misses": missed.count if missed.exposure else None,
        "misses_low": _rounded(missed.low),
        "misses_high": _rounded(missed.high),
        "hours": _rounded(false.exposure),
        "false_wakes": false.count,
        "false_wakes_per_hour": _rounded(false.value),
        "false_wakes_per_hour_low": _rounded(false.low),
        "false_wakes_per_hour_high": _rounded(false.high),
        "claim_carried": claim.carried,
        "claim_still_needed_h": _rounded(claim.still_needed_h),
        "aim": {key: _rounded(value) for key, value in aim.items()},
    }


def _rounded(value: Any) -> Any:  # noqa: ANN401 - a number, a bool or None
    return round(value, 6) if isinstance(value, float) else value


def _is_threshold(line: str) -> bool:
    return line.startswith("threshold = ")


def _default(word: Mapping[str, Any]) -> float:
    """Return the threshold for the manifest: a new one only if the hours support its claim."""
    aim = word["aim"]
    return float(aim["threshold"] if aim["carried"] else word["threshold"])


def _reason(word: Mapping[str, Any]) -> str:
    if word["aim"]["carried"]:
        return f"chosen for {PER_HOUR:g} false wakes per hour, which these hours support"
    return (
        "openWakeWord's documented default for all of its models: these hours do not support"
        f" the claim of fewer than {PER_HOUR:g} false wakes per hour at any other"
    )


def _misses(word: Mapping[str, Any]) -> str:
    if word["words"] is None:
        return "no recording of the word"
    share = 100 * word["misses"] / word["words"]
    low, high = 100 * word["misses_low"], 100 * word["misses_high"]
    return f"{word['misses']:g} of {word['words']:g}: {share:.1f} % ({low:.1f} to {high:.1f})"


def _per_hour(word: Mapping[str, Any]) -> str:
    low, high = word["false_wakes_per_hour_low"], word["false_wakes_per_hour_high"]
    return f"{word['false_wakes_per_hour']:.1f} ({low:.1f} to {high:.1f})"


def _aim(word: Mapping[str, Any]) -> str:
    aim = word["aim"]
    if aim["threshold"] is None:
        return "no threshold"
    missed = f", missing {aim['misses']:g}" if "misses" in aim else ""
    return f"{aim['threshold']:g}{missed}"


def _claim(word: Mapping[str, Any]) -> str:
    if word["claim_carried"]:
        return "supported"
    if word["claim_still_needed_h"] is None:
        return "these recordings contradict it"
    return f"not supported: {word['claim_still_needed_h']:.1f} h more"


def main(argv: Sequence[str]) -> int:
    """Evaluate and write, or only write; return the exit code.

    Raises:
        Unavailable: there are no recordings.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rates", description=__doc__)
    parser.add_argument("--render", action="store_true", help="write the stored rates")
    if not parser.parse_args(argv).render:
        folder = recordings_folder()
        if folder is None:
            raise Unavailable("there are no recordings", "set EARMARK_RECORDINGS to their folder")
        with tempfile.TemporaryDirectory(prefix="earmark-rates-") as cache:
            rates = measure(folder, Path(cache))
        KEPT.write_text(json.dumps(rates, indent=1) + "\n", "utf-8")
    rates = json.loads(KEPT.read_text("utf-8"))
    write(rates)
    print(table(rates))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
