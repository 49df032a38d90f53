"""False early actions on provisional parts of commands: ``make early-actions``.

Synthetic voices say sentences with a pause whose beginning is a whole command (``pauses.toml``).
The real `Recorder` and `PartSchedule` find the parts, their confirmations and the endpoint, frame
by frame, in a quiet room and in noise. Each rule that could decide about an early action is applied
to each sentence: an action before the end of the sentence is a false one. The same beginnings
without anything behind them show what each rule saves.

Each part counts as a whole command, and recognition takes no time: no recogniser acts more often,
or earlier.
"""

import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.assist.voices import speak
from benchmarks.endpoints import OneBuffer
from benchmarks.report import splice
from benchmarks.sounds import ROOT, recordings_folder
from benchmarks.voice import find_end
from listener.assist.understanding.grammar import WordGrammar, build_grammar
from listener.assist.understanding.home_file import parse_home_file
from listener.assist.understanding.sentences import HomeSentences
from listener.audio.clip import Recorder, SpeechModel, longest_samples
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Framer, Samples
from listener.audio.ring_buffer import Ring
from listener.config import ClipSettings
from listener.errors import EarmarkError, Unavailable
from listener.evaluate.corpus.augmentation import Condition, Mixer, choose_mix
from listener.hear.part_schedule import CONFIRM_S, CONFIRM_VAD_S, PartSchedule
from listener.hear.trailing_silence import TrailingSilence
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet

PAGE: Final = ROOT / "docs" / "engineering-log" / "early-actions.md"
PLAN: Final = ROOT / "benchmarks" / "assist" / "pauses.toml"
VOICES: Final = ROOT / "benchmarks" / "assist" / "plan.toml"
HOME: Final = ROOT / "docs" / "reference" / "home.example.toml"
WORK: Final = ROOT / "build" / "assist"
SILENCES_S: Final = ((0.4, 0.0), (0.44, 0.0), (0.48, 0.0), (0.0, 0.48), (0.4, 0.44))
"""Times of silence after which a part could be confirmed: by the voice activity detector, and by
the level."""
IN_FORCE: Final = f"silence of {CONFIRM_VAD_S:g} s, by level {CONFIRM_S:g} s (the rule in force)"

_HEADS: Final = ("false early actions", "cut by the endpoint", "delay p50", "delay p95")
_LEAD_FRAMES: Final = 30
_WAKE_SAMPLES: Final = 10 * FRAME_SAMPLES
"""From the begin of the word to its wake: 0.8 s."""
_TRAIL_SAMPLES: Final = 2 * SAMPLE_RATE_HZ
_ROOM_RMS: Final = 10
_BLOCK: Final = SAMPLE_RATE_HZ // 50


@dataclass(frozen=True, slots=True)
class SpokenCommand:
    """A beginning with a continuation behind a pause, or with none."""

    name: str
    text: str
    """The beginning."""
    samples: Samples
    begin_end_sample: int
    """End of the beginning's speech."""
    end_sample: int
    """End of all speech."""


@dataclass(frozen=True, slots=True)
class PartFound:
    """A provisional part of a scene."""

    at_sample: int
    """End of the frame in which it was ordered."""
    confirmed_sample: Mapping[str, int | None]
    """For each rule of silence, the end of the frame in which it had passed without speech."""


@dataclass(frozen=True, slots=True)
class SceneEvents:
    """Parts of a scene, and its endpoint."""

    parts: Sequence[PartFound]
    endpoint_sample: int


@dataclass
class RuleCounts:
    """What one rule does."""

    false_actions: int = 0
    cut: int = 0
    """Sentences that the endpoint cut before an action."""
    delays_s: list[float] = field(default_factory=list)
    """From the end of a command without continuation to the moment of the action."""


def main() -> int:
    """Measure, and write the page; exit code 1 if the rule in force acts early."""
    recordings = recordings_folder()
    if recordings is None:
        raise Unavailable("there are no recordings", "set EARMARK_RECORDINGS to their folder")
    plan = tomllib.loads(PLAN.read_text("utf-8"))
    block, is_met = measure(plan, recordings)
    PAGE.write_text(splice(PAGE.read_text("utf-8"), "rules", block), "utf-8")
    print(block)
    return 0 if is_met else 1


