"""A corpus of the project's own recordings, which a speech synthesiser spoke."""

import json
import tomllib
from pathlib import Path

import msgspec

from listener.evaluate.engines.registry import build_recipe
from listener.evaluate.metrics.results import Result
from listener.evaluate.plan import EngineSettings, EvaluationPlan, complete_plan
from listener.evaluate.pool import Processes
from listener.evaluate.runner import Evaluation

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
HOME = Path("/nonexistent")


def manifest(folder: Path, *more: object) -> Path:
    """Write a manifest of every recording, its words placed; then ``more`` lines."""
    rows: list[object] = []
    index = tomllib.loads((FIXTURES / "index.toml").read_text("utf-8"))
    for recording in index["recording"]:
        if recording["file"] == "household.flac":  # for attribution by voice
            continue
        path = str(FIXTURES / recording["file"])
        said = recording.get("said", [])
        text = " ".join(part["text"] for part in said)
        words = [part for part in said if part.get("word")]
        rows += [
            {
                "path": path,
                "word": part["word"],
                # A sentence begins with the word, which takes about 0.6 s.
                "offset_s": part["first_sample"] / 16_000,
                "duration_s": min((part["end_sample"] - part["first_sample"]) / 16_000, 0.7),
                "speaker": part["who"],
                "transcript": text,
            }
            for part in words
        ]
        if not words:
            rows.append({"path": path, "transcript": text or None})
    listed = folder / "spoken.jsonl"
    listed.write_text("".join(json.dumps(row) + "\n" for row in (*rows, *more)), "utf-8")
    return listed


def plan(corpus: Path, *engines: EngineSettings, **parts: object) -> EvaluationPlan:
    """A plan over one corpus."""
    raw = {"corpus": [{"path": str(corpus)}], **parts}
    made = msgspec.structs.replace(
        msgspec.convert(raw, EvaluationPlan), engine=engines or (EngineSettings(),)
    )
    return complete_plan(made, "test")


def evaluate(made: EvaluationPlan, cache: Path | None = None, jobs: int = 1) -> Result:
    """Run a plan with our own models."""
    return Evaluation(
        made,
        lambda engine: build_recipe(engine, HOME),
        Processes(jobs),
        cache,
    ).run()
