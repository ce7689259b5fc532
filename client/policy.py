"""What a client permits: the server proposes, the policy disposes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from client.trainer import Charge
from common.config import PrivacySettings, TrainingSettings
from common.errors import BudgetExhausted, PolicyRefused
from common.ledger import LedgerView
from common.privacy.accounting import epsilon_upper_bound, within_budget
from common.privacy.budget import PrivacyBudget
from common.privacy.calibration import calibrate_noise_multiplier
from common.privacy.mechanisms import Mechanism, PoissonGaussian, Unprotected
from common.protocol import Proposal


@dataclass(frozen=True, kw_only=True)
class ClientPolicy:
    """The limits that a client enforces on itself.

    Args:
        budget: lifetime epsilon and delta of its data set, or None where training without privacy is
            permitted (and nothing else is).
    """

    budget: PrivacyBudget | None

    @classmethod
    def from_settings(cls, settings: PrivacySettings, *, delta: float) -> ClientPolicy:
        """Build a simulated client's policy, which trusts the settings of the person who simulates."""
        if not settings.enabled:
            return cls(budget=None)
        return cls(budget=PrivacyBudget(epsilon=settings.epsilon, delta=delta))

    def permit(self, proposal: Proposal, ledger: LedgerView, *, run: str) -> Charge:
        """Decide on one round and say exactly what it will cost.

        Privacy: nothing is computed on data here. The charge counts every mechanism that was ever written
        into the ledger, of any run, whether its result left or not.

        Raises:
            PolicyRefused: when the proposal is not what this client permits.
            BudgetExhausted: when the round would exceed the lifetime budget.
        """
        num_examples = ledger.genesis.num_examples
        sample_rate = sample_rate_of(proposal.training, num_examples)
        step = _Step(sample_rate, steps_of(proposal.training, sample_rate))
        if proposal.private != (self.budget is not None):
            asked, ours = ("private", "unprotected") if proposal.private else ("unprotected", "private")
            raise PolicyRefused(f"{asked} training was proposed, but this ledger is for {ours} training")
        mechanism: Mechanism = Unprotected(num_steps=step.num_steps)
        if self.budget is not None:
            mechanism = self._affordable(proposal, ledger, self.budget, step, run)
        return Charge(
            mechanism=mechanism,
            sample_rate=sample_rate,
            max_grad_norm=proposal.max_grad_norm,
            num_examples=num_examples,
        )

    def _affordable(
        self, proposal: Proposal, ledger: LedgerView, budget: PrivacyBudget, step: _Step, run: str
    ) -> PoissonGaussian:
        noise_multiplier = proposal.noise_multiplier
        if noise_multiplier is None:
            noise_multiplier = calibrate_noise_multiplier(
                budget=budget,
                sample_rate=step.sample_rate,
                num_steps=step.num_steps * proposal.planned_rounds,
                prior=ledger.mechanisms(exclude_run=run),
            )
        mechanism = PoissonGaussian(
            noise_multiplier=noise_multiplier, sample_rate=step.sample_rate, num_steps=step.num_steps
        )
        after = (*ledger.mechanisms(), mechanism)
        if not within_budget(after, budget):
            epsilon = epsilon_upper_bound(after, budget.delta)
            raise BudgetExhausted(
                f"the next round would bring epsilon to {epsilon:.4f}, above the lifetime budget of "
                f"{budget.epsilon:g} at delta {budget.delta:.3g}: no more training at this noise"
            )
        return mechanism


@dataclass(frozen=True)
class _Step:
    sample_rate: Fraction
    num_steps: int


def sample_rate_of(training: TrainingSettings, num_examples: int) -> Fraction:
    """Return q exactly: the decimal as written, or batch-size / n (at most 1)."""
    if training.batch_size == "off":
        return Fraction(str(training.sample_rate))
    return min(Fraction(1), Fraction(training.batch_size, num_examples))


def steps_of(training: TrainingSettings, sample_rate: Fraction) -> int:
    """Return the steps of one round: as set, or enough for `local-epochs` expected passes."""
    if training.local_steps != "off":
        return training.local_steps
    return math.ceil(Fraction(int(training.local_epochs)) / sample_rate)
