"""Two ways from per-example losses to one step: clipped and noised, or plain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer, RMSprop

from client.flat import FlatParameters
from client.gradients import RecordGradients, RecordNetwork, SummingNetwork
from client.noise import ChaChaStream, GaussianNoise
from common.errors import ConfigError

OPTIMIZERS = ("sgd", "adam", "rmsprop")
_MOMENTUM_OPTIMIZERS = ("sgd", "rmsprop")


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """The rule that turns a (noised) gradient into a step; fresh state for each local training.

    Args:
        name: "sgd", "adam" or "rmsprop".
        learning_rate: above 0.
        momentum: in [0, 1); of "sgd" and "rmsprop" only.
        proximal_mu: pull towards where the training began, added to the gradient after its noise; 0 is none.

    Raises:
        ConfigError: when a value is out of range.
    """

    name: str
    learning_rate: float
    momentum: float = 0.0
    proximal_mu: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise ConfigError(f"optimizer is {self.name!r}; choose one of {', '.join(OPTIMIZERS)}")
        if not 0 < self.learning_rate < float("inf"):
            raise ConfigError(f"learning-rate is {self.learning_rate}; give a number above 0")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum is {self.momentum}; give a number from 0 to below 1")
        if self.momentum and self.name not in _MOMENTUM_OPTIMIZERS:
            raise ConfigError(f"momentum is {self.momentum} with optimizer {self.name!r}; set it to 0")
        if not 0 <= self.proximal_mu < float("inf"):
            raise ConfigError(f"proximal-mu is {self.proximal_mu}; give a number from 0")

    def build(self, parameters: list[Tensor]) -> Optimizer:
        """Return a torch optimiser over the parameters, with no state yet."""
        if self.name == "sgd":
            return SGD(parameters, lr=self.learning_rate, momentum=self.momentum)
        if self.name == "rmsprop":
            return RMSprop(parameters, lr=self.learning_rate, momentum=self.momentum)
        return Adam(parameters, lr=self.learning_rate)


def load_what_rules_need() -> None:
    """Load what the library loads with a process's first optimiser: a second of time and 90 MB.

    Copies of a process that has loaded it share it.
    """
    OptimizerSettings(name="sgd", learning_rate=1.0).build([torch.zeros(1, requires_grad=True)])


class BatchOptimizer(Protocol):
    """Takes a batch in chunks of any size and then steps once."""

    @property
    def network(self) -> Callable[[Tensor], Tensor]:
        """What losses are to be computed through: inputs to outputs."""

    def absorb(self, losses: Tensor, *, alone: bool = False) -> None:
        """Add the gradients of one chunk's losses [b * views] to the batch's sum.

        Args:
            alone: whether the batch has no other chunk.
        """

    def finish_batch(self) -> None:
        """Step once with what was absorbed, also when that is nothing, and forget it."""


class PlainOptimizer:
    """Sums gradients and divides by the expected batch size; protects nobody.

    Args:
        optimizer: rule over `parameters.vector`.
        network: whose losses these are, by the quickest way to sums of gradients.
        parameters: of the network.
        expected_batch_size: n * q, above 0.
        views: losses in a row that are of one record, which counts by their mean.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        network: SummingNetwork,
        parameters: FlatParameters,
        expected_batch_size: float,
        views: int = 1,
    ) -> None:
        self.network = network
        self._optimizer = optimizer
        self._vector = parameters.vector
        self._vector.grad = None  # of a training that failed
        self._split = parameters.split
        self._rate = _rate_alone(optimizer)
        self._divisor = expected_batch_size * views
        self._has_stepped = False

    def absorb(self, losses: Tensor, *, alone: bool = False) -> None:
        """Add the gradients of one chunk, over the expected batch size, to the batch's sum.

        Where the rule is to subtract them times a rate, those of a whole batch are subtracted at once: a
        vector of their own would be written and read five times on the way.
        """
        loss = losses.sum() / self._divisor
        if alone and self._rate is not None:
            self.network.add_gradients(-self._rate * loss, self._split(self._vector.data))
            self._has_stepped = True
            return
        self.network.add_gradients(loss, self._split(self._gradient()))

    def finish_batch(self) -> None:
        """Step once with the batch's sum."""
        if not self._has_stepped:
            gradient = self._gradient()
            self._optimizer.step()
            gradient.zero_()
        self._has_stepped = False

    def _gradient(self) -> Tensor:
        if self._vector.grad is None:
            self._vector.grad = torch.zeros_like(self._vector.data)
        return self._vector.grad


