"""Rounds as Flower's own example of Opacus runs them, under Ray: prints each round's seconds as JSON.

One process a core; in every round each client makes its data loader, model, optimiser and privacy engine
anew, as the example does. Images come from memory-mapped files, which is quicker than the example's loading.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from opacus import PrivacyEngine
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from common.models import build_model

BATCH = 32


class Stopwatch(FedAvg):
    """Stock FedAvg that notes when a round's clients are asked and when all have answered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._asked = 0.0
        self.rounds: list[float] = []

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Note when the round begins."""
        self._asked = time.perf_counter()
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average, then note how long the round took."""
        result = super().aggregate_train(server_round, replies)
        self.rounds.append(time.perf_counter() - self._asked)
        return result


def client_app(images: str, clients: int) -> ClientApp:
    """Return a client that trains one epoch of its share with stock Opacus."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        warnings.filterwarnings("ignore")
        part = int(context.node_config["partition-id"])
        data = np.load(images, mmap_mode="r")
        labels = np.load(images.replace("images", "labels"))
        share = slice(part * len(data) // clients, (part + 1) * len(data) // clients)
        pixels = torch.from_numpy(np.array(data[share])).float().div_(127.5).sub_(1.0)
        loader = DataLoader(TensorDataset(pixels, torch.from_numpy(labels[share])), batch_size=BATCH)
        model = build_model("cnn", num_classes=10)
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())  # type: ignore[union-attr]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        private, optimizer, loader = PrivacyEngine(secure_mode=False).make_private(
            module=model, optimizer=optimizer, data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0
        )
        for batch, targets in loader:
            optimizer.zero_grad()
            functional.cross_entropy(private(batch), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        reply = RecordDict(
            {
                "arrays": ArrayRecord(private._module.state_dict()),
                "metrics": MetricRecord({"num-examples": len(pixels)}),
            }
        )
        return Message(reply, reply_to=message)

    return app


def main() -> None:
    """Run a few rounds and print their seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", help="uint8 [n, 3, 32, 32] in a file images.npy, with labels.npy beside it")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    began = time.perf_counter()
    strategy = Stopwatch(fraction_evaluate=0.0)
    server = ServerApp()

    @server.main()
    def run(grid: Grid, _context: Context) -> None:
        initial = ArrayRecord(build_model("cnn", num_classes=10).state_dict())
        strategy.start(grid, initial, num_rounds=arguments.rounds)

    run_simulation(
        server,
        client_app(arguments.images, arguments.clients),
        num_supernodes=arguments.clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    whole = time.perf_counter() - began
    figures = {"rounds": strategy.rounds, "start": whole - sum(strategy.rounds)}
    arguments.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
