"""Performance targets, and the measurement that decides each of them. Pure."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import (
    ALL_WORDS,
    OURS,
    PEER,
    REFERENCE,
    STAGES_ON,
    Results,
    cpu_runs,
    number,
    paired_ratios,
    spread,
)

NOT_MEASURED: Final = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A performance target."""

    what: str
    measure: Callable[[Results], tuple[float, str] | None]
    """Returns the value to compare and its text; None if it was not measured."""
    limit: float
    unit: str
    at_least: bool = False
    is_headline: bool = False
    """Whether the README shows the target."""

    def row(self, results: Results) -> tuple[str, str, str, str]:
        """Return name, measurement, target and verdict."""
        bound = f"at {'least' if self.at_least else 'most'} {self.limit:g}{self.unit}"
        found = self.measure(results)
        if found is None:
            return self.what, NOT_MEASURED, bound, "—"
        value, shown = found
        holds = operator.ge if self.at_least else operator.le
        return (
            self.what,
            f"{shown}{self.unit}",
            bound,
            "met" if holds(value, self.limit) else "**not met**",
        )


def _ratio(
    sound: str, ours: str = OURS, reference: str = REFERENCE
) -> Callable[[Results], tuple[float, str] | None]:
    def measure(results: Results) -> tuple[float, str] | None:
        ratios = paired_ratios(cpu_runs(results), sound, "cpu_ms_per_s", ours, reference)
        found = spread(ratios) if ratios else None
        return (found.median, str(found)) if found else None

    return measure


def _start(results: Results) -> tuple[float, str] | None:
    found = [run["first_score_s"] for run in cpu_runs(results) if run["engine"] == OURS]
    return (spread(found).median, str(spread(found))) if found else None


def _evaluation_of_one_core(results: Results) -> tuple[float, str] | None:
    """Return the seconds of audio evaluated per second of CPU time of one core."""
    runs = results.get("evaluation", {}).get("runs", ())
    found = [run["times_per_cpu"] for run in runs if run["jobs"] == 1]
    return (spread(found).median, str(spread(found))) if found else None


def _evaluation_on_two_cores(results: Results) -> tuple[float, str] | None:
    """Return the speed of two cores relative to one, in rounds with both."""
    by_round: dict[int, dict[int, float]] = {}
    for run in results.get("evaluation", {}).get("runs", ()):
        by_round.setdefault(run["round"], {})[run["jobs"]] = run["times"]
    found = [both[2] / both[1] for both in by_round.values() if len(both) > 1]
    return (spread(found).median, str(spread(found))) if found else None


def _voice(way: str, figure: str) -> Callable[[Results], tuple[float, str] | None]:
    def measure(results: Results) -> tuple[float, str] | None:
        return _plain(way, figure)(results.get("voice", {}))

    return measure


def _plain(part: str, figure: str) -> Callable[[Results], tuple[float, str] | None]:
    def measure(results: Results) -> tuple[float, str] | None:
        value = results.get(part, {}).get(figure)
        return None if value is None else (value, number(value))

    return measure