def measure(plan: Mapping[str, Any], recordings: Path) -> tuple[str, bool]:
    """Return the table, and whether the rule in force never acted early.

    Args:
        plan: ``pauses.toml``.
        recordings: folder of real recordings, whose noise is used.
    """
    noises = tuple(sorted((recordings / "noise").rglob("*.opus")))
    conditions = (
        Condition("quiet room"),
        Condition(f"noise at {plan['snr_db']} dB", plan["snr_db"], noises),
    )
    speech = SpeechNet(Catalogue(Path(os.devnull)).speech())
    sentences, commands = list(speak_plan(plan)), list(speak_plan(plan, is_whole=True))
    every = [*sentences, *commands]
    rules = make_rules()
    rows, is_met = [], True
    for condition in conditions:
        scenes = [_scene(one, condition, plan["seed"]) for one in every]
        found = [find_parts(scene, speech) for scene in scenes]
        counts = {name: RuleCounts() for name in rules}
        for number, (said, events) in enumerate(zip(every, found, strict=True)):
            for name, rule in rules.items():
                _count(counts[name], said, events, rule, is_sentence=number < len(sentences))
        rows += [
            f"| {condition.name} | {name} | {_cells(count)} |" for name, count in counts.items()
        ]
        is_met = is_met and not counts[IN_FORCE].false_actions
    heads = ("background", "acts on a whole command", *_HEADS)
    title = f"{len(sentences)} sentences with a pause; {len(commands)} commands without one.\n"
    return "\n".join([title, f"| {' | '.join(heads)} |", "|---" * 6 + "|", *rows]), is_met


Rule = Callable[[PartFound, str], int | None]
"""Returns the position of the action on a part with a text, or None if there is none."""


def make_rules() -> dict[str, Rule]:
    """Return the rules by name."""
    sentences = HomeSentences(parse_home_file(HOME.read_text("utf-8"), str(HOME)))
    grammar = build_grammar(sentences)
    polite = {word for text in sentences.intents.skip_words for word in text.split()}

    def at_pause(part: PartFound, _text: str) -> int:
        return part.at_sample

    def without_continuation(part: PartFound, text: str) -> int | None:
        return None if continues(grammar, text, polite) else part.at_sample

    def confirmed(name: str) -> Rule:
        return lambda part, _text: part.confirmed_sample[name]

    return {
        "at once": at_pause,
        "at once, if the grammar has no continuation": without_continuation,
        **{name: confirmed(name) for name in [*map(_describe, SILENCES_S), IN_FORCE]},
    }


def _describe(silence_s: tuple[float, float]) -> str:
    vad_s, level_s = silence_s
    return f"silence of {vad_s:g} s" + (f", by level {level_s:g} s" if level_s else "")


def continues(grammar: WordGrammar, text: str, polite: set[str]) -> bool:
    """Return whether a longer sentence of the grammar begins with a text.

    Args:
        grammar: of the home.
        text: in lower case without punctuation.
        polite: words that change no meaning.
    """
    state = 0
    for word in text.split():
        end = dict(grammar.steps[state]).get(word)
        if end is None:
            return True
        state = end
    return any(word not in polite for word, _ in grammar.steps[state])


def speak_plan(plan: Mapping[str, Any], *, is_whole: bool = False) -> Iterator[SpokenCommand]:
    """Yield every sentence of the plan by every voice.

    Args:
        plan: ``pauses.toml``.
        is_whole: say the beginnings alone.
    """
    voices = tomllib.loads(VOICES.read_text("utf-8"))
    shortest_s, longest_s = plan["pause_s"]
    every = [
        (engine, voice, begin, rest)
        for engine, named in voices["voices"].items()
        for voice in named
        for begin, rest in plan["sentences"]
    ]
    for number, (engine, voice, begin, rest) in enumerate(every):
        pause_s = np.random.default_rng([plan["seed"], number]).uniform(shortest_s, longest_s)
        spoken = f"{voices['word'].capitalize()}, {begin}"
        first = _trim(speak(engine, voice, f"{spoken}.", WORK / "clips"))
        parts = [first]
        if not is_whole:
            second = _trim(speak(engine, voice, f"{rest}.", WORK / "clips"))
            parts += [np.zeros(round(pause_s * SAMPLE_RATE_HZ), np.int16), second]
        sound = np.concatenate(parts)
        yield SpokenCommand(
            f"{engine} {voice} {begin} {rest} {is_whole}", begin, sound, len(first), len(sound)
        )


