"""What a privacy budget buys, computed before any data is touched."""

from common.planning.plan import GroupPlan, Plan, make_plan
from common.planning.question import Holding, Question

__all__ = ["GroupPlan", "Holding", "Plan", "Question", "make_plan"]
