"""What a privacy budget buys, computed before any data is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.planning.question import Holding, Question

if TYPE_CHECKING:
    from common.planning.plan import GroupPlan, Plan, make_plan

__all__ = ["GroupPlan", "Holding", "Plan", "Question", "make_plan"]


def __getattr__(name: str) -> Any:
    """Load a name when it is used: the accountant behind it takes a second, which --help does not need."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from common.planning import plan

    return getattr(plan, name)