def find_parts(scene: Samples, speech: SpeechModel) -> SceneEvents:
    """Return the parts of a scene, when each would be confirmed, and the endpoint.

    Args:
        scene: int16, shape (n,), 16 kHz; the word begins after ``_LEAD_FRAMES`` frames.
        speech: the voice activity detector.
    """
    settings = ClipSettings()
    ring = Ring(np.zeros(25 * FRAME_SAMPLES, np.int16))
    recorder = Recorder(ring, speech, settings, OneBuffer(longest_samples(settings)))
    schedule, parts = PartSchedule(), list[PartFound]()
    silence = TrailingSilence()
    confirmed: dict[str, int | None] = {}
    speech_end = -1
    for frame in Framer().push(scene):
        ring.push(frame)
        now = frame.end_sample
        if recorder.is_recording:
            silence.push(frame.samples)
        if recorder.push(frame) is not None:
            return SceneEvents(parts, now)
        if recorder.is_recording and recorder.has_speech:
            end = recorder.speech_end_sample
            if schedule.is_due(now, end):
                schedule.note(now, end)
                confirmed, speech_end = dict.fromkeys([*map(_describe, SILENCES_S), IN_FORCE]), end
                parts.append(PartFound(now, confirmed))
            if parts and end == speech_end:
                silence_s = (now - end) / SAMPLE_RATE_HZ, silence.measure_samples() / SAMPLE_RATE_HZ
                reached = [_describe(one) for one in SILENCES_S if _covers(silence_s, one)]
                if schedule.may_confirm(now, end, silence.measure_samples):
                    reached.append(IN_FORCE)
                confirmed.update({name: confirmed[name] or now for name in reached})
        if now == _LEAD_FRAMES * FRAME_SAMPLES + _WAKE_SAMPLES:
            recorder.start(now)
    raise Unavailable("a scene ended before its clip")


def _covers(silence_s: tuple[float, float], wanted_s: tuple[float, float]) -> bool:
    return all(have >= want for have, want in zip(silence_s, wanted_s, strict=True))


def _count(
    count: RuleCounts, said: SpokenCommand, events: SceneEvents, rule: Rule, *, is_sentence: bool
) -> None:
    """Apply a rule to a scene: the first part on which it acts, or the endpoint."""
    end = _LEAD_FRAMES * FRAME_SAMPLES + said.end_sample
    acts = (rule(part, said.text) for part in events.parts)
    act = next((at for at in acts if at is not None), None)
    moment = events.endpoint_sample if act is None else act
    if not is_sentence:
        count.delays_s.append((moment - end) / SAMPLE_RATE_HZ)
    elif moment < end:
        count.false_actions += act is not None
        count.cut += act is None


def _cells(count: RuleCounts) -> str:
    p50, p95 = np.percentile(count.delays_s, (50, 95))
    return f"{count.false_actions} | {count.cut} | {p50:.2f} s | {p95:.2f} s"


def _scene(said: SpokenCommand, condition: Condition, seed: int) -> Samples:
    """Return the command in a quiet room, and noise over all of it."""
    lead = _LEAD_FRAMES * FRAME_SAMPLES
    scene = np.zeros(lead + len(said.samples) + _TRAIL_SAMPLES, np.float64)
    scene[lead : lead + len(said.samples)] = said.samples
    scene += np.random.default_rng(seed).normal(0, _ROOM_RMS, len(scene))
    limits = np.iinfo(np.int16)
    samples = np.clip(np.rint(scene), limits.min, limits.max).astype(np.int16)
    if condition.snr_db is None:
        return samples
    choice = choose_mix(condition, seed, said.name, 0)
    return np.concatenate(list(Mixer().mix(lambda: iter((samples,)), choice)))


def _trim(clip: Samples) -> Samples:
    """Return a clip from the begin of its speech to its end."""
    end = find_end(clip)
    begin = max(0, len(clip) - find_end(np.ascontiguousarray(clip[::-1])))
    return clip[begin // _BLOCK * _BLOCK : end]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EarmarkError as error:
        sys.exit(f"early actions: {error}")