def _rate_alone(rule: Optimizer) -> float | None:
    """Return the rate of a rule that subtracts the gradient times it and does no more; None of any other."""
    settings = rule.param_groups[0]
    if type(rule) is not SGD or settings["momentum"] or settings["weight_decay"] or settings["maximize"]:
        return None
    if rule._optimizer_step_pre_hooks or rule._optimizer_step_post_hooks:
        return None
    return float(settings["lr"])


class PrivateOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus has no types
    """Opacus' optimiser with three differences that the privacy claim needs.

    A record with a non-finite gradient counts as zero instead of poisoning every weight, noise comes from
    a cryptographic stream, and the sum is divided by the public expected batch size whatever was drawn.
    Source: Abadi et al. 2016, Algorithm 1.

    Args:
        optimizer: rule over `parameters.vector`; its state sees nothing but noised gradients.
        network: through which the losses are computed.
        parameters: of the network.
        noise_multiplier: noise standard deviation over `max_grad_norm`.
        max_grad_norm: largest Euclidean norm of one record's gradient over all parameters.
        expected_batch_size: n * q, above 0.
        noise: stream used by nobody else.
        views: losses in a row that are of one record, whose gradient is the mean of theirs.
        spare_core: whether noise may be drawn on another core meanwhile; changes speed only.

    Privacy:
        Unit: one record. Neighbours: its gradient is there, or zero (zero-out). The sum then moves by at
        most `max_grad_norm` in Euclidean norm, so a step is one Gaussian mechanism, however many views of
        the record its gradient is made of.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        network: RecordNetwork,
        parameters: FlatParameters,
        noise_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: float,
        noise: ChaChaStream,
        views: int = 1,
        spare_core: bool = True,
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
            loss_reduction="mean",
        )
        self.network = network
        self._views = views
        self._noise = GaussianNoise(noise, noise_multiplier * max_grad_norm, ahead=spare_core)
        self._vector = parameters.vector
        self._sum = torch.zeros_like(self._vector.data)
        self._sums = parameters.split(self._sum)

    def absorb(self, losses: Tensor, *, alone: bool = False) -> None:
        """Clip each record's gradient and add it to the batch's sum.

        Raises:
            RuntimeError: when a parameter has not got one gradient for each record.
        """
        self._noise.prepare(len(self._sum))
        gradients = self.network.backward(losses)
        if self._views > 1:
            gradients = [each.averaged(self._views) for each in gradients]
        self.clip_and_accumulate(gradients)

    def clip_and_accumulate(self, gradients: list[RecordGradients]) -> None:
        """Add clipped gradients of records to the batch's sum; a non-finite record adds nothing."""
        norms = torch.stack([each.norms() for each in gradients]).norm(dim=0)
        unusable = ~norms.isfinite()
        if unusable.any():
            gradients = [each.without(unusable) for each in gradients]
            norms = norms.masked_fill(unusable, 0.0)
        factors = (self.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
        for total, each in zip(self._sums, gradients, strict=True):
            each.add_weighted_sum(factors, total)

    def add_noise(self) -> None:
        """Set the gradient to the clipped sum plus noise of deviation noise_multiplier * max_grad_norm."""
        self._vector.grad = self._noise.add(self._sum)

    def scale_grad(self) -> None:
        """Divide by the public expected batch size, never by the size that was drawn."""
        self.params[0].grad.div_(self.expected_batch_size)

    def finish_batch(self) -> None:
        """Add noise once, step once, and forget the batch."""
        self.add_noise()
        self.scale_grad()
        self.original_optimizer.step()
        self._vector.grad = None
        self._sum.zero_()
