"""From what was measured to the README's table. Pure: results in, Markdown out."""

import operator
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from listener.errors import ConfigError

Results = Mapping[str, Any]

OURS: Final = "earmark"
REFERENCE: Final = "openwakeword"
ENGINES: Final = {
    OURS: "Earmark",
    REFERENCE: "openwakeword 0.4.0",
    "pymicro": "pymicro-wakeword 2.5.0",
}
SOUNDS: Final = {"speech": "speech", "quiet": "quiet room", "silence": "digital silence"}
PARTS: Final = ("cpu", "memory", "crypto", "latency", "mute", "archive")
NOT_MEASURED: Final = "not measured"


@dataclass(frozen=True, slots=True)
class Spread:
    """A median between the least and the greatest of a few runs."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        """Return e.g. ``3.46 (2.65 to 4.41)``."""
        return f"{number(self.median)} ({number(self.least)} to {number(self.greatest)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One line of the design's table of figures."""

    what: str
    measure: Callable[[Results], tuple[float, str] | None]
    """The number that is judged and how it is shown; None where nothing was measured."""
    limit: float
    unit: str
    at_least: bool = False

    def row(self, results: Results) -> tuple[str, str, str, str]:
        """Return what, measured, target and verdict."""
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


def number(value: float) -> str:
    """Return ``value`` with about three digits, and no exponent."""
    if value == int(value) and abs(value) >= 1:
        return str(int(value))
    for least, decimals in ((100, 0), (10, 1), (0.1, 2)):
        if abs(value) >= least:
            return f"{value:.{decimals}f}"
    return f"{value:.3f}"


