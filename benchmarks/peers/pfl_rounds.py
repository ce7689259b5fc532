"""Rounds of pfl at the settings of its CIFAR-10 benchmark: prints each round's seconds as JSON.

Cohorts of 50 clients with 50 images each, batches of 10, one epoch, whole updates clipped and noise added
once a round. Runs under a Python with `pfl` and `torch`, which need not be FedLedger's: start it as a file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByUser
from pfl.algorithm import FederatedAveraging, NNAlgorithmParams
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from pfl.privacy import CentrallyAppliedPrivacyMechanism, GaussianMechanism
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from network import simple_cnn

CLIENTS, COHORT, EXAMPLES, BATCH = 1000, 50, 50, 10


class Stopwatch(TrainingProcessCallback):  # type: ignore[misc]  # pfl is not installed for the types
    """Notes when each round ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_central_iteration(self, *_: Any, **__: Any) -> tuple[bool, Any]:
        """Note the time, and go on."""
        self.ends.append(time.perf_counter())
        return False, Metrics()


def model_of(rate: float) -> PyTorchModel:
    """Return the network with the loss and metrics that pfl asks of it."""
    network = simple_cnn(10)

    def loss(self: nn.Module, inputs: Tensor, targets: Tensor, *, is_eval: bool = False) -> Tensor:
        self.train(not is_eval)
        return functional.cross_entropy(self(inputs), targets)

    def metrics(self: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Any]:
        self.eval()
        summed = functional.cross_entropy(self(inputs), targets, reduction="sum")
        return {"loss": Weighted(summed.item(), len(inputs))}

    network.loss = types.MethodType(loss, network)
    network.metrics = types.MethodType(metrics, network)
    central = torch.optim.SGD(network.parameters(), rate)
    return PyTorchModel(model=network, local_optimizer_create=torch.optim.SGD, central_optimizer=central)


def main() -> None:
    """Run a few rounds and write their seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.standard_normal((CLIENTS * EXAMPLES, 3, 32, 32), dtype=np.float32))
    labels = torch.from_numpy(generator.integers(0, 10, CLIENTS * EXAMPLES))
    shares = [(images[k : k + EXAMPLES], labels[k : k + EXAMPLES]) for k in range(0, len(images), EXAMPLES)]
    data = FederatedDataset.from_slices(shares, get_user_sampler("random", range(CLIENTS)))
    mechanism = CentrallyAppliedPrivacyMechanism(GaussianMechanism(0.4, 1.0))
    backend = SimulatedBackend(training_data=data, val_data=data, postprocessors=[WeightByUser(), mechanism])
    watch = Stopwatch()
    began = time.perf_counter()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=arguments.rounds + 1,
            evaluation_frequency=10**6,
            train_cohort_size=COHORT,
            val_cohort_size=0,
        ),
        backend=backend,
        model=model_of(1.0),
        model_train_params=NNTrainHyperParams(
            local_batch_size=BATCH, local_num_epochs=1, local_learning_rate=0.1
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=1000),
        callbacks=[watch],
    )
    times = [later - earlier for earlier, later in zip(watch.ends, watch.ends[1:], strict=False)]
    arguments.json.write_text(json.dumps({"rounds": times, "start": watch.ends[0] - began}))


if __name__ == "__main__":
    main()
