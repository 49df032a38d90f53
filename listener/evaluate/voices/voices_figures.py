"""Figures of an evaluation of attribution by voice. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.report.charts import draw_forest
from listener.evaluate.report.figures import Figure, Row
from listener.evaluate.report.svg import (
    LEGEND_ROW,
    SERIES,
    AxisFormat,
    Linear,
    NormalDeviate,
    Place,
    SvgChart,
    step_path,
)
from listener.evaluate.report.tables import rate_cells, rate_head
from listener.evaluate.report.text import percent
from listener.evaluate.voices.voices_result import (
    JudgedDirection,
    VerificationResult,
    VoicesResult,
)

_Drawn = tuple[str, tuple[str, ...], str, tuple[str, ...], tuple[Row, ...]]
"""Kind, names, chart, columns and rows."""

_PLOT_HEIGHT: Final = 250.0
_LOWEST_SHARE: Final = 1e-4


def draw_directions(result: VoicesResult) -> tuple[tuple[Figure, ...], ...]:
    """Return the figures of each direction, numbered in the order of the page."""
    count = 0
    figures = []
    for direction in result.directions:
        drawn = tuple(
            Figure(count + number, kind, " ".join((kind, *names)), svg, head, rows)
            for number, (kind, names, svg, head, rows) in enumerate(_draw(direction), 1)
        )
        count += len(drawn)
        figures.append(drawn)
    return tuple(figures)


def _draw(direction: JudgedDirection) -> Iterator[_Drawn]:
    """Yield kind, names, chart, columns and rows of each figure."""
    for length_s in sorted({each.length_s for each in direction.verification}):
        shown = [each for each in direction.verification if each.length_s == length_s]
        yield (
            "det",
            (direction.judged_on, f"{length_s:g} s"),
            draw_voices_det(shown),
            ("condition", "threshold", "owners_refused", "strangers_accepted"),
            tuple(
                (each.condition, point.threshold, point.refused, point.accepted)
                for each in shown
                for point in each.curve
            ),
        )
    rates = [
        (f"{each.condition}, {each.length_s:g} s", each.owners_refused)
        for each in direction.verification
    ]
    yield _forest("refused", direction, rates, "owners refused")
    rates = [
        (f"{each.owners} owners, {each.condition}, {each.length_s:g} s", each.guests_accepted)
        for each in direction.households
    ]
    if rates:
        yield _forest("guests", direction, rates, "guests accepted")


def _forest(
    kind: str, direction: JudgedDirection, rates: Sequence[tuple[str, Rate]], name: str
) -> _Drawn:
    highest = max((rate.high or 0.0 for _, rate in rates), default=0.0)
    svg = draw_forest(
        [(label, rate, percent(rate)) for label, rate in rates],
        Linear(0, min(1.0, max(highest * 1.05, 0.05))),
        (name, "percent"),
        "s0" if kind == "refused" else "s1",
    )
    rows = tuple((label, *rate_cells(rate)) for label, rate in rates)
    return kind, (direction.judged_on,), svg, ("trials", *rate_head(name.replace(" ", "_"))), rows


def draw_voices_det(results: Sequence[VerificationResult]) -> str:
    """Draw the DET curve of each condition, and the rates at the calibrated thresholds.

    Both axes are normal deviates (Martin et al. 1997). The calibrated thresholds differ from owner
    to owner, so their rates need not lie on the curve, which is of one threshold for all.

    Args:
        results: results of one length, at least one.
    """
    across, up = (NormalDeviate(_LOWEST_SHARE, 0.5, one_part=0) for _ in range(2))
    chart = SvgChart(
        "owners refused against strangers accepted at every threshold",
        360,
        _PLOT_HEIGHT + LEGEND_ROW * len(results),
    )
    chart.legend([each.condition for each in results], _PLOT_HEIGHT + LEGEND_ROW / 2 - 2)
    chart.bottom += LEGEND_ROW * len(results)
    chart.name_y = _PLOT_HEIGHT - 7
    chart.axes(
        across, up, ("strangers accepted", "owners refused"), AxisFormat("percent", "percent")
    )

    def at(accepted: float | None, refused: float | None) -> Place:
        return chart.x(across.fraction(accepted or 0.0)), chart.y(up.fraction(refused or 0.0))

    for index, each in enumerate(results):
        places = [at(point.accepted, point.refused) for point in each.curve[::-1]]
        chart.path(step_path(places), f"curve s{index % SERIES}")
    for index, each in enumerate(results):
        series = f"s{index % SERIES}"
        refused, accepted = each.owners_refused, each.strangers_accepted
        chart.line(
            at(accepted.low, refused.value), at(accepted.high, refused.value), f"whisker {series}"
        )
        chart.line(
            at(accepted.value, refused.low), at(accepted.value, refused.high), f"whisker {series}"
        )
        about = f"{each.condition}: {percent(refused)} refused, {percent(accepted)} accepted"
        chart.marker(at(accepted.value, refused.value), index, f"point {series}", about)
    return chart.svg()
