"""How far a ledger may be charged: what its accounting permits, and what a run may use of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import BudgetExhausted
from common.privacy.accounting import epsilon_upper_bound, within_budget
from common.privacy.budget import PrivacyBudget
from common.privacy.calibration import calibrate_noise_multiplier
from common.privacy.filter import within_filter
from common.privacy.mechanisms import Mechanism, PoissonGaussian


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The most that a ledger's whole history may cost.

    Args:
        budget: the data set's lifetime limit.
        filter_order: the Renyi order of the ledger's filter; None where its settings are fixed for life and
            plain composition holds.
        target_epsilon: epsilon to which the run may bring the ledger, or None for the whole budget.
    """

    budget: PrivacyBudget
    filter_order: float | None
    target_epsilon: float | None

    @property
    def _composed(self) -> PrivacyBudget:
        """The limit on plain composition: the run's target, never above the budget."""
        most = self.budget.epsilon if self.target_epsilon is None else self.target_epsilon
        return PrivacyBudget(epsilon=min(most, self.budget.epsilon), delta=self.budget.delta)

    def noise_for(self, planned: PoissonGaussian, *, prior: tuple[Mechanism, ...]) -> float:
        """Return the least noise multiplier with which all planned steps keep the limit.

        Args:
            planned: sample rate and number of all planned steps; its own noise is not looked at.
            prior: what was charged before.

        Raises:
            BudgetExhausted: when no noise is enough.
        """
        noise = calibrate_noise_multiplier(
            budget=self._composed,
            sample_rate=planned.sample_rate,
            num_steps=planned.num_steps,
            prior=prior,
        )
        if self.filter_order is None:
            return noise
        filtered = calibrate_noise_multiplier(
            budget=self.budget,
            sample_rate=planned.sample_rate,
            num_steps=planned.num_steps,
            prior=prior,
            filter_order=self.filter_order,
        )
        return max(noise, filtered)

    def check(self, history: Sequence[Mechanism]) -> None:
        """Refuse a history, the next round included, that costs more than the limit.

        Raises:
            BudgetExhausted: says what it would cost.
        """
        budget, composed = self.budget, self._composed
        if not within_budget(history, composed):
            epsilon = epsilon_upper_bound(history, budget.delta)
            which = "this run's target" if composed.epsilon < budget.epsilon else "the lifetime budget"
            raise BudgetExhausted(
                f"the next round would bring epsilon to {epsilon:.4f}, above {which} of "
                f"{composed.epsilon:g} at delta {budget.delta:.3g}: no more training at this noise"
            )
        order = self.filter_order
        if order is not None and not within_filter(history, budget, order):
            raise BudgetExhausted(
                f"the next round would pass the filter that keeps the lifetime budget of {budget.epsilon:g} "
                f"at delta {budget.delta:.3g} whatever settings are chosen: no more training at this noise"
            )
