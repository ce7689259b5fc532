"""Numbers as text, rounded so that privacy never looks better than it is."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal

NO_LIMIT = "no limit"

CROSS_CHECK = "by RDP, coarser and expected above it"
"""What the second epsilon beside each claim is, wherever both are shown."""


def epsilon_text(epsilon: float, decimals: int = 2, *, budget: float | None = None) -> str:
    """Round an epsilon up, never down; an infinite one is 'no limit'.

    Args:
        epsilon: not negative.
        decimals: at least so many.
        budget: shown beside it, or None. What is within it is not shown above it, to however few decimals.
    """
    if not math.isfinite(epsilon):
        return NO_LIMIT
    digits = decimals if budget is None else max(decimals, _decimals(budget))
    return str(Decimal(repr(epsilon)).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING))


def budget_text(budget: float) -> str:
    """Write a budget with two decimals, or as many as it has."""
    return str(Decimal(repr(budget)).quantize(Decimal(1).scaleb(-max(2, _decimals(budget)))))


def _decimals(number: float) -> int:
    exponent = Decimal(repr(number)).normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def percent_text(share: float | None, decimals: int = 1) -> str:
    """Write a share between 0 and 1 as a percentage."""
    if share is None or not math.isfinite(share):
        return "not known"
    return f"{100 * share:.{decimals}f} %"


def percent_up_text(share: float) -> str:
    """Write a share as a percentage, rounded up."""
    return f"{math.ceil(round(1000 * share, 6)) / 10:.1f} %"


def delta_text(delta: float) -> str:
    """Write a probability in scientific notation without padding, such as 1e-5."""
    if delta == 0:
        return "0"
    mantissa, _, exponent = f"{delta:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
