"""Whether a client charged what it was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from common.errors import MessageError
from common.ledger import Reserve
from common.privacy.mechanisms import Mechanism, PoissonGaussian, Unprotected
from common.protocol import Proposal


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What one client was asked in one round.

    Args:
        num_examples: its public n.
        input_model: SHA-256 (hex) of the model it was sent.
        nonce: the server's number for this round and ledger.
        reproducible_noise: whether the run derives noise from its seed.
    """

    proposal: Proposal
    num_examples: int
    input_model: str
    nonce: str
    reproducible_noise: bool

    def check(self, charge: Reserve) -> None:
        """Refuse a charge for another computation than the proposed one.

        Raises:
            MessageError: names what differs.
        """
        expected = {
            "purpose": "train",
            "max_grad_norm": self.proposal.max_grad_norm if self.proposal.private else None,
            "normaliser": self.num_examples * self._sample_rate,
            "sampler": "poisson",
            "noise_source": self._noise_source,
            "input_model": self.input_model,
            "server_nonce": self.nonce,
        }
        for name, value in expected.items():
            if getattr(charge, name) != value:
                raise MessageError(f"its charge names another {name} than was proposed")
        if len(charge.mechanisms) != 1 or not self._is_proposed(charge.mechanisms[0]):
            raise MessageError("its charge is for another mechanism than was proposed")

    @property
    def _sample_rate(self) -> Fraction:
        return self.proposal.training.sample_rate_for(self.num_examples)

    @property
    def _noise_source(self) -> str:
        if not self.proposal.private:
            return "none"
        return "reproducible" if self.reproducible_noise else "chacha20"

    def _is_proposed(self, mechanism: Mechanism) -> bool:
        steps = self.proposal.training.steps_for(self._sample_rate)
        if not self.proposal.private:
            return mechanism == Unprotected(num_steps=steps)
        if not isinstance(mechanism, PoissonGaussian):
            return False
        noise = self.proposal.noise_multiplier
        return (mechanism.sample_rate, mechanism.num_steps) == (self._sample_rate, steps) and (
            noise is None or mechanism.noise_multiplier == noise
        )
