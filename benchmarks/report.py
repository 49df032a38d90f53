"""Tables of the documents: Markdown from the results. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.figures import ENGINES, SOUNDS, STAGES, Results, cpu_runs, number, spread
from benchmarks.targets import NOT_MEASURED, TARGETS
from listener.errors import ConfigError

PARTS: Final = (
    "cpu",
    "memory",
    "crypto",
    "latency",
    "mute",
    "archive",
    "voice",
    "voiceprint",
    "evaluation",
)


def render(results: Results) -> str:
    """Return all figures: the targets, then the comparison of engines."""
    lines = [_describe(results), "", "| what | measured | target | |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(target.row(results))} |" for target in TARGETS]
    lines += ["", *_engines(results), "", *_voice(results), *_notes(results)]
    return "\n".join(lines).strip() + "\n"


def headline(results: Results) -> str:
    """Return the README's table: the most important targets."""
    lines = ["| | measured | target | |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(t.row(results))} |" for t in TARGETS if t.is_headline]
    machine = results["machine"]
    lines += ["", f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}."]
    lines += _other_machines(results)
    return "\n".join(lines) + "\n"


def keep_results(
    earlier: Results, machine: Mapping[str, Any], parts: Sequence[str], *, render: bool = False
) -> dict[str, Any]:
    """Return the results that a run of some parts begins with: the others stay.

    A part that another machine measured keeps that machine beside it, and the tables name it.

    Args:
        earlier: results of ``results.json``; empty without any.
        machine: this machine.
        parts: parts that are measured now.
        render: nothing is measured, so nothing changes.
    """
    if render and earlier:
        return dict(earlier)
    kept = {name: value for name, value in earlier.items() if name in PARTS and name not in parts}
    machines = {name: earlier.get("machines", {}).get(name, earlier["machine"]) for name in kept}
    others = {name: other for name, other in machines.items() if other != machine}
    return {"machine": dict(machine), **kept, **({"machines": others} if others else {})}


def splice(text: str, name: str, block: str) -> str:
    """Return ``text`` with the block between the markers of ``name`` replaced.

    Raises:
        ConfigError: a marker is missing, repeated or out of order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end) or begin in after or end in after:
        raise ConfigError(f"the markers of {name} are missing or repeated")
    return f"{before}{begin}\n{block.strip()}\n{end}{after}"


def between(text: str, name: str) -> str:
    """Return the text between the markers of ``name``, stripped."""
    after = text.partition(f"<!-- {name}:begin -->")[2]
    return after.partition(f"<!-- {name}:end -->")[0].strip()


def _describe(results: Results) -> str:
    machine, how = results["machine"], results.get("cpu", {})
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    text = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, {versions}."
    )
    if how.get("runs"):
        text += (
            f"\nWake word alexa; {how['rounds']} rounds of {number(how['seconds'])} s of each "
            f"kind of audio, after a warm-up"
        )
        for sound in ("talk", "speech"):
            text += f"; {SOUNDS[sound]}: {how[sound]}" if sound in how else ""
        text += "."
    text = "\n".join([text, *_other_machines(results)])
    return text + "\nMedians, with the lowest and the highest in brackets."


def _other_machines(results: Results) -> list[str]:
    """Return a line for each part that was measured on another machine."""
    return [
        f"Measured elsewhere: {name} on {each['cpu']}, {each['cores']} cores, {each['system']}, "
        f"Python {each['python']}, "
        + ", ".join(f"{package} {version}" for package, version in each["versions"].items())
        + "."
        for name, each in sorted(results.get("machines", {}).items())
    ]


def _engines(results: Results) -> list[str]:
    runs = cpu_runs(results)
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
            _spread_of([run["cpu_ms_per_s"] for run in own if run["sound"] == sound])
            for sound in SOUNDS
        ]
        cells += [
            str(spread(run[figure] for run in own)) for figure in ("first_score_s", "rss_mib")
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def _spread_of(values: list[float]) -> str:
    return str(spread(values)) if values else NOT_MEASURED


def _voice(results: Results) -> list[str]:
    """Return the table of a spoken command's stages; empty if they were not measured."""
    voice = results.get("voice", {})
    if "packages" not in voice:
        return []
    names = {
        "parts": f"Home Assistant ({voice['home_assistant_is']}), stub recogniser",
        "home_assistant": "the same without provisional parts",
        "packages_parts": "packages alone",
        "packages": "packages alone, without provisional parts",
    }
    stages = {"light": "speech to the light", **STAGES}
    lines = [
        "| from the end of speech, p50 and p95 in ms | "
        + " | ".join(stages.values())
        + " | commands | load |",
        "|---|" + "---|" * (len(stages) + 2),
    ]
    for way, name in names.items():
        own = voice.get(way, {"skipped": "not in this run"})
        if "skipped" in own:
            lines += [f"| {name} | not measured: {own['skipped']} |{' |' * (len(stages) + 1)}"]
            continue
        cells = [
            f"{number(own[f'{stage}_p50_ms'])}, {number(own[f'{stage}_p95_ms'])}"
            for stage in stages
        ]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {own['clips']} of {own['said']} said{_lost(own)} "
            f"| {number(own['load'])} |"
        )
    return [*lines, ""]


