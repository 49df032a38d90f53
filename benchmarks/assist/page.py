"""The page of the measurement."""

from typing import Any, Final

import numpy as np

from benchmarks.assist.measure import AccuracyResult, Count, processors, rate

_PAGE: Final = """\
# Accuracy of voice commands from packages alone

Written by `make assist-accuracy`.
Voices, sentences, noise and seed are those of `benchmarks/assist/plan.toml`, which was committed before the first measurement with them.
The home is `docs/reference/home.example.toml`.
The voices are synthetic: how well the program understands people is not measured here.

## Commands

Each voice says {sentences} sentences behind the wake word.
A command is right if exactly the right messages would be published, the right timer set, or the right question answered.
The noise is that of real recordings, at {snr_db} dB.
In brackets: commands that changed something else, and commands that were refused.

{voices}

## Other speech

{hours:.2f} h of other speech (LibriSpeech, a meeting, wake words of other products, single words, Italian prompts) in {clips} pieces of 1.5 to 6 s.
Seven of ten follow a real recording of the wake word, as after a wake.
**Actions: {actions}.**

A sentence of the grammar is accepted if it differs from what the model writes without a grammar by at most {difference} edits for each letter, the mean regret of its tokens is at most {regret}, and the mean logarithm of their probabilities is at least {mean}.
The limits were chosen on other sentences, and on pieces of the same recordings that another seed had cut. Two of them, and the rule for the end of the free text, were changed again after clips of this plan had been refused: the figures are not those of voices and sentences that were never seen.

{differences}

In {empty} pieces no sentence came near enough to be compared with the free text.

## Cost

Processor time of a command: median {cpu_s:.2f} s, 95th percentile {cpu_95_s:.2f} s.
Wall time: {wall_s:.2f} s and {wall_95_s:.2f} s ({processors}).
Peak memory of the recogniser's process, with a clip of 15 s: {peak_mib:.0f} MiB.

## Commands that were not right

{wrong}
"""  # noqa: E501 - one sentence a line, as in every page


def write(plan: dict[str, Any], result: AccuracyResult) -> str:
    """Return the page as Markdown."""
    limits = result.limits
    wrong = sorted({(text, condition, voice) for condition, voice, text in result.wrong})
    return _PAGE.format(
        sentences=len(plan["sentences"]),
        snr_db=plan["snr_db"],
        voices=_voices(result),
        hours=result.speech_s / 3600,
        clips=result.speech_clips,
        actions=result.actions,
        difference=limits.difference,
        regret=limits.regret,
        mean=limits.mean,
        differences=_differences(result),
        empty=result.speech_clips - len(result.differences_speech),
        cpu_s=np.median(result.cpu_s),
        cpu_95_s=np.percentile(result.cpu_s, 95),
        wall_s=np.median(result.wall_s),
        wall_95_s=np.percentile(result.wall_s, 95),
        processors=processors(),
        peak_mib=result.peak_mib,
        wrong="\n".join(f"- {text} ({condition}, {voice})" for text, condition, voice in wrong),
    )


def _voices(result: AccuracyResult) -> str:
    conditions = list(result.counts)
    rows = [["voice", *conditions], ["---"] * (len(conditions) + 1)]
    rows.extend(
        [voice, *(_cell(result.counts[one][voice]) for one in conditions)]
        for voice in next(iter(result.counts.values()))
    )
    rows.append(["all", *(_total(result.counts[one]) for one in conditions)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(count: Count) -> str:
    return f"{count.right} of {count.all} ({count.other}, {count.refused})"


def _total(counts: dict[str, Count]) -> str:
    right = sum(count.right for count in counts.values())
    said = sum(count.all for count in counts.values())
    other = sum(count.other for count in counts.values())
    refused = sum(count.refused for count in counts.values())
    return f"**{right} of {said} ({rate(counts):.1%})** ({other}, {refused})"


def _differences(result: AccuracyResult) -> str:
    right, speech = result.differences_right, result.differences_speech
    rows = [
        ["difference from the free text", "commands that were right", "other speech"],
        ["---", "---", "---"],
        ["median", _at(right, 50), _at(speech, 50)],
        ["the hundredth part nearest to the limit", _at(right, 99), _at(speech, 1)],
        ["nearest to the limit", _at(right, 100), _at(speech, 0)],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _at(values: list[float], percentile: float) -> str:
    return f"{np.percentile(values, percentile):.2f}" if values else "-"
