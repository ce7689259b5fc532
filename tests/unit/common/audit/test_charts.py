"""Charts as SVG: well formed, escaped, with marks where the numbers are."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from common.audit.charts import Limit, Point, binned, histogram, line_chart, spent_bar
from common.audit.parts import Part, parts_chart
from common.audit.scales import Scale, from_zero, whole_numbers

_HOSTILE = '<script>alert("1")</script>'


def _rects(svg: str, css: str) -> list[ET.Element]:
    return [rect for rect in ET.fromstring(svg).iter("rect") if rect.get("class") == css]


def _scale(high: float, label: str = "") -> Scale:
    return from_zero(high, label, "{:g}".format)


def _chart(points: list[Point], limit: Limit | None = None) -> ET.Element:
    drawn = line_chart(
        points,
        title="T",
        description="D",
        across=whole_numbers(points[-1].x, "round"),
        up=_scale(8.0, "epsilon"),
        limit=limit,
    )
    return ET.fromstring(drawn)


def _marks(root: ET.Element) -> list[ET.Element]:
    return [group for group in root.iter("g") if group.get("class") == "point"]


def _names(root: ET.Element) -> list[str | None]:
    return [mark.get("aria-label") for mark in _marks(root)]


def test_a_bar_is_as_long_as_its_share_and_marks_the_limit() -> None:
    bar = spent_bar(2.0, 8.0, 10.0, "two of eight")
    assert [rect.get("width") for rect in _rects(bar, "fill")] == ["20.00"]
    marks = [line.get("x1") for line in ET.fromstring(bar).iter("line")]
    assert marks == ["80.00"]


def test_a_bar_above_its_limit_or_without_end_stands_out() -> None:
    assert len(_rects(spent_bar(9.0, 8.0, 10.0, ""), "fill over")) == 1
    assert [r.get("width") for r in _rects(spent_bar(math.inf, None, 10.0, ""), "fill over")] == ["100.00"]
    assert _rects(spent_bar(8.0, 8.0, 10.0, ""), "fill over") == []


def test_a_line_chart_names_every_point_and_writes_the_last_value() -> None:
    points = [Point(x=1, y=2.0, name="round 1"), Point(x=2, y=3.0, name="round 2")]
    last = Point(x=3, y=4.0, name="round 3", note="4.00")
    root = _chart([*points, last], Limit(value=8.0, name="budget"))
    assert (root.get("role"), root.get("aria-label")) == ("group", "T")
    assert [desc.text for desc in root.iter("desc")] == ["D"]
    assert _names(root) == ["round 1", "round 2", "round 3"]
    assert {"4.00", "budget", "round", "epsilon", "8"} <= {text.text for text in root.iter("text")}
    heights = [float(dot.get("cy", "")) for dot in root.iter("circle")]
    assert heights == sorted(heights, reverse=True)


def test_the_tabulator_key_reaches_every_mark_of_a_short_series_and_some_of_a_long_one() -> None:
    for number, reached in ((25, 25), (200, 25)):
        root = _chart([Point(x=x, y=1.0, name=f"round {x}") for x in range(1, number + 1)])
        stops = [mark for mark in _marks(root) if mark.get("tabindex") == "0"]
        assert len(_marks(root)) == number
        assert len(stops) == reached
        assert [stops[0].get("aria-label"), stops[-1].get("aria-label")] == ["round 1", f"round {number}"]
        assert all(mark.get("aria-hidden") == "true" for mark in _marks(root) if mark not in stops)


def test_every_mark_shows_its_name_while_it_is_pointed_at() -> None:
    (mark,) = _marks(_chart([Point(x=1, y=0.0, name="only")]))
    assert [text.text for text in mark.iter("text") if text.get("class") == "readout"] == ["only"]


@pytest.mark.parametrize(("before", "above"), [(1.0, True), (3.0, False)])
def test_the_last_value_stands_where_the_line_does_not_come_from(before: float, above: bool) -> None:
    root = _chart([Point(x=1, y=before, name=""), Point(x=2, y=2.0, name="", note="last")])
    (text,) = [text for text in root.iter("text") if text.get("class") == "value"]
    dot = list(root.iter("circle"))[-1]
    assert (float(text.get("y", "")) < float(dot.get("cy", ""))) == above


def test_a_note_within_a_falling_line_stands_above_and_to_the_right() -> None:
    points = [
        Point(x=x, y=y, name="", note="here" if x == 2 else "") for x, y in [(1, 6.0), (2, 4.0), (3, 1.0)]
    ]
    root = _chart(points)
    (text,) = [text for text in root.iter("text") if text.get("class") == "value"]
    dot = list(root.iter("circle"))[1]
    assert text.get("text-anchor") == "start"
    assert float(text.get("x", "")) > float(dot.get("cx", ""))
    assert float(text.get("y", "")) < float(dot.get("cy", ""))


def test_a_histogram_counts_every_value() -> None:
    bins = binned([1.0] * 30 + [2.0] * 10 + [4.0])
    assert sum(column.count for column in bins) == 41
    chart = histogram(bins, title="", description="", x_label="", y_label="clients")
    names = [name or "" for name in _names(ET.fromstring(chart))]
    assert [int(name.split()[0]) for name in names] == [30, 10, 1]


def test_the_intervals_of_a_histogram_reach_to_the_limit() -> None:
    bins = binned([1.0, 2.0], Limit(value=8.0, name="budget"))
    assert (bins[0].low <= 1.0, bins[-1].high >= 8.0) == (True, True)


def test_parts_stand_below_each_other_and_are_as_long_as_their_value() -> None:
    parts = [
        Part(name="a", value=2.0, shown="2.00"),
        Part(name="b", value=3.0, shown="3.00"),
        Part(name="All together", value=4.0, shown="4.00", whole=True),
    ]
    root = ET.fromstring(
        parts_chart(parts, title="T", description="D", unit="epsilon", limit=Limit(value=8.0, name="budget"))
    )
    bars = [rect for rect in root.iter("rect") if "fill" in rect.get("class", "")]
    lengths = [float(bar.get("width", "")) for bar in bars]
    assert lengths == pytest.approx([109, 163.5, 218])
    assert {bar.get("x") for bar in bars} == {"0"}
    assert [bar.get("class") for bar in bars] == ["fill part", "fill part", "fill"]
    assert _names(root) == ["a: epsilon 2.00", "b: epsilon 3.00", "All together: epsilon 4.00"]


def test_a_part_without_limit_stands_out_and_a_long_name_is_cut_only_for_the_eye() -> None:
    part = Part(name="x" * 100, value=math.inf, shown="no limit")
    root = ET.fromstring(parts_chart([part], title="", description="", unit="epsilon"))
    (bar,) = [rect for rect in root.iter("rect") if "fill" in rect.get("class", "")]
    assert (bar.get("class"), float(bar.get("width", ""))) == ("fill over", 436)
    assert _names(root) == ["x" * 100 + ": epsilon no limit"]
    assert max(len(text.text or "") for text in root.iter("text") if text.get("class") == "name") == 62


def test_hostile_text_stays_text() -> None:
    point = Point(x=1, y=1.0, name=_HOSTILE, note=_HOSTILE)
    limit = Limit(value=1.0, name=_HOSTILE)
    words = {"title": _HOSTILE, "description": _HOSTILE}
    charts = [
        spent_bar(1.0, None, 2.0, _HOSTILE),
        line_chart(
            [point],
            across=_scale(1.0, _HOSTILE),
            up=from_zero(1.0, _HOSTILE, lambda _: _HOSTILE),
            limit=limit,
            **words,
        ),
        histogram(binned([1.0, 2.0]), x_label=_HOSTILE, y_label=_HOSTILE, limit=limit, **words),
        parts_chart([Part(name=_HOSTILE, value=1.0, shown=_HOSTILE)], unit=_HOSTILE, limit=limit, **words),
    ]
    for chart in charts:
        assert "<script" not in chart
        assert ET.fromstring(chart).get("aria-label") == _HOSTILE
