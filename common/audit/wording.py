"""Numbers as text, rounded so that privacy never looks better than it is."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal

NO_LIMIT = "no limit"

CROSS_CHECK = "by RDP, coarser and expected above it"
"""What the second epsilon beside each claim is, wherever both are shown."""


def epsilon_text(epsilon: float, decimals: int = 2) -> str:
    """Round an epsilon up, never down; an infinite one is 'no limit'."""
    if not math.isfinite(epsilon):
        return NO_LIMIT
    step = Decimal(1).scaleb(-decimals)
    return str(Decimal(repr(epsilon)).quantize(step, rounding=ROUND_CEILING))


def budget_text(budget: float) -> str:
    """Write a budget with two decimals, or as many as it has."""
    exact = Decimal(repr(budget))
    exponent = exact.normalize().as_tuple().exponent
    decimals = max(2, -exponent if isinstance(exponent, int) else 2)
    return str(exact.quantize(Decimal(1).scaleb(-decimals)))


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
