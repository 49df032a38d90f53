"""The pure half of the benchmarks: from what was measured to what the README says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import backlog, figures, report, sounds, stage_times, targets, voice
from listener.errors import ConfigError

MACHINE = {
    "cpu": "a processor",
    "cores": 2,
    "system": "Linux x86_64",
    "python": "3.11.7",
    "versions": {"numpy": "2.4.6"},
}


def run(number: int, engine: str, sound: str, cpu_ms_per_s: float) -> dict[str, Any]:
    return {
        "round": number,
        "engine": engine,
        "sound": sound,
        "cpu_ms_per_s": cpu_ms_per_s,
        "first_score_s": 0.4,
        "rss_mib": 60.0,
        "peak_score": 0.9,
    }


def results_of(*runs: dict[str, Any], **parts: dict[str, Any]) -> dict[str, Any]:
    cpu = {"rounds": 2, "seconds": 40.0, "speech": "a synthesiser", "runs": list(runs)}
    return {"machine": MACHINE, "cpu": cpu, **parts}


ROUNDS = [
    run(number, engine, sound, ms)
    for number, (reference, ours) in enumerate([(30.0, 3.0), (40.0, 5.0), (27.0, 3.0)])
    for sound in figures.SOUNDS
    for engine, ms in (
        *(("openwakeword", reference), ("earmark", ours), ("pymicro", 2.5)),
        *(("earmark-stages", 1.5), ("earmark-all", 2.0)),
    )
]


def test_a_partial_run_keeps_the_other_figures() -> None:
    earlier = {"machine": MACHINE, "cpu": {"runs": []}, "voice": {"load": 1}}

    same = report.keep_results(earlier, MACHINE, ["voice"])
    moved = report.keep_results(earlier, MACHINE | {"cpu": "another"}, ["voice"])
    back = report.keep_results({**moved, "voice": {"load": 2}}, MACHINE, ["crypto"])

    assert same == {"machine": MACHINE, "cpu": {"runs": []}}
    assert moved["cpu"] == {"runs": []}
    assert moved["machine"]["cpu"] == "another"
    assert moved["machines"] == {"cpu": MACHINE}
    assert back["machines"] == {"voice": MACHINE | {"cpu": "another"}}
    assert report.keep_results({}, MACHINE, ["cpu"]) == {"machine": MACHINE}
    assert report.keep_results(earlier, {"cpu": "x"}, report.PARTS) == {"machine": {"cpu": "x"}}
    assert report.keep_results(earlier, {"cpu": "x"}, report.PARTS, render=True) == earlier


def test_figures_of_another_machine_are_named_in_both_tables() -> None:
    other = MACHINE | {"cpu": "a board"}
    results = results_of(*ROUNDS) | {"machines": {"cpu": other}}

    for text in (report.render(results), report.headline(results)):
        assert "Measured elsewhere: cpu on a board, 2 cores" in text
    assert "Measured elsewhere" not in report.render(results_of(*ROUNDS))


def test_a_ratio_pairs_the_engines_of_one_round() -> None:
    assert figures.paired_ratios(ROUNDS, "speech", "cpu_ms_per_s") == [10.0, 8.0, 9.0]


def test_a_round_with_one_engine_has_no_ratio() -> None:
    runs = [run(0, "openwakeword", "speech", 30.0), run(1, "earmark", "speech", 3.0)]

    assert figures.paired_ratios(runs, "speech", "cpu_ms_per_s") == []


@given(st.lists(st.floats(0.001, 1000), min_size=1))
def test_a_median_lies_between_the_least_and_the_greatest(values: list[float]) -> None:
    found = figures.spread(values)

    assert found.least <= found.median <= found.greatest
    assert {found.least, found.greatest} <= set(values)


def test_a_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        figures.spread([])


@given(st.lists(st.floats(0, 1000), min_size=1), st.integers(1, 100))
def test_a_percentile_is_a_value_that_was_measured(values: list[float], percent: int) -> None:
    found = figures.percentile(values, percent)

    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100


def test_the_99th_percentile_of_two_hundred_leaves_two_above() -> None:
    assert figures.percentile(range(1, 201), 99) == 198


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8, "8"),
        (131072, "131072"),
        (123.4, "123"),
        (12.34, "12.3"),
        (3.456, "3.46"),
        (0.0312, "0.031"),
    ],
)
def test_a_number_has_about_three_digits(value: float, shown: str) -> None:
    assert figures.number(value) == shown


def test_a_target_that_holds_is_met() -> None:
    table = report.render(results_of(*ROUNDS))

    assert (
        "| CPU in speech, openwakeword 0.4.0 divided by Earmark "
        "| 9 (8 to 10) times | at least 8 times | met |" in table
    )


def test_failed_target_is_bold() -> None:
    table = report.render(results_of(*ROUNDS, memory={"hear_mib": 97.0, "send_mib": 30.0}))

    assert "| memory of `earmark hear`, peak | 97 MiB | at most 96 MiB | **not met** |" in table
    assert "| memory of `earmark send`, peak | 30 MiB | at most 40 MiB | met |" in table


def test_unmeasured_target_has_no_verdict() -> None:
    table = report.render(
        {"machine": MACHINE, "latency": {"skipped": "mosquitto is not installed"}}
    )

    assert table.count(targets.NOT_MEASURED) == len(targets.TARGETS)
    assert "met |" not in table.replace(targets.NOT_MEASURED, "")
    assert "Not measured (latency): mosquitto is not installed." in table


def test_every_engine_has_a_row_with_every_sound() -> None:
    table = report.render(results_of(*ROUNDS))

    assert "| pymicro-wakeword 2.5.0 | 2.50 (2.50 to 2.50) | 2.50 (2.50 to 2.50) |" in table
    for title in figures.ENGINES.values():
        assert f"| {title} |" in table


def test_splicing_replaces_only_what_stands_between_the_markers() -> None:
    text = "before\n<!-- x:begin -->\nold\n<!-- x:end -->\nafter\n"

    spliced = report.splice(text, "x", "new\n")

    assert spliced == "before\n<!-- x:begin -->\nnew\n<!-- x:end -->\nafter\n"
    assert report.between(spliced, "x") == "new"


@pytest.mark.parametrize(
    "text",
    ["none", "<!-- x:end --><!-- x:begin -->", "<!-- x:begin --><!-- x:end --><!-- x:end -->"],
)
def test_markers_that_are_not_there_once_each_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        report.splice(text, "x", "new")


def test_a_quiet_room_is_the_same_each_time_and_quiet() -> None:
    room = sounds.quiet_room(30).astype(float)

    levels = np.sqrt((room.reshape(30, -1) ** 2).mean(axis=1))
    assert np.array_equal(room, sounds.quiet_room(30))
    assert levels.min() > 4.5
    assert levels.max() < 10.5
    assert levels.max() / levels.min() > 1.5


def test_speech_has_the_requested_length_and_is_not_silent() -> None:
    samples, which = sounds.speech(3)

    assert len(samples) == 48_000
    assert samples.dtype == np.int16
    assert np.abs(samples.astype(int)).max() > 1_000
    assert which


def test_speech_without_the_word_is_as_long_and_not_the_same() -> None:
    samples, which = sounds.talk(60)

    assert len(samples) == 60 * 16_000
    assert np.abs(samples.astype(int)).max() > 1_000
    assert which != sounds.speech(60)[1]
    assert not np.array_equal(samples, sounds.speech(60)[0])


COMMANDS = [voice.Command(1.0, 2.0, "k/light ON"), voice.Command(6.0, 7.0, "k/light OFF")]


def stages_at(*at_s: float, change: str) -> list[voice.Event]:
    names = ("endpoint", "copy", "opened", "recognised", "light")
    return [
        voice.Event(name, each, change if name == "light" else "")
        for name, each in zip(names, at_s, strict=True)
    ]


def test_stages_of_a_command_add_up_to_the_time_from_the_end_of_speech() -> None:
    events = stages_at(12.5, 12.6, 12.8, 13.2, 13.3, change="k/light ON")

    first, second = voice.split_stages(COMMANDS, 10.0, events)

    assert first == pytest.approx(
        {
            "endpoint": 500,
            "carry": 100,
            "open": 200,
            "recognise": 400,
            "act": 100,
            "light": 1300,
        }
    )
    assert second == {}


def test_another_light_than_the_one_that_was_named_does_not_count() -> None:
    events = stages_at(12.5, 12.6, 12.8, 13.2, 13.3, change="k/light OFF")

    first, second = voice.split_stages(COMMANDS, 10.0, events)

    assert (list(first), second) == (["endpoint", "carry", "open", "recognise"], {})


def test_light_of_the_next_command_does_not_count() -> None:
    events = stages_at(12.5, 12.6, 12.8, 13.2, 16.5, change="k/light ON")

    assert not any("light" in row for row in voice.split_stages(COMMANDS, 10.0, events))


def test_stages_are_those_of_the_part_that_was_acted_on() -> None:
    early = stages_at(12.0, 12.1, 12.2, 12.3, 0.0, change="k/light ON")[:-1]
    acted = stages_at(12.4, 12.5, 12.6, 12.7, 12.8, change="k/light ON")
    late = stages_at(13.0, 13.1, 13.2, 13.3, 0.0, change="k/light ON")[:-1]

    first, _ = voice.split_stages(COMMANDS, 10.0, [*early, *acted, *late])

    assert (first["endpoint"], first["light"]) == pytest.approx((400, 800))


def test_end_of_speech_is_before_the_quiet_after_it() -> None:
    time_s = np.arange(16_000) / 16_000
    tone = (8_000 * np.sin(2 * np.pi * 300 * time_s)).astype(np.int16)
    clip = np.concatenate([tone, np.full(8_000, 3, np.int16)])

    assert voice.find_end(clip) == 16_000


def test_stages_of_both_ways_are_in_the_table_with_their_load() -> None:
    ways = {"load": 2.5, "clips": 30, "said": 31, "assist_mib": 380}
    ways |= {f"{name}_p{p}_ms": 100 for name in ("light", *figures.STAGES) for p in (50, 95)}
    part = {"home_assistant_is": "a stand-in", "packages": ways, "packages_parts": ways}

    table = report.render(results_of(*ROUNDS, voice=part))

    row = " | ".join(["100, 100"] * 6)
    assert f"| packages alone | {row} | 30 of 31 said | 2.50 |" in table
    assert "packages alone, p50 | 100 ms | at most 1500 ms | met |" in table


def test_stages_that_were_over_before_the_confirmation_of_a_part_take_no_time() -> None:
    events = [
        *stages_at(12.6, 12.2, 12.3, 12.4, 12.7, change="k/light ON"),
        voice.Event("endpoint", 12.8),
        voice.Event("copy", 12.9),
    ]

    first, _ = voice.split_stages(COMMANDS, 10.0, events)

    assert first == pytest.approx(
        {"endpoint": 600, "carry": 0, "open": 0, "recognise": 0, "act": 100, "light": 700}
    )


def test_action_before_the_end_of_speech_shows() -> None:
    first, _ = voice.split_stages(
        COMMANDS, 10.0, stages_at(11.7, 11.5, 11.6, 11.6, 11.8, change="k/light ON")
    )

    assert first["endpoint"] == pytest.approx(-300)
    assert first["light"] == pytest.approx(-200)


def test_backlog_is_counted_from_the_start_of_the_process_to_the_end_of_its_comparison() -> None:
    late_s = [0.001, 0.002, 0.05, 0.09, 0.02, 0.07]
    stamps = [(stage_times.START, 10.0)]
    stamps += [(stage_times.FRAME, 10.0 + 0.08 * (at + 1) + s) for at, s in enumerate(late_s)]
    stamps += [(stage_times.STARTING, 10.2), (stage_times.COMPARED, 10.45)]

    at_work, others = backlog.list_backlogs(stamps)

    assert at_work == pytest.approx(late_s[2:5])
    assert others == pytest.approx(late_s[:2] + late_s[5:])


def test_backlog_of_one_frame_misses_its_target() -> None:
    voiceprint = {"backlog_ms": 81.0, "backlog_p99_ms": 3.0, "other_backlog_ms": 4.0}
    voiceprint |= {"frames": 90, "load": 2.0}
    table = report.render(results_of(*ROUNDS, voiceprint=voiceprint))

    assert "with a busy loop | 81 ms | at most 80 ms | **not met** |" in table
    assert "(load 2), a frame waits p99 3 ms" in table
