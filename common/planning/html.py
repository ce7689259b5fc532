"""The plan as one self-contained page in the report's style: no network, no scripts, every text escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

import common.audit
from common.audit.claim import CLAIM
from common.audit.wording import budget_text, epsilon_text
from common.planning.cautions import LITTLE, MEASURED, MUCH, cautions, cohort_text, meaning, ratio_text
from common.planning.drawing import SERIES_STYLE
from common.planning.figures import epsilon_chart, group_bar, rounds_chart, sizes_chart
from common.planning.plan import Plan
from common.planning.text import shown_groups
from common.planning.wording import (
    delta_up_text,
    headline,
    noise_text,
    notes_on_claim,
    range_text,
    rate_text,
    rounds_text,
)
from common.words import counted

_HERE = Path(__file__).parent


def render(plan: Plan) -> str:
    """Draw the page; the same plan gives the same bytes."""
    styles = (Path(common.audit.__file__).parent / "report.css", SERIES_STYLE, _HERE / "plan.css")
    style = Markup("").join(Markup(path.read_text(encoding="utf-8")) for path in styles)  # noqa: S704 - our own
    return _template().render(style=style, **_context(plan))


@cache
def _template() -> Template:
    """Return the page, compiled: that takes longer than to fill it."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "epsilon": epsilon_text,
        "budget": budget_text,
        "delta": delta_up_text,
        "noise": noise_text,
        "ratio": ratio_text,
        "rate": rate_text,
    }
    return environment.from_string((_HERE / "plan.html.j2").read_text(encoding="utf-8"))


def _context(plan: Plan) -> dict[str, Any]:
    return {
        "plan": plan,
        "question": plan.question,
        "headline": headline(plan),
        "meaning": meaning(plan),
        "measured": MEASURED,
        "little": LITTLE,
        "much": MUCH,
        "cohort": cohort_text(plan.question),
        "cautions": cautions(plan),
        "notes": notes_on_claim(plan),
        "claim": CLAIM,
        "rounds_text": rounds_text,
        "counted": counted,
    } | _figures(plan)


def _figures(plan: Plan) -> dict[str, Any]:
    groups = plan.groups
    shown = shown_groups(groups)
    return {
        "shown": shown,
        "bars": [group_bar(group, plan) for group in shown],
        "epsilons": range_text(groups, lambda g: epsilon_text(g.epsilon), lambda g: g.epsilon),
        "noises": range_text(groups, lambda g: noise_text(g.noise_multiplier), lambda g: g.noise_multiplier),
        "rounds": range_text(groups, rounds_text, lambda g: g.rounds),
        "deltas": range_text(groups, lambda g: delta_up_text(g.delta), lambda g: g.delta),
        "epsilon_chart": epsilon_chart(plan),
        "rounds_chart": rounds_chart(plan),
        "sizes_chart": sizes_chart(plan),
    }
