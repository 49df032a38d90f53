"""The page of the measurement."""

from typing import Any

import numpy as np

from benchmarks.assist.measure import AccuracyResult, Count, processors, rate


def write(plan: dict[str, Any], result: AccuracyResult) -> str:
    """Return the page as Markdown."""
    conditions = list(result.counts)
    voices = list(next(iter(result.counts.values())))
    rows = [
        f"| {voice} | " + " | ".join(_cell(result.counts[c][voice]) for c in conditions) + " |"
        for voice in voices
    ]
    totals = " | ".join(
        f"**{_sum(result.counts[c], 'right')} of {_sum(result.counts[c], 'all')}"
        f" ({rate(result.counts[c]):.1%})**"
        for c in conditions
    )
    wrong = sorted({(text, condition, voice) for condition, voice, text in result.wrong})
    limits = result.limits
    lines = [
        "# Accuracy of voice commands from packages alone",
        "",
        "Written by `make assist-accuracy`. Voices, sentences, noise and seed are those of"
        " `benchmarks/assist/plan.toml`, which was committed before the first measurement with them;"
        " the home is `docs/reference/home.example.toml`. The voices are synthetic: how well the"
        " program understands people is not measured here.",
        "",
        "## Commands",
        "",
        f"Each voice says {len(plan['sentences'])} sentences behind the wake word. A command is right"
        " if exactly the right messages would be published, the right timer set, or the right question"
        f" answered. Noise: real recordings at {plan['snr_db']} dB.",
        "",
        "| voice | " + " | ".join(conditions) + " |",
        "|---|" + "---|" * len(conditions),
        *rows,
        f"| all | {totals} |",
        "",
        "In brackets: commands that changed something else, and commands that were refused.",
        "",
        "## Other speech",
        "",
        f"{result.speech_s / 3600:.2f} h of other speech (LibriSpeech, a meeting, wake words of other"
        f" products, single words, Italian prompts) in {result.speech_clips} pieces of 1.5 to 6 s, 7 of"
        " 10 behind a real recording of the wake word, as if after a wake:"
        f" **{result.actions} actions**.",
        "",
        "A sentence of the grammar is accepted if it differs from what the model writes without a"
        f" grammar by at most {limits.difference} edits for each letter, the mean regret of its tokens"
        f" is at most {limits.regret}, and the mean logarithm of their probabilities at least"
        f" {limits.mean}. The limits were chosen on other sentences, and on pieces of the same"
        " recordings that another seed had cut.",
        "",
        "| difference from the free text | commands that were right | other speech |",
        "|---|---|---|",
        f"| median | {_at(result.differences_right, 50)} | {_at(result.differences_speech, 50)} |",
        f"| the hundredth nearest to the limit | {_at(result.differences_right, 99)} |"
        f" {_at(result.differences_speech, 1)} |",
        f"| extreme | {_at(result.differences_right, 100)} | {_at(result.differences_speech, 0)} |",
        "",
        f"In {result.speech_clips - len(result.differences_speech)} pieces no sentence was found at all.",
        "",
        "## Cost",
        "",
        f"CPU time of a command: median {np.median(result.cpu_s):.2f} s, 95th percentile"
        f" {np.percentile(result.cpu_s, 95):.2f} s; wall time {np.median(result.wall_s):.2f} and"
        f" {np.percentile(result.wall_s, 95):.2f} s ({processors()}). Peak memory of the recogniser's"
        f" process, with a clip of 15 s: {result.peak_mib:.0f} MiB.",
        "",
        "## What was wrong",
        "",
        *[f"- {text} ({condition}, {voice})" for text, condition, voice in wrong],
    ]
    return "\n".join(lines).rstrip() + "\n"


def _cell(count: Count) -> str:
    return f"{count.right} of {count.all} ({count.other}, {count.refused})"


def _sum(counts: dict[str, Count], name: str) -> int:
    return sum(getattr(count, name) for count in counts.values())


def _at(values: list[float], percentile: float) -> str:
    return f"{np.percentile(values, percentile):.2f}" if values else "-"