def spread(values: Iterable[float]) -> Spread:
    """Return the median, the least and the greatest of ``values``.

    Raises:
        ValueError: there are none.
    """
    found = sorted(values)
    if not found:
        raise ValueError("nothing was measured")
    return Spread(statistics.median(found), found[0], found[-1])


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` of ``values`` do not exceed.

    Args:
        values: at least one.
        percent: above 0, at most 100.
    """
    found = sorted(values)
    rank = -(-len(found) * percent // 100)
    return found[max(int(rank), 1) - 1]


def paired_ratios(runs: Sequence[Mapping[str, Any]], sound: str, figure: str) -> list[float]:
    """Return the reference engine's ``figure`` over ours, one ratio for each round with both."""
    by_round: dict[int, dict[str, float]] = {}
    for run in runs:
        if run["sound"] == sound:
            by_round.setdefault(run["round"], {})[run["engine"]] = run[figure]
    return [
        each[REFERENCE] / each[OURS]
        for each in by_round.values()
        if REFERENCE in each and OURS in each
    ]


def render(results: Results) -> str:
    """Return the README's figures: the targets, then the engines side by side."""
    lines = [_described(results), "", "| what | measured | target | |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(target.row(results))} |" for target in TARGETS]
    lines += ["", *_engines(results), "", *_notes(results)]
    return "\n".join(lines).strip() + "\n"


def splice(text: str, name: str, block: str) -> str:
    """Return ``text`` with what stands between the markers of ``name`` replaced by ``block``.

    Raises:
        ConfigError: the markers are not there, once each and in order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end) or begin in after or end in after:
        raise ConfigError(f"the markers of {name} are not there once each")
    return f"{before}{begin}\n{block.strip()}\n{end}{after}"


def between(text: str, name: str) -> str:
    """Return what stands between the markers of ``name``, stripped."""
    after = text.partition(f"<!-- {name}:begin -->")[2]
    return after.partition(f"<!-- {name}:end -->")[0].strip()


def _described(results: Results) -> str:
    machine, how = results["machine"], results.get("cpu", {})
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    text = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, {versions}."
    )
    if how.get("runs"):
        text += (
            f"\nWake word alexa; {how['rounds']} rounds of {number(how['seconds'])} s of each "
            f"sound, after some seconds to settle; speech: {how['speech']}."
        )
    return text + "\nMedians, with the least and the greatest in brackets."


def _ratio(sound: str) -> Callable[[Results], tuple[float, str] | None]:
    def measure(results: Results) -> tuple[float, str] | None:
        ratios = paired_ratios(_runs(results), sound, "cpu_ms_per_s")
        found = spread(ratios) if ratios else None
        return (found.median, str(found)) if found else None

    return measure


def _start(results: Results) -> tuple[float, str] | None:
    found = [run["first_score_s"] for run in _runs(results) if run["engine"] == OURS]
    return (spread(found).median, str(spread(found))) if found else None


def _plain(part: str, figure: str) -> Callable[[Results], tuple[float, str] | None]:
    def measure(results: Results) -> tuple[float, str] | None:
        value = results.get(part, {}).get(figure)
        return None if value is None else (value, number(value))

    return measure


def _runs(results: Results) -> Sequence[Mapping[str, Any]]:
    runs: Sequence[Mapping[str, Any]] = results.get("cpu", {}).get("runs", ())
    return runs


def _engines(results: Results) -> list[str]:
    runs = _runs(results)
    if not runs:
        return []
    lines = [
        "| engine | "
        + " | ".join(f"CPU, {name}: ms per s" for name in SOUNDS.values())
        + " | start to first score: s | peak memory: MiB |",
        "|---|" + "---|" * (len(SOUNDS) + 2),
    ]
    for engine, title in ENGINES.items():
        own = [run for run in runs if run["engine"] == engine]
        if not own:
            continue
        cells = [
            str(spread(run["cpu_ms_per_s"] for run in own if run["sound"] == sound))
            for sound in SOUNDS
        ]
        cells += [
            str(spread(run[figure] for run in own)) for figure in ("first_score_s", "rss_mib")
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def _notes(results: Results) -> list[str]:
    crypto, latency = results.get("crypto", {}), results.get("latency", {})
    notes = []
    if "seal_p50_ms" in crypto:
        times = "; ".join(
            f"{what} {number(crypto[f'{what}_p50_ms'])} ms, p99 {number(crypto[f'{what}_p99_ms'])}"
            for what in ("seal", "verify", "open")
        )
        notes.append(f"A clip of 3 s, {crypto['envelope_bytes']} bytes sealed, p50: {times}.")
    if "notice_p50_ms" in latency:
        notes.append(
            f"A wake notice, from hear's datagram to an MQTT subscriber through mosquitto: "
            f"p50 {number(latency['notice_p50_ms'])} ms, p99 {number(latency['notice_p99_ms'])} "
            f"over {latency['notices']}."
        )
    mute = results.get("mute", {})
    if "shut_p50_ms" in mute:
        notes.append(
            f"The switch's edge, over {mute['edges']}: shut and wiped p50 "
            f"{number(mute['shut_p50_ms'])} ms, p99 {number(mute['shut_p99_ms'])}, at worst "
            f"{number(mute['shut_greatest_ms'])}; listening again p50 "
            f"{number(mute['open_p50_ms'])} ms, p99 {number(mute['open_p99_ms'])}, at worst "
            f"{number(mute['open_greatest_ms'])}, the first frame's own 80 ms included. "
            "A real card adds the time it takes to open."
        )
    archive = results.get("archive", {})
    if "listed" in archive:
        large = archive["export_large"]
        notes.append(
            f"The archive with {archive['clips']:,} clips, asked over its socket with ticket and "
            f"key: a day has {archive['listed']} clips; {large['clips']:,} are exported in "
            f"{number(large['s'])} s{_first_byte(large)}; it starts in "
            f"{number(archive['start_s'])} s."
        )
    skipped = {part: results.get(part, {}).get("skipped") for part in PARTS}
    notes += [f"Not measured ({part}): {reason}." for part, reason in skipped.items() if reason]
    return notes


def _first_byte(export: Mapping[str, Any]) -> str:
    if "first_byte_s" not in export:
        return ", each of them verified before the first byte goes out and again as it goes"
    return f", of which {number(export['first_byte_s'])} s verify them all before the first byte"


TARGETS: Final = (
    Target(
        what="CPU in speech, openwakeword 0.4.0 over Earmark",
        measure=_ratio("speech"),
        limit=8,
        unit=" times",
        at_least=True,
    ),
    Target(
        what="CPU in a quiet room, openwakeword 0.4.0 over Earmark",
        measure=_ratio("quiet"),
        limit=40,
        unit=" times",
        at_least=True,
    ),
    Target(what="start to first score", measure=_start, limit=0.6, unit=" s"),
    Target(
        what="memory of `earmark hear`, peak",
        measure=_plain("memory", "hear_mib"),
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
    ),
    Target(
        what="mute edge to the microphone's process gone and all buffers wiped, p99",
        measure=_plain("mute", "shut_p99_ms"),
        limit=50,
        unit=" ms",
    ),
    Target(
        what="mute released to the first sound heard again, p99",
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
        what="100,000 clips: an owner erases her 10,000",
        measure=_plain("archive", "erase_s"),
        limit=30,
        unit=" s",
    ),
)
"""The rows of the design's table of figures that a benchmark can answer."""
