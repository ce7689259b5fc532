"""Where one client stands: the guarantee its ledger gives, and what its ledger holds besides charges."""

from __future__ import annotations

import math
from typing import Literal

from common.audit.history import ClientLedger
from common.ledger.chain import LedgerView
from common.ledger.entries import Body

Accounting = Literal["fixed", "filter", "none"]


def accounting_of(ledger: ClientLedger) -> Accounting:
    """Say how a ledger's guarantee comes about.

    Returns:
        'fixed' where all charges use the settings fixed at the beginning, so that their composed epsilon is
        the guarantee; 'filter' where settings may change in view of earlier results, so that the budget is;
        'none' where a charge added no noise.
    """
    if not all(charge.protected for charge in ledger.charges):
        return "none"
    return "fixed" if ledger.view.genesis.filter_order is None else "filter"


def guarantee_of(ledger: ClientLedger, epsilon: float) -> float:
    """Return the epsilon that a reader may rely on.

    Args:
        epsilon: of every charge, composed as if the settings had been fixed in advance.

    Returns:
        `epsilon` itself for fixed accounting, and infinity if the settings changed all the same. For a filter
        the whole budget as soon as anything was charged, and infinity if the charges exceed it: a promise
        that was broken limits nothing.

    Source: Rogers, Roth, Ullman, Vadhan 2016; Feldman and Zrnic 2021 (Renyi filters).
    """
    budget = ledger.view.genesis.budget_epsilon
    match accounting_of(ledger):
        case "fixed":
            return epsilon if _kept_one_setting(ledger) else math.inf
        case "filter" if ledger.charges:
            return math.inf if budget is None or epsilon > budget else budget
    return epsilon


def count_entries(view: LedgerView, kind: type[Body]) -> int:
    """Count the entries of one kind."""
    return sum(isinstance(entry.body, kind) for entry in view.entries)


def _kept_one_setting(ledger: ClientLedger) -> bool:
    return len({frozenset(m.setting for m in charge.body.mechanisms) for charge in ledger.charges}) <= 1
