"""The page: says the right thing, loads nothing, and every drawing has words."""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction

import pytest

from common.audit.charts import Point
from common.audit.scales import from_zero
from common.planning.drawing import Series, lines_chart, logarithmic
from common.planning.html import render
from common.planning.plan import make_plan
from common.planning.question import Question, holdings_of
from common.planning.wording import headline

ALIKE = Question(holdings=holdings_of([6000] * 4, None), epsilon=8.0, rounds=30, sample_rate=Fraction(1, 10))
UNEQUAL = dataclasses.replace(
    ALIKE, holdings=holdings_of([500, 6000, 12_000], None), sample_rate=None, batch_size=100
)


def text_of(page: str, name: str) -> str:
    found = re.search(rf'id="{name}"[^>]*>(.*?)</(?:h1|dd)>', page, re.DOTALL)
    assert found is not None
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


def test_the_answer_and_the_figures_are_on_the_page():
    plan = make_plan(ALIKE)
    page = render(plan)
    assert text_of(page, "answer") == headline(plan)
    assert text_of(page, "noise") == f"{plan.groups[0].noise_multiplier:.4f}"
    assert (text_of(page, "epsilon"), text_of(page, "delta"), text_of(page, "rounds")) == (
        "8.00",
        "1e-5",
        "30",
    )


def test_the_page_loads_nothing_and_follows_the_colour_scheme():
    page = render(make_plan(UNEQUAL))
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert not re.search(r"<(script|link|img|iframe|object)|url\(|@import|src=|\son\w+=", page)
    assert page.count("prefers-color-scheme: dark") == 2
    assert "@media print" in page


def test_every_chart_has_a_name_and_a_description():
    charts = re.findall(r'<svg class="chart".*?</svg>', render(make_plan(UNEQUAL)), re.DOTALL)
    assert len(charts) == 3
    for chart in charts:
        assert re.search(r'aria-label="[^"]+"><desc>[^<]+</desc>', chart)


def test_clients_with_different_curves_have_lines_of_their_own():
    page = render(make_plan(UNEQUAL))
    for name in ("n = 500", "n = 6,000", "n = 12,000", "budget 8.00"):
        assert f">{name}</text>" in page
    alike = render(make_plan(dataclasses.replace(ALIKE, holdings=holdings_of([500, 600], None))))
    assert "n = 500" not in alike  # one line needs no legend


def test_a_plan_that_does_not_fit_says_so():
    page = render(make_plan(dataclasses.replace(ALIKE, noise_multiplier=0.6)))
    assert 'class="verdict bad"' in page
    assert "above budget" in page
    assert text_of(page, "answer").startswith("It does not fit")
    none = render(make_plan(dataclasses.replace(ALIKE, noise_multiplier=0.5, epsilon=0.1, rounds=None)))
    assert "no round" in none


@pytest.mark.parametrize("given", [{"epsilon": None}, {"rounds": None}])
def test_pages_of_the_other_questions(given):
    page = render(make_plan(dataclasses.replace(ALIKE, noise_multiplier=1.0, **given)))
    assert "If clients held more or fewer examples" in page
    assert "If the budget had to last" not in page
    assert ("budget 8.00</text>" in page) == ("rounds" in given)


@pytest.mark.parametrize(
    ("smallest", "largest", "marks"),
    [
        (200, 1600, [200, 500, 1000, 2000]),
        (3, 80, [2, 5, 10, 20, 50, 100]),
        (0.02, 30, [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30]),
        (10**-4.000000000001, 10**4, [10.0**power for power in range(-4, 5)]),
        (7, 7, [5, 10]),
    ],
)
def test_logarithmic_scales_hold_their_values_between_round_ticks(smallest, largest, marks):
    scale = logarithmic(smallest, largest, "n", most=9)
    assert [10**tick for tick in scale.ticks] == pytest.approx(marks)
    assert (scale.low, scale.high) == (scale.ticks[0], scale.ticks[-1])


def test_lines_stand_where_their_values_are():
    chart = lines_chart(
        [Series(name="a <b>", points=(Point(x=0, y=0, name="start"), Point(x=10, y=4, name="end")))],
        title="T",
        description="D",
        across=dataclasses.replace(from_zero(10, "x", str), high=10.0),
        up=from_zero(4, "y", str),
        width=520,
    )
    assert '<polyline class="line series-0" points="54.0,238.0 502.0,40.0"/>' in chart
    assert "<b>" not in chart