def _lost(way: Mapping[str, Any]) -> str:
    found = [f"{count} at {STAGES.get(s, s)}" for s, count in sorted(way.get("lost", {}).items())]
    return f", lost: {', '.join(found)}" if found else ""


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
            f"The switch's edge, over {mute['edges']}: muted and wiped p50 "
            f"{number(mute['shut_p50_ms'])} ms, p99 {number(mute['shut_p99_ms'])}, at worst "
            f"{number(mute['shut_greatest_ms'])}; unmuted p50 "
            f"{number(mute['open_p50_ms'])} ms, p99 {number(mute['open_p99_ms'])}, at worst "
            f"{number(mute['open_greatest_ms'])}, including the first frame of 80 ms. "
            "A real sound card adds the time it takes to open."
        )
    archive = results.get("archive", {})
    if "listed" in archive:
        large = archive["export_large"]
        notes.append(
            f"The archive with {archive['clips']:,} clips, over its socket, each request proven by "
            f"the owner's key: a day has {archive['listed']} clips; {large['clips']:,} are "
            f"exported in {number(large['s'])} s{_first_byte(large)}; it starts in "
            f"{number(archive['start_s'])} s."
        )
    voiceprint = results.get("voiceprint", {})
    if "embed_p50_ms" in voiceprint:
        notes.append(
            f"The speaker embedding of 2 s of speech, CPU of one core: p50 "
            f"{number(voiceprint['embed_p50_ms'])} ms, p95 {number(voiceprint['embed_p95_ms'])}; "
            f"its network is loaded in {number(voiceprint['load_ms'])} ms."
        )
    if "backlog_ms" in voiceprint:
        notes.append(
            f"While `earmark hear` in a voice mode compares voices, on one core with a busy loop "
            f"(load {number(voiceprint['load'])}), a frame waits p99 "
            f"{number(voiceprint['backlog_p99_ms'])} ms and at worst "
            f"{number(voiceprint['backlog_ms'])} ms, over {voiceprint['frames']} frames of 80 ms; "
            f"the other frames at worst {number(voiceprint['other_backlog_ms'])} ms."
        )
    skipped = {part: results.get(part, {}).get("skipped") for part in PARTS}
    notes += [f"Not measured ({part}): {reason}." for part, reason in skipped.items() if reason]
    return notes


def _first_byte(export: Mapping[str, Any]) -> str:
    if "first_byte_s" not in export:
        return ", each verified before the first byte is sent and again when it is sent"
    return f", of which {number(export['first_byte_s'])} s verify them all before the first byte"