TARGETS: Final = (
    Target(
        what="CPU in speech, openwakeword 0.4.0 divided by Earmark",
        measure=_ratio("talk"),
        limit=8,
        unit=" times",
        at_least=True,
        is_headline=True,
    ),
    Target(
        what="CPU in speech with the word, openwakeword 0.4.0 divided by Earmark",
        measure=_ratio("speech"),
        limit=8,
        unit=" times",
        at_least=True,
        is_headline=True,
    ),
    Target(
        what="CPU in a quiet room, openwakeword 0.4.0 divided by Earmark",
        measure=_ratio("quiet"),
        limit=50,
        unit=" times",
        at_least=True,
        is_headline=True,
    ),
    Target(
        what="CPU in speech with the first stage, openwakeword 0.4.0 divided by Earmark",
        measure=_ratio("talk", STAGES_ON),
        limit=16,
        unit=" times",
        at_least=True,
        is_headline=True,
    ),
    Target(
        what="CPU in speech with the word, first stage on, openwakeword 0.4.0 divided by Earmark",
        measure=_ratio("speech", STAGES_ON),
        limit=16,
        unit=" times",
        at_least=True,
        is_headline=True,
    ),
    Target(
        what="CPU in speech with the first stage, pymicro-wakeword divided by Earmark",
        measure=_ratio("talk", STAGES_ON, PEER),
        limit=1,
        unit=" times",
        at_least=True,
    ),
    Target(
        what="CPU in speech with the word, first stage on, pymicro-wakeword divided by Earmark",
        measure=_ratio("speech", STAGES_ON, PEER),
        limit=1,
        unit=" times",
        at_least=True,
    ),
    Target(
        what="CPU in a quiet room with the first stage, openwakeword 0.4.0 divided by Earmark",
        measure=_ratio("quiet", STAGES_ON),
        limit=50,
        unit=" times",
        at_least=True,
    ),
    Target(
        what="CPU in speech with the first stage, all words divided by one",
        measure=_ratio("talk", STAGES_ON, ALL_WORDS),
        limit=2,
        unit=" times",
    ),
    Target(
        what="CPU in speech with the word, first stage on, all words divided by one",
        measure=_ratio("speech", STAGES_ON, ALL_WORDS),
        limit=2,
        unit=" times",
    ),
    Target(what="start to first score", measure=_start, limit=0.3, unit=" s"),
    Target(
        what="memory of `earmark hear`, peak",
        measure=_plain("memory", "hear_mib"),
        limit=96,
        unit=" MiB",
        is_headline=True,
    ),
    Target(
        what="memory of `earmark hear` with the first stage, peak",
        measure=_plain("memory", "hear_stages_mib"),
        limit=96,
        unit=" MiB",
    ),
    Target(
        what="memory of `earmark send`, peak",
        measure=_plain("memory", "send_mib"),
        limit=40,
        unit=" MiB",
    ),
    Target(
        what="wake notice at an MQTT subscriber, p99",
        measure=_plain("latency", "notice_p99_ms"),
        limit=20,
        unit=" ms",
        is_headline=True,
    ),
    Target(
        what="mute switch to microphone process ended and all buffers wiped, p99",
        measure=_plain("mute", "shut_p99_ms"),
        limit=50,
        unit=" ms",
        is_headline=True,
    ),
    Target(
        what="unmute to the first audio, p99",
        measure=_plain("mute", "open_p99_ms"),
        limit=500,
        unit=" ms",
    ),
    Target(
        what="seal a clip of 3 s, p50",
        measure=_plain("crypto", "seal_p50_ms"),
        limit=3,
        unit=" ms",
    ),
    Target(
        what="100,000 clips: an owner lists a day, p95",
        measure=_plain("archive", "list_p95_ms"),
        limit=50,
        unit=" ms",
    ),
    Target(
        what="100,000 clips: memory that an export of 50,000 adds",
        measure=_plain("archive", "export_grown_mib"),
        limit=16,
        unit=" MiB",
    ),
    Target(
        what="100,000 clips: an owner erases 10,000 of them",
        measure=_plain("archive", "erase_s"),
        limit=30,
        unit=" s",
    ),
    Target(
        what="end of speech to the light, Home Assistant and a stub recogniser, p50",
        measure=_voice("parts", "light_p50_ms"),
        limit=600,
        unit=" ms",
    ),
    Target(
        what="end of speech to the light, Home Assistant and a stub recogniser, p95",
        measure=_voice("parts", "light_p95_ms"),
        limit=900,
        unit=" ms",
    ),
    Target(
        what="memory of `earmark hear` with voice control, peak",
        measure=_voice("parts", "hear_mib"),
        limit=96,
        unit=" MiB",
    ),
    Target(
        what="memory of `earmark send` with voice control, peak",
        measure=_voice("parts", "send_mib"),
        limit=40,
        unit=" MiB",
    ),
    Target(
        what="end of speech to the light, packages alone, p50",
        measure=_voice("packages_parts", "light_p50_ms"),
        limit=1500,
        unit=" ms",
    ),
    Target(
        what="memory of `earmark assist` with its witness, peaks of its processes added",
        measure=_voice("packages_parts", "assist_mib"),
        limit=450,
        unit=" MiB",
    ),
    Target(
        what="speaker embedding of 2 s, CPU of one core, p50",
        measure=_plain("voiceprint", "embed_p50_ms"),
        limit=80,
        unit=" ms",
    ),
    Target(
        what="memory of a process with the speaker embedding, peak",
        measure=_plain("voiceprint", "process_mib"),
        limit=144,
        unit=" MiB",
    ),
    Target(
        what="memory of the embedding process of `earmark hear`, peak",
        measure=_plain("voiceprint", "child_mib"),
        limit=144,
        unit=" MiB",
    ),
    Target(
        what="memory of `earmark hear` in a voice mode, peak",
        measure=_plain("voiceprint", "hear_mib"),
        limit=96,
        unit=" MiB",
    ),
    Target(
        what="oldest frame that waits while voices are compared, on one core with a busy loop",
        measure=_plain("voiceprint", "backlog_ms"),
        limit=80,
        unit=" ms",
    ),
    Target(
        what="evaluation of FLAC, audio divided by CPU time of one core",
        measure=_evaluation_of_one_core,
        limit=400,
        unit=" times",
        at_least=True,
    ),
    Target(
        what="evaluation on two cores, compared with one",
        measure=_evaluation_on_two_cores,
        limit=1.7,
        unit=" times",
        at_least=True,
    ),
)
"""The performance targets of the project, in the order of the tables."""
