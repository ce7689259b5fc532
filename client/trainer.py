"""Local training of one client with differentially private SGD."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from client.drift import correct, pull_back
from client.flat import FlatParameters
from client.gradients import record_network, summing_network
from client.kernels.parallel import cores_for_kernels
from client.noise import PrivateRandomness
from client.optimizer import BatchOptimizer, OptimizerSettings, PlainOptimizer, PrivateOptimizer
from client.sampling import PoissonSampler
from common.arrays import Arrays, same_bits
from common.data import Records
from common.errors import ConfigError, DataError, MessageError
from common.models import load_arrays, refuse_misfit, values_of
from common.privacy.mechanisms import Mechanism, PoissonGaussian

_MANY_CHANNELS = 16

Loss = Callable[[Tensor, Tensor], Tensor]
Transform = Callable[[Tensor, torch.Generator | None], Tensor]


@dataclass(frozen=True, kw_only=True)
class Charge:
    """What one local training may do, exactly as the ledger has reserved it.

    Args:
        mechanism: noise, sample rate and steps, or no protection at all.
        sample_rate: probability q of each record in each step; that of the mechanism where it has one.
        max_grad_norm: largest norm C of one record's gradient, above 0; unused without protection.
        num_examples: the client's public number n of records.

    Raises:
        ConfigError: when values are out of range or contradict each other.
    """

    mechanism: Mechanism
    sample_rate: Fraction
    max_grad_norm: float
    num_examples: int

    def __post_init__(self) -> None:
        if not 0 < self.max_grad_norm < float("inf"):
            raise ConfigError(f"max-grad-norm is {self.max_grad_norm}; give a number above 0")
        if isinstance(self.mechanism, PoissonGaussian) and self.mechanism.sample_rate != self.sample_rate:
            raise ConfigError(
                f"sample-rate is {self.sample_rate} but {self.mechanism.sample_rate} is accounted for; "
                "sample with the rate of the mechanism"
            )

    @property
    def expected_batch_size(self) -> Fraction:
        """Public normaliser n * q of every step, whatever batch was drawn."""
        return self.num_examples * self.sample_rate


@dataclass(frozen=True, kw_only=True)
class LocalUpdate:
    """All that leaves a client: new parameters minus the ones it received, float32 by name."""

    arrays: Arrays


class DPTrainer:
    """Trains one model after another on one worker thread; what it computes depends on `fit` and its rule.

    Building it is slow, fitting again is not. Trainers share no state, only threads to draw and compute on.

    Args:
        model: the network, without batch normalisation; the trainer takes it over.
        loss: outputs [b, C] and labels [b] to one loss for each record [b].
        optimizer: rule applied to the gradient.
        transform: images, or features, of a batch of records to network inputs, float32.
        device: where the network runs. Noise is always drawn on the CPU.
        max_physical_batch_size: images processed at once; changes memory and speed only.
        views: augmented images of each record in a step. Its gradient is the mean of theirs, clipped as one
            (De et al. 2022, "Unlocking High-Accuracy Differentially Private Image Classification through
            Scale", augmentation multiplicity).
        spare_core: whether another core has nothing else to do than to draw noise; changes speed only.

    Raises:
        ConfigError: when the batch size is below 1.
        NotImplementedError: when Opacus cannot give per-record gradients of the model.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        loss: Loss,
        optimizer: OptimizerSettings,
        transform: Transform,
        device: torch.device | str = "cpu",
        max_physical_batch_size: int = 128,
        views: int = 1,
        spare_core: bool = True,
    ) -> None:
        if max_physical_batch_size < 1:
            raise ConfigError(f"max-physical-batch-size is {max_physical_batch_size}; give at least 1")
        self._device = torch.device(device)
        self._model = quickest_layout(model.to(self._device)).train()
        self._parameters = FlatParameters(self._model)
        self._network = record_network(self._model)
        self._summing_network = summing_network(self._model)
        self._loss = loss
        self._optimizer = optimizer
        self._transform = transform
        self._views = views
        self._spare_core = spare_core
        most = min(max_physical_batch_size, self._network.most_at_once or max_physical_batch_size)
        self._chunk_size = max(1, most // views)
        self._finite: Arrays = {}

    def step_by(self, optimizer: OptimizerSettings) -> None:
        """Apply another rule to gradients from the next `fit` on, such as one with a smaller rate."""
        self._optimizer = optimizer

    def refuse_misfit(self, arrays: Arrays, *, kind: str = "model") -> None:
        """Refuse parameters, or a correction, that `fit` could not take, before anything is charged for it.

        What was looked at last, and nobody can have written to, is not looked at again.

        Raises:
            ConfigError: when a name or shape is not the model's.
            MessageError: when a value is not finite: every gradient would be, and only noise be left.
        """
        refuse_misfit(self._model, arrays)
        if same_bits(arrays, self._finite):
            return
        for name in sorted(arrays):
            if not np.isfinite(arrays[name]).all():
                raise MessageError(f"the {kind}'s {name} holds values that are not finite")
        self._finite = {} if any(array.flags.writeable for array in arrays.values()) else arrays

    def fit(
        self,
        arrays: Arrays,
        data: Records,
        charge: Charge,
        randomness: PrivateRandomness,
        correction: Arrays | None = None,
    ) -> LocalUpdate:
        """Train for exactly the charged number of steps.

        Args:
            arrays: parameters to start from, by name.
            data: every record of the client.
            charge: what the ledger has reserved.
            randomness: fresh streams; using them again would repeat noise.
            correction: added to every gradient after its noise, by name; None for nothing.

        Returns:
            The update. Losses, batch sizes, indices and how much was clipped are not kept.

        Raises:
            DataError: when the data have another size than was charged for.

        Privacy:
            Unit: one record; adjacency: zero-out. The update is post-processing of `num_steps` Poisson
            sampled Gaussian mechanisms, so it costs what `charge.mechanism` costs, whoever sees it.
        """
        if len(data) != charge.num_examples:
            raise DataError(f"data have {len(data)} records where {charge.num_examples} were charged for")
        load_arrays(self._model, arrays)
        optimizer = self._start(charge, randomness, correction)
        sampler = PoissonSampler(charge.num_examples, charge.sample_rate, randomness.sampling)
        generator = torch.Generator().manual_seed(int(randomness.augmentation.integers(1)[0] >> 1))
        with self._cores():
            for _ in range(charge.mechanism.num_steps):
                batch = torch.from_numpy(sampler.draw())
                chunks = torch.split(batch, self._chunk_size)
                for chunk in chunks:
                    self._absorb(optimizer, data, chunk, generator, len(chunks) == 1)
                optimizer.finish_batch()
        trained = values_of(self._model)
        return LocalUpdate(arrays={name: trained[name] - arrays[name] for name in arrays})

    def _cores(self) -> AbstractContextManager[None]:
        """Leave the cores to kernels where they do most of the work."""
        return cores_for_kernels() if self._network.most_at_once else nullcontext()

    def _absorb(
        self, optimizer: BatchOptimizer, data: Records, chunk: Tensor, generator: torch.Generator, alone: bool
    ) -> None:
        if not len(chunk):
            return
        chunk = chunk.repeat_interleave(self._views) if self._views > 1 else chunk
        images = self._transform(data.take(chunk), generator).to(self._device)
        labels = data.labels[chunk].to(self._device)
        optimizer.absorb(self._loss(optimizer.network(images), labels), alone=alone)

    def _start(
        self, charge: Charge, randomness: PrivateRandomness, correction: Arrays | None
    ) -> BatchOptimizer:
        """Return an optimiser without history, whatever became of the training before."""
        self._network.forget_batch()
        self._summing_network.forget_batch()
        rule = self._rule(correction)
        expected_batch_size = float(charge.expected_batch_size)
        if not isinstance(charge.mechanism, PoissonGaussian):
            return PlainOptimizer(
                rule,
                network=self._summing_network,
                parameters=self._parameters,
                expected_batch_size=expected_batch_size,
                views=self._views,
            )
        return PrivateOptimizer(
            rule,
            network=self._network,
            parameters=self._parameters,
            noise_multiplier=charge.mechanism.noise_multiplier,
            max_grad_norm=charge.max_grad_norm,
            expected_batch_size=expected_batch_size,
            noise=randomness.noise,
            views=self._views,
            spare_core=self._spare_core,
        )

    def _rule(self, correction: Arrays | None) -> Optimizer:
        """Return the rule of one training, with what it adds to noised gradients."""
        vector = self._parameters.vector
        rule = self._optimizer.build([vector])
        pull_back(rule, vector, self._optimizer.proximal_mu)
        if correction is not None:
            named = [name for name, parameter in self._model.named_parameters() if parameter.requires_grad]
            values = torch.zeros_like(vector.data)
            for name, view in zip(named, self._parameters.split(values), strict=True):
                view.copy_(torch.tensor(correction[name]))
            correct(rule, vector, values)
        return rule


def quickest_layout(model: nn.Module) -> nn.Module:
    """Put channels last in memory where images have many of them: wide convolutions are quicker then."""
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    if any(layer.in_channels >= _MANY_CHANNELS for layer in convolutions):
        return model.to(memory_format=torch.channels_last)
    return model
