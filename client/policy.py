"""What a client permits: the server proposes, the policy disposes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from client.limits import Limits
from client.spending import Limit
from client.trainer import Charge
from common.config import PrivacySettings
from common.errors import PolicyRefused
from common.ledger import LedgerView
from common.privacy.budget import PrivacyBudget
from common.privacy.mechanisms import Mechanism, PoissonGaussian, Unprotected
from common.protocol import Proposal


@dataclass(frozen=True, kw_only=True)
class ClientPolicy:
    """The limits that a client enforces on itself.

    Args:
        budget: lifetime epsilon and delta of its data set, or None where training without privacy is
            permitted (and nothing else is).
        limits: bounds on every single proposal, or None where whoever proposes is trusted: in a simulation.
    """

    budget: PrivacyBudget | None
    limits: Limits | None = None

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
            BudgetExhausted: when the round would exceed the lifetime budget, or the run's own target.
        """
        num_examples = ledger.num_examples
        sample_rate = proposal.training.sample_rate_for(num_examples)
        num_steps = proposal.training.steps_for(sample_rate)
        if proposal.private != (self.budget is not None):
            asked, ours = ("private", "unprotected") if proposal.private else ("unprotected", "private")
            raise PolicyRefused(f"{asked} training was proposed, but this ledger is for {ours} training")
        if self.limits is not None:
            self.limits.refuse_release("train", num_examples)
            self.limits.refuse_training(proposal, num_steps)
        mechanism: Mechanism = Unprotected(num_steps=num_steps)
        if self.budget is not None:
            mechanism = PoissonGaussian(noise_multiplier=1.0, sample_rate=sample_rate, num_steps=num_steps)
            mechanism = self._affordable(mechanism, proposal, ledger, self.budget, run)
        return Charge(
            mechanism=mechanism,
            sample_rate=sample_rate,
            max_grad_norm=proposal.max_grad_norm,
            num_examples=num_examples,
        )

    def _affordable(
        self, step: PoissonGaussian, proposal: Proposal, ledger: LedgerView, budget: PrivacyBudget, run: str
    ) -> PoissonGaussian:
        """Give a round its noise, as proposed or so that all planned rounds together keep the limit."""
        order = ledger.genesis.filter_order
        limit = Limit(budget=budget, filter_order=order, target_epsilon=proposal.target_epsilon)
        begun = [m for m in ledger.mechanisms() if isinstance(m, PoissonGaussian)] if order is None else []
        noise_multiplier = proposal.noise_multiplier
        if noise_multiplier is None and begun:
            noise_multiplier = begun[0].noise_multiplier
        if noise_multiplier is None:
            planned = replace(step, num_steps=step.num_steps * proposal.planned_rounds)
            noise_multiplier = limit.noise_for(planned, prior=ledger.mechanisms(exclude_run=run))
            noise_multiplier = max(
                noise_multiplier, self.limits.least_noise_multiplier if self.limits else 0.0
            )
        if self.limits is not None:
            self.limits.refuse_noise(noise_multiplier)
        mechanism = replace(step, noise_multiplier=noise_multiplier)
        if begun:
            _refuse_other_kind(mechanism, begun[0])
        limit.check((*ledger.mechanisms(), mechanism))
        return mechanism


def _refuse_other_kind(proposed: PoissonGaussian, begun: PoissonGaussian) -> None:
    """Keep a ledger of fixed settings to them: chosen anew, they would void what plain composition claims."""
    ours = (begun.noise_multiplier, begun.sample_rate)
    if (proposed.noise_multiplier, proposed.sample_rate) != ours:
        raise PolicyRefused(
            f"noise multiplier {proposed.noise_multiplier:g} at sample rate {proposed.sample_rate} was "
            f"proposed, but this ledger is for {begun.noise_multiplier:g} at {begun.sample_rate} for life: "
            'propose these, or begin new ledgers with privacy.accounting = "adaptive"'
        )
