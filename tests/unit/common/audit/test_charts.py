"""Charts as SVG: well formed, escaped, with marks where the numbers are."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from common.audit.charts import Axis, Limit, Point, histogram, line_chart, spent_bar, ticks

_HOSTILE = '<script>alert("1")</script>'


def _rects(svg: str, css: str) -> list[ET.Element]:
    return [rect for rect in ET.fromstring(svg).iter("rect") if rect.get("class") == css]


def test_an_axis_places_values_linearly() -> None:
    axis = Axis(low=0.0, high=10.0, start=200.0, stop=0.0)
    assert (axis.at(0.0), axis.at(2.5), axis.at(10.0)) == (200.0, 150.0, 0.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 8.0, [0, 2, 4, 6, 8]),
        (0.0, 0.72, [0, 0.2, 0.4, 0.6, 0.8]),
        (4.99, 8.0, [4, 5, 6, 7, 8]),
        (3.0, 3.0, [3, 4]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_bar_is_as_long_as_its_share_and_marks_the_limit() -> None:
    bar = spent_bar(2.0, 8.0, 10.0, "two of eight")
    assert [rect.get("width") for rect in _rects(bar, "fill")] == ["20.00"]
    marks = [line.get("x1") for line in ET.fromstring(bar).iter("line")]
    assert marks == ["80.00"]


def test_a_bar_above_its_limit_or_without_end_stands_out() -> None:
    assert len(_rects(spent_bar(9.0, 8.0, 10.0, ""), "fill over")) == 1
    assert [r.get("width") for r in _rects(spent_bar(math.inf, None, 10.0, ""), "fill over")] == ["100.00"]
    assert _rects(spent_bar(8.0, 8.0, 10.0, ""), "fill over") == []


def test_a_line_chart_has_a_dot_and_tooltip_a_point_and_says_the_last_value() -> None:
    points = [Point(x=x, y=y, tooltip=f"round {x}") for x, y in [(1, 2.0), (2, 3.0), (3, 4.0)]]
    chart = line_chart(
        points,
        title="T",
        description="D",
        x_label="round",
        y_format="{:g}".format,
        last_text="4.00",
        limit=Limit(value=8.0, name="budget"),
    )
    root = ET.fromstring(chart)
    assert [title.text for dot in root.iter("circle") for title in dot] == ["round 1", "round 2", "round 3"]
    texts = [text.text for text in root.iter("text")]
    assert {"4.00", "budget", "round", "8"} <= set(texts)
    heights = [float(dot.get("cy", "")) for dot in root.iter("circle")]
    assert heights == sorted(heights, reverse=True)


@pytest.mark.parametrize(("before", "above"), [(1.0, True), (3.0, False)])
def test_the_last_value_stands_where_the_line_does_not_come_from(before: float, above: bool) -> None:
    points = [Point(x=1, y=before, tooltip=""), Point(x=2, y=2.0, tooltip="")]
    chart = line_chart(points, title="", description="", x_label="", y_format=str, last_text="last")
    root = ET.fromstring(chart)
    (text,) = [text for text in root.iter("text") if text.get("class") == "value"]
    dot = list(root.iter("circle"))[-1]
    assert (float(text.get("y", "")) < float(dot.get("cy", ""))) == above


def test_one_point_is_a_chart() -> None:
    point = Point(x=1, y=0.0, tooltip="only")
    chart = line_chart([point], title="", description="", x_label="", y_format=str, last_text="0")
    assert len(list(ET.fromstring(chart).iter("circle"))) == 1


def test_a_histogram_counts_every_value() -> None:
    values = [1.0] * 30 + [2.0] * 10 + [4.0]
    chart = histogram(values, title="", description="", x_label="", y_label="clients")
    titles = [title.text or "" for rect in ET.fromstring(chart).iter("rect") for title in rect]
    assert [int(title.split()[0]) for title in titles] == [30, 10, 1]


def test_hostile_text_stays_text() -> None:
    point = Point(x=1, y=1.0, tooltip=_HOSTILE)
    charts = [
        spent_bar(1.0, None, 2.0, _HOSTILE),
        line_chart(
            [point],
            title=_HOSTILE,
            description=_HOSTILE,
            x_label=_HOSTILE,
            y_format=lambda _: _HOSTILE,
            last_text=_HOSTILE,
            limit=Limit(value=1.0, name=_HOSTILE),
        ),
        histogram(
            [1.0, 2.0],
            title=_HOSTILE,
            description=_HOSTILE,
            x_label=_HOSTILE,
            y_label=_HOSTILE,
            limit=Limit(value=1.0, name=_HOSTILE),
        ),
    ]
    for chart in charts:
        assert "<script" not in chart
        assert next(ET.fromstring(chart).iter("title")).text == _HOSTILE
